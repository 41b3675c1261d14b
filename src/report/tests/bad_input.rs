//! Bad input, through the parser of the stream to a whole summary: always a valid one, and words.
//!
//! Each is left for the renderers, too: `tools/report/run` puts it before a Markdown renderer and Mermaid's parser.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{LIMIT, fail, layers, left, outcome, render, tagged};
use crate::buildx::BuildError;
use crate::buildx::failure as build;
use crate::buildx::rawjson::{self, Line};
use crate::report::FailureKind;
use crate::report::timings_file::timings_file;
use crate::report::{Outcome, outputs};
use crate::timings::tests::recording::{Recording, skewed};
use crate::timings::{BuildTimings, Recorder};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
}

/// A build of a minute whose lines arrived then (milliseconds).
fn heard(lines: &[(i64, String)]) -> BuildTimings {
    let mut recorder = Recorder::new(at(0));
    for (arrived, line) in lines {
        if let Line::Status(status) = rawjson::parse(line.as_bytes()) {
            recorder.record(&status, at(*arrived));
        }
    }
    recorder.finish(at(60_000))
}

/// The line of a step that ran from then to then (milliseconds), when it has ended.
fn step(number: i64, name: &str, started: i64, ended: i64) -> (i64, String) {
    let vertex = json!({
        "digest": format!("sha256:{number:064}"),
        "name": name,
        "started": at(started),
        "completed": at(ended),
    });
    (ended, json!({ "vertexes": [vertex] }).to_string())
}

/// Renders, checks what holds for all, and leaves it for the renderers.
fn rendered(name: &str, outcome: &Outcome) -> String {
    let text = render(outcome);
    assert!(text.starts_with("### "), "{name}: {text:.200}");
    assert!(text.len() <= LIMIT, "{name}: {}", text.len());
    assert!(text.contains("| **Total** |"), "{name}: {text:.200}");
    let odd =
        |sign: char| sign.is_control() && sign != '\n' || ('\u{202a}'..='\u{202e}').contains(&sign);
    assert!(!text.contains(odd), "{name}");
    std::fs::write(left("summaries", &format!("bad-{name}.md")), &text).unwrap();
    let timings = serde_json::to_string(&timings_file(outcome)).unwrap();
    std::fs::write(left("timings", &format!("bad-{name}.json")), timings).unwrap();
    let outputs = outputs::outputs(outcome);
    let (_, output) = outputs.iter().find(|(name, _)| *name == "timings").unwrap();
    assert!(output.len() <= 64 * 1024, "{name}");
    std::fs::write(left("timings", &format!("bad-{name}-output.json")), output).unwrap();
    text
}

fn of(timings: BuildTimings) -> Outcome {
    outcome(timings, layers(3, "RUN make"))
}

#[test]
fn a_stream_cut_in_the_middle_of_a_line() {
    let whole = Recording::open("registry-cache-export");
    let starts = |(_, line): &(Timestamp, String)| match rawjson::parse(line.as_bytes()) {
        Line::Status(status) => {
            let mut vertices = status.vertexes.iter();
            vertices.any(|vertex| vertex.name.contains("RUN sleep 1") && vertex.started.is_some())
        }
        Line::Text(_) => false,
    };
    let running = whole.raw.iter().position(starts).unwrap() + 1;
    for (name, kept) in [
        ("start", 1),
        ("running", running),
        ("end", whole.raw.len() - 2),
    ] {
        let mut recorder = Recorder::new(whole.started);
        let (arrived, last) = &whole.raw[kept];
        let half = last.get(..last.len() / 2).unwrap();
        let lines = whole
            .raw
            .iter()
            .map(|(arrived, line)| (*arrived, line.as_str()));
        for (arrived, line) in lines.take(kept).chain([(*arrived, half)]) {
            if let Line::Status(status) = rawjson::parse(line.as_bytes()) {
                recorder.record(&status, arrived);
            }
        }
        let mut cut = of(recorder.finish(whole.ended));
        fail(&mut cut, FailureKind::Cancelled, "the build was cancelled");
        let text = rendered(&format!("cut-{name}"), &cut);
        assert!(text.starts_with("### Cancelled"), "{text:.200}");
        let step = cut.images[0]
            .timings
            .steps
            .iter()
            .find(|step| step.name.contains("RUN sleep 1"));
        assert_eq!(
            step.map(|step| step.completed),
            match name {
                "start" => None,
                name => Some(name == "end"),
            }
        );
    }
}

#[test]
fn a_clock_that_steps_back_in_the_middle_of_a_build() {
    for hours in [-1, 1] {
        let mut back = Recording::open("cold-push");
        let half = back.lines.len() / 2;
        for line in &mut back.lines[half..] {
            *line = skewed(line, SignedDuration::from_hours(hours));
        }
        rendered(
            &format!("builders-clock-steps-{hours}"),
            &of(back.timings()),
        );
        // Our own clock, with what follows it.
        for line in &mut back.lines[half..] {
            line.0 += SignedDuration::from_hours(hours);
        }
        back.ended += SignedDuration::from_hours(hours);
        let text = rendered(&format!("our-clock-steps-{hours}"), &of(back.timings()));
        if hours < 0 {
            assert!(text.contains("in 0.0 s"), "{text:.200}");
        }
    }
}

#[test]
fn a_builders_clock_that_is_five_seconds_off() {
    let right = Recording::open("cold-push");
    let expected = rendered("clock-right", &of(right.timings()));
    for seconds in [-5, 5] {
        let mut off = right.clone();
        for line in &mut off.lines {
            *line = skewed(line, SignedDuration::from_secs(seconds));
        }
        let text = rendered(&format!("clock-{seconds}-s-off"), &of(off.timings()));
        assert_eq!(text, expected, "{seconds} s off");
    }
}

#[test]
fn ten_thousand_steps() {
    let lines: Vec<(i64, String)> = (0..10_000)
        .map(|number| {
            let name = format!("[linux/arm64 builder {number}/10000] RUN make {number}");
            step(number, &name, number, number * 5 + 1)
        })
        .collect();
    let outcome = of(heard(&lines));
    assert_eq!(outcome.images[0].timings.total_steps, 10_000);
    let text = rendered("ten-thousand-steps", &outcome);
    assert!(
        text.contains("The first 500 of 10000 steps; the timings file has all"),
        "{text:.500}"
    );
    assert!(
        text.contains("9976 shorter steps are not drawn."),
        "{text:.3000}"
    );
}

/// A name, and its form in the table of the slowest steps.
const NAMES: [(&str, &str, &str); 8] = [
    ("pipes", "RUN a | b || c", "`RUN a \\| b \\|\\| c`"),
    (
        "backticks",
        "RUN echo `a` ```b```",
        "```` RUN echo `a` ```b``` ````",
    ),
    (
        "html",
        "RUN </td><script>alert(1)</script><img src=x onerror=y>",
        "`RUN </td><script>alert(1)</script><img src=x onerror=y>`",
    ),
    ("emoji", "RUN echo 🎉👩‍👩‍👧", "`RUN echo 🎉👩‍👩‍👧`"),
    (
        "right-to-left",
        "RUN echo \u{202e}مرحبا\u{2066}",
        "`RUN echo مرحبا`",
    ),
    ("nul", "RUN a\0b\u{1b}[31m", "`RUN a b`"),
    (
        "line-ends",
        "RUN a \\\r\n\r\n    b\n| x | y |\n# c",
        "`RUN a \\ b \\| x \\| y \\| # c`",
    ),
    (
        "mermaid",
        "RUN a :crit, 1, 2; section b %%{init: {}}%%",
        "`RUN a :crit, 1, 2; section b %%{init: {}}%%`",
    ),
];

#[test]
fn names_that_mean_something_to_markdown_html_or_mermaid() {
    for (name, command, shown) in NAMES {
        let lines: Vec<(i64, String)> = (1..=3)
            .map(|number| step(number, command, number * 1_000, number * 9_000))
            .collect();
        let mut outcome = outcome(heard(&lines), layers(3, command));
        outcome.plan.images[0].tags = vec![tagged(command)];
        outcome.plan.warnings = vec![command.to_owned()];
        let text = rendered(&format!("name-{name}"), &outcome);
        assert!(text.contains(&format!("| {shown} | ")), "{name}: {text}");
    }
}

#[test]
fn lines_of_a_megabyte() {
    let long = "x`|<b>".repeat(180_000);
    let lines = [
        step(1, &long, 1_000, 20_000),
        step(
            2,
            &format!("[{long}/{long} {long} 1/2] RUN make"),
            2_000,
            30_000,
        ),
        (30_001, long.clone()),
        (
            30_002,
            json!({ "statuses": [{ "id": long, "vertex": long, "started": at(5) }] }).to_string(),
        ),
        (
            30_003,
            json!({ "vertexes": [{
                "digest": long,
                "name": "[2/2] RUN a",
                "error": long,
                "started": at(1),
                "completed": at(9_000),
            }] })
            .to_string(),
        ),
    ];
    let mut outcome = outcome(heard(&lines), layers(3, &long));
    let text = rendered("megabyte-lines", &outcome);
    assert!(text.len() < 20_000, "{}", text.len());
    let failed = BuildError::Failed {
        failure: Box::new(build::Failure {
            step: Some(long.clone()),
            tail: Vec::new(),
            in_repository: None,
            place: Some((long.clone(), 3)),
            message: long.clone(),
            ..build::Failure::default()
        }),
        status: ExitStatus::from_raw(256),
    };
    fail(&mut outcome, FailureKind::Build, &failed.to_string());
    let failure = outcome.failure.as_mut().unwrap();
    failure.tail = vec![long, "````".to_owned(), "the last words".to_owned()];
    let text = rendered("megabyte-failure", &outcome);
    assert!(text.contains("the last words"), "{text:.3000}");
    assert!(text.len() < 60_000, "{}", text.len());
}

#[test]
fn more_than_a_mebibyte_drops_rows_and_says_how_many() {
    let mut outcome = of(Recording::open("cold-push").timings());
    outcome.plan.warnings = (0..30_000)
        .map(|number| format!("warning {number} of many, each long enough to fill a line"))
        .collect();
    let text = rendered("mebibyte", &outcome);
    assert!(text.len() > LIMIT - 2_000, "{}", text.len());
    let shown = text
        .lines()
        .filter(|line| line.starts_with("- warning "))
        .count();
    let note = format!(
        "\n{} more rows did not fit into the job summary.\n",
        30_000 - shown
    );
    assert!(text.contains(&note), "{shown}");
    assert!(text.contains("parts did not fit"), "later steps are named");
}

#[test]
fn nonsense_instead_of_a_stream() {
    let lines = [
        "",
        "{}",
        "[]",
        "null",
        "{\"vertexes\":7}",
        "{\"vertexes\":[{}]}",
        "\u{feff}{\"vertexes\":[]}",
    ];
    let lines = lines.map(|line| (1_000, line.to_owned()));
    let text = rendered("nonsense", &of(heard(&lines)));
    assert!(
        !text.contains("mermaid"),
        "there is nothing to draw: {text}"
    );
    let timings: Value = serde_json::to_value(timings_file(&of(heard(&lines)))).unwrap();
    assert_eq!(timings["images"][0]["total_ms"], 60_000);
}
