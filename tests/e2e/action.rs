//! The built image, started as the runner starts it.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use crate::registry::manifest;
use crate::rig::{busybox, registry};
use crate::runner::{Runner, below, docker};

/// From the start of the CLI to our first line. It takes 0.3 s on an idle machine; tests run beside others.
const FIRST_LINE: Duration = Duration::from_secs(5);

#[test]
fn a_step_pushes_to_a_registry_on_localhost_and_later_steps_read_its_outputs() {
    // As in a job with services, whose registry's port is on the host's loopback; and after a checkout.
    let network = format!("e2e-job-{}", std::process::id());
    docker(&["network", "create", &network]);
    let runner = Runner::new()
        .network(&network)
        .file(".git/HEAD", "ref: refs/heads/main\n")
        .file("Dockerfile", format!("FROM {}\nCOPY . /app\n", busybox()));
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
    docker(&["network", "rm", &network]);
    for path in below(&runner.workspace()) {
        assert_eq!(path.metadata().unwrap().uid(), 1001, "{}", path.display());
    }
}

#[test]
fn a_push_from_a_fork_that_can_not_be_authorised_says_so_in_words() {
    let payload = r#"{"pull_request":{"head":{"repo":{"full_name":"eve/app"}}}}"#;
    let runner = Runner::new()
        .file("Dockerfile", "FROM scratch\nCOPY . .\n")
        .event("pull_request", payload)
        .variable("AWS_EC2_METADATA_DISABLED", "true");
    let run = runner
        .step()
        .input("context", ".")
        .input(
            "tags",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1",
        )
        .run();
    assert_eq!(run.code, Some(3), "{}", run.log());
    let [error] = run.log.annotations.as_slice() else {
        panic!("{}", run.log());
    };
    for words in [
        "could not get an ECR token",
        "comes from the fork `eve/app`",
        "build without pushing",
    ] {
        assert!(error.message.contains(words), "{}", error.message);
    }
    assert!(
        !error.message.contains("configure-aws-credentials"),
        "{}",
        error.message
    );
    assert!(
        run.values.summary.contains("comes from the fork"),
        "{}",
        run.values.summary
    );
}

#[test]
fn certificates_that_only_the_runner_has_are_named() {
    let runner = Runner::new()
        .file("Dockerfile", "FROM scratch\n")
        .variable("SSL_CERT_FILE", "/etc/ssl/company.pem");
    let run = runner
        .step()
        .input("context", ".")
        .input("push", "false")
        .run();
    assert_eq!(run.code, Some(2), "{}", run.log());
    let message = &run.log.annotations[0].message;
    assert!(
        message.contains("variable `SSL_CERT_FILE`: `/etc/ssl/company.pem` given"),
        "{message}"
    );
}
