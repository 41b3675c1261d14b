//! Unpacks layers with a reader that is not ours: Python's.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Puts `layer`, a tar, over `root`.
pub(crate) fn unpack(layer: &[u8], root: &Path) {
    let mut child = Command::new("python3")
        .args(["-c", include_str!("unpack.py")])
        .arg(root)
        .stdin(Stdio::piped())
        .spawn()
        .expect("these tests unpack with Python: install python3");
    child.stdin.take().unwrap().write_all(layer).unwrap();
    assert!(child.wait().unwrap().success());
}
