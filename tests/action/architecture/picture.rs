//! The map as a picture for contributors, written by `make tables`.

use std::collections::{BTreeMap, BTreeSet};

use super::map::{CYCLES, LAYERS, VOCABULARY};
use super::marks;

/// Module → the modules whose values reach it, without the vocabulary and without cycles.
fn sources() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let known: BTreeSet<&str> = VOCABULARY.modules.iter().map(|(name, _)| *name).collect();
    let rows = LAYERS.iter().flat_map(|layer| layer.modules);
    rows.map(|(name, others)| {
        let others = others.iter().copied().filter(|other| {
            let cycle = CYCLES
                .iter()
                .any(|(one, two, _)| (one, two) == (name, other));
            !known.contains(other) && !cycle
        });
        (*name, others.collect())
    })
    .collect()
}

fn reaches(sources: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> bool {
    sources[to]
        .iter()
        .any(|source| *source == from || reaches(sources, from, source))
}

/// Mermaid's text: an arrow for each use that no longer way says already.
fn picture() -> String {
    let sources = sources();
    let mut picture = "flowchart TD\n".to_owned();
    for (number, layer) in LAYERS.iter().enumerate() {
        let names: Vec<&str> = layer.modules.iter().map(|(name, _)| *name).collect();
        picture += &format!(
            "    subgraph layer{number} [\"{}\"]\n        {}\n    end\n",
            layer.title,
            names.join("\n        "),
        );
    }
    for (module, direct) in &sources {
        for source in direct {
            let longer = direct
                .iter()
                .any(|other| other != source && reaches(&sources, source, other));
            if !longer {
                picture += &format!("    {source} --> {module}\n");
            }
        }
    }
    picture
}

#[test]
fn contributors_find_the_map_as_a_picture() {
    let words = VOCABULARY
        .modules
        .iter()
        .map(|(name, _)| format!("`{name}`"));
    let words: Vec<String> = words.collect();
    marks::holds(
        "CONTRIBUTING.md",
        "<!-- picture -->\n",
        "<!-- /picture -->",
        &format!(
            "\n```mermaid\n{}```\n\nThe vocabulary beneath is not drawn: {}.\n",
            picture(),
            words.join(", ")
        ),
    );
}
