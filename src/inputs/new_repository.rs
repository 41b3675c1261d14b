//! The input `create-repository`: a boolean, or what a new repository is to be like.
//!
//! Attributes are named as the AWS CLI's options
//! (<https://docs.aws.amazon.com/cli/latest/reference/ecr/create-repository.html>,
//! <https://docs.aws.amazon.com/cli/latest/reference/ecr/put-lifecycle-policy.html>), separated by
//! commas or lines.

use std::fmt;
use std::path::PathBuf;

use image::Mutability;
use lists::attributes;
use serde::{Serialize, Serializer};

use super::value::{Field, Form, Read, Single as _, Value};

const FILTER: &str = "image-tag-mutability-exclusion-filter";

/// Most exclusion filters that ECR takes.
const MOST_FILTERS: usize = 5;
/// Most tags of an AWS resource.
const MOST_TAGS: usize = 50;

/// What a new repository is to be like. What is not set is as ECR has it by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NewRepository {
    pub mutability: Option<Mutability>,
    pub scan_on_push: Option<bool>,
    pub encryption: Option<Encryption>,
    pub lifecycle_policy: LifecyclePolicy,
    /// Names and values.
    pub tags: Vec<(String, String)>,
}

/// How its images are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encryption {
    /// `AES256`, `KMS` or `KMS_DSSE`.
    pub kind: &'static str,
    /// ARN, id or alias.
    pub key: Option<String>,
}

/// When its images expire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum LifecyclePolicy {
    /// Ours, which removes old caches and untagged images.
    #[default]
    Ours,
    /// Never.
    None,
    /// As a JSON file says.
    File(PathBuf),
}

impl NewRepository {
    /// Reads attributes.
    ///
    /// # Errors
    /// The attribute that is wrong, and what is expected.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, String)> {
        const EXPECTED: &str = "a boolean, or attributes such as `scan-on-push=true`";
        let lines = text.lines().map(|line| line.trim().trim_end_matches(','));
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let fields = match lines.as_slice() {
            [] => Vec::new(),
            lines => attributes::split(&lines.join(","))
                .ok_or_else(|| (text.to_owned(), EXPECTED.to_owned()))?,
        };
        let mut new = Self::default();
        let (mut setting, mut filters, mut kind, mut key) = (None, Vec::new(), None, None);
        for field in &fields {
            let field = field.trim();
            let wrong = |expected: &str| (field.to_owned(), expected.to_owned());
            let (name, value) = field.split_once('=').ok_or_else(|| wrong(EXPECTED))?;
            let (name, value) = (name.trim(), value.trim());
            match name {
                _ if value.is_empty() => return Err(wrong("a value after the `=`")),
                "image-tag-mutability" => setting = Some(value),
                FILTER if is_filter(value) && filters.len() < MOST_FILTERS => {
                    filters.push(value.to_owned());
                }
                FILTER => {
                    return Err(wrong(
                        "at most five filters of letters, digits, `.`, `_`, `-` and `*`",
                    ));
                }
                "scan-on-push" => {
                    let on = attributes::boolean(value);
                    new.scan_on_push = Some(on.ok_or_else(|| wrong("`true` or `false`"))?);
                }
                "encryption-type" => {
                    let mut kinds = ["AES256", "KMS", "KMS_DSSE"].into_iter();
                    let found = kinds.find(|known| *known == value);
                    kind = Some(found.ok_or_else(|| wrong("`AES256`, `KMS` or `KMS_DSSE`"))?);
                }
                "kms-key" => key = Some(value.to_owned()),
                "lifecycle-policy" if value == "none" => {
                    new.lifecycle_policy = LifecyclePolicy::None;
                }
                "lifecycle-policy" => new.lifecycle_policy = LifecyclePolicy::File(value.into()),
                _ => match name.strip_prefix("tag.").filter(|tag| !tag.is_empty()) {
                    Some(tag) if new.tags.len() < MOST_TAGS => {
                        new.tags.push((tag.to_owned(), value.to_owned()));
                    }
                    _ => return Err(wrong(ATTRIBUTES)),
                },
            }
        }
        new.encryption = encryption(kind, key)?;
        new.mutability = mutability(setting, &filters)?;
        Ok(new)
    }
}

impl Value for Option<NewRepository> {
    const FORM: Form = Form::Block;

    fn read(field: &Field<'_>) -> Read<Self> {
        let text = field.trimmed();
        if let Ok(on) = bool::parse(text) {
            return Ok(on.then(NewRepository::default));
        }
        NewRepository::parse(text)
            .map(Some)
            .map_err(|(given, expected)| field.wrong(&given, expected))
    }
}

const ATTRIBUTES: &str = "one of the attributes `image-tag-mutability`, \
     `image-tag-mutability-exclusion-filter`, `scan-on-push`, `encryption-type`, `kms-key`, \
     `lifecycle-policy` and `tag.<name>`";

fn encryption(
    kind: Option<&'static str>,
    key: Option<String>,
) -> Result<Option<Encryption>, (String, String)> {
    match (kind, key) {
        (None, None) => Ok(None),
        (Some("AES256"), Some(key)) => Err((
            format!("kms-key={key}"),
            "no key with `encryption-type=AES256`".to_owned(),
        )),
        (kind, key) => Ok(Some(Encryption {
            kind: kind.unwrap_or("KMS"),
            key,
        })),
    }
}

fn mutability(
    setting: Option<&str>,
    filters: &[String],
) -> Result<Option<Mutability>, (String, String)> {
    let found = match setting {
        None if filters.is_empty() => return Ok(None),
        Some("MUTABLE") => Some(Mutability::Mutable),
        Some("IMMUTABLE") => Some(Mutability::Immutable),
        Some("IMMUTABLE_WITH_EXCLUSION") => Some(Mutability::ImmutableExcept(filters.to_owned())),
        Some("MUTABLE_WITH_EXCLUSION") => Some(Mutability::MutableExcept(filters.to_owned())),
        _ => None,
    };
    let excludes = matches!(
        found,
        Some(Mutability::ImmutableExcept(_) | Mutability::MutableExcept(_))
    );
    let given = format!("image-tag-mutability={}", setting.unwrap_or_default());
    match found {
        Some(found) if excludes != filters.is_empty() => Ok(Some(found)),
        Some(_) => Err((
            given,
            "`image-tag-mutability-exclusion-filter` together with a setting `…_WITH_EXCLUSION`, and \
             only then"
                .to_owned(),
        )),
        None => Err((
            given,
            "`MUTABLE`, `IMMUTABLE`, `IMMUTABLE_WITH_EXCLUSION` or `MUTABLE_WITH_EXCLUSION`"
                .to_owned(),
        )),
    }
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageTagMutabilityExclusionFilter.html>
fn is_filter(text: &str) -> bool {
    text.len() <= 128
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._*-".contains(&byte))
}

/// The attributes, in one record.
impl fmt::Display for NewRepository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = Vec::new();
        let mut add = |name: &str, value: &str| fields.push(format!("{name}={value}"));
        if let Some(mutability) = &self.mutability {
            add("image-tag-mutability", mutability.name());
            for filter in mutability.filters() {
                add("image-tag-mutability-exclusion-filter", filter);
            }
        }
        if let Some(on) = self.scan_on_push {
            add("scan-on-push", if on { "true" } else { "false" });
        }
        if let Some(encryption) = &self.encryption {
            add("encryption-type", encryption.kind);
            if let Some(key) = &encryption.key {
                add("kms-key", key);
            }
        }
        match &self.lifecycle_policy {
            LifecyclePolicy::Ours => {}
            LifecyclePolicy::None => add("lifecycle-policy", "none"),
            LifecyclePolicy::File(path) => add("lifecycle-policy", &path.to_string_lossy()),
        }
        for (name, value) in &self.tags {
            add(&format!("tag.{name}"), value);
        }
        formatter.write_str(&attributes::join(&fields))
    }
}

impl Serialize for NewRepository {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_attribute_and_prints_it_again() {
        for text in [
            "",
            "image-tag-mutability=IMMUTABLE",
            "image-tag-mutability=MUTABLE,scan-on-push=false",
            "image-tag-mutability=IMMUTABLE_WITH_EXCLUSION,image-tag-mutability-exclusion-filter=latest,\
             image-tag-mutability-exclusion-filter=buildcache*",
            "image-tag-mutability=MUTABLE_WITH_EXCLUSION,image-tag-mutability-exclusion-filter=v*",
            "scan-on-push=true,encryption-type=KMS,kms-key=alias/ecr,lifecycle-policy=ci/policy.json",
            "encryption-type=AES256,lifecycle-policy=none,tag.team=web,\"tag.note=a, b\"",
        ] {
            let new = NewRepository::parse(text).unwrap();
            assert_eq!(new.to_string(), text);
            assert_eq!(
                NewRepository::parse(&text.replace(",i", ",\ni")).unwrap(),
                new
            );
        }
        let key = NewRepository::parse("kms-key=alias/a").unwrap();
        assert_eq!(key.to_string(), "encryption-type=KMS,kms-key=alias/a");
    }

    #[test]
    fn says_which_attribute_is_wrong() {
        let filter = "image-tag-mutability-exclusion-filter=a";
        let six = format!(
            "image-tag-mutability=IMMUTABLE_WITH_EXCLUSION{}",
            format!(",{filter}").repeat(6)
        );
        let cases = [
            ("yes", "yes", "a boolean, or attributes"),
            (
                "scan-on-push=perhaps",
                "scan-on-push=perhaps",
                "`true` or `false`",
            ),
            ("scan-on-push=", "scan-on-push=", "a value"),
            ("scan=true", "scan=true", "one of the attributes"),
            ("tag.=x", "tag.=x", "one of the attributes"),
            (
                "image-tag-mutability=immutable",
                "image-tag-mutability=immutable",
                "`MUTABLE`, `IMMUTABLE`",
            ),
            (
                "image-tag-mutability=IMMUTABLE_WITH_EXCLUSION",
                "image-tag-mutability=IMMUTABLE_WITH_EXCLUSION",
                "exclusion-filter` together with",
            ),
            (
                &format!("image-tag-mutability=IMMUTABLE,{filter}"),
                "image-tag-mutability=IMMUTABLE",
                "and only then",
            ),
            (filter, "image-tag-mutability=", "`MUTABLE`"),
            (&six, filter, "at most five"),
            (
                "image-tag-mutability-exclusion-filter=a b",
                "image-tag-mutability-exclusion-filter=a b",
                "filters of letters",
            ),
            ("encryption-type=DES", "encryption-type=DES", "`AES256`"),
            ("encryption-type=AES256,kms-key=a", "kms-key=a", "no key"),
        ];
        for (text, given, expected) in cases {
            let (found, words) = NewRepository::parse(text).unwrap_err();
            assert_eq!(found, given, "{text}");
            assert!(words.contains(expected), "{text}: {words}");
        }
    }
}
