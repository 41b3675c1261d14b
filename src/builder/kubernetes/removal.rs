//! Removing the nodes of a run, with retries and within a time limit.
//!
//! In: names, and the uid of each whose creation was confirmed. Out: an [`Outcome`] for each. A node without a uid is searched for, and
//! removed if its labels say that it was created for one run: buildx may have created it, or the answer to our request was lost.

use std::path::Path;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Running;
use super::api_error::ApiError;
use super::cleanup_list::CleanupList;
use super::client::Cluster;
use super::manifest::config_name;
use super::rights::FOR_DEPLOYMENTS;
use super::workload::Found;
use crate::builder::CANCELLED_PATIENCE;
use crate::buildx::{Tool, remove_instance};
use crate::plan::Workload;

const PATIENCE: Duration = Duration::from_secs(15);

/// Limit for a call, short enough for a second attempt.
const TIMEOUT: Duration = Duration::from_secs(5);

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long a missing node is searched for: the API server finishes a creation even if the client has gone.
const AFTERMATH: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);

/// What happened to a node that may exist.
#[derive(Debug)]
enum Outcome {
    Removed,
    /// It does not exist, or not yet.
    Absent,
    /// It was not created for one run of this action.
    Foreign,
    Failed(String),
}

impl Running {
    /// Removes the nodes with their pods, and buildx's files about them, also after a cancellation. Nodes that cannot be removed stay on the
    /// list.
    pub(in crate::builder) async fn stop(
        &self,
        builder: &str,
        tool: &Tool,
        cancel: &CancellationToken,
    ) {
        for node in &self.nodes {
            node.monitor.stop();
        }
        let candidates = self.cleanup.names().iter().map(|name| {
            let node = self.nodes.iter().find(|node| node.name == *name);
            let uid = node.and_then(|node| node.provisioned.uid.as_deref());
            (name.as_str(), uid)
        });
        let mut is_clear = true;
        for (name, outcome) in remove(&self.cluster, candidates, cancel).await {
            // An absent one may still appear.
            is_clear &= matches!(outcome, Outcome::Removed | Outcome::Foreign);
            if let Outcome::Failed(why) = outcome {
                warn(name, &why, &[name], Some(&self.cluster.namespace));
            }
        }
        if is_clear {
            self.cleanup.clear();
        }
        remove_instance(tool, builder);
        tracing::debug!("{} calls to the Kubernetes API", self.cluster.calls());
    }
}

/// Removes what a run left in the cluster, by the list next to its kubeconfig.
pub(in crate::builder) async fn remove_left(
    builder: &str,
    kubeconfig: &Path,
    cancel: &CancellationToken,
) {
    let list = CleanupList::read(kubeconfig, builder);
    let names: Vec<&str> = list.names().iter().map(String::as_str).collect();
    if names.is_empty() {
        return;
    }
    let mut cluster = match Cluster::open(kubeconfig).await {
        Ok(cluster) => cluster,
        Err(error) => {
            warn(builder, &error.to_string(), &names, None);
            return;
        }
    };
    // The run could not have created them otherwise.
    cluster.granted = FOR_DEPLOYMENTS.to_vec();
    let candidates = names.iter().map(|name| (*name, None));
    for (name, outcome) in remove(&cluster, candidates, cancel).await {
        match outcome {
            Outcome::Removed => tracing::info!("removed the builder `{name}` that the run left"),
            Outcome::Absent => tracing::debug!("there is no builder `{name}`"),
            Outcome::Foreign => {
                tracing::warn!("kept the Deployment `{name}`: it has no labels of this action");
            }
            Outcome::Failed(why) => warn(name, &why, &[name], Some(&cluster.namespace)),
        }
    }
}

/// Removes nodes in parallel, given by name and uid.
async fn remove<'a>(
    cluster: &Cluster,
    candidates: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    cancel: &CancellationToken,
) -> Vec<(&'a str, Outcome)> {
    let cluster = &cluster.with_timeout(TIMEOUT);
    let removals = candidates
        .map(|(name, uid)| async move { (name, retry(cluster, name, uid, cancel).await) });
    join_all(removals).await
}

/// Removes a node, with retries after transient errors. After a cancellation there is less time.
async fn retry(
    cluster: &Cluster,
    name: &str,
    uid: Option<&str>,
    cancel: &CancellationToken,
) -> Outcome {
    let begun = Instant::now();
    let waits = ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times();
    let mut last = String::new();
    let removal = (|| once(cluster, name, uid))
        .retry(waits)
        .when(ApiError::is_transient)
        .notify(|error, _| {
            tracing::debug!("{error}, trying again");
            last = format!(": {error}");
        });
    let cancelled = async {
        cancel.cancelled().await;
        sleep(CANCELLED_PATIENCE).await;
    };
    tokio::select! {
        biased;
        removed = removal => {
            return removed.unwrap_or_else(|error| Outcome::Failed(error.to_string()));
        }
        () = sleep(PATIENCE) => {}
        () = cancelled => {}
    }
    let seconds = begun.elapsed().as_secs_f64();
    Outcome::Failed(format!("it took longer than {seconds:.0} s{last}"))
}

async fn once(cluster: &Cluster, name: &str, uid: Option<&str>) -> Result<Outcome, ApiError> {
    if uid.is_some() {
        cluster.delete(Workload::Deployment, name, uid).await?;
        return Ok(Outcome::Removed);
    }
    let found = find(cluster, name).await?;
    let outcome = match &found {
        Some(found) if !found.is_of_one_run() => return Ok(Outcome::Foreign),
        Some(found) => {
            let uid = found.uid();
            cluster.delete(Workload::Deployment, name, uid).await?;
            Outcome::Removed
        }
        None => Outcome::Absent,
    };
    // buildx's own ConfigMap has no owner, so it is not deleted with the workload.
    match cluster.delete_config(name).await {
        Err(error) if error.is_forbidden() => tracing::debug!("{error}"),
        deleted => deleted?,
    }
    Ok(outcome)
}

/// Searches for a node, for [`AFTERMATH`] if it is missing.
async fn find(cluster: &Cluster, name: &str) -> Result<Option<Found>, ApiError> {
    let begun = Instant::now();
    loop {
        let found = cluster.find(Workload::Deployment, name).await?;
        if found.is_some() || begun.elapsed() > AFTERMATH {
            return Ok(found);
        }
        sleep(PAUSE).await;
    }
}

/// Warns that a builder may still exist, with the command that removes it.
fn warn(builder: &str, why: &str, names: &[&str], namespace: Option<&str>) {
    let command = command(names, namespace);
    tracing::warn!(
        "could not remove the builder `{builder}`: {why}\nit may still exist: {command}"
    );
}

fn command(names: &[&str], namespace: Option<&str>) -> String {
    let object = |name| format!(" deployment/{name} configmap/{}", config_name(name));
    let objects: String = names.iter().copied().map(object).collect();
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
