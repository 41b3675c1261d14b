//! This process as another program.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::IntoRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};

/// A file in memory, under a path that this process and those that it becomes or starts can open. It lives as long as somebody
/// has it open: nothing is left behind.
///
/// # Errors
/// When it can't be made.
pub(crate) fn in_memory(name: &str, content: &[u8]) -> io::Result<OsString> {
    // Open in the new program, too.
    let mut file = File::from(memfd_create(name, MemfdFlags::empty())?);
    file.write_all(content)?;
    Ok(format!("/proc/self/fd/{}", file.into_raw_fd()).into())
}

/// Becomes another program, with other values for some variables.
///
/// # Errors
/// When it could not; else it does not return.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that starts processes"
)]
pub(crate) fn replace_self(
    program: &Path,
    name: &OsStr,
    args: impl IntoIterator<Item = OsString>,
    variables: Vec<(&str, OsString)>,
) -> io::Result<()> {
    Err(std::process::Command::new(program)
        .arg0(name)
        .args(args)
        .envs(variables)
        .exec())
}
