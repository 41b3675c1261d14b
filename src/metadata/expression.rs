//! What stands between the braces of a [`Template`](super::template::Template): `name`, or `date 'format' tz='zone'`.
//! A text in, an [`Expression`] out; names, formats and time zones are checked here.
//!
//! The names are those of <https://github.com/docker/metadata-action#global-expressions> and of its patterns. What else
//! Handlebars has (blocks, comments, partials, paths), which could hide a mistake or run code, is refused.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::date;

/// What stands between braces.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    Value(Name),
    Date {
        clock: Clock,
        format: String,
        zone: TimeZone,
    },
}

/// Which moment a date is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    Run,
    Commit,
}

/// Which names an expression may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The run that makes the tags: `prefix`, `suffix`, `value`, `enable`, labels.
    Run,
    /// Dates only: the pattern of a schedule.
    Dates,
    /// The parts of a version: the pattern of semver and pep440.
    Version,
}

/// A value that an expression may ask for.
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

/// The two moments that dates are printed of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// When the tags are made.
    pub now: Timestamp,
    /// When the commit was made.
    pub commit: Timestamp,
}

/// Why a text is no template.
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
    /// Reads what stands between braces.
    pub(crate) fn parse(inside: &str, scope: Scope) -> Result<Self, ExpressionError> {
        read(inside, scope)
    }

    /// Its value as text.
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

fn read(inside: &str, scope: Scope) -> Result<Expression, ExpressionError> {
    let inside = inside.trim();
    let (name, arguments) = inside
        .split_once(char::is_whitespace)
        .unwrap_or((inside, ""));
    let clock = match name {
        "date" if scope.has_dates() => Clock::Run,
        "commit_date" if scope.has_dates() => Clock::Commit,
        _ => {
            let (_, known) = scope
                .names()
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| ExpressionError::Unknown {
                    found: inside.to_owned(),
                    known: scope.known(),
                })?;
            if !arguments.trim().is_empty() {
                return Err(ExpressionError::UnexpectedArgument(inside.to_owned()));
            }
            return Ok(Expression::Value(*known));
        }
    };
    let fault = || ExpressionError::Date(inside.to_owned());
    let (format, mut rest) = quoted(arguments.trim_start()).ok_or_else(fault)?;
    let mut zone_name = "UTC".to_owned();
    while !rest.trim_start().is_empty() {
        if rest.trim_start().len() == rest.len() {
            return Err(fault());
        }
        let value = rest
            .trim_start()
            .strip_prefix("tz")
            .and_then(|rest| rest.trim_start().strip_prefix('='))
            .ok_or_else(fault)?;
        (zone_name, rest) = quoted(value.trim_start()).ok_or_else(fault)?;
    }
    let zone = TimeZone::get(&zone_name).map_err(|_| ExpressionError::TimeZone {
        expression: inside.to_owned(),
        zone: zone_name,
    })?;
    Ok(Expression::Date {
        clock,
        format,
        zone,
    })
}

/// A text in quotes, in which a backslash makes the same quote plain, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (inside, after) = split_closing(text.strip_prefix(quote)?, quote)?;
    Some((
        inside.replace(&format!("\\{quote}"), &quote.to_string()),
        after,
    ))
}

fn split_closing(text: &str, quote: char) -> Option<(&str, &str)> {
    let mut previous = None;
    for (at, c) in text.char_indices() {
        if c == quote && previous != Some('\\') {
            let (inside, after) = text.split_at_checked(at)?;
            return Some((inside, after.strip_prefix(quote)?));
        }
        previous = Some(c);
    }
    None
}
