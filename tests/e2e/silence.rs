//! A registry that accepts a request and never answers, before real BuildKit.

use std::thread;
use std::time::{Duration, Instant};

use aws_stand_in::{Account, Answer, Fault, On, Resource};

use crate::ecr::run_with;
use crate::runner::{Ended, Runner};

/// Leaves requests about a repository without an answer.
fn hang(account: &Account, method: &str, resource: Resource, repository: &str) {
    account.fault(Fault {
        on: On::Registry(method.to_owned(), resource),
        repository: Some(repository.to_owned()),
        skip: 0,
        times: 99,
        answer: Answer::Hang,
    });
}

fn run(account: &Account, inputs: &[(&str, &str)]) -> Ended {
    let instruction = format!("RUN sleep 8 && echo {} > /x", account.number());
    let inputs = [inputs, &[("silence-timeout", "4")]].concat();
    run_with(account, &instruction, &inputs)
}

#[test]
fn a_registry_that_never_answers_ends_the_run() {
    let cases = [
        ("HEAD", Resource::Blob, "pushing layers"),
        ("PUT", Resource::Upload, "pushing layers"),
        ("PUT", Resource::Manifest, "pushing manifest for "),
    ];
    // Each waits for most of its time.
    thread::scope(|scope| {
        for (name, resource, at) in cases {
            scope.spawn(move || never_answers(name, resource, at));
        }
    });
}

fn never_answers(name: &str, resource: Resource, at: &str) {
    let account = Account::new();
    account.repository("team/app").create();
    hang(&account, name, resource, "team/app");
    let begun = Instant::now();
    let run = run(&account, &[("cache", "none")]);
    let took = begun.elapsed();
    assert_eq!(run.code, Some(1), "{name}: {}", run.log());
    for words in [
        "a registry accepted a request and has been silent for 4 s: ",
        at,
        "hint: the connection is open, but no answer comes",
    ] {
        assert!(
            run.log().contains(words),
            "{name}: no `{words}`: {}",
            run.log()
        );
    }
    // The step before was silent for longer, and done.
    assert!(took > Duration::from_secs(8 + 4), "{name}: {took:?}");
    assert!(took < Duration::from_secs(60), "{name}: {took:?}");
}

#[test]
fn a_base_image_whose_registry_never_answers_ends_the_run() {
    let account = Account::new();
    account.repository("team/app").create();
    hang(&account, "HEAD", Resource::Manifest, "team/app");
    let dockerfile = format!("FROM {}/team/app:base\n", account.host());
    let runner = Runner::new()
        .with_keys_of(&account)
        .file("Dockerfile", dockerfile);
    let run = runner
        .step()
        .input("context", ".")
        .input("push", "false")
        .input("cache", "none")
        .input("registries", account.number())
        .input("aws-region", "eu-west-1")
        .input("silence-timeout", "4")
        .run();
    assert_eq!(run.code, Some(1), "{}", run.log());
    for words in ["silent for 4 s: ", "load metadata for "] {
        assert!(run.log().contains(words), "no `{words}`: {}", run.log());
    }
}

/// The image is there; its cache is worth a warning.
#[test]
fn a_cache_that_is_never_taken_ends_nothing() {
    let account = Account::new();
    account.repository("team/app").create();
    account.repository("team/cache").create();
    hang(&account, "PUT", Resource::Manifest, "team/cache");
    let cache = format!("{}/team/cache", account.host());
    let run = run(&account, &[("cache", "registry"), ("cache-ref", &cache)]);
    assert_eq!(run.code, Some(0), "{}", run.log());
    assert!(run.log().contains("silent for 4 s"), "{}", run.log());
    assert!(run.output("digest").starts_with("sha256:"));
}
