//! One item of `cache-from` or `cache-to`: attributes, or the names of registry caches.

use std::fmt;

use lists::attributes::{self, Attributes};
use secrecy::SecretString;
use serde::{Serialize, Serializer};
use strum::{EnumString, IntoStaticStr};

use super::grammar::Rule;
use super::value::{Expected, Item};

/// Where a cache is read or written, as buildx reads it
/// (<https://github.com/docker/buildx/blob/461836ba0/util/buildflags/cache.go>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheEntry {
    pub backend: Backend,
    pub attributes: Attributes,
}

/// What keeps a cache (<https://docs.docker.com/build/cache/backends/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Backend {
    Registry,
    Inline,
    Gha,
    Local,
    S3,
    Azblob,
}

/// Attributes that are secret (<https://docs.docker.com/build/cache/backends/s3/>, `gha`, `azblob`).
const SECRETS: [&str; 3] = ["secret_access_key", "session_token", "token"];

const EXPECTED: &str = "`type=<name>[,name=value…]` or the name of a registry cache";

const TYPES: &str = "a cache type, one of `registry`, `inline`, `gha`, `local`, `s3`, `azblob`";

/// An image's own cache is read from the registry.
pub(super) const IMPORT: Rule = Rule {
    holds: |text| {
        let caches = CacheEntry::parse(text).unwrap_or_default();
        caches.iter().all(|cache| cache.backend != Backend::Inline)
    },
    expected: "`type=registry,ref=<image>`, which also reads the inline cache of an image",
};

impl CacheEntry {
    pub(crate) fn new(backend: Backend) -> Self {
        Self {
            backend,
            attributes: Attributes::default(),
        }
    }

    /// The entry with one more attribute.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.set(name, value);
        self
    }

    /// Whether it is kept in the image itself.
    pub(crate) fn is_inline(&self) -> bool {
        self.backend == Backend::Inline
    }

    fn parse(text: &str) -> Result<Vec<Self>, Expected> {
        let fields = attributes::split(text).ok_or(EXPECTED)?;
        if !text.contains('=') {
            let names = fields.into_iter();
            let caches = names.map(|name| Self::new(Backend::Registry).with("ref", name));
            return Ok(caches.collect());
        }
        // buildx takes the blanks for a part of the name, and ignores the attribute.
        let mut names = fields.iter().filter_map(|field| field.split_once('='));
        if names.any(|(name, _)| name != name.trim()) {
            return Err("no blanks around the names of attributes".into());
        }
        let (backend, attributes) = Attributes::with_type(fields).ok_or(EXPECTED)?;
        Ok(vec![Self {
            backend: backend.parse().map_err(|_| TYPES)?,
            attributes,
        }])
    }
}

impl Item for CacheEntry {
    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        items.extend(Self::parse(text)?);
        Ok(())
    }

    fn to_mask(text: &str) -> Vec<SecretString> {
        let fields = text.split([',', '\n', '"']);
        let secrets = fields.filter_map(|field| {
            let (name, value) = field.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            (SECRETS.contains(&name.as_str()) && !value.is_empty()).then(|| value.trim().into())
        });
        secrets.collect()
    }
}

/// The entry as buildx reads it.
impl fmt::Display for CacheEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend: &str = self.backend.into();
        attributes::write(formatter, backend, &self.attributes)
    }
}

impl Serialize for CacheEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What buildx 0.29 makes of these, as `bake --print` shows it; what its BuildKit knows no
    /// backend for is refused here.
    #[test]
    fn caches_are_read_as_buildx_reads_them() {
        for (text, expected) in [
            ("type=gha", "type=gha"),
            ("Type=gha", "type=gha"),
            ("TYPE=gha,Scope=A", "type=gha,scope=A"),
            ("scope=a,type=gha", "type=gha,scope=a"),
            ("\"type=gha\",mode=max", "type=gha,mode=max"),
            ("type=gha,type=registry,ref=a", "type=registry,ref=a"),
            ("type=s3,\"name=a,b\"", "type=s3,\"name=a,b\""),
            ("user/app:cache", "type=registry,ref=user/app:cache"),
            ("a/b:c,d/e", "type=registry,ref=a/b:c type=registry,ref=d/e"),
            ("\"Type=local\",src=x", "type=local,src=x"),
        ] {
            let caches = CacheEntry::parse(text).unwrap();
            let caches: Vec<String> = caches.iter().map(ToString::to_string).collect();
            assert_eq!(caches.join(" "), expected, "{text}");
        }
        for (text, expected) in [
            ("type= gha", TYPES),
            ("type=GHA", TYPES),
            ("type=regstry,ref=a", TYPES),
            ("mode=max", EXPECTED),
            ("type=gha,", EXPECTED),
            ("type=gha,mode", EXPECTED),
            ("type=local,src=\"a\"", EXPECTED),
            ("type=s3,\"name=a", EXPECTED),
            ("", EXPECTED),
            ("type=registry, ref=a", "no blanks"),
        ] {
            let error = CacheEntry::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
