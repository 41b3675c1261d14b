//! The index of an image for several platforms: the one that BuildKit made for the configurations, with our manifests in it.
//!
//! So platforms, their order and annotations of the index and of its descriptors are BuildKit's.

use image::Digest;
use serde_json::{Map, Value};

use crate::compose::{ComposeError, object};

/// Media type of an index of OCI (<https://github.com/opencontainers/image-spec/blob/main/image-index.md>).
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

const WHAT: &str = "index";

/// BuildKit's index, read.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    fields: Map<String, Value>,
}

impl Index {
    /// Reads an index that has exactly one manifest for each of these platforms.
    pub(crate) fn read<'a>(
        text: &[u8],
        platforms: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ComposeError> {
        let index = Self {
            fields: object(WHAT, text)?,
        };
        let mut named: Vec<Option<String>> = index.descriptors().map(platform).collect();
        let mut expected: Vec<Option<String>> = platforms
            .into_iter()
            .map(|platform| Some(platform.to_owned()))
            .collect();
        named.sort();
        expected.sort();
        if named != expected || expected.is_empty() {
            return Err(missing("manifests"));
        }
        Ok(index)
    }

    fn descriptors(&self) -> impl Iterator<Item = &Value> {
        let manifests = self.fields.get("manifests").and_then(Value::as_array);
        manifests.into_iter().flatten()
    }

    /// Digest of a platform's manifest.
    pub(crate) fn manifest(&self, of: &str) -> Result<Digest, ComposeError> {
        let mut descriptors = self.descriptors();
        let descriptor = descriptors.find(|descriptor| platform(descriptor).as_deref() == Some(of));
        let digest = descriptor.and_then(|descriptor| descriptor.get("digest")?.as_str());
        let digest = digest.and_then(|digest| digest.parse().ok());
        digest.ok_or_else(|| missing("manifests.digest"))
    }

    /// Names another manifest for a platform; `size` in bytes.
    pub(crate) fn replace(&mut self, of: &str, digest: &Digest, size: usize) {
        let manifests = self
            .fields
            .get_mut("manifests")
            .and_then(Value::as_array_mut);
        let mut descriptors = manifests.into_iter().flatten();
        let descriptor = descriptors.find(|descriptor| platform(descriptor).as_deref() == Some(of));
        if let Some(descriptor) = descriptor.and_then(Value::as_object_mut) {
            descriptor.insert("digest".to_owned(), digest.to_string().into());
            descriptor.insert("size".to_owned(), size.into());
        }
    }

    pub(crate) fn media_type(&self) -> &str {
        let named = self.fields.get("mediaType").and_then(Value::as_str);
        named.unwrap_or(INDEX)
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.fields).unwrap_or_default()
    }
}

fn missing(field: &'static str) -> ComposeError {
    ComposeError::Field { what: WHAT, field }
}

/// The platform of an index's descriptor: `linux/arm64`, `linux/arm/v7`.
pub(crate) fn platform(descriptor: &Value) -> Option<String> {
    let platform = descriptor.get("platform")?;
    let field = |name: &str| platform.get(name)?.as_str();
    let variant = field("variant").map(|variant| format!("/{variant}"));
    Some(format!(
        "{}/{}{}",
        field("os")?,
        field("architecture")?,
        variant.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(seed: char) -> Digest {
        let text = format!("sha256:{}", seed.to_string().repeat(64));
        text.parse().unwrap()
    }

    /// What BuildKit pushed for three platforms, with annotations at both levels.
    fn given() -> Value {
        let descriptor = |seed: char, platform: Value| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(seed).to_string(),
                "size": 853,
                "annotations": {"com.example.of": seed.to_string()},
                "platform": platform,
            })
        };
        json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                descriptor('b', json!({"architecture": "arm64", "os": "linux"})),
                descriptor('a', json!({"architecture": "amd64", "os": "linux"})),
                descriptor('c', json!({"architecture": "arm", "os": "linux", "variant": "v7"})),
            ],
            "annotations": {"com.example.of": "index"},
        })
    }

    const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/arm/v7"];

    fn read(value: &Value) -> Result<Index, ComposeError> {
        Index::read(value.to_string().as_bytes(), PLATFORMS)
    }

    #[test]
    fn an_index_keeps_all_but_the_manifests() {
        let mut index = read(&given()).unwrap();
        for (platform, seed) in PLATFORMS.iter().zip(['a', 'b', 'c']) {
            assert_eq!(index.manifest(platform).unwrap(), digest(seed));
        }
        for (platform, seed) in PLATFORMS.iter().zip(['d', 'e', 'f']) {
            index.replace(platform, &digest(seed), 7);
        }
        let mut expected = given();
        for (at, seed) in ['e', 'd', 'f'].into_iter().enumerate() {
            expected["manifests"][at]["digest"] = digest(seed).to_string().into();
            expected["manifests"][at]["size"] = 7.into();
        }
        let text: Value = serde_json::from_slice(&index.text()).unwrap();
        assert_eq!(text, expected);
        assert_eq!(index.media_type(), INDEX);
    }

    #[test]
    fn an_index_of_other_platforms_is_refused() {
        let mut cases = vec![json!({}), json!([]), json!({"manifests": {}})];
        let mut case = |change: &dyn Fn(&mut Value)| {
            let mut value = given();
            change(&mut value);
            cases.push(value);
        };
        case(&|value| drop(value["manifests"].as_array_mut().unwrap().pop()));
        case(&|value| value["manifests"][2]["platform"]["variant"] = "v6".into());
        case(&|value| value["manifests"][1] = value["manifests"][0].clone());
        case(&|value| {
            let more =
                json!({"digest": "x", "platform": {"architecture": "unknown", "os": "unknown"}});
            value["manifests"].as_array_mut().unwrap().push(more);
        });
        for value in cases {
            assert!(read(&value).is_err(), "{value}");
        }
        let mut bad = given();
        bad["manifests"][0]["digest"] = "sha256:x".into();
        assert!(read(&bad).unwrap().manifest("linux/arm64").is_err());
    }
}
