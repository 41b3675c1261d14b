//! `info/PACKAGE.list`, the list of a Debian package's files and directories: an absolute path a line.
//! <https://manpages.debian.org/bookworm/dpkg-dev/deb.5.en.html> names the package's other files in `info`.

use std::sync::Arc;

use super::{Format, Owner, Package, text};
use crate::path::TreePath;

/// The package whose list, or whose other file in `info`, `path` is.
pub(super) fn package(path: &TreePath) -> Option<Package> {
    if path.parent()? != TreePath::from("var/lib/dpkg/info") {
        return None;
    }
    // `libc6:amd64.list`: names have no colon, but dots: `libstdc++6`, `python3.11`.
    let dot = path.name().iter().rposition(|&byte| byte == b'.')?;
    let name = path.name().get(..dot)?;
    let name = name.split(|&byte| byte == b':').next()?;
    if name.is_empty() {
        return None;
    }
    Some(Package {
        owner: Arc::new(Owner::Dpkg(text(name))),
        version: None,
        format: Format::Dpkg,
        base: TreePath::root(),
    })
}

/// Calls `claim` with each path.
pub(super) fn read(list: &[u8], claim: impl FnMut(&[u8])) {
    list.split(|&byte| byte == b'\n')
        .filter(|path| !path.is_empty())
        .for_each(claim);
}
