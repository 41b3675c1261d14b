//! A run that is stopped while it waits for Amazon: it ends in time and leaves nothing.

use std::path::PathBuf;
use std::time::Duration;

use aws_stand_in::{Account, Answer, Fault, On, Resource};

use crate::cancel::{IN_TIME, Work};
use crate::rig::busybox;
use crate::runner::{Runner, docker};

/// What Amazon is asked for and does not answer, or answers badly.
struct Wait {
    name: &'static str,
    on: fn() -> On,
    /// Whether the repository is there.
    exists: bool,
    inputs: &'static [(&'static str, &'static str)],
    /// A line of the log, and how long after it (milliseconds).
    line: &'static str,
    after: u64,
}

fn api(operation: &str) -> On {
    On::Api(operation.to_owned())
}

const WAITS: [Wait; 8] = [
    Wait {
        name: "whose registry it is",
        on: || api("GetAuthorizationToken"),
        exists: true,
        inputs: &[("repository", "team/app"), ("tags", "1")],
        line: "fast-ecr-push",
        after: 500,
    },
    Wait {
        name: "a token, while the builder boots",
        on: || api("GetAuthorizationToken"),
        exists: true,
        inputs: &[],
        line: "starting the builder",
        after: 300,
    },
    Wait {
        name: "what the repository is like, while the builder boots",
        on: || api("DescribeRepositories"),
        exists: true,
        inputs: &[],
        line: "starting the builder",
        after: 300,
    },
    Wait {
        name: "what the repository is like, when the builder is there",
        on: || api("DescribeRepositories"),
        exists: true,
        inputs: &[],
        line: "starting the builder",
        after: 3000,
    },
    Wait {
        name: "what the repository is like, on the Engine",
        on: || api("DescribeRepositories"),
        exists: true,
        inputs: &[("driver", "docker")],
        line: "::endgroup::",
        after: 300,
    },
    Wait {
        name: "the rights to push",
        on: || api("InitiateLayerUpload"),
        exists: true,
        inputs: &[],
        line: "starting the builder",
        after: 1500,
    },
    Wait {
        name: "a repository to be created",
        on: || api("CreateRepository"),
        exists: false,
        inputs: &[("create-repository", "true")],
        line: "starting the builder",
        after: 1500,
    },
    Wait {
        name: "its lifecycle policy",
        on: || api("PutLifecyclePolicy"),
        exists: false,
        inputs: &[("create-repository", "true")],
        line: "starting the builder",
        after: 1500,
    },
];

#[test]
fn a_run_that_waits_for_amazon_can_be_cancelled() {
    for wait in &WAITS {
        let (account, mut work) = (Account::new(), Work::new());
        if wait.exists {
            account.repository("team/app").create();
        }
        account.fault(Fault {
            on: (wait.on)(),
            repository: None,
            skip: 0,
            times: 99,
            answer: Answer::Hang,
        });
        work.runner = work.runner.with_keys_of(&account);
        let step = work
            .step("docker-container")
            .input("cache-to", "")
            .input("tags", &format!("{}/team/app:1", account.host()));
        let inputs = wait.inputs.iter();
        let (main, post) = inputs
            .fold(step, |step, (name, value)| step.input(name, value))
            .cancelled_at(wait.line, 1, Duration::from_millis(wait.after))
            .main_and_post();
        let name = wait.name;
        assert_eq!(main.code, Some(130), "{name}: {}", main.log());
        let took = main.cancelled.expect("a signal");
        assert!(took < IN_TIME, "{name}: {took:?}");
        work.has_left_nothing(name, &main, &post);
        assert!(
            !main.log.groups.contains(&"Build".to_owned()),
            "{name}: {}",
            main.log()
        );
    }
}

#[test]
fn a_run_that_waits_for_its_next_try_can_be_cancelled() {
    let (account, mut work) = (Account::new(), Work::new());
    account.repository("team/app").create();
    let broken = Answer::Error {
        status: 503,
        code: String::new(),
        message: String::new(),
    };
    account.registry_fault("PUT", Resource::Manifest, 99, broken);
    work.runner = work.runner.with_keys_of(&account).file(
        "Dockerfile",
        format!("FROM {}\nLABEL account={}\n", busybox(), account.number()),
    );
    let (main, post) = work
        .step("docker-container")
        .input("cache-to", "")
        .input("tags", &format!("{}/team/app:1", account.host()))
        .cancelled_at("the push is tried again in", 1, Duration::from_millis(500))
        .main_and_post();
    assert_eq!(main.code, Some(130), "{}", main.log());
    assert!(main.cancelled.unwrap() < IN_TIME, "{:?}", main.cancelled);
    assert_eq!(post.code, Some(0), "{}", post.log());
    assert_eq!(
        work.left(&main),
        Vec::<String>::new(),
        "{}\n{}",
        main.log(),
        post.log()
    );
    assert!(!main.log().contains("attempt 2"), "{}", main.log());
}

#[test]
fn a_run_that_waits_for_a_silent_address_can_be_cancelled() {
    // Takes a connection and says nothing.
    let silent = docker(&[
        "run",
        "--detach",
        "--rm",
        &busybox(),
        "nc",
        "-l",
        "-p",
        "80",
    ]);
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker(&["inspect", "--format", format, &silent]);
    let runner = Runner::new()
        .file("Dockerfile", "FROM scratch\n")
        .variable("AWS_ENDPOINT_URL_ECR", &format!("http://{address}"))
        .variable("AWS_REGION", "eu-west-1")
        .variable("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .variable(
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        );
    let (main, post) = runner
        .step()
        .input("context", ".")
        .input("repository", "team/app")
        .input("tags", "1")
        .cancelled_at("fast-ecr-push", 1, Duration::from_secs(1))
        .main_and_post();
    docker(&["rm", "--force", &silent]);
    assert_eq!(main.code, Some(130), "{}", main.log());
    assert!(main.cancelled.unwrap() < IN_TIME, "{:?}", main.cancelled);
    assert_eq!(post.code, Some(0), "{}", post.log());
    assert_eq!(runner.leftovers(), Vec::<PathBuf>::new());
    assert_eq!(runner.containers(), "");
}
