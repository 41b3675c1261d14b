//! `skip-unchanged`: what is built once is tagged the next time, and only that.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use aws_stand_in::{Account, Answer, Fault, On, Resource};
use serde_json::json;
use upload::{Blob, Credentials, RegistrySettings, Repository, Settings, Uploader};

use crate::ecr::run_with;
use crate::rig::variable;
use crate::runner::{Ended, Runner};

/// A job's checkout, and what its step is given.
#[derive(Clone)]
struct Job {
    files: Vec<(&'static str, String)>,
    inputs: Vec<(&'static str, String)>,
    variables: Vec<(&'static str, &'static str)>,
    event: Option<(&'static str, &'static str)>,
    modes: Vec<(&'static str, u32)>,
}

impl Job {
    /// A small build on a base of the account's own.
    fn new(account: &Account) -> Self {
        let dockerfile = format!(
            "FROM {}/team/base:1\nARG A\nARG B\nCOPY app /app\nRUN --network=none echo \"$A\" >/a\n",
            account.host()
        );
        let given = |name, text: &str| (name, text.to_owned());
        Self {
            files: vec![
                ("Dockerfile", dockerfile),
                given(".dockerignore", "*.log\n"),
                given("app/main.py", "print(1)"),
                given("app/lib.py", "x = 1"),
                given("debug.log", "1"),
            ],
            inputs: vec![
                ("tags", format!("{}/team/app:1", account.host())),
                given("context", "."),
                given("skip-unchanged", "true"),
                given("build-args", "A=1\nB=2"),
            ],
            variables: Vec::new(),
            event: None,
            modes: Vec::new(),
        }
    }

    fn file(&self, path: &'static str, text: &str) -> Self {
        let mut job = self.clone();
        job.files.push((path, text.to_owned()));
        job
    }

    fn input(&self, name: &'static str, text: &str) -> Self {
        let mut job = self.clone();
        job.inputs.push((name, text.to_owned()));
        job
    }

    fn variable(&self, name: &'static str, text: &'static str) -> Self {
        let mut job = self.clone();
        job.variables.push((name, text));
        job
    }

    fn event(&self, name: &'static str, payload: &'static str) -> Self {
        let mut job = self.clone();
        job.event = Some((name, payload));
        job
    }

    /// On a machine of its own: a checkout has new times.
    fn runner(&self, account: &Account) -> Runner {
        let mut runner = Runner::new().with_keys_of(account);
        for (path, text) in &self.files {
            runner = runner.file(path, text);
        }
        for (path, mode) in &self.modes {
            let path = runner.workspace().join(path);
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        for (name, text) in &self.variables {
            runner = runner.variable(name, text);
        }
        match self.event {
            Some((name, payload)) => runner.event(name, payload),
            None => runner,
        }
    }

    fn run_on(&self, runner: &Runner) -> Ended {
        let step = self
            .inputs
            .iter()
            .fold(runner.step(), |step, (name, text)| step.input(name, text));
        let ended = step.run();
        assert!(runner.leftovers().is_empty(), "{:?}", runner.leftovers());
        ended
    }

    fn run(&self, account: &Account) -> Ended {
        self.run_on(&self.runner(account)).succeeded()
    }
}

/// An account with a base image and a repository for the job's.
fn account() -> Account {
    let account = Account::new();
    account.repository("team/base").create();
    account.repository("team/app").create();
    base(&account, "one");
    account
}

/// Gives the account's base another content.
fn base(account: &Account, content: &str) {
    let tag = format!("{}/team/base:1", account.host());
    let instruction = format!("LABEL base={content}");
    run_with(account, &instruction, &[("tags", &tag)]).succeeded();
}

fn digest(account: &Account, tag: &str) -> String {
    digest_in("eu-west-1", account, tag)
}

fn digest_in(region: &str, account: &Account, tag: &str) -> String {
    let asked = json!({"repositoryName": "team/app", "imageIds": [{"imageTag": tag}]});
    let (_, answer) = account.ecr_in(region, "DescribeImages", &asked);
    let digest = answer["imageDetails"][0]["imageDigest"].as_str();
    digest.unwrap_or_default().to_owned()
}

fn is_hit(run: &Ended) -> bool {
    let is_built = run
        .log
        .groups
        .iter()
        .any(|group| group.starts_with("Build"));
    let unchanged = run.output("unchanged") == "true";
    assert_ne!(is_built, unchanged, "{}", run.log());
    unchanged
}

fn line<'a>(run: &'a Ended, start: &str) -> &'a str {
    let mut lines = run.log.lines.iter();
    let found = lines.find(|line| line.contains(start));
    found.unwrap_or_else(|| panic!("no `{start}` in: {}", run.log()))
}

#[test]
fn what_was_built_before_is_tagged_and_later_steps_read_its_outputs() {
    let account = account();
    let job = Job::new(&account);
    let built = job.run(&account);
    assert!(!is_hit(&built));
    assert!(line(&built, "`skip-unchanged` builds: ").contains("has no image of the same build"));

    let host = account.host();
    let tags = format!("{host}/team/app:2\n{host}/team/app:latest");
    let other = "fedcba9876543210fedcba9876543210fedcba98";
    let own = r#"{"pull_request":{"head":{"ref":"feature","repo":{"full_name":"octo/app"}}}}"#;
    let same = [
        ("the same commit", job.clone()),
        (
            "a merge with the same tree",
            job.variable("GITHUB_SHA", other)
                .input("labels", &format!("commit={other}")),
        ),
        (
            "another branch",
            job.event("pull_request", own)
                .variable("GITHUB_REF", "refs/pull/1/merge"),
        ),
        (
            "a file that was written again",
            job.file("app/main.py", "print(1)"),
        ),
        (
            "build arguments in another order",
            job.input("build-args", "B=2\nA=1"),
        ),
        ("a changed file that is ignored", job.file("debug.log", "2")),
        ("a file that nothing copies", job.file("docs/page.md", "2")),
        (
            "an image that is young enough",
            job.input("skip-unchanged", "1h"),
        ),
    ];
    for (name, job) in same {
        let runner = job.runner(&account);
        let begin = account.requests().len();
        let run = job.input("tags", &tags).run_on(&runner).succeeded();
        assert!(is_hit(&run), "{name}: {}", run.log());
        for output in ["digest", "image", "imageid", "image-bytes", "registry"] {
            assert_eq!(run.output(output), built.output(output), "{name}: {output}");
        }
        assert_eq!(run.output("tags"), tags, "{name}");
        let metadata: serde_json::Value = serde_json::from_str(run.output("metadata")).unwrap();
        assert_eq!(metadata["containerimage.digest"], run.output("digest"));
        assert!(run.output("timings").starts_with('{'), "{name}");
        for tag in ["2", "latest"] {
            assert_eq!(digest(&account, tag), run.output("digest"), "{name}");
        }
        let blobs = account.requests();
        let blobs = blobs[begin..].iter().filter(|request| {
            request.path.contains("/blobs/") && request.method != "GET" && request.method != "HEAD"
        });
        assert_eq!(blobs.count(), 0, "{name}");
        let summary = &run.values.summary;
        assert!(summary.starts_with("### Nothing was built: "), "{summary}");
        assert!(
            summary.contains("Built by https://github.com/octo/app/actions/runs/1"),
            "{summary}"
        );
        assert!(summary.contains(" saved**"), "{summary}");
        let printed = runner.script(
            &run,
            &[
                ("UNCHANGED", "${{ steps.push.outputs.unchanged }}"),
                ("IMAGE", "${{ steps.push.outputs.image }}"),
            ],
            "[[ $UNCHANGED == true ]] && echo \"deploy $IMAGE\"",
        );
        assert_eq!(printed.trim(), format!("deploy {}", run.output("image")));
    }
}

#[test]
fn whatever_changes_the_image_is_built() {
    let account = account();
    let job = Job::new(&account);
    assert!(!is_hit(&job.run(&account)));
    let mut mode = job.clone();
    mode.modes.push(("app/main.py", 0o755));
    let other = [
        // Each is compared with the one before it.
        (
            "an argument",
            job.input("build-args", "A=2\nB=2"),
            "a build argument",
        ),
        ("one byte", job.file("app/main.py", "print(2)"), "files app"),
        ("one mode bit", mode, "files app"),
        (
            "a platform",
            job.input("platforms", "linux/amd64,linux/amd64/v2"),
            // Another leg of a matrix, which has no earlier key.
            "has no image of the same build",
        ),
        (
            "the Dockerfile",
            job.file(
                "Dockerfile",
                &format!("FROM {}/team/base:1\nCOPY app /app\n", account.host()),
            ),
            "dockerfile",
        ),
        ("a label", job.input("labels", "team=web"), "labels"),
        ("a compression", job.input("compression", "gzip"), "outputs"),
    ];
    for (name, changed, words) in other {
        let run = changed.run(&account);
        assert!(!is_hit(&run), "{name}");
        let why = line(&run, "`skip-unchanged` builds: ");
        let is_compared = why.contains("changed since the build of https://");
        assert!(is_compared || name == "a platform", "{why}");
        assert!(why.contains(words), "{name}: {why}");
    }
    assert!(is_hit(&job.run(&account)));
    base(&account, "two");
    let run = job.run(&account);
    assert!(!is_hit(&run));
    let why = line(&run, "`skip-unchanged` builds: ");
    assert!(
        why.contains("image ") && why.contains("/team/base:1"),
        "{why}"
    );
}

#[test]
fn what_nobody_can_know_is_built_and_named() {
    let account = account();
    let triggers = format!("{}/team/base:triggers", account.host());
    run_with(&account, "ONBUILD COPY . /all", &[("tags", &triggers)]).succeeded();
    let job = Job::new(&account);
    let from = format!("FROM {}/team/base:1\n", account.host());
    let with = |text: &str| job.file("Dockerfile", &format!("{from}{text}\n"));
    for (job, words) in [
        (
            with("RUN --network=none --mount=type=secret,id=token true")
                .input("secrets", "token=hush-hush"),
            "line 2 reads the secret `token`",
        ),
        (job.input("no-cache", "true"), "`no-cache` asks for a build"),
        (job.input("pull", "true"), "`pull` asks for a build"),
        (
            job.input("load", "true").input("push", "true"),
            "`load` needs the image itself",
        ),
        (
            job.input("outputs", "type=local,dest=out")
                .input("tags", ""),
            "the image is not pushed",
        ),
        (
            job.file("Dockerfile", &format!("FROM {triggers}\n")),
            "has ONBUILD instructions",
        ),
        (
            // A registry that is another machine's for the container.
            job.file("Dockerfile", &format!("FROM {}\n", crate::rig::busybox())),
            "can't be asked",
        ),
    ] {
        let run = job.run(&account);
        assert!(!is_hit(&run), "{words}");
        line(&run, words);
    }
    let wrong = job.input("skip-unchanged", "7 days");
    let run = wrong.run_on(&wrong.runner(&account));
    assert_eq!(run.code, Some(2), "{}", run.log());
    line(&run, "input `skip-unchanged`");
}

#[test]
fn an_image_for_two_platforms_with_attestations_is_tagged_whole() {
    let account = account();
    let dockerfile = format!("FROM {}/team/base:1\nCOPY app /app\n", account.host());
    let job = Job::new(&account)
        .file("Dockerfile", &dockerfile)
        .input("platforms", "linux/amd64,linux/amd64/v2")
        .input("provenance", "mode=max");
    let built = job.run(&account);
    assert!(!is_hit(&built));
    let run = job
        .input("tags", &format!("{}/team/app:2", account.host()))
        .run(&account);
    assert!(is_hit(&run), "{}", run.log());
    assert_eq!(run.output("digest"), built.output("digest"));
    assert_eq!(run.output("image-bytes"), built.output("image-bytes"));
    assert_eq!(digest(&account, "2"), built.output("digest"));
}

#[test]
fn a_fork_gets_a_hit_and_leaves_no_key() {
    let account = account();
    let fork = r#"{"pull_request":{"head":{"ref":"x","repo":{"full_name":"eve/app"}}}}"#;
    let job = Job::new(&account);
    let forked = job.event("pull_request", fork);
    let first = forked.run(&account);
    assert!(!is_hit(&first));
    line(
        &first,
        "later runs can't skip this build: this pull request comes from the fork `eve/app`",
    );
    assert!(!is_hit(&job.run(&account)), "the fork's key was taken");
    assert!(is_hit(&forked.run(&account)));
}

/// What the next read of a manifest of the image's repository gives, after `skip` others.
fn read_fails(account: &Account, skip: u32, times: u32, status: u16, code: &str) {
    let answer = Answer::Error {
        status,
        code: code.to_owned(),
        message: "not today".to_owned(),
    };
    account.fault(Fault {
        on: On::Registry("GET".to_owned(), Resource::Manifest),
        repository: Some("team/app".to_owned()),
        skip,
        times,
        answer,
    });
}

#[test]
fn a_key_that_leads_nowhere_is_a_line_in_the_log_and_a_build() {
    let account = account();
    let job = Job::new(&account);
    job.run(&account);
    assert!(is_hit(&job.run(&account)));
    // The key and the newest one are read, then the image.
    for (skip, times, status, code, words) in [
        (
            2,
            1,
            404,
            "MANIFEST_UNKNOWN",
            "the image of the same build is gone: `",
        ),
        (
            0,
            2,
            404,
            "MANIFEST_UNKNOWN",
            "has no image of the same build",
        ),
        (0, 2, 403, "DENIED", "could not read manifest `unchanged-"),
        (2, 1, 403, "DENIED", "could not read manifest `sha256:"),
    ] {
        read_fails(&account, skip, times, status, code);
        let run = job.run(&account);
        assert!(!is_hit(&run), "{words}");
        let why = line(&run, "`skip-unchanged` builds: ");
        assert!(why.contains(words), "{why}");
        assert!(is_hit(&job.run(&account)), "{words}");
    }
}

#[test]
fn another_image_under_the_tag_of_a_key_is_not_taken() {
    let account = account();
    let job = Job::new(&account);
    job.run(&account);
    // Any image may have been given the key's tag.
    let tag = format!("{}/team/app:{}", account.host(), key(&account));
    run_with(&account, "LABEL other=image", &[("tags", &tag)]).succeeded();
    let run = job.run(&account);
    assert!(!is_hit(&run));
    assert!(line(&run, "`skip-unchanged` builds: ").contains("is not a key"));
    assert!(is_hit(&job.run(&account)));
}

/// An account whose base and repository are in two regions, and a job's tag in each of the two registries.
fn two_registries() -> (Account, impl Fn(&str) -> String) {
    let account = account();
    account
        .repository("team/app")
        .in_region("us-east-1")
        .create();
    let hosts = [account.host(), account.host_in("us-east-1")];
    let tags = move |tag: &str| {
        let [near, far] = &hosts;
        format!("{near}/team/app:{tag}\n{far}/team/app:{tag}")
    };
    (account, tags)
}

/// Why a run builds, which is one line.
fn why(run: &Ended) -> &str {
    assert!(!is_hit(run), "{}", run.log());
    let lines = run.log.lines.iter();
    let lines: Vec<&String> = lines
        .filter(|line| line.contains("`skip-unchanged` builds: "))
        .collect();
    let [line] = lines.as_slice() else {
        panic!("{lines:?}: {}", run.log());
    };
    line
}

/// The job's repository, as somebody else may write to it.
fn repository(account: &Account) -> (Uploader, Repository) {
    let authorities = fs::read_to_string(variable("RIG_AWS_CA")).unwrap();
    let settings = Settings {
        authorities,
        ..Settings::default()
    };
    let uploader = Uploader::start(&settings).unwrap();
    let credentials = Credentials::Basic {
        user: "AWS".to_owned(),
        password: account.password().into(),
    };
    let settings = RegistrySettings {
        credentials,
        ..RegistrySettings::new(account.host())
    };
    let registry = uploader.registry(settings).unwrap();
    (uploader, registry.repository("team/app"))
}

/// The tag of the newest key.
fn key(account: &Account) -> String {
    let requests = account.requests();
    let key = requests.iter().rev().find_map(|request| {
        let (_, tag) = request.path.split_once("/v2/team/app/manifests/")?;
        (request.method == "PUT" && tag.starts_with("unchanged-")).then(|| tag.to_owned())
    });
    key.unwrap()
}

#[test]
fn all_tags_are_put_where_the_image_is_and_a_registry_without_it_is_a_reason_to_build() {
    let (account, tags) = two_registries();
    let job = Job::new(&account);
    assert!(!is_hit(&job.run(&account)));
    let both = |tag| job.input("tags", &tags(tag));
    let missed = both("2").run(&account);
    let far = account.host_in("us-east-1");
    let words = format!("`{far}/team/app` has no image of the same build");
    assert!(why(&missed).contains(&words), "{}", why(&missed));

    let all = format!("{}\n{}", tags("3"), tags("latest"));
    let hit = job.input("tags", &all).run(&account);
    assert!(is_hit(&hit), "{}", hit.log());
    assert_eq!(hit.output("digest"), missed.output("digest"));
    assert_eq!(hit.output("tags"), all);
    for region in ["eu-west-1", "us-east-1"] {
        for tag in ["3", "latest"] {
            let there = digest_in(region, &account, tag);
            assert_eq!(there, hit.output("digest"), "{region}: {tag}");
        }
    }
}

#[test]
fn a_registry_that_does_not_answer_is_a_reason_to_build_and_no_failure() {
    let (account, tags) = two_registries();
    account
        .repository("team/far")
        .in_region("us-east-1")
        .create();
    let tags = tags("1").replace(
        "us-east-1.amazonaws.com/team/app",
        "us-east-1.amazonaws.com/team/far",
    );
    let job = Job::new(&account).input("tags", &tags);
    assert!(!is_hit(&job.run(&account)));
    assert!(is_hit(&job.run(&account)));
    // The key and the newest one, each asked for twice.
    for (answer, most) in [(Answer::Close, 10.0), (Answer::Hang, 20.0)] {
        account.fault(Fault {
            on: On::Registry("GET".to_owned(), Resource::Manifest),
            repository: Some("team/far".to_owned()),
            skip: 0,
            times: 4,
            answer,
        });
        let run = job.run(&account);
        assert!(
            why(&run).contains("could not read manifest `unchanged-"),
            "{}",
            why(&run)
        );
        let took = run.number("setup-seconds");
        assert!(took < most, "{took} s: {}", run.log());
        assert!(is_hit(&job.run(&account)));
    }
}

#[test]
fn an_image_that_is_too_old_is_a_reason_to_build() {
    let account = account();
    let job = Job::new(&account).input("skip-unchanged", "7d");
    job.run(&account);
    let tag = key(&account);
    let (uploader, repository) = repository(&account);
    let mark = repository.manifest(&tag).wait().unwrap().unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&mark.bytes).unwrap();
    manifest["annotations"]["org.opencontainers.image.created"] = "2026-11-01T02:03:04Z".into();
    let empty = repository.push(Blob::bytes(b"{}".as_slice().into()));
    let bytes = manifest.to_string().into_bytes();
    let older = repository.complete(&mark.media_type, bytes, &[empty.wait().unwrap()], &[]);
    let older = vec![(older.unwrap(), vec![tag])];
    uploader.publish(older).wait().unwrap();
    assert!(is_hit(&job.input("skip-unchanged", "true").run(&account)));
    let run = job.run(&account);
    let words =
        "the image of the same build is from 2026-11-01 02:03 UTC, which is longer ago than 7d";
    assert!(why(&run).contains(words), "{}", why(&run));
    // The build's own key has taken the place of the old one.
    assert!(is_hit(&job.run(&account)));
}

#[test]
fn immutable_tags_are_kept() {
    let account = Account::new();
    account.repository("team/base").create();
    base(&account, "one");
    account.repository("team/app").immutable().create();
    let job = Job::new(&account);
    let built = job.run(&account);
    // Its own tag is there already; another is added.
    let host = account.host();
    let run = job
        .input("tags", &format!("{host}/team/app:1\n{host}/team/app:2"))
        .run(&account);
    assert!(is_hit(&run), "{}", run.log());
    assert_eq!(digest(&account, "2"), built.output("digest"));
    // Another image has the tag.
    let changed = job.file("app/main.py", "print(2)");
    let other = changed
        .input("tags", &format!("{host}/team/app:3"))
        .run(&account);
    assert!(!is_hit(&other));
    let run = job.input("tags", &format!("{host}/team/app:3"));
    let run = run.run_on(&run.runner(&account));
    assert_eq!(run.code, Some(1), "{}", run.log());
    line(&run, "team/app:3` can't move, and is ");
    assert_eq!(digest(&account, "3"), other.output("digest"));
}
