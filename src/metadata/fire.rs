//! Applies one rule to a workflow run: the middle part of the tag, or the reason why there is none.
//!
//! [`super::generate`] adds prefixes and suffixes, and replaces characters that a tag cannot hold.

use super::event::WorkflowRun;
use super::expression::{Clocks, Name};
use super::pattern::{Found, Pattern};
use super::reason::{Reason, Subject, Warning};
use super::rule::{Kind, Rule, VersionRule};
use super::template::Template;
use super::version::Version;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fired {
    pub value: String,
    /// Whether `latest` follows if this rule gives the version.
    pub is_latest: bool,
}

/// A rule that is wrong in any run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FireError {
    #[error("tag rule `{rule}`: enable is `{found}`, expected true or false")]
    Enable { rule: String, found: String },
    #[error(
        "tag rule `{rule}`: `match={pattern}` matches `{value}`, but has no group for the version"
    )]
    NoPart {
        rule: String,
        pattern: String,
        value: String,
    },
}

pub(crate) fn fire(
    rule: &Rule,
    run: &WorkflowRun,
    print: &impl Fn(&Template) -> String,
    clocks: Clocks,
    warnings: &mut Vec<Warning>,
) -> Result<Result<Fired, Reason>, FireError> {
    match print(&rule.enable).as_str() {
        "true" => {}
        "false" => return Ok(Err(Reason::Disabled)),
        found => {
            return Err(FireError::Enable {
                rule: rule.source.clone(),
                found: found.to_owned(),
            });
        }
    }
    // The text to look at: the rule's own, else the Git tag.
    let subject = |value: &Option<Template>| match value {
        Some(value) => Ok(print(value)),
        None => tag(run).map(str::to_owned),
    };
    Ok(match &rule.kind {
        Kind::Semver(version) | Kind::Pep440(version) => {
            let text = match subject(&version.value) {
                Ok(text) => text,
                Err(reason) => return Ok(Err(reason)),
            };
            let text = version_part(rule, version, text, warnings)?;
            let version_text = text.replace('/', "-");
            let subject = |version| Subject { text, version };
            let read = if matches!(rule.kind, Kind::Semver(_)) {
                Version::semver(&version_text)
                    .ok_or_else(|| Reason::NotSemver(subject(version_text)))
            } else {
                Version::pep440(&version_text)
                    .ok_or_else(|| Reason::NotPep440(subject(version_text)))
            };
            read.map(|read| print_version(&read, &version.pattern, clocks))
        }
        Kind::Match {
            pattern,
            group,
            value,
        } => subject(value)
            .and_then(|text| find(pattern, *group, text))
            .map(latest),
        Kind::Schedule { pattern } => {
            if run.event.contains("schedule") {
                Ok(plain(pattern.render(clocks, |name| run.value(name))))
            } else {
                Err(Reason::NotScheduled(run.event.clone()))
            }
        }
        Kind::Edge { branch } => edge(run, branch.as_deref()),
        Kind::Branch => branch(run).map(plain),
        Kind::Tag => tag(run).map(latest),
        Kind::PullRequest => match run.pull_request() {
            Some(number) => Ok(plain(number)),
            None => Err(Reason::NotAPullRequest(run.reference.clone())),
        },
        Kind::Raw { value } => Ok(plain(print(value))),
        Kind::Sha { .. } if run.sha.is_empty() => Err(Reason::NoCommit),
        Kind::Sha { long: true } => Ok(plain(&*run.sha)),
        Kind::Sha { long: false } => Ok(plain(run.short_sha())),
    })
}

fn plain(value: impl Into<String>) -> Fired {
    Fired {
        value: value.into(),
        is_latest: false,
    }
}

fn latest(value: impl Into<String>) -> Fired {
    Fired {
        value: value.into(),
        is_latest: true,
    }
}

fn branch(run: &WorkflowRun) -> Result<&str, Reason> {
    run.branch()
        .ok_or_else(|| Reason::NotABranch(run.reference.clone()))
}

fn tag(run: &WorkflowRun) -> Result<&str, Reason> {
    run.tag()
        .ok_or_else(|| Reason::NotATag(run.reference.clone()))
}

fn edge(run: &WorkflowRun, wanted: Option<&str>) -> Result<Fired, Reason> {
    let found = branch(run)?;
    let wanted = wanted.unwrap_or(&run.repository.default_branch);
    if wanted.is_empty() {
        return Err(Reason::UnknownDefaultBranch);
    }
    if found != wanted {
        return Err(Reason::OtherBranch {
            found: found.to_owned(),
            wanted: wanted.to_owned(),
        });
    }
    Ok(plain("edge"))
}

fn find(pattern: &Pattern, group: usize, value: String) -> Result<String, Reason> {
    let given = pattern.given().to_owned();
    match pattern.find(&value, group) {
        Found::Text(text) => Ok(text),
        Found::Nothing => Err(Reason::NoMatch {
            pattern: given,
            value,
        }),
        Found::NoGroup => Err(Reason::NoGroup {
            pattern: given,
            value,
            group,
        }),
    }
}

/// The version in a text: what `match=` finds, else all of it.
fn version_part(
    rule: &Rule,
    version: &VersionRule,
    text: String,
    warnings: &mut Vec<Warning>,
) -> Result<String, FireError> {
    let found = match &version.part {
        None => text,
        Some(pattern) => match pattern.find(&text, 1) {
            Found::Text(found) => found,
            Found::Nothing => {
                warnings.push(Warning::PartNotFound {
                    rule: rule.source.clone(),
                    pattern: pattern.given().to_owned(),
                    value: text.clone(),
                });
                text
            }
            Found::NoGroup => {
                return Err(FireError::NoPart {
                    rule: rule.source.clone(),
                    pattern: pattern.given().to_owned(),
                    value: text,
                });
            }
        },
    };
    Ok(found)
}

/// Renders a version. A version that is not final gives only its full form, or the raw one for the pattern `{{raw}}`:
/// `1.2` must not move to a pre-release.
fn print_version(version: &Version, pattern: &Template, clocks: Clocks) -> Fired {
    if version.is_final {
        return latest(pattern.render(clocks, |name| version.value(name)));
    }
    let is_raw = pattern.is_only(Name::Raw);
    plain(version.value(if is_raw { Name::Raw } else { Name::Version }))
}
