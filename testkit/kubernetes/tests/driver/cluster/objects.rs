//! What is in the cluster, asked of its API.

use std::path::Path;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The namespace's objects that runs of the action made.
pub(crate) struct Objects {
    runtime: Runtime,
    client: Client,
    namespace: String,
}

impl Objects {
    pub(crate) fn new(kubeconfig: &Path, namespace: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            Client::try_from(config.unwrap()).unwrap()
        });
        Self {
            runtime,
            client,
            namespace: namespace.to_owned(),
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Metadata<Ty = ObjectMeta>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn list<K>(&self) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Metadata<Ty = ObjectMeta>,
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        let parameters = ListParams::default();
        let list = self.runtime.block_on(self.api().list(&parameters));
        let mut list = list.unwrap().items;
        list.retain(|object: &K| is_ours(object.metadata()));
        list
    }

    /// The kind of each, as `deployments`.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let names = self.names().into_iter();
        let kinds = names.filter_map(|name| Some(name.split_once('/')?.0.to_owned()));
        kinds.collect()
    }

    /// Kinds and names, as `deployments/x`.
    pub(crate) fn names(&self) -> Vec<String> {
        fn named<K: Metadata<Ty = ObjectMeta>>(kind: &str, objects: &[K]) -> Vec<String> {
            let names = objects.iter().map(|object| object.metadata().name.clone());
            names
                .map(|name| format!("{kind}/{}", name.unwrap_or_default()))
                .collect()
        }
        let mut names = named("deployments", &self.list::<Deployment>());
        names.extend(named("statefulsets", &self.list::<StatefulSet>()));
        names.extend(named("configmaps", &self.list::<ConfigMap>()));
        names.extend(named(
            "persistentvolumeclaims",
            &self.list::<PersistentVolumeClaim>(),
        ));
        names.extend(named("pods", &self.list::<Pod>()));
        names
    }

    /// The Deployments as JSON.
    pub(crate) fn deployments(&self) -> Vec<Value> {
        let deployments = self.list::<Deployment>();
        let json = deployments.iter().map(serde_json::to_value);
        json.map(Result::unwrap).collect()
    }

    /// The StatefulSets as JSON.
    pub(crate) fn stateful_sets(&self) -> Vec<Value> {
        let sets = self.list::<StatefulSet>();
        let json = sets.iter().map(serde_json::to_value);
        json.map(Result::unwrap).collect()
    }

    /// The claims by name, with their uids.
    pub(crate) fn claims(&self) -> Vec<(String, String)> {
        let claims = self.list::<PersistentVolumeClaim>().into_iter();
        claims
            .map(|claim| (claim.metadata.name.unwrap(), claim.metadata.uid.unwrap()))
            .collect()
    }

    /// The text of the `buildkitd.toml` of a workload.
    pub(crate) fn buildkitd_config(&self, workload: &str) -> String {
        self.config(workload, "buildkitd.toml")
    }

    /// The text of a file in the ConfigMap of a workload.
    pub(crate) fn config(&self, workload: &str, file: &str) -> String {
        let api = self.api::<ConfigMap>();
        let name = format!("{workload}-config");
        let map = self.runtime.block_on(api.get(&name)).unwrap();
        map.data.unwrap()[file].clone()
    }

    /// Dates the heartbeat of every builder.
    pub(crate) fn make_heartbeats_old(&self) {
        let old = json!({ "metadata": { "annotations": {
            "fast-ecr-push/heartbeat": "2026-01-01T00:00:00Z",
        }}});
        let (old, parameters) = (Patch::Merge(&old), PatchParams::default());
        for deployment in self.list::<Deployment>() {
            let name = deployment.metadata.name.unwrap();
            let api = self.api::<Deployment>();
            let patched = api.patch(&name, &parameters, &old);
            self.runtime.block_on(patched).unwrap();
        }
    }

    /// Takes our labels off every builder, which somebody else may have put in its place.
    pub(crate) fn disown(&self) {
        let none = json!({ "metadata": { "labels": {
            "app.kubernetes.io/managed-by": null, "fast-ecr-push/lifetime": null,
        }}});
        let (none, parameters) = (Patch::Merge(&none), PatchParams::default());
        for deployment in self.list::<Deployment>() {
            let name = deployment.metadata.name.unwrap();
            let api = self.api::<Deployment>();
            let patched = api.patch(&name, &parameters, &none);
            self.runtime.block_on(patched).unwrap();
        }
    }

    /// Deletes the pods, as a drained node would.
    pub(crate) fn delete_pods(&self) {
        let parameters = DeleteParams::default();
        for pod in self.list::<Pod>() {
            let name = pod.metadata.name.unwrap();
            let api = self.api::<Pod>();
            let deleted = api.delete(&name, &parameters);
            self.runtime.block_on(deleted).unwrap();
        }
    }

    /// Makes a builder of two pods with volumes, as somebody else would.
    pub(crate) fn create_stateful_set(&self, name: &str) {
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": {
                "serviceName": name, "replicas": 2, "podManagementPolicy": "Parallel",
                "selector": { "matchLabels": { "app": name } },
                "template": {
                    "metadata": { "labels": { "app": name } },
                    "spec": { "containers": [{
                        "name": "buildkitd", "image": "moby/buildkit:buildx-stable-1",
                        "startupProbe": { "periodSeconds": 1 },
                        "volumeMounts": [{ "name": "buildkitd", "mountPath": "/var/lib/buildkit" }],
                    }]},
                },
                "volumeClaimTemplates": [{
                    "metadata": {
                        "name": "buildkitd", "labels": { "app.kubernetes.io/managed-by": "fast-ecr-push" },
                    },
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": { "requests": { "storage": "1Gi" } },
                    },
                }],
            },
        });
        let set = serde_json::from_value(set).unwrap();
        let api = self.api::<StatefulSet>();
        let parameters = kube::api::PostParams::default();
        self.runtime
            .block_on(api.create(&parameters, &set))
            .unwrap();
    }

    /// Deletes a builder that is kept, with its claims.
    pub(crate) fn delete_builder(&self, name: &str) {
        let background = DeleteParams::background();
        let (deployments, sets) = (self.api::<Deployment>(), self.api::<StatefulSet>());
        self.runtime.block_on(async {
            let deployment = deployments.delete(name, &background).await.is_ok();
            let set = sets.delete(name, &background).await.is_ok();
            assert!(deployment || set, "no builder `{name}`");
        });
        for (claim, _) in self.claims() {
            let api = self.api::<PersistentVolumeClaim>();
            let deleted = self.runtime.block_on(api.delete(&claim, &background));
            deleted.unwrap();
        }
    }
}

/// By our label, or by the name of what buildx's driver makes for our builders.
fn is_ours(metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    let managed = labels.and_then(|labels| labels.get("app.kubernetes.io/managed-by"));
    let name = metadata.name.as_deref().unwrap_or_default();
    managed.is_some_and(|by| by == "fast-ecr-push") || name.starts_with("fast-ecr-push-")
}
