//! `action.yml`, `README.md` and `CONTRIBUTING.md` say what the tables and the modules say.
//!
//! `make tables` writes the tables into them; without it the tests compare.

use std::path::Path;

use crate::inputs::SPECS;
use crate::plan::{DRIVER_OPTIONS, FALLBACKS};
use crate::report::outputs::OUTPUTS;
use marks::holds;

#[path = "../action/marks.rs"]
mod marks;

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
fn the_page_on_the_push_engine_lists_when_it_does_not_push() {
    let mut expected = "\n| The log says | |\n| :-- | :-- |\n".to_owned();
    for (message, why) in FALLBACKS {
        let (message, shown) = message.split_once('\0').unwrap_or((message, ""));
        let message = message.replace("{0}", shown);
        expected += &format!("| {message} | {why} |\n");
    }
    holds(
        "docs/push-engine.md",
        "<!-- fallbacks -->\n",
        "\n<!-- /fallbacks -->",
        &expected,
    );
}

#[test]
fn the_page_on_driver_options_lists_them() {
    let mut expected =
        "\n| Option | Driver | Values | Default | Meaning |\n| :-- | :-- | :-- | :-- | :-- |\n"
            .to_owned();
    for spec in DRIVER_OPTIONS {
        let drivers: Vec<String> = spec
            .drivers
            .iter()
            .map(|driver| format!("`{}`", driver.name()))
            .collect();
        let default = match spec.default {
            "" => String::new(),
            text => format!("`{text}`"),
        };
        let row = [
            &format!("`{}`", spec.name),
            &drivers.join(", "),
            spec.values,
            &default,
            spec.help,
        ];
        expected += &format!("| {} |\n", row.join(" | "));
    }
    holds(
        "docs/driver-options.md",
        "<!-- options -->\n",
        "<!-- /options -->",
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
fn the_page_on_how_it_works_has_the_picture_of_main() {
    let main = include_str!("../../src/main.rs");
    let (_, rest) = main.split_once("//! ```text\n").unwrap();
    let (picture, _) = rest.split_once("//! ```\n").unwrap();
    let lines = picture.lines().map(|line| line.trim_start_matches("//! "));
    let lines: Vec<&str> = lines.collect();
    assert!(lines.len() >= 3, "{lines:?}");
    holds(
        "docs/how-it-works.md",
        "\n```text\n",
        "\n```\n",
        &lines.join("\n"),
    );
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

/// Name and reason of each dependency of a section of `Cargo.toml`: the reason is the comment right above.
fn dependencies(manifest: &str, section: &str) -> Vec<(String, String)> {
    let (_, rest) = manifest
        .split_once(&format!("\n[{section}]\n"))
        .expect(section);
    let mut found = Vec::new();
    let mut reason = Vec::new();
    for line in rest.lines().take_while(|line| !line.starts_with('[')) {
        if let Some(comment) = line.strip_prefix("# ") {
            reason.push(comment);
        } else if let Some((name, _)) = line.split_once(" = ") {
            assert!(!reason.is_empty(), "{name} has no reason in Cargo.toml");
            found.push((name.to_owned(), reason.join(" ").replace('|', "\\|")));
            reason.clear();
        }
    }
    found
}

#[test]
fn every_dependency_has_its_reason_which_contributors_find() {
    let manifest = include_str!("../../Cargo.toml");
    let mut expected = String::new();
    for (section, title) in [
        ("dependencies", "In the binary"),
        ("dev-dependencies", "In the tests"),
    ] {
        let rows = dependencies(manifest, section);
        assert!(rows.len() > 3, "{section}: {rows:?}");
        expected += &format!("\n| {title} | What for |\n| :-- | :-- |\n");
        for (name, reason) in rows {
            expected += &format!("| `{name}` | {reason} |\n");
        }
    }
    holds(
        "CONTRIBUTING.md",
        "<!-- dependencies -->\n",
        "<!-- /dependencies -->",
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
        &format!("{head}{}", crate::buildx::catalogue::rows()),
    );
}
