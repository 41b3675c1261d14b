//! Every secret that a run is given or gets, and every place where it must not turn up: the log (but for
//! the line that hides it), summary, outputs, state, timings, the comment on a pull request, arguments, and
//! the environment of children, files that are left. In runs that go well, fail, are cancelled and are killed, and where a step prints it.
//! Each is looked for as it is, as URLs have it, and in base64. What a real builder keeps is in `tests/e2e/leaks.rs`.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine as _;
use rustix::process::Signal;

use crate::cancel::post_of;
use crate::ecr::{self, Ecr, HOST};
use crate::engine::Store;
use crate::github::{GitHub, comments};
use crate::ran::{Ran, values};
use crate::runner::{GITHUB_TOKEN, Runner, recorded};
use crate::sts::{self, BEARER, Sts};

/// All that is secret, by where it comes from.
const CANARIES: &[(&str, &str)] = &[
    ("github-token", GITHUB_TOKEN),
    ("secrets", "build-canary-0123456789"),
    ("secret-envs", "env-canary-0123456789"),
    ("secret-files", "file-canary-0123456789"),
    ("ssh", "ssh-canary-0123456789"),
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
    ("HTTPS_PROXY", "proxy-canary-0123456789"),
];

/// buildx finds these in its environment.
const FOR_BUILDX: &[&str] = &["secret-envs", "HTTPS_PROXY"];

/// A secret as it is, as URLs have it, and in base64 behind any text.
fn forms(secret: &str) -> Vec<String> {
    let url = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC);
    let mut forms = vec![secret.to_owned(), url.to_string()];
    for (before, skip) in [(0, 0), (1, 2), (2, 3)] {
        let text = [vec![b'.'; before], secret.as_bytes().to_vec()].concat();
        // The last characters may have bits of what follows.
        let whole = text.len() * 8 / 6;
        let encoded = base64::engine::general_purpose::STANDARD.encode(&text);
        forms.push(encoded.get(skip..whole).unwrap().to_owned());
    }
    forms
}

fn has(text: &str, secret: &str) -> bool {
    forms(secret).iter().any(|form| text.contains(form))
}

#[test]
fn a_secret_is_found_behind_any_text_in_any_form() {
    for before in ["", "a", "ab", "user:"] {
        let secret = "s+cret/0123456789";
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(format!("{before}{secret}more"));
        assert!(has(&encoded, secret), "{before}");
    }
    assert!(has("x=s%2Bcret%2F1&", "s+cret/1") && !has("secret", "s+cret/1"));
}

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
        .input("secret-envs", "b=SECRET_ENV")
        .variable("SECRET_ENV", canary("secret-envs"))
        .input("secret-files", "c=secret.txt")
        .file("workspace/secret.txt", canary("secret-files"))
        .input("ssh", "default=key.pem")
        .file("workspace/key.pem", canary("ssh"))
        .variable(
            "HTTPS_PROXY",
            format!("http://user:{}@127.0.0.1:1", canary("HTTPS_PROXY")),
        )
        .variable("NO_PROXY", "*")
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

/// A GitHub whose pull request has no comment yet.
fn github() -> GitHub {
    let list = "GET /issues/7/comments?per_page=100&page=1".to_owned();
    let made = "POST /issues/7/comments".to_owned();
    let answers = vec![(list, comments(&[])), (made, comments(&[(2, "")]))];
    GitHub::start(GITHUB_TOKEN, answers)
}

/// The same run on a pull request, which is commented on.
fn commenting(runner: Runner, github: &GitHub) -> Runner {
    runner
        .variable("GITHUB_API_URL", github.url())
        .variable("GITHUB_RUN_ID", "100")
        .variable("GITHUB_REF", "refs/pull/7/merge")
        .input("compare-with", "none")
        .input("comment", "true")
}

/// The comment that was written.
fn comment(github: &GitHub) -> String {
    let asked = github.asked();
    let written = asked.iter().find(|asked| asked.path.starts_with("POST "));
    written.unwrap_or_else(|| panic!("{asked:?}")).body.clone()
}

/// Looks everywhere.
fn search(name: &str, ran: &Ran, timings: &str, comment: &str) {
    for (origin, secret) in CANARIES {
        let shown: Vec<&str> = ran
            .everything
            .lines()
            .chain(timings.lines())
            .chain(comment.lines())
            .filter(|line| has(line, secret) && !line.starts_with("::add-mask::"))
            .collect();
        assert_eq!(shown, [""; 0], "{name}: {origin}");
        let mut environments = ran.environments.lines();
        let inherited = environments.find(|line| has(line, secret) && !FOR_BUILDX.contains(origin));
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
    "HTTPS_PROXY",
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
        let github = github();
        let running = commenting(full(&sts, &ecr, keys), &github)
            .input("driver", driver)
            .stream(&recorded(stream))
            .start();
        let path = running.runner.path("workspace/timings.json");
        let mut timings = String::new();
        let ran = running
            .finish_and(|| timings = fs::read_to_string(path).unwrap())
            .exits(code);
        assert!(!timings.is_empty());
        search(name, &ran, &timings, &comment(&github));
        // Keys given as inputs assume the role, and no token is asked for.
        let expected: BTreeSet<&str> = BY_TOKEN
            .iter()
            .filter(|origin| !keys || !origin.contains("OpenID"))
            .chain(BY_KEYS.iter().filter(|_| keys))
            .copied()
            .collect();
        assert_eq!(masked(&ran), expected, "{name}");
        // The account id is in every name: a masked output would vanish.
        assert!(!ran.log.contains("::add-mask::123456789012"), "{name}");
    }
}

#[test]
fn no_secret_turns_up_anywhere_when_a_run_is_cancelled() {
    let (sts, ecr) = services();
    let github = github();
    let mut running = commenting(full(&sts, &ecr, false), &github)
        .input("driver", "docker")
        .stream(&recorded("failing-run"))
        .buildx("build.hold", "")
        .start();
    running.wait_until_held();
    let children = descendants(running.pid());
    assert!(children.len() >= 2, "{children:?}");
    for child in &children {
        for file in ["environ", "cmdline"] {
            // Some live for a moment.
            let Ok(bytes) = fs::read(format!("/proc/{child}/{file}")) else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            for (origin, secret) in CANARIES {
                let is_inherited = file == "environ" && FOR_BUILDX.contains(origin);
                assert!(
                    !has(&text, secret) || is_inherited,
                    "{file} of {child}: {origin}"
                );
            }
        }
    }
    running.signal(Signal::INT);
    let path = running.runner.path("workspace/timings.json");
    let mut timings = String::new();
    let ran = running.finish_and(|| timings = fs::read_to_string(path).unwrap_or_default());
    // It writes no comment: there is no time for one.
    assert_eq!(github.paths(), [""; 0]);
    search("cancelled", &ran.exits(130), &timings, "");
}

/// As when the runner has no more patience, or the machine's memory ends.
#[test]
fn no_secret_is_left_when_a_run_is_killed_and_its_post_step_has_run() {
    let (sts, ecr) = services();
    let mut running = full(&sts, &ecr, false)
        .input("driver", "docker")
        .stream(&recorded("failing-run"))
        .buildx("build.hold", "")
        .start();
    running.wait_until_held();
    let runner = running.kill();
    let state = values(
        &fs::read_to_string(runner.path("temp/_runner_file_commands/github_state")).unwrap(),
    );
    let post = post_of(runner, &state);
    let (ran, runner) = post.start().finish_and_keep();
    search("killed", &ran.exits(0), "", "");
    let mut folders = ["temp", "home", "workspace"]
        .map(|name| runner.path(name))
        .to_vec();
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            for (origin, secret) in CANARIES {
                let is_given = path.ends_with("secret.txt") || path.ends_with("key.pem");
                assert!(
                    !has(&text, secret) || is_given,
                    "{}: {origin}",
                    path.display()
                );
            }
        }
    }
    assert!(files > 3);
}

/// A recorded build whose step has this name, says this, and fails with this error.
fn printing(name: &str, words: &str, error: &str) -> String {
    let said = base64::engine::general_purpose::STANDARD.encode(format!("{words}\n"));
    recorded("failing-run")
        .replace("RUN sleep 1; echo almost there; exit 3", name)
        .replace("/bin/sh -c sleep 1; echo almost there; exit 3", error)
        .replace("YWxtb3N0IHRoZXJlCg==", &said)
}

/// The runner hides in its log and in the summary what it was told to, and nowhere else.
#[test]
fn a_secret_that_a_step_prints_is_in_no_comment_and_no_timings() {
    let (sts, ecr) = services();
    let github = github();
    // With keys no token for OpenID Connect is asked for; and a kubeconfig that is not used is hidden as a whole.
    let given = || {
        let all = CANARIES.iter();
        // And of a key only BuildKit's helper sees the content.
        all.filter(|(origin, _)| {
            !origin.contains("OpenID") && !["kubeconfig", "ssh"].contains(origin)
        })
    };
    let secrets: Vec<&str> = given().map(|(_, secret)| *secret).collect();
    let all = secrets.join(" ");
    let name = format!("RUN curl -H {}", canary("secrets"));
    let stream = printing(&name, &format!("> Authorization: {all} and words"), &all);
    let running = commenting(full(&sts, &ecr, true), &github)
        .input("driver", "docker")
        .stream(&stream)
        .start();
    let path = running.runner.path("workspace/timings.json");
    let mut timings = String::new();
    let ran = running.finish_and(|| timings = fs::read_to_string(path).unwrap());
    let ran = ran.exits(1);
    let comment = comment(&github);
    assert!(comment.contains("RUN curl -H ***"), "{comment}");
    assert!(timings.contains("RUN curl -H ***"), "{timings}");
    // Of what a step prints nobody can tell which part is secret.
    assert!(!comment.contains("and words"), "{comment}");
    assert!(ran.summary.contains("and words"), "{}", ran.summary);
    for (origin, secret) in given() {
        for (place, text) in [
            ("comment", &comment),
            ("timings", &timings),
            ("output", &ran.outputs["timings"]),
        ] {
            assert!(!text.contains(secret), "{origin} in the {place}: {text}");
        }
    }
}

#[test]
fn values_of_variables_of_a_builder_are_shown_nowhere() {
    let canary = "builder-canary-0123456789";
    let github = github();
    let running = commenting(Runner::new(), &github)
        .engine(Store::Classic)
        .input("driver-opts", &format!("env.NPM_TOKEN={canary}"))
        .input("timings-file", "timings.json")
        .variable("RUNNER_DEBUG", "1")
        .buildx("create.exit", "1")
        .buildx(
            "create.stderr",
            &format!("ERROR: exec: NPM_TOKEN={canary}\n"),
        )
        .start();
    let path = running.runner.path("workspace/timings.json");
    let mut timings = String::new();
    let ran = running.finish_and(|| timings = fs::read_to_string(path).unwrap());
    let ran = ran.exits(3);
    ran.says("env.NPM_TOKEN=…");
    let comment = comment(&github);
    for (place, text) in [("comment", &comment), ("timings", &timings)] {
        assert!(!text.contains(canary), "{place}: {text}");
    }
    // What buildx says is the runner's to mask; what we say of the command is ours.
    let ours = ran.everything.lines();
    let ours: Vec<&str> = ours.filter(|line| line.contains("driver-opt ")).collect();
    let (calls, shown): (Vec<&str>, Vec<&str>) =
        ours.iter().partition(|line| line.starts_with("create "));
    assert!(calls.len() == 1 && !shown.is_empty(), "{ours:?}");
    for line in shown {
        let command = line.split("ERROR").next().unwrap();
        assert!(!command.contains(canary), "{line}");
    }
}

#[test]
fn values_of_build_arguments_are_shown_nowhere() {
    let canary = "argument-canary-0123456789";
    let github = github();
    let name = format!("RUN curl -u x:{canary} https://npm.example");
    let running = commenting(Runner::new(), &github)
        .input("build-args", &format!("TOKEN={canary}\nSITE\nSHORT=sleep"))
        .variable("SITE", "npm.example")
        .input("timings-file", "timings.json")
        .variable("RUNNER_DEBUG", "1")
        .stream(&printing(&name, &format!("+ curl -u x:{canary}"), &name))
        .start();
    let path = running.runner.path("workspace/timings.json");
    let mut timings = String::new();
    let ran = running.finish_and(|| timings = fs::read_to_string(path).unwrap());
    let ran = ran.exits(1);
    let shown = "RUN curl -u x:$TOKEN https://$SITE";
    ran.says(&format!("#4 [2/2] {shown}\n"))
        .says("--build-arg TOKEN=…");
    // What the step itself prints is the runner's to mask.
    let printed = format!("+ curl -u x:{canary}");
    let mut ours = ran.log.lines().filter(|line| !line.ends_with(&printed));
    assert_eq!(ours.find(|line| line.contains(canary)), None);
    let comment = comment(&github);
    for (place, text) in [
        ("summary", &ran.summary),
        ("comment", &comment),
        ("timings", &timings),
        ("output", &ran.outputs["timings"]),
    ] {
        assert!(text.contains(shown), "{place}: {text}");
        assert!(!text.contains(canary), "{place}: {text}");
    }
    let [annotation] = *ran.annotations("error") else {
        panic!("{}", ran.log);
    };
    assert!(!annotation.contains(canary), "{annotation}");
}

/// The location of an upload, as the distribution registry gives it, and a presigned request: whoever has them needs no login.
#[test]
fn rights_in_addresses_that_are_quoted_are_shown_nowhere() {
    let state = "AmTR7M0fmGrqTqDHoZvmWnaLzW5JR2NEzMDFkY2FuYXJ5";
    let github = github();
    let upload = format!(
        "Put https://r.example/v2/app/blobs/uploads/7?_state={state}&digest=sha256%3A12: EOF"
    );
    let signed = format!("https://b.example/x?X-Amz-Date=20260101T000000Z&X-Amz-Signature={state}");
    let running = commenting(Runner::new(), &github)
        .input("timings-file", "timings.json")
        .variable("RUNNER_DEBUG", "1")
        .stream(&printing("RUN upload", &signed, &upload))
        .start();
    let path = running.runner.path("workspace/timings.json");
    let mut timings = String::new();
    let ran = running.finish_and(|| timings = fs::read_to_string(path).unwrap());
    let ran = ran.exits(1);
    ran.says("/uploads/7?_state=***&digest=sha256%3A12: EOF")
        .says("X-Amz-Signature=***");
    let comment = comment(&github);
    for (place, text) in [
        ("log and summary", &ran.everything),
        ("comment", &comment),
        ("timings", &timings),
    ] {
        assert!(!text.contains(state), "{place}: {text}");
    }
    assert!(timings.contains("_state=***"), "{timings}");
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
