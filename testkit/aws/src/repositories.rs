//! Which repositories there are and whether their tags may move. moto knows, but for ECR Public.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::state::State;
use crate::upstream;

/// The key of ECR Public where others have a region.
pub(crate) const PUBLIC: &str = "public";

/// A repository's settings that the registry heeds.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    mutability: String,
    wildcards: Vec<String>,
}

/// What moto said, until something changes: a push asks for its repository some dozens of times.
#[derive(Debug, Default)]
pub(crate) struct Known {
    changes: u64,
    /// By account, region and name.
    found: BTreeMap<[String; 3], Option<Repository>>,
}

impl Known {
    /// Something has changed.
    pub(crate) fn forget(&mut self) {
        self.changes += 1;
        self.found.clear();
    }
}

/// A repository, by account, region and name.
pub(crate) async fn find(
    state: &State,
    account: &str,
    region: &str,
    name: &str,
) -> Result<Option<Repository>> {
    if region == PUBLIC {
        // ECR Public has no immutable tags.
        let known = state.memory().account(account).public.contains(name);
        return Ok(known.then(|| Repository {
            mutability: "MUTABLE".to_owned(),
            wildcards: Vec::new(),
        }));
    }
    let key = [account, region, name].map(str::to_owned);
    let changes = {
        let known = &state.memory().known;
        if let Some(repository) = known.found.get(&key) {
            return Ok(repository.clone());
        }
        known.changes
    };
    let asked = json!({ "repositoryNames": [name] });
    let (status, answer) =
        upstream::ecr(state, account, region, "DescribeRepositories", &asked).await?;
    let repository = match (status, answer["__type"].as_str()) {
        (200, _) => answer["repositories"].get(0).map(Repository::read),
        (_, Some("RepositoryNotFoundException" | "InvalidParameterException")) => None,
        _ => bail!("moto says {status} of repository `{name}`: {answer}"),
    };
    let known = &mut state.memory().known;
    // Unless it changed meanwhile.
    if known.changes == changes {
        known.found.insert(key, repository.clone());
    }
    Ok(repository)
}

/// Makes one.
pub(crate) async fn create(
    state: &State,
    account: &str,
    region: &str,
    name: &str,
    mutability: &str,
    wildcards: &[String],
) -> Result<()> {
    let mut asked = json!({ "repositoryName": name, "imageTagMutability": mutability });
    if !wildcards.is_empty() {
        let filters = wildcards
            .iter()
            .map(|filter| json!({ "filterType": "WILDCARD", "filter": filter }));
        asked["imageTagMutabilityExclusionFilters"] = filters.collect();
    }
    match upstream::ecr(state, account, region, "CreateRepository", &asked).await? {
        (200, _) => {
            state.memory().known.forget();
            Ok(())
        }
        (status, answer) => bail!("moto says {status}: {answer}"),
    }
}

impl Repository {
    fn read(description: &Value) -> Self {
        let filters = description["imageTagMutabilityExclusionFilters"]
            .as_array()
            .into_iter()
            .flatten();
        Self {
            mutability: description["imageTagMutability"]
                .as_str()
                .unwrap_or("MUTABLE")
                .to_owned(),
            wildcards: filters
                .filter_map(|filter| filter["filter"].as_str().map(str::to_owned))
                .collect(),
        }
    }

    /// Whether a tag stays where it is, once it is taken:
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html>.
    pub(crate) fn freezes(&self, tag: &str) -> bool {
        let exception = self.wildcards.iter().any(|wildcard| matches(wildcard, tag));
        match self.mutability.as_str() {
            "IMMUTABLE" => true,
            "IMMUTABLE_WITH_EXCLUSION" => !exception,
            "MUTABLE_WITH_EXCLUSION" => exception,
            _ => false,
        }
    }
}

/// `*` stands for any characters, also none; all others for themselves. moto takes a wildcard for a regular expression.
fn matches(wildcard: &str, tag: &str) -> bool {
    match wildcard.split_once('*') {
        None => wildcard == tag,
        Some((head, rest)) => tag.strip_prefix(head).is_some_and(|tail| {
            let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
            ends.into_iter()
                .any(|at| tail.get(at..).is_some_and(|tail| matches(rest, tail)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_any_characters() {
        for (wildcard, tag, expected) in [
            ("cache*", "cache", true),
            ("cache*", "cache-main", true),
            ("cache*", "x-cache", false),
            ("*latest", "latest", true),
            ("*latest", "v1-latest", true),
            ("*latest", "latest-1", false),
            ("v*.*", "v1.2", true),
            ("v*.*", "v1", false),
            ("a.c", "abc", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(wildcard, tag), expected, "{wildcard} {tag}");
        }
    }

    #[test]
    fn exceptions_turn_mutability_round() {
        let repository = |mutability: &str| Repository {
            mutability: mutability.to_owned(),
            wildcards: vec!["cache*".to_owned()],
        };
        for (mutability, image, cache) in [
            ("MUTABLE", false, false),
            ("IMMUTABLE", true, true),
            ("IMMUTABLE_WITH_EXCLUSION", true, false),
            ("MUTABLE_WITH_EXCLUSION", false, true),
        ] {
            let repository = repository(mutability);
            assert_eq!(
                (repository.freezes("1"), repository.freezes("cache-1")),
                (image, cache),
                "{mutability}"
            );
        }
    }
}
