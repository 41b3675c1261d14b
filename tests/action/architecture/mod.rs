//! The map of modules ([`map`], drawn by [`picture`]), held against the sources ([`modules`]): who may use whom, and where
//! effects are.

use std::collections::BTreeSet;

use super::marks;
use graph::cycles;
use map::{AGAINST, CYCLES, LAYERS};
use modules::{Crate, Name};

mod graph;
mod map;
mod modules;
mod picture;

/// Effects: what only these files name.
const EFFECTS: &[(&str, &[&str])] = &[
    (
        "process::Command::new",
        &["process/mod.rs", "process/replace.rs"],
    ),
    ("std::env::var", &["runner/env.rs"]),
    (
        "std::env",
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
    ("process::exit", &[]),
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
    "tracing",
];

/// Modules and files without any effect.
const PURE: &[&str] = &[
    "plan/",
    "timings/",
    "buildx/rawjson.rs",
    "runner/command.rs",
    "runner/workflow.rs",
    "report/outputs.rs",
    "report/summary.rs",
    "runner/markdown.rs",
];

#[test]
fn a_module_uses_only_what_comes_before_it() {
    let order: Vec<&str> = LAYERS
        .iter()
        .flat_map(|layer| layer.modules)
        .copied()
        .collect();
    let place = |name: &str| order.iter().position(|other| *other == name);
    let ours = Crate::read();
    let uses = ours.siblings(&Name::new());
    let mut against = BTreeSet::new();
    for (name, others) in &uses {
        assert!(place(name).is_some(), "`{name}` is not on the map");
        let later = |other: &&&str| place(other) >= place(name);
        against.extend(others.iter().filter(later).map(|other| (*name, *other)));
    }
    for name in ours.modules.keys().filter(|name| !name.is_empty()) {
        if ours.uses(name).contains(&Name::new()) {
            against.insert((name.first().unwrap(), "main"));
        }
    }
    let known: BTreeSet<_> = AGAINST.iter().copied().collect();
    assert_eq!(against, known, "the first are there, the second are known");
    for name in &order {
        assert!(uses.contains_key(name), "there is no module `{name}`");
    }
}

#[test]
fn no_siblings_use_each_other() {
    let ours = Crate::read();
    let found: BTreeSet<String> = ours
        .modules
        .keys()
        .flat_map(|folder| {
            let groups = cycles(&ours.siblings(folder));
            let place = if folder.is_empty() {
                "crate".to_owned()
            } else {
                folder.join("::")
            };
            groups
                .into_iter()
                .map(move |group| format!("{place}: {group}"))
        })
        .collect();
    let known: BTreeSet<String> = CYCLES.iter().map(|group| (*group).to_owned()).collect();
    assert_eq!(found, known, "the first are there, the second are known");
}

#[test]
fn the_header_of_main_names_every_module() {
    let main = include_str!("../../../src/main.rs");
    let (header, _) = main.split_once("\n\n").unwrap();
    let ours = Crate::read();
    for name in ours.siblings(&Name::new()).keys() {
        let linked = [format!("[`{name}`]"), format!("(mod@{name})")];
        assert!(linked.iter().any(|link| header.contains(link)), "{name}");
    }
}

/// Whether a path has names in a row, as `std::fs`.
fn has(path: &Name, text: &str) -> bool {
    let wanted: Vec<&str> = text.split("::").collect();
    path.windows(wanted.len()).any(|names| names == wanted)
}

#[test]
fn effects_stay_where_they_belong() {
    let ours = Crate::read();
    let effects = |module: &modules::Module, texts: &[&str]| {
        let paths = module.paths.iter();
        let found = paths.filter(|path| texts.iter().any(|text| has(path, text)));
        found.map(|path| path.join("::")).collect::<Vec<_>>()
    };
    for module in ours.modules.values() {
        let file = module.file.as_str();
        for (text, places) in EFFECTS {
            let found = effects(module, &[text]);
            assert!(
                places.contains(&file) || found.is_empty(),
                "{file}: {found:?}"
            );
        }
        if PURE.iter().any(|pure| file.starts_with(pure)) {
            let found = effects(module, IMPURE);
            assert!(found.is_empty(), "{file}: {found:?}");
        }
    }
    for pure in PURE {
        let mut files = ours.modules.values().map(|module| &module.file);
        assert!(files.any(|file| file.starts_with(pure)), "no `{pure}`");
    }
}
