//! A summary in parts that fits into a given size.
//!
//! In: [`Part`]s, the most important first. Out: Markdown of at most `limit` bytes. Rows are dropped from the end of a part and parts from
//! the end of the summary; a line says how many.

/// A piece of the summary: rows between a head and a foot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub head: String,
    /// Whole lines with their line breaks.
    pub rows: Vec<String>,
    pub foot: String,
}

/// Longest line about dropped rows or parts (bytes).
const NOTICE: usize = 100;

impl Part {
    /// Text that is kept whole or dropped whole.
    pub(super) fn text(text: String) -> Self {
        Self {
            head: text,
            ..Self::default()
        }
    }

    /// Rows below a head; empty without rows.
    pub(super) fn rows(head: &str, rows: Vec<String>) -> Self {
        if rows.is_empty() {
            return Self::default();
        }
        Self {
            head: head.to_owned(),
            rows,
            foot: String::new(),
        }
    }

    /// Rows that a reader unfolds.
    pub(super) fn folded(title: &str, head: &str, rows: Vec<String>) -> Self {
        Self {
            head: format!("<details><summary>{title}</summary>\n\n{head}"),
            rows,
            foot: "\n</details>\n".to_owned(),
        }
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.rows.is_empty() && self.foot.is_empty()
    }
}

pub(super) fn fit(parts: &[Part], limit: usize) -> String {
    let parts: Vec<&Part> = parts.iter().filter(|part| !part.is_empty()).collect();
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        // One notice for the rows of this part, one for the parts after it.
        let space = limit.saturating_sub(text.len() + 2 * NOTICE);
        let Some(mut left) = space.checked_sub(part.head.len() + part.foot.len() + 1) else {
            let dropped = parts.len() - index;
            let notice = format!("\nThe last {dropped} parts did not fit into the job summary.\n");
            if text.len() + notice.len() <= limit {
                text.push_str(&notice);
            }
            break;
        };
        text.push_str(&part.head);
        let mut dropped = part.rows.len();
        for row in &part.rows {
            let Some(rest) = left.checked_sub(row.len()) else {
                break;
            };
            left = rest;
            dropped -= 1;
            text.push_str(row);
        }
        text.push_str(&part.foot);
        if dropped > 0 {
            text.push_str(&format!(
                "\n{dropped} more rows did not fit into the job summary.\n"
            ));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(rows: usize) -> Part {
        Part {
            head: "| a |\n| :- |\n".to_owned(),
            rows: (0..rows).map(|row| format!("| {row} |\n")).collect(),
            foot: String::new(),
        }
    }

    #[test]
    fn dropped_rows_are_counted() {
        let text = fit(&[table(100)], 400);
        let shown = text
            .lines()
            .filter(|line| line.starts_with("| ") && !line.contains('a'))
            .count()
            - 1;
        assert!(
            text.contains(&format!("\n{} more rows did not fit", 100 - shown)),
            "{text}"
        );
        assert!(shown > 10, "{text}");
    }

    #[test]
    fn parts_that_do_not_fit_are_counted_and_the_first_stays() {
        let parts = [
            Part::text("first\n".to_owned()),
            Part::text("x".repeat(500)),
            table(1),
        ];
        let text = fit(&parts, 300);
        assert!(text.starts_with("first\n"), "{text}");
        assert!(text.contains("The last 2 parts did not fit"), "{text}");
    }

    #[test]
    fn what_fits_is_whole() {
        let parts = [Part::default(), table(3), Part::text("end\n".to_owned())];
        let text = fit(&parts, 1 << 20);
        assert_eq!(text, "| a |\n| :- |\n| 0 |\n| 1 |\n| 2 |\n\nend\n\n");
    }

    proptest! {
        #[test]
        fn the_limit_holds(rows in 0usize..200, limit in 0usize..3000, texts in proptest::collection::vec(0usize..600, 0..4)) {
            let mut parts: Vec<Part> = texts.into_iter().map(|length| Part::text("x".repeat(length))).collect();
            parts.push(table(rows));
            prop_assert!(fit(&parts, limit).len() <= limit);
        }
    }
}
