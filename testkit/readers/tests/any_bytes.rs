//! Files of the corpus, changed at random, go through every reader.
#![expect(clippy::unwrap_used, reason = "a panic is the test's failure")]

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use readers::TARGETS;

/// What is done to a file's bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip {
        at: prop::sample::Index,
        with: u8,
    },
    Insert {
        at: prop::sample::Index,
        bytes: Vec<u8>,
    },
    Remove {
        at: prop::sample::Index,
        length: usize,
    },
    Repeat {
        at: prop::sample::Index,
        length: usize,
        times: usize,
    },
    /// What is between two commas, or two lines.
    RemoveItem(prop::sample::Index),
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    use prop::sample::Index;
    // Bytes that mean something to one of the readers, and any others.
    let bytes = prop_oneof![
        prop::sample::select(vec![
            "\n",
            "\r\n",
            "\\",
            "\"",
            "'",
            "${",
            "}",
            "<<E",
            "..",
            "/",
            "../../",
            "\0",
            ",",
            "[",
            "]",
            "{",
            "null",
            "-1",
            "18446744073709551616",
            "1e400",
            "é",
            "\u{2028}",
            " ",
            "\t",
            "#",
            "FROM ",
            "--",
            "true",
            "true:",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 1..8),
    ];
    prop_oneof![
        (any::<Index>(), 1..=255_u8).prop_map(|(at, with)| Change::Flip { at, with }),
        (any::<Index>(), bytes).prop_map(|(at, bytes)| Change::Insert { at, bytes }),
        (any::<Index>(), 1..60_usize).prop_map(|(at, length)| Change::Remove { at, length }),
        (any::<Index>(), 1..40_usize, 1..200_usize)
            .prop_map(|(at, length, times)| Change::Repeat { at, length, times }),
        any::<Index>().prop_map(Change::RemoveItem),
        any::<Index>().prop_map(Change::Cut),
    ]
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        let place = |at: &prop::sample::Index, bytes: &[u8]| at.index(bytes.len() + 1);
        match self {
            Self::Flip { at, with } => {
                let at = place(at, bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= with;
                }
            }
            Self::Insert { at, bytes: new } => {
                let at = place(at, bytes);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Remove { at, length } => {
                let at = place(at, bytes);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Self::Repeat { at, length, times } => {
                let at = place(at, bytes);
                let part = bytes[at..(at + length).min(bytes.len())].repeat(*times);
                bytes.splice(at..at, part);
            }
            Self::RemoveItem(at) => {
                let (before, after) = bytes.split_at(place(at, bytes));
                let ends = |byte: &u8| b",\n[]".contains(byte);
                let from = before.iter().rposition(ends).map_or(0, |at| at + 1);
                let length = after.iter().position(ends).unwrap_or(after.len());
                let comma = usize::from(after.get(length) == Some(&b','));
                bytes.drain(from..before.len() + length + comma);
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
        }
    }
}

/// The files of a target's corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let files = fs::read_dir(folder).unwrap();
    let files: Vec<_> = files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(!files.is_empty(), "{target}");
    files
}

#[test]
fn every_reader_takes_its_corpus() {
    for (name, target) in TARGETS {
        corpus(name).iter().for_each(|bytes| target(bytes));
        target(b"");
    }
}

#[test]
fn no_reader_fails_on_changed_bytes() {
    for (name, target) in TARGETS {
        let files = corpus(name);
        let strategy = (prop::sample::select(files), vec(change(), 0..8));
        let config = ProptestConfig {
            // Four times `PROPTEST_CASES`.
            cases: ProptestConfig::default().cases * 4,
            ..ProptestConfig::default()
        };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        runner
            .run(&strategy, |(mut bytes, changes)| {
                changes.iter().for_each(|change| change.make(&mut bytes));
                target(&bytes);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
