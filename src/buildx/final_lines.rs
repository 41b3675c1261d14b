//! buildx's output that is not progress: warnings, and at the end the error with an excerpt of the Dockerfile.
//!
//! In: lines of any number and length. Out: the last ones, within a limit of lines and bytes.

use std::collections::VecDeque;

use super::budget::cut;
use super::progress::one_line;

/// Lines that are kept.
const MOST_LINES: usize = 500;

/// Bytes of them all. A line can have 4 MiB.
const MOST_BYTES: usize = 1024 * 1024;

/// A longer line (bytes) is cut.
const LONGEST_LINE: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct FinalLines {
    lines: VecDeque<String>,
    bytes: usize,
}

impl FinalLines {
    /// Takes in a line; the oldest are dropped beyond the limits.
    pub(super) fn push(&mut self, line: &str) {
        let line = one_line(cut(line, LONGEST_LINE));
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.len();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &String> {
        self.lines.iter()
    }

    pub(super) fn as_slice(&mut self) -> &[String] {
        self.lines.make_contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_within_bounds() {
        let mut closing = FinalLines::default();
        for number in 0..2_000 {
            closing.push(&format!("line {number}"));
        }
        assert_eq!(closing.as_slice().len(), MOST_LINES);
        assert_eq!(closing.as_slice()[0], "line 1500");
        let long = "é".repeat(2 * 1024 * 1024);
        for _ in 0..100 {
            closing.push(&long);
        }
        closing.push("ERROR: x");
        let bytes: usize = closing.iter().map(String::len).sum();
        assert!(bytes <= MOST_BYTES, "{bytes}");
        assert_eq!(closing.bytes, bytes);
        assert!(closing.as_slice().len() > 2);
        assert_eq!(closing.as_slice().last().unwrap(), "ERROR: x");
    }
}
