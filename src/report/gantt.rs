//! The course of the build as a Mermaid Gantt chart.
//!
//! In: timings. Out: a fenced Mermaid block, or nothing where there is too little to see. Only the longest steps are drawn, so that sixty
//! steps for four platforms stay readable: one section for what comes before, one for each stage and platform, one for what comes after.
//! Syntax: <https://mermaid.js.org/syntax/gantt.html>. Steps' names are foreign: a label keeps only characters that mean nothing to Mermaid.

use std::fmt::Write as _;
use std::time::Duration;

use super::units;
use crate::timings::{BuildTimings, Phase, Step};

/// Bars that are drawn at most.
const MOST_BARS: usize = 24;

/// Characters of a label.
const LONGEST_LABEL: usize = 30;

/// What took less than this part of the total is not drawn.
const SMALLEST_SHARE: u32 = 100;

/// A shorter build has a tick each second.
const SHORT: Duration = Duration::from_secs(15);

/// One bar.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bar {
    section: String,
    label: String,
    start: Duration,
    end: Duration,
    /// Mermaid's word for its colour; empty for the usual one.
    colour: &'static str,
}

impl Bar {
    fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

const BEFORE: &str = "Before";
const AFTER: &str = "Export and push";

/// The chart, and how many steps it leaves out.
pub(super) fn chart(timings: &BuildTimings) -> String {
    let all = bars(timings);
    let count = all.len();
    let bars = chosen(all, timings.total);
    if bars.len() < 2 {
        return String::new();
    }
    let mut text = "```mermaid\n---\nconfig:\n  gantt:\n    barHeight: 18\n    barGap: 3\n    fontSize: 12\n    sectionFontSize: 12\n    leftPadding: 110\n---\ngantt\n    dateFormat x\n    axisFormat %s s\n".to_owned();
    // Else a short build has ticks within a second, whose labels repeat.
    if timings.total < SHORT {
        text.push_str("    tickInterval 1second\n");
    }
    let mut section = "";
    for bar in &bars {
        if bar.section != section {
            section = &bar.section;
            let _ = writeln!(text, "    section {section}");
        }
        // A bar has to end after it starts.
        let (start, end) = (bar.start.as_millis(), bar.end.as_millis());
        let colour = if bar.colour.is_empty() {
            String::new()
        } else {
            format!("{}, ", bar.colour)
        };
        let _ = writeln!(
            text,
            "    {} {} :{colour}{start}, {}",
            bar.label,
            units::duration(bar.length()),
            end.max(start + 1)
        );
    }
    text.push_str("```\n");
    if bars.len() < count {
        let _ = writeln!(
            text,
            "\n{} shorter steps are not drawn.",
            count - bars.len()
        );
    }
    text
}

/// The longest, by section in the order of the first start, then by start.
fn chosen(mut bars: Vec<Bar>, total: Duration) -> Vec<Bar> {
    bars.retain(|bar| bar.length() * SMALLEST_SHARE >= total);
    bars.sort_by_key(|bar| std::cmp::Reverse(bar.length()));
    bars.truncate(MOST_BARS);
    bars.sort_by(|one, other| (one.start, &one.label).cmp(&(other.start, &other.label)));
    let mut sections: Vec<String> = vec![BEFORE.to_owned()];
    for bar in bars.iter().filter(|bar| bar.section != AFTER) {
        if !sections.contains(&bar.section) {
            sections.push(bar.section.clone());
        }
    }
    let place = |bar: &Bar| sections.iter().position(|name| *name == bar.section);
    // What comes after has no place in the list and goes last.
    bars.sort_by_key(|bar| place(bar).unwrap_or(usize::MAX));
    bars
}

fn bars(timings: &BuildTimings) -> Vec<Bar> {
    let mut bars = Vec::new();
    let push = pushing(timings);
    for step in timings.steps.iter().filter(|step| !step.duration.is_zero()) {
        let mut bar = Bar {
            section: section(step),
            label: label(&step.name),
            start: step.started,
            end: step.started + step.duration,
            colour: colour(step),
        };
        // The push is part of the export's step.
        if let (Phase::Export, Some((start, _))) = (step.phase, push) {
            bar.end = bar.end.min(start.max(bar.start));
        }
        bars.push(bar);
    }
    if let Some((start, end)) = push {
        bars.push(Bar {
            section: AFTER.to_owned(),
            label: "push".to_owned(),
            start,
            end,
            colour: "",
        });
    }
    bars
}

/// From the first push to the end of the last.
fn pushing(timings: &BuildTimings) -> Option<(Duration, Duration)> {
    let mut stretches = timings
        .timeline
        .iter()
        .filter(|stretch| stretch.phase == Phase::Push)
        .map(|stretch| stretch.interval);
    let first = stretches.next()?;
    let last = stretches.next_back().unwrap_or(first);
    Some((first.start, last.end))
}

fn section(step: &Step) -> String {
    match step.phase {
        Phase::Build | Phase::Other | Phase::Waiting => {
            let words: Vec<&str> = [&step.platform, &step.stage]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect();
            let name = safe(&words.join(" "), LONGEST_LABEL);
            if name.is_empty() {
                "Build".to_owned()
            } else {
                name
            }
        }
        Phase::Export | Phase::Push | Phase::CacheExport => AFTER.to_owned(),
        Phase::Setup | Phase::Builder | Phase::Context | Phase::CacheImport | Phase::Pull => {
            BEFORE.to_owned()
        }
    }
}

fn colour(step: &Step) -> &'static str {
    match step.phase {
        _ if step.error.is_some() => "crit",
        Phase::Build => "active",
        Phase::Export | Phase::Push | Phase::CacheExport => "",
        _ => "done",
    }
}

/// The command without the brackets, whose words are the section.
fn label(name: &str) -> String {
    let command = match name
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((place, command)) if place.contains('/') || place == "internal" => command,
        _ => name,
    };
    let command = command.split("@sha256:").next().unwrap_or(command);
    let label = safe(command, LONGEST_LABEL);
    let start = label.to_ascii_lowercase();
    let keyword = KEYWORDS.iter().any(|word| start.starts_with(word));
    // At the start of a line digits may be a date, and no text at all is none.
    if keyword || !label.starts_with(char::is_alphabetic) {
        format!("step {label}").trim_end().to_owned()
    } else {
        label
    }
}

/// Words that begin a statement of Mermaid's
/// (<https://github.com/mermaid-js/mermaid/blob/develop/packages/mermaid/src/diagrams/gantt/parser/gantt.jison>).
const KEYWORDS: [&str; 16] = [
    "acc",
    "axisformat",
    "click",
    "dateformat",
    "excludes",
    "gantt",
    "includes",
    "inclusive",
    "section",
    "tickinterval",
    "title",
    "todaymarker",
    "topaxis",
    "vert",
    "weekday",
    "weekend",
];

/// Only characters that Mermaid never takes for its own: letters, digits, and a few signs.
fn safe(text: &str, longest: usize) -> String {
    let kept: String = text
        .chars()
        .take(longest * 4)
        .map(|character| match character {
            // A colon ends a label; this one is a mathematical sign.
            ':' => '∶',
            // So does a comma its times.
            ',' => '‚',
            '.' | '/' | '-' | '_' | '=' | '+' | '@' | '(' | ')' => character,
            other if other.is_alphanumeric() => other,
            _ => ' ',
        })
        .collect();
    let words: Vec<&str> = kept.split_whitespace().collect();
    let mut short: String = words.join(" ");
    if short.chars().count() > longest {
        short = short.chars().take(longest).collect();
        short.truncate(short.trim_end().len());
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timings::tests::recording::Recording;

    #[test]
    fn a_cold_push_reads_from_top_to_bottom() {
        let text = chart(&Recording::open("cold-push").timings());
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("section ") || line.contains(" :"))
            .map(|line| line.split(" :").next().unwrap().trim())
            .collect();
        insta::assert_debug_snapshot!(lines);
    }

    #[test]
    fn labels_keep_nothing_that_mermaid_knows() {
        let cases = [
            ("[2/4] RUN make", "RUN make"),
            ("[linux/arm64 builder 2/4] RUN a; b # c", "RUN a b c"),
            ("[internal] load build context", "load build context"),
            ("[1/2] FROM r.example/a:1@sha256:abc", "FROM r.example/a∶1"),
            ("[2/2] RUN `x` <b> %%{init}%% \u{202e}", "RUN x b init"),
            ("12:30, 5d", "step 12∶30‚ 5d"),
            ("🎉:::", "step ∶∶∶"),
            ("42", "step 42"),
            ("Section 5", "step Section 5"),
        ];
        for (name, expected) in cases {
            assert_eq!(label(name), expected, "{name}");
        }
        assert_eq!(label(&"x".repeat(900)).chars().count(), LONGEST_LABEL + 1);
    }

    #[test]
    fn hundreds_of_steps_leave_the_longest() {
        let mut timings = Recording::open("cold-push").timings();
        let step = timings.steps[0].clone();
        timings.steps = (0..240u32)
            .map(|index| Step {
                name: format!("[linux/arm64 builder {index}/240] RUN make {index}"),
                platform: Some(format!(
                    "linux/{}",
                    ["amd64", "arm64", "s390x", "riscv64"][index as usize % 4]
                )),
                stage: Some("builder".to_owned()),
                phase: Phase::Build,
                started: Duration::from_millis(u64::from(index) * 10),
                duration: Duration::from_millis(1_000 + u64::from(index)),
                ..step.clone()
            })
            .collect();
        let text = chart(&timings);
        assert_eq!(
            text.matches(" :active").count(),
            MOST_BARS - usize::from(text.contains("push"))
        );
        assert_eq!(text.matches("section linux/").count(), 4, "{text}");
        assert!(text.contains("make 239 "), "{text}");
        assert!(text.contains("shorter steps are not drawn"), "{text}");
    }

    proptest! {
        #[test]
        fn any_name_makes_a_label_on_one_line(name in "\\PC{0,200}|(\\[|\\]|:|,|;|#|%|`|\n|done|section|click){0,30}") {
            let label = label(&name);
            prop_assert!(!label.is_empty());
            prop_assert!(label.chars().all(|character| !":;#%`\n\r{},<>\"'".contains(character)), "{}", label);
        }
    }
}
