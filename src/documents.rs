//! `action.yml`, `README.md` and `CONTRIBUTING.md` say what the tables and the modules say.
//!
//! `make tables` writes the tables into them; without it the tests compare.

use std::path::Path;

use crate::inputs::spec::SPECS;
use crate::report::outputs::OUTPUTS;

/// Compares, or with `WRITE_TABLES=1` replaces, what stands between two marks of a file.
#[expect(
    clippy::disallowed_methods,
    reason = "a switch for maintainers, of the tests alone"
)]
fn holds(file: &str, after: &str, before: &str, expected: &str) {
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
            "{file} is not up to date: run `make tables`"
        );
    }
}

/// A single-quoted YAML scalar, which doubles its quotes.
fn scalar(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[test]
fn action_yml_declares_the_inputs() {
    let mut expected = String::new();
    for spec in SPECS {
        expected += &format!("  {}:\n    description: {}\n", spec.name, scalar(spec.help));
        if !spec.default.is_empty() {
            expected += &format!("    default: {}\n", scalar(spec.default));
        }
    }
    holds("action.yml", "\ninputs:\n", "\noutputs:\n", &expected);
}

#[test]
fn action_yml_declares_the_outputs() {
    let mut expected = String::new();
    for (name, meaning) in OUTPUTS {
        expected += &format!("  {name}:\n    description: {}\n", scalar(meaning));
    }
    holds("action.yml", "\noutputs:\n", "\nruns:\n", &expected);
}

#[test]
fn the_readme_lists_the_inputs() {
    let mut expected = "\n| Input | Default | Meaning |\n| :-- | :-- | :-- |\n".to_owned();
    for spec in SPECS {
        let default = match spec.default {
            "" => String::new(),
            text => format!("`{text}`"),
        };
        expected += &format!("| `{}` | {default} | {} |\n", spec.name, spec.help);
    }
    holds(
        "README.md",
        "<!-- inputs -->\n",
        "\n<!-- /inputs -->",
        &expected,
    );
}

#[test]
fn the_readme_lists_the_outputs() {
    let mut expected = "\n| Output | Meaning |\n| :-- | :-- |\n".to_owned();
    for (name, meaning) in OUTPUTS {
        expected += &format!("| `{name}` | {meaning} |\n");
    }
    holds(
        "README.md",
        "<!-- outputs -->\n",
        "\n<!-- /outputs -->",
        &expected,
    );
}

/// The first paragraph of a module's header, as Markdown.
fn header(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let paragraph: Vec<&str> = lines
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    // Links of rustdoc lead nowhere on a page.
    let plain = paragraph.join(" ").replace("[`", "`").replace("`]", "`");
    (!plain.is_empty()).then_some(plain)
}

#[test]
fn the_map_for_contributors_lists_the_modules() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut entries: Vec<_> = std::fs::read_dir(&src)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    let mut expected = "\n| Module | What it is |\n| :-- | :-- |\n".to_owned();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let file = if path.is_dir() {
            path.join("mod.rs")
        } else {
            path
        };
        let header = header(&file).expect(&name);
        expected += &format!("| `src/{name}` | {} |\n", header.replace('|', "\\|"));
    }
    holds(
        "CONTRIBUTING.md",
        "<!-- modules -->\n",
        "<!-- /modules -->",
        &expected,
    );
}

#[test]
fn the_page_on_trouble_lists_what_is_recognised() {
    let head =
        "\n| What is said | What it means, what to do | Tried again |\n| :-- | :-- | :-- |\n";
    holds(
        "docs/troubleshooting.md",
        "<!-- catalogue -->\n",
        "<!-- /catalogue -->",
        &format!("{head}{}", crate::build::catalogue::rows()),
    );
}
