//! A tree that somebody changes while it is read, to have files packed that are not the image's.
//!
//! BuildKit mounts both trees read-only, so this takes a builder that is not as it should be. Nothing outside of the tree may be in a
//! layer all the same, and nothing may wait for ever.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use layers::{Compression, Diff, Error, Layer, Owners, Packer, Plan, Times, Tree, Workers};
use rustix::fs::{CWD, FileType, Mode, RenameFlags};

/// Content of a file outside of the tree.
const SECRET: &[u8] = b"the secret of another file system";

/// A tree with a folder `app/data`, and a file `key` of the same name outside.
struct Trap {
    folder: tempfile::TempDir,
}

impl Trap {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trap = Self { folder };
        fs::create_dir_all(trap.root().join("app/data")).unwrap();
        fs::create_dir_all(trap.outside()).unwrap();
        // As long as the secret, so that its size gives nothing away.
        fs::write(trap.root().join("app/data/key"), [b'x'; SECRET.len()]).unwrap();
        fs::write(trap.outside().join("key"), SECRET).unwrap();
        trap
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    fn outside(&self) -> std::path::PathBuf {
        self.folder.path().join("outside")
    }

    /// Packs everything, with `change` between comparing and packing.
    fn pack(&self, change: impl FnOnce(&Path)) -> Result<Vec<u8>, Error> {
        let workers = Workers::new(2, 8 << 20).unwrap();
        let tree = Tree::open(&self.root())?;
        let diff = Diff::new(&tree, None, &workers)?;
        change(&self.root());
        let times = Times::kept();
        let packer = Packer::new(
            &tree,
            &diff,
            &times,
            &workers,
            Compression::Zstd { level: 1 },
        );
        let mut tar = Vec::new();
        packer.pack(&Layer::whole(&diff), &mut tar)?;
        Ok(tar)
    }
}

fn holds_secret(tar: &[u8]) -> bool {
    tar.windows(SECRET.len()).any(|it| it == SECRET)
}

#[test]
fn what_becomes_a_link_after_it_was_found_is_an_error() {
    type Replace = fn(&Path, &Path);
    let cases: [(&str, Replace); 5] = [
        ("a folder becomes a link", |root, outside| {
            fs::remove_dir_all(root.join("app/data")).unwrap();
            symlink(outside, root.join("app/data")).unwrap();
        }),
        ("a folder above becomes a link", |root, outside| {
            fs::rename(outside, outside.with_file_name("data")).unwrap();
            fs::remove_dir_all(root.join("app")).unwrap();
            symlink(outside.parent().unwrap(), root.join("app")).unwrap();
        }),
        ("a file becomes a link", |root, outside| {
            fs::remove_file(root.join("app/data/key")).unwrap();
            symlink(outside.join("key"), root.join("app/data/key")).unwrap();
        }),
        ("a file becomes another file", |root, outside| {
            fs::rename(outside.join("key"), root.join("app/data/key")).unwrap();
        }),
        ("a file becomes a pipe without a writer", |root, _| {
            let path = root.join("app/data/key");
            fs::remove_file(&path).unwrap();
            rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        }),
    ];
    for (name, replace) in cases {
        let trap = Trap::new();
        let outside = trap.outside();
        let packed = trap.pack(|root| replace(root, &outside));
        let error = packed.map(|tar| holds_secret(&tar)).unwrap_err();
        assert!(
            matches!(&error, Error::Tree { path, .. } | Error::Changed { path } if path.to_string().starts_with("/app")),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_file_that_the_builder_lost_is_an_error_that_names_it() {
    let trap = Trap::new();
    let error = trap
        .pack(|root| fs::remove_file(root.join("app/data/key")).unwrap())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not open /app/data/key in the image"
    );
}

#[test]
fn lists_of_packages_are_not_read_through_links() {
    let trap = Trap::new();
    // It would claim `app/data/key` for a package.
    fs::write(trap.outside().join("stolen.list"), "/app/data/key\n").unwrap();
    let list = trap.root().join("var/lib/dpkg");
    fs::create_dir_all(&list).unwrap();
    symlink(trap.outside(), list.join("info")).unwrap();
    symlink(trap.outside().join("key"), trap.root().join("lib")).unwrap();
    let workers = Workers::new(2, 8 << 20).unwrap();
    let tree = Tree::open(&trap.root()).unwrap();
    let diff = Diff::new(&tree, None, &workers).unwrap();
    let owners = Owners::read(&tree, &diff, &workers).unwrap();
    assert_eq!(
        owners.of(&"app/data/key".into()).to_string(),
        "files/app/data"
    );

    // Now a list that was a file when it was found.
    fs::remove_file(list.join("info")).unwrap();
    fs::create_dir(list.join("info")).unwrap();
    fs::write(list.join("info/a.list"), "").unwrap();
    let diff = Diff::new(&tree, None, &workers).unwrap();
    fs::remove_file(list.join("info/a.list")).unwrap();
    symlink(trap.outside().join("stolen.list"), list.join("info/a.list")).unwrap();
    assert!(Owners::read(&tree, &diff, &workers).is_err());
}

#[test]
fn a_folder_that_flickers_between_folder_and_link_leaks_nothing() {
    let trap = Trap::new();
    let (folder, link) = (
        trap.root().join("app/data"),
        trap.folder.path().join("link"),
    );
    symlink(trap.outside(), &link).unwrap();
    let (is_over, flips) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                flips.fetch_add(1, Ordering::Relaxed);
            }
        });
        let workers = Workers::new(2, 8 << 20).unwrap();
        let (mut packed, mut refused, mut leaked) = (0, 0, 0);
        for _ in 0..2000 {
            let tree = Tree::open(&trap.root()).unwrap();
            let found = Diff::new(&tree, None, &workers).and_then(|diff| {
                let owners = Owners::read(&tree, &diff, &workers)?;
                let times = Times::kept();
                let packer = Packer::new(
                    &tree,
                    &diff,
                    &times,
                    &workers,
                    Compression::Gzip { level: 1 },
                );
                let mut tar = Vec::new();
                for layer in &Plan::new(&diff, &owners, 1, None, layers::Limits::default()).layers {
                    packer.pack(layer, &mut tar)?;
                }
                Ok(tar)
            });
            match found {
                Ok(tar) => {
                    packed += 1;
                    leaked += u32::from(holds_secret(&tar));
                }
                Err(_) => refused += 1,
            }
        }
        // Before anything may fail: the other thread would never end.
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(leaked, 0);
        assert!(
            packed > 0 && refused > 0,
            "{packed} packed, {refused} refused"
        );
    });
    assert!(flips.into_inner() > 100);
}
