//! `RECORD`, the list of a Python distribution's files: lines of CSV, path first.
//! <https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file>

use std::sync::Arc;

use super::{Format, Owner, Package, text};
use crate::path::TreePath;

/// The package whose list `path` is.
pub(super) fn package(path: &TreePath) -> Option<Package> {
    if path.name() != b"RECORD" {
        return None;
    }
    let directory = path.parent()?;
    let name = directory.name().strip_suffix(b".dist-info")?;
    let mut parts = name.splitn(2, |&byte| byte == b'-');
    let (name, version) = (parts.next()?, parts.next());
    if name.is_empty() {
        return None;
    }
    Some(Package {
        owner: Arc::new(Owner::Pip(normalised(&text(name)))),
        version: version.map(text),
        format: Format::Record,
        base: directory.parent()?,
    })
}

/// Calls `claim` with each path.
pub(super) fn read(list: &[u8], mut claim: impl FnMut(&[u8])) {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(list);
    let mut record = csv::ByteRecord::new();
    // From memory, and of any length: there is nothing left to fail on.
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        match record.get(0) {
            Some(path) if !path.is_empty() => claim(path),
            _ => {}
        }
    }
}

/// One spelling for all: <https://packaging.python.org/en/latest/specifications/name-normalization/>.
fn normalised(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '-' | '_' | '.') {
            if !normal.ends_with('-') {
                normal.push('-');
            }
        } else {
            normal.extend(character.to_lowercase());
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_name_from_the_directory() {
        for (path, expected) in [
            (
                "a/site-packages/Foo__Bar-1.2.3.dist-info/RECORD",
                Some("pip/foo-bar"),
            ),
            (
                "a/site-packages/foo-1!2.0+local.dist-info/RECORD",
                Some("pip/foo"),
            ),
            ("a/site-packages/foo/RECORD", None),
            ("a/site-packages/foo-1.dist-info/METADATA", None),
            ("RECORD", None),
            (".dist-info/RECORD", None),
        ] {
            let package = package(&path.into());
            assert_eq!(
                package.map(|it| it.owner.to_string()).as_deref(),
                expected,
                "{path}"
            );
        }
    }
}
