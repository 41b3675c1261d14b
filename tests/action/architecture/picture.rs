//! The map as a picture for contributors, written by `make tables`.

use super::graph::{Uses, reach};
use super::map::{AGAINST, LAYERS};
use super::marks;
use super::modules::{Crate, Name};

/// Mermaid's text: an arrow from a module to one that uses it, unless a longer way says so already.
fn picture(uses: &Uses) -> String {
    let mut picture = "flowchart TD\n".to_owned();
    for (number, layer) in LAYERS.iter().skip(1).enumerate() {
        picture += &format!(
            "    subgraph layer{number} [\"{}\"]\n        {}\n    end\n",
            layer.title,
            layer.modules.join("\n        "),
        );
    }
    for (module, direct) in uses {
        for source in direct {
            let mut others = direct.iter().filter(|other| *other != source);
            if !others.any(|other| reach(uses, other).contains(source)) {
                picture += &format!("    {source} --> {module}\n");
            }
        }
    }
    picture
}

#[test]
fn contributors_find_the_map_as_a_picture() {
    let ours = Crate::read();
    let vocabulary = LAYERS[0].modules;
    let mut uses = ours.siblings(&Name::new());
    uses.retain(|name, _| !vocabulary.contains(name));
    for (name, others) in &mut uses {
        others.retain(|other| !vocabulary.contains(other) && !AGAINST.contains(&(name, other)));
    }
    let undrawn: Vec<String> = vocabulary.iter().map(|name| format!("`{name}`")).collect();
    marks::holds(
        "CONTRIBUTING.md",
        "<!-- picture -->\n",
        "<!-- /picture -->",
        &format!(
            "\n```mermaid\n{}```\n\nEverything uses {}; those arrows are not drawn.\n",
            picture(&uses),
            undrawn.join(", ")
        ),
    );
}
