//! One item of `cache-from` or `cache-to`, in buildx's grammar: CSV fields `name=value`, or the
//! names of registry caches
//! (<https://github.com/docker/buildx/blob/461836ba0/util/buildflags/cache.go>).

use std::fmt;

use super::grammar::Rule;
use super::value::{Expected, Item};
use lists::attributes;

/// Where a cache is read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheEntry(String);

pub(super) const CACHE_FROM: Rule = Rule {
    holds: |text| has_type(text, &["registry", "gha", "local", "s3", "azblob"]),
    expected: "a type of cache, one of `registry`, `gha`, `local`, `s3`, `azblob`",
};

pub(super) const CACHE_TO: Rule = Rule {
    holds: |text| {
        has_type(
            text,
            &["registry", "inline", "gha", "local", "s3", "azblob"],
        )
    },
    expected: "a type of cache, one of `registry`, `inline`, `gha`, `local`, `s3`, `azblob`",
};

/// Whether the type that the attributes name is one of these, which BuildKit knows
/// (<https://docs.docker.com/build/cache/backends/>). Attributes without type are not looked at.
fn has_type(text: &str, known: &[&str]) -> bool {
    let fields = attributes::split(text).unwrap_or_default();
    let types = fields
        .iter()
        .filter_map(|field| field.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("type"));
    types
        .map(|(_, kind)| kind.trim())
        .all(|kind| known.contains(&kind))
}

impl Item for CacheEntry {
    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        items.push(Self(text.to_owned()));
        Ok(())
    }
}

impl fmt::Display for CacheEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
