//! Removing the nodes of a run: again while that may help, and within a time.
//!
//! In: names, and the uid of each whose creation was answered. Out: what became of each. One without
//! a uid is looked for, and removed where its labels say that it ended with a run of ours: it may be
//! buildx's, or there though nobody told us.

use std::path::Path;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Running;
use super::api::ApiError;
use super::client::Cluster;
use super::manifest::config_name;
use super::note::Note;
use super::workload::Found;
use crate::builder::CANCELLED_PATIENCE;
use crate::buildx::{Tool, remove_instance};
use crate::plan::Workload;

/// How long it may take in all.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long one call may take: less than another, so that there is time for a second.
const TIMEOUT: Duration = Duration::from_secs(5);

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long one is waited for that may come yet: the API server goes on with a creation whose answer
/// nobody waits for.
const AFTERMATH: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);

/// A node that there may be.
#[derive(Debug, Clone, Copy)]
struct Candidate<'a> {
    name: &'a str,
    uid: Option<&'a str>,
}

/// What became of one.
#[derive(Debug)]
enum Outcome {
    Removed,
    /// There was none, so far.
    Absent,
    /// It is somebody else's.
    Foreign,
    Failed(String),
}

impl Running {
    /// Removes the workload with its pods, and buildx's knowledge of it. Also after a
    /// cancellation: what we made does not stay behind. What can't be removed stays noted.
    pub(in crate::builder) async fn stop(
        &self,
        builder: &str,
        tool: &Tool,
        cancel: &CancellationToken,
    ) {
        for node in &self.nodes {
            node.guard.stop();
        }
        let names = self.note.names().iter();
        let candidates: Vec<Candidate<'_>> = names
            .map(|name| {
                let mut nodes = self.nodes.iter();
                let node = nodes.find(|node| node.name == *name);
                let uid = node.and_then(|node| node.made.uid.as_deref());
                Candidate { name, uid }
            })
            .collect();
        let outcomes = remove(&self.cluster, &candidates, cancel).await;
        let mut is_clear = true;
        for (candidate, outcome) in candidates.iter().zip(outcomes) {
            match outcome {
                Outcome::Removed | Outcome::Foreign => {}
                // It may come yet.
                Outcome::Absent => is_clear = false,
                Outcome::Failed(why) => {
                    is_clear = false;
                    let namespace = Some(self.cluster.namespace.as_str());
                    warn(candidate.name, &why, &[candidate.name], namespace);
                }
            }
        }
        if is_clear {
            self.note.clear();
        }
        remove_instance(tool, builder);
        tracing::debug!(
            "{} calls to the Kubernetes API in all",
            self.cluster.calls()
        );
    }
}

/// Removes what a run left in the cluster, by its note beside its kubeconfig. Says what it did.
pub(in crate::builder) async fn remove_left(
    builder: &str,
    kubeconfig: &Path,
    cancel: &CancellationToken,
) {
    let note = Note::left(kubeconfig, builder);
    let names = note.names().iter().map(String::as_str);
    let candidates: Vec<Candidate<'_>> = names
        .clone()
        .map(|name| Candidate { name, uid: None })
        .collect();
    if candidates.is_empty() {
        return;
    }
    let cluster = match Cluster::open(kubeconfig).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let names: Vec<&str> = names.collect();
            warn(builder, &error.to_string(), &names, None);
            return;
        }
    };
    let outcomes = remove(&cluster, &candidates, cancel).await;
    for (Candidate { name, .. }, outcome) in candidates.iter().zip(outcomes) {
        match outcome {
            Outcome::Removed => {
                tracing::info!("removed the builder `{name}` that the run had left");
            }
            Outcome::Absent => tracing::debug!("there is no builder `{name}`"),
            Outcome::Foreign => tracing::warn!(
                "the Deployment `{name}` does not have the labels of a builder of this action: it is left as it is"
            ),
            Outcome::Failed(why) => warn(name, &why, &[name], Some(&cluster.namespace)),
        }
    }
}

/// Removes nodes, all at once. After a cancellation there is less time.
async fn remove(
    cluster: &Cluster,
    candidates: &[Candidate<'_>],
    cancel: &CancellationToken,
) -> Vec<Outcome> {
    let begun = Instant::now();
    let cluster = &cluster.with_timeout(TIMEOUT);
    let mut last: Vec<Option<ApiError>> = candidates.iter().map(|_| None).collect();
    let mut outcomes: Vec<Option<Outcome>> = candidates.iter().map(|_| None).collect();
    let work = candidates.iter().zip(&mut last).zip(&mut outcomes);
    let work = join_all(work.map(|((candidate, last), outcome)| async move {
        *outcome = Some(persistently(cluster, *candidate, last).await);
    }));
    tokio::select! {
        biased;
        _ = work => {}
        () = late(cancel) => {}
    }
    let seconds = begun.elapsed().as_secs_f64();
    let ended = outcomes.into_iter().zip(last);
    ended
        .map(|(outcome, last)| {
            outcome.unwrap_or_else(|| {
                let why = last.map_or(String::new(), |error| format!(": {error}"));
                Outcome::Failed(format!("it was not done within {seconds:.0} s{why}"))
            })
        })
        .collect()
}

/// Ends when there is no more time.
async fn late(cancel: &CancellationToken) {
    let cancelled = async {
        cancel.cancelled().await;
        sleep(CANCELLED_PATIENCE).await;
    };
    tokio::select! {
        () = sleep(PATIENCE) => {}
        () = cancelled => {}
    }
}

/// Removes a node, again and again where what failed may pass. `last` is why it did.
async fn persistently(
    cluster: &Cluster,
    candidate: Candidate<'_>,
    last: &mut Option<ApiError>,
) -> Outcome {
    let waits = ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times();
    for wait in waits.build() {
        match once(cluster, candidate).await {
            Ok(outcome) => return outcome,
            Err(error) if error.may_pass() => {
                tracing::debug!("{error}, trying again");
                *last = Some(error);
            }
            Err(error) => return Outcome::Failed(error.to_string()),
        }
        sleep(wait).await;
    }
    Outcome::Failed("it was given up".to_owned())
}

async fn once(cluster: &Cluster, candidate: Candidate<'_>) -> Result<Outcome, ApiError> {
    let Candidate { name, uid } = candidate;
    if uid.is_some() {
        cluster.delete(Workload::Deployment, name, uid).await?;
        return Ok(Outcome::Removed);
    }
    let found = found(cluster, name).await?;
    let outcome = match &found {
        Some(found) if !found.ends_with_its_run() => return Ok(Outcome::Foreign),
        Some(found) => {
            let uid = found.uid();
            cluster.delete(Workload::Deployment, name, uid).await?;
            Outcome::Removed
        }
        None => Outcome::Absent,
    };
    // One that buildx made has no owner to go with, as ours do.
    match cluster.delete_config(name).await {
        Err(error) if error.is_forbidden() => tracing::debug!("{error}"),
        deleted => deleted?,
    }
    Ok(outcome)
}

/// Looks for a node, and for a moment longer where there is none.
async fn found(cluster: &Cluster, name: &str) -> Result<Option<Found>, ApiError> {
    let begun = Instant::now();
    loop {
        let found = cluster.find(Workload::Deployment, name).await?;
        if found.is_some() || begun.elapsed() > AFTERMATH {
            return Ok(found);
        }
        sleep(PAUSE).await;
    }
}

/// Says that a builder is still there, and what removes it.
fn warn(builder: &str, why: &str, names: &[&str], namespace: Option<&str>) {
    tracing::warn!(
        "could not remove the builder `{builder}`: {why}\nit may still be there: {}",
        command(names, namespace)
    );
}

/// What somebody may type instead.
fn command(names: &[&str], namespace: Option<&str>) -> String {
    let objects = names.iter().flat_map(|name| {
        [
            format!(" deployment/{name}"),
            format!(" configmap/{}", config_name(name)),
        ]
    });
    let objects: String = objects.collect();
    let namespace = namespace.map_or(String::new(), |name| format!(" --namespace {name}"));
    format!("`kubectl delete{objects}{namespace} --ignore-not-found` removes it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_everything_that_may_be_left() {
        assert_eq!(
            command(&["b-amd64"], Some("ci")),
            "`kubectl delete deployment/b-amd64 configmap/b-amd64-config --namespace ci --ignore-not-found` removes it"
        );
    }
}
