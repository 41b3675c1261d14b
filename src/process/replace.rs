//! Replaces this process by another program.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::IntoRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};

/// Writes a file in memory. This process, its children and the program that replaces it can open its path; it is gone when they have ended.
pub(crate) fn in_memory(name: &str, content: &[u8]) -> io::Result<OsString> {
    // Not closed on exec.
    let mut file = File::from(memfd_create(name, MemfdFlags::empty())?);
    file.write_all(content)?;
    Ok(format!("/proc/self/fd/{}", file.into_raw_fd()).into())
}

/// Replaces this process by another program, with other values for some variables. Returns only an error.
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
