//! Earlier runs and the pull request's comment, asked of a GitHub on loopback.

use std::io::{Cursor, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::github::{
    Answer, GitHub, artifact, comments, job, jobs, no_artifacts, repository, runs, store, this_run,
};
use crate::ran::Ran;
use crate::runner::{GITHUB_TOKEN, Runner, recorded};

/// Name of the artifact that is looked for by default.
const NAME: &str = "fast-ecr-push-timings";

/// The jobs of this run.
const OURS: &str = "GET /actions/runs/100/attempts/1/jobs?per_page=100&page=1";

const COMMENTS: &str = "GET /issues/7/comments?per_page=100&page=1";

/// A step of run 100 that asks this GitHub.
fn step(github: &GitHub) -> Runner {
    Runner::new()
        .variable("GITHUB_API_URL", github.url())
        .variable("GITHUB_RUN_ID", "100")
        .variable("GITHUB_JOB", "build")
        .variable("RUNNER_NAME", "r1")
}

fn pull_request(github: &GitHub) -> Runner {
    step(github)
        .variable("GITHUB_REF", "refs/pull/7/merge")
        .input("compare-with", "none")
        .input("comment", "true")
}

fn github(answers: Vec<(String, Answer)>) -> GitHub {
    GitHub::start(GITHUB_TOKEN, answers)
}

fn refusing(path: &str, answer: Answer) -> GitHub {
    github(vec![(path.to_owned(), answer)])
}

/// What GitHub has of earlier runs, without their artifacts.
fn earlier(ids: &[u64]) -> Vec<(String, Answer)> {
    let list = "GET /actions/workflows/9/runs?branch=trunk&status=success&per_page=100&page=1";
    vec![
        ("GET ".to_owned(), repository()),
        ("GET /actions/runs/100".to_owned(), this_run()),
        (list.to_owned(), runs(ids)),
    ]
}

fn artifacts_of(run: u64) -> String {
    format!("GET /actions/runs/{run}/artifacts?name={NAME}&per_page=100&page=1")
}

/// The file that actions/upload-artifact makes of a timings file.
fn zipped(timings: &str) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file("timings.json", SimpleFileOptions::default())
        .unwrap();
    writer.write_all(timings.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}

/// What a run of ours wrote, had it taken so long.
fn timings(ran: &Ran, seconds: u64) -> String {
    let mut timings: serde_json::Value = serde_json::from_str(&ran.outputs["timings"]).unwrap();
    timings["images"][0]["total_ms"] = (seconds * 1_000).into();
    timings.to_string()
}

/// The summary's line of facts, with its times.
fn headline(ran: &Ran) -> &str {
    let mut lines = ran.everything.lines();
    lines
        .find(|line| line.contains(" · driver `docker`"))
        .unwrap()
}

#[test]
fn the_headline_tells_the_change_against_the_median_of_the_last_five() {
    let first = Runner::new().run().exits(0);
    let mut answers = earlier(&[100, 99, 98, 97, 96, 95, 94]);
    for (run, seconds) in [(99, 90), (98, 70), (97, 80), (96, 50), (95, 60), (94, 1)] {
        answers.push((artifacts_of(run), artifact(run, NAME, false)));
        let location = store(zipped(&timings(&first, seconds)));
        let found = Answer::refusal(302, "Found").header("location", &location);
        answers.push((format!("GET /actions/artifacts/{run}/zip"), found));
    }
    let github = github(answers);
    let ran = step(&github).run().exits(0);
    let told = headline(&ran);
    assert!(
        told.contains(" % faster than** the median of the last 5 runs"),
        "{told}"
    );
    // Of 50, 60, 70, 80 and 90 seconds.
    assert!(told.contains("(1 m 10 s)"), "{told}");
    let mask = format!("::add-mask::{GITHUB_TOKEN}");
    assert!(!ran.everything.replace(&mask, "").contains(GITHUB_TOKEN));
}

#[test]
fn timings_of_another_image_or_driver_are_not_compared() {
    let first = Runner::new().run().exits(0);
    let mut answers = earlier(&[99, 98, 97]);
    let same = timings(&first, 70);
    let other_image = timings(&first, 1).replace("registry.test/team/app@", "registry.test/other@");
    let other_driver = timings(&first, 2).replace("\"docker\"", "\"kubernetes\"");
    assert!(other_image != timings(&first, 1) && other_driver != timings(&first, 2));
    for (run, file) in [(99, other_image), (98, other_driver), (97, same)] {
        answers.push((artifacts_of(run), artifact(run, NAME, false)));
        let file = Answer {
            status: 200,
            body: zipped(&file),
            ..Answer::default()
        };
        answers.push((format!("GET /actions/artifacts/{run}/zip"), file));
    }
    // Nor does the jobs API know of this step.
    answers.push((OURS.to_owned(), jobs(&[])));
    let ran = step(&github(answers)).run().exits(0);
    let told = headline(&ran);
    assert!(
        told.contains("faster than** the run before (1 m 10 s)"),
        "{told}"
    );
}

#[test]
fn an_artifact_that_holds_no_timings_of_ours_is_not_compared() {
    let first = Runner::new().run().exits(0);
    let later = timings(&first, 70).replace("\"schema\":1", "\"schema\":7");
    let files = [
        zipped(&later),
        zipped("It took long."),
        b"PK no archive".to_vec(),
    ];
    let mut answers = earlier(&[99, 98, 97]);
    for (run, body) in [99, 98, 97].into_iter().zip(files) {
        answers.push((artifacts_of(run), artifact(run, NAME, false)));
        let file = Answer {
            status: 200,
            body,
            ..Answer::default()
        };
        answers.push((format!("GET /actions/artifacts/{run}/zip"), file));
    }
    answers.push((OURS.to_owned(), jobs(&[])));
    let ran = step(&github(answers))
        .input("compare-with", NAME)
        .run()
        .exits(0);
    assert!(!headline(&ran).contains("faster"), "{}", ran.summary);
    assert!(ran.annotations("notice").is_empty(), "{}", ran.log);
}

#[test]
fn without_artifacts_the_steps_times_are_compared() {
    let mut answers = earlier(&[99, 98]);
    for (run, until) in [(99, "2026-01-01T00:00:41Z"), (98, "2026-01-01T00:00:43Z")] {
        answers.push((artifacts_of(run), no_artifacts()));
        let done = job("build", Some(("2026-01-01T00:00:00Z", until)));
        let path = format!("GET /actions/runs/{run}/jobs?filter=latest&per_page=100&page=1");
        answers.push((path, jobs(&[done])));
    }
    answers.push((OURS.to_owned(), jobs(&[job("build", None)])));
    let ran = step(&github(answers)).run().exits(0);
    let told = headline(&ran);
    assert!(
        told.contains("faster than** the median of the last 2 runs (42.0 s)"),
        "{told}"
    );
}

#[test]
fn what_github_refuses_is_a_notice_where_it_was_asked_for_and_nothing_else() {
    let cases = [
        (
            Answer::refusal(403, "Resource not accessible by integration"),
            "the job needs `permissions: actions: read`",
        ),
        (
            Answer::refusal(403, "API rate limit exceeded").header("x-ratelimit-remaining", "0"),
            "GitHub's rate limit for",
        ),
        (
            Answer::refusal(429, "Too many requests").header("retry-after", "60"),
            "try again in 60 s",
        ),
        (
            Answer {
                status: 200,
                body: b"<!doctype html>".to_vec(),
                ..Answer::default()
            },
            "could not parse GitHub's answer",
        ),
    ];
    for (answer, words) in cases {
        let github = refusing("GET ", answer);
        let ran = step(&github).input("compare-with", "times").run().exits(0);
        let [notice] = *ran.annotations("notice") else {
            panic!("{}", ran.log);
        };
        assert!(
            notice.contains("no comparison with earlier runs"),
            "{notice}"
        );
        assert!(ran.everything.contains(words), "{notice}");
        assert!(ran.annotations("warning").is_empty() && ran.annotations("error").is_empty());
        assert!(!headline(&ran).contains("faster"), "{}", ran.summary);
        let ran = step(&github).run().exits(0);
        assert!(
            ran.annotations("notice").is_empty(),
            "nobody asked: {}",
            ran.log
        );
    }
}

#[test]
fn a_github_that_does_not_answer_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = |url: &str| {
        Runner::new()
            .variable("GITHUB_API_URL", url)
            .variable("GITHUB_RUN_ID", "100")
    };
    let ran = silent(&url).run().exits(0);
    assert!(ran.took < Duration::from_secs(10), "{:?}", ran.took);
    assert!(ran.summary.starts_with("### Pushed"), "{}", ran.summary);
    // Nobody listens there.
    silent("http://127.0.0.1:1").run().exits(0);
}

#[test]
fn nothing_is_asked_where_nothing_is_to_be_compared() {
    let github = github(Vec::new());
    step(&github).input("compare-with", "none").run().exits(0);
    step(&github).without("INPUT_GITHUB-TOKEN").run().exits(0);
    assert_eq!(github.asked(), []);
}

#[test]
fn one_comment_is_kept_up_to_date() {
    let made = "POST /issues/7/comments";
    let first = github(vec![
        (COMMENTS.to_owned(), comments(&[(1, "Nice!")])),
        (made.to_owned(), comments(&[(2, "")])),
    ]);
    pull_request(&first).run().exits(0);
    assert_eq!(first.paths(), [COMMENTS, made]);
    let body = |text: &str| {
        let body: serde_json::Value = serde_json::from_str(text).unwrap();
        body["body"].as_str().unwrap().to_owned()
    };
    let comment = body(&first.asked()[1].body);
    let (marker, summary) = comment.split_once('\n').unwrap();
    assert!(
        marker.starts_with("<!-- fast-ecr-push build") && marker.ends_with("-->"),
        "{marker}"
    );
    assert!(summary.starts_with("### Pushed"), "{summary}");

    // The next commit has another tag, and its build fails: the same comment tells.
    let written = "PATCH /issues/comments/2";
    let second = github(vec![
        (COMMENTS.to_owned(), comments(&[(1, "Nice!")]).more()),
        (
            COMMENTS.replace("&page=1", "&page=2"),
            comments(&[(2, &comment)]),
        ),
        (written.to_owned(), comments(&[(2, "")])),
    ]);
    pull_request(&second)
        .input("tags", "registry.test/team/app:2")
        .stream(&recorded("failing-run"))
        .run()
        .exits(1);
    assert_eq!(second.paths().len(), 3);
    let after = body(&second.asked()[2].body);
    assert!(
        after.starts_with(&format!("{marker}\n### Failed")),
        "{after}"
    );
}

#[test]
fn a_fork_gets_no_comment_but_a_notice() {
    let github = github(vec![
        (COMMENTS.to_owned(), comments(&[])),
        (
            "POST /issues/7/comments".to_owned(),
            Answer::refusal(403, "Resource not accessible by integration"),
        ),
    ]);
    let ran = pull_request(&github).run().exits(0);
    let [notice] = *ran.annotations("notice") else {
        panic!("{}", ran.log);
    };
    assert!(
        notice.contains("could not comment on the pull request"),
        "{notice}"
    );
    assert!(
        notice.contains("a pull request from a fork never has more than `read`"),
        "{notice}"
    );
    assert!(ran.annotations("warning").is_empty());
}

#[test]
fn a_push_has_nowhere_to_comment() {
    let github = github(Vec::new());
    let runner = pull_request(&github).variable("GITHUB_REF", "refs/heads/main");
    runner.run().exits(0);
    assert_eq!(github.asked(), []);
}
