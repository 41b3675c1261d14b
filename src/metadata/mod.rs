//! Tags, labels and annotations in the way of docker/metadata-action. No IO, no clock.
//!
//! Tests compare the results with that action's own (`tests/fixtures/tags`). The user's page lists the intended
//! differences:
//!
#![doc = include_str!("../../docs/tags.md")]

pub(crate) mod event;
pub(crate) mod fire;
pub(crate) mod flavor;
pub(crate) mod generate;
pub(crate) mod labels;
pub(crate) mod name;

mod date;
mod expression;
mod pattern;
mod reason;
mod rule;
mod template;
mod version;

#[cfg(test)]
#[path = "../../tests/tables/metadata_readme.rs"]
mod readme;
#[cfg(test)]
#[path = "../../tests/tables/metadata_recorded.rs"]
mod recorded;

use image::{ImageRef, ImageRefError, is_tag};
use lists::list::{self, Grammar, ListError, trim};

use self::rule::{Rule, RuleError};

/// docker/metadata-action's default rules.
#[cfg(test)]
pub(crate) const DEFAULT_RULES: &str =
    "type=schedule\ntype=ref,event=branch\ntype=ref,event=tag\ntype=ref,event=pr";

/// The input `tags`, parsed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tags {
    /// Highest priority first.
    rules: Vec<Rule>,
    /// Full references, which rules do not change.
    references: Vec<ImageRef>,
}

/// A line that is no rule, tag or reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TagsError {
    #[error("could not read `tags`")]
    List(#[source] ListError),
    #[error(transparent)]
    Rule(RuleError),
    /// A name with a path, which can only be a reference.
    #[error(transparent)]
    Image(ImageRefError),
    #[error("`{given}` is not a tag, a reference or a rule (which begins with `type=`)")]
    Reference {
        given: String,
        #[source]
        source: ImageRefError,
    },
}

impl TagsError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::List(error) => Some(error.hint()),
            Self::Reference { .. } => {
                Some("begin the line with `type=raw,value=` to replace other characters by `-`")
            }
            Self::Rule(_) | Self::Image(_) => None,
        }
    }
}

impl TagsError {
    fn not_a_reference(given: &str, source: ImageRefError) -> Self {
        if given.contains('/') {
            return Self::Image(source);
        }
        Self::Reference {
            given: given.to_owned(),
            source,
        }
    }
}

impl Tags {
    /// Parses the input and reports all invalid lines.
    pub(crate) fn parse(input: &str) -> Result<Self, Vec<TagsError>> {
        let items =
            list::parse(input, Grammar::Rules).map_err(|error| vec![TagsError::List(error)])?;
        let mut tags = Self::default();
        let mut errors = Vec::new();
        for item in items {
            // Tags and references cannot contain these.
            let is_rule = item.contains('=') || item.contains("{{");
            let entries = match is_rule {
                true => vec![&*item],
                false => item.split(',').map(trim).collect(),
            };
            for given in entries.into_iter().filter(|given| !given.is_empty()) {
                let added = if is_rule || is_tag(given) {
                    Rule::parse(given)
                        .map(|rule| tags.rules.push(rule))
                        .map_err(TagsError::Rule)
                } else {
                    given
                        .parse()
                        .map(|reference| tags.references.push(reference))
                        .map_err(|source| TagsError::not_a_reference(given, source))
                };
                errors.extend(added.err());
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        tags.rules
            .sort_by(|one, other| other.priority.total_cmp(&one.priority));
        Ok(tags)
    }

    /// The full references among the lines.
    pub(crate) fn references(&self) -> &[ImageRef] {
        &self.references
    }

    /// Whether a line needs `repository` to become a reference.
    pub(crate) fn needs_image(&self) -> bool {
        !self.rules.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tells_rules_from_tags_and_references() {
        let tags = Tags::parse(
            "# comment\na,b\n\ntype=sha\nmy-{{branch}}\nvalue=x,priority=1\no/r,c.d/e:f,\n",
        )
        .unwrap();
        let sources: Vec<&str> = tags.rules.iter().map(|rule| rule.source.as_str()).collect();
        assert_eq!(
            sources,
            ["a", "b", "my-{{branch}}", "type=sha", "value=x,priority=1"]
        );
        let references: Vec<String> = tags.references().iter().map(ToString::to_string).collect();
        assert_eq!(references, ["docker.io/o/r", "c.d/e:f"]);
        assert!(tags.needs_image());
        assert!(!Tags::parse("o/r").unwrap().needs_image());
        let nothing = Tags::parse(" \n# nothing\n").unwrap();
        assert!(nothing.rules.is_empty() && nothing.references().is_empty());
    }

    #[test]
    fn reports_every_invalid_line() {
        let errors = Tags::parse("type=foo\nok\n-x\ntype=raw\nA/b:c").unwrap_err();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "could not read tag rule `type=foo`",
                "`-x` is not a tag, a reference or a rule (which begins with `type=`)",
                "could not read tag rule `type=raw`",
            ]
        );
        assert!(
            errors
                .iter()
                .filter_map(TagsError::hint)
                .any(|hint| hint.contains("type=raw,value="))
        );
        let error = Tags::parse("ok\n\"type=raw,value=a").unwrap_err();
        assert!(matches!(
            error.as_slice(),
            [TagsError::List(ListError::UnclosedQuote { line: 2, .. })]
        ));
    }

    proptest! {
        #[test]
        fn survives_any_input(input in "(\\PC|type=|[a-z,=\"{}\n/:@]){0,40}") {
            let _ = Tags::parse(&input);
        }
    }
}
