//! Ten changes in a row to an image of Python packages: what the push engine sends, and what BuildKit sends.

use std::collections::BTreeSet;

use super::{Image, PLAIN};
use crate::registry::manifest;
use crate::rig::{Action, registry};
use crate::runner::Ended;

/// One state of the image.
struct Change {
    what: &'static str,
    base: &'static str,
    packages: &'static str,
    code: &'static str,
    /// A new value installs all packages again.
    installed: u32,
    /// The most that the engine may send, of what BuildKit sends (percent). None where most of it is new to both.
    most: Option<f64>,
}

const PACKAGES: &str = "numpy==1.26.4 pandas==2.2.3 scipy==1.13.1 requests==2.32.3 six==1.16.0";

const FIRST: Change = Change {
    what: "first push",
    base: "rig/python:3.11",
    packages: PACKAGES,
    code: "print(1)\n",
    installed: 1,
    most: None,
};

const CHANGES: [Change; 10] = [
    FIRST,
    Change {
        what: "nothing",
        ..FIRST
    },
    Change {
        what: "the same packages, installed again",
        installed: 2,
        most: Some(1.0),
        ..FIRST
    },
    Change {
        what: "a small package upgraded",
        packages: "numpy==1.26.4 pandas==2.2.3 scipy==1.13.1 requests==2.32.3 six==1.17.0",
        most: Some(60.0),
        ..FIRST
    },
    Change {
        what: "a package added",
        packages: "numpy==1.26.4 pandas==2.2.3 scipy==1.13.1 requests==2.32.3 six==1.17.0 attrs==24.2.0",
        most: Some(60.0),
        ..FIRST
    },
    Change {
        what: "that package removed",
        packages: "numpy==1.26.4 pandas==2.2.3 scipy==1.13.1 requests==2.32.3 six==1.17.0",
        installed: 3,
        most: Some(60.0),
        ..FIRST
    },
    Change {
        what: "a large package upgraded",
        packages: "numpy==1.26.4 pandas==2.2.2 scipy==1.13.1 requests==2.32.3 six==1.17.0",
        most: Some(80.0),
        ..FIRST
    },
    Change {
        what: "code changed",
        packages: "numpy==1.26.4 pandas==2.2.2 scipy==1.13.1 requests==2.32.3 six==1.17.0",
        code: "print(2)\n",
        ..FIRST
    },
    Change {
        what: "a new base image",
        base: "trees/base:2",
        packages: "numpy==1.26.4 pandas==2.2.2 scipy==1.13.1 requests==2.32.3 six==1.17.0",
        code: "print(2)\n",
        most: Some(1.0),
        ..FIRST
    },
    Change {
        what: "back to the first state",
        installed: 4,
        most: Some(1.0),
        ..FIRST
    },
];

fn pushed(change: &Change, tag: &str, inputs: &[(&str, &str)]) -> Ended {
    let dockerfile = format!(
        "FROM {}/{}\nARG INSTALLED\nRUN --network=host echo $INSTALLED && pip install --no-cache-dir --root-user-action=ignore {}\n\
         COPY main.py /app/\n",
        registry(),
        change.base,
        change.packages
    );
    let mut action = Action::new(&dockerfile)
        .file("main.py", change.code)
        .input("build-args", &format!("INSTALLED={}", change.installed))
        .input("allow", "network.host")
        .input("cache", "none")
        .input("tags", &format!("{}/trees/{tag}", registry()));
    for (name, value) in inputs {
        action = action.input(name, value);
    }
    action.run().succeeded()
}

/// Layers, with their sizes.
fn layers(repository: &str, tag: &str) -> BTreeSet<(String, u64)> {
    let manifest = manifest(&format!("trees/{repository}"), tag);
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            (
                layer["digest"].as_str().unwrap().to_owned(),
                layer["size"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
#[ignore = "takes minutes; `make trees` runs it"]
fn ten_changes_in_a_row_move_what_changed() {
    let base = format!(
        "{}RUN --network=none echo 2 > /etc/base\n",
        Image { ..PLAIN }.from()
    );
    Action::new(&base)
        .input("cache", "none")
        .input("tags", &format!("{}/trees/base:2", registry()))
        .run()
        .succeeded();
    println!("| Change | engine | | BuildKit, gzip | |\n| :-- | --: | --: | --: | --: |");
    let mut sent = BTreeSet::new();
    for (number, change) in CHANGES.iter().enumerate() {
        let tag = number.to_string();
        let ours = pushed(change, "ours:latest", &[("accelerate", "on")]);
        let plain = [("accelerate", "off"), ("compression", "gzip")];
        let theirs = pushed(change, &format!("theirs:{tag}"), &plain);
        let now = layers("theirs", &tag);
        let bytes: u64 = now.difference(&sent).map(|(_, size)| size).sum();
        sent.extend(now);
        let phases = ["export-seconds", "push-seconds"].map(|phase| {
            let text = theirs.values.outputs.get(phase);
            text.map_or(0.0, |text| text.parse::<f64>().unwrap())
        });
        let log = ours.log();
        let (_, time) = log.split_once(" layers in ").unwrap();
        let (time, _) = time.split_once(':').unwrap();
        let moved = ours.number("pushed-bytes");
        println!(
            "| {} | {:.2} MB | {time} | {:.2} MB | {:.1} s |",
            change.what,
            moved / 1e6,
            bytes as f64 / 1e6,
            phases.iter().sum::<f64>()
        );
        if let Some(most) = change.most {
            assert!(
                moved * 100.0 <= most * bytes as f64,
                "{}: {moved} of {bytes}",
                change.what
            );
        }
    }
}
