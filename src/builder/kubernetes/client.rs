//! The calls that we make to the API server, and what their failures mean.
//!
//! In: the run's kubeconfig. Out: typed answers, or an [`ApiError`] in words with a hint. Every call
//! ends within [`TIMEOUT`]; calls that only tell us more ([`Cluster::events`], logs) may be forbidden.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams,
    PostParams, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::WatchEvent;
use kube::{Config, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::ApiError;
use super::login::Login;
use super::manifest;

/// How long a call may take. An API server answers within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the server allows a watch to take (seconds); it is begun anew after that.
const WATCH_SECONDS: u32 = 290;

/// A cluster's API, in one namespace.
#[derive(Clone)]
pub(super) struct Cluster {
    login: Arc<Login>,
    pub server: String,
    pub namespace: String,
    /// Who can reach the server, when not everybody can.
    pub restriction: Option<String>,
    calls: Arc<AtomicUsize>,
    /// How long a call may take.
    timeout: Duration,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server, namespace, ..
        } = self;
        write!(formatter, "Cluster({server}, {namespace})")
    }
}

impl Cluster {
    /// Reads the kubeconfig of the run. Nothing is sent yet.
    pub(super) async fn open(kubeconfig: &Path) -> Result<Self, ApiError> {
        let setup = |error| ApiError::Kubeconfig(Box::new(error));
        let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(setup)?;
        let clusters = kubeconfig.clusters.iter();
        let mut clusters = clusters.filter_map(|named| named.cluster.as_ref());
        let proxy = clusters.find_map(|cluster| cluster.proxy_url.clone());
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(setup)?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // It was settled when the kubeconfig was read: kube would take the environment's for any
        // server but the proxy itself.
        config.proxy_url = proxy.and_then(|proxy| proxy.parse().ok());
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        let namespace = config.default_namespace.clone();
        Ok(Self {
            login: Arc::new(Login::new(config, &server)),
            server,
            namespace,
            restriction: None,
            calls: Arc::default(),
            timeout: TIMEOUT,
        })
    }

    /// The same with less time for each call, or more.
    pub(super) fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// How many calls were made so far.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Creates an object beside a workload; one of that name may be there already.
    pub(super) async fn create_beside<K>(&self, what: &str, manifest: Value) -> Result<(), ApiError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + fmt::Debug + Serialize + DeserializeOwned,
    {
        let typed: K = serde_json::from_value(manifest).map_err(|error| ApiError::Refused {
            call: what.to_owned(),
            code: 0,
            reason: error.to_string(),
        })?;
        let api: Api<K> = self.api().await?;
        let parameters = PostParams::default();
        match self.call(what, api.create(&parameters, &typed)).await {
            Ok(_) | Err(ApiError::Refused { code: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A claim, if it is there.
    pub(super) async fn claim(
        &self,
        name: &str,
    ) -> Result<Option<PersistentVolumeClaim>, ApiError> {
        let api: Api<PersistentVolumeClaim> = self.api().await?;
        self.call("get a PersistentVolumeClaim", api.get_opt(name))
            .await
    }

    /// Deletes the ConfigMap of a workload, if it is there.
    pub(super) async fn delete_config(&self, workload: &str) -> Result<(), ApiError> {
        let name = &manifest::config_name(workload);
        let api: Api<ConfigMap> = self.api().await?;
        let parameters = DeleteParams::default();
        let deleted = self.call("delete a ConfigMap", api.delete(name, &parameters));
        match deleted.await {
            Ok(_) | Err(ApiError::Refused { code: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deployments that runs of ours made.
    pub(super) async fn list(&self, selector: &str) -> Result<Vec<Deployment>, ApiError> {
        let parameters = ListParams::default().labels(selector);
        let deployments = self.api::<Deployment>().await?;
        let list = self.call("list Deployments", deployments.list(&parameters));
        Ok(list.await?.items)
    }

    /// Sets an annotation of a Deployment.
    pub(super) async fn annotate(
        &self,
        name: &str,
        key: &str,
        value: &str,
    ) -> Result<(), ApiError> {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { key: value } } }));
        let parameters = PatchParams::default();
        let deployments = self.api::<Deployment>().await?;
        self.call(
            "patch the Deployment",
            deployments.patch(name, &parameters, &patch),
        )
        .await?;
        Ok(())
    }

    pub(super) async fn pods(&self, selector: &str) -> Result<(Vec<Pod>, String), ApiError> {
        let parameters = ListParams::default().labels(selector);
        let api = self.api::<Pod>().await?;
        let list = self.call("list pods", api.list(&parameters)).await?;
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
        let stream = self
            .call("watch pods", api.watch(&parameters, version))
            .await?;
        Ok(stream.boxed())
    }

    /// What the cluster said about a pod, oldest first.
    pub(super) async fn events(&self, pod: &str) -> Result<Vec<Event>, ApiError> {
        let parameters = ListParams::default().fields(&format!("involvedObject.name={pod}"));
        let api: Api<Event> = self.api().await?;
        let list = self.call("list events", api.list(&parameters)).await?;
        let mut events = list.items;
        events.sort_by_key(|event| {
            let time = event
                .last_timestamp
                .as_ref()
                .or(event.first_timestamp.as_ref());
            (
                time.map(|time| time.0),
                event.metadata.resource_version.clone(),
            )
        });
        Ok(events)
    }

    /// The last lines of BuildKit's log.
    pub(super) async fn log(&self, pod: &str, lines: i64) -> Result<String, ApiError> {
        let parameters = LogParams {
            container: Some("buildkitd".to_owned()),
            tail_lines: Some(lines),
            limit_bytes: Some(64 * 1024),
            ..LogParams::default()
        };
        let api = self.api::<Pod>().await?;
        self.call("read the pod's log", api.logs(pod, &parameters))
            .await
    }

    /// Whether a call is allowed; also yes when that can't be found out.
    pub(super) async fn may(&self, right: &Right) -> Result<bool, ApiError> {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.namespace.clone()),
                    verb: Some(right.verb.to_owned()),
                    group: Some(right.group.to_owned()),
                    resource: Some(right.resource.to_owned()),
                    subresource: right.subresource.map(str::to_owned),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.login.client().await?);
        let parameters = PostParams::default();
        match self
            .call("ask for our rights", api.create(&parameters, &review))
            .await
        {
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

    /// Objects of a kind that is known at run time only.
    pub(super) async fn dynamic(
        &self,
        resource: &ApiResource,
    ) -> Result<Api<DynamicObject>, ApiError> {
        let client = self.login.client().await?;
        Ok(Api::namespaced_with(client, &self.namespace, resource))
    }

    pub(super) async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ApiError::new(self, what, &error)),
            Err(_) => Err(ApiError::Unreachable {
                server: self.server.clone(),
                restriction: self.restriction.clone(),
                reason: format!("no answer within {} s", self.timeout.as_secs()),
            }),
        }
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
