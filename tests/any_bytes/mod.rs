//! Any bytes go to every reader of the action for what comes from outside. It panics if what must hold does not.
//!
//! `make test` changes the seeds for some seconds. `make fuzz` compiles this with libFuzzer, which sees what the code does with the bytes.
//! Readers that a module keeps to itself are in a file that the module declares. Those of libraries are in `testkit/readers`.

mod compare;
mod github;
mod inputs;
mod metadata;
mod network;
mod shown;

use std::panic::catch_unwind;

use readers::Target;

const TARGETS: &[&[Target]] = &[
    inputs::TARGETS,
    metadata::TARGETS,
    github::TARGETS,
    network::TARGETS,
    crate::aws::any_bytes::TARGETS,
    crate::credentials::any_bytes::TARGETS,
    crate::facts::any_bytes::TARGETS,
    crate::buildx::any_bytes::TARGETS,
    crate::acceleration::any_bytes::TARGETS,
    crate::builder::kubernetes::any_bytes::TARGETS,
    crate::registry::any_bytes::TARGETS,
    crate::unchanged::any_bytes::TARGETS,
    crate::history::any_bytes::TARGETS,
    compare::TARGETS,
    shown::TARGETS,
];

/// An input's parts.
pub(crate) fn parts(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.split(readers::SEPARATOR).map(str::to_owned).collect()
}

/// A part; empty if there are not so many.
pub(crate) fn part(parts: &[String], index: usize) -> &str {
    parts.get(index).map_or("", String::as_str)
}

/// Parts as an input.
pub(crate) fn seed(parts: &[&str]) -> Vec<u8> {
    parts.join(&readers::SEPARATOR.to_string()).into_bytes()
}

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

/// A file in memory with these bytes, for readers that open it.
pub(crate) fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new_in(readers::memory()).unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

#[test]
fn every_reader_takes_its_seeds() {
    let targets = TARGETS.iter().copied().flatten();
    targets.for_each(Target::read_seeds);
}

#[test]
fn no_reader_fails_on_changed_seeds() {
    let targets = TARGETS.iter().copied().flatten();
    let failed = targets.filter(|target| catch_unwind(|| target.read_changed_seeds()).is_err());
    let failed: Vec<&str> = failed.map(|target| target.name).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[cfg(fuzzing)]
mod fuzz {
    use std::fs;
    use std::path::Path;
    use std::sync::OnceLock;

    use readers::Target;

    static TARGET: OnceLock<Target> = OnceLock::new();

    /// The target that `FUZZ_TARGET` names, its seeds written into `FUZZ_SEEDS`; without a name, all names are printed.
    fn prepare() {
        let all = super::TARGETS.iter().copied().chain([readers::TARGETS]);
        let mut all = all.flatten();
        let Ok(name) = std::env::var("FUZZ_TARGET") else {
            all.for_each(|target| println!("{}", target.name));
            std::process::exit(0);
        };
        let target = all.find(|target| target.name == name).expect("a target");
        let folder = std::env::var("FUZZ_SEEDS").expect("FUZZ_SEEDS");
        for (number, bytes) in (target.seeds)().into_iter().enumerate() {
            fs::write(Path::new(&folder).join(number.to_string()), bytes).unwrap();
        }
        TARGET.set(*target).expect("one target");
    }

    libfuzzer_sys::fuzz_target!(
        init: prepare(),
        |bytes: &[u8]| (TARGET.get().expect("a target").read)(bytes)
    );
}
