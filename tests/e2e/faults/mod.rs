//! The fault matrix: every request of a run, and what can go wrong with it. Each cell is a run of the action on the rig.
//!
//! `make faults` runs all of it and compares the result with the tables of docs/faults.md; `make faults WRITE_TABLES=1` writes them.

mod cell;
mod requests;
mod table;

use std::sync::Mutex;

use cell::{Cell, Unbroken, Verdict};
use requests::{Lasting, Pusher, Trouble, requests};

use crate::marks::holds;
use crate::rig::{Action, busybox};

/// Runs at a time. They wait more than they compute.
const AT_A_TIME: usize = 6;

/// Runs cells, several at a time; their results in order.
fn run(cells: &[Cell]) -> Vec<cell::Result> {
    let unbroken = Unbroken::push();
    let queue = Mutex::new(cells.iter().enumerate());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((index, cell)) = next else {
                        return;
                    };
                    let result = cell.run(&unbroken);
                    let seconds = result.took.as_secs_f64();
                    println!("{}: {:?} in {seconds:.1} s", cell.name(), result.verdict);
                    done.lock().unwrap().push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn cells(pusher: Pusher, lasting: Lasting) -> Vec<Cell> {
    let rows = requests(pusher).iter();
    rows.flat_map(|request| {
        lasting.troubles().iter().map(move |trouble| Cell {
            pusher,
            request,
            trouble: *trouble,
            lasting,
        })
    })
    .collect()
}

/// `.invalid` names no host (<https://www.rfc-editor.org/rfc/rfc6761#section-6.4>).
#[test]
#[ignore = "takes two minutes without a name server: `make faults`"]
fn a_name_that_is_not_found_ends_the_run_with_a_remedy() {
    let of_base = Action::new("FROM registry.invalid/base:1\n").input("push", "false");
    let of_image = Action::new(&format!("FROM {}\n", busybox()))
        .input("tags", "registry.invalid/faults/name:1");
    for (name, action) in [("base image", of_base), ("image", of_image)] {
        let run = action.input("cache", "none").input("retries", "0").run();
        assert_eq!(run.code, Some(1), "{name}: {}", run.log());
        let errors = run.annotations("error");
        assert_eq!(errors.len(), 1, "{name}: {}", run.log());
        let message = &errors[0].message;
        // Without a network, the name server is not there either.
        let causes = ["no such host", "server misbehaving", "i/o timeout"];
        let has_cause = causes.iter().any(|cause| message.contains(cause));
        assert!(has_cause && message.contains("hint: "), "{name}: {message}");
    }
}

/// One table. `CELLS` has words that the names of its cells must have, or with `!` must not, between `+`; the table stays as it is then.
fn matrix(pusher: Pusher, lasting: Lasting, mark: &str) {
    let mut cells = cells(pusher, lasting);
    let words = std::env::var("CELLS").ok();
    if let Some(words) = &words {
        cells.retain(|cell| {
            let name = cell.name();
            words.split('+').all(|word| match word.strip_prefix('!') {
                Some(word) => !name.contains(word),
                None => name.contains(word),
            })
        });
    }
    let results = run(&cells);
    let table = table::render(requests(pusher), lasting.troubles(), &cells, &results);
    println!("{table}");
    let is_wrong = |result: &&cell::Result| matches!(result.verdict, Verdict::Wrong(_));
    assert_eq!(results.iter().filter(is_wrong).count(), 0);
    if words.is_none() {
        let (after, before) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
        holds("docs/faults.md", &after, &before, &table);
    }
}

/// Of all cells those in which most has to go right.
#[test]
fn the_most_telling_cells_end_as_they_should() {
    use Lasting::{Always, Once};
    use Pusher::{BuildKit, Engine};
    let expected = [
        (
            Engine,
            "`PATCH` layer",
            Trouble::ResetDuring,
            Once,
            "Recovered",
        ),
        (
            Engine,
            "`PUT` blob",
            Trouble::OtherDigest,
            Once,
            "Recovered",
        ),
        (Engine, "`PUT` tag", Trouble::ResetAfter, Once, "Recovered"),
        (
            Engine,
            "`PUT` manifest",
            Trouble::Denied,
            Always,
            "PlainPush",
        ),
        (
            BuildKit,
            "base image: token",
            Trouble::Status(503),
            Once,
            "Recovered",
        ),
        (BuildKit, "`PUT` blob", Trouble::Redirect, Once, "Recovered"),
        (
            BuildKit,
            "`PUT` manifest",
            Trouble::Silence,
            Always,
            "Error",
        ),
        (
            BuildKit,
            "`HEAD` blob",
            Trouble::OtherDigest,
            Always,
            "Error",
        ),
    ];
    let cells = expected.map(|(pusher, name, trouble, lasting, _)| {
        let mut rows = requests(pusher).iter();
        let request = rows.find(|request| request.name == name).unwrap();
        Cell {
            pusher,
            request,
            trouble,
            lasting,
        }
    });
    let results = run(&cells);
    for (result, (_, name, trouble, _, expected)) in results.iter().zip(expected) {
        let verdict = format!("{:?}", result.verdict);
        assert!(
            verdict.starts_with(expected),
            "{name}, {trouble:?}: {verdict}"
        );
    }
}

#[test]
#[ignore = "takes minutes: `make faults`"]
fn the_engine_pushes_and_one_request_is_broken() {
    matrix(Pusher::Engine, Lasting::Once, "engine-once");
}

#[test]
#[ignore = "takes minutes: `make faults`"]
fn the_engine_pushes_and_each_such_request_is_broken() {
    matrix(Pusher::Engine, Lasting::Always, "engine-always");
}

#[test]
#[ignore = "takes minutes: `make faults`"]
fn buildkit_pushes_and_one_request_is_broken() {
    matrix(Pusher::BuildKit, Lasting::Once, "buildkit-once");
}

#[test]
#[ignore = "takes minutes: `make faults`"]
fn buildkit_pushes_and_each_such_request_is_broken() {
    matrix(Pusher::BuildKit, Lasting::Always, "buildkit-always");
}
