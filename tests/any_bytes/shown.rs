//! Foreign text at the exits.

use readers::Target;

use super::seed;
use crate::runner::command::{self, Annotation, Level};
use crate::runner::{files, markdown, visible};

pub(super) const TARGETS: &[Target] = &[Target {
    name: "shown",
    read: shown,
    seeds: || {
        vec![
            b"::set-output name=a::b".to_vec(),
            b"\x1b[31m##[error]\x1b]0;a\x07".to_vec(),
            "`a` | <b> @team \u{202e}\u{2066}x #7 [a](b) ![c](d)\r\n- e"
                .as_bytes()
                .to_vec(),
            seed(&["a\nfast_ecr_push_end\nb=1\nfast_ecr_push_end_"]),
        ]
    },
}];

/// A line stays one, a command is ours, a value ends where it ended.
fn shown(bytes: &[u8]) {
    let text = &String::from_utf8_lossy(bytes);
    let is_safe = |text: &str| !text.contains(|next: char| next.is_control());
    let line = visible::one_line(text);
    assert!(is_safe(&line));
    assert_eq!(visible::one_line(&line), line);
    assert!(is_safe(&visible::lines(text).replace('\n', "")));
    let harmless = command::harmless(text);
    assert!(is_safe(&harmless) && !harmless.trim_start().starts_with("::"));
    assert!(!harmless.contains("##["));
    let annotation = Annotation {
        level: Level::Warning,
        title: text,
        message: text,
        place: Some((text, 1)),
    };
    for line in [
        annotation.line(),
        command::group(text),
        command::debug(text),
    ] {
        assert!(is_safe(&line) && !line.contains("##["), "{line:?}");
    }
    for span in [
        markdown::code(text),
        markdown::cell(text),
        markdown::plain(text),
    ] {
        assert!(is_safe(&span), "{span:?}");
    }
    assert!(is_safe(&markdown::block(text.lines()).replace('\n', "")));
    let file = super::file(b"");
    files::append_values(file.path(), [("name", &**text), ("next", "value")]).unwrap();
    let written = std::fs::read_to_string(file.path()).unwrap();
    let (head, rest) = written.split_once('\n').unwrap();
    let delimiter = head.strip_prefix("name<<").unwrap();
    let end = format!("\n{delimiter}\n");
    // The runner splits at line ends of all kinds.
    let (value, rest) = rest.split_once(&end).unwrap();
    assert_eq!(value, text);
    assert!(rest.starts_with("next<<"));
}
