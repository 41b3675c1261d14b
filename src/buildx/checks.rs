//! What build checks found, read from buildx's metadata file.
//!
//! A build leaves `buildx.build.warnings` there, BuildKit's own wire type; `call: check` leaves
//! `result.json` (<https://docs.docker.com/build/checks/>,
//! <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/frontend/subrequests/lint/lint.go>).

use serde::Deserialize;
use serde_json::Value;

use super::metadata::Metadata;
use super::rawjson::{Range, VertexWarning};

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Name of the Dockerfile as the build knows it.
    pub file: Option<String>,
    /// Counted from 1.
    pub line: Option<u32>,
    /// What the rule wants, one sentence.
    pub title: String,
    /// What is wrong here.
    pub message: String,
}

/// All findings, in the order of the Dockerfile's lines.
pub(crate) fn findings(metadata: &Metadata) -> Vec<Finding> {
    let warnings = entries(metadata.json.get("buildx.build.warnings"))
        .filter_map(|value| VertexWarning::deserialize(value).ok())
        .map(Finding::from);
    let result = metadata.json.get("result.json");
    let files: Vec<&str> = entries(result.and_then(|result| result.get("sources")))
        .map(|source| {
            source
                .get("filename")
                .and_then(Value::as_str)
                .unwrap_or_default()
        })
        .collect();
    let checked = entries(result.and_then(|result| result.get("warnings")))
        .filter_map(|value| Checked::deserialize(value).ok())
        .map(|checked| checked.finding(&files));
    let mut findings: Vec<Finding> = warnings.chain(checked).collect();
    findings.sort();
    findings
}

/// `1 warning`, `2 warnings`.
pub(crate) fn count(findings: usize) -> String {
    let plural = if findings == 1 { "" } else { "s" };
    format!("{findings} warning{plural}")
}

fn entries(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

impl From<VertexWarning> for Finding {
    fn from(warning: VertexWarning) -> Self {
        // The line is a property of the annotation.
        let short = match warning.short.rsplit_once(" (line ") {
            Some((text, rest)) if rest.ends_with(')') => text,
            _ => &warning.short,
        };
        Self {
            file: warning.source.map(|source| source.filename),
            line: line(&warning.range),
            title: warning.detail.join(" "),
            message: with_url(short, &warning.url),
        }
    }
}

/// A finding of `call: check`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Checked {
    rule_name: String,
    description: String,
    url: String,
    detail: String,
    location: Location,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Location {
    source_index: usize,
    ranges: Vec<Range>,
}

impl Checked {
    fn finding(self, files: &[&str]) -> Finding {
        let file = files.get(self.location.source_index);
        Finding {
            file: file.map(|file| (*file).to_owned()),
            line: line(&self.location.ranges),
            title: self.description,
            message: with_url(&format!("{}: {}", self.rule_name, self.detail), &self.url),
        }
    }
}

fn line(ranges: &[Range]) -> Option<u32> {
    let line = ranges.first()?.start.line;
    u32::try_from(line).ok().filter(|line| *line > 0)
}

fn with_url(text: &str, url: &str) -> String {
    if url.is_empty() {
        text.to_owned()
    } else {
        format!("{text}\nMore info: {url}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn of(json: &Value) -> Vec<Finding> {
        findings(&Metadata {
            json: json.as_object().unwrap().clone(),
            ..Metadata::default()
        })
    }

    /// As buildx 0.29 with the Dockerfile frontend of Engine 28.5 wrote them.
    #[test]
    fn a_build_and_a_check_tell_the_same() {
        let built = of(&json!({"buildx.build.warnings": [{
            "vertex": "sha256:a5", "level": 1,
            "short": "RnJvbUFzQ2FzaW5nOiAnYXMnIGFuZCAnRlJPTScga2V5d29yZHMnIGNhc2luZyBkbyBub3QgbWF0Y2ggKGxpbmUgNCk=",
            "detail": ["VGhlICdhcycga2V5d29yZCBzaG91bGQgbWF0Y2ggdGhlIGNhc2Ugb2YgdGhlICdmcm9tJyBrZXl3b3Jk"],
            "url": "https://docs.docker.com/go/dockerfile/rule/from-as-casing/",
            "sourceInfo": {"filename": "Dockerfile", "data": "RlJPTQ==", "language": "Dockerfile"},
            "range": [{"start": {"line": 4}, "end": {"line": 4}}],
        }]}));
        let checked = of(&json!({"result.json": {
            "warnings": [{
                "ruleName": "FromAsCasing",
                "description": "The 'as' keyword should match the case of the 'from' keyword",
                "url": "https://docs.docker.com/go/dockerfile/rule/from-as-casing/",
                "detail": "'as' and 'FROM' keywords' casing do not match",
                "location": {"ranges": [{"start": {"line": 4}, "end": {"line": 4}}]},
            }],
            "sources": [{"filename": "Dockerfile", "data": "RlJPTQ=="}],
        }}));
        let expected = Finding {
            file: Some("Dockerfile".to_owned()),
            line: Some(4),
            title: "The 'as' keyword should match the case of the 'from' keyword".to_owned(),
            message: "FromAsCasing: 'as' and 'FROM' keywords' casing do not match\n\
                      More info: https://docs.docker.com/go/dockerfile/rule/from-as-casing/"
                .to_owned(),
        };
        assert_eq!(built, checked);
        assert_eq!(checked, [expected]);
    }

    #[test]
    fn no_findings_are_none_in_every_form() {
        for json in [
            json!({}),
            json!({"result.json": {"warnings": null, "sources": null}}),
            json!({"buildx.build.warnings": [], "result.json": "text"}),
        ] {
            assert_eq!(of(&json), [], "{json}");
        }
    }

    #[test]
    fn a_finding_without_place_is_one_still() {
        let findings = of(&json!({"buildx.build.warnings": [
            {"short": "eA==", "range": [{"start": {"line": -1}}]}, 7, {"sourceInfo": null},
        ]}));
        assert_eq!(findings.len(), 2);
        assert!(
            findings
                .iter()
                .all(|finding| finding.line.is_none() && finding.file.is_none())
        );
    }

    proptest! {
        #[test]
        fn survives_any_metadata(text in "\\PC{0,40}", number in any::<i64>()) {
            of(&json!({
                "buildx.build.warnings": [{"short": text, "range": [{"start": {"line": number}}], "url": number}],
                "result.json": {"warnings": [{"location": {"sourceIndex": number}, "detail": text}], "sources": [text]},
            }));
        }
    }
}
