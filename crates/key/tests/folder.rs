//! What of a folder is in its key, and what is not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use dockerfile::Ignore;
use key::{Folder, FolderError, Hash, Limits, Progress};
use proptest::prelude::*;

fn read_with(path: &Path, ignore: &str, limits: Limits) -> Result<Folder, FolderError> {
    let ignore = Ignore::read(ignore.as_bytes()).unwrap();
    Folder::read(path, &ignore, limits, &Progress::default())
}

fn read(path: &Path, ignore: &str) -> Folder {
    read_with(path, ignore, Limits::default()).unwrap()
}

fn hash(path: &Path) -> Hash {
    read(path, "").hash()
}

fn write(folder: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}

fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "src/main.py", "print(1)");
    write(folder.path(), "src/lib/a.py", "a = 1");
    write(folder.path(), "README.md", "words");
    symlink("src/main.py", folder.path().join("link")).unwrap();
    folder
}

#[test]
fn a_copy_with_other_times_and_in_another_place_is_the_same() {
    let (one, other) = (example(), example());
    let file = File::options()
        .append(true)
        .open(other.path().join("README.md"))
        .unwrap();
    let hour = Duration::from_secs(3600);
    file.set_modified(SystemTime::now() - hour).unwrap();
    assert_eq!(hash(one.path()), hash(other.path()));
    let link = tempfile::tempdir().unwrap();
    symlink(one.path(), link.path().join("here")).unwrap();
    assert_eq!(hash(one.path()), hash(&link.path().join("here")));
}

/// A path has at most 4,096 bytes, so that it may name 2,000 folders.
#[test]
fn a_folder_that_is_too_deep_is_refused_and_does_not_end_the_program() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &format!("{}f", "d/".repeat(255)), "content");
    assert_eq!(read(folder.path(), "").size(), (256, 7));
    let length = folder.path().as_os_str().len();
    let deep = "e/".repeat((4_000 - length) / 2);
    write(folder.path(), &format!("{deep}f"), "content");
    let error = read_with(folder.path(), "", Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "more than 256 folders are in each other");
    assert_eq!(read(folder.path(), "e").size(), (256, 7));
}

#[test]
fn every_change_that_an_image_may_show_is_another_key() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 9] = [
        ("a byte", |folder| write(folder, "README.md", "wordz")),
        ("a mode bit", |folder| {
            let path = folder.join("README.md");
            fs::set_permissions(path, Permissions::from_mode(0o744)).unwrap();
        }),
        ("a folder's mode", |folder| {
            let path = folder.join("src/lib");
            fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        }),
        ("a name", |folder| {
            fs::rename(folder.join("README.md"), folder.join("README")).unwrap();
        }),
        ("a new empty file", |folder| write(folder, "empty", "")),
        ("an empty folder", |folder| {
            fs::create_dir(folder.join("empty")).unwrap();
        }),
        ("one file less", |folder| {
            fs::remove_file(folder.join("src/lib/a.py")).unwrap();
        }),
        ("where a link leads", |folder| {
            fs::remove_file(folder.join("link")).unwrap();
            symlink("src/other.py", folder.join("link")).unwrap();
        }),
        ("a link that became what it leads to", |folder| {
            fs::remove_file(folder.join("link")).unwrap();
            write(folder, "link", "print(1)");
        }),
    ];
    let plain = example();
    for (name, change) in changes {
        let changed = example();
        assert_eq!(hash(plain.path()), hash(changed.path()), "{name}");
        change(changed.path());
        assert_ne!(hash(plain.path()), hash(changed.path()), "{name}");
    }
}

#[test]
fn what_the_ignore_file_leaves_out_does_not_count() {
    let folder = example();
    write(folder.path(), "target/a", "1");
    write(folder.path(), "target/keep", "1");
    let ignore = "target\n*.md\n";
    let before = read(folder.path(), ignore);
    write(folder.path(), "target/b", "2");
    write(folder.path(), "README.md", "other words");
    assert_eq!(before.hash(), read(folder.path(), ignore).hash());
    assert!(
        before
            .is_untouched(folder.path(), &Ignore::read(ignore.as_bytes()).unwrap())
            .unwrap()
    );
    let taken_back = "target\n!target/keep\n";
    let with = read(folder.path(), taken_back);
    write(folder.path(), "target/b", "3");
    assert_eq!(with.hash(), read(folder.path(), taken_back).hash());
    write(folder.path(), "target/keep", "2");
    assert_ne!(with.hash(), read(folder.path(), taken_back).hash());
}

#[test]
fn a_link_is_not_followed_even_out_of_the_folder_or_in_a_circle() {
    let folder = example();
    let secret = tempfile::tempdir().unwrap();
    write(secret.path(), "secret", "1");
    symlink(secret.path(), folder.path().join("out")).unwrap();
    symlink(".", folder.path().join("circle")).unwrap();
    let before = hash(folder.path());
    write(secret.path(), "secret", "2");
    assert_eq!(before, hash(folder.path()));
}

#[test]
fn hostile_names_and_pipes_are_read_without_harm() {
    let folder = example();
    for name in [
        b"\xff\xfe".as_slice(),
        b"new\nline",
        b"-rf",
        b"::error::x",
        b"*",
        b"a\\b",
    ] {
        fs::write(folder.path().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let pipe = folder.path().join("pipe");
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    );
    made.unwrap();
    let all = read(folder.path(), "");
    // What no pattern can name is not left out by one.
    let ignored = read(folder.path(), "*\n");
    assert_eq!(ignored.size().0, 1);
    assert_eq!(all.size().0, 6 + 6 + 1);
    assert!(all.is_untouched(folder.path(), &Ignore::default()).unwrap());
}

#[test]
fn a_path_has_a_key_of_its_own_where_it_names_one_thing() {
    let folder = example();
    let before = read(folder.path(), "");
    write(folder.path(), "README.md", "other words");
    let after = read(folder.path(), "");
    for path in ["src", "/src/", "./src/lib", "src/main.py", "src/lib/a.py"] {
        assert_eq!(before.at(path), after.at(path), "{path}");
        assert_ne!(before.at(path), before.hash(), "{path}");
    }
    for path in [
        ".",
        "/",
        "",
        "*.md",
        "src/*",
        "src/[a-z]",
        "link",
        "../src",
        "src/../README.md",
        "gone",
        "README.md",
    ] {
        assert_ne!(before.at(path), after.at(path), "{path}");
    }
    write(folder.path(), "src/lib/a.py", "a = 2");
    let last = read(folder.path(), "");
    assert_ne!(after.at("src"), last.at("src"));
    assert_eq!(after.at("src/main.py"), last.at("src/main.py"));
}

#[test]
fn a_file_of_several_pieces_counts_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut content = vec![7_u8; 9 << 20];
    write(folder.path(), "large", &content);
    let before = hash(folder.path());
    assert_eq!(before, hash(folder.path()));
    for place in [0, (4 << 20) - 1, 4 << 20, (9 << 20) - 1] {
        content[place] = 8;
        write(folder.path(), "large", &content);
        assert_ne!(before, hash(folder.path()), "{place}");
        content[place] = 7;
    }
    // Pieces that change places.
    let (head, tail) = content.split_at_mut(4 << 20);
    head.fill(1);
    tail[..4 << 20].fill(2);
    write(folder.path(), "large", &content);
    let one = hash(folder.path());
    let (head, tail) = content.split_at_mut(4 << 20);
    head.fill(2);
    tail[..4 << 20].fill(1);
    write(folder.path(), "large", &content);
    assert_ne!(one, hash(folder.path()));
}

#[test]
fn a_folder_that_is_too_large_or_not_there_is_refused() {
    let folder = example();
    let refused = |entries, bytes| {
        let limits = Limits { entries, bytes };
        read_with(folder.path(), "", limits)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refused(3, 1 << 30), "there are more than 3 files");
    assert_eq!(refused(100, 10), "the files have more than 0 GiB");
    let gone = folder.path().join("gone");
    let error = read_with(&gone, "", Limits::default()).unwrap_err();
    assert!(error.to_string().ends_with("gone`"), "{error}");
    let progress = Progress::default();
    progress.stop();
    let stopped = Folder::read(
        folder.path(),
        &Ignore::default(),
        Limits::default(),
        &progress,
    );
    assert!(matches!(stopped, Err(FolderError::Stopped)));
}

#[test]
fn a_file_that_was_written_to_since_is_noticed() {
    let folder = example();
    let before = read(folder.path(), "");
    let untouched = || {
        before
            .is_untouched(folder.path(), &Ignore::default())
            .unwrap()
    };
    assert!(untouched());
    fs::write(folder.path().join("src/main.py"), "print(2)").unwrap();
    assert!(!untouched());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two folders have one key if, and only if, they hold the same.
    #[test]
    fn a_key_is_that_of_the_content(
        one in prop::collection::btree_map("[ab]{1,2}(/[ab]{1,2})?", "[01]{0,2}", 0..5),
        other in prop::collection::btree_map("[ab]{1,2}(/[ab]{1,2})?", "[01]{0,2}", 0..5),
    ) {
        let make = |files: &BTreeMap<String, String>| {
            let folder = tempfile::tempdir().unwrap();
            let mut made = BTreeMap::new();
            for (path, content) in files {
                // A name may be taken for a folder, or by a file.
                let path = folder.path().join(path);
                let parent = path.parent().unwrap();
                if fs::create_dir_all(parent).is_ok() && fs::write(&path, content).is_ok() {
                    made.insert(path.strip_prefix(folder.path()).unwrap().to_owned(), content.clone());
                }
            }
            let key = hash(folder.path());
            (made, key)
        };
        let ((one, key), (other, other_key)) = (make(&one), make(&other));
        prop_assert_eq!(one == other, key == other_key, "{:?} {:?}", one, other);
    }
}
