//! Follows a builder's pods until they are ready.
//!
//! In: a workload that was just created. Out: when each stage was reached, or why the builder is not ready. Pods are watched if that is
//! allowed, or else listed once a second, which buildx's own rights allow. Events are read until the pods have started, if that is allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::core::WatchEvent;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::api_error::ApiError;
use super::boot::{self, Milestone, Problem};
use super::client::Cluster;
use super::error::KubernetesError;
use super::provision::Provisioned;
use crate::plan::Workload;

const POLL: Duration = Duration::from_secs(1);

/// Events and log lines shown with an error.
const LAST_EVENTS: usize = 5;
const LOG_LINES: i64 = 20;

/// How far one node's boot came, and when.
#[derive(Debug, Default, Clone)]
pub(super) struct Progress {
    pub reached: Vec<(Milestone, Timestamp)>,
    pub node: Option<String>,
}

type Changes = BoxStream<'static, kube::Result<WatchEvent<Pod>>>;

pub(super) struct Follower<'a> {
    cluster: &'a Cluster,
    name: &'a str,
    workload: Workload,
    replicas: usize,
    /// False while buildx may still have to create the workload.
    is_created: bool,
    selector: String,
    /// Pods by name, and when each was first seen.
    pods: BTreeMap<String, (Pod, Instant)>,
    events: Vec<Event>,
    may_read_events: bool,
    pub progress: Progress,
    problem: Option<Problem>,
    begun: Instant,
}

impl<'a> Follower<'a> {
    pub(super) fn new(cluster: &'a Cluster, name: &'a str, provisioned: &Provisioned) -> Self {
        Self {
            cluster,
            name,
            workload: provisioned.workload,
            replicas: usize::try_from(provisioned.replicas).unwrap_or(usize::MAX),
            is_created: provisioned.uid.is_some(),
            selector: format!("app={name}"),
            pods: BTreeMap::new(),
            events: Vec::new(),
            may_read_events: true,
            progress: Progress::default(),
            problem: None,
            begun: Instant::now(),
        }
    }

    /// Waits until all pods are ready.
    pub(super) async fn ready(&mut self, timeout: Duration) -> Result<(), KubernetesError> {
        let deadline = Instant::now() + timeout;
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.watch().await?;
        loop {
            let ready = self.pods.values().filter(|(pod, _)| boot::is_ready(pod));
            if ready.count() >= self.replicas {
                return Ok(());
            }
            if matches!(&self.problem, Some(problem) if problem.is_final) {
                return Err(self.failed(None).await);
            }
            tokio::select! {
                change = next(&mut changes) => match change {
                    Some(Ok(change)) => self.change(change),
                    // The server ended the watch, or its list is too old: a new list and watch.
                    _ => {
                        tokio::time::sleep(POLL).await;
                        changes = self.watch().await?;
                    }
                },
                _ = poll.tick() => self.poll(changes.is_some()).await?,
                () = sleep_until(deadline) => return Err(self.failed(Some(timeout)).await),
            }
        }
    }

    /// Lists the pods and watches them from then on; `None` if that is not allowed.
    async fn watch(&mut self) -> Result<Option<Changes>, KubernetesError> {
        let (pods, version) = match self.cluster.pods(&self.selector).await {
            Ok(listed) => listed,
            Err(error) => return retry_later(error).map(|()| None),
        };
        self.replace(pods);
        match self.cluster.watch(&self.selector, &version).await {
            Ok(changes) => Ok(Some(changes)),
            Err(error) if error.is_forbidden() => {
                tracing::debug!("{error}: pods are listed once a second instead");
                Ok(None)
            }
            Err(error) => retry_later(error).map(|()| None),
        }
    }

    async fn poll(&mut self, watching: bool) -> Result<(), KubernetesError> {
        if !watching {
            match self.cluster.pods(&self.selector).await {
                Ok((pods, _)) => self.replace(pods),
                Err(error) => retry_later(error)?,
            }
        }
        if !self.pods.is_empty() {
            self.read_pod_events().await;
            self.update();
            return Ok(());
        }
        match self.cluster.find(self.workload, self.name).await {
            Ok(Some(found)) => {
                self.is_created = true;
                if self.workload == Workload::StatefulSet {
                    self.read_events(&[self.name.to_owned()]).await;
                }
                let status = &found.object.data["status"];
                self.report(boot::no_pods(status, &self.events));
                Ok(())
            }
            Ok(None) if self.is_created => Err(KubernetesError::Gone {
                name: self.name.to_owned(),
            }),
            Ok(None) => Ok(()),
            Err(error) => retry_later(error),
        }
    }

    async fn read_pod_events(&mut self) {
        let last = self.progress.reached.last();
        let started = last.is_some_and(|(milestone, _)| *milestone >= Milestone::Started);
        if let Some((name, (pod, _))) = self.pods.iter().next_back().filter(|_| !started) {
            let mut objects = vec![name.clone()];
            // A pod may wait for its volumes before it has a node.
            if boot::node(pod).is_none() {
                objects.extend(boot::claims(pod));
            }
            self.read_events(&objects).await;
        }
    }

    /// Reads the events of these objects.
    async fn read_events(&mut self, objects: &[String]) {
        let mut all = Vec::new();
        for object in objects {
            if !self.may_read_events {
                return;
            }
            match self.cluster.events(object).await {
                Ok(events) => all.extend(events),
                Err(error) if error.is_forbidden() => self.may_read_events = false,
                Err(error) => {
                    tracing::debug!("{error}");
                    return;
                }
            }
        }
        self.events = all;
    }

    fn change(&mut self, change: WatchEvent<Pod>) {
        match change {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => self.put(pod),
            WatchEvent::Deleted(pod) => {
                let name = pod.metadata.name.unwrap_or_default();
                self.pods.remove(&name);
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => tracing::debug!("watch: {}", status.message),
        }
        self.update();
    }

    fn replace(&mut self, pods: Vec<Pod>) {
        self.pods.retain(|name, _| {
            let is_same = |pod: &Pod| pod.metadata.name.as_ref() == Some(name);
            pods.iter().any(is_same)
        });
        pods.into_iter().for_each(|pod| self.put(pod));
        self.update();
    }

    fn put(&mut self, pod: Pod) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let since = self.pods.get(&name).map(|(_, since)| *since);
        self.pods
            .insert(name, (pod, since.unwrap_or_else(Instant::now)));
    }

    /// Records milestones and problems. The slowest pod counts.
    fn update(&mut self) {
        let pods = self.pods.values();
        let slowest = pods.map(|(pod, _)| boot::milestone(pod, &self.events));
        if let Some(milestone) = slowest.min() {
            self.reach(milestone);
        }
        let problem = self.problem(Instant::elapsed);
        self.report(problem);
    }

    fn problem(&self, age: fn(&Instant) -> Duration) -> Option<Problem> {
        let mut pods = self.pods.values();
        pods.find_map(|(pod, since)| boot::problem(pod, &self.events, age(since)))
    }

    fn reach(&mut self, milestone: Milestone) {
        let now = Timestamp::now();
        if self.progress.node.is_none() {
            let mut pods = self.pods.values();
            let node = pods.find_map(|(pod, _)| boot::node(pod));
            self.progress.node = node.map(str::to_owned);
        }
        let reached = &mut self.progress.reached;
        let last = reached.last().map(|(milestone, _)| *milestone);
        if last >= Some(milestone) {
            return;
        }
        // Stages between two polls took no known time. Only events show the pull, and they may be forbidden.
        let all = [Milestone::Created, Milestone::Scheduled, Milestone::Started];
        let skipped = |stage: &Milestone| last < Some(*stage) && *stage < milestone;
        let skipped = all.into_iter().filter(skipped);
        reached.extend(skipped.chain([milestone]).map(|stage| (stage, now)));
        let node = self.progress.node.as_deref().unwrap_or("a node");
        let what = match milestone {
            Milestone::Created => return,
            Milestone::Scheduled => format!("scheduled on {node}"),
            Milestone::Pulling => "pulling its image".to_owned(),
            Milestone::Started => "started".to_owned(),
            Milestone::Ready => "ready".to_owned(),
        };
        let seconds = self.begun.elapsed().as_secs_f64();
        tracing::info!("builder {what} after {seconds:.1} s");
    }

    /// Logs a problem when it appears or changes.
    fn report(&mut self, problem: Option<Problem>) {
        if let Some(problem) = &problem
            && self.problem.as_ref().map(|old| &old.text) != Some(&problem.text)
        {
            tracing::info!("builder not ready yet: {}", problem.text);
            tracing::info!("hint: {}", problem.hint);
        }
        self.problem = problem;
    }

    /// The error, after logging events and BuildKit's log.
    async fn failed(&mut self, timeout: Option<Duration>) -> KubernetesError {
        self.read_pod_events().await;
        let problem = self.problem(|_| Duration::MAX).or(self.problem.take());
        let mut state = None;
        if let Some((name, (pod, _))) = self.pods.iter().next_back() {
            for event in self.events.iter().rev().take(LAST_EVENTS).rev() {
                tracing::info!("  event {}", boot::line(event));
            }
            state = Some(boot::state(pod));
            // A pod without a node never had a container.
            if boot::node(pod).is_some() {
                show_log(self.cluster, name, false).await;
            }
        }
        let (why, hint) = match problem {
            Some(problem) => (problem.text, Some(problem.hint)),
            None => (state.unwrap_or_else(|| "it has no pod".to_owned()), None),
        };
        KubernetesError::NotReady {
            name: self.name.to_owned(),
            namespace: self.cluster.namespace.clone(),
            seconds: timeout.map(|timeout| timeout.as_secs()),
            why,
            hint,
        }
    }
}

/// Logs the last lines of BuildKit's log, those of its previous run if it was restarted.
pub(super) async fn show_log(cluster: &Cluster, pod: &str, previous: bool) {
    match cluster.log(pod, LOG_LINES, previous).await {
        Ok(log) => {
            for line in log.lines() {
                tracing::info!("  buildkitd: {line}");
            }
        }
        Err(error) => tracing::debug!("{error}"),
    }
}

/// Ignores an error if a later call may succeed: a transient one, or a list too old to be watched from.
fn retry_later(error: ApiError) -> Result<(), KubernetesError> {
    if error.is_transient() || matches!(error, ApiError::Refused { code: 410, .. }) {
        tracing::debug!("{error}, trying again");
        return Ok(());
    }
    Err(error.into())
}

/// The next change; pending forever without a watch.
async fn next(changes: &mut Option<Changes>) -> Option<kube::Result<WatchEvent<Pod>>> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}
