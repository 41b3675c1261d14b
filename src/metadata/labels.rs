//! Labels and annotations.
//!
//! Without a line `auto` the lines pass unchanged, as in docker/build-push-action. With it the input works as in
//! docker/metadata-action: eight keys of <https://github.com/opencontainers/image-spec/blob/main/annotations.md>,
//! which lines override; `#` begins a comment; expressions are replaced. Levels of annotations:
//! <https://github.com/moby/buildkit/blob/master/docs/annotations.md>.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lists::list::{self, Grammar, ListError, trim};

use super::date;
use super::event::WorkflowRun;
use super::expression::{Clocks, ExpressionError, Scope};
use super::template::Template;

/// The line that asks for the eight keys.
const AUTO: &str = "auto";
const LEVELS: [&str; 4] = [
    "manifest",
    "index",
    "manifest-descriptor",
    "index-descriptor",
];
const KEY_PREFIX: &str = "org.opencontainers.image.";

/// The input `labels` or `annotations`, parsed.
#[derive(Debug, Clone)]
pub(crate) enum Labels {
    /// These lines, unchanged.
    Lines(Vec<String>),
    /// The eight keys, and these lines, which override them.
    Auto(Vec<Template>),
}

impl Default for Labels {
    fn default() -> Self {
        Self::Lines(Vec::new())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LabelsError {
    #[error("could not read the list of labels")]
    List(#[source] ListError),
    #[error("could not read label `{line}`")]
    Expression {
        line: String,
        #[source]
        source: ExpressionError,
    },
    #[error("label `{0}`, expected `key=value`")]
    NoKey(String),
    #[error(
        "annotation level `{0}`, expected manifest, index, manifest-descriptor or index-descriptor, with or without `[platform]`"
    )]
    Level(String),
}

impl Labels {
    pub(crate) fn parse(input: &str) -> Result<Self, LabelsError> {
        let lines = list::parse(input, Grammar::Lines).map_err(LabelsError::List)?;
        if !lines.iter().any(|line| line == AUTO) {
            return Ok(Self::Lines(lines));
        }
        let lines = list::parse(input, Grammar::Rules).map_err(LabelsError::List)?;
        let mut templates = Vec::new();
        for line in lines.iter().filter(|line| *line != AUTO) {
            let key = line.split_once('=').map(|(key, _)| trim(key));
            if key.is_none_or(str::is_empty) {
                return Err(LabelsError::NoKey(line.clone()));
            }
            let template = Template::parse(line, Scope::Run);
            templates.push(template.map_err(|source| LabelsError::Expression {
                line: line.clone(),
                source,
            })?);
        }
        Ok(Self::Auto(templates))
    }

    /// The labels of one run, `key=value` each; with `auto` sorted by key.
    pub(crate) fn render(&self, run: &WorkflowRun, version: &str, now: Timestamp) -> Vec<String> {
        let templates = match self {
            Self::Lines(lines) => return lines.clone(),
            Self::Auto(templates) => templates,
        };
        let clocks = Clocks {
            now,
            commit: run.commit_date.unwrap_or(now),
        };
        let created = date::format(clocks.commit, &TimeZone::UTC, "YYYY-MM-DDTHH:mm:ss.SSS[Z]");
        let repository = &run.repository;
        let mut labels: BTreeMap<String, String> = [
            ("title", repository.name.as_str()),
            ("description", &repository.description),
            ("url", &repository.url),
            ("source", &repository.url),
            ("version", version),
            ("created", &created),
            ("revision", &run.sha),
            ("licenses", &repository.license),
        ]
        .into_iter()
        .map(|(key, value)| (format!("{KEY_PREFIX}{key}"), value.to_owned()))
        .collect();
        for template in templates {
            let line = template.render(clocks, |name| run.value(name));
            if let Some((key, value)) = line.split_once('=') {
                labels.insert(key.to_owned(), value.to_owned());
            }
        }
        labels
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }

    /// Whether a label has the current time, for lack of the commit's: two runs of one commit then give two digests.
    pub(crate) fn has_current_time(&self, run: &WorkflowRun) -> bool {
        matches!(self, Self::Auto(_)) && run.commit_date.is_none()
    }
}

/// Parses the levels of annotations, separated by commas (`DOCKER_METADATA_ANNOTATIONS_LEVELS`).
pub(crate) fn levels(text: &str) -> Result<Vec<String>, LabelsError> {
    let mut levels = Vec::new();
    for level in text.split(',').map(trim).filter(|level| !level.is_empty()) {
        let name = match level.split_once('[') {
            Some((name, platform)) if platform.ends_with(']') => name,
            _ => level,
        };
        if !LEVELS.contains(&name) {
            return Err(LabelsError::Level(level.to_owned()));
        }
        levels.push(level.to_owned());
    }
    if levels.is_empty() {
        levels.push("manifest".to_owned());
    }
    Ok(levels)
}

/// Every label at every level, in the form of buildx's `--annotation`: `manifest:key=value`. A label with a level of its
/// own is unchanged.
pub(crate) fn at_levels(labels: &[String], levels: &[String]) -> Vec<String> {
    let has_level = |label: &&String| {
        let key = label.split_once('=').map_or(label.as_str(), |(key, _)| key);
        key.contains(':')
    };
    let (levelled, plain): (Vec<&String>, Vec<&String>) = labels.iter().partition(has_level);
    let at = |level| plain.iter().map(move |label| format!("{level}:{label}"));
    let mut lines: Vec<String> = levels.iter().flat_map(at).collect();
    lines.extend(levelled.into_iter().cloned());
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metadata::event::{GithubValues, Settings};

    fn render(input: &str) -> Vec<String> {
        let payload = json!({
            "head_commit": {"id": "860c190", "timestamp": "2020-01-09T23:30:15+09:00"},
            "repository": {"name": "Hello-World", "description": "a=b", "html_url": "https://github.com/o/r", "license": {"spdx_id": "MIT"}}
        });
        let github = GithubValues {
            event_name: "push",
            reference: "refs/heads/main",
            sha: "860c190",
            ..GithubValues::default()
        };
        let run = WorkflowRun::new(github, &payload, Settings::default());
        let labels = Labels::parse(input).unwrap();
        assert!(!labels.has_current_time(&run));
        labels.render(&run, "1.2.3", "2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn makes_the_eight_keys_when_asked_and_lets_lines_override() {
        let labels = render(
            "auto\n# comment\nmaintainer=me, too\norg.opencontainers.image.title={{branch}}",
        );
        assert_eq!(
            labels,
            [
                "maintainer=me, too",
                "org.opencontainers.image.created=2020-01-09T14:30:15.000Z",
                "org.opencontainers.image.description=a=b",
                "org.opencontainers.image.licenses=MIT",
                "org.opencontainers.image.revision=860c190",
                "org.opencontainers.image.source=https://github.com/o/r",
                "org.opencontainers.image.title=main",
                "org.opencontainers.image.url=https://github.com/o/r",
                "org.opencontainers.image.version=1.2.3",
            ]
        );
    }

    #[test]
    fn leaves_lines_alone_when_not_asked() {
        assert_eq!(render("a={{.Names}}\nb"), ["a={{.Names}}", "b"]);
        assert!(render("").is_empty());
    }

    #[test]
    fn names_an_invalid_line() {
        for (input, why) in [
            (
                "auto\nmaintainer",
                "label `maintainer`, expected `key=value`",
            ),
            ("auto\n=x", "label `=x`"),
            ("auto\na={{x}}", "could not read label `a={{x}}`"),
            ("auto\n\"a=b", "could not read the list"),
        ] {
            let error = Labels::parse(input).unwrap_err().to_string();
            assert!(error.contains(why), "{input}: {error}");
        }
    }

    #[test]
    fn puts_annotations_at_every_level() {
        let both = levels("manifest, index[linux/amd64]").unwrap();
        let labels = ["a=b".to_owned()];
        assert_eq!(
            at_levels(&labels, &both),
            ["manifest:a=b", "index[linux/amd64]:a=b"]
        );
        assert_eq!(levels("").unwrap(), ["manifest"]);
        assert_eq!(levels("layer"), Err(LabelsError::Level("layer".to_owned())));
    }
}
