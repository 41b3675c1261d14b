//! Every secret that a run is given or gets, and every place where it must not turn up: the log (but for
//! the line that hides it), summary, outputs, state, timings, arguments, and the environment of children.
//! In runs that go well, fail and are cancelled.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;

use crate::ecr::{self, Ecr, HOST};
use crate::ran::Ran;
use crate::runner::{GITHUB_TOKEN, Runner, recorded};
use crate::sts::{self, BEARER, Sts};

/// All that is secret, by where it comes from.
const CANARIES: &[(&str, &str)] = &[
    ("github-token", GITHUB_TOKEN),
    ("secrets", "build-canary-0123456789"),
    ("registry-auth", "auth-canary-0123456789"),
    ("kubeconfig", "kube-canary-0123456789"),
    ("aws-access-key-id", "AKIACANARYINPUT"),
    ("aws-secret-access-key", "input-canary-secret"),
    ("aws-session-token", "input-canary-token"),
    ("AWS_ACCESS_KEY_ID", "AKIACANARYENVIRONMENT"),
    ("AWS_SECRET_ACCESS_KEY", "environment-canary-secret"),
    ("AWS_SESSION_TOKEN", "environment-canary-token"),
    ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", BEARER),
    ("ACTIONS_RUNTIME_TOKEN", "runtime-canary-0123456789"),
    ("the token for OpenID Connect", sts::SIGNATURE),
    ("the session's key", sts::KEY),
    ("the session's secret", sts::SECRET),
    ("the session's token", sts::TOKEN),
    ("ECR's token", "ecr-canary-password-0123456789"),
];

fn canary(name: &str) -> &'static str {
    CANARIES.iter().find(|(other, _)| *other == name).unwrap().1
}

/// A run with as many secrets as one can have, which speaks as much as it can.
fn full(sts: &Sts, ecr: &Ecr, keys: bool) -> Runner {
    let kubeconfig = format!(
        "{{clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:9'}}}}], current-context: x, \
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{token: {}}}}}]}}",
        canary("kubeconfig")
    );
    let auth = format!(
        "- {{registry: ghcr.io, username: octo, password: {}}}",
        canary("registry-auth")
    );
    let mut runner = sts
        .serve(ecr.serve(Runner::new()))
        .variable("RUNNER_DEBUG", "1")
        .input("context", "")
        .input("tags", &format!("{HOST}/team/app:1"))
        .input("secrets", &format!("a={}", canary("secrets")))
        .input("provenance", "mode=max")
        .input("registry-auth", &auth)
        .input("kubeconfig", &kubeconfig)
        .input("timings-file", "timings.json")
        .buildx("login", &format!("{HOST}\nghcr.io"));
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
    ] {
        runner = runner.variable(name, canary(name));
    }
    if keys {
        for name in [
            "aws-access-key-id",
            "aws-secret-access-key",
            "aws-session-token",
        ] {
            runner = runner.input(name, canary(name));
        }
    }
    runner
}

fn services() -> (Sts, Ecr) {
    let password = canary("ECR's token");
    (
        Sts::answering(&[sts::Answer::Keys(60)]),
        Ecr::answering(&[ecr::Answer::Token(password, 720)]),
    )
}

/// Looks everywhere.
fn search(name: &str, ran: &Ran, timings: &str) {
    for (origin, secret) in CANARIES {
        let shown: Vec<&str> = ran
            .everything
            .lines()
            .chain(timings.lines())
            .filter(|line| line.contains(secret) && !line.starts_with("::add-mask::"))
            .collect();
        assert_eq!(shown, [""; 0], "{name}: {origin}");
        let inherited = ran.environments.lines().find(|line| line.contains(secret));
        assert_eq!(inherited, None, "{name}: {origin}");
    }
}

fn masked(ran: &Ran) -> BTreeSet<&'static str> {
    let masks: Vec<&str> = ran
        .log
        .lines()
        .filter_map(|line| line.strip_prefix("::add-mask::"))
        .collect();
    CANARIES
        .iter()
        .filter(|(_, secret)| masks.iter().any(|mask| mask.contains(secret)))
        .map(|(origin, _)| *origin)
        .collect()
}

/// Inputs, and what AWS and GitHub give. Variables of the runner's are masked by itself.
const BY_TOKEN: &[&str] = &[
    "github-token",
    "secrets",
    "registry-auth",
    "kubeconfig",
    "the token for OpenID Connect",
    "the session's key",
    "the session's secret",
    "the session's token",
    "ECR's token",
];
const BY_KEYS: &[&str] = &[
    "aws-access-key-id",
    "aws-secret-access-key",
    "aws-session-token",
];

#[test]
fn no_secret_turns_up_anywhere_when_a_run_goes_well_or_fails() {
    for (name, keys, driver, stream, code) in [
        ("a build", false, "docker", "cold-push", 0),
        ("a build with keys", true, "docker", "cold-push", 0),
        ("a failing build", false, "docker", "failing-run", 1),
        (
            "a registry that refuses",
            true,
            "docker",
            "push-forbidden",
            1,
        ),
        (
            "a cluster that is away",
            false,
            "kubernetes",
            "cold-push",
            3,
        ),
    ] {
        let (sts, ecr) = services();
        let running = full(&sts, &ecr, keys)
            .input("driver", driver)
            .stream(&recorded(stream))
            .start();
        let path = running.runner.path("workspace/timings.json");
        let mut timings = String::new();
        let ran = running
            .finish_and(|| timings = fs::read_to_string(path).unwrap())
            .exits(code);
        assert!(!timings.is_empty());
        search(name, &ran, &timings);
        // Keys given as inputs assume the role, and no token is asked for.
        let expected: BTreeSet<&str> = BY_TOKEN
            .iter()
            .filter(|origin| !keys || !origin.contains("OpenID"))
            .chain(BY_KEYS.iter().filter(|_| keys))
            .copied()
            .collect();
        assert_eq!(masked(&ran), expected, "{name}");
    }
}

#[test]
fn no_secret_turns_up_anywhere_when_a_run_is_cancelled() {
    let (sts, ecr) = services();
    let mut running = full(&sts, &ecr, false)
        .input("driver", "docker")
        .stream(&recorded("failing-run"))
        .buildx("build.hold", "")
        .start();
    running.wait_until_held();
    let children = descendants(running.pid());
    assert!(children.len() >= 2, "{children:?}");
    for child in &children {
        for file in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{child}/{file}")).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            for (origin, secret) in CANARIES {
                assert!(!text.contains(secret), "{file} of {child}: {origin}");
            }
        }
    }
    running.signal(Signal::INT);
    let path = running.runner.path("workspace/timings.json");
    let mut timings = String::new();
    let ran = running.finish_and(|| timings = fs::read_to_string(path).unwrap_or_default());
    search("cancelled", &ran.exits(130), &timings);
}

/// The processes that a process has started, and those that they have started.
fn descendants(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Ok(id) = name.to_string_lossy().parse::<u32>() else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let rest = stat.rsplit(") ").next().unwrap();
        if let Some(Ok(parent)) = rest.split(' ').nth(1).map(str::parse::<u32>) {
            parents.push((id, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = parents.iter().filter(|(_, other)| *other == parent);
        found.extend(children.map(|(id, _)| *id));
        next += 1;
    }
    found.remove(0);
    found
}
