//! The table as Markdown, CSV or JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::table::Table;
use super::{CompareError, Format};
use crate::report::{duration, plain};
use crate::timings::schema::SCHEMA;

/// Prints the table.
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
    let several = table.rows.iter().any(|row| row.runs > 1);
    let images = table.has_images();
    let (title, edge) = if images {
        (" Image |", " :-- |")
    } else {
        ("", "")
    };
    let mut text = format!("| Runner | Driver |{title} Total | Of slowest |");
    let mut line = format!("| :-- | :-- |{edge} --: | --: |");
    for phase in &phases {
        let _ = write!(text, " {} |", phase.title());
        line.push_str(" --: |");
    }
    let _ = writeln!(text, "\n{line}");
    for row in &table.rows {
        let spread = if row.runs > 1 {
            format!(
                " ({} to {}, {} runs)",
                duration(milliseconds(row.fastest_ms)),
                duration(milliseconds(row.slowest_ms)),
                row.runs
            )
        } else {
            String::new()
        };
        let image = row.image.as_deref().map_or(String::new(), |image| {
            let image = if image.is_empty() {
                "not pushed"
            } else {
                image
            };
            format!(" {} |", plain(image))
        });
        let _ = write!(
            text,
            "| {} | {} |{image} {}{spread} | {} % |",
            plain(&row.runner),
            plain(&row.driver),
            duration(milliseconds(row.total_ms)),
            row.percent_of_slowest
        );
        for phase in &phases {
            let time = row.phases_ms.get(phase.name()).copied().unwrap_or(0);
            let _ = write!(text, " {} |", duration(milliseconds(time)));
        }
        text.push('\n');
    }
    if several {
        text.push_str("\nMedians over the runs, each phase by itself.\n");
    }
    text
}

fn csv(table: &Table) -> Result<String, csv::Error> {
    let phases = table.phases();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let numbers = [
        "runs",
        "total_ms",
        "fastest_ms",
        "slowest_ms",
        "percent_of_slowest",
    ];
    let names = ["runner", "driver"].into_iter();
    let names = names.chain(table.has_images().then_some("image"));
    let mut head: Vec<String> = names.chain(numbers).map(str::to_owned).collect();
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
        fields.extend(numbers.map(|number| number.to_string()));
        fields.extend(phases.iter().map(|phase| {
            let time = row.phases_ms.get(phase.name()).copied().unwrap_or(0);
            time.to_string()
        }));
        writer.write_record(&fields)?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
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
