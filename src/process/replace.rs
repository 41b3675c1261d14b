//! This process as another program.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};

/// Becomes another program, with a variable that names a file of this content. The file is in memory and
/// lives as long as somebody has it open, as do the new program and what it starts: nothing is left behind.
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
    variable: &str,
    content: &[u8],
) -> io::Result<()> {
    // Open in the new program, too.
    let file = File::from(memfd_create(variable, MemfdFlags::empty())?);
    (&file).write_all(content)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Err(std::process::Command::new(program)
        .arg0(name)
        .args(args)
        .env(variable, path)
        .exec())
}
