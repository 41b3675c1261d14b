//! The lifecycle policy of repositories that this action creates.
//!
//! It must never delete an image that is in use. ECR counts an untagged image's age from its push, not
//! from the loss of its tag: an image deployed by digest would expire the moment that its only tag moves.
//! So untagged images expire only in repositories where images cannot lose their tags. For existing
//! repositories docs/cache.md has the command. Format:
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>.

use image::Mutability;
use serde_json::{Value, json};

use crate::plan::{CACHE_TAGS, EcrRepository, KEY_TAGS};

/// Days after its last push at which a cache, or the key of a build, expires.
const DAYS: u32 = 30;

/// The policy for a new repository.
pub(crate) fn policy(repository: &EcrRepository, mutability: Option<&Mutability>) -> Value {
    let mut rules = vec![caches(), keys()];
    if only_caches_lose_tags(repository, mutability) {
        rules.push(untagged());
    }
    json!({ "rules": rules })
}

/// Whether every untagged image is a cache or a key that a newer one replaced.
fn only_caches_lose_tags(repository: &EcrRepository, mutability: Option<&Mutability>) -> bool {
    if !repository.image {
        return true;
    }
    let keeps_tags = match mutability {
        Some(Mutability::Immutable) => true,
        Some(Mutability::ImmutableExcept(filters)) => {
            let is_ours = |filter: &String| {
                [CACHE_TAGS, KEY_TAGS]
                    .iter()
                    .any(|tags| filter.starts_with(tags))
            };
            filters.iter().all(is_ours)
        }
        Some(Mutability::Mutable | Mutability::MutableExcept(_)) | None => false,
    };
    // An image without tags is pushed by digest.
    keeps_tags && !repository.tags.is_empty()
}

fn caches() -> Value {
    let tags = json!({"tagStatus": "tagged", "tagPatternList": [format!("{CACHE_TAGS}*")]});
    rule(1, "caches that no run has written for 30 days", tags)
}

/// A key is a manifest of its own, so that no image goes with it. A rule with both patterns would be for what has both tags.
fn keys() -> Value {
    let tags = json!({"tagStatus": "tagged", "tagPatternList": [format!("{KEY_TAGS}*")]});
    rule(2, "keys of builds that are older than 30 days", tags)
}

fn untagged() -> Value {
    rule(3, "replaced caches", json!({"tagStatus": "untagged"}))
}

fn rule(priority: u32, description: &str, mut selection: Value) -> Value {
    selection["countType"] = json!("sinceImagePushed");
    selection["countUnit"] = json!("days");
    selection["countNumber"] = json!(DAYS);
    json!({
        "rulePriority": priority,
        "description": description,
        "selection": selection,
        "action": {"type": "expire"},
    })
}

#[cfg(test)]
mod tests {
    use image::EcrRegistry;

    use super::*;

    fn repository(image: bool, tags: &[&str]) -> EcrRepository {
        EcrRepository {
            registry: EcrRegistry::new("123456789012", "eu-west-1").unwrap(),
            name: "team/app".to_owned(),
            image,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            caches: Vec::new(),
        }
    }

    #[test]
    fn untagged_images_expire_only_where_images_keep_their_tags() {
        let except = |filters: &[&str]| {
            Some(Mutability::ImmutableExcept(
                filters.iter().map(|filter| (*filter).to_owned()).collect(),
            ))
        };
        for (image, tags, mutability, expected) in [
            (true, &["1"][..], None, false),
            (true, &["1"], Some(Mutability::Mutable), false),
            (
                true,
                &["1"],
                Some(Mutability::MutableExcept(vec!["1".to_owned()])),
                false,
            ),
            (true, &["1"], Some(Mutability::Immutable), true),
            (true, &["1"], except(&["buildcache*"]), true),
            (true, &["1"], except(&["buildcache*", "unchanged*"]), true),
            (true, &["1"], except(&["latest", "buildcache*"]), false),
            (true, &["1"], except(&["*"]), false),
            // Pushed by digest.
            (true, &[], Some(Mutability::Immutable), false),
            // Only caches.
            (false, &[], None, true),
        ] {
            let policy = policy(&repository(image, tags), mutability.as_ref());
            let rules = policy["rules"].as_array().unwrap();
            let untagged = rules
                .iter()
                .any(|rule| rule["selection"]["tagStatus"] == "untagged");
            assert_eq!(untagged, expected, "{image} {tags:?} {mutability:?}");
        }
    }

    /// The pages have the policies for existing repositories.
    #[test]
    fn the_documented_commands_have_these_policies() {
        let page = include_str!("../../docs/cache.md");
        let shown = |mark: &str| -> Value {
            let (_, rest) = page
                .split_once(&format!("<!-- {mark} -->\n```json\n"))
                .unwrap();
            serde_json::from_str(rest.split_once("\n```").unwrap().0).unwrap()
        };
        assert_eq!(shown("policy"), policy(&repository(true, &["1"]), None));
        assert_eq!(shown("rule"), untagged());
        let setup = include_str!("../../docs/setup.md");
        let (_, rest) = setup.split_once("cat >policy.json <<JSON\n").unwrap();
        let in_setup: Value = serde_json::from_str(rest.split_once("\nJSON").unwrap().0).unwrap();
        assert_eq!(in_setup, shown("policy"));
    }

    /// ECR's limits: priorities differ, an untagged rule has no tags, a description 256 characters.
    #[test]
    fn the_rules_are_within_ecrs_limits() {
        let policy = policy(&repository(true, &["1"]), Some(&Mutability::Immutable));
        let rules = policy["rules"].as_array().unwrap();
        for (index, rule) in rules.iter().enumerate() {
            assert_eq!(rule["rulePriority"], index + 1);
            assert!(rule["description"].as_str().unwrap().len() <= 256);
            let selection = &rule["selection"];
            let tagged = selection["tagStatus"] == "tagged";
            assert_eq!(tagged, selection.get("tagPatternList").is_some());
            assert!(selection["countNumber"].as_u64().unwrap() > 0);
        }
    }
}
