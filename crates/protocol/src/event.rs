//! What the step reports: one JSON object a line, behind a prefix that no other line of a build log has.
//!
//! BuildKit may split a log line that is written in pieces, so the step writes each event with one call. The action takes events only
//! from the step's own vertex and treats every field as hostile: digests are parsed, lines are bounded.

use image::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// What every line of ours begins with.
const PREFIX: &str = "fast-ecr-push-event: ";

/// Longer lines are not ours (bytes). A summary with 100 layers has some 40 KB.
pub const LARGEST_LINE: usize = 256 * 1024;

/// Something that the step did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The loopback registry answers: BuildKit may push the configuration now.
    Listening {
        /// On loopback, in BuildKit's network.
        port: u16,
    },
    /// Both trees are compared.
    Compared {
        /// Files, links, devices that differ.
        changed: u64,
        removed: u64,
        /// Bytes of the files that differ.
        bytes: u64,
        milliseconds: u64,
    },
    /// Work in progress; sums since the start.
    Progress {
        /// Bytes of tar that were packed or found equal to packed ones. Falls when a layer that was read to compare it is new, and has
        /// to be packed from its start.
        packed: u64,
        /// Bytes that `packed` reaches.
        total: u64,
        /// Bytes of blobs that were sent.
        uploaded: u64,
        /// Uploads at this moment.
        streams: u32,
    },
    /// A layer is in all registries.
    Layer(Layer),
    /// The manifest and its tags are in a registry, read back and compared.
    Published(Published),
    /// All is done.
    Done(Summary),
    /// The step gives up; no tag of this run points at an incomplete image.
    Failed {
        /// What was attempted, what happened: one line or several.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// A layer of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What is in it, for people: `python: torch`.
    pub name: String,
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// Compressed (bytes).
    pub size: u64,
    pub source: LayerSource,
}

/// Where the blob came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerSource {
    /// Of the base image, already in the repository or mounted from another.
    Base,
    /// Sent now.
    Uploaded,
    /// Packed, and already in the repository.
    Present,
    /// Not even packed: the digest cache knew it, and the repository has it.
    Unchanged,
}

/// A manifest in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub registry: String,
    pub repository: String,
    #[serde(with = "digest_text")]
    pub digest: Digest,
    pub tags: Vec<String>,
}

/// The image, or the index of an image for several platforms, and what it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Digest of the manifest or the index.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// Digest of the configuration: the image's id. An index has none.
    #[serde(with = "optional_digest_text")]
    pub configuration: Option<Digest>,
    pub media_type: String,
    /// Size of the manifest or the index (bytes).
    pub size: u64,
    /// In the image's order, platform by platform; what several platforms have is named once.
    pub layers: Vec<Layer>,
    /// Bytes sent to all registries.
    pub uploaded: u64,
    /// Bytes of layers that did not have to be sent.
    pub reused: u64,
    /// The most uploads at a time.
    pub streams: u32,
    /// Packages that are not as they were in the image before, by name; none if no such image is known. At most [`MOST_PACKAGES`].
    pub packages: Option<Vec<PackageChange>>,
    pub milliseconds: u64,
}

/// More packages are not named, of all platforms together.
pub const MOST_PACKAGES: usize = 100;

/// A package that was added, removed or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageChange {
    /// Its manager and its name: `pip/torch`.
    pub name: String,
    /// None: it is new.
    pub before: Option<PackageState>,
    /// None: it was removed.
    pub after: Option<PackageState>,
}

/// A package of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageState {
    /// Bytes of its files.
    pub size: u64,
    pub version: Option<String>,
}

/// A line has our prefix and is no event.
#[derive(Debug, Error)]
pub enum EventError {
    #[error("an event of the build step is {0} bytes long, at most {LARGEST_LINE} are read")]
    TooLong(usize),
    #[error("could not read an event of the build step")]
    Malformed(#[source] serde_json::Error),
}

/// The event of a log line; `None` for a line that is not ours.
///
/// # Errors
/// When the line is ours and no event.
pub fn parse(line: &str) -> Result<Option<Event>, EventError> {
    let Some(text) = line.trim_end_matches(['\r', '\n']).strip_prefix(PREFIX) else {
        return Ok(None);
    };
    if text.len() > LARGEST_LINE {
        return Err(EventError::TooLong(text.len()));
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(EventError::Malformed)
}

/// The line of an event, with its end.
#[must_use]
pub fn render(event: &Event) -> String {
    // Plain data of our own types always serializes.
    let json = serde_json::to_string(event).unwrap_or_default();
    format!("{PREFIX}{json}\n")
}

mod digest_text {
    use super::{Deserialize as _, Deserializer, Digest, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

mod optional_digest_text {
    use super::{Deserialize as _, Deserializer, Digest, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(
        digest: &Option<Digest>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        digest.as_ref().map(ToString::to_string).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Digest>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let parsed = text.map(|text| text.parse().map_err(serde::de::Error::custom));
        parsed.transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(seed: char) -> Digest {
        format!("sha256:{}", seed.to_string().repeat(64))
            .parse()
            .unwrap()
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let layer = Layer {
            name: "python: torch\n2".to_owned(),
            digest: digest('a'),
            size: 7,
            source: LayerSource::Unchanged,
        };
        let events = [
            Event::Listening { port: 4711 },
            Event::Compared {
                changed: 1,
                removed: 2,
                bytes: 3,
                milliseconds: 4,
            },
            Event::Layer(layer.clone()),
            Event::Done(Summary {
                digest: digest('b'),
                configuration: Some(digest('c')),
                media_type: "m".to_owned(),
                size: 1,
                layers: vec![layer],
                uploaded: 2,
                reused: 3,
                streams: 4,
                packages: Some(vec![PackageChange {
                    name: "pip/torch".to_owned(),
                    before: None,
                    after: Some(PackageState {
                        size: 7,
                        version: Some("2.1".to_owned()),
                    }),
                }]),
                milliseconds: 5,
            }),
            Event::Failed {
                message: "two\nlines".to_owned(),
                hint: None,
            },
        ];
        for event in events {
            let line = render(&event);
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(parse(&line).unwrap(), Some(event));
        }
    }

    #[test]
    fn a_digest_that_is_none_makes_no_event() {
        let line = render(&Event::Layer(Layer {
            name: String::new(),
            digest: digest('a'),
            size: 0,
            source: LayerSource::Base,
        }));
        assert!(parse(&line.replace("sha256:", "md5:")).is_err());
    }

    #[test]
    fn other_lines_of_the_log_are_passed_over() {
        for line in ["", "fast-ecr-push", "{\"event\":\"listening\"}"] {
            assert_eq!(parse(line).unwrap(), None, "{line}");
        }
        let long = format!("{PREFIX}{}", "x".repeat(LARGEST_LINE + 1));
        assert!(matches!(parse(&long), Err(EventError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn survives_any_line(text in ".{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("{PREFIX}{text}"));
        }
    }
}
