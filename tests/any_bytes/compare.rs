//! Timings files.

use readers::Target;

use super::{file, part, parts, seed};
use crate::compare::{self, Format};

pub(super) const TARGETS: &[Target] = &[Target {
    name: "timings-file",
    read: timings_file,
    seeds,
}];

/// Two files. What is read of them is a table in all forms.
fn timings_file(bytes: &[u8]) {
    let parts = parts(bytes);
    let files = [0, 1].map(|index| file(part(&parts, index).as_bytes()));
    let paths = files
        .each_ref()
        .map(|file| file.path().to_str().unwrap().to_owned());
    for format in [Format::Markdown, Format::Csv, Format::Json] {
        let comparison = compare::compare(&paths, format);
        let Ok(text) = comparison.text else {
            continue;
        };
        assert!(!text.is_empty() && !text.contains('\u{1b}'));
        if format == Format::Json {
            let _: serde_json::Value = serde_json::from_str(&text).unwrap();
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let file = |driver: &str, total: u64| {
        format!(
            r#"{{"schema":1,"runner":{{"environment":"self-hosted","cores":2,"architecture":"x86_64"}},"images":[{{"image":"r.example/a@sha256:1","driver":"{driver}","result":"success","total_ms":{total},"phases":{{"push":{{"partition_ms":7}},"build":{{"partition_ms":9}}}}}}]}}"#
        )
    };
    vec![
        seed(&[&file("docker", 1000), &file("kubernetes", 2000)]),
        seed(&[&file("docker", 1000), &file("docker", 900)]),
        seed(&[
            r#"{"schema":1,"images":[{"total_ms":5,"phases":{}},{"driver":"a","total_ms":6,"result":"failure","phases":{}}]}"#,
        ]),
    ]
}
