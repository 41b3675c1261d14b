//! Whether a rule fires in a run, and on what: a [`Rule`] and a [`WorkflowRun`] in, the tag's middle part or the reason
//! why there is none out. Prefixes, suffixes and characters that a tag may not hold come later.

use super::event::WorkflowRun;
use super::expression::{Clocks, Name};
use super::generate::Warning;
use super::pattern::{Found, Pattern};
use super::rule::{Kind, Rule, VersionRule};
use super::template::Template;
use super::version::Version;

/// What a rule gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fired {
    pub value: String,
    /// Whether `latest` follows from it, should it name the version.
    pub is_latest: bool,
}

/// Why a rule gives no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("`enable` is false")]
    Disabled,
    #[error("the event is `{0}`, not a schedule")]
    NotScheduled(String),
    #[error("`{0}` is no branch")]
    NotABranch(String),
    #[error("`{0}` is no git tag, and no `value=` stands in its place")]
    NotATag(String),
    #[error("`{0}` is no pull request")]
    NotAPullRequest(String),
    #[error("the branch is `{found}`, not `{wanted}`")]
    OtherBranch { found: String, wanted: String },
    #[error("the event does not tell the default branch; name it with `branch=`")]
    UnknownDefaultBranch,
    #[error("there is no commit")]
    NoCommit,
    #[error("`{0}` is not a semantic version (https://semver.org)")]
    NotSemver(String),
    #[error("`{0}` is not a version as PEP 440 has them (https://peps.python.org/pep-0440)")]
    NotPep440(String),
    #[error("`{pattern}` does not match `{value}`")]
    NoMatch { pattern: String, value: String },
    #[error("`{pattern}` matches `{value}`, but its group {group} caught nothing")]
    NoGroup {
        pattern: String,
        value: String,
        group: usize,
    },
    #[error("it is empty")]
    Empty,
    #[error("`{0}` holds no character that a tag may begin with")]
    NothingLeft(String),
}

impl Reason {
    /// Whether it is likely a mistake. Rules for other events are none: lists are written for several.
    pub(crate) fn is_warning(&self) -> bool {
        match self {
            Self::UnknownDefaultBranch
            | Self::NotSemver(_)
            | Self::NotPep440(_)
            | Self::NoMatch { .. }
            | Self::NoGroup { .. }
            | Self::NothingLeft(_) => true,
            Self::Disabled
            | Self::NotScheduled(_)
            | Self::NotABranch(_)
            | Self::NotATag(_)
            | Self::NotAPullRequest(_)
            | Self::OtherBranch { .. }
            | Self::NoCommit
            | Self::Empty => false,
        }
    }
}

/// A rule that cannot be followed, whatever the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FireError {
    #[error("tag rule `{rule}`: enable is `{found}`, expected true or false")]
    Enable { rule: String, found: String },
    #[error(
        "tag rule `{rule}`: `match={pattern}` matches `{value}`, but has no group that caught the version"
    )]
    NoPart {
        rule: String,
        pattern: String,
        value: String,
    },
}

/// Follows one rule.
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
    Ok(match &rule.kind {
        Kind::Semver(version) | Kind::Pep440(version) => {
            let text = match subject(run, version.value.as_ref(), print) {
                Ok(text) => text,
                Err(reason) => return Ok(Err(reason)),
            };
            let text = version_part(rule, version, text, warnings)?;
            let read = if matches!(rule.kind, Kind::Semver(_)) {
                Version::semver(&text).ok_or(Reason::NotSemver(text))
            } else {
                Version::pep440(&text).ok_or(Reason::NotPep440(text))
            };
            read.map(|read| print_version(&read, &version.pattern, clocks))
        }
        Kind::Match {
            pattern,
            group,
            value,
        } => subject(run, value.as_ref(), print)
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
        Kind::Branch => branch(run).map(|branch| plain(branch.to_owned())),
        Kind::Tag => tag(run).map(|tag| latest(tag.to_owned())),
        Kind::PullRequest => run
            .pull_request()
            .map(|number| plain(number.to_owned()))
            .ok_or_else(|| Reason::NotAPullRequest(run.reference.clone())),
        Kind::Raw { value } => Ok(plain(print(value))),
        Kind::Sha { .. } if run.sha.is_empty() => Err(Reason::NoCommit),
        Kind::Sha { long: true } => Ok(plain(run.sha.clone())),
        Kind::Sha { long: false } => Ok(plain(run.short_sha())),
    })
}

fn plain(value: String) -> Fired {
    Fired {
        value,
        is_latest: false,
    }
}

fn latest(value: String) -> Fired {
    Fired {
        value,
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
    Ok(plain("edge".to_owned()))
}

/// What a rule looks at: its own value, else the git tag.
fn subject(
    run: &WorkflowRun,
    value: Option<&Template>,
    print: &impl Fn(&Template) -> String,
) -> Result<String, Reason> {
    match value {
        Some(value) => Ok(print(value)),
        None => tag(run).map(str::to_owned),
    }
}

fn find(pattern: &Pattern, group: usize, value: String) -> Result<String, Reason> {
    match pattern.find(&value, group) {
        Found::Text(text) => Ok(text),
        Found::Nothing => Err(Reason::NoMatch {
            pattern: pattern.given().to_owned(),
            value,
        }),
        Found::NoGroup => Err(Reason::NoGroup {
            pattern: pattern.given().to_owned(),
            value,
            group,
        }),
    }
}

/// The part of a text that is the version; all of it where the rule's `match=` does not.
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
    Ok(found.replace('/', "-"))
}

/// A version that is not final moves often: it gives its full form only, or the raw one where the pattern is that.
fn print_version(version: &Version, pattern: &Template, clocks: Clocks) -> Fired {
    if version.is_final {
        return latest(pattern.render(clocks, |name| version.value(name)));
    }
    let name = if pattern.is_only(Name::Raw) {
        Name::Raw
    } else {
        Name::Version
    };
    plain(version.value(name))
}
