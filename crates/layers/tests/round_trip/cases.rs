//! Cases by hand: what the rules say, one at a time.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use layers::{Compression, Diff, Error, Layer, Packer, Times, Tree, TreePath, Workers};

use crate::change::Change;
use crate::image::Image;
use crate::snapshot::{assert_same, snapshot};
use crate::unpack::unpack;

fn diff(image: &Image) -> Result<Diff, Error> {
    let workers = Workers::new(2, 8 << 20).unwrap();
    let base = Tree::open(&image.base()).unwrap();
    Diff::new(&Tree::open(&image.image()).unwrap(), Some(&base), &workers)
}

/// New and changed paths, and removed ones.
fn names(image: &Image) -> (Vec<String>, Vec<String>) {
    let diff = diff(image).unwrap();
    let entries = diff.entries.iter().map(|entry| entry.path.to_string());
    let removed = diff.removed.iter().map(TreePath::to_string);
    (entries.collect(), removed.collect())
}

fn tar(image: &Image) -> Vec<u8> {
    let workers = Workers::new(2, 8 << 20).unwrap();
    let diff = diff(image).unwrap();
    let tree = Tree::open(&image.image()).unwrap();
    let times = Times::kept();
    let packer = Packer::new(
        &tree,
        &diff,
        &times,
        &workers,
        Compression::Zstd { level: 1 },
    );
    let mut tar = Vec::new();
    packer.pack(&Layer::whole(&diff), &mut tar).unwrap();
    tar
}

#[track_caller]
fn assert_unpacks(image: &Image) {
    unpack(&tar(image), &image.lower());
    assert_same(&snapshot(&image.lower()), &snapshot(&image.image()));
}

fn file(root: &Path, path: &str) {
    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    fs::write(root.join(path), path).unwrap();
}

/// A time with nanoseconds that no tar brought.
fn at(root: &Path, path: &str, seconds: i64) {
    let change = Change::Modified {
        path: path.to_owned(),
        seconds,
        nanoseconds: 7,
    };
    change.make(root);
}

#[test]
fn an_image_without_changes_needs_no_layer() {
    let image = Image::build(
        |root| {
            file(root, "usr/bin/tool");
            fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/other")).unwrap();
        },
        |_| {},
    );
    assert_eq!(diff(&image).unwrap(), Diff::default());
}

#[test]
fn only_what_changed_is_packed_with_the_directories_above_it() {
    let image = Image::build(
        |root| {
            ["a/b/c/old", "a/same", "z"]
                .iter()
                .for_each(|it| file(root, it));
        },
        |root| fs::write(root.join("a/b/c/old"), "new").unwrap(),
    );
    assert_eq!(names(&image).0, ["/a/b/c/old"]);
    let diff = diff(&image).unwrap();
    let above: Vec<_> = diff.directories.keys().map(TreePath::to_string).collect();
    assert_eq!(above, ["/a", "/a/b", "/a/b/c"]);
    assert_unpacks(&image);
}

#[test]
fn a_file_that_was_opened_and_left_as_it_was_is_not_packed() {
    let image = Image::build(
        |root| {
            file(root, "db");
            at(root, "db", 1_600_000_000);
        },
        |root| Change::Touch("db".to_owned()).make(root),
    );
    let inode = |root: std::path::PathBuf| fs::metadata(root.join("db")).unwrap().ino();
    assert_ne!(
        inode(image.base()),
        inode(image.image()),
        "the overlay did not copy it"
    );
    assert_eq!(diff(&image).unwrap(), Diff::default());
}

#[test]
fn an_edit_that_restores_size_and_time_is_seen() {
    let image = Image::build(
        |root| {
            fs::write(root.join("file"), "one").unwrap();
            at(root, "file", 1_600_000_000);
        },
        |root| {
            fs::write(root.join("file"), "two").unwrap();
            at(root, "file", 1_600_000_000);
        },
    );
    assert_eq!(names(&image).0, ["/file"]);
    assert_unpacks(&image);
}

#[test]
fn a_removed_tree_is_one_whiteout() {
    let image = Image::build(
        |root| {
            ["a/gone/x", "a/gone/deep/y", "a/left"]
                .iter()
                .for_each(|it| file(root, it));
        },
        |root| fs::remove_dir_all(root.join("a/gone")).unwrap(),
    );
    assert_eq!(names(&image).1, ["/a/gone"]);
    assert_unpacks(&image);
}

#[test]
fn a_directory_made_anew_keeps_nothing_of_the_old_one() {
    let image = Image::build(
        |root| ["a/d/x", "a/d/y"].iter().for_each(|it| file(root, it)),
        |root| {
            fs::remove_dir_all(root.join("a/d")).unwrap();
            file(root, "a/d/z");
        },
    );
    assert_eq!(names(&image).1, ["/a/d/x", "/a/d/y"]);
    assert_unpacks(&image);
}

#[test]
fn files_and_directories_take_each_others_place() {
    let image = Image::build(
        |root| {
            ["file", "directory/in/it", "link"]
                .iter()
                .for_each(|it| file(root, it));
        },
        |root| {
            for name in ["file", "link"] {
                fs::remove_file(root.join(name)).unwrap();
            }
            fs::remove_dir_all(root.join("directory")).unwrap();
            file(root, "file/now/a/directory");
            file(root, "directory");
            symlink("file", root.join("link")).unwrap();
        },
    );
    assert!(names(&image).1.is_empty());
    assert_unpacks(&image);
}

#[test]
fn a_new_name_for_a_file_of_the_base_takes_all_its_names_along() {
    let image = Image::build(
        |root| file(root, "a/old"),
        |root| fs::hard_link(root.join("a/old"), root.join("new")).unwrap(),
    );
    assert_eq!(names(&image).0, ["/a/old", "/new"]);
    assert_unpacks(&image);
}

#[test]
fn capabilities_survive_on_every_name_of_a_file() {
    let image = Image::build(
        |_| {},
        |root| {
            file(root, "ping");
            let change = Change::Capability {
                path: "ping".to_owned(),
                bits: 2,
            };
            change.make(root);
            fs::hard_link(root.join("ping"), root.join("ping6")).unwrap();
        },
    );
    assert!(
        !snapshot(&image.image())[Path::new("ping6")]
            .capability
            .is_empty()
    );
    assert_unpacks(&image);
}

#[test]
fn other_attributes_are_dropped_as_buildkit_drops_them() {
    let image = Image::build(
        |_| {},
        |root| {
            file(root, "noted");
            Change::UserAttribute("noted".to_owned()).make(root);
        },
    );
    assert!(!tar(&image).windows(9).any(|it| it == b"user.note"));
}

#[test]
fn sockets_are_left_out_as_buildkit_leaves_them_out() {
    let image = Image::build(
        |root| file(root, "was-a-file"),
        |root| {
            fs::remove_file(root.join("was-a-file")).unwrap();
            for name in ["was-a-file", "run.sock"] {
                drop(UnixListener::bind(root.join(name)).unwrap());
            }
        },
    );
    assert_eq!(names(&image), (vec![], vec![]));
}

#[test]
fn a_name_reserved_for_whiteouts_is_an_error_that_names_it() {
    let image = Image::build(|_| {}, |root| file(root, "srv/.wh.data/x"));
    assert_eq!(
        diff(&image).unwrap_err().to_string(),
        "the image holds /srv/.wh.data, but layers reserve names that begin with `.wh.` for removed files; rename it"
    );
}

#[test]
fn links_out_of_the_image_are_packed_and_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    file(outside.path(), "secret/key");
    let image = Image::build(
        |root| file(root, "etc/x/y"),
        |root| {
            fs::remove_dir_all(root.join("etc")).unwrap();
            symlink(outside.path().join("secret"), root.join("etc")).unwrap();
            symlink("/etc/shadow", root.join("shadow")).unwrap();
        },
    );
    assert_eq!(
        names(&image),
        (vec!["/etc".to_owned(), "/shadow".to_owned()], vec![])
    );
    assert!(!tar(&image).windows(10).any(|it| it == b"secret/key"));
    assert_unpacks(&image);
}

#[test]
fn a_mount_in_the_image_is_an_error() {
    let image = Image::build(
        |_| {},
        |root| fs::create_dir_all(root.join("data/volume")).unwrap(),
    );
    let volume = image.image().join("data/volume");
    let flags = rustix::mount::MountFlags::NODEV;
    rustix::mount::mount("none", &volume, "tmpfs", flags, None::<&std::ffi::CStr>).unwrap();
    let error = diff(&image).unwrap_err();
    rustix::mount::unmount(&volume, rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!(
        error.to_string(),
        "/data/volume in the image is a mount of another file system"
    );
}

#[test]
fn a_file_that_changes_under_the_packer_is_an_error() {
    let image = Image::build(|_| {}, |_| {});
    let workers = Workers::new(1, 8 << 20).unwrap();
    // Not read-only, unlike in a build step.
    file(&image.lower(), "log");
    let tree = Tree::open(&image.lower()).unwrap();
    let diff = Diff::new(&tree, None, &workers).unwrap();
    fs::write(image.lower().join("log"), "longer than before").unwrap();
    let times = Times::kept();
    let packer = Packer::new(
        &tree,
        &diff,
        &times,
        &workers,
        Compression::Zstd { level: 1 },
    );
    let error = packer
        .pack(&Layer::whole(&diff), &mut Vec::new())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "/log in the image changed while it was packed"
    );
}

#[test]
fn gnu_tar_unpacks_the_same_tree() {
    let bytes = |name: &[u8]| {
        use std::os::unix::ffi::OsStrExt;
        std::ffi::OsStr::from_bytes(name).to_owned()
    };
    let image = Image::build(
        |_| {},
        |root| {
            let long = root.join("l".repeat(200)).join("m".repeat(200));
            fs::create_dir_all(&long).unwrap();
            fs::write(long.join("n".repeat(250)), "long").unwrap();
            symlink("t".repeat(300), root.join("long-target")).unwrap();
            fs::hard_link(long.join("n".repeat(250)), root.join("hard")).unwrap();
            fs::write(root.join(bytes(b"not\xffutf\xfe8")), "odd").unwrap();
            fs::write(root.join("line\nfeed"), "").unwrap();
            fs::write(root.join("1234567890".repeat(10)), "exactly 100").unwrap();
            for change in [
                Change::Fifo("fifo".to_owned()),
                Change::Sparse {
                    path: "sparse".to_owned(),
                    size: 5_000_000,
                },
                Change::Device {
                    path: "device".to_owned(),
                    block: false,
                    major: 60,
                    minor: 300,
                },
                Change::Owner {
                    path: "sparse".to_owned(),
                    uid: 4_000_000_000,
                    gid: 2_097_152,
                },
                Change::Mode {
                    path: "sparse".to_owned(),
                    mode: 0o6755,
                },
                Change::Modified {
                    path: "sparse".to_owned(),
                    seconds: 9_000_000_000,
                    nanoseconds: 5,
                },
                Change::Modified {
                    path: "fifo".to_owned(),
                    seconds: -5,
                    nanoseconds: 5,
                },
                Change::Capability {
                    path: "hard".to_owned(),
                    bits: 1,
                },
            ] {
                change.make(root);
            }
        },
    );
    let tar = tar(&image);
    let into = tempfile::tempdir().unwrap();
    let mut child = Command::new("tar")
        .args([
            "--extract",
            "--file=-",
            "--numeric-owner",
            "--same-permissions",
        ])
        .args(["--xattrs", "--xattrs-include=*", "--directory"])
        .arg(into.path())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &tar).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut expected = snapshot(&image.image());
    let mut got = snapshot(into.path());
    // tmpfs and ext4 differ in how late a time they can hold.
    let late = Path::new("sparse");
    for tree in [&mut expected, &mut got] {
        tree.get_mut(late).unwrap().modified = 0;
    }
    assert_same(&got, &expected);
    unpack(&tar, &image.lower());
    assert_same(&snapshot(&image.lower()), &snapshot(&image.image()));
}
