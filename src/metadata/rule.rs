//! One rule of the input `tags`, such as `type=semver,pattern={{version}},priority=950`.
//!
//! Types, attributes and defaults: <https://github.com/docker/metadata-action#tags-input>.

use lists::list::{self, ListError, trim};

use super::expression::{ExpressionError, Scope};
use super::pattern::{Pattern, PatternError};
use super::template::Template;

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// The rule's text.
    pub source: String,
    pub kind: Kind,
    /// The highest comes first; the first tag is the version.
    pub priority: f64,
    /// Renders to `true` or `false`.
    pub enable: Template,
    /// Overrides the flavor's prefix.
    pub prefix: Option<Template>,
    /// Overrides the flavor's suffix.
    pub suffix: Option<Template>,
    /// Attributes that have no effect on this type of rule.
    pub unused: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Schedule {
        pattern: Template,
    },
    Semver(VersionRule),
    Pep440(VersionRule),
    Match {
        pattern: Pattern,
        group: usize,
        value: Option<Template>,
    },
    Edge {
        /// `None` for the default branch.
        branch: Option<String>,
    },
    Branch,
    Tag,
    PullRequest,
    Raw {
        value: Template,
    },
    Sha {
        long: bool,
    },
}

/// A tag made from a version.
#[derive(Debug, Clone)]
pub(crate) struct VersionRule {
    pub pattern: Template,
    /// The text to parse, instead of the Git tag.
    pub value: Option<Template>,
    /// The first group is the version.
    pub part: Option<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not read tag rule `{rule}`")]
pub(crate) struct RuleError {
    rule: String,
    #[source]
    source: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Fields(#[from] ListError),
    #[error("unknown type `{0}`, expected schedule, semver, pep440, match, edge, ref, raw or sha")]
    Type(String),
    #[error("unknown attribute `{0}`, expected one of: {known}", known = ATTRIBUTES.join(", "))]
    Attribute(String),
    #[error("type {type_name} needs `{attribute}=`")]
    Missing {
        type_name: &'static str,
        attribute: &'static str,
    },
    #[error("{attribute} is `{found}`, expected {expected}")]
    Value {
        attribute: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

const ATTRIBUTES: [&str; 12] = [
    "type", "enable", "priority", "prefix", "suffix", "pattern", "value", "match", "group",
    "branch", "event", "format",
];

/// Each type's name, default priority and own attributes.
const TYPES: [(&str, f64, &[&str]); 8] = [
    ("schedule", 1000.0, &["pattern"]),
    ("semver", 900.0, &["pattern", "value", "match"]),
    ("pep440", 900.0, &["pattern", "value", "match"]),
    ("match", 800.0, &["pattern", "value", "group"]),
    ("edge", 700.0, &["branch"]),
    ("ref", 600.0, &["event"]),
    ("raw", 200.0, &["value"]),
    ("sha", 100.0, &["format"]),
];

/// The attributes of every type.
const COMMON: [&str; 5] = ["type", "enable", "priority", "prefix", "suffix"];

impl Rule {
    /// Parses a rule. A field without `=` is the value, a rule without type is `raw`.
    pub(crate) fn parse(source: &str) -> Result<Self, RuleError> {
        Self::read(source).map_err(|fault| RuleError {
            rule: source.to_owned(),
            source: fault,
        })
    }

    pub(super) fn is_latest(&self, print: &impl Fn(&Template) -> String) -> bool {
        matches!(&self.kind, Kind::Raw { value } if print(value) == "latest")
    }

    fn read(source: &str) -> Result<Self, Fault> {
        let attributes = Attributes::read(source)?;
        let type_name = attributes.get("type").unwrap_or("raw");
        let (type_name, priority, own) = TYPES
            .into_iter()
            .find(|(name, ..)| *name == type_name)
            .ok_or_else(|| Fault::Type(type_name.to_owned()))?;
        let run = |text: &str| Template::parse(text, Scope::Run);
        let needed = |attribute: &'static str| {
            attributes.get(attribute).ok_or(Fault::Missing {
                type_name,
                attribute,
            })
        };
        let filled = |name: &str| attributes.get(name).filter(|text| !text.is_empty());
        let wrong = |attribute, found: &str, expected| Fault::Value {
            attribute,
            found: found.to_owned(),
            expected,
        };
        let mut default_prefix = None;
        let version = || -> Result<VersionRule, Fault> {
            Ok(VersionRule {
                pattern: Template::parse(needed("pattern")?, Scope::Version)?,
                value: filled("value").map(run).transpose()?,
                part: filled("match").map(Pattern::without_flags).transpose()?,
            })
        };
        let kind = match type_name {
            "schedule" => Kind::Schedule {
                pattern: Template::parse(
                    attributes.get("pattern").unwrap_or("nightly"),
                    Scope::Dates,
                )?,
            },
            "semver" => Kind::Semver(version()?),
            "pep440" => Kind::Pep440(version()?),
            "match" => Kind::Match {
                pattern: Pattern::parse(needed("pattern")?)?,
                group: match attributes.get("group") {
                    // JavaScript would look for a group named `01`.
                    Some(found) => found
                        .parse()
                        .ok()
                        .filter(|group: &usize| group.to_string() == found)
                        .ok_or_else(|| wrong("group", found, "a whole number"))?,
                    None => 0,
                },
                value: filled("value").map(run).transpose()?,
            },
            "edge" => Kind::Edge {
                branch: filled("branch").map(str::to_owned),
            },
            "ref" => match needed("event")? {
                "branch" => Kind::Branch,
                "tag" => Kind::Tag,
                "pr" => {
                    default_prefix = Some("pr-");
                    Kind::PullRequest
                }
                found => return Err(wrong("event", found, "branch, tag or pr")),
            },
            "sha" => {
                default_prefix = Some("sha-");
                match attributes.get("format") {
                    None | Some("short") => Kind::Sha { long: false },
                    Some("long") => Kind::Sha { long: true },
                    Some(found) => return Err(wrong("format", found, "short or long")),
                }
            }
            _ => Kind::Raw {
                value: run(needed("value")?)?,
            },
        };
        let priority = match attributes.get("priority") {
            Some(found) => found
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                .ok_or_else(|| wrong("priority", found, "a number"))?,
            None => priority,
        };
        let prefix = attributes.get("prefix").or(default_prefix);
        Ok(Self {
            source: source.to_owned(),
            kind,
            priority,
            enable: run(attributes.get("enable").unwrap_or("true"))?,
            prefix: prefix.map(run).transpose()?,
            suffix: attributes.get("suffix").map(run).transpose()?,
            unused: attributes.others(own),
        })
    }
}

/// The attributes of one rule. The last of repeated attributes counts.
struct Attributes(Vec<(&'static str, String)>);

impl Attributes {
    fn read(source: &str) -> Result<Self, Fault> {
        let mut attributes = Vec::new();
        for field in list::fields(source)? {
            let (name, value) = match field.split_once('=') {
                Some((name, value)) if !name.is_empty() => (trim(name).to_lowercase(), trim(value)),
                _ if trim(&field).is_empty() => continue,
                _ => ("value".to_owned(), trim(&field)),
            };
            let known = ATTRIBUTES.into_iter().find(|known| *known == name);
            attributes.push((known.ok_or(Fault::Attribute(name))?, value.to_owned()));
        }
        Ok(Self(attributes))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rfind(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn others(&self, own: &[&str]) -> Vec<String> {
        let used = |name: &str| own.contains(&name) || COMMON.contains(&name);
        let unused = self.0.iter().filter(|(name, _)| !used(name));
        unused.map(|(name, _)| (*name).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_rule() {
        for (rule, why) in [
            ("type=foo", "unknown type `foo`, expected schedule, semver"),
            (
                "type=raw,value=a,enabled=false",
                "unknown attribute `enabled`, expected one of: type, enable",
            ),
            ("type=raw", "type raw needs `value=`"),
            ("type=semver", "type semver needs `pattern=`"),
            ("type=match", "type match needs `pattern=`"),
            ("type=ref", "type ref needs `event=`"),
            (
                "type=ref,event=push",
                "event is `push`, expected branch, tag or pr",
            ),
            (
                "type=sha,format=tiny",
                "format is `tiny`, expected short or long",
            ),
            (
                "type=match,pattern=a,group=x",
                "group is `x`, expected a whole number",
            ),
            (
                "type=match,pattern=a,group=01",
                "group is `01`, expected a whole number",
            ),
            (
                "type=raw,value=a,priority=high",
                "priority is `high`, expected a number",
            ),
            ("type=raw,value=a,priority=NaN", "priority is `NaN`"),
            (
                "type=raw,value={{branch",
                "the braces opened at `{{branch` are never closed",
            ),
            (
                "type=semver,pattern={{branch}}",
                "expression `branch`, expected one of: raw, version",
            ),
            ("type=match,pattern=(", "pattern `(`: unclosed group"),
            (
                "type=raw,value=\"a",
                "line 1: a quote may only open a field",
            ),
            (
                "type=raw,\"value=a",
                "line 1: a double quote is opened and never closed",
            ),
        ] {
            let error = Rule::parse(rule).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("could not read tag rule `{rule}`")
            );
            let source = error.source().unwrap().to_string();
            assert!(source.contains(why), "{rule}: {source}");
        }
    }

    #[test]
    fn reads_attributes_in_any_order_and_case() {
        let rule = Rule::parse(" VALUE = a=b ,, priority=1e3,Type=raw,prefix=").unwrap();
        assert!(matches!(rule.kind, Kind::Raw { .. }));
        assert!(rule.prefix.is_some() && rule.suffix.is_none());
        assert!((rule.priority - 1000.0).abs() < f64::EPSILON);
        assert_eq!(
            Rule::parse("type=sha,branch=main").unwrap().unused,
            ["branch"]
        );
    }

    proptest! {
        #[test]
        fn survives_any_rule(rule in "(type=|raw|sha|match|semver|,|=|\"|pattern|value|\\{\\{|\\}\\}|\\(|é| ){0,14}") {
            let _ = Rule::parse(&rule);
        }
    }
}
