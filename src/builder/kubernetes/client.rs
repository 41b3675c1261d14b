//! The calls to the API server.
//!
//! In: the run's kubeconfig. Out: typed answers, or an [`ApiError`]. Every call ends within [`TIMEOUT`]; informative calls
//! ([`Cluster::events`], logs) may be forbidden.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::HeaderValue;
use http::header::USER_AGENT;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod};
use kube::api::{
    Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::WatchEvent;
use kube::{Config, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::api_error::ApiError;
use super::login::Login;
use super::manifest::{self, HEARTBEAT};
use crate::aws::error_chain;
use crate::runner;

/// Limit for a call. An API server answers within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The server's limit for a watch (seconds); a new one follows.
const WATCH_SECONDS: u32 = 290;

/// How long a call that was allowed at the start is repeated when it is forbidden: an API server that was restarted knows no roles yet.
const RIGHTS_RETURN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

/// The owner of the fields that we set
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers>).
const FIELD_MANAGER: &str = "fast-ecr-push";

/// A cluster's API, in one namespace.
#[derive(Clone)]
pub(super) struct Cluster {
    pub login: Arc<Login>,
    pub server: String,
    pub namespace: String,
    /// Who can reach the server, if not everybody can.
    pub restriction: Option<String>,
    /// The rights that the review at the start found.
    pub granted: Vec<Right>,
    calls: Arc<AtomicUsize>,
    timeout: Duration,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cluster({}, {})", self.server, self.namespace)
    }
}

impl Cluster {
    /// Reads the kubeconfig of the run; no request yet.
    pub(super) async fn open(kubeconfig: &Path) -> Result<Self, ApiError> {
        let setup = |error| ApiError::Kubeconfig(Box::new(error));
        let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(setup)?;
        let mut clusters = kubeconfig.clusters.iter();
        let proxy = clusters.find_map(|named| named.cluster.as_ref()?.proxy_url.clone());
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(setup)?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // The kubeconfig has the proxy; kube would use the environment's for any server.
        config.proxy_url = proxy.and_then(|proxy| proxy.parse().ok());
        let agent = HeaderValue::from_static(runner::USER_AGENT);
        config.headers.push((USER_AGENT, agent));
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        Ok(Self {
            namespace: config.default_namespace.clone(),
            login: Arc::new(Login::new(config, &server)),
            server,
            restriction: None,
            granted: Vec::new(),
            calls: Arc::default(),
            timeout: TIMEOUT,
        })
    }

    pub(super) fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Creates an object that a workload needs; it may exist.
    pub(super) async fn create_if_missing<K>(
        &self,
        what: &str,
        manifest: Value,
    ) -> Result<(), ApiError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + fmt::Debug + Serialize + DeserializeOwned,
    {
        let typed: K = parse(what, manifest)?;
        let api: Api<K> = self.api().await?;
        let parameters = post();
        let created = self.call(what, || api.create(&parameters, &typed)).await;
        unless_code(409, created)
    }

    pub(super) async fn claim(
        &self,
        name: &str,
    ) -> Result<Option<PersistentVolumeClaim>, ApiError> {
        let api: Api<PersistentVolumeClaim> = self.api().await?;
        self.call("get a PersistentVolumeClaim", || api.get_opt(name))
            .await
    }

    pub(super) async fn delete_config(&self, workload: &str) -> Result<(), ApiError> {
        let name = &manifest::config_name(workload);
        let api: Api<ConfigMap> = self.api().await?;
        let parameters = DeleteParams::default();
        let deleted = self.call("delete a ConfigMap", || api.delete(name, &parameters));
        unless_code(404, deleted.await)
    }

    pub(super) async fn deployments(&self, selector: &str) -> Result<Vec<Deployment>, ApiError> {
        let parameters = ListParams::default().labels(selector);
        let api = self.api::<Deployment>().await?;
        let list = self.call("list Deployments", || api.list(&parameters));
        Ok(list.await?.items)
    }

    pub(super) async fn renew(&self, name: &str, heartbeat: Timestamp) -> Result<(), ApiError> {
        let heartbeat = json!({ HEARTBEAT: heartbeat.to_string() });
        let patch = Patch::Merge(json!({ "metadata": { "annotations": heartbeat } }));
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.api::<Deployment>().await?;
        let call = || api.patch(name, &parameters, &patch);
        self.call("patch the Deployment", call).await.map(drop)
    }

    /// The pods and the version of the list.
    pub(super) async fn pods(&self, selector: &str) -> Result<(Vec<Pod>, String), ApiError> {
        let parameters = ListParams::default().labels(selector);
        let api = self.api::<Pod>().await?;
        let list = self.call("list pods", || api.list(&parameters)).await?;
        let version = list.metadata.resource_version.unwrap_or_default();
        Ok((list.items, version))
    }

    /// Changes of pods after a version.
    pub(super) async fn watch(
        &self,
        selector: &str,
        version: &str,
    ) -> Result<BoxStream<'static, kube::Result<WatchEvent<Pod>>>, ApiError> {
        let parameters = WatchParams::default()
            .labels(selector)
            .timeout(WATCH_SECONDS);
        let api = self.api::<Pod>().await?;
        let stream = self.call("watch pods", || api.watch(&parameters, version));
        Ok(stream.await?.boxed())
    }

    /// The events of an object, oldest first.
    pub(super) async fn events(&self, object: &str) -> Result<Vec<Event>, ApiError> {
        let parameters = ListParams::default().fields(&format!("involvedObject.name={object}"));
        let api: Api<Event> = self.api().await?;
        let list = self.call("list events", || api.list(&parameters)).await?;
        let mut events = list.items;
        events.sort_by_key(|event| {
            let times = [&event.last_timestamp, &event.first_timestamp];
            let time = times.into_iter().flatten().next().map(|time| time.0);
            // The scheduler's events have only this one.
            let time = time.or(event.event_time.as_ref().map(|time| time.0));
            (time, event.metadata.resource_version.clone())
        });
        Ok(events)
    }

    /// The last lines of BuildKit's log, or of its log before a restart.
    pub(super) async fn log(
        &self,
        pod: &str,
        lines: i64,
        previous: bool,
    ) -> Result<String, ApiError> {
        let parameters = LogParams {
            container: Some("buildkitd".to_owned()),
            tail_lines: Some(lines),
            limit_bytes: Some(64 * 1024),
            previous,
            ..LogParams::default()
        };
        let api = self.api::<Pod>().await?;
        self.call("read the pod's log", || api.logs(pod, &parameters))
            .await
    }

    /// Whether a call is allowed; true if the cluster does not say.
    pub(super) async fn may(&self, right: &Right) -> Result<bool, ApiError> {
        let what = "review our rights";
        let review = json!({ "metadata": {}, "spec": { "resourceAttributes": {
            "namespace": self.namespace, "verb": right.verb, "group": right.group,
            "resource": right.resource, "subresource": right.subresource,
        }}});
        let review: SelfSubjectAccessReview = parse(what, review)?;
        let api: Api<SelfSubjectAccessReview> = Api::all(self.login.client().await?);
        let parameters = post();
        let review = self.call(what, || api.create(&parameters, &review));
        match review.await {
            Ok(review) => Ok(review.status.is_none_or(|status| status.allowed)),
            Err(ApiError::Forbidden { .. } | ApiError::Refused { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn api<K>(&self) -> Result<Api<K>, ApiError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let client = self.login.client().await?;
        Ok(Api::namespaced(client, &self.namespace))
    }

    /// Makes a call, and repeats it for a while if it is forbidden although it was granted.
    pub(super) async fn call<T, F>(&self, what: &str, call: impl Fn() -> F) -> Result<T, ApiError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let begun = Instant::now();
        loop {
            let result = self.once(what, call()).await;
            let is_denied = |right: &Right| match &result {
                Err(ApiError::Forbidden { reason, .. }) => right.is_denied_by(reason),
                _ => false,
            };
            if !self.granted.iter().any(is_denied) || begun.elapsed() > RIGHTS_RETURN {
                return result;
            }
            tracing::debug!("{what}: forbidden, trying again");
            sleep(PAUSE).await;
        }
    }

    async fn once<T>(
        &self,
        what: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let reason = match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(kube::Error::Api(status))) => {
                let call = format!("{what} in the namespace `{}`", self.namespace);
                return Err(ApiError::refused(&self.server, call, &status));
            }
            Ok(Err(error)) => error_chain(&error),
            Err(_) => format!("no answer within {} s", self.timeout.as_secs()),
        };
        Err(ApiError::Unreachable {
            server: self.server.clone(),
            restriction: self.restriction.clone(),
            reason,
        })
    }
}

pub(super) fn post() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// A manifest of ours as its type.
pub(super) fn parse<K: DeserializeOwned>(what: &str, manifest: Value) -> Result<K, ApiError> {
    serde_json::from_value(manifest).map_err(|error| ApiError::Refused {
        call: what.to_owned(),
        code: 0,
        reason: error.to_string(),
    })
}

/// Success also if the server answered with this code.
fn unless_code<T>(expected: u16, result: Result<T, ApiError>) -> Result<(), ApiError> {
    match result {
        Err(ApiError::Refused { code, .. }) if code == expected => Ok(()),
        result => result.map(drop),
    }
}

/// A right that a Role grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Right {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
    pub subresource: Option<&'static str>,
}

impl Right {
    /// The resource with its subresource, as in `pods/exec`.
    pub(super) fn object(&self) -> String {
        match self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.resource),
            None => self.resource.to_owned(),
        }
    }

    /// Whether the server denies this right
    /// (<https://github.com/kubernetes/kubernetes/blob/v1.36.0/staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go>,
    /// `forbiddenMessage`).
    fn is_denied_by(&self, reason: &str) -> bool {
        let object = self.object();
        reason.contains(&format!("cannot {} resource \"{object}\"", self.verb))
    }
}
