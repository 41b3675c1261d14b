//! BuildKit's progress stream as buildx prints it with `--progress=rawjson`: one [`SolveStatus`] a line on stderr.
//!
//! In: one line of bytes, hostile until parsed. Out: a [`Line`]. A line that is no JSON object (`ERROR: failed to build …`,
//! which buildx prints after the stream) stays text. A field that is missing, null or of another type is its default, an entry
//! of a list that is no object is left out, unknown fields are ignored: one odd value never costs the rest of the line.
//!
//! Wire types: <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/client/graph.go>.
//! Printed by: <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/util/progress/progressui/display.go#L280-L303>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};

/// One line of buildx's stderr.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    /// What changed since the last line.
    Status(SolveStatus),
    /// Anything else, without its line end; bytes that are not UTF-8 are replaced.
    Text(String),
}

/// What changed in the build since the last line; every list may be empty.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct SolveStatus {
    #[serde(default, deserialize_with = "each")]
    pub vertexes: Vec<Vertex>,
    #[serde(default, deserialize_with = "each")]
    pub statuses: Vec<VertexStatus>,
    #[serde(default, deserialize_with = "each")]
    pub logs: Vec<VertexLog>,
    #[serde(default, deserialize_with = "each")]
    pub warnings: Vec<VertexWarning>,
}

/// A step of the build graph. It is repeated whenever it changes, and a step that runs again comes with a new `started`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct Vertex {
    #[serde(default, deserialize_with = "lenient")]
    pub digest: String,
    #[serde(default, deserialize_with = "each")]
    pub inputs: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub started: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub completed: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub cached: bool,
    /// Empty unless the step failed or was cancelled.
    #[serde(default, deserialize_with = "lenient")]
    pub error: String,
    #[serde(default, rename = "progressGroup", deserialize_with = "lenient")]
    pub progress_group: Option<ProgressGroup>,
}

/// Vertices that BuildKit wants shown as one (`COPY --link`).
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct ProgressGroup {
    #[serde(default, deserialize_with = "lenient")]
    pub id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub weak: bool,
}

/// Work inside a vertex: a layer's download, `exporting layers`, `pushing layers`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct VertexStatus {
    #[serde(default, deserialize_with = "lenient")]
    pub id: String,
    /// Digest of the vertex it belongs to.
    #[serde(default, deserialize_with = "lenient")]
    pub vertex: String,
    /// What is done to `id` (`extracting`, `transferring`); often empty.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// Bytes in all; 0 when unknown.
    #[serde(default, deserialize_with = "lenient")]
    pub total: i64,
    /// Bytes so far.
    #[serde(default, deserialize_with = "lenient")]
    pub current: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub timestamp: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub started: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub completed: Option<Timestamp>,
}

/// A piece of a step's output, cut anywhere, also inside a line or a character.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct VertexLog {
    #[serde(default, deserialize_with = "lenient")]
    pub vertex: String,
    /// 1 stdout, 2 stderr.
    #[serde(default, deserialize_with = "lenient")]
    pub stream: i64,
    #[serde(default, deserialize_with = "base64_bytes")]
    pub data: Vec<u8>,
    #[serde(default, deserialize_with = "lenient")]
    pub timestamp: Option<Timestamp>,
}

/// What a build check or the exporter complains about.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct VertexWarning {
    #[serde(default, deserialize_with = "lenient")]
    pub vertex: String,
    #[serde(default, deserialize_with = "lenient")]
    pub level: i64,
    /// One sentence.
    #[serde(default, deserialize_with = "base64_text")]
    pub short: String,
    #[serde(default, deserialize_with = "base64_texts")]
    pub detail: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub url: String,
    #[serde(default, rename = "sourceInfo", deserialize_with = "lenient")]
    pub source: Option<SourceInfo>,
    /// The lines meant, in `source`.
    #[serde(default, deserialize_with = "each")]
    pub range: Vec<Range>,
}

/// The file a warning is about. Its text and its definition, which BuildKit sends along, are not kept.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct SourceInfo {
    #[serde(default, deserialize_with = "lenient")]
    pub filename: String,
}

/// A stretch of a file, ends included.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Range {
    #[serde(default, deserialize_with = "lenient")]
    pub start: Position,
    #[serde(default, deserialize_with = "lenient")]
    pub end: Position,
}

/// A place in a file; lines count from 1.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Position {
    #[serde(default, deserialize_with = "lenient")]
    pub line: i32,
    #[serde(default, deserialize_with = "lenient")]
    pub character: i32,
}

/// Reads one line, with or without its line end.
pub(crate) fn parse(line: &[u8]) -> Line {
    let line = line.trim_ascii_end();
    // Serde would also read a struct from an array.
    if line.trim_ascii_start().starts_with(b"{")
        && let Ok(status) = serde_json::from_slice(line)
    {
        return Line::Status(status);
    }
    Line::Text(String::from_utf8_lossy(line).into_owned())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient<T> {
    Good(T),
    Odd(IgnoredAny),
}

impl<T> Lenient<T> {
    fn good(self) -> Option<T> {
        match self {
            Self::Good(value) => Some(value),
            Self::Odd(_) => None,
        }
    }
}

fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Lenient::deserialize(from)?.good().unwrap_or_default())
}

fn each<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let list: Vec<Lenient<T>> = lenient(from)?;
    Ok(list.into_iter().filter_map(Lenient::good).collect())
}

// Go prints a byte slice as padded standard base64: <https://pkg.go.dev/encoding/json#Marshal>.
fn base64_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text: String = lenient(from)?;
    Ok(STANDARD.decode(text).unwrap_or_default())
}

fn base64_text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(String::from_utf8_lossy(&base64_bytes(from)?).into_owned())
}

fn base64_texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let texts: Vec<String> = each(from)?;
    let decoded = texts
        .into_iter()
        .filter_map(|text| STANDARD.decode(text).ok());
    Ok(decoded
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status(line: &str) -> SolveStatus {
        match parse(line.as_bytes()) {
            Line::Status(status) => status,
            Line::Text(text) => panic!("{text} is text"),
        }
    }

    #[test]
    fn reads_a_vertex_and_its_log() {
        let line = r#"{"vertexes":[{"digest":"sha256:1","inputs":["sha256:0"],"name":"[2/2] RUN make","started":"2026-11-23T18:33:12.455328288Z","progressGroup":{"id":"a","name":"b","weak":true}}],"logs":[{"vertex":"sha256:1","stream":2,"data":"bm//Cg==","timestamp":"2026-11-23T19:33:12+01:00"}]}"#;
        let status = status(&format!("{line}\r\n"));
        let vertex = &status.vertexes[0];
        assert_eq!(vertex.inputs, ["sha256:0"]);
        assert_eq!(vertex.started.unwrap().subsec_nanosecond(), 455_328_288);
        assert_eq!(vertex.completed, None);
        assert!(vertex.progress_group.as_ref().unwrap().weak);
        assert_eq!(status.logs[0].data, b"no\xff\n");
        assert_eq!(
            status.logs[0].timestamp,
            Some("2026-11-23T18:33:12Z".parse().unwrap())
        );
    }

    #[test]
    fn odd_values_cost_nothing_else() {
        let cases = [
            ("null", "null"),
            ("another type", r#"{"a":[1]}"#),
            ("absurd time", r#""99999-01-01T00:00:00Z""#),
            ("NUL", r#""\u0000""#),
            ("huge number", "1e400"),
        ];
        for (name, value) in cases {
            let line = format!(
                r#"{{"new":{value},"vertexes":[{value},{{"name":"a","new":{value},"started":{value},"completed":{value},"cached":{value},"error":{value},"inputs":{value},"progressGroup":{value}}}],"statuses":{value},"logs":[{{"data":{value},"stream":{value}}}],"warnings":[{{"short":{value},"detail":[{value}],"range":{value},"sourceInfo":{value}}}]}}"#
            );
            match parse(line.as_bytes()) {
                Line::Status(status) => {
                    assert_eq!(status.vertexes.last().unwrap().name, "a", "{name}");
                    assert_eq!(status.vertexes.last().unwrap().started, None, "{name}");
                    assert_eq!(status.logs.len(), 1, "{name}");
                }
                Line::Text(_) => assert_eq!(name, "huge number"),
            }
        }
    }

    #[test]
    fn what_is_no_object_stays_text() {
        let deep = "[".repeat(100_000);
        let cases = [
            "",
            "ERROR: failed to build",
            "[]",
            "null",
            "{",
            r#"{"vertexes":"#,
            "{\0}",
            &deep,
        ];
        for line in cases {
            assert_eq!(parse(line.as_bytes()), Line::Text(line.to_owned()));
        }
        assert_eq!(parse(b"caf\xe9\n"), Line::Text("caf\u{fffd}".to_owned()));
        assert_eq!(parse(b"{}\n"), Line::Status(SolveStatus::default()));
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let line = format!(r#"{{"new":{nested},"vertexes":[{{"name":"a"}}]}}"#);
        assert_eq!(status(&line).vertexes[0].name, "a");
        let line = format!(r#"{{"vertexes":{nested}}}"#);
        assert!(matches!(parse(line.as_bytes()), Line::Text(_)));
    }

    #[test]
    fn reads_a_line_of_a_megabyte() {
        let name = "x".repeat(1 << 20);
        let line = format!(r#"{{"vertexes":[{{"name":"{name}"}}]}}"#);
        assert_eq!(status(&line).vertexes[0].name.len(), name.len());
    }

    proptest! {
        #[test]
        fn never_panics_on_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes);
        }

        #[test]
        fn never_panics_on_a_damaged_line(at in 0usize..300, byte in any::<u8>(), cut in 0usize..300) {
            let mut line = br#"{"vertexes":[{"digest":"sha256:1","name":"[2/2] RUN make","started":"2026-11-23T18:33:12.455328288Z","cached":true}],"statuses":[{"id":"a","vertex":"sha256:1","current":5,"total":9,"timestamp":"2026-11-23T18:33:12Z"}],"logs":[{"vertex":"sha256:1","stream":1,"data":"aGkK"}]}"#.to_vec();
            if let Some(place) = line.get_mut(at) {
                *place = byte;
            }
            line.truncate(line.len() - cut.min(line.len()));
            parse(&line);
        }
    }
}
