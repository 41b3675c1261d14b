//! A run that is stopped while it waits for Amazon: it ends in time and leaves nothing.

use std::path::PathBuf;
use std::time::Duration;

use aws_stand_in::{Account, Answer, Fault, On, Resource};

use crate::cancel::{IN_TIME, Work};
use crate::rig::busybox;
use crate::runner::{Runner, docker};

#[test]
fn a_run_that_waits_for_amazon_can_be_cancelled() {
    for (driver, line) in [
        ("docker-container", "starting the builder"),
        ("docker", "::endgroup::"),
    ] {
        let (account, mut work) = (Account::new(), Work::new());
        account.repository("team/app").create();
        account.fault(Fault {
            on: On::Api("DescribeRepositories".to_owned()),
            repository: None,
            skip: 0,
            times: 99,
            answer: Answer::Hang,
        });
        work.runner = work.runner.with_keys_of(&account);
        let (main, post) = work
            .step(driver)
            .input("cache-to", "")
            .input("tags", &format!("{}/team/app:1", account.host()))
            .cancelled_at(line, 1, Duration::from_millis(300))
            .main_and_post();
        assert_eq!(main.code, Some(130), "{driver}: {}", main.log());
        let took = main.cancelled.expect("a signal");
        assert!(took < IN_TIME, "{driver}: {took:?}");
        work.has_left_nothing(driver, &main, &post);
        let built = main.log.groups.contains(&"Build".to_owned());
        assert!(!built, "{driver}: {}", main.log());
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
