//! How long Amazon ECR keeps caches: a lifecycle policy.
//!
//! A cache's tag is moved with every run, and what it named before stays behind without tag, with
//! layers that nothing else may use. The policy is given to repositories that we make; for others
//! docs/cache.md has the command. Format:
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>.

use serde_json::{Value, json};

use crate::plan::CACHE_TAGS;

/// Days after which a cache that no run has written anew goes away.
const CACHE_DAYS: u32 = 30;

/// Days after which a manifest without tag goes away. An image whose only tag has moved on is one of
/// them; parts of an index that has a tag are not.
const UNTAGGED_DAYS: u32 = 30;

/// The policy.
pub(crate) fn policy() -> Value {
    let older = |days: u32| json!({"countType": "sinceImagePushed", "countUnit": "days", "countNumber": days});
    let rule = |priority: u32, description: &str, tags: Value, days: u32| {
        let mut selection = older(days);
        if let (Some(selection), Value::Object(tags)) = (selection.as_object_mut(), tags) {
            selection.extend(tags);
        }
        json!({
            "rulePriority": priority,
            "description": description,
            "selection": selection,
            "action": {"type": "expire"},
        })
    };
    json!({"rules": [
        rule(
            1,
            "caches of branches that nobody builds any longer",
            json!({"tagStatus": "tagged", "tagPatternList": [format!("{CACHE_TAGS}*")]}),
            CACHE_DAYS,
        ),
        rule(
            2,
            "what moved tags left behind",
            json!({"tagStatus": "untagged"}),
            UNTAGGED_DAYS,
        ),
    ]})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page has it for repositories that exist already.
    #[test]
    fn the_documented_command_has_this_policy() {
        let page = include_str!("../../docs/cache.md");
        let (_, rest) = page.split_once("<!-- policy -->\n```json\n").unwrap();
        let (shown, _) = rest.split_once("\n```").unwrap();
        let shown: Value = serde_json::from_str(shown).unwrap();
        assert_eq!(shown, policy());
    }

    /// ECR's limits: priorities differ, an untagged rule has no tags, a description 256 characters.
    #[test]
    fn the_rules_are_within_ecrs_bounds() {
        let policy = policy();
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
