//! The log: a `tracing` layer that writes workflow commands, or plain lines on a terminal.
//!
//! In: events. Out: lines on standard output (runner) or standard error (terminal, and when standard output is for results). Errors, warnings
//! and notices become annotations on the runner; foreign text (build logs) cannot become a command. Messages are milestones, one line each.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::runner::command::{self, Annotation};
use crate::runner::env::Env;
use crate::runner::visible;

/// Target of an event that opens a collapsible group, with the group's title as message.
const GROUP: &str = "group";
const END_GROUP: &str = "endgroup";
/// Target of an event that becomes a notice.
pub(crate) const NOTICE: &str = "notice";
/// Title of all annotations.
pub(crate) const TITLE: &str = "fast-ecr-push";

/// The reader of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Runner,
    Terminal,
}

/// Where lines for the runner go. It reads both
/// (<https://github.com/actions/runner/blob/002caa1/src/Runner.Worker/Handlers/ScriptHandler.cs>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    /// For commands whose standard output is the result.
    Error,
}

impl Stream {
    /// Prints a line. A closed stream must not stop the build or its clean-up.
    pub(crate) fn print(self, line: &str) {
        let _ = match self {
            Self::Output => writeln!(io::stdout().lock(), "{line}"),
            Self::Error => writeln!(io::stderr().lock(), "{line}"),
        };
    }
}

/// Installs the log for the rest of the process; on a terminal it is on standard error. `RUNNER_DEBUG=1` adds debug events.
pub(crate) fn install(env: &Env, stream: Stream) {
    let (style, stream) = if env.is_true("GITHUB_ACTIONS") {
        (Style::Runner, stream)
    } else {
        (Style::Terminal, Stream::Error)
    };
    let debug = env.get("RUNNER_DEBUG") == Some("1");
    let subscriber = tracing_subscriber::registry().with(Lines {
        style,
        stream,
        debug,
    });
    // Fails only if a subscriber is already installed.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// A collapsible group of log lines, closed when dropped.
#[derive(Debug)]
pub(crate) struct Group(());

impl Group {
    pub(crate) fn open(title: &str) -> Self {
        tracing::info!(target: GROUP, "{title}");
        Self(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        tracing::info!(target: END_GROUP, "");
    }
}

struct Lines {
    style: Style,
    stream: Stream,
    debug: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let ours = metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
            || [GROUP, END_GROUP, NOTICE].contains(&metadata.target());
        if !ours || (*metadata.level() > Level::INFO && !self.debug) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let line = line(self.style, *metadata.level(), metadata.target(), &text.0);
        self.stream.print(&line);
    }
}

fn line(style: Style, level: Level, target: &str, text: &str) -> String {
    match (style, target) {
        (Style::Runner, GROUP) => command::group(text),
        (Style::Runner, END_GROUP) => command::end_group(),
        (Style::Terminal, GROUP) => format!("== {}", visible::one_line(text)),
        (Style::Terminal, END_GROUP) => String::new(),
        (Style::Runner, _) => match annotation_level(level, target) {
            Some(level) => Annotation {
                level,
                title: TITLE,
                message: text,
                place: None,
            }
            .line(),
            None if level == Level::INFO => command::harmless(text),
            None => command::debug(text),
        },
        (Style::Terminal, _) => {
            let text = visible::lines(text);
            match level {
                Level::ERROR => format!("error: {text}"),
                Level::WARN => format!("warning: {text}"),
                Level::INFO if target == NOTICE => format!("note: {text}"),
                Level::INFO => text,
                _ => format!("debug: {text}"),
            }
        }
    }
}

fn annotation_level(level: Level, target: &str) -> Option<command::Level> {
    match level {
        Level::ERROR => Some(command::Level::Error),
        Level::WARN => Some(command::Level::Warning),
        Level::INFO if target == NOTICE => Some(command::Level::Notice),
        _ => None,
    }
}

/// An event's message, followed by its fields as `name=value`.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, "{separator}{}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_event_has_its_line_for_each_reader() {
        let cases = [
            ("group", Level::INFO, GROUP, "::group::text", "== text"),
            (
                "notice",
                Level::INFO,
                NOTICE,
                "::notice title=fast-ecr-push::text",
                "note: text",
            ),
            ("info", Level::INFO, "fast_ecr_push", "text", "text"),
            (
                "warning",
                Level::WARN,
                "fast_ecr_push",
                "::warning title=fast-ecr-push::text",
                "warning: text",
            ),
            (
                "error",
                Level::ERROR,
                "fast_ecr_push",
                "::error title=fast-ecr-push::text",
                "error: text",
            ),
            (
                "debug",
                Level::DEBUG,
                "fast_ecr_push",
                "::debug::text",
                "debug: text",
            ),
        ];
        for (name, level, target, runner, terminal) in cases {
            assert_eq!(line(Style::Runner, level, target, "text"), runner, "{name}");
            assert_eq!(
                line(Style::Terminal, level, target, "text"),
                terminal,
                "{name}"
            );
        }
    }

    #[test]
    fn a_build_log_can_not_move_a_terminals_cursor() {
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG] {
            let line = line(
                Style::Terminal,
                level,
                "fast_ecr_push",
                "a\u{1b}[2Jb\n\u{202e}c",
            );
            assert!(line.ends_with("ab\nc"), "{line:?}");
        }
    }

    #[test]
    fn a_build_log_can_not_speak_to_the_runner() {
        assert!(
            !line(Style::Runner, Level::INFO, "fast_ecr_push", "::add-mask::a").starts_with("::")
        );
    }
}
