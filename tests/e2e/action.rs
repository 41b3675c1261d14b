//! The built image, started as the runner starts it.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use crate::registry::manifest;
use crate::rig::{busybox, registry};
use crate::runner::{Runner, below};

/// From the start of the CLI to our first line. It takes 0.3 s on an idle machine; tests run beside others.
const FIRST_LINE: Duration = Duration::from_secs(5);

#[test]
fn a_step_pushes_to_a_registry_on_localhost_and_later_steps_read_its_outputs() {
    let runner = Runner::new().file("Dockerfile", format!("FROM {}\nCOPY . /app\n", busybox()));
    let tag = format!("{}/action/app:1", registry());
    let run = runner
        .step()
        .input("context", ".")
        .input("tags", &tag)
        .input("timings-file", "timings.json")
        .run()
        .succeeded();
    manifest("action/app", run.output("digest"));
    assert_eq!(run.output("tags"), tag);
    assert_eq!(
        run.output("image"),
        format!("{}/action/app@{}", registry(), run.output("digest"))
    );
    assert!(
        run.values.summary.starts_with("### Pushed "),
        "{}",
        run.values.summary
    );
    assert!(
        run.log.groups.contains(&"Build".to_owned()),
        "{:?}",
        run.log.groups
    );
    assert_eq!(run.log.annotations, [], "{}", run.log());
    assert!(
        run.log.masks.contains(&"token-of-the-job".to_owned()),
        "{:?}",
        run.log.masks
    );
    assert!(run.first_line.unwrap() < FIRST_LINE, "{:?}", run.first_line);
    assert_eq!(runner.leftovers(), Vec::<std::path::PathBuf>::new());
    assert_eq!(runner.containers(), "");
    for path in below(&runner.workspace()) {
        assert_eq!(path.metadata().unwrap().uid(), 1001, "{}", path.display());
    }
}
