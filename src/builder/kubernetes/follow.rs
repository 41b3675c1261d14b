//! Following a builder's pods until they are ready.
//!
//! In: a workload that was just created. Out: what happened when, or why nothing became of it. By
//! a watch on pods where that is allowed, else by listing them once a second, which buildx's own
//! rights are enough for. Events are asked for while a pod is not started, if they may be read.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::core::WatchEvent;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::KubernetesError;
use super::api::ApiError;
use super::boot::{self, Milestone, Trouble};
use super::client::Cluster;
use super::make::Made;
use crate::plan::Workload;

/// Nothing is asked for more often.
const BEAT: Duration = Duration::from_secs(1);

/// How many events and log lines are shown when it fails.
const LAST_EVENTS: usize = 5;
const LOG_LINES: i64 = 20;

/// The way of one builder: when it reached what.
#[derive(Debug, Default, Clone)]
pub(super) struct Way {
    pub reached: Vec<(Milestone, Timestamp)>,
    pub node: Option<String>,
}

type Changes = BoxStream<'static, kube::Result<WatchEvent<Pod>>>;

pub(super) struct Follower<'a> {
    cluster: &'a Cluster,
    name: &'a str,
    workload: Workload,
    replicas: usize,
    /// False while buildx may still have to make the workload.
    is_made: bool,
    selector: String,
    pods: BTreeMap<String, Seen>,
    events: Vec<Event>,
    may_read_events: bool,
    way: Way,
    trouble: Option<Trouble>,
    begun: Timestamp,
}

/// A pod, and when it was first seen.
struct Seen {
    pod: Pod,
    since: Timestamp,
}

impl<'a> Follower<'a> {
    pub(super) fn new(cluster: &'a Cluster, name: &'a str, made: &Made) -> Self {
        Self {
            cluster,
            name,
            workload: made.workload,
            replicas: usize::try_from(made.replicas).unwrap_or(usize::MAX),
            is_made: made.uid.is_some(),
            selector: format!("app={name}"),
            pods: BTreeMap::new(),
            events: Vec::new(),
            may_read_events: true,
            way: Way::default(),
            trouble: None,
            begun: Timestamp::now(),
        }
    }

    /// Waits until all pods are ready.
    ///
    /// # Errors
    /// When they aren't within `timeout`, or when waiting can't help.
    pub(super) async fn ready(&mut self, timeout: Duration) -> Result<(), KubernetesError> {
        let deadline = Instant::now() + timeout;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.watch().await?;
        loop {
            if self.is_ready() {
                return Ok(());
            }
            if self.trouble.as_ref().is_some_and(|trouble| trouble.lasting) {
                return Err(self.failed(None).await);
            }
            tokio::select! {
                change = next(&mut changes) => match change {
                    Some(Ok(change)) => self.change(change),
                    // Ended by the server, or too old: a new one from a new list.
                    _ => {
                        tokio::time::sleep(BEAT).await;
                        changes = self.watch().await?;
                    }
                },
                _ = beat.tick() => self.beat(changes.is_some()).await?,
                () = sleep_until(deadline) => return Err(self.failed(Some(timeout)).await),
            }
        }
    }

    /// How far they came.
    pub(super) fn way(self) -> Way {
        self.way
    }

    /// The pods as they are, and what changes from then on; none where that is not allowed.
    async fn watch(&mut self) -> Result<Option<Changes>, KubernetesError> {
        let (pods, version) = match self.cluster.pods(&self.selector).await {
            Ok(listed) => listed,
            Err(error) => return self.later(error).map(|()| None),
        };
        self.replace(pods);
        match self.cluster.watch(&self.selector, &version).await {
            Ok(changes) => Ok(Some(changes)),
            Err(error) if error.is_forbidden() => {
                tracing::debug!("{error}: pods are listed once a second instead");
                Ok(None)
            }
            Err(error) => self.later(error).map(|()| None),
        }
    }

    async fn beat(&mut self, watching: bool) -> Result<(), KubernetesError> {
        if !watching {
            match self.cluster.pods(&self.selector).await {
                Ok((pods, _)) => self.replace(pods),
                Err(error) => self.later(error)?,
            }
        }
        if self.pods.is_empty() {
            match self.cluster.find(self.workload, self.name).await {
                Ok(Some(found)) => {
                    self.is_made = true;
                    if self.workload == Workload::StatefulSet {
                        self.read_events_of(self.name.to_owned()).await;
                    }
                    let status = &found.object.data["status"];
                    self.notice_trouble(boot::no_pods(status, &self.events));
                }
                Ok(None) if !self.is_made => {}
                Ok(None) => {
                    return Err(KubernetesError::Gone {
                        name: self.name.to_owned(),
                    });
                }
                Err(error) => self.later(error)?,
            }
        } else {
            self.read_events().await;
            self.look();
        }
        Ok(())
    }

    /// A server that is away for a moment is asked again; one that refuses is not.
    fn later(&self, error: ApiError) -> Result<(), KubernetesError> {
        // The list is too old to be watched from.
        let is_old = matches!(error, ApiError::Refused { code: 410, .. });
        if !is_old && !error.may_pass() {
            return Err(error.into());
        }
        tracing::debug!("{error}, asking again");
        Ok(())
    }

    async fn read_events(&mut self) {
        let started = self
            .way
            .reached
            .iter()
            .any(|(milestone, _)| *milestone >= Milestone::Started);
        let Some(pod) = self.pods.keys().next_back() else {
            return;
        };
        if !started {
            self.read_events_of(pod.clone()).await;
        }
    }

    async fn read_events_of(&mut self, object: String) {
        if !self.may_read_events {
            return;
        }
        match self.cluster.events(&object).await {
            Ok(events) => self.events = events,
            Err(error) if error.is_forbidden() => self.may_read_events = false,
            Err(error) => tracing::debug!("{error}"),
        }
    }

    fn change(&mut self, change: WatchEvent<Pod>) {
        match change {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => self.put(pod),
            WatchEvent::Deleted(pod) => {
                self.pods
                    .remove(pod.metadata.name.as_deref().unwrap_or_default());
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => tracing::debug!("watch: {}", status.message),
        }
        self.look();
    }

    fn replace(&mut self, pods: Vec<Pod>) {
        let names: Vec<String> = pods
            .iter()
            .filter_map(|pod| pod.metadata.name.clone())
            .collect();
        self.pods.retain(|name, _| names.contains(name));
        for pod in pods {
            self.put(pod);
        }
        self.look();
    }

    fn put(&mut self, pod: Pod) {
        let Some(name) = pod.metadata.name.clone() else {
            return;
        };
        let since = self
            .pods
            .get(&name)
            .map_or_else(Timestamp::now, |seen| seen.since);
        self.pods.insert(name, Seen { pod, since });
    }

    /// Takes note of milestones and troubles. With several pods the last one counts.
    fn look(&mut self) {
        let now = Timestamp::now();
        let slowest = self
            .pods
            .values()
            .map(|seen| boot::milestone(&seen.pod, &self.events))
            .min();
        if let Some(milestone) = slowest {
            self.reach(milestone, now);
        }
        let trouble = self.pods.values().find_map(|seen| {
            let seconds = now.duration_since(seen.since).as_secs();
            boot::trouble(&seen.pod, &self.events, seconds)
        });
        self.notice_trouble(trouble);
    }

    fn reach(&mut self, milestone: Milestone, now: Timestamp) {
        let node = self.pods.values().find_map(|seen| boot::node(&seen.pod));
        if self.way.node.is_none() {
            self.way.node = node.map(str::to_owned);
        }
        let farthest = self.way.reached.last().map(|(milestone, _)| *milestone);
        if farthest.is_some_and(|farthest| farthest >= milestone) {
            return;
        }
        // What came and went between two looks took no time that we know of. Of the pull only events
        // tell, which may be forbidden.
        let passed = [Milestone::Created, Milestone::Scheduled, Milestone::Started];
        for before in passed {
            if before < milestone && farthest.is_none_or(|farthest| farthest < before) {
                self.way.reached.push((before, now));
            }
        }
        self.way.reached.push((milestone, now));
        let seconds = now.duration_since(self.begun).as_secs_f64();
        let what = match milestone {
            Milestone::Created => return,
            Milestone::Scheduled => {
                format!(
                    "scheduled on {}",
                    self.way.node.as_deref().unwrap_or("a node")
                )
            }
            Milestone::Pulling => "pulling its image".to_owned(),
            Milestone::Started => "started".to_owned(),
            Milestone::Ready => "ready".to_owned(),
        };
        tracing::info!("builder {what} after {seconds:.1} s");
    }

    /// Says what is in the way as soon as it is, and again when that changes.
    fn notice_trouble(&mut self, trouble: Option<Trouble>) {
        if let Some(trouble) = &trouble
            && self.trouble.as_ref().map(|old| &old.text) != Some(&trouble.text)
        {
            tracing::info!("builder not ready yet: {}", trouble.text);
            tracing::info!("hint: {}", trouble.hint);
        }
        self.trouble = trouble;
    }

    fn is_ready(&self) -> bool {
        let ready = self.pods.values().filter(|seen| boot::is_ready(&seen.pod));
        ready.count() >= self.replicas
    }

    /// The error, after showing what there is to see.
    async fn failed(&mut self, timeout: Option<Duration>) -> KubernetesError {
        self.read_events().await;
        let pod = self.pods.iter().next_back();
        let mut state = None;
        if let Some((name, seen)) = pod {
            for event in self.events.iter().rev().take(LAST_EVENTS).rev() {
                tracing::info!("  event {}", boot::line(event));
            }
            state = Some(boot::state(&seen.pod));
            // Without a node there was never a container.
            if boot::node(&seen.pod).is_some()
                && let Ok(log) = self.cluster.log(name, LOG_LINES).await
            {
                for line in log.lines() {
                    tracing::info!("  buildkitd: {line}");
                }
            }
        }
        let why = match (&self.trouble, state) {
            (Some(trouble), _) => trouble.text.clone(),
            (None, Some(state)) => state,
            (None, None) => "it has no pod".to_owned(),
        };
        KubernetesError::NotReady {
            name: self.name.to_owned(),
            namespace: self.cluster.namespace.clone(),
            seconds: timeout.map(|timeout| timeout.as_secs()),
            why,
            hint: self.trouble.as_ref().map(|trouble| trouble.hint.clone()),
        }
    }
}

/// The next change; never one where nothing is watched.
async fn next(changes: &mut Option<Changes>) -> Option<kube::Result<WatchEvent<Pod>>> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}
