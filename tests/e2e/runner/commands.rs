//! Lines of a container's log as the runner takes them: commands, masks, and what is shown
//! (<https://github.com/actions/runner/blob/258d6c857db3519913f7deb6004b60172f8043ae/src/Runner.Common/ActionCommand.cs>,
//! `ActionCommandManager.cs` and `Handlers/OutputManager.cs` of `Runner.Worker`).

use std::collections::BTreeMap;

use super::container::Host;

/// The annotation's text is cut after so many UTF-16 units (`ExecutionContext.cs`:146).
const LONGEST_ANNOTATION: usize = 4096;
/// Of each level so many annotations are kept for a step (`ExecutionContext.cs`, `_maxCountPerIssueType`).
const MOST_ANNOTATIONS: usize = 10;

/// An annotation as the run's page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    pub level: String,
    pub message: String,
    /// `file`, `line`, `title`, …
    pub properties: BTreeMap<String, String>,
}

/// What became of the lines.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// As they came, but for masks.
    pub raw: Vec<String>,
    /// As shown, masks applied.
    pub lines: Vec<String>,
    pub masks: Vec<String>,
    pub annotations: Vec<Annotation>,
    pub groups: Vec<String>,
    /// Groups that were opened and not closed yet.
    pub open: usize,
    /// Commands that the action has no business to give.
    pub unexpected: Vec<String>,
}

/// A command with its properties and its text.
type Command = (String, BTreeMap<String, String>, String);

impl Log {
    /// Takes a line of either stream.
    pub(crate) fn take(&mut self, line: &str, host: &Host) {
        let Some((name, mut properties, data)) = parse_v2(line).or_else(|| parse_v1(line)) else {
            self.raw.push(line.to_owned());
            self.show(line);
            return;
        };
        if name != "add-mask" {
            self.raw.push(line.to_owned());
        }
        match name.as_str() {
            "add-mask" => self.masks.extend(
                std::iter::once(data.as_str())
                    .chain(data.lines().map(str::trim))
                    .filter(|text| !text.is_empty())
                    .map(str::to_owned),
            ),
            "error" | "warning" | "notice" => {
                if let Some(file) = properties.get_mut("file") {
                    let path = host.to_host(file);
                    let workspace = format!("{}/", host.workspace().display());
                    *file = path.strip_prefix(&workspace).unwrap_or(&path).to_owned();
                }
                let message: Vec<u16> = self
                    .masked(&data)
                    .encode_utf16()
                    .take(LONGEST_ANNOTATION)
                    .collect();
                let message = String::from_utf16_lossy(&message);
                self.lines.push(format!("{name}: {message}"));
                if self
                    .annotations
                    .iter()
                    .filter(|other| other.level == name)
                    .count()
                    < MOST_ANNOTATIONS
                {
                    self.annotations.push(Annotation {
                        level: name,
                        message,
                        properties,
                    });
                }
            }
            "group" => {
                self.open += 1;
                self.show(&format!("== {data}"));
                self.groups.push(data);
            }
            "endgroup" => self.open -= 1,
            "debug" => self.show(&format!("##[debug]{data}")),
            // Old names, and those that hand power to whoever writes to the log.
            _ => self.unexpected.push(line.to_owned()),
        }
    }

    fn show(&mut self, line: &str) {
        let line = self.masked(line);
        self.lines.push(line);
    }

    /// The text with secrets replaced.
    pub(crate) fn masked(&self, text: &str) -> String {
        self.masks
            .iter()
            .fold(text.to_owned(), |text, mask| text.replace(mask, "***"))
    }
}

const COMMANDS: [&str; 16] = [
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "stop-commands",
    "warning",
    "internal-set-repo-path",
];

/// `::name key=value,…::text`, after leading blanks.
fn parse_v2(line: &str) -> Option<Command> {
    let (head, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    let unescape = |text: &str| text.replace("%0D", "\r").replace("%0A", "\n");
    let property = |text: &str| {
        unescape(text)
            .replace("%3A", ":")
            .replace("%2C", ",")
            .replace("%25", "%")
    };
    command(head, ',', property, unescape(data).replace("%25", "%"))
}

/// `##[name key=value;…]text`, anywhere in the line.
fn parse_v1(line: &str) -> Option<Command> {
    let (_, rest) = line.split_once("##[")?;
    let (head, data) = rest.split_once(']')?;
    let unescape = |text: &str| {
        let text = text
            .replace("%3B", ";")
            .replace("%0D", "\r")
            .replace("%0A", "\n");
        text.replace("%5D", "]").replace("%25", "%")
    };
    command(head, ';', unescape, unescape(data))
}

fn command(
    head: &str,
    separator: char,
    property: impl Fn(&str) -> String,
    data: String,
) -> Option<Command> {
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    let properties = properties
        .trim()
        .split(separator)
        .filter_map(|pair| pair.split_once('='));
    COMMANDS.contains(&name).then(|| {
        (
            name.to_owned(),
            properties
                .map(|(key, value)| (key.to_owned(), property(value)))
                .collect(),
            data,
        )
    })
}

#[test]
fn a_line_is_taken_as_the_runner_takes_it() {
    let host = Host {
        work: "/w".into(),
        socket: "/s".into(),
    };
    let mut log = Log::default();
    for line in [
        "plain :: text",
        "::add-mask::hush%0Aline",
        "hush and line",
        " ::error file=/github/workspace/a.c,title=a%2Cb::no%25%0Away",
        "text ##[group]g",
        "::endgroup::",
        "::unknown::",
        "::set-env name=PATH::x",
    ] {
        log.take(line, &host);
    }
    assert_eq!(
        log.lines,
        [
            "plain :: text",
            "*** and ***",
            "error: no%\nway",
            "== g",
            "::unknown::"
        ]
    );
    assert_eq!(log.annotations[0].properties["file"], "a.c");
    assert_eq!(log.annotations[0].properties["title"], "a,b");
    assert_eq!(
        (log.groups.as_slice(), log.open),
        (["g".to_owned()].as_slice(), 0)
    );
    assert_eq!(log.unexpected, ["::set-env name=PATH::x"]);
}
