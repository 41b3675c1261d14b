//! A key's own manifest: which image it names, who built that, and what went in.
//!
//! An OCI manifest without content whose annotations say everything
//! (<https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage>). Whoever may push may write one, so
//! that everything in it is checked before it is used or shown.

use std::collections::BTreeMap;

use image::Digest;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use upload::Fetched;

/// The manifest's type.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const KIND: &str = "application/vnd.fast-ecr-push.unchanged.v1+json";
/// The blob of manifests without content.
pub(super) const EMPTY: &[u8] = b"{}";
const EMPTY_KIND: &str = "application/vnd.oci.empty.v1+json";
/// SHA-256 of [`EMPTY`].
const EMPTY_DIGEST: &str =
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

const CREATED: &str = "org.opencontainers.image.created";
const KEY: &str = "fast-ecr-push/key";
const DIGEST: &str = "fast-ecr-push/digest";
const RUN: &str = "fast-ecr-push/run";
const COMMIT: &str = "fast-ecr-push/commit";
const SECONDS: &str = "fast-ecr-push/seconds";
const PARTS: &str = "fast-ecr-push/parts";

/// Longer ones are none of ours.
const LONGEST_ADDRESS: usize = 500;
const MOST_PARTS: usize = 500;

/// What a key says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mark {
    /// 64 hexadecimal digits.
    pub key: String,
    /// The image or index.
    pub digest: Digest,
    /// The address of the workflow run that built it.
    pub run: Option<String>,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// When it was built.
    pub built: Timestamp,
    /// How long that run took.
    pub seconds: Option<f64>,
    /// Short hashes of what went in, by name.
    pub parts: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "artifactType")]
    kind: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Mark {
    /// The manifest.
    pub(super) fn to_manifest(&self) -> Vec<u8> {
        let empty = json!({"mediaType": EMPTY_KIND, "digest": EMPTY_DIGEST, "size": EMPTY.len()});
        let parts = serde_json::to_string(&self.parts).unwrap_or_default();
        let mut annotations = BTreeMap::from([
            (CREATED, self.built.to_string()),
            (KEY, self.key.clone()),
            (DIGEST, self.digest.to_string()),
            (PARTS, parts),
        ]);
        annotations.extend(self.run.clone().map(|run| (RUN, run)));
        annotations.extend(self.commit.clone().map(|commit| (COMMIT, commit)));
        let seconds = self.seconds.map(|seconds| format!("{seconds:.1}"));
        annotations.extend(seconds.map(|seconds| (SECONDS, seconds)));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": KIND,
            "config": empty,
            "layers": [empty],
            "annotations": annotations,
        });
        manifest.to_string().into_bytes()
    }

    /// Reads a manifest; `None` if it is not a key's.
    pub(super) fn read(fetched: &Fetched) -> Option<Self> {
        let manifest: Manifest = serde_json::from_slice(&fetched.bytes).ok()?;
        let annotations = manifest.annotations;
        let get = |name: &str| annotations.get(name).map(String::as_str);
        let key = get(KEY).filter(|key| key.len() == 64 && is_hex(key))?;
        if manifest.kind.as_deref() != Some(KIND) {
            return None;
        }
        let parts: BTreeMap<String, String> = serde_json::from_str(get(PARTS)?).ok()?;
        let seconds: Option<f64> = get(SECONDS).and_then(|text| text.parse().ok());
        Some(Self {
            key: key.to_owned(),
            digest: get(DIGEST)?.parse().ok()?,
            run: get(RUN).filter(|run| is_address(run)).map(str::to_owned),
            commit: get(COMMIT)
                .filter(|commit| (7..=64).contains(&commit.len()) && is_hex(commit))
                .map(str::to_owned),
            built: get(CREATED)?.parse().ok()?,
            seconds: seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
            parts: if parts.len() > MOST_PARTS {
                BTreeMap::new()
            } else {
                parts
            },
        })
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

/// Whether a text is an address that may be shown and linked.
fn is_address(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.:_-".contains(&byte);
    text.len() <= LONGEST_ADDRESS
        && (text.starts_with("https://") || text.starts_with("http://"))
        && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Mark {
        Mark {
            key: "a".repeat(64),
            digest: format!("sha256:{}", "b".repeat(64)).parse().unwrap(),
            run: Some("https://github.com/octo/app/actions/runs/1/attempts/2".to_owned()),
            commit: Some("0123456789abcdef".to_owned()),
            built: "2026-11-30T07:00:00Z".parse().unwrap(),
            seconds: Some(36.5),
            parts: BTreeMap::from([("context".to_owned(), "01234567".to_owned())]),
        }
    }

    fn fetched(bytes: Vec<u8>) -> Fetched {
        Fetched {
            media_type: MANIFEST.to_owned(),
            bytes: bytes.into(),
            digest: format!("sha256:{}", "c".repeat(64)).parse().unwrap(),
        }
    }

    #[test]
    fn a_mark_comes_back_as_it_was_written() {
        let least = Mark {
            run: None,
            commit: None,
            seconds: None,
            ..example()
        };
        for mark in [example(), least] {
            assert_eq!(Mark::read(&fetched(mark.to_manifest())), Some(mark));
        }
    }

    #[test]
    fn what_is_not_a_mark_is_none_and_what_could_be_shown_wrong_is_left_out() {
        let with = |name: &str, value: &str| {
            let mut manifest: serde_json::Value =
                serde_json::from_slice(&example().to_manifest()).unwrap();
            manifest["annotations"][name] = value.into();
            Mark::read(&fetched(manifest.to_string().into_bytes()))
        };
        for (name, value) in [
            (KEY, "short"),
            (DIGEST, "sha256:short"),
            (CREATED, "yesterday"),
            (PARTS, "[]"),
        ] {
            assert_eq!(with(name, value), None, "{name}");
        }
        for run in [
            "javascript:alert(1)",
            "https://a/\n::error::x",
            "https://a/)[b",
        ] {
            assert_eq!(with(RUN, run).unwrap().run, None, "{run}");
        }
        assert_eq!(with(COMMIT, "main").unwrap().commit, None);
        for seconds in ["NaN", "-1", "inf", "x"] {
            assert_eq!(with(SECONDS, seconds).unwrap().seconds, None, "{seconds}");
        }
        for other in ["{}", "[]", "", r#"{"annotations":{"a":1}}"#] {
            assert_eq!(Mark::read(&fetched(other.into())), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Mark::read(&fetched(bytes));
        }
    }
}
