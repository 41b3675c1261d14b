//! The cache in Amazon ECR: as it was refused in 2021, as it is taken today, in an immutable
//! repository; and a run that changes nothing.

use aws_stand_in::{Account, Answer, Command as Tell, Request, Resource};

use crate::rig::busybox;
use crate::runner::{Ended, Runner};

/// A job that pushes to an account's repository.
struct Job<'a> {
    account: &'a Account,
    runner: Runner,
}

impl<'a> Job<'a> {
    fn new(account: &'a Account) -> Self {
        let dockerfile = format!(
            "FROM {}\nRUN echo {} > /x\nCOPY code /code\n",
            busybox(),
            account.number()
        );
        let runner = Runner::new().with_keys_of(account);
        let runner = runner.file("Dockerfile", dockerfile).file("code", "one");
        Self { account, runner }
    }

    fn image(&self) -> String {
        format!("{}/team/app", self.account.host())
    }

    fn run(&self, inputs: &[(&str, &str)]) -> Ended {
        let tag = format!("{}:1", self.image());
        let step = self.runner.step().input("context", ".").input("tags", &tag);
        let step = inputs
            .iter()
            .fold(step, |step, (name, value)| step.input(name, value));
        step.run()
    }
}

fn writes(requests: &[Request]) -> Vec<&Request> {
    let writes = |request: &&Request| matches!(request.method.as_str(), "PUT" | "POST" | "PATCH");
    requests.iter().filter(writes).collect()
}

/// Status of the requests that wrote a manifest under this tag.
fn written(account: &Account, tag: &str) -> Vec<u16> {
    let path = format!("/v2/team/app/manifests/{tag}");
    let requests = account.requests();
    writes(&requests)
        .iter()
        .filter(|request| request.path == path)
        .map(|request| request.status)
        .collect()
}

#[test]
fn the_cache_that_ecr_refused_in_2021_is_taken_as_an_image() {
    let account = Account::new();
    account.repository("team/app").create();
    account.command(&Tell::RefuseIndexCache);
    let job = Job::new(&account);
    let cache = format!("type=registry,ref={}:old,mode=max", job.image());

    // As BuildKit wrote it then: an index, whose parts are of no image type.
    let index = format!("{cache},image-manifest=false,oci-mediatypes=true");
    let run = job.run(&[("cache-to", &index)]);
    assert_eq!(run.code, Some(1), "{}", run.log());
    for words in ["400 Bad Request", "Amazon ECR refuses such a cache"] {
        assert!(run.log().contains(words), "{words}: {}", run.log());
    }
    assert!(!written(&account, "old").contains(&201));

    // What is missing is added.
    let run = job.run(&[("cache-to", &cache)]).succeeded();
    let words = "`cache-to` gets `image-manifest=true,oci-mediatypes=true`";
    assert!(run.log().contains(words), "{}", run.log());
    assert_eq!(written(&account, "old").last(), Some(&201));

    // Without a word.
    job.run(&[]).succeeded();
    assert_eq!(written(&account, "buildcache"), [201]);
    let again = job.run(&[]).succeeded();
    let name = format!("read from `{}:buildcache`", job.image());
    let summary = &again.values.summary;
    assert!(summary.contains(&name), "{summary}");
}

#[test]
fn a_run_that_changes_nothing_writes_nothing_and_says_so() {
    let account = Account::new();
    account.repository("team/app").create();
    let job = Job::new(&account);
    let first = job.run(&[]).succeeded();
    assert!(!first.values.summary.contains("Nothing changed"));
    // What is read from the registry has other annotations in the cache's manifest, once.
    job.run(&[]).succeeded();
    let mut written = Vec::new();
    // BuildKit sometimes lists the records of one cache in another order, which is another manifest.
    for _ in 0..4 {
        let before = account.requests().len();
        // The tag is looked at while the image is built and its layers are looked for, which takes no time here: less than buildx
        // needs to start.
        account.registry_fault("HEAD", Resource::Blob, 1, Answer::Late(2000));
        let again = job.run(&[]).succeeded();
        let summary = &again.values.summary;
        assert!(summary.contains("\nNothing changed: "), "{summary}");
        let requests = account.requests();
        written = writes(&requests[before..])
            .into_iter()
            .map(|request| format!("{request:?}"))
            .collect();
        if written.is_empty() {
            return;
        }
    }
    panic!("{written:?}");
}

#[test]
fn a_cache_that_an_immutable_repository_refuses_is_told_and_fails_no_push() {
    let account = Account::new();
    account
        .repository("team/app")
        .immutable_except(&["1"])
        .create();
    let job = Job::new(&account);
    job.run(&[]).succeeded();
    let Job { account, runner } = job;
    let job = Job {
        account,
        runner: runner.file("code", "two"),
    };
    let second = job.run(&[]).succeeded();
    let told = ["the cache could not be written", "are immutable"];
    assert!(
        told.iter().any(|words| second.log().contains(words)),
        "{}",
        second.log()
    );
}
