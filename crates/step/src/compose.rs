//! The image's configuration and manifest: those of the configuration that BuildKit made, with our layers on top.
//!
//! Fields that we do not know stay as they are. Every layer needs a history entry of its own: BuildKit before a fix crashes on an
//! image that has fewer (`importInlineCache` of `cache/remotecache/import.go`), and `docker history` shows them.

use image::Digest;
use protocol::RemovedInstruction;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// BuildKit's comment at history entries of the Dockerfile frontend. Entries of the base image lack it or come before.
const FRONTEND: &str = "buildkit.dockerfile.v0";

/// BuildKit's comment at entries that it adds where the frontend has fewer entries than layers.
const EXPORTER: &str = "buildkit.exporter.image.v0";

/// Media type of a manifest of OCI (<https://github.com/opencontainers/image-spec/blob/main/manifest.md>).
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// BuildKit's configuration or manifest is not as expected.
#[derive(Debug, Error)]
pub(crate) enum ComposeError {
    #[error("could not read the image's {what} from BuildKit")]
    Json {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("the image's {what} from BuildKit has no `{field}` as expected")]
    Field {
        what: &'static str,
        field: &'static str,
    },
}

/// A layer of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLayer {
    /// Digest of the tar.
    pub diff_id: Digest,
    pub digest: Digest,
    /// Compressed (bytes).
    pub size: u64,
    pub media_type: &'static str,
    /// For people: `python: torch`.
    pub name: String,
}

/// A layer that BuildKit's manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseLayer {
    pub digest: Digest,
    /// Compressed (bytes).
    pub size: u64,
    pub media_type: String,
}

/// BuildKit's manifest and configuration, read.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    manifest: Map<String, Value>,
    configuration: Map<String, Value>,
    pub layers: Vec<BaseLayer>,
}

fn object(what: &'static str, text: &[u8]) -> Result<Map<String, Value>, ComposeError> {
    serde_json::from_slice(text).map_err(|source| ComposeError::Json { what, source })
}

/// Digest of the configuration that a manifest names.
pub(crate) fn configuration_digest(manifest: &[u8]) -> Result<Digest, ComposeError> {
    let manifest = object("manifest", manifest)?;
    let digest = manifest
        .get("config")
        .and_then(|config| config.get("digest"));
    let digest = digest
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok());
    digest.ok_or(ComposeError::Field {
        what: "manifest",
        field: "config.digest",
    })
}

/// Digests of the tars of a configuration's layers.
pub(crate) fn diff_ids(configuration: &[u8]) -> Result<Vec<String>, ComposeError> {
    let configuration = object("configuration", configuration)?;
    let diff_ids = configuration
        .get("rootfs")
        .and_then(|rootfs| rootfs.get("diff_ids")?.as_array());
    let diff_ids = diff_ids.into_iter().flatten().map(Value::as_str);
    let diff_ids: Option<Vec<String>> = diff_ids.map(|id| id.map(str::to_owned)).collect();
    diff_ids.ok_or(ComposeError::Field {
        what: "configuration",
        field: "rootfs.diff_ids",
    })
}

impl Base {
    /// Reads both documents.
    pub(crate) fn new(manifest: &[u8], configuration: &[u8]) -> Result<Self, ComposeError> {
        let manifest = object("manifest", manifest)?;
        let configuration = object("configuration", configuration)?;
        let missing = ComposeError::Field {
            what: "manifest",
            field: "layers",
        };
        let layers = manifest.get("layers").and_then(Value::as_array);
        let layers: Option<Vec<BaseLayer>> = layers.and_then(|layers| {
            let layer = |layer: &Value| {
                Some(BaseLayer {
                    digest: layer.get("digest")?.as_str()?.parse().ok()?,
                    size: layer.get("size")?.as_u64()?,
                    media_type: layer.get("mediaType")?.as_str()?.to_owned(),
                })
            };
            layers.iter().map(layer).collect()
        });
        let layers = layers.ok_or(missing)?;
        let is_object = |value: Option<&Value>| value.is_none_or(Value::is_object);
        if !is_object(configuration.get("rootfs")) {
            return Err(ComposeError::Field {
                what: "configuration",
                field: "rootfs",
            });
        }
        if !is_object(manifest.get("annotations")) {
            return Err(ComposeError::Field {
                what: "manifest",
                field: "annotations",
            });
        }
        let known = configuration
            .get("rootfs")
            .and_then(|rootfs| rootfs.get("diff_ids")?.as_array());
        // An image without layers may say so by leaving the list out.
        if known.map_or(0, Vec::len) != layers.len() {
            return Err(ComposeError::Field {
                what: "configuration",
                field: "rootfs.diff_ids",
            });
        }
        Ok(Self {
            manifest,
            configuration,
            layers,
        })
    }

    /// The configuration on other layers than its own: those of the base image alone, in an OCI manifest. What its last `kept`
    /// instructions made is in the tree that is packed, so they make no layers here.
    pub(crate) fn on_layers(
        configuration: &[u8],
        layers: Vec<BaseLayer>,
        kept: usize,
    ) -> Result<Self, ComposeError> {
        let mut configuration = object("configuration", configuration)?;
        let missing = |field| ComposeError::Field {
            what: "configuration",
            field,
        };
        let history = configuration
            .get_mut("history")
            .and_then(Value::as_array_mut);
        let made = match history {
            Some(history) => empty_own(history, kept),
            None => (kept == 0).then_some(0),
        };
        let made = made.ok_or_else(|| missing("history"))?;
        let diff_ids = configuration
            .get_mut("rootfs")
            .and_then(|rootfs| rootfs.get_mut("diff_ids")?.as_array_mut());
        let known = diff_ids.as_ref().map_or(0, |diff_ids| diff_ids.len());
        if known != layers.len() + made {
            return Err(missing("rootfs.diff_ids"));
        }
        if let Some(diff_ids) = diff_ids {
            diff_ids.truncate(layers.len());
        }
        let descriptors = layers.iter().map(|layer| {
            json!({
                "mediaType": layer.media_type,
                "digest": layer.digest.to_string(),
                "size": layer.size,
            })
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json"},
            "layers": descriptors.collect::<Vec<_>>(),
        });
        Ok(Self {
            manifest: object("manifest", manifest.to_string().as_bytes())?,
            configuration,
            layers,
        })
    }

    /// The whole image's configuration.
    pub(crate) fn configuration(
        &self,
        layers: &[NewLayer],
        removed: &[RemovedInstruction],
    ) -> Vec<u8> {
        let mut configuration = self.configuration.clone();
        let rootfs = configuration
            .entry("rootfs")
            .or_insert_with(|| json!({"type": "layers"}));
        let mut diff_ids = rootfs
            .get("diff_ids")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        diff_ids.extend(layers.iter().map(|layer| layer.diff_id.to_string().into()));
        if let Some(rootfs) = rootfs.as_object_mut() {
            rootfs.insert("diff_ids".to_owned(), diff_ids.into());
        }
        let created = configuration.get("created").cloned();
        let history = configuration
            .get("history")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let history = self::history(history, layers, removed, created.as_ref());
        configuration.insert("history".to_owned(), history.into());
        serde_json::to_vec(&configuration).unwrap_or_default()
    }

    /// The whole image's manifest.
    pub(crate) fn manifest(
        &self,
        configuration: (&Digest, usize),
        layers: &[NewLayer],
        annotations: &[(String, String)],
    ) -> Vec<u8> {
        let mut manifest = self.manifest.clone();
        if let Some(config) = manifest.get_mut("config").and_then(Value::as_object_mut) {
            config.insert("digest".to_owned(), configuration.0.to_string().into());
            config.insert("size".to_owned(), configuration.1.into());
        }
        let mut all = manifest
            .get("layers")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        all.extend(layers.iter().map(|layer| {
            json!({
                "mediaType": layer.media_type,
                "digest": layer.digest.to_string(),
                "size": layer.size,
            })
        }));
        manifest.insert("layers".to_owned(), all.into());
        if !annotations.is_empty() {
            let named = manifest.entry("annotations").or_insert_with(|| json!({}));
            if let Some(named) = named.as_object_mut() {
                let pairs = annotations.iter();
                named.extend(pairs.map(|(name, value)| (name.clone(), value.as_str().into())));
            }
        }
        serde_json::to_vec_pretty(&manifest).unwrap_or_default()
    }

    /// Media type of the manifest.
    pub(crate) fn media_type(&self) -> &str {
        let named = self.manifest.get("mediaType").and_then(Value::as_str);
        named.unwrap_or(MANIFEST)
    }
}

/// Makes the Dockerfile's own entries, the last `kept` before what the exporter added, entries without a layer. How many had one;
/// none if they are not the frontend's.
fn empty_own(history: &mut [Value], kept: usize) -> Option<usize> {
    let comment = |entry: &Value| entry.get("comment")?.as_str().map(str::to_owned);
    let end = history
        .iter()
        .rposition(|entry| comment(entry).as_deref() != Some(EXPORTER))
        .map_or(0, |last| last + 1);
    let own = history.get_mut(end.checked_sub(kept)?..end)?;
    let mut made = 0;
    for entry in own {
        if comment(entry).as_deref() != Some(FRONTEND) {
            return None;
        }
        let had_none = entry
            .as_object_mut()?
            .insert("empty_layer".to_owned(), true.into());
        made += usize::from(had_none != Some(Value::Bool(true)));
    }
    Some(made)
}

/// The removed instructions at their places, as entries without a layer; then an entry for each of our layers.
fn history(
    mut history: Vec<Value>,
    layers: &[NewLayer],
    removed: &[RemovedInstruction],
    created: Option<&Value>,
) -> Vec<Value> {
    // The base image may have entries of the frontend, too, so the Dockerfile's own are counted from the end.
    let own = own_entries(&history);
    let end = own.last().map_or(history.len(), |last| last + 1);
    let entry = |text: &str, comment: &str, is_empty: bool| {
        let mut entry = json!({"created_by": text, "comment": comment});
        if let Some(entry) = entry.as_object_mut() {
            if let Some(created) = created {
                entry.insert("created".to_owned(), created.clone());
            }
            if is_empty {
                entry.insert("empty_layer".to_owned(), true.into());
            }
        }
        entry
    };
    for instruction in removed.iter().rev() {
        let place = match own.len().checked_sub(instruction.followed_by) {
            Some(next) => own.get(next).copied().unwrap_or(end),
            None => own.first().copied().unwrap_or(end),
        };
        history.insert(place, entry(&instruction.text, FRONTEND, true));
    }
    history.extend(
        layers
            .iter()
            .map(|layer| entry(&layer.name, "fast-ecr-push", false)),
    );
    history
}

/// The last run of the frontend's entries, before what the exporter added.
fn own_entries(history: &[Value]) -> Vec<usize> {
    let comment = |at: &usize| {
        let entry = history.get(*at);
        entry.and_then(|entry| entry.get("comment")?.as_str())
    };
    let mut own: Vec<usize> = (0..history.len())
        .rev()
        .skip_while(|at| comment(at) == Some(EXPORTER))
        .take_while(|at| comment(at) == Some(FRONTEND))
        .collect();
    own.reverse();
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(seed: char) -> Digest {
        let text = format!("sha256:{}", seed.to_string().repeat(64));
        text.parse().unwrap()
    }

    /// What BuildKit 0.32 pushed for `FROM base`, `ENV`, `WORKDIR`, `CMD`, shortened.
    fn base() -> Base {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest('c').to_string(), "size": 931},
            "layers": [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest('1').to_string(), "size": 58},
                {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest('2').to_string(), "size": 109},
            ],
        });
        let configuration = json!({
            "architecture": "amd64",
            "config": {"Env": ["A=1"]},
            "created": "2026-11-30T00:51:31Z",
            "history": [
                {"created_by": "the base", "comment": FRONTEND},
                {"created_by": "ENV A=1", "comment": FRONTEND, "empty_layer": true},
                {"created_by": "WORKDIR /srv/x", "comment": FRONTEND},
                {"created_by": "CMD [\"python3\"]", "comment": FRONTEND, "empty_layer": true},
            ],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": ["sha256:d1", "sha256:d2"]},
            "x-unknown": {"stays": true},
        });
        let bytes = |value: &Value| serde_json::to_vec(value).unwrap();
        Base::new(&bytes(&manifest), &bytes(&configuration)).unwrap()
    }

    fn layer() -> NewLayer {
        NewLayer {
            diff_id: digest('d'),
            digest: digest('e'),
            size: 5,
            media_type: "application/vnd.oci.image.layer.v1.tar+zstd",
            name: "python: torch".to_owned(),
        }
    }

    #[test]
    fn a_configuration_keeps_what_is_not_about_layers() {
        let removed = [("COPY a b", 2), ("RUN make", 1), ("RUN test", 0)];
        let removed = removed.map(|(text, followed_by)| RemovedInstruction {
            text: text.to_owned(),
            followed_by,
        });
        let text = base().configuration(&[layer()], &removed);
        let configuration: Value = serde_json::from_slice(&text).unwrap();
        let made: Vec<&str> = configuration["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["created_by"].as_str().unwrap())
            .collect();
        assert_eq!(
            made,
            [
                "the base",
                "ENV A=1",
                "COPY a b",
                "WORKDIR /srv/x",
                "RUN make",
                "CMD [\"python3\"]",
                "RUN test",
                "python: torch",
            ]
        );
        let diff_ids = configuration["rootfs"]["diff_ids"].as_array().unwrap();
        let full = configuration["history"].as_array().unwrap().iter();
        let full = full.filter(|entry| entry.get("empty_layer").is_none());
        assert_eq!((diff_ids.len(), full.count()), (3, 3));
        assert_eq!(configuration["x-unknown"]["stays"], true);
        assert_eq!(configuration["created"], "2026-11-30T00:51:31Z");
    }

    #[test]
    fn a_manifest_names_all_layers_in_order() {
        let annotations = [("a".to_owned(), "b".to_owned())];
        let text = base().manifest((&digest('f'), 77), &[layer()], &annotations);
        let manifest: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(manifest["config"]["digest"], digest('f').to_string());
        assert_eq!(manifest["config"]["size"], 77);
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 3);
        assert_eq!(layers[2]["digest"], digest('e').to_string());
        assert_eq!(manifest["annotations"]["a"], "b");
        assert_eq!(
            base().media_type(),
            "application/vnd.oci.image.manifest.v1+json"
        );
    }

    fn base_layer(seed: char) -> BaseLayer {
        BaseLayer {
            digest: digest(seed),
            size: 7,
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        }
    }

    #[test]
    fn a_configuration_on_the_base_images_layers_has_none_of_its_own() {
        let given = Value::Object(base().configuration).to_string();
        let on_layers =
            |layers, kept| Base::on_layers(given.as_bytes(), layers, kept).map(|base| base.layers);
        assert!(on_layers(vec![base_layer('1')], 1).is_err());
        assert!(on_layers(Vec::new(), 3).is_err());
        assert!(on_layers(Vec::new(), 5).is_err());
        let base = Base::on_layers(given.as_bytes(), vec![base_layer('1')], 3).unwrap();
        let text = base.configuration(&[layer()], &[]);
        let configuration: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            configuration["rootfs"]["diff_ids"],
            json!(["sha256:d1", digest('d').to_string()])
        );
        let full = configuration["history"].as_array().unwrap().iter();
        let full = full.filter(|entry| entry["empty_layer"] != true);
        let made: Vec<&str> = full.map(|it| it["created_by"].as_str().unwrap()).collect();
        assert_eq!(made, ["the base", "python: torch"]);
        let text = base.manifest((&digest('f'), 77), &[layer()], &[]);
        let manifest: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(manifest["layers"][0]["digest"], digest('1').to_string());
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
        assert_eq!(manifest["mediaType"], MANIFEST);
        assert_eq!(manifest["config"]["digest"], digest('f').to_string());
    }

    #[test]
    fn a_directory_on_nothing_makes_no_layer() {
        let configuration = json!({
            "history": [
                {"created_by": "ENV A=1", "comment": FRONTEND, "empty_layer": true},
                {"created_by": "WORKDIR /a", "comment": FRONTEND},
            ],
            "rootfs": {"type": "layers", "diff_ids": ["sha256:d1"]},
        });
        let text = configuration.to_string();
        let base = Base::on_layers(text.as_bytes(), Vec::new(), 2).unwrap();
        let made: Value = serde_json::from_slice(&base.configuration(&[], &[])).unwrap();
        assert_eq!(made["rootfs"]["diff_ids"], json!([]));
        assert_eq!(made["history"][1]["empty_layer"], true);
        let nothing = json!({"rootfs": {"type": "layers"}}).to_string();
        assert!(Base::on_layers(nothing.as_bytes(), Vec::new(), 0).is_ok());
    }

    #[test]
    fn a_manifest_and_a_configuration_that_disagree_are_refused() {
        let manifest = br#"{"config":{},"layers":[]}"#;
        let configuration = br#"{"rootfs":{"diff_ids":["sha256:d1"]}}"#;
        let error = Base::new(manifest, configuration).unwrap_err();
        assert!(error.to_string().contains("rootfs.diff_ids"), "{error}");
        assert!(Base::new(b"[]", configuration).is_err());
        // Nothing could be added to these.
        for (manifest, configuration, field) in [
            (&manifest[..], &br#"{"rootfs":[]}"#[..], "`rootfs`"),
            (
                br#"{"layers":[],"annotations":"a"}"#,
                b"{}",
                "`annotations`",
            ),
        ] {
            let error = Base::new(manifest, configuration).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
        assert!(configuration_digest(manifest).is_err());
    }
}
