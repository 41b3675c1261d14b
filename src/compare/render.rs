//! The table as Markdown, CSV or JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::table::Table;
use super::{CompareError, Format};
use crate::runner::markdown::plain;
use crate::timings::schema::SCHEMA;
use crate::timings::units;

pub(super) fn render(table: &Table, format: Format) -> Result<String, CompareError> {
    match format {
        Format::Markdown => Ok(markdown(table)),
        Format::Csv => csv(table).map_err(CompareError::Csv),
        Format::Json => {
            let value = json!({ "schema": SCHEMA, "rows": table.rows });
            serde_json::to_string_pretty(&value).map_err(CompareError::Json)
        }
    }
}

fn markdown(table: &Table) -> String {
    let phases = table.phases();
    let (title, rule) = if table.has_images() {
        (" Image |", " :-- |")
    } else {
        ("", "")
    };
    let mut text = format!("| Runner | Driver |{title} Total | Of slowest |");
    for phase in &phases {
        let _ = write!(text, " {} |", phase.title());
    }
    let rules = " --: |".repeat(phases.len());
    let _ = writeln!(text, "\n| :-- | :-- |{rule} --: | --: |{rules}");
    for row in &table.rows {
        let image = row.image.as_deref().map_or(String::new(), |image| {
            let image = if image.is_empty() {
                "not pushed"
            } else {
                image
            };
            format!(" {} |", plain(image))
        });
        let (runner, driver) = (plain(&row.runner), plain(&row.driver));
        let total = duration(row.total_ms);
        let _ = write!(text, "| {runner} | {driver} |{image} {total}");
        if row.runs > 1 {
            let (fastest, slowest) = (duration(row.fastest_ms), duration(row.slowest_ms));
            let _ = write!(text, " ({fastest} to {slowest}, {} runs)", row.runs);
        }
        let _ = write!(text, " | {} % |", row.percent_of_slowest);
        for phase in &phases {
            let _ = write!(text, " {} |", duration(row.phase_ms(*phase)));
        }
        text.push('\n');
    }
    if table.rows.iter().any(|row| row.runs > 1) {
        text.push_str("\nMedians over the runs, separately for each phase.\n");
    }
    text
}

fn csv(table: &Table) -> Result<String, csv::Error> {
    let phases = table.phases();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = ["runner", "driver"].into_iter();
    let names = names.chain(table.has_images().then_some("image")).chain([
        "runs",
        "total_ms",
        "fastest_ms",
        "slowest_ms",
        "percent_of_slowest",
    ]);
    let mut head: Vec<String> = names.map(str::to_owned).collect();
    head.extend(phases.iter().map(|phase| format!("{}_ms", phase.name())));
    writer.write_record(&head)?;
    for row in &table.rows {
        let mut fields = vec![row.runner.clone(), row.driver.clone()];
        fields.extend(row.image.clone());
        fields.push(row.runs.to_string());
        let numbers = [
            row.total_ms,
            row.fastest_ms,
            row.slowest_ms,
            row.percent_of_slowest,
        ];
        let numbers = numbers.into_iter();
        let numbers = numbers.chain(phases.iter().map(|phase| row.phase_ms(*phase)));
        fields.extend(numbers.map(|number| number.to_string()));
        writer.write_record(&fields)?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

fn duration(milliseconds: u64) -> String {
    units::duration(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::file::Sample;
    use crate::timings::Phase;
    use crate::timings::schema::Ended;

    fn table() -> Table {
        let sample = |runner: &str, driver: &str, build, push| {
            let mut phases_ms = vec![0; Phase::ALL.len()];
            phases_ms[Phase::Build as usize] = build;
            phases_ms[Phase::Push as usize] = push;
            Sample {
                runner: runner.to_owned(),
                driver: driver.to_owned(),
                result: Ended::Success,
                image: None,
                total_ms: build + push,
                phases_ms,
            }
        };
        Table::new(vec![
            sample("a | \"b\", <c>\n", "docker", 60_000, 5_000),
            sample("EKS", "kubernetes", 20_000, 12_500),
            sample("EKS", "kubernetes", 30_000, 2_500),
        ])
    }

    #[test]
    fn markdown_has_a_column_for_each_phase_that_took_time() {
        insta::assert_snapshot!(render(&table(), Format::Markdown).unwrap());
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        insta::assert_snapshot!(render(&table(), Format::Csv).unwrap());
    }

    #[test]
    fn json_has_all_phases() {
        let json: serde_json::Value =
            serde_json::from_str(&render(&table(), Format::Json).unwrap()).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["rows"][0]["runner"], "a | \"b\", <c>\n");
        assert_eq!(json["rows"][1]["percent_of_slowest"], 50);
        assert_eq!(json["rows"][1]["phases_ms"]["push"], 7_500);
        assert_eq!(json["rows"][1]["phases_ms"]["cache-export"], 0);
    }
}
