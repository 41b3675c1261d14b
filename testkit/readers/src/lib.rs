//! Targets for fuzzers: each hands any bytes to a reader of what comes from outside, and panics if what must hold does not.
//!
//! `tests/any_bytes.rs` gives them changed seeds for some seconds, in `make test`. `make fuzz` has libFuzzer, which sees
//! what the code does with the bytes, look for as long as one likes.

#![expect(
    clippy::unwrap_used,
    reason = "a test: what can't be prepared is its failure"
)]

// A program has no library to take it from.
#[path = "../../../crates/step/src/base_image.rs"]
mod base_image;
#[path = "../../../crates/step/src/compose.rs"]
#[expect(dead_code, reason = "the step uses all of it")]
mod compose;
#[path = "../../../crates/step/src/destinations.rs"]
#[expect(dead_code, reason = "the step uses all of it")]
mod destinations;
#[path = "../../../crates/step/src/encryption.rs"]
mod encryption;
#[path = "../../../crates/step/src/previous.rs"]
#[expect(dead_code, reason = "the step uses all of it")]
mod previous;
#[path = "../../../crates/step/src/receiver.rs"]
mod receiver;
#[path = "../../../crates/step/src/room.rs"]
mod room;
#[path = "../../../crates/step/src/uploads.rs"]
mod uploads;
// The same for what a library keeps to itself.
#[path = "../../../crates/layers/src/bytecode.rs"]
#[expect(unreachable_pub, reason = "the library shows it")]
mod bytecode;
#[path = "../../../crates/upload/src/challenge.rs"]
mod challenge;
#[path = "../../../crates/upload/src/location.rs"]
#[expect(dead_code, unreachable_pub, reason = "the uploader uses all of it")]
mod location;

mod change;
mod folder;
mod pushed;
mod registry;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base_image::{Candidate, Manifest};
use compose::{Base, NewLayer};
use dockerfile::{Build, Dockerfile, Ignore, Platform};
use image::{EcrRegistry, ImageRef};
use layers::{Assignment, Diff, DigestCache, Limits, Owners, Plan, Tree, Workers};
use lists::attributes::{self, Attributes};
use lists::list::{self, Grammar};
use protocol::{Event, IndexJob, Job, RemovedInstruction, Secrets};

/// What any bytes are handed to.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    /// Panics if what must hold does not.
    pub read: fn(&[u8]),
    /// What a fuzzer starts from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// A target whose seeds are the files of `corpus/NAME`.
macro_rules! target {
    ($name:literal, $read:expr) => {
        Target {
            name: $name,
            read: $read,
            seeds: || corpus($name),
        }
    };
}

/// Those of the libraries and of the push engine's step. The action's own are in its `tests/any_bytes`.
pub const TARGETS: &[Target] = &[
    target!("dockerfile", dockerfile),
    target!("ignore", ignore),
    target!("image", image),
    target!("event", event),
    target!("record", |bytes| {
        owners(bytes, "usr/lib/python3/site-packages/a-1.dist-info/RECORD");
    }),
    target!("dpkg", |bytes| {
        owners(bytes, "var/lib/dpkg/info/a.list");
    }),
    target!("conda", |bytes| {
        owners(bytes, "opt/conda/conda-meta/a-1-0.json");
    }),
    target!("assignment", assignment),
    target!("digests", digests),
    target!("job", job),
    target!("references", references),
    target!("attributes", attributes),
    Target {
        name: "lists",
        read: lists,
        seeds: recorded_lists,
    },
    target!("challenge", challenge),
    target!("location", location),
    target!("registry", registry::registry),
    target!("base-image", base_image),
    target!("receiver", pushed::receiver),
    target!("bytecode", bytecode),
    target!("folder", folder::folder),
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = fs::read_dir(folder.join(target)).unwrap();
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

/// Parts of an input that has several.
pub const SEPARATOR: char = '\u{1e}';

/// What is read is resolved, or refused, as BuildKit's frontend would.
fn dockerfile(bytes: &[u8]) {
    let Ok(file) = Dockerfile::read(bytes) else {
        return;
    };
    let _ = file.frontend(&BTreeMap::new());
    let build = Build {
        args: BTreeMap::from([("A".to_owned(), "given".to_owned())]),
        platform: Platform::parse("linux/amd64").ok(),
        ..Build::default()
    };
    let Ok(graph) = file.resolve(&build) else {
        return;
    };
    let _ = (
        graph.target(),
        graph.images(),
        graph.contexts(),
        graph.used_args(),
    );
    if let Ok(configuration) = graph.configuration() {
        // BuildKit gets it as a Dockerfile: it has to be one.
        let text = configuration.cfg.as_bytes();
        assert!(Dockerfile::read(text).is_ok(), "{}", configuration.cfg);
    }
}

fn ignore(bytes: &[u8]) {
    if let Ok(ignore) = Ignore::read(bytes) {
        for path in ["Dockerfile", "a/b/c", "ü", ".git/x", "a.b"] {
            let _ = ignore.excludes(path);
        }
        let _ = ignore.may_take_back();
    }
}

/// Manifest and configuration, with an empty line between them: either is refused, or the image made of them is whole.
fn image(bytes: &[u8]) {
    let cut = bytes.windows(2).position(|two| two == b"\n\n");
    let (manifest, configuration) = bytes.split_at(cut.unwrap_or(bytes.len()));
    let _ = compose::configuration_digest(manifest);
    let Ok(base) = Base::new(manifest, configuration) else {
        return;
    };
    let digest = image::Digest::sha256([7; 32]);
    let layer = NewLayer {
        diff_id: digest.clone(),
        digest: digest.clone(),
        size: 1,
        media_type: "application/vnd.oci.image.layer.v1.tar+zstd",
        name: "one".to_owned(),
    };
    let removed = [0, 1, 5].map(|followed_by| RemovedInstruction {
        text: "RUN true".to_owned(),
        followed_by,
    });
    let text = base.configuration(std::slice::from_ref(&layer), &removed);
    let configuration: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let count = base.layers.len() + 1;
    let list = |value: &serde_json::Value| value.as_array().map_or(0, Vec::len);
    assert_eq!(list(&configuration["rootfs"]["diff_ids"]), count);
    let text = base.manifest((&digest, 1), &[layer], &[("a".to_owned(), "b".to_owned())]);
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(list(&manifest["layers"]), count);
}

/// The base image's manifest or index, and its configuration, between separators: an image made on it begins with its layers.
fn base_image(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == SEPARATOR as u8);
    let (manifest, configuration) = bytes.split_at(cut.unwrap_or(bytes.len()));
    let Ok(manifest) = Manifest::read(manifest) else {
        return;
    };
    let _ = manifest.images("amd64");
    let Ok(base) = Candidate::new(&manifest, configuration.get(1..).unwrap_or_default()) else {
        return;
    };
    assert_eq!(base.layers.len(), base.diff_ids.len());
    let oci = "application/vnd.oci.image.layer.v1.tar";
    assert!(base.layers.iter().all(|it| it.media_type.starts_with(oci)));
    let mut image = base.diff_ids.clone();
    image.push("sha256:1".to_owned());
    let none = Candidate {
        layers: Vec::new(),
        diff_ids: Vec::new(),
    };
    let found = base_image::layers_of(&[none, base.clone()], &image).unwrap();
    assert_eq!(found, base.layers);
}

/// The header of bytecode, then size and time of its source: Python takes what it took before, and nothing else.
fn bytecode(bytes: &[u8]) {
    let Some((header, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let Some((size, modified)) = rest.split_first_chunk() else {
        return;
    };
    let Some((modified, _)) = modified.split_first_chunk() else {
        return;
    };
    let (size, modified) = (u64::from_le_bytes(*size), i64::from_le_bytes(*modified));
    let mut adapted: [u8; bytecode::HEADER] = *header;
    bytecode::Source::new(modified, size).adapt(&mut adapted);
    assert_eq!(adapted[..8], header[..8]);
    assert_eq!(adapted[12..], header[12..]);
    // As `SourceLoader` of `importlib/_bootstrap_external.py` looks at a header without flags.
    let is_taken = |header: &[u8; bytecode::HEADER], modified: i64| {
        let number = |at: usize| {
            let bytes = header[at..at + 4].try_into().unwrap();
            u32::from_le_bytes(bytes)
        };
        number(4) == 0
            && i64::from(number(8)) == modified & 0xffff_ffff
            && u64::from(number(12)) == size & 0xffff_ffff
    };
    let is_header = header[2..4] == *b"\r\n" && header[4..8] == [0; 4];
    if is_header {
        let taken = is_taken(header, modified);
        assert_eq!(is_taken(&adapted, bytecode::NORMAL), taken);
    } else {
        assert_eq!(adapted, *header);
    }
}

/// An event that is read can be written, and is then read as the same.
fn event(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        let Ok(Some(event)) = protocol::parse(line) else {
            continue;
        };
        let written = protocol::render(&event);
        assert!(!written.trim_end().contains('\n'));
        let again: Option<Event> = protocol::parse(&written).unwrap();
        assert_eq!(again, Some(event));
    }
}

/// A package's list claims nothing outside of the image and ends no plan.
fn owners(bytes: &[u8], list: &str) {
    let root = tempfile::tempdir_in(memory()).unwrap();
    for path in [
        list,
        "usr/bin/tool",
        "usr/lib/python3/site-packages/a/__init__.py",
        "opt/conda/lib/a.so",
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let tree = Tree::open(root.path()).unwrap();
    let diff = Diff::new(&tree, None, &workers()).unwrap();
    let owners = Owners::read(&tree, &diff, &workers()).unwrap();
    let plan = Plan::new(&diff, &owners, 1, None, SMALL);
    assert!(!plan.layers.is_empty());
    for path in ["usr/bin/tool", "etc/passwd", "bin", ""] {
        assert!(!owners.of(&path.into()).to_string().is_empty());
    }
}

/// Whatever an earlier image says about its layers, each file is in one layer of the next.
fn assignment(bytes: &[u8]) {
    let Ok(previous) = serde_json::from_slice::<Assignment>(bytes) else {
        return;
    };
    let root = tempfile::tempdir_in(memory()).unwrap();
    for (path, size) in [
        ("a/one", 400),
        ("a/two", 700),
        ("b/three", 2000),
        ("four", 10),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![0; size]).unwrap();
    }
    let tree = Tree::open(root.path()).unwrap();
    let diff = Diff::new(&tree, None, &workers()).unwrap();
    let owners = Owners::read(&tree, &diff, &workers()).unwrap();
    let plan = Plan::new(&diff, &owners, 1, Some(&previous), SMALL);
    assert!((1..=SMALL.layers).contains(&plan.layers.len()));
    let names: std::collections::BTreeSet<_> = plan.layers.iter().map(|it| &it.name).collect();
    assert_eq!(names.len(), plan.layers.len(), "two layers of one name");
    let next = serde_json::to_vec(&plan.assignment).unwrap();
    let next: Assignment = serde_json::from_slice(&next).unwrap();
    let again = Plan::new(&diff, &owners, 1, Some(&next), SMALL);
    assert_eq!(again.layers.len(), plan.layers.len());
}

fn digests(bytes: &[u8]) {
    let folder = tempfile::tempdir_in(memory()).unwrap();
    let path = folder.path().join("digests");
    fs::write(&path, bytes).unwrap();
    if let Ok(cache) = DigestCache::load(&path) {
        DigestCache::update(&path, |_| ()).unwrap();
        assert_eq!(DigestCache::load(&path).unwrap(), cache);
    }
}

/// What the action and the step write for each other.
fn job(bytes: &[u8]) {
    if let Ok(job) = serde_json::from_slice::<Job>(bytes) {
        let written = serde_json::to_vec(&job).unwrap();
        assert_eq!(serde_json::from_slice::<Job>(&written).unwrap(), job);
    }
    if let Ok(job) = serde_json::from_slice::<IndexJob>(bytes) {
        let written = serde_json::to_vec(&job).unwrap();
        assert_eq!(serde_json::from_slice::<IndexJob>(&written).unwrap(), job);
    }
    let _ = serde_json::from_slice::<Secrets>(bytes);
}

/// What is read prints, and reads as the same.
fn references(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for text in text.lines() {
        if let Ok(reference) = text.parse::<ImageRef>() {
            assert_eq!(reference.to_string().parse().as_ref(), Ok(&reference));
            assert!(image::is_host(&reference.host), "{text}");
            assert_eq!(reference.registry().host(), reference.host);
        }
        if let Ok(digest) = text.parse::<image::Digest>() {
            assert_eq!(digest.as_str(), text);
        }
        if let Some(ecr) = EcrRegistry::from_host(text) {
            let text = text.to_ascii_lowercase();
            assert!(text.contains(&ecr.account) && text.contains(&ecr.region));
        }
        let _ = image::is_loopback(text);
    }
}

fn attributes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for text in text.split(SEPARATOR) {
        if let Some(fields) = attributes::split(text) {
            // Nothing at all is no record.
            if fields != [""] {
                assert_eq!(
                    attributes::split(&attributes::join(&fields)),
                    Some(fields.clone())
                );
            }
            let _ = Attributes::with_type(&fields);
        }
        if let Ok(options) = attributes::driver_options(text) {
            assert!(options.iter().all(|(name, _)| !name.contains('=')));
        }
    }
}

/// Items of a list in quotes are the same list.
fn lists(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for grammar in [
        Grammar::Commas,
        Grammar::Lines,
        Grammar::QuotedLines,
        Grammar::Secrets,
        Grammar::Rules,
    ] {
        let Ok(items) = list::parse(&text, grammar) else {
            continue;
        };
        if grammar != Grammar::Lines {
            continue;
        }
        let items: Vec<String> = items.into_iter().filter(|item| !item.is_empty()).collect();
        let quoted = items
            .iter()
            .map(|item| format!("\"{}\"\n", item.replace('"', "\"\"")));
        assert_eq!(list::parse(&quoted.collect::<String>(), grammar), Ok(items));
    }
    let _ = list::fields(&text);
}

/// Every hundredth of what docker's own parser was given.
fn recorded_lists() -> Vec<Vec<u8>> {
    let recorded = include_str!("../../../tests/fixtures/list/cases.json");
    let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
    let cases = recorded["cases"].as_array().unwrap().iter().step_by(100);
    cases
        .map(|case| case[1].as_str().unwrap().as_bytes().to_vec())
        .collect()
}

/// Headers of an answer, a line each.
fn challenge(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| http::HeaderValue::from_bytes(line).ok());
    let mut headers = http::HeaderMap::new();
    values.for_each(|value| {
        headers.append(http::header::WWW_AUTHENTICATE, value);
    });
    let _ = challenge::Challenge::of(&headers);
}

/// An upload never leaves its registry.
fn location(bytes: &[u8]) {
    for base in [
        "https://r.example/v2/a/b/blobs/uploads/",
        "http://127.0.0.1:5000/v2/?a=b",
    ] {
        let base: http::Uri = base.parse().unwrap();
        if let Ok(next) = location::resolve(&base, bytes) {
            assert_eq!(
                (next.scheme(), next.authority()),
                (base.scheme(), base.authority())
            );
            let next = location::with_parameter(&next, "digest", "sha256:1");
            assert_eq!(next.unwrap().authority(), base.authority());
        }
    }
}

/// So small that a few files need several layers.
const SMALL: Limits = Limits {
    smallest: 300,
    largest: 1500,
    large_file: 1000,
    layers: 12,
    layers_with_base: 100,
};

fn workers() -> std::sync::Arc<Workers> {
    static WORKERS: std::sync::OnceLock<std::sync::Arc<Workers>> = std::sync::OnceLock::new();
    let start = || std::sync::Arc::new(Workers::new(1, 8 << 20).unwrap());
    WORKERS.get_or_init(start).clone()
}

/// A folder in memory, where there is one.
pub fn memory() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        Path::new("/tmp")
    }
}
