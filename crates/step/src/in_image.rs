//! A step that runs in the image that it pushes.
//!
//! In: the folder below which everything is mounted, as the only argument. The image's own files are hostile, and a C library looks
//! for more than names of hosts in its root directory: so the folder becomes the root, with BuildKit's own `resolv.conf` and
//! `hosts`, before anything else is done. The image stays the working directory.
//!
//! BuildKit mounts file systems on some of the image's directories ([`MOUNTED`]), and makes them where they are missing. The step runs
//! in the image only if the build cannot have changed those, so that they are the base's. What BuildKit does to `/etc` a copy shows,
//! which was made where nothing hides it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chroot};
use std::path::Path;

use anyhow::{Context as _, bail};
use layers::{Hidden, Tree};
use protocol::{BASE_PATH, HIDDEN_PATH, MOUNTED, NETWORK_FILES, OWNER_OF_MISSING};

/// Where the network files are.
const ETC: &str = "etc";

/// Makes the folder the root directory, and gives the image's tree.
pub(crate) fn enter(folder: &Path) -> anyhow::Result<Tree> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("could not read the mounts")?;
    check(&mounts, folder)?;
    let failed = || format!("could not make `{}` the root directory", folder.display());
    fs::create_dir_all(folder.join("etc")).with_context(failed)?;
    for name in NETWORK_FILES {
        let path = Path::new(ETC).join(name);
        match fs::read(Path::new("/").join(&path)) {
            Ok(text) => fs::write(folder.join(path), text).with_context(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(failed),
        }
    }
    std::env::set_current_dir("/").with_context(failed)?;
    let owner = fs::metadata(ETC).with_context(failed)?;
    let has_etc = (owner.uid(), owner.gid()) != OWNER_OF_MISSING;
    chroot(folder).with_context(failed)?;

    let mounted = MOUNTED.map(|name| Hidden {
        name,
        seen: Some(Path::new(BASE_PATH)).filter(|base| base.is_dir()),
        only: &[],
    });
    let etc = Hidden {
        name: ETC,
        seen: has_etc.then_some(Path::new(HIDDEN_PATH)),
        only: &NETWORK_FILES,
    };
    let own = folder.file_name().and_then(|name| name.to_str());
    let own = own.map(|name| Hidden {
        name,
        seen: None,
        only: &[],
    });
    let hidden = mounted.into_iter().chain([etc]).chain(own);
    Ok(Tree::with_hidden(Path::new("."), hidden)?)
}

/// Refuses to run where BuildKit hides more of the image than we know.
fn check(mounts: &str, folder: &Path) -> anyhow::Result<()> {
    // Columns: proc_pid_mountinfo(5). Spaces and the like are octal numbers, which no name here has.
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.map(Path::new) {
        let is_known = point == Path::new("/")
            || point.starts_with(folder)
            || MOUNTED
                .iter()
                .any(|name| point.starts_with(Path::new("/").join(name)))
            || NETWORK_FILES
                .iter()
                .any(|name| point == Path::new("/").join(ETC).join(name));
        if !is_known {
            bail!(
                "BuildKit has mounted something on `{}` in the image, which hides what the image has there",
                point.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        511 405 0:45 / / rw,relatime - overlay overlay rw,lowerdir=/a:/b,upperdir=/c\n\
        512 511 0:60 / /proc rw,nosuid - proc proc rw\n\
        513 511 0:61 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k\n\
        514 513 0:62 / /dev/pts rw,nosuid - devpts devpts rw\n\
        515 511 254:0 /r /etc/resolv.conf ro,relatime - ext4 /dev/vda rw\n\
        516 511 0:46 / /.fast-ecr-push-01/base ro,relatime - overlay overlay ro\n";

    #[test]
    fn knows_the_mounts_of_buildkit() {
        check(MOUNTS, Path::new("/.fast-ecr-push-01")).unwrap();
    }

    #[test]
    fn refuses_mounts_that_hide_more_of_the_image() {
        for point in [
            "/usr/etc/hosts",
            "/etc/passwd",
            "/etc/hosts/x",
            "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
            "/process",
            "/.fast-ecr-push-012",
            "/with\\040space",
        ] {
            let mounts = format!("{MOUNTS}517 511 0:63 / {point} rw,relatime - tmpfs tmpfs rw\n");
            let error = check(&mounts, Path::new("/.fast-ecr-push-01")).unwrap_err();
            assert!(error.to_string().contains(point), "{error}");
        }
    }
}
