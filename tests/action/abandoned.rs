//! Builders of runs that were killed without a post step: the next run on the machine removes them.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::engine::Store;
use crate::ran::Ran;
use crate::runner::Runner;

const LOST: &str = "buildx_buildkit_fast-ecr-push-lost0";

/// A run that takes no time, on an Engine that has the builder of another from an hour ago.
fn run(engine: &[(&str, &str)]) -> Ran {
    let mut runner = Runner::new()
        .engine(Store::Classic)
        .buildx(&format!("volumes/{LOST}_state"), "");
    let container = runner.path("buildx/containers").join(LOST);
    fs::create_dir(container.parent().unwrap()).unwrap();
    let hour = Duration::from_secs(3600);
    let begin = SystemTime::now().checked_sub(hour).unwrap();
    File::create(container)
        .unwrap()
        .set_modified(begin)
        .unwrap();
    for (file, content) in engine {
        runner = runner.buildx(file, content);
    }
    runner.run().exits(0)
}

#[test]
fn the_next_run_removes_the_builder_however_short_it_is() {
    let troubles = [
        "",
        // The run is over before it holds its command.
        "refused\nrefused\nrefused\nrefused\n",
        // BuildKit ends the command that the run holds.
        "ends\n",
        "refused\nrefused\nends\nends\nends\n",
    ];
    thread::scope(|scope| {
        for commands in troubles {
            scope.spawn(move || {
                let ran = run(&[("engine.commands", commands)]);
                for file in [
                    format!("containers/{LOST}"),
                    format!("volumes/{LOST}_state"),
                ] {
                    let removed = &ran.removed;
                    assert!(removed.contains(&file), "{commands:?}: {removed:?}");
                }
                ran.says("removed the orphaned builder `fast-ecr-push-lost`");
            });
        }
    });
}

#[test]
fn an_engine_that_does_not_list_commands_loses_no_builder() {
    let ran = run(&[("engine.silent", "")]);
    let lost = ran.removed.iter().filter(|file| file.contains(LOST));
    assert_eq!(lost.count(), 0, "{:?}", ran.removed);
}
