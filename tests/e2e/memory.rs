//! Too little memory, by a limit of the kernel's on the builder: for BuildKit itself, for a step, for the push engine's.

use std::time::{Duration, Instant};

use crate::builders::{container_action_with, is_gone};
use crate::registry::{get, manifest};
use crate::rig::{Action, busybox};
use crate::runner::Ended;

/// No run takes longer to say so. BuildKit boots for 15 s, again and again.
const LONGEST: Duration = Duration::from_secs(90);

fn action(name: &str, memory: &str, step: &str) -> Action {
    let dockerfile = format!("FROM {}\nRUN --network=none {step}\n", busybox());
    let options = format!("memory={memory}");
    container_action_with(&dockerfile, &format!("memory/{name}:1"), &options).input("cache", "none")
}

/// Runs it, looks at the only error, and that nothing stays behind.
fn ends_with(action: &Action, name: &str, code: i32, words: &[&str]) {
    let begun = Instant::now();
    let run = action.run();
    assert!(begun.elapsed() < LONGEST, "{name}: {}", run.log());
    assert_eq!(run.code, Some(code), "{name}: {}", run.log());
    let errors = run.annotations("error");
    assert_eq!(errors.len(), 1, "{name}: {}", run.log());
    for words in words {
        assert!(errors[0].message.contains(words), "{name}: {}", run.log());
    }
    leaves_nothing(&run, name);
}

fn leaves_nothing(run: &Ended, name: &str) {
    is_gone(run);
    let (status, _) = get(&format!("/v2/memory/{name}/manifests/1"));
    assert_eq!(status, 404, "{name}");
}

/// It ends while it boots; where it boots, with the first layer at the latest.
#[test]
fn too_little_memory_for_buildkit_is_an_error_with_a_remedy() {
    let cases = [
        ("8m", "could not start the builder"),
        ("48m", "the builder"),
    ];
    std::thread::scope(|scope| {
        for (memory, when) in cases {
            let words = [
                when,
                "BuildKit ran out of memory",
                "raise `driver-opts: memory=…`",
            ];
            let build = move || action(memory, memory, &format!("echo {memory}"));
            scope.spawn(move || ends_with(&build(), memory, 3, &words));
        }
    });
}

#[test]
fn a_step_that_needs_more_memory_than_the_builder_has_is_an_error_with_a_remedy() {
    let action = action("step", "256m", "tail -c 400m /dev/zero > /step");
    let words = ["exit code: 137", "probably out of memory", "`driver-opts`"];
    ends_with(&action, "step", 1, &words);
}

/// Half of what the image has, and less than the engine keeps in memory where there is no limit.
#[test]
fn the_engine_pushes_with_little_memory() {
    let step = "head -c 200000000 /dev/urandom > /engine";
    let run = action("engine", "104m", step).run().succeeded();
    assert!(
        run.values.outputs.contains_key("pushed-bytes"),
        "{}",
        run.log()
    );
    manifest("memory/engine", run.output("digest"));
    is_gone(&run);
}
