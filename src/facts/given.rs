//! Facts on the command line, `--fact name=value`, which are not probed.

use std::collections::{BTreeMap, BTreeSet};

use image::Mutability;
use jiff::Timestamp;
use semver::Version;

use super::buildx;
use super::engine::ImageStore;
use super::error::FactsError;

/// The given facts. The others are probed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GivenFacts {
    pub buildx: Option<Version>,
    /// `Some(None)` for no Engine.
    pub engine: Option<Option<Version>>,
    pub store: Option<ImageStore>,
    pub platform: Option<String>,
    /// Architectures of the push engine's build step.
    pub step: Option<BTreeSet<String>>,
    pub registry: Option<String>,
    /// A cluster that is not asked.
    pub cluster: Option<String>,
    pub now: Option<Timestamp>,
    pub repositories: BTreeMap<String, Mutability>,
}

impl GivenFacts {
    /// Parses `name=value` pairs.
    /// Fails at the first unknown name or invalid value.
    pub(crate) fn parse<'a>(pairs: impl IntoIterator<Item = &'a str>) -> Result<Self, FactsError> {
        let mut facts = Self::default();
        for pair in pairs {
            let bad = |expected: &str| FactsError::BadFact {
                given: pair.to_owned(),
                expected: expected.to_owned(),
            };
            let version = |text| {
                buildx::lenient_version(text).ok_or_else(|| bad("a version such as `0.37.1`"))
            };
            match pair.split_once('=') {
                Some(("buildx", text)) => facts.buildx = Some(version(text)?),
                Some(("engine", "none")) => facts.engine = Some(None),
                Some(("engine", text)) => facts.engine = Some(Some(version(text)?)),
                Some(("store", "containerd")) => facts.store = Some(ImageStore::Containerd),
                Some(("store", "classic")) => facts.store = Some(ImageStore::Classic),
                Some(("store", _)) => return Err(bad("`containerd` or `classic`")),
                Some(("platform", text)) => facts.platform = Some(text.to_owned()),
                Some(("step", "none")) => facts.step = Some(BTreeSet::new()),
                Some(("step", text)) => {
                    let architectures = text.split(',').map(str::to_owned);
                    facts.step = Some(architectures.collect());
                    if text.split(',').any(str::is_empty) {
                        return Err(bad("architectures such as `amd64,arm64`, or `none`"));
                    }
                }
                Some(("registry", text)) => facts.registry = Some(text.to_owned()),
                Some(("cluster", "")) => return Err(bad("a cluster's name")),
                Some(("cluster", text)) => facts.cluster = Some(text.to_owned()),
                Some(("now", text)) => {
                    let expected = "a time such as `2026-01-31T12:00:00Z`";
                    facts.now = Some(text.parse().map_err(|_| bad(expected))?);
                }
                Some((setting @ ("immutable" | "mutable"), text)) => {
                    let (name, mutability) = mutability(setting, text);
                    facts.repositories.insert(name, mutability);
                }
                _ => {
                    return Err(bad(
                        "`buildx=VERSION`, `engine=VERSION`, `engine=none`, `store=containerd`, \
                         `store=classic`, `platform=OS/ARCH`, `step=ARCH,ARCH`, `step=none`, `registry=HOST`, `cluster=NAME`, `now=TIME`, \
                         `immutable=HOST/REPOSITORY` or `immutable=HOST/REPOSITORY!FILTER,FILTER`",
                    ));
                }
            }
        }
        Ok(facts)
    }
}

/// Parses `host/repository[!FILTER,FILTER]`.
fn mutability(setting: &str, text: &str) -> (String, Mutability) {
    let (name, filters) = match text.split_once('!') {
        Some((name, filters)) => (name, filters.split(',').map(str::to_owned).collect()),
        None => (text, Vec::new()),
    };
    let mutability = match (setting, filters.is_empty()) {
        ("immutable", true) => Mutability::Immutable,
        ("immutable", false) => Mutability::ImmutableExcept(filters),
        (_, true) => Mutability::Mutable,
        (_, false) => Mutability::MutableExcept(filters),
    };
    (name.to_owned(), mutability)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_facts_it_does_not_know() {
        for pair in ["store=zfs", "buildx=new", "step=", "weather=fine", "buildx"] {
            let error = GivenFacts::parse([pair]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("fact `{pair}`: expected ")),
                "{error}"
            );
        }
    }
}
