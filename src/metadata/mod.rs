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

use image::{ImageRef, ImageRefError, Registry, is_tag};
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
    references: Vec<Reference>,
}

/// A full reference, which rules do not change.
#[derive(Debug, Clone)]
struct Reference {
    /// The text of the input.
    given: String,
    image: ImageRef,
}

impl Reference {
    /// Whether the text can only be an image reference, so that it is one even with `repository`: it spells out a
    /// registry and is no branch or tag of Git, which cannot contain `:`
    /// (<https://git-scm.com/docs/git-check-ref-format>) nor begin with an ECR host.
    fn is_unambiguous(&self) -> bool {
        let Some((host, _)) = self.given.split_once('/') else {
            return false;
        };
        let is_host = host == "localhost" || host.contains(['.', ':']);
        let is_amazons = !matches!(self.image.registry(), Registry::Other { .. });
        is_host && (self.given.contains(':') || is_amazons)
    }
}

/// A line that is no rule, tag or reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TagsError {
    #[error("could not read `tags`")]
    List(#[source] ListError),
    #[error(transparent)]
    Rule(RuleError),
    /// A name with a registry and a tag, which can only be a reference.
    #[error(transparent)]
    Image(ImageRefError),
    #[error("`{given}` is not a tag, a reference or a rule (which begins with `type=`)")]
    Reference {
        given: String,
        #[source]
        source: ImageRefError,
    },
    #[error(
        "`{given}` is not a tag, and with `repository` a full image name needs a registry and a tag"
    )]
    Ambiguous { given: String },
}

impl TagsError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::List(error) => Some(error.hint().to_owned()),
            Self::Reference { given, .. } => Some(tag_remedy(given)),
            Self::Ambiguous { given } => Some(format!(
                "{}; for another image write its full name, {}",
                tag_remedy(given),
                full_name(given)
            )),
            Self::Rule(_) | Self::Image(_) => None,
        }
    }
}

/// The rules that make a tag of a text, often a branch, a Git tag or a pull request's merge ref.
fn tag_remedy(given: &str) -> String {
    let tag = |text: &str| name::valid(text).map(|(tag, _)| tag).unwrap_or_default();
    let pull_request = given.strip_prefix("refs/pull/").unwrap_or(given);
    let (event, by_event) = if let Some(number) = pull_request.strip_suffix("/merge") {
        ("pr", format!("pr-{number}"))
    } else if let Some(name) = given.strip_prefix("refs/tags/") {
        ("tag", tag(name))
    } else {
        (
            "branch",
            tag(given.strip_prefix("refs/heads/").unwrap_or(given)),
        )
    };
    let raw = tag(given);
    if raw.is_empty() {
        return "a tag needs a letter, a digit or `_`".to_owned();
    }
    if raw == by_event {
        return format!(
            "for a tag of `repository` use `type=ref,event={event}` or `type=raw,value={given}`, which give `{raw}`"
        );
    }
    format!(
        "for a tag of `repository` use `type=ref,event={event}`, which gives `{by_event}`, or \
         `type=raw,value={given}`, which gives `{raw}`"
    )
}

fn full_name(given: &str) -> String {
    match given.parse::<ImageRef>() {
        Ok(mut image) if image.host.contains('.') => {
            image.tag.get_or_insert_with(|| "latest".to_owned());
            format!("`{image}`")
        }
        _ => "`HOST/PATH:TAG`".to_owned(),
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
                    let given = given.to_owned();
                    match given.parse() {
                        Ok(image) => {
                            tags.references.push(Reference { given, image });
                            Ok(())
                        }
                        Err(source) if given.contains('/') && given.contains(':') => {
                            Err(TagsError::Image(source))
                        }
                        Err(source) => Err(TagsError::Reference { given, source }),
                    }
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

    pub(crate) fn references(&self) -> impl Iterator<Item = &ImageRef> {
        self.references.iter().map(|reference| &reference.image)
    }

    /// The lines that are no references if `repository` is set: a branch such as `feature/login` must not become an
    /// image of Docker Hub.
    pub(crate) fn ambiguous_with_repository(&self) -> Vec<TagsError> {
        let references = self.references.iter();
        let ambiguous = references.filter(|reference| !reference.is_unambiguous());
        ambiguous
            .map(|reference| TagsError::Ambiguous {
                given: reference.given.clone(),
            })
            .collect()
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
        let references: Vec<String> = tags.references().map(ToString::to_string).collect();
        assert_eq!(references, ["docker.io/o/r", "c.d/e:f"]);
        assert!(tags.needs_image());
        assert!(!Tags::parse("o/r").unwrap().needs_image());
        let nothing = Tags::parse(" \n# nothing\n").unwrap();
        assert!(nothing.rules.is_empty() && nothing.references.is_empty());
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

    fn ambiguous(input: &str) -> Vec<String> {
        let errors = Tags::parse(input).map(|tags| tags.ambiguous_with_repository());
        let errors = errors.unwrap_or_else(|errors| errors);
        let text = |error: &TagsError| format!("{error} ({})", error.hint().unwrap_or_default());
        errors.iter().map(text).collect()
    }

    #[test]
    fn with_repository_only_a_full_name_is_a_reference() {
        let long = "a".repeat(129);
        for line in [
            "feature/login",
            "feature/login/2",
            "dependabot/npm_and_yarn/lodash-4.17.21",
            "refs/heads/main",
            "refs/tags/v1.2.3",
            "refs/pull/15/merge",
            "15/merge",
            "Feature/Login",
            "FEATURE/login",
            "release-1.2/hotfix",
            "v1.2/rc",
            "john.doe/fix",
            "app.example/team/app",
            "ghcr.io/team/app",
            "localhost/app",
            "app:1.0",
            "team/app:1.0",
            "feature/login#1",
            "feature/ünïcode",
            "-x",
            ".x",
            &long,
        ] {
            let errors = ambiguous(line);
            assert_eq!(errors.len(), 1, "{line}: {errors:?}");
            assert!(
                errors[0].starts_with(&format!("`{line}` is not a tag")),
                "{}",
                errors[0]
            );
            for remedy in ["`type=ref,event=", &format!("`type=raw,value={line}`")] {
                assert!(errors[0].contains(remedy), "{}", errors[0]);
            }
        }
        for line in [
            "v1.2.3",
            "main",
            "type=raw,value=feature/login",
            "ghcr.io/team/app:edge",
            "docker.io/team/app:1",
            "localhost:5000/app",
            "localhost/app:1",
            "registry:5000/app",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app",
            "public.ecr.aws/a/app",
            "a.b/c@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert!(ambiguous(line).is_empty(), "{line}: {:?}", ambiguous(line));
        }
    }

    #[test]
    fn an_ambiguous_line_shows_what_the_remedies_give() {
        for (line, hint) in [
            (
                "feature/login",
                "for a tag of `repository` use `type=ref,event=branch` or `type=raw,value=feature/login`, which give \
                 `feature-login`; for another image write its full name, `docker.io/feature/login:latest`",
            ),
            (
                "refs/heads/a/b",
                "use `type=ref,event=branch`, which gives `a-b`, or `type=raw,value=refs/heads/a/b`, which gives \
                 `refs-heads-a-b`;",
            ),
            (
                "15/merge",
                "use `type=ref,event=pr`, which gives `pr-15`, or",
            ),
            (
                "refs/pull/15/merge",
                "use `type=ref,event=pr`, which gives `pr-15`, or",
            ),
            (
                "refs/tags/v1",
                "use `type=ref,event=tag`, which gives `v1`, or",
            ),
            ("john.doe/fix", "write its full name, `john.doe/fix:latest`"),
            ("FEATURE/login", "write its full name, `HOST/PATH:TAG`"),
        ] {
            let errors = ambiguous(line);
            assert!(errors[0].contains(hint), "{}", errors[0]);
        }
    }

    proptest! {
        #[test]
        fn no_git_ref_is_a_reference_beside_repository(name in "[a-zA-Z0-9._/#@+-]{1,140}") {
            let tags = Tags::parse(&name).unwrap_or_default();
            // An ECR host spells out its registry.
            prop_assert_eq!(tags.ambiguous_with_repository().len(), tags.references.len(), "{}", name);
        }

        #[test]
        fn survives_any_input(input in "(\\PC|type=|[a-z,=\"{}\n/:@]){0,40}") {
            let _ = Tags::parse(&input);
        }
    }
}
