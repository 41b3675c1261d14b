//! The build as a Mermaid Gantt chart.
//!
//! In: timings. Out: a fenced Mermaid block, or nothing for fewer than two bars. Only the longest steps are drawn, so that sixty steps for
//! four platforms stay readable: one section before the build, one for each stage and platform, one after it.
//! Syntax: <https://mermaid.js.org/syntax/gantt.html>. Labels keep only characters without a meaning in Mermaid.

use std::fmt::Write as _;
use std::time::Duration;

use crate::timings::{BuildTimings, Phase, Step, command, units};

const MOST_BARS: usize = 24;

const LONGEST_LABEL: usize = 30;

/// Steps below this part of the total are not drawn.
const SMALLEST_SHARE: u32 = 100;

/// Shorter builds have a tick every second.
const SHORT: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bar {
    section: String,
    label: String,
    start: Duration,
    end: Duration,
    /// Mermaid's tag for the colour, with a comma; empty for the default.
    colour: &'static str,
}

impl Bar {
    fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

const BEFORE: &str = "Before";
const AFTER: &str = "Export and push";

/// The chart, and the number of steps that are not drawn.
pub(super) fn chart(timings: &BuildTimings) -> String {
    let all = bars(timings);
    let count = all.len();
    let bars = longest(all, timings.total);
    if bars.len() < 2 {
        return String::new();
    }
    let mut text = "```mermaid\n---\nconfig:\n  gantt:\n    barHeight: 18\n    barGap: 3\n    fontSize: 12\n    sectionFontSize: 12\n    leftPadding: 110\n---\ngantt\n    dateFormat x\n    axisFormat %s s\n".to_owned();
    // Otherwise a short build has several ticks per second with the same label.
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
        let _ = writeln!(
            text,
            "    {} {} :{}{start}, {}",
            bar.label,
            units::duration(bar.length()),
            bar.colour,
            end.max(start + 1)
        );
    }
    text.push_str("```\n");
    if bars.len() < count {
        let hidden = count - bars.len();
        let _ = writeln!(text, "\n{hidden} shorter steps are not drawn.");
    }
    text
}

/// The longest bars, by section and start; sections by their first start.
fn longest(mut bars: Vec<Bar>, total: Duration) -> Vec<Bar> {
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
    bars.sort_by_key(|bar| place(bar).unwrap_or(usize::MAX));
    bars
}

fn bars(timings: &BuildTimings) -> Vec<Bar> {
    let push = push(timings);
    let steps = timings.steps.iter().filter(|step| !step.duration.is_zero());
    let mut bars: Vec<Bar> = steps
        .map(|step| Bar {
            section: section(step),
            label: label(&step.name),
            start: step.started,
            end: match push {
                // The push is part of the export's step.
                Some((start, _)) if step.phase == Phase::Export => {
                    (step.started + step.duration).min(start.max(step.started))
                }
                _ => step.started + step.duration,
            },
            colour: colour(step),
        })
        .collect();
    bars.extend(push.map(|(start, end)| Bar {
        section: AFTER.to_owned(),
        label: "push".to_owned(),
        start,
        end,
        colour: "",
    }));
    bars
}

/// From the first push to the end of the last.
fn push(timings: &BuildTimings) -> Option<(Duration, Duration)> {
    let mut pushes = timings
        .timeline
        .iter()
        .filter(|segment| segment.phase == Phase::Push)
        .map(|segment| segment.interval);
    let first = pushes.next()?;
    let last = pushes.next_back().unwrap_or(first);
    Some((first.start, last.end))
}

fn section(step: &Step) -> String {
    let section = match step.phase {
        Phase::Build | Phase::Other | Phase::Waiting => {
            let words = [&step.platform, &step.stage].into_iter().flatten();
            let words: Vec<&str> = words.map(String::as_str).collect();
            let name = safe(&words.join(" "), LONGEST_LABEL);
            return if name.is_empty() {
                "Build".to_owned()
            } else {
                name
            };
        }
        Phase::Export | Phase::Push | Phase::CacheExport => AFTER,
        Phase::Setup | Phase::Builder | Phase::Context | Phase::CacheImport | Phase::Pull => BEFORE,
    };
    section.to_owned()
}

fn colour(step: &Step) -> &'static str {
    match step.phase {
        _ if step.has_failed() => "crit, ",
        Phase::Build => "active, ",
        Phase::Export | Phase::Push | Phase::CacheExport => "",
        _ => "done, ",
    }
}

/// The command, without the digest.
fn label(name: &str) -> String {
    let command = command(name).split("@sha256:").next().unwrap_or_default();
    let label = safe(command, LONGEST_LABEL);
    let start = label.to_ascii_lowercase();
    let mut keywords = KEYWORDS.split(' ');
    let keyword = keywords.any(|word| start.starts_with(word));
    // A line that starts with a digit may be parsed as a date, and a label must not be empty.
    if keyword || !label.starts_with(char::is_alphabetic) {
        format!("step {label}").trim_end().to_owned()
    } else {
        label
    }
}

/// Words that begin a statement in Mermaid
/// (<https://github.com/mermaid-js/mermaid/blob/develop/packages/mermaid/src/diagrams/gantt/parser/gantt.jison>).
const KEYWORDS: &str = "acc axisformat click dateformat excludes gantt includes inclusive \
                        section tickinterval title todaymarker topaxis vert weekday weekend";

/// Letters, digits and signs without a meaning in Mermaid.
fn safe(text: &str, longest: usize) -> String {
    let kept: String = text
        .chars()
        .take(longest * 4)
        .map(|character| match character {
            // A colon ends a label; this one is a mathematical sign.
            ':' => '∶',
            // A comma ends a value; this one is a quotation mark.
            ',' => '‚',
            '.' | '/' | '-' | '_' | '=' | '+' | '@' | '(' | ')' => character,
            other if other.is_alphanumeric() => other,
            _ => ' ',
        })
        .collect();
    let words: Vec<&str> = kept.split_whitespace().collect();
    let words = words.join(" ");
    if words.chars().count() <= longest {
        return words;
    }
    let short: String = words.chars().take(longest).collect();
    format!("{}…", short.trim_end())
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
    fn labels_hold_no_mermaid_syntax() {
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
