//! The text between the braces of a [`Template`](super::template::Template): `name`, or `date 'format' tz='zone'`.
//!
//! The names are docker/metadata-action's (<https://github.com/docker/metadata-action#global-expressions>). The rest of
//! Handlebars (blocks, comments, partials, paths) could hide a mistake or run code, and is an error.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::date;

#[derive(Debug, Clone)]
pub(crate) enum Expression {
    Value(Name),
    Date {
        clock: Clock,
        format: String,
        zone: TimeZone,
    },
}

/// The moment that a date shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    Run,
    Commit,
}

/// The names that an expression may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The workflow run: `prefix`, `suffix`, `value`, `enable`, labels.
    Run,
    /// Dates only: the pattern of a schedule.
    Dates,
    /// The parts of a version: the pattern of semver and pep440.
    Version,
}

/// A value of a run or of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Branch,
    Tag,
    Sha,
    BaseRef,
    IsDefaultBranch,
    IsNotDefaultBranch,
    Raw,
    Version,
    Major,
    Minor,
    Patch,
    Prerelease,
    Build,
}

const RUN_NAMES: &[(&str, Name)] = &[
    ("branch", Name::Branch),
    ("tag", Name::Tag),
    ("sha", Name::Sha),
    ("base_ref", Name::BaseRef),
    ("is_default_branch", Name::IsDefaultBranch),
    ("is_not_default_branch", Name::IsNotDefaultBranch),
];
const VERSION_NAMES: &[(&str, Name)] = &[
    ("raw", Name::Raw),
    ("version", Name::Version),
    ("major", Name::Major),
    ("minor", Name::Minor),
    ("patch", Name::Patch),
    ("prerelease", Name::Prerelease),
    ("build", Name::Build),
];
const DATES: &str = "date 'format' tz='zone', commit_date 'format' tz='zone'";

impl Scope {
    fn names(self) -> &'static [(&'static str, Name)] {
        match self {
            Self::Run => RUN_NAMES,
            Self::Dates => &[],
            Self::Version => VERSION_NAMES,
        }
    }

    fn has_dates(self) -> bool {
        self != Self::Version
    }

    fn known(self) -> String {
        let mut known: Vec<&str> = self.names().iter().map(|(name, _)| *name).collect();
        if self.has_dates() {
            known.push(DATES);
        }
        known.join(", ")
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    pub now: Timestamp,
    pub commit: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpressionError {
    #[error("the braces opened at `{0}` are never closed")]
    Unclosed(String),
    #[error("more braces are closed than opened at `{0}`")]
    Unbalanced(String),
    #[error("expression `{found}`, expected one of: {known}")]
    Unknown { found: String, known: String },
    #[error("expression `{0}` takes nothing after its name")]
    UnexpectedArgument(String),
    #[error("expression `{0}`, expected a format in quotes and at most `tz='zone'` after it")]
    Date(String),
    #[error("expression `{expression}`: unknown time zone `{zone}`")]
    TimeZone { expression: String, zone: String },
}

impl Expression {
    pub(crate) fn parse(inside: &str, scope: Scope) -> Result<Self, ExpressionError> {
        let inside = inside.trim();
        let (name, arguments) = inside
            .split_once(char::is_whitespace)
            .unwrap_or((inside, ""));
        let clock = match name {
            "date" if scope.has_dates() => Clock::Run,
            "commit_date" if scope.has_dates() => Clock::Commit,
            _ => {
                let mut names = scope.names().iter();
                let Some((_, name)) = names.find(|(known, _)| *known == name) else {
                    return Err(ExpressionError::Unknown {
                        found: inside.to_owned(),
                        known: scope.known(),
                    });
                };
                if !arguments.trim().is_empty() {
                    return Err(ExpressionError::UnexpectedArgument(inside.to_owned()));
                }
                return Ok(Self::Value(*name));
            }
        };
        let fault = || ExpressionError::Date(inside.to_owned());
        let (format, mut rest) = quoted(arguments.trim_start()).ok_or_else(fault)?;
        let mut zone_name = "UTC".to_owned();
        while !rest.trim_start().is_empty() {
            let value = rest
                .strip_prefix(char::is_whitespace)
                .and_then(|rest| rest.trim_start().strip_prefix("tz"))
                .and_then(|rest| rest.trim_start().strip_prefix('='))
                .ok_or_else(fault)?;
            (zone_name, rest) = quoted(value.trim_start()).ok_or_else(fault)?;
        }
        let zone = TimeZone::get(&zone_name).map_err(|_| ExpressionError::TimeZone {
            expression: inside.to_owned(),
            zone: zone_name,
        })?;
        Ok(Self::Date {
            clock,
            format,
            zone,
        })
    }

    pub(crate) fn print(&self, clocks: Clocks, value: impl Fn(Name) -> String) -> String {
        match self {
            Self::Value(name) => value(*name),
            Self::Date {
                clock,
                format,
                zone,
            } => {
                let moment = match clock {
                    Clock::Run => clocks.now,
                    Clock::Commit => clocks.commit,
                };
                date::format(moment, zone, format)
            }
        }
    }
}

/// Splits off a quoted text, in which a backslash escapes the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let text = text.strip_prefix(quote)?;
    let mut quotes = text.match_indices(quote);
    let (inside, after) = quotes.find_map(|(at, _)| {
        let (inside, after) = text.split_at_checked(at)?;
        (!inside.ends_with('\\')).then_some((inside, after.strip_prefix(quote)?))
    })?;
    let inside = inside.replace(&format!("\\{quote}"), &quote.to_string());
    Some((inside, after))
}
