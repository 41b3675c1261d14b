//! Where the cache is kept, what buildx is told of it, and what is said when there is none.

use std::fs;

use crate::engine::Store;
use crate::ran::Ran;
use crate::runner::{Runner, fixture};

/// A real stream of a build whose caches could not be read.
fn unread(case: &str) -> String {
    let name = format!("cache/buildx-0.29.1-engine-28.5.2-cache-{case}.tsv");
    fs::read_to_string(fixture(&name)).expect(&name)
}

fn build(ran: &Ran) -> &str {
    ran.calls
        .iter()
        .find(|call| call.starts_with("build "))
        .unwrap()
}

fn variables(ran: &Ran) -> Vec<&str> {
    let lines = ran.build_environment.lines();
    let mut found: Vec<&str> = lines.filter(|line| line.starts_with("ACTIONS_")).collect();
    found.sort_unstable();
    found
}

/// One warning says that the cache could not be written, and so does the summary.
fn wrote_no_cache(ran: &Ran) {
    let [warning] = ran.annotations("warning")[..] else {
        panic!("{}", ran.log);
    };
    assert!(
        warning.contains("the cache could not be written"),
        "{warning}"
    );
    assert!(ran.summary.contains("not written after"), "{}", ran.summary);
}

#[test]
fn without_a_word_a_runner_has_its_cache_in_the_registry() {
    let ran = Runner::new().input("cache", "auto").run().exits(0);
    let name = "type=registry,ref=registry.test/team/app:buildcache";
    for words in [
        format!("--cache-from {name} "),
        format!(
            "--cache-to {name},mode=max,image-manifest=true,oci-mediatypes=true,compression=zstd,compression-level=1,ignore-error=true "
        ),
    ] {
        assert!(build(&ran).contains(&words), "{}", build(&ran));
    }
    ran.says("cache     registry (the builder's disk is new in every run)");
}

#[test]
fn githubs_cache_service_gets_the_runners_token_and_its_second_version() {
    let gha = || {
        Runner::new()
            .input("cache", "gha")
            .variable("ACTIONS_RUNTIME_TOKEN", "token-of-the-cache")
            .variable("ACTIONS_RESULTS_URL", "https://results.test/")
            .variable("ACTIONS_CACHE_URL", "https://cache.test/")
    };
    let ran = gha().run().exits(0);
    let flags = "--cache-from type=gha,scope=team/app --cache-to type=gha,mode=max,ignore-error=true,scope=team/app ";
    assert!(build(&ran).contains(flags), "{}", build(&ran));
    let given = [
        "ACTIONS_CACHE_URL=https://cache.test/",
        "ACTIONS_RESULTS_URL=https://results.test/",
        "ACTIONS_RUNTIME_TOKEN=token-of-the-cache",
    ];
    let second = ["ACTIONS_CACHE_SERVICE_V2=true"];
    assert_eq!(variables(&ran), [&second[..], &given].concat());
    assert!(
        !ran.calls
            .iter()
            .any(|call| call.contains("token-of-the-cache"))
    );

    let enterprise = gha()
        .variable("GITHUB_SERVER_URL", "https://ghe.test")
        .run()
        .exits(0);
    assert_eq!(variables(&enterprise), given);

    let raw = gha()
        .input("cache", "auto")
        .input("cache-to", "type=gha,mode=min")
        .run()
        .exits(0);
    assert!(variables(&raw).contains(&second[0]));
    assert!(
        build(&raw).contains("--cache-to type=gha,mode=min "),
        "{}",
        build(&raw)
    );

    let without = Runner::new().input("cache", "gha").run().exits(0);
    assert_eq!(variables(&without), [""; 0]);
    assert!(without.annotations("notice")[0].contains("needs GitHub's cache service"));
}

#[test]
fn caches_that_can_not_be_read_are_one_notice() {
    // As on the first run of a repository.
    let missing = Runner::new().stream(&unread("missing")).run().exits(0);
    missing.says("no cache was read; ");
    assert_eq!(missing.annotations("notice"), [""; 0]);
    assert_eq!(missing.annotations("warning"), [""; 0]);
    assert!(!missing.log.contains("failed: "), "{}", missing.log);

    let fallback = Runner::new().stream(&unread("fallback")).run().exits(0);
    assert_eq!(fallback.annotations("notice"), [""; 0]);
    fallback.says("`registry.test/timings/none:a` does not exist yet");

    let refused = Runner::new().stream(&unread("refused")).run().exits(0);
    let [notice] = refused.annotations("notice")[..] else {
        panic!("{}", refused.log);
    };
    assert!(notice.contains("no cache was read; "), "{notice}");
    wrote_no_cache(&refused);
}

#[test]
fn a_frozen_cache_is_told_before_anything_is_built() {
    let ran = Runner::bare()
        .variable("PATH", "/nowhere")
        .arguments(&[
            "plan",
            "--fact",
            "buildx=0.37.1",
            "--fact",
            "store=classic",
            "--fact",
            "immutable=registry.test/a!v*",
            "--tags",
            "registry.test/a:1",
        ])
        .run()
        .exits(0);
    let plan: serde_json::Value = serde_json::from_str(&ran.log).unwrap();
    assert!(plan["images"][0]["cache_to"].as_array().unwrap().is_empty());
    let warning = plan["warnings"][0].as_str().unwrap();
    assert!(warning.contains("could be written once only"), "{warning}");
}

/// BuildKit from 0.28 pushes and writes at the same time, and uploads a layer twice.
#[test]
fn a_builder_of_ours_writes_the_cache_once_the_image_is_pushed() {
    let container = || Runner::new().engine(Store::Classic).input("cache", "auto");
    let ran = container().run().exits(0);
    let builds = ran.calls.iter().filter(|call| call.starts_with("build "));
    let [first, second] = builds.collect::<Vec<_>>()[..] else {
        panic!("{:?}", ran.calls);
    };
    assert!(!first.contains("--cache-to"), "{first}");
    let name = "type=registry,ref=registry.test/team/app:buildcache";
    for words in [
        format!("--cache-from {name} "),
        format!("--cache-to {name},mode=max,"),
        " --output type=cacheonly --provenance false ".to_owned(),
    ] {
        assert!(second.contains(&words), "{words}: {second}");
    }
    for words in ["--tag", "--iidfile", "--metadata-file", "push=true"] {
        assert!(!second.contains(words), "{words}: {second}");
    }
    // The steps are those of the build.
    assert!(ran.outputs["cached-steps"] == "0", "{:?}", ran.outputs);

    let refused = container().second_stream(&unread("refused")).run().exits(0);
    wrote_no_cache(&refused);

    let broken = "0.0\tERROR: failed to solve: the connection was lost\n0.0\texit 1\n";
    let lost = container().second_stream(broken).run().exits(0);
    let [warning] = lost.annotations("warning")[..] else {
        panic!("{}", lost.log);
    };
    assert!(warning.contains("the connection was lost"), "{warning}");
}

#[test]
fn what_is_built_anew_writes_its_cache_at_once() {
    for (input, value) in [("no-cache", "true"), ("no-cache-filters", "build")] {
        let ran = Runner::new()
            .engine(Store::Classic)
            .input("cache", "auto")
            .input(input, value)
            .run()
            .exits(0);
        let verbs = ran.verbs();
        let builds = verbs.iter().filter(|verb| **verb == "build");
        assert_eq!(builds.count(), 1, "{verbs:?}");
        assert!(
            build(&ran).contains("--cache-to type=registry,"),
            "{}",
            build(&ran)
        );
    }
}
