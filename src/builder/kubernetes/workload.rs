//! A node's Deployment or StatefulSet on the API server: create, find, delete.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Preconditions};
use serde_json::Value;

use super::api_error::ApiError;
use super::client::{Cluster, parse, post};
use super::manifest::{LIFETIME, MANAGED};
use crate::plan::Workload;

#[derive(Debug, Clone)]
pub(super) struct Found {
    pub workload: Workload,
    pub object: DynamicObject,
}

impl Found {
    pub(super) fn uid(&self) -> Option<&str> {
        self.object.metadata.uid.as_deref()
    }

    /// Whether it was created for one run of this action, by us or by buildx.
    pub(super) fn is_of_one_run(&self) -> bool {
        let labels = self.object.metadata.labels.clone().unwrap_or_default();
        let has = |(key, value)| labels.get(key).map(String::as_str) == Some(value);
        has(MANAGED) && has(LIFETIME)
    }

    /// Its number of pods; the API's default is one.
    pub(super) fn replicas(&self) -> u32 {
        let replicas = self.object.data["spec"]["replicas"].as_u64();
        let replicas = replicas.and_then(|count| count.try_into().ok());
        replicas.unwrap_or(1)
    }
}

impl Cluster {
    pub(super) async fn create(
        &self,
        workload: Workload,
        manifest: Value,
    ) -> Result<Found, ApiError> {
        let what = format!("create a {}", workload.kind());
        let object = parse(&what, manifest)?;
        let (api, parameters) = (self.workloads(workload).await?, post());
        let created = self.call(&what, || api.create(&parameters, &object));
        let object = created.await?;
        Ok(Found { workload, object })
    }

    pub(super) async fn find(
        &self,
        workload: Workload,
        name: &str,
    ) -> Result<Option<Found>, ApiError> {
        let what = format!("get the {}", workload.kind());
        let api = self.workloads(workload).await?;
        let found = self.call(&what, || api.get_opt(name)).await?;
        Ok(found.map(|object| Found { workload, object }))
    }

    /// Deletes a workload with its pods, if it still has this uid. Claims of a StatefulSet stay, for its cache.
    pub(super) async fn delete(
        &self,
        workload: Workload,
        name: &str,
        uid: Option<&str>,
    ) -> Result<(), ApiError> {
        let mut parameters = DeleteParams::background();
        parameters.preconditions = uid.map(|uid| Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        });
        let what = format!("delete the {}", workload.kind());
        let api = self.workloads(workload).await?;
        match self.call(&what, || api.delete(name, &parameters)).await {
            // Deleted, or replaced by another one.
            Err(ApiError::Refused {
                code: 404 | 409, ..
            }) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn workloads(&self, workload: Workload) -> Result<Api<DynamicObject>, ApiError> {
        let resource = match workload {
            Workload::Deployment => ApiResource::erase::<Deployment>(&()),
            Workload::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        };
        let client = self.login.client().await?;
        Ok(Api::namespaced_with(client, &self.namespace, &resource))
    }
}
