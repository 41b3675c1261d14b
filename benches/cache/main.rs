//! What each cache costs and spares: `make bench`.
//!
//! Two images are built on a BuildKit whose disk is new in every run, and on one that keeps its disk:
//! first everything, then with other code, then with other dependencies. One is of the large example's
//! shape (`examples/large-python-image`: Python, dependencies, code), the other takes a program from
//! a stage that compiles it. Prints steps run, bytes moved (from the registry's access log) and
//! seconds as tables; exits with 1 when `auto` is beaten.
//!
//! What "beaten" means: a cache of all stages spares steps and has to be uploaded, so that there may
//! be no cache with the fewest steps and the fewest bytes. Steps go first, as they are a user's
//! minutes: `auto` runs as few as any cache does, after either change, and of those caches that run
//! as few none moves fewer bytes.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a benchmark starts processes, reads the rig's variables and prints"
)]

mod build;
#[path = "../../tests/e2e/traffic.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod traffic;

use std::process::ExitCode;

use build::{Bench, Cost};

/// Size of the dependencies (bytes). They don't compress.
const DEPENDENCIES: u32 = 60_000_000;

/// Size of the program that is made with them (bytes). It doesn't compress either.
const PROGRAM: u32 = 5_000_000;

/// Manifests and configurations of a cache (bytes): what one kind has more of them than another is
/// no matter.
const SLACK: u64 = 100_000;

/// A way to build: its name, the inputs, and whether the builder keeps its disk.
type Way = (&'static str, &'static [(&'static str, &'static str)], bool);

const WAYS: &[Way] = &[
    ("none", &[("cache", "none")], false),
    (
        "inline",
        &[("cache", "inline"), ("cache-ref", "CACHE")],
        false,
    ),
    (
        "registry, min",
        &[("cache", "registry"), ("cache-mode", "min")],
        false,
    ),
    (
        "registry, max",
        &[("cache", "registry"), ("cache-mode", "max")],
        false,
    ),
    ("**auto**", &[], false),
    ("own disk", &[("cache", "none")], true),
    ("own disk, **auto**", &[], true),
];

/// An image: its name in the heading, and its Dockerfile for a base and a mark of its own.
type Shape = (&'static str, fn(&str, &str) -> String);

const SHAPES: &[Shape] = &[
    ("one stage", one_stage),
    (
        "a stage that compiles, and one that copies from it",
        two_stages,
    ),
];

fn one_stage(base: &str, mark: &str) -> String {
    format!(
        "FROM {base}\nENV WAY={mark}\nWORKDIR /app\n{}\
         COPY --link app.py /app/\nUSER 65534\nCMD [\"python\", \"app.py\"]\n",
        dependencies()
    )
}

fn two_stages(base: &str, mark: &str) -> String {
    format!(
        "FROM {base} AS build\nENV WAY={mark}\nWORKDIR /app\n{}COPY app.py .\n\
         RUN head -c {PROGRAM} /dev/urandom > program && sha256sum packages app.py > objects\n\
         FROM {base}\nCOPY --link --from=build /app/program /app/program\nCMD [\"/app/program\"]\n",
        dependencies()
    )
}

fn dependencies() -> String {
    format!(
        "COPY requirements.txt .\n\
         RUN head -c {DEPENDENCIES} /dev/urandom > packages && cat requirements.txt >> packages\n"
    )
}

/// The first build's, that with other code, that with other dependencies.
type Costs = [Cost; 3];

fn main() -> ExitCode {
    let mut beaten = false;
    for (number, (shape, dockerfile)) in SHAPES.iter().enumerate() {
        println!("\n{shape}\n");
        println!(
            "| Cache | first build: steps | MB | s | code changed: steps | MB | s | dependencies changed: steps | MB | s |"
        );
        println!("| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
        let costs: Vec<Costs> = WAYS
            .iter()
            .enumerate()
            .map(|(index, way)| measure(&format!("cache-{number}-{index}"), *dockerfile, way))
            .collect();
        for keeps in [false, true] {
            let of = |auto: bool| {
                let ways = WAYS.iter().zip(&costs);
                let ways = ways.filter(|(way, _)| way.2 == keeps && way.0.contains("auto") == auto);
                ways.map(|(_, costs)| *costs).collect::<Vec<_>>()
            };
            let (autos, others) = (of(true), of(false));
            for auto in &autos {
                for words in is_beaten(auto, &others) {
                    eprintln!("{shape}, auto, {keeps}: {words}");
                    beaten = true;
                }
            }
        }
    }
    ExitCode::from(u8::from(beaten))
}

/// Builds one image in one way, and prints its row.
fn measure(mark: &str, dockerfile: fn(&str, &str) -> String, (name, inputs, keeps): &Way) -> Costs {
    let bench = Bench::new(mark, dockerfile, inputs, *keeps);
    let runs = [("one", "one"), ("two", "one"), ("two", "two")];
    let costs = runs.map(|(code, dependencies)| bench.run(code, dependencies));
    let cells = costs.map(|cost| {
        format!(
            "{} | {:.1} | {:.1}",
            cost.steps,
            cost.bytes as f64 / 1e6,
            cost.seconds
        )
    });
    println!("| {name} | {} |", cells.join(" | "));
    costs
}

/// Where other caches are better: in steps, else in bytes, those that run as few steps after every change.
fn is_beaten(auto: &Costs, others: &[Costs]) -> Vec<String> {
    let mut words = Vec::new();
    let changes = 1..auto.len();
    let fewest = |change: usize| {
        others
            .iter()
            .map(|costs| costs[change].steps)
            .min()
            .unwrap()
    };
    for change in changes.clone() {
        if auto[change].steps > fewest(change) {
            words.push(format!(
                "{:?}, but the best runs {}",
                auto[change],
                fewest(change)
            ));
        }
    }
    let equals = others.iter().filter(|costs| {
        changes
            .clone()
            .all(|change| costs[change].steps == fewest(change))
    });
    for other in equals {
        for change in changes.clone() {
            if auto[change].bytes > other[change].bytes + SLACK {
                words.push(format!("{:?}, but {:?}", auto[change], other[change]));
            }
        }
    }
    words
}
