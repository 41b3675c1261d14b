//! Seeds of a target, changed at random: what `make test` hands it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::Target;

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

impl Target {
    /// Reads the seeds as they are, and nothing.
    pub fn read_seeds(&self) {
        let seeds = (self.seeds)();
        assert!(!seeds.is_empty(), "{}", self.name);
        seeds.iter().for_each(|bytes| (self.read)(bytes));
        (self.read)(b"");
    }

    /// Reads changed seeds.
    pub fn read_changed_seeds(&self) {
        let strategy = (prop::sample::select((self.seeds)()), vec(change(), 0..8));
        let config = ProptestConfig {
            // The seed that failed is printed.
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        TestRunner::new(config)
            .run(&strategy, |(mut bytes, changes)| {
                changes.iter().for_each(|change| change.make(&mut bytes));
                (self.read)(&bytes);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }
}
