//! The matrix as Markdown.

use super::cell::{Cell, Result, Verdict};
use super::requests::{Request, Trouble};

/// Texts that cells refer to by number.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn number(&mut self, text: &str) -> usize {
        let found = self.0.iter().position(|note| note == text);
        let index = found.unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        index + 1
    }

    fn cell(&mut self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Recovered => "recovered".to_owned(),
            Verdict::PlainPush => "plain push".to_owned(),
            Verdict::NoCache => "no cache".to_owned(),
            Verdict::Error(text) => format!("error {}", self.number(text)),
            Verdict::Untested(text) => format!("untested {}", self.number(text)),
            Verdict::Wrong(text) => format!("**wrong** {}", self.number(text)),
        }
    }
}

/// A row for each request, a column for each trouble, and what the numbers in them mean.
pub(super) fn render(
    rows: &[Request],
    columns: &[Trouble],
    cells: &[Cell],
    results: &[Result],
) -> String {
    let mut notes = Notes::default();
    let names: Vec<String> = columns.iter().map(|trouble| trouble.name()).collect();
    let mut text = format!("\n| Request | {} |\n", names.join(" | "));
    text += &format!("| :-- |{}\n", " :-- |".repeat(names.len()));
    for request in rows {
        let found: Vec<String> = columns
            .iter()
            .map(|trouble| {
                let at = cells
                    .iter()
                    .position(|cell| cell.trouble == *trouble && cell.request.name == request.name);
                at.map_or_else(String::new, |at| notes.cell(&results[at].verdict))
            })
            .collect();
        text += &format!("| {} | {} |\n", request.name, found.join(" | "));
    }
    text += "\n";
    for (index, note) in notes.0.iter().enumerate() {
        // A message may have any sign that Markdown knows, but no end of a line.
        text += &format!("{}. ``{}``\n", index + 1, note.replace("``", "` `"));
    }
    text
}
