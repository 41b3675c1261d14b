//! What a rule says instead of a tag: why it gives none, and what looks like a mistake.

use std::fmt;

use super::name::Repair;

/// A rule that gave no tag, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tag rule `{rule}` gives no tag: {reason}")]
pub(crate) struct Unfired {
    pub rule: String,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("`enable` is false")]
    Disabled,
    #[error("the event is `{0}`, not a schedule")]
    NotScheduled(String),
    #[error("`{0}` is not a branch")]
    NotABranch(String),
    #[error("`{0}` is not a Git tag, and the rule has no `value=`")]
    NotATag(String),
    #[error("`{0}` is not a pull request")]
    NotAPullRequest(String),
    #[error("the branch is `{found}`, not `{wanted}`")]
    OtherBranch { found: String, wanted: String },
    #[error("the event does not name the default branch; set `branch=`")]
    UnknownDefaultBranch,
    #[error("there is no commit")]
    NoCommit,
    #[error("{0} is not a semantic version (https://semver.org)")]
    NotSemver(Subject),
    #[error("{0} is not a PEP 440 version (https://peps.python.org/pep-0440)")]
    NotPep440(Subject),
    #[error("`{pattern}` does not match `{value}`")]
    NoMatch { pattern: String, value: String },
    #[error("`{pattern}` matches `{value}`, but group {group} matched nothing")]
    NoGroup {
        pattern: String,
        value: String,
        group: usize,
    },
    #[error("it is empty")]
    Empty,
    #[error("`{0}` has no character that can start a tag")]
    NothingLeft(String),
}

/// A text that should be a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The text of the Git tag or of `value=`.
    pub text: String,
    /// The text with `-` for `/`.
    pub version: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, version } = self;
        match text.rsplit_once('/') {
            None => write!(formatter, "`{version}`"),
            Some((before, _)) => write!(
                formatter,
                "`{version}`, from `{text}` with `-` for `/` (`match={before}/(.*)` takes the part after it),"
            ),
        }
    }
}

impl Reason {
    /// Whether this is likely a mistake. A rule for another event is not: a list of rules covers several events.
    pub(crate) fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::UnknownDefaultBranch
                | Self::NotSemver(_)
                | Self::NotPep440(_)
                | Self::NoMatch { .. }
                | Self::NoGroup { .. }
                | Self::NothingLeft(_)
        )
    }
}

/// A likely mistake that does not prevent tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Warning {
    #[error(transparent)]
    Unfired(#[from] Unfired),
    #[error("tag rule `{rule}`: `{pattern}` does not match `{value}`, so all of it is the version")]
    PartNotFound {
        rule: String,
        pattern: String,
        value: String,
    },
    #[error("tag rule `{rule}`: `{attribute}=` has no effect on a rule of this type")]
    UnusedAttribute { rule: String, attribute: String },
    #[error("tag rule `{rule}`: {repair}")]
    Repaired { rule: String, repair: Repair },
}
