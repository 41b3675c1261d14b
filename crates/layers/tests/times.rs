//! A package that is installed once more becomes the same layer, and Python takes its bytecode from it as it did before.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts Python and tar; a panic is its failure"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use image::Digest;
use layers::{Compression, Diff, Layer, LayerState, NORMAL, Owners, Packer, Times, Tree, Workers};

const SITE: &str = "usr/lib/python3.11/site-packages";

/// A file system with two packages, installed at a time: `one`, and what `prepare` makes of it.
struct Image {
    root: tempfile::TempDir,
}

impl Image {
    fn installed(at: u64) -> Self {
        let image = Self {
            root: tempfile::tempdir().unwrap(),
        };
        image.write(
            &format!("{SITE}/one/__init__.py"),
            "from . import two\nX = 1\n",
        );
        image.write(&format!("{SITE}/one/two.py"), "def f():\n    return 2\n");
        image.write(&format!("{SITE}/one/data.txt"), "data");
        image.write("usr/bin/one", "#!/usr/bin/python3\n");
        image.write("app/main.py", "import one\n");
        image.write(
            &format!("{SITE}/one-1.0.dist-info/RECORD"),
            "one/__init__.py,,\none/two.py,,\none/data.txt,,\none-1.0.dist-info/RECORD,,\n../../../bin/one,,\n",
        );
        image.set_times(at);
        image.compile(SITE, &[]);
        image.compile("app", &[]);
        image
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Of all files, below all directories.
    fn set_times(&self, seconds: u64) {
        run(Command::new("find").arg(self.root.path()).args([
            "-exec",
            "touch",
            "-h",
            "-d",
            &format!("@{seconds}"),
            "{}",
            "+",
        ]));
    }

    fn compile(&self, folder: &str, more: &[&str]) {
        // Without a prefix, the bytecode would name this test's folder.
        let python = [
            "-m",
            "compileall",
            "-q",
            "-s",
            self.root.path().to_str().unwrap(),
        ];
        run(Command::new("python3")
            .args(python)
            .args(more)
            .arg(self.path(folder)));
    }

    /// Packs all of it with new times for packages, and unpacks it. Returns the digest of the tar.
    fn packed(&self, into: &Path) -> Digest {
        let (_, digest, tar) = pack(self.root.path());
        let file = into.join(".tar");
        fs::write(&file, tar).unwrap();
        run(Command::new("tar")
            .arg("-xf")
            .arg(&file)
            .arg("-C")
            .arg(into));
        fs::remove_file(file).unwrap();
        digest
    }
}

fn pack(root: &Path) -> (LayerState, Digest, Vec<u8>) {
    let workers = Workers::new(1, 16 << 20).unwrap();
    let tree = Tree::open(root).unwrap();
    let diff = Diff::new(&tree, None, &workers).unwrap();
    let owners = Owners::read(&tree, &diff, &workers).unwrap();
    let times = Times::of_packages(&diff, &owners);
    let level = Compression::Zstd { level: 1 };
    let packer = Packer::new(&tree, &diff, &times, &workers, level);
    let layer = Layer::whole(&diff);
    let mut tar = Vec::new();
    let digest = packer.pack(&layer, &mut tar).unwrap().diff_id();
    (LayerState::new(&diff, &times, &layer), digest, tar)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// What Python says about the bytecode of the modules in `root`.
fn imports(root: &Path, modules: &str) -> Vec<String> {
    let said = run(Command::new("python3")
        .args(["-B", "-v", "-c", &format!("import {modules}")])
        .env(
            "PYTHONPATH",
            format!(
                "{}:{}",
                root.join(SITE).display(),
                root.join("app").display()
            ),
        ));
    let here = root.to_str().unwrap();
    let about = said.lines().filter(|line| {
        line.contains("bytecode is stale") || line.contains("matches") && line.contains(here)
    });
    about
        .map(|line| line.replace(here, "").trim_start_matches("# ").to_owned())
        .collect()
}

fn seconds(path: &Path) -> i64 {
    let modified = fs::symlink_metadata(path).unwrap().modified().unwrap();
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[test]
fn a_second_installation_gives_the_same_layer_and_python_takes_its_bytecode() {
    let mut digests = Vec::new();
    for at in [1_700_000_000, 1_750_000_001] {
        let image = Image::installed(at);
        // Copied with the times they have, or of the base image.
        let others = ["app/main.py", "app"];
        for path in others.map(|path| image.path(path)) {
            run(Command::new("touch").args(["-d", "@1600000000"]).arg(path));
        }
        image.compile("app", &["-f"]);
        for path in ["app/__pycache__", "app"].map(|path| image.path(path)) {
            run(Command::new("find").arg(path).args([
                "-exec",
                "touch",
                "-d",
                "@1600000000",
                "{}",
                "+",
            ]));
        }
        let into = tempfile::tempdir().unwrap();
        digests.push(image.packed(into.path()));
        assert_eq!(
            imports(image.root.path(), "one, main"),
            imports(into.path(), "one, main")
        );
        let said = imports(into.path(), "one, main");
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().all(|line| line.contains("matches")), "{said:?}");
        for (path, expected) in [
            (format!("{SITE}/one/two.py"), NORMAL),
            (format!("{SITE}/one/data.txt"), NORMAL),
            (format!("{SITE}/one/__pycache__"), NORMAL),
            (SITE.to_owned(), NORMAL),
            ("usr".to_owned(), NORMAL),
            ("app".to_owned(), 1_600_000_000),
            ("usr/bin/one".to_owned(), NORMAL),
            ("app/main.py".to_owned(), 1_600_000_000),
        ] {
            assert_eq!(seconds(&into.path().join(&path)), expected, "{path}");
        }
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn bytecode_that_was_out_of_date_stays_so() {
    let image = Image::installed(1_700_000_000);
    // Compiled before the source had its time, and, by chance, at the time that sources get.
    for at in ["@1600000000", &format!("@{NORMAL}")] {
        let source = image.path(&format!("{SITE}/one/two.py"));
        run(Command::new("touch").args(["-d", at]).arg(&source));
        fs::remove_dir_all(image.path(&format!("{SITE}/one/__pycache__"))).unwrap();
        image.compile(SITE, &[]);
        run(Command::new("touch")
            .args(["-d", "@1700000000"])
            .arg(&source));
        let into = tempfile::tempdir().unwrap();
        image.packed(into.path());
        let said = imports(into.path(), "one");
        assert_eq!(said, imports(image.root.path(), "one"));
        let stale = said.iter().filter(|line| line.contains("stale")).count();
        assert_eq!(stale, 1, "{said:?}");
    }
}

#[test]
fn bytecode_with_a_hash_is_left_alone() {
    for mode in ["checked-hash", "unchecked-hash"] {
        let image = Image::installed(1_700_000_000);
        image.compile(SITE, &["-f", "--invalidation-mode", mode]);
        let bytecode = format!("{SITE}/one/__pycache__/two.cpython-311.pyc");
        let before = fs::read(image.path(&bytecode));
        let into = tempfile::tempdir().unwrap();
        image.packed(into.path());
        if let Ok(before) = before {
            assert_eq!(
                fs::read(into.path().join(&bytecode)).unwrap(),
                before,
                "{mode}"
            );
        }
        assert_eq!(
            imports(image.root.path(), "one"),
            imports(into.path(), "one")
        );
    }
}

/// What is done to an image before it is packed.
type Change<'a> = &'a dyn Fn(&Image);

#[test]
fn a_source_whose_bytecode_can_not_be_adapted_keeps_its_time() {
    let two = format!("{SITE}/one/two.py");
    let adapt: [(&str, Change); 4] = [
        ("bytecode of an old Python", &|image| {
            let folder = image.path(&format!("{SITE}/one/__pycache__"));
            fs::write(folder.join("two.cpython-36.pyc"), "").unwrap();
        }),
        (
            "another name for the bytecode, outside of packages",
            &|image| {
                let folder = image.path(&format!("{SITE}/one/__pycache__"));
                let name = fs::read_dir(folder)
                    .unwrap()
                    .map(|entry| entry.unwrap().path());
                for path in name.filter(|path| path.to_str().unwrap().contains("two.")) {
                    fs::hard_link(path, image.path("app/copy")).unwrap();
                }
            },
        ),
        (
            "another name for the source, outside of packages",
            &|image| {
                fs::hard_link(
                    image.path(&format!("{SITE}/one/two.py")),
                    image.path("app/copy"),
                )
                .unwrap();
            },
        ),
        ("an index of Numba's", &|image| {
            image.write("root/.cache/numba/two.nbi", "");
        }),
    ];
    for (why, change) in adapt {
        let image = Image::installed(1_700_000_000);
        change(&image);
        let into = tempfile::tempdir().unwrap();
        image.packed(into.path());
        assert_eq!(seconds(&into.path().join(&two)), 1_700_000_000, "{why}");
        let said = imports(into.path(), "one");
        assert_eq!(said, imports(image.root.path(), "one"), "{why}");
        assert!(
            said.iter().all(|line| line.contains("matches")),
            "{why}: {said:?}"
        );
    }
}

#[test]
fn a_layer_is_another_one_when_the_source_of_its_bytecode_changes() {
    let image = Image::installed(1_700_000_000);
    let (before, digest, _) = pack(image.root.path());
    assert_eq!(pack(image.root.path()).0, before);
    let source = image.path(&format!("{SITE}/one/two.py"));
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_009);
    fs::File::options()
        .write(true)
        .open(source)
        .unwrap()
        .set_modified(later)
        .unwrap();
    let (after, changed, _) = pack(image.root.path());
    assert_ne!(after, before);
    // Its bytecode is out of date now.
    assert_ne!(changed, digest);
}

#[test]
fn headers_are_those_of_the_tar_on_every_builder() {
    let installed = || {
        let image = Image::installed(1_700_000_000);
        fs::hard_link(image.path("app/main.py"), image.path("app/again.py")).unwrap();
        // The time of the installation; packages have another one in the layer.
        let app = image.path("app");
        run(Command::new("find")
            .arg(app)
            .args(["-exec", "touch", "-d", "@1600000000", "{}", "+"]));
        image
    };
    let (here, digest, _) = pack(installed().root.path());
    let (there, same, _) = pack(installed().root.path());
    assert_eq!((here.headers, &digest), (there.headers, &same));
    assert_ne!(here.fingerprint, there.fingerprint);

    let main = "app/main.py";
    let touch = |image: &Image, time: &str| {
        run(Command::new("touch")
            .args(["-d", time])
            .arg(image.path(main)));
    };
    let changes: [(&str, Change); 5] = [
        ("a size", &|image| {
            image.write(main, "import one, two\n");
            touch(image, "@1600000000");
        }),
        ("a time", &|image| touch(image, "@1600000001")),
        ("a mode", &|image| {
            run(Command::new("chmod").arg("700").arg(image.path(main)));
        }),
        ("a name", &|image| {
            fs::rename(image.path(main), image.path("app/other.py")).unwrap();
        }),
        ("a link", &|image| {
            fs::remove_file(image.path("app/again.py")).unwrap();
            fs::copy(image.path(main), image.path("app/again.py")).unwrap();
            let again = image.path("app/again.py");
            run(Command::new("touch").args(["-d", "@1600000000"]).arg(again));
        }),
    ];
    let pack_changed = |change: Change| {
        let image = installed();
        change(&image);
        let app = image.path("app");
        run(Command::new("touch").args(["-d", "@1600000000"]).arg(app));
        let (state, changed, _) = pack(image.root.path());
        assert_ne!(changed, digest);
        state.headers
    };
    for (what, change) in changes {
        assert_ne!(pack_changed(change), here.headers, "{what}");
    }
    // What they do not see.
    let same = pack_changed(&|image| {
        image.write(main, "import two\n");
        touch(image, "@1600000000");
    });
    assert_eq!(same, here.headers);
}

#[test]
fn a_source_beside_bytecode_of_the_base_keeps_its_time() {
    let base = Image::installed(1_700_000_000);
    let image = tempfile::tempdir().unwrap();
    let from = format!("{}/.", base.root.path().display());
    run(Command::new("cp").args(["-a", &from]).arg(image.path()));
    let module = |root: &Path| root.join(SITE).join("one/two.py");
    // Of the same length, so that only its time says that the bytecode is out of date.
    fs::write(module(image.path()), "def f():\n    return 3\n").unwrap();
    let list = format!("{SITE}/one-1.0.dist-info/RECORD");
    fs::write(
        image.path().join(&list),
        "one/two.py,,\none-1.0.dist-info/RECORD,,\n",
    )
    .unwrap();

    let workers = Workers::new(1, 16 << 20).unwrap();
    let [tree, below] = [image.path(), base.root.path()].map(|root| Tree::open(root).unwrap());
    let diff = Diff::new(&tree, Some(&below), &workers).unwrap();
    let owners = Owners::read(&tree, &diff, &workers).unwrap();
    let times = Times::of_packages(&diff, &owners);
    let packer = Packer::new(
        &tree,
        &diff,
        &times,
        &workers,
        Compression::Zstd { level: 1 },
    );
    let mut tar = Vec::new();
    packer.pack(&Layer::whole(&diff), &mut tar).unwrap();
    let unpacked = tempfile::tempdir().unwrap();
    let file = unpacked.path().join(".tar");
    fs::write(&file, tar).unwrap();
    run(Command::new("tar")
        .arg("-xf")
        .arg(&file)
        .arg("-C")
        .arg(unpacked.path()));
    assert_eq!(
        seconds(&module(unpacked.path())),
        seconds(&module(image.path()))
    );
    assert_eq!(seconds(&unpacked.path().join(&list)), NORMAL);
}
