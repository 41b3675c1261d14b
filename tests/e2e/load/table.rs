//! Figures as Markdown, and whether they grow.

/// How a figure of many runs in a row may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Not at all.
    Same,
    /// In the end no more than a fifth and ten above the first, up and down meanwhile: a server's own way.
    Level,
    /// As it will. Shown only.
    Free,
}

/// A figure that was taken several times.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub name: &'static str,
    pub bound: Bound,
    pub values: Vec<f64>,
}

impl Row {
    /// What is wrong with it.
    fn growth(&self) -> Option<String> {
        let (first, rest) = self.values.split_first()?;
        // What leaks is there in each of the last ones.
        let last = rest.iter().rev().take(3).copied();
        let least = last.fold(f64::INFINITY, f64::min);
        let grows = match self.bound {
            Bound::Same => rest.iter().any(|value| value.to_bits() != first.to_bits()),
            Bound::Level => least.is_finite() && least > first * 1.2 + 10.0,
            Bound::Free => false,
        };
        grows.then(|| format!("{}: {:?}", self.name, self.values))
    }
}

/// Samples with the same rows, one after the other.
pub(crate) fn rows(samples: &[Vec<(&'static str, Bound, f64)>]) -> Vec<Row> {
    let first = samples.first().into_iter().flatten();
    first
        .enumerate()
        .map(|(index, (name, bound, _))| Row {
            name,
            bound: *bound,
            values: samples.iter().map(|sample| sample[index].2).collect(),
        })
        .collect()
}

/// The rows that grow, with their values.
pub(crate) fn growing(rows: &[Row]) -> Vec<String> {
    rows.iter().filter_map(Row::growth).collect()
}

/// A table with a column for each time that figures were taken.
pub(crate) fn render(columns: &[String], rows: &[Row]) -> String {
    let mut text = format!("\n| | {} |\n", columns.join(" | "));
    text += &format!("| :-- |{}\n", " --: |".repeat(columns.len()));
    for row in rows {
        // Whole numbers, but for what is in seconds and MB.
        let whole = row.values.iter().all(|value| value.fract() == 0.0);
        let digits = usize::from(!whole);
        let values: Vec<String> = row
            .values
            .iter()
            .map(|value| format!("{value:.digits$}"))
            .collect();
        text += &format!("| {} | {} |\n", row.name, values.join(" | "));
    }
    text + "\n"
}

#[test]
fn what_grows_is_found_out() {
    let samples = |values: &[f64], bound| {
        let samples = values.iter().map(|value| vec![("x", bound, *value)]);
        growing(&rows(&samples.collect::<Vec<_>>())).len()
    };
    assert_eq!(samples(&[3.0, 3.0, 3.0], Bound::Same), 0);
    assert_eq!(samples(&[3.0, 3.0, 4.0], Bound::Same), 1);
    assert_eq!(samples(&[100.0, 150.0, 150.0, 90.0], Bound::Level), 0);
    assert_eq!(
        samples(&[100.0, 90.0, 131.0, 131.0, 131.0], Bound::Level),
        1
    );
    assert_eq!(samples(&[100.0, 131.0], Bound::Level), 1);
    assert_eq!(samples(&[1.0, 1000.0], Bound::Free), 0);
}
