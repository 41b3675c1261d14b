//! A file in a folder that other builds may write to.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};

use crate::tree::FILE;

/// Reads a regular file of at most `longest` bytes. Follows no link and waits for no writer.
pub fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let file = rustix::fs::openat(CWD, path, FILE, Mode::empty())?;
    let file = fs::File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    file.take(longest + 1).read_to_end(&mut content)?;
    if content.len() as u64 > longest {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

/// How long to wait for others. They need milliseconds, unless somebody means harm.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs `change`, a change of the file at `path`, while no other process runs one. Who is kept waiting for too long goes ahead, so that
/// one change may be lost, but no build stops.
pub fn alone<T>(path: &Path, change: impl FnOnce() -> T) -> T {
    let _lock = lock(path);
    change()
}

/// The file is not locked itself, since [`replace`] puts another one in its place.
fn lock(path: &Path) -> io::Result<fs::File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let flags = FILE.union(OFlags::CREATE);
    let lock = rustix::fs::openat(CWD, beside, flags, Mode::RUSR | Mode::WUSR)?;
    let lock = fs::File::from(lock);
    let since = Instant::now();
    while let Err(error) = lock.try_lock() {
        if since.elapsed() > PATIENCE {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(lock)
}

/// Writes a file: to one beside it first, so that a reader sees the old content or the new one.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", rustix::process::getpid()));
    // What a killed run left, or what somebody has put there to be written through: a new file follows no link.
    let _ = fs::remove_file(&beside);
    fs::File::create_new(&beside)?.write_all(content)?;
    fs::rename(&beside, path).inspect_err(|_| {
        // The error that matters is the first.
        let _ = fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_neither_read_nor_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(read(&path, 10).is_err());

        let other = folder.path().join("other");
        fs::write(&other, "stays").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(read(&path, 10).is_err());

        // The name that is written first is a guess away.
        let beside = format!("digests.{}", rustix::process::getpid());
        std::os::unix::fs::symlink(&other, folder.path().join(beside)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"stays");
        assert_eq!(read(&path, 3).unwrap(), b"new");
        assert!(read(&path, 2).is_err());
        assert_eq!(folder.path().read_dir().unwrap().count(), 2);
    }
}
