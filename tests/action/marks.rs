//! What is generated stands between two marks of a page.

use std::path::Path;

/// Compares, or with `WRITE_TABLES=1` replaces, what stands between two marks of a file.
#[expect(
    clippy::disallowed_methods,
    reason = "a switch for maintainers, of the tests alone"
)]
pub(crate) fn holds(file: &str, after: &str, before: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(after).expect(after);
    let (found, tail) = rest.split_once(before).expect(before);
    if std::env::var_os("WRITE_TABLES").is_some() {
        // Two tables of one file are written by one test after the other: see `make tables`.
        std::fs::write(&path, [head, after, expected, before, tail].concat()).unwrap();
    } else {
        assert!(
            found == expected,
            "{file} is not up to date: run `make tables`\n{}",
            differences(found, expected)
        );
    }
}

/// The lines that only one of two texts has, each with the sign that a diff gives it.
fn differences(found: &str, expected: &str) -> String {
    let only_in = |sign: char, these: &str, those: &str| -> String {
        let lines = these.lines();
        lines
            .filter(|line| !those.lines().any(|other| other == *line))
            .map(|line| format!("{sign}{line}\n"))
            .collect()
    };
    only_in('-', found, expected) + &only_in('+', expected, found)
}
