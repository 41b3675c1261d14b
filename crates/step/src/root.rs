//! The root directory of a step that runs in the image itself.
//!
//! In: the folder below which everything is mounted, as the only argument. The image's own files are hostile, and a C library looks for more than
//! names of hosts in its root directory: so the folder becomes the root, with BuildKit's own `resolv.conf` and `hosts`, before anything else is done.

use std::fs;
use std::io;
use std::os::unix::fs::chroot;
use std::path::Path;

use anyhow::Context as _;

/// What BuildKit mounts for the network.
const NETWORK: [&str; 2] = ["etc/resolv.conf", "etc/hosts"];

/// Where the job is in such a folder.
pub(crate) const PROGRAM: &str = "/program";

/// Makes the folder the root directory.
pub(crate) fn enter(folder: &Path) -> anyhow::Result<()> {
    let failed = || format!("could not make `{}` the root directory", folder.display());
    fs::create_dir_all(folder.join("etc")).with_context(failed)?;
    for path in NETWORK {
        match fs::read(Path::new("/").join(path)) {
            Ok(text) => fs::write(folder.join(path), text).with_context(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(failed),
        }
    }
    chroot(folder).with_context(failed)?;
    std::env::set_current_dir("/").with_context(failed)
}
