//! The last successful runs of this workflow on the default branch of this repository, and their durations.
//!
//! The duration comes from the run's artifact of timings, or else from the jobs API, which has our step's time in whole seconds.

use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::github::{GitHub, LONGEST_ANSWER, Question};
use super::leg::Leg;
use super::{HistoryError, Workflow, artifact};
use crate::compare::median;
use crate::timings::Earlier;

/// Runs in the median.
const RUNS: usize = 5;

/// Runs that are tried.
const MOST_RUNS: usize = 15;

const QUESTION: Question = Question {
    what: "earlier runs",
    permission: "actions: read",
};

#[derive(Deserialize)]
struct Repository {
    id: u64,
    default_branch: String,
}

#[derive(Deserialize)]
struct Run {
    id: u64,
    #[serde(default)]
    workflow_id: u64,
    /// Where its commit is from; none if that fork is gone.
    #[serde(default)]
    head_repository: Option<HeadRepository>,
}

#[derive(Deserialize)]
struct HeadRepository {
    id: u64,
}

impl Run {
    /// Whether its commit is from there: a fork's branch may have the same name.
    fn is_of(&self, repository: &Repository) -> bool {
        let head = self.head_repository.as_ref();
        head.is_some_and(|head| head.id == repository.id)
    }
}

#[derive(Deserialize)]
struct Artifact {
    id: u64,
    name: String,
    size_in_bytes: u64,
    expired: bool,
}

/// A job of a run; times and steps are missing while it waits.
#[derive(Debug, Clone, Deserialize)]
struct Job {
    name: String,
    status: String,
    #[serde(default)]
    runner_name: Option<String>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Deserialize)]
struct Step {
    name: String,
    status: String,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    started_at: Option<Timestamp>,
    #[serde(default)]
    completed_at: Option<Timestamp>,
}

/// The API's names of our job and step: the environment has only the job's id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    job: String,
    step: String,
}

pub(super) async fn earlier(
    workflow: &Workflow,
    artifact: &str,
    leg: &Leg,
) -> Result<Option<Earlier>, HistoryError> {
    let Some(run_id) = workflow.run.run_id.as_deref() else {
        return Ok(None);
    };
    let github = workflow.client()?;
    let repository: Repository = github.get("", QUESTION).await?;
    let path = format!("actions/runs/{run_id}");
    let this: Run = github.get(&path, QUESTION).await?;
    let path = format!(
        "actions/workflows/{}/runs?branch={}&status=success",
        this.workflow_id,
        encoded(&repository.default_branch)
    );
    let mut ids = Vec::new();
    let pages = github.pages(&path, Some("workflow_runs"), QUESTION, |runs: Vec<Run>| {
        let others = runs.iter().filter(|run| run.id != this.id);
        let own = others.filter(|run| run.is_of(&repository));
        ids.extend(own.map(|run| run.id));
        ids.len() >= MOST_RUNS
    });
    pages.await?;
    let mut own: Option<Option<Own>> = None;
    let mut totals = Vec::new();
    for run in ids.into_iter().take(MOST_RUNS) {
        if totals.len() == RUNS {
            break;
        }
        let mut total = from_artifact(&github, run, artifact, leg).await?;
        if total.is_none() {
            let own = match &own {
                Some(own) => own,
                None => own.insert(this_step(&github, workflow, run_id).await?),
            };
            if let Some(own) = own {
                let path = format!("actions/runs/{run}/jobs?filter=latest");
                total = step_time(&jobs(&github, &path).await?, own);
            }
        }
        totals.extend(total);
    }
    Ok(middle(&totals))
}

fn middle(totals: &[Duration]) -> Option<Earlier> {
    let milliseconds = |total: &Duration| u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
    (!totals.is_empty()).then(|| Earlier {
        median: Duration::from_millis(median(totals.iter().map(milliseconds).collect())),
        runs: totals.len(),
    })
}

async fn from_artifact(
    github: &GitHub,
    run: u64,
    name: &str,
    leg: &Leg,
) -> Result<Option<Duration>, HistoryError> {
    let path = format!("actions/runs/{run}/artifacts?name={}", encoded(name));
    let mut found: Vec<Artifact> = Vec::new();
    let pages = github.pages(&path, Some("artifacts"), QUESTION, |artifacts| {
        found.extend(artifacts);
        true
    });
    pages.await?;
    let Some(newest) = newest(&found, name) else {
        return Ok(None);
    };
    match github.archive(newest, QUESTION).await {
        Ok(archive) => Ok(artifact::total(archive, leg)),
        // It may have expired just now, or its store is unreachable: the jobs API remains.
        Err(error) => {
            tracing::debug!("could not read the artifact `{name}` of run {run}: {error}");
            Ok(None)
        }
    }
}

/// The newest artifact of this name that may be downloaded.
fn newest(artifacts: &[Artifact], name: &str) -> Option<u64> {
    let usable = artifacts.iter().filter(|artifact| {
        artifact.name == name
            && !artifact.expired
            && artifact.size_in_bytes <= LONGEST_ANSWER as u64
    });
    usable.map(|artifact| artifact.id).max()
}

/// Our own job and step, which run now.
async fn this_step(
    github: &GitHub,
    workflow: &Workflow,
    run: &str,
) -> Result<Option<Own>, HistoryError> {
    let attempt = workflow.run.run_attempt.as_deref().unwrap_or("1");
    let path = format!("actions/runs/{run}/attempts/{attempt}/jobs");
    let jobs = jobs(github, &path).await?;
    Ok(own(&jobs, workflow.runner_name.as_deref()))
}

/// The only job that runs on our runner, and its running step.
fn own(jobs: &[Job], runner_name: Option<&str>) -> Option<Own> {
    let runs = |job: &&Job| {
        job.status == "in_progress"
            && (runner_name.is_none() || job.runner_name.as_deref() == runner_name)
    };
    let mut ours = jobs.iter().filter(runs);
    let (job, None) = (ours.next()?, ours.next()) else {
        return None;
    };
    let step = job.steps.iter().find(|step| step.status == "in_progress")?;
    Some(Own {
        job: job.name.clone(),
        step: step.name.clone(),
    })
}

fn step_time(jobs: &[Job], own: &Own) -> Option<Duration> {
    let job = jobs.iter().find(|job| job.name == own.job)?;
    let good =
        |step: &&Step| step.name == own.step && step.conclusion.as_deref() == Some("success");
    let step = job.steps.iter().find(good)?;
    let time = step.completed_at?.duration_since(step.started_at?);
    Duration::try_from(time).ok()
}

async fn jobs(github: &GitHub, path: &str) -> Result<Vec<Job>, HistoryError> {
    let mut all = Vec::new();
    let pages = github.pages(path, Some("jobs"), QUESTION, |jobs: Vec<Job>| {
        all.extend(jobs);
        false
    });
    pages.await?;
    Ok(all)
}

/// Percent-encoded for a query, except unreserved characters (<https://www.rfc-editor.org/rfc/rfc3986#section-2.3>).
fn encoded(text: &str) -> String {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(text, &RESERVED).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::super::github::Answer;
    use super::*;

    /// Answers about the repository, runs, artifacts and jobs: what is taken of them is ours.
    pub(in crate::history) fn check(answers: &[Answer; 4]) {
        let [repository, runs, artifacts, jobs] = answers;
        if let (Ok(repository), Ok(runs)) = (
            repository.document::<Repository>(QUESTION),
            runs.list::<Run>(Some("workflow_runs"), QUESTION),
        ) {
            assert!(encoded(&repository.default_branch).is_ascii());
            for run in runs.iter().filter(|run| run.is_of(&repository)) {
                assert_eq!(run.head_repository.as_ref().unwrap().id, repository.id);
            }
        }
        if let Ok(artifacts) = artifacts.list::<Artifact>(Some("artifacts"), QUESTION)
            && let Some(newest) = newest(&artifacts, "times")
        {
            let mut same = artifacts.iter().filter(|artifact| artifact.id == newest);
            assert!(same.any(|artifact| artifact.name == "times" && !artifact.expired));
        }
        if let Ok(jobs) = jobs.list::<Job>(Some("jobs"), QUESTION)
            && let Some(own) = own(&jobs, Some("r1")).or_else(|| own(&jobs, None))
        {
            let totals: Vec<Duration> = step_time(&jobs, &own).into_iter().collect();
            let totals = [&totals[..], &totals[..]].concat();
            let found = middle(&totals);
            assert_eq!(
                found.map(|found| found.runs),
                (!totals.is_empty()).then_some(2)
            );
        }
    }

    /// The examples of GitHub's description, without a change.
    pub(in crate::history) fn reads_examples(example: impl Fn(&str) -> Value) {
        let list = |name: &str, key: &str| example(name)[key].take();
        let repository: Repository = serde_json::from_value(example("full-repository")).unwrap();
        assert_eq!(repository.default_branch, "master");
        let run: Run = serde_json::from_value(example("workflow-run")).unwrap();
        assert_eq!((run.id, run.workflow_id), (30_433_642, 159_038));
        let runs: Vec<Run> =
            serde_json::from_value(list("workflow-run-paginated", "workflow_runs")).unwrap();
        assert_eq!(runs[0].id, 30_433_642);
        let head = runs[0].head_repository.as_ref().map(|head| head.id);
        assert_eq!((repository.id, head), (1_296_269, Some(217_723_378)));
        let artifacts: Vec<Artifact> =
            serde_json::from_value(list("artifact-paginated", "artifacts")).unwrap();
        let [rails, output] = artifacts.as_slice() else {
            panic!("two artifacts");
        };
        assert_eq!(
            (rails.id, &*rails.name, rails.size_in_bytes),
            (11, "Rails", 556)
        );
        assert!(!output.expired);
        let jobs: Vec<Job> = serde_json::from_value(list("job-paginated", "jobs")).unwrap();
        assert_eq!(jobs[0].runner_name.as_deref(), Some("my runner"));
        let own = Own {
            job: "build".to_owned(),
            step: "Deploy to Heroku".to_owned(),
        };
        let time = step_time(&jobs, &own).map(|time| time.as_secs());
        assert_eq!(time, Some(100));
    }

    fn job(name: &str, status: &str, runner: &str) -> Job {
        let step = |name: &str, status: &str| Step {
            name: name.to_owned(),
            status: status.to_owned(),
            conclusion: None,
            started_at: None,
            completed_at: None,
        };
        Job {
            name: name.to_owned(),
            status: status.to_owned(),
            runner_name: Some(runner.to_owned()),
            steps: vec![step("Set up job", "completed"), step("Push", "in_progress")],
        }
    }

    #[test]
    fn our_job_is_the_one_that_runs_on_our_runner() {
        let jobs = [
            job("build (arm64)", "in_progress", "r1"),
            job("build (amd64)", "in_progress", "r2"),
            job("lint", "completed", "r2"),
        ];
        let own = |runner| own(&jobs, runner).map(|own| own.job);
        assert_eq!(own(Some("r2")).as_deref(), Some("build (amd64)"));
        assert_eq!(own(None), None, "which of two is not known");
        assert_eq!(own(Some("r3")), None);
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encoded("release/1.0 & more"), "release%2F1.0%20%26%20more");
    }

    #[test]
    fn a_step_that_ends_before_it_starts_has_no_time() {
        let at = |second: &str| Some(format!("2026-01-01T00:00:{second}Z").parse().unwrap());
        let mut jobs = [job("build", "completed", "r1")];
        let own = Own {
            job: "build".to_owned(),
            step: "Push".to_owned(),
        };
        for (started, completed, expected) in [("10", "52", Some(42)), ("52", "10", None)] {
            let step = &mut jobs[0].steps[1];
            step.conclusion = Some("success".to_owned());
            (step.started_at, step.completed_at) = (at(started), at(completed));
            assert_eq!(step_time(&jobs, &own).map(|time| time.as_secs()), expected);
        }
    }
}
