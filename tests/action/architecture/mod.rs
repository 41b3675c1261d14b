//! The map of modules ([`map`], drawn by [`picture`]), held against the sources: who may use whom, where effects are, how long files get.
//!
//! Read from the sources as text: every `crate::module` outside of comments and tests. Paths that
//! begin with `super` are a folder's own business.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::marks;
use map::{CYCLES, MAY_USE_ALL, rows};

mod map;
mod picture;

/// Effects: text that stands only in these files.
const EFFECTS: &[(&str, &[&str])] = &[
    (
        "process::Command::new",
        &["process/mod.rs", "process/replace.rs"],
    ),
    ("std::env::var", &["runner/env.rs"]),
    (
        "std::env::",
        &[
            "runner/env.rs",
            "main.rs",            // the arguments
            "runner/host.rs",     // the machine's architecture, a constant
            "runner/folder.rs",   // the system's folder for temporary files
            "credentials/mod.rs", // our own program, to link the helper to
            "facts/cluster.rs",   // our own program, to name it in a kubeconfig
            "report/runner.rs",   // the machine's architecture, a constant
        ],
    ),
    ("std::process::exit", &[]),
];

/// What pure modules do without: files, processes, network, clock.
const IMPURE: &[&str] = &[
    "std::fs",
    "TcpStream",
    "UdpSocket",
    "ToSocketAddrs",
    "std::process",
    "std::env",
    "std::io",
    "tokio",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "tracing::",
];

/// Modules and files without any effect.
const PURE: &[&str] = &[
    "plan/",
    "timings/",
    "build/rawjson.rs",
    "runner/command.rs",
    "runner/workflow.rs",
    "report/outputs.rs",
    "report/summary.rs",
    "report/markdown.rs",
    "report/units.rs",
];

/// A file beyond this many lines hides where one is.
const LONGEST: usize = 400;

/// Longer files, with the reason.
const LONGER: &[(&str, &str)] = &[("src/inputs/spec.rs", "the one table of inputs")];

/// Files that are tests as a whole.
const TESTS: &[&str] = &[
    "/tests.rs",
    "src/documents.rs",
    "src/other_actions.rs",
    "src/plan/build_push_action.rs",
    "src/plan/contradictions.rs",
    "src/metadata/readme.rs",
    "src/metadata/recorded.rs",
];

/// A source file: its path below `src`, and its text without comments and tests.
struct Source {
    path: String,
    code: String,
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let prefix = format!("{}/", root.display());
    let sources: Vec<Source> = files(&root)
        .into_iter()
        .map(|(path, text)| (path.strip_prefix(&prefix).unwrap().to_owned(), text))
        .filter(|(path, _)| {
            let test = |test: &&str| format!("src/{path}").ends_with(*test);
            !path.contains("/tests/") && !TESTS.iter().any(test)
        })
        .map(|(path, text)| {
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code: Vec<&str> = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            Source {
                path,
                code: code.join("\n"),
            }
        })
        .collect();
    assert!(sources.len() > 20);
    sources
}

/// The row of the table that a path of names belongs to.
fn row(path: &str) -> &str {
    let folder = path.split("::").next().unwrap();
    let parts = rows().map(|(name, _)| name);
    let mut parts = parts.filter(|name| name.contains("::"));
    let part = parts.find(|name| format!("{path}::").starts_with(&format!("{name}::")));
    part.unwrap_or(folder)
}

/// `build/rawjson.rs` is `build::rawjson`, `build/mod.rs` is `build`.
fn module(path: &str) -> String {
    let name = path.trim_end_matches(".rs").trim_end_matches("/mod");
    name.replace('/', "::")
}

/// What a source uses of ours, by row of the table.
fn uses(source: &Source) -> BTreeSet<String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut uses = BTreeSet::new();
    for (position, _) in source.code.match_indices("crate::") {
        let before = source.code.get(..position).unwrap();
        if before.ends_with(|character| is_name(character) || character == '$') {
            continue;
        }
        let path: String = source
            .code
            .get(position + "crate::".len()..)
            .unwrap()
            .chars()
            .take_while(|character| is_name(*character) || *character == ':')
            .collect();
        assert!(
            !path.is_empty(),
            "{}: name the module right behind `crate::`",
            source.path
        );
        uses.insert(row(&path).to_owned());
    }
    uses
}

#[test]
fn each_module_uses_only_what_the_map_allows() {
    let table: BTreeMap<&str, BTreeSet<&str>> = rows()
        .map(|(name, others)| (name, others.iter().copied().collect()))
        .collect();
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let path = module(&source.path);
        let name = row(&path);
        if MAY_USE_ALL.contains(&name) {
            continue;
        }
        let Some(allowed) = table.get(name) else {
            panic!("`{name}` is not on the map: add it here and in src/main.rs");
        };
        for used in uses(&source) {
            // A part may use the rest of its folder, and the other way round.
            let own = used == name || used.split("::").next() == name.split("::").next();
            assert!(
                own || allowed.contains(used.as_str()),
                "{} uses `{used}`, which the map does not allow for `{name}`",
                source.path
            );
            seen.entry(name.to_owned()).or_default().insert(used);
        }
    }
    for (name, allowed) in &table {
        for other in allowed {
            assert!(
                seen.get(*name).is_some_and(|used| used.contains(*other)),
                "`{name}` does not use `{other}`: take that out of the map"
            );
        }
    }
}

#[test]
fn the_map_goes_one_way() {
    let place = |name: &str| rows().position(|(other, _)| other == name);
    for (name, others) in rows() {
        for other in others {
            let told = CYCLES
                .iter()
                .any(|(one, two, _)| (*one, two) == (name, other));
            assert!(
                told || place(other) < place(name),
                "`{name}` uses `{other}`, which comes later"
            );
        }
    }
}

#[test]
fn the_header_of_main_names_every_module() {
    let main = include_str!("../../../src/main.rs");
    let (header, _) = main.split_once("\n\n").unwrap();
    for line in main.replace("#[cfg(test)]\nmod ", "").lines() {
        let declared = line
            .strip_prefix("mod ")
            .map(|rest| rest.trim_end_matches(';'));
        if let Some(name) = declared {
            let linked = [format!("[`{name}`]"), format!("(mod@{name})")];
            assert!(linked.iter().any(|link| header.contains(link)), "{name}");
        }
    }
}

#[test]
fn effects_stay_where_they_belong() {
    for source in sources() {
        for (text, places) in EFFECTS {
            assert!(
                places.contains(&source.path.as_str()) || !source.code.contains(text),
                "{} has `{text}`",
                source.path
            );
        }
        if PURE.iter().any(|pure| source.path.starts_with(pure)) {
            for text in IMPURE {
                assert!(!source.code.contains(text), "{} has `{text}`", source.path);
            }
        }
    }
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prefix = format!("{}/", root.display());
    let mut all = files(&root.join("src"));
    all.extend(files(&root.join("tests/action")));
    let mut longer = Vec::new();
    for (path, text) in &all {
        if text.lines().count() > LONGEST {
            longer.push(path.strip_prefix(&prefix).unwrap());
        }
    }
    let known: Vec<&str> = LONGER.iter().map(|(path, _)| *path).collect();
    assert_eq!(
        longer, known,
        "the first list is what there is, the second what is known"
    );
}
