//! `conda-meta/*.json`, one record per package, with the files below the environment.
//! <https://docs.conda.io/projects/conda/en/stable/dev-guide/api/conda/models/records/index.html#conda.models.records.PrefixRecord>

use serde::Deserialize;

use std::sync::Arc;

use super::{Format, Owner, Package, text};
use crate::path::TreePath;

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    files: Vec<String>,
}

/// The package whose record `path` is: `conda-meta/NAME-VERSION-BUILD.json`.
pub(super) fn package(path: &TreePath) -> Option<Package> {
    let directory = path.parent()?;
    if directory.name() != b"conda-meta" {
        return None;
    }
    let mut parts = path
        .name()
        .strip_suffix(b".json")?
        .rsplitn(3, |&byte| byte == b'-');
    let (_build, version, name) = (parts.next()?, parts.next()?, parts.next()?);
    if name.is_empty() {
        return None;
    }
    Some(Package {
        owner: Arc::new(Owner::Conda(text(name))),
        version: Some(text(version)),
        format: Format::Conda,
        base: directory.parent()?,
    })
}

/// Calls `claim` with each path.
pub(super) fn read(list: &[u8], mut claim: impl FnMut(&[u8])) {
    let Ok(record) = serde_json::from_slice::<Record>(list) else {
        return;
    };
    for path in record.files {
        claim(path.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_files() {
        let package = package(&"opt/conda/conda-meta/nv-cudart-12.1.105-0.json".into()).unwrap();
        assert_eq!(package.owner.to_string(), "conda/nv-cudart");
        assert_eq!(package.base, "opt/conda".into());
        let mut files = Vec::new();
        let list = br#"{"name": "nv-cudart", "files": ["lib/a.so", "bin/b"], "paths_data": {"paths": [1]}}"#;
        read(list, |path| files.push(path.to_vec()));
        assert_eq!(files, [&b"lib/a.so"[..], b"bin/b"]);
        read(br#"{"files": 7}"#, |_| panic!("no list"));
        read(b"[", |_| panic!("no JSON"));
    }

    #[test]
    fn other_files_are_no_records() {
        for path in [
            "opt/conda/conda-meta/history",
            "conda-meta/a-b.json",
            "x/--.json",
            "conda-meta/--.json",
        ] {
            assert_eq!(package(&path.into()), None, "{path}");
        }
    }
}
