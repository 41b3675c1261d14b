//! What builds do to trees.

use std::ffi::OsString;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

/// One change. Whatever a tree does not permit (a file in a file) is left undone.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Directory(String),
    File {
        path: String,
        size: usize,
        seed: u8,
    },
    Sparse {
        path: String,
        size: u64,
    },
    Symlink {
        path: String,
        target: String,
    },
    Hard {
        path: String,
        to: String,
    },
    Rename {
        path: String,
        to: String,
    },
    Fifo(String),
    Socket(String),
    Device {
        path: String,
        block: bool,
        major: u32,
        minor: u32,
    },
    Remove(String),
    Mode {
        path: String,
        mode: u32,
    },
    Owner {
        path: String,
        uid: u32,
        gid: u32,
    },
    Modified {
        path: String,
        seconds: i64,
        nanoseconds: i64,
    },
    Capability {
        path: String,
        bits: u8,
    },
    UserAttribute(String),
    /// A file opened for writing and left as it is: an overlay copies it.
    Touch(String),
}

impl Change {
    pub(crate) fn make(&self, root: &Path) {
        let _ = self.try_make(root);
    }

    fn try_make(&self, root: &Path) -> std::io::Result<()> {
        let at = |path: &String| root.join(bytes(path));
        match self {
            Self::Directory(path) => fs::create_dir(at(path)),
            Self::File { path, size, seed } => {
                let content: Vec<u8> = (0..*size)
                    .map(|at| (at / 7 * usize::from(*seed) + at % 13) as u8)
                    .collect();
                open(&at(path))?.write_all(&content)
            }
            Self::Sparse { path, size } => {
                let mut file = open(&at(path))?;
                file.seek(SeekFrom::Start(*size))?;
                file.write_all(b"end")
            }
            Self::Symlink { path, target } => std::os::unix::fs::symlink(bytes(target), at(path)),
            Self::Hard { path, to } => fs::hard_link(at(to), at(path)),
            Self::Rename { path, to } => fs::rename(at(path), at(to)),
            Self::Fifo(path) => Ok(rustix::fs::mknodat(
                CWD,
                at(path),
                FileType::Fifo,
                Mode::from_raw_mode(0o640),
                0,
            )?),
            // A socket's address may not be longer than about 100 bytes.
            Self::Socket(path) => Ok(rustix::fs::mknodat(
                CWD,
                at(path),
                FileType::Socket,
                Mode::from_raw_mode(0o755),
                0,
            )?),
            Self::Device {
                path,
                block,
                major,
                minor,
            } => {
                let kind = if *block {
                    FileType::BlockDevice
                } else {
                    FileType::CharacterDevice
                };
                let device = rustix::fs::makedev(*major, *minor);
                Ok(rustix::fs::mknodat(
                    CWD,
                    at(path),
                    kind,
                    Mode::from_raw_mode(0o600),
                    device,
                )?)
            }
            Self::Remove(path) => {
                if fs::symlink_metadata(at(path))?.is_dir() {
                    fs::remove_dir_all(at(path))
                } else {
                    fs::remove_file(at(path))
                }
            }
            Self::Mode { path, mode } => {
                if fs::symlink_metadata(at(path))?.is_symlink() {
                    return Ok(());
                }
                Ok(rustix::fs::chmodat(
                    CWD,
                    at(path),
                    Mode::from_raw_mode(*mode),
                    AtFlags::empty(),
                )?)
            }
            Self::Owner { path, uid, gid } => Ok(rustix::fs::chownat(
                CWD,
                at(path),
                Some(Uid::from_raw(*uid)),
                Some(Gid::from_raw(*gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            )?),
            Self::Modified {
                path,
                seconds,
                nanoseconds,
            } => {
                let time = Timespec {
                    tv_sec: *seconds,
                    tv_nsec: *nanoseconds,
                };
                let times = Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                Ok(rustix::fs::utimensat(
                    CWD,
                    at(path),
                    &times,
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            Self::Capability { path, bits } => {
                // Version 2, effective; permitted bits; nothing inheritable: linux/capability.h, `vfs_cap_data`.
                let mut value = [0; 20];
                value[..5].copy_from_slice(&[1, 0, 0, 2, *bits]);
                Ok(rustix::fs::lsetxattr(
                    at(path),
                    c"security.capability",
                    &value,
                    XattrFlags::empty(),
                )?)
            }
            Self::UserAttribute(path) => Ok(rustix::fs::lsetxattr(
                at(path),
                c"user.note",
                b"dropped",
                XattrFlags::empty(),
            )?),
            Self::Touch(path) => {
                writable(&at(path))?;
                fs::OpenOptions::new().append(true).open(at(path)).map(drop)
            }
        }
    }
}

/// Stands for a byte that is not the start of any UTF-8 character.
pub(crate) const NO_CHARACTER: char = '\u{e000}';

/// A path as the file system has it.
fn bytes(path: &str) -> OsString {
    let marked = NO_CHARACTER.to_string();
    let parts: Vec<&[u8]> = path.split(&marked).map(str::as_bytes).collect();
    OsString::from_vec(parts.join(&0xff))
}

/// Opens a file that is new or a regular one.
fn open(path: &Path) -> std::io::Result<fs::File> {
    writable(path)?;
    fs::File::create(path)
}

/// Never a FIFO, which would wait for a reader, nor a device, which might exist on this machine, nor a link to one.
fn writable(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(it) if !it.is_file() => Err(std::io::ErrorKind::InvalidInput.into()),
        _ => Ok(()),
    }
}
