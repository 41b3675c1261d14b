//! A mounted root file system, read without ever leaving it.
//!
//! The content of the tree is hostile: a symbolic link may point anywhere. Each directory is opened from the one above it, one
//! name at a time, with `O_NOFOLLOW`; nothing is opened by a longer path. A directory on another file system than the one above is
//! an error. Only regular files are opened, and none of them blocks (`O_NONBLOCK`, should a FIFO have taken its place).

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::path::TreePath;

/// The root of an image, mounted.
#[derive(Debug, Clone)]
pub struct Tree {
    root: Arc<Directory>,
}

/// A name in the root directory that is not as the image has it.
#[derive(Debug, Clone, Copy)]
pub struct Hidden<'a> {
    /// The name.
    pub name: &'a str,
    /// A directory that has the name as the image has it, or lacks it as the image does. None if the name is not the image's.
    pub seen: Option<&'a Path>,
    /// If not empty: of that directory only its times and these names are hidden.
    pub only: &'a [&'a str],
}

impl Tree {
    /// Opens `root`, a directory that nothing writes to from now on.
    pub fn open(root: &Path) -> Result<Self> {
        let directory = Directory::at(root, TreePath::root())?;
        Ok(Self {
            root: Arc::new(directory),
        })
    }

    /// Opens `root`, in which something else hides some names.
    pub fn with_hidden<'a>(
        root: &Path,
        hidden: impl IntoIterator<Item = Hidden<'a>>,
    ) -> Result<Self> {
        let mut directory = Directory::at(root, TreePath::root())?;
        for Hidden { name, seen, only } in hidden {
            let elsewhere = match seen {
                None => Elsewhere::Nowhere,
                Some(place) => {
                    let holder = Arc::new(Directory::at(place, TreePath::root())?);
                    if only.is_empty() {
                        Elsewhere::Whole(holder)
                    } else {
                        let names = only.iter().map(|name| name.as_bytes().into()).collect();
                        Elsewhere::Partly { holder, names }
                    }
                }
            };
            directory
                .elsewhere
                .insert(name.as_bytes().into(), elsewhere);
        }
        Ok(Self {
            root: Arc::new(directory),
        })
    }

    /// The root directory.
    pub(crate) fn root(&self) -> &Arc<Directory> {
        &self.root
    }

    /// The bytes of a regular file, if it is one and at most `limit` long.
    pub(crate) fn read(&self, path: &TreePath, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(parent) = path.parent() else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(self.clone());
        let directory = cursor.enter(&parent)?;
        let file = directory.open(path.name())?;
        let stat = rustix::fs::fstat(&file).map_err(Error::tree("could not look at", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || u64::try_from(stat.st_size).unwrap_or(u64::MAX) > limit
        {
            return Ok(None);
        }
        let mut content = Vec::new();
        io::Read::read_to_end(
            &mut io::Read::take(std::fs::File::from(file), limit),
            &mut content,
        )
        .map_err(Error::tree("could not read", path))?;
        Ok(Some(content))
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// How a regular file is opened: no link is followed, and nothing else that has its name is waited for.
pub(crate) const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// An open directory of a tree.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Where this directory is in the file system, by a path whose last names are those of `path`.
    place: Arc<[u8]>,
    pub(crate) path: TreePath,
    fd: OwnedFd,
    device: u64,
    /// Names that something else hides.
    elsewhere: HashMap<Box<[u8]>, Elsewhere>,
}

/// Where a hidden name is seen.
#[derive(Debug, Clone)]
enum Elsewhere {
    /// The image does not have it.
    Nowhere,
    /// In this directory.
    Whole(Arc<Directory>),
    /// In this directory are its times, and these names in it.
    Partly {
        holder: Arc<Directory>,
        names: Vec<Box<[u8]>>,
    },
}

impl Directory {
    fn at(place: &Path, path: TreePath) -> Result<Self> {
        let fd = rustix::fs::openat(CWD, place, DIRECTORY, Mode::empty())
            .map_err(Error::tree("could not open", &path))?;
        Self::new(place.as_os_str().as_bytes().into(), path, fd)
    }

    fn new(place: Arc<[u8]>, path: TreePath, fd: OwnedFd) -> Result<Self> {
        let stat = rustix::fs::fstat(&fd).map_err(Error::tree("could not look at", &path))?;
        Ok(Self {
            place,
            path,
            fd,
            device: stat.st_dev,
            elsewhere: HashMap::new(),
        })
    }

    /// The directory that has `name` as the image does.
    fn holder(&self, name: &[u8]) -> rustix::io::Result<&Self> {
        match self.elsewhere.get(name) {
            Some(Elsewhere::Nowhere) => Err(Errno::NOENT),
            Some(Elsewhere::Whole(holder)) => Ok(holder),
            Some(Elsewhere::Partly { .. }) | None => Ok(self),
        }
    }

    /// Opens the directory `name` of this one.
    pub(crate) fn enter(&self, name: &[u8]) -> Result<Self> {
        let path = self.path.join(name);
        let holder = self
            .holder(name)
            .map_err(|error| Error::tree("could not open", &path)(error))?;
        let mut directory = holder.open_directory(name, path.clone())?;
        if let Some(Elsewhere::Partly { holder, names }) = self.elsewhere.get(name) {
            let seen = Arc::new(holder.open_directory(name, path)?);
            for name in names {
                let elsewhere = Elsewhere::Whole(Arc::clone(&seen));
                directory.elsewhere.insert(name.clone(), elsewhere);
            }
        }
        Ok(directory)
    }

    fn open_directory(&self, name: &[u8], path: TreePath) -> Result<Self> {
        let fd = rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty())
            .map_err(Error::tree("could not open", &path))?;
        let place = [&*self.place, name].join(&b'/');
        let child = Self::new(place.into(), path, fd)?;
        if child.device != self.device {
            return Err(Error::OtherFileSystem { path: child.path });
        }
        Ok(child)
    }

    /// The names in it, sorted by bytes.
    pub(crate) fn names(&self) -> Result<Vec<Box<[u8]>>> {
        let failed = |source| Error::tree("could not list", &self.path)(source);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && !self.elsewhere.contains_key(name) {
                names.push(name.into());
            }
        }
        for name in self.elsewhere.keys() {
            match self.stat(name) {
                Ok(_) => names.push(name.clone()),
                Err(Errno::NOENT) => {}
                Err(error) => {
                    return Err(Error::tree("could not look at", &self.path.join(name))(
                        error,
                    ));
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn stat(&self, name: &[u8]) -> rustix::io::Result<Stat> {
        let holder = self.holder(name)?;
        rustix::fs::statat(&holder.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// What `name` is, without following it.
    pub(crate) fn look(&self, name: &[u8]) -> Result<Found> {
        let failed = |error| Error::tree("could not look at", &self.path.join(name))(error);
        let found = Found::from(&self.stat(name).map_err(failed)?);
        let Some(Elsewhere::Partly { holder, .. }) = self.elsewhere.get(name) else {
            return Ok(found);
        };
        let seen = holder.look(name)?;
        Ok(Found {
            modified: seen.modified,
            changed: seen.changed,
            inode: seen.inode,
            ..found
        })
    }

    /// Where the symbolic link `name` points.
    pub(crate) fn target(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.holder(name)
            .and_then(|holder| rustix::fs::readlinkat(&holder.fd, name, Vec::new()))
            .map(std::ffi::CString::into_bytes)
            .map_err(|error| Error::tree("could not read the link", &self.path.join(name))(error))
    }

    /// Opens the regular file `name`.
    pub(crate) fn open(&self, name: &[u8]) -> Result<OwnedFd> {
        self.holder(name)
            .and_then(|holder| rustix::fs::openat(&holder.fd, name, FILE, Mode::empty()))
            .map_err(|error| Error::tree("could not open", &self.path.join(name))(error))
    }

    /// The capabilities of `name`, which need not be a file that can be opened: a link or a device has them, too, if one insists.
    pub(crate) fn capability_of(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        // The system has no `lgetxattrat` before Linux 6.13. All directories above were opened without following a link, and nothing
        // writes to the tree.
        let mut value = [0; LONGEST_CAPABILITY];
        let length = self.holder(name).and_then(|holder| {
            let path = [&*holder.place, name].join(&b'/');
            rustix::fs::lgetxattr(path, CAPABILITY, &mut value)
        });
        kept(length, &value, || self.path.join(name))
    }

    /// The capabilities of this directory itself, see [`capability`].
    pub(crate) fn capability(&self) -> Result<Option<Vec<u8>>> {
        capability(&self.fd, &self.path)
    }
}

/// The name of the one extended attribute that BuildKit's layers keep.
/// <https://github.com/containerd/containerd/blob/v2.1.0/pkg/archive/tar.go#L645>
pub(crate) const CAPABILITY: &CStr = c"security.capability";

/// Twice what version 3 takes, the longest so far: linux/capability.h, `XATTR_CAPS_SZ_3`.
const LONGEST_CAPABILITY: usize = 48;

/// The file capabilities of an open file, if it has any.
pub(crate) fn capability(file: impl AsFd, path: &TreePath) -> Result<Option<Vec<u8>>> {
    let mut value = [0; LONGEST_CAPABILITY];
    let length = rustix::fs::fgetxattr(file, CAPABILITY, &mut value);
    kept(length, &value, || path.clone())
}

fn kept(
    length: rustix::io::Result<usize>,
    value: &[u8],
    path: impl FnOnce() -> TreePath,
) -> Result<Option<Vec<u8>>> {
    match length {
        Ok(0) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Ok(length) => Ok(value.get(..length).map(<[u8]>::to_vec)),
        Err(error) => Err(Error::tree("could not read the capabilities of", &path())(
            error,
        )),
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket, which layers cannot hold.
    Socket,
}

/// A point in time as the file system has it: whole seconds since 1970, and nanoseconds from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What the file system says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// File, directory, link, …
    pub kind: Kind,
    /// Permissions with setuid, setgid and sticky: the lowest 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes, of regular files only; 0 otherwise.
    pub size: u64,
    /// A device's major and minor number; 0 otherwise.
    pub device: (u32, u32),
    /// When the content changed.
    pub modified: Time,
    /// When content or attributes changed. Nothing can set it.
    pub changed: Time,
    /// The file's number in its file system.
    pub inode: u64,
    /// How many names it has.
    pub names: u64,
}

impl From<&Stat> for Found {
    fn from(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            FileType::CharacterDevice => Kind::Character,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::RegularFile | FileType::Unknown => Kind::File,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: match kind {
                Kind::File => u64::try_from(stat.st_size).unwrap_or_default(),
                _ => 0,
            },
            device: match kind {
                Kind::Character | Kind::Block => (
                    rustix::fs::major(stat.st_rdev),
                    rustix::fs::minor(stat.st_rdev),
                ),
                _ => (0, 0),
            },
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
            names: wide(stat.st_nlink),
        }
    }
}

/// The number of names has 32 bits on some architectures.
fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

fn time(seconds: impl Into<i64>, nanoseconds: impl TryInto<u32>) -> Time {
    Time {
        seconds: seconds.into(),
        nanoseconds: nanoseconds.try_into().unwrap_or_default(),
    }
}

/// Goes from directory to directory; near ones are cheap, since those above stay open.
#[derive(Debug)]
pub(crate) struct Cursor {
    tree: Tree,
    open: Vec<Directory>,
}

impl Cursor {
    pub(crate) fn new(tree: Tree) -> Self {
        Self {
            tree,
            open: Vec::new(),
        }
    }

    /// Opens the directory at `path`.
    pub(crate) fn enter(&mut self, path: &TreePath) -> Result<&Directory> {
        while let Some(last) = self.open.last()
            && &last.path != path
            && path.below(&last.path).is_none()
        {
            self.open.pop();
        }
        let start = self
            .open
            .last()
            .map_or(TreePath::root(), |it| it.path.clone());
        let rest = if &start == path {
            &[]
        } else {
            path.below(&start).unwrap_or_default()
        };
        for name in rest.split(|&byte| byte == b'/').filter(|it| !it.is_empty()) {
            let parent = self.open.last().unwrap_or(&self.tree.root);
            let child = parent.enter(name)?;
            self.open.push(child);
        }
        Ok(self.open.last().unwrap_or(&self.tree.root))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::time::{Duration, SystemTime};

    use super::*;

    fn names(directory: &Directory) -> Vec<String> {
        let names = directory.names().unwrap().into_iter();
        names
            .map(|name| String::from_utf8(name.into()).unwrap())
            .collect()
    }

    #[test]
    fn names_that_something_hides_are_read_elsewhere_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in [
            "root/etc/own",
            "root/dev/mounted",
            "root/proc/1",
            "root/mine",
            "root/usr/dev",
            "seen/etc/copied",
            "seen/dev/real",
        ] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for name in ["hosts", "resolv.conf"] {
            fs::write(at("root/etc").join(name), "mounted").unwrap();
        }
        fs::write(at("seen/etc/hosts"), "real").unwrap();
        fs::set_permissions(at("root/etc"), Permissions::from_mode(0o711)).unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        let etc = fs::File::open(at("seen/etc")).unwrap();
        etc.set_modified(long_ago).unwrap();
        let seen = at("seen");
        let hidden = |name, only| Hidden {
            name,
            seen: Some(&*seen),
            only,
        };
        let mine = Hidden {
            name: "mine",
            seen: None,
            only: &[],
        };
        let etc = hidden("etc", &["hosts", "resolv.conf"]);
        let all = [etc, hidden("dev", &[]), hidden("proc", &[]), mine];
        let tree = Tree::with_hidden(&at("root"), all).unwrap();

        let root = tree.root();
        assert_eq!(names(root), ["dev", "etc", "usr"]);
        for name in ["dev", "etc"] {
            let inode = fs::metadata(seen.join(name)).unwrap().ino();
            assert_eq!(root.look(name.as_bytes()).unwrap().inode, inode);
            assert_eq!(root.look(name.as_bytes()).unwrap().kind, Kind::Directory);
            assert_eq!(root.capability_of(name.as_bytes()).unwrap(), None);
        }
        let found = root.look(b"etc").unwrap();
        assert_eq!((found.mode, found.modified.seconds), (0o711, 5));
        for name in ["proc", "mine"] {
            assert!(root.look(name.as_bytes()).is_err());
            assert!(root.enter(name.as_bytes()).is_err());
        }
        assert_eq!(names(&root.enter(b"dev").unwrap()), ["real"]);
        let etc = root.enter(b"etc").unwrap();
        assert_eq!(names(&etc), ["hosts", "own"]);
        assert_eq!(etc.path, TreePath::from("etc"));
        assert!(etc.open(b"resolv.conf").is_err());
        let content = tree.read(&TreePath::from("etc/hosts"), 100).unwrap();
        assert_eq!(content.as_deref(), Some(&b"real"[..]));
        let usr = root.enter(b"usr").unwrap();
        assert_eq!(
            names(&usr.enter(b"dev").unwrap()),
            [""; 0],
            "only at the root"
        );
    }
}
