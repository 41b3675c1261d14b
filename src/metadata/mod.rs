//! Tags as docker/metadata-action makes them.
//!
//! The input `tags` (rules, plain tags and full references, mixed), `flavor`
//! and a [`WorkflowRun`](event::WorkflowRun) in; tags, version and the reasons of the rules that gave none out. No IO, no clock.
//!
//! Compared with the real one (`tests/fixtures/tags`); where this crate means to answer otherwise stands in the user's page:
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

/// The rules that docker/metadata-action follows where none are given.
#[cfg(test)]
pub(crate) const DEFAULT_RULES: &str =
    "type=schedule\ntype=ref,event=branch\ntype=ref,event=tag\ntype=ref,event=pr";

/// The input `tags`, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tags {
    /// Highest priority first.
    rules: Vec<Rule>,
    /// Full references, which no rule touches.
    references: Vec<ImageRef>,
}

/// Why a line is neither rule nor tag nor reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TagsError {
    #[error("could not read `tags`")]
    List(#[source] ListError),
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A name with a path, which can be nothing but a reference.
    #[error(transparent)]
    Image(ImageRefError),
    #[error("`{given}` is neither a tag nor a reference, and no rule since it has no `type=`")]
    Reference {
        given: String,
        #[source]
        source: ImageRefError,
    },
}

impl TagsError {
    /// The next thing to do about it, where there is one.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::List(error) => Some(error.hint()),
            Self::Reference { .. } => Some(
                "begin the line with `type=raw,value=` for a tag of other characters: they become `-`",
            ),
            Self::Rule(_) | Self::Image(_) => None,
        }
    }
}

impl Tags {
    /// Reads the whole input; all wrong lines are reported.
    pub(crate) fn parse(input: &str) -> Result<Self, Vec<TagsError>> {
        let items =
            list::parse(input, Grammar::Rules).map_err(|error| vec![TagsError::List(error)])?;
        let mut tags = Self::default();
        let mut errors = Vec::new();
        for item in items {
            // Neither a tag nor a reference can hold these.
            if item.contains('=') || item.contains("{{") {
                match Rule::parse(&item) {
                    Ok(rule) => tags.rules.push(rule),
                    Err(error) => errors.push(error.into()),
                }
                continue;
            }
            for given in item.split(',').map(trim).filter(|given| !given.is_empty()) {
                if is_tag(given) {
                    match Rule::parse(given) {
                        Ok(rule) => tags.rules.push(rule),
                        Err(error) => errors.push(error.into()),
                    }
                    continue;
                }
                match given.parse() {
                    Ok(reference) => tags.references.push(reference),
                    Err(source) if given.contains('/') => errors.push(TagsError::Image(source)),
                    Err(source) => errors.push(TagsError::Reference {
                        given: given.to_owned(),
                        source,
                    }),
                }
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

    /// Whether a line needs an image's name to be a reference.
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
    fn reports_every_wrong_line() {
        let errors = Tags::parse("type=foo\nok\n-x\ntype=raw\nA/b:c").unwrap_err();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "could not read tag rule `type=foo`",
                "`-x` is neither a tag nor a reference, and no rule since it has no `type=`",
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
