//! A node's Deployment or StatefulSet as the API server has it: made, found, deleted.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams, Preconditions};
use serde_json::Value;

use super::api::ApiError;
use super::client::Cluster;
use super::manifest::{LIFETIME, MANAGED};
use crate::plan::Workload;

/// A workload that is there.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub workload: Workload,
    pub object: DynamicObject,
}

impl Found {
    pub(super) fn uid(&self) -> Option<&str> {
        self.object.metadata.uid.as_deref()
    }

    /// Whether it was made for a run of ours, by us or by buildx for us.
    pub(super) fn ends_with_its_run(&self) -> bool {
        let labels = self.object.metadata.labels.as_ref();
        let has = |(key, value): (&str, &str)| {
            labels
                .and_then(|labels| labels.get(key))
                .map(String::as_str)
                == Some(value)
        };
        has(MANAGED) && has(LIFETIME)
    }

    /// How many pods it is to have; one where it doesn't say.
    pub(super) fn replicas(&self) -> u32 {
        let replicas = self.object.data["spec"]["replicas"].as_u64();
        replicas
            .and_then(|count| count.try_into().ok())
            .unwrap_or(1)
    }
}

impl Cluster {
    pub(super) async fn create(
        &self,
        workload: Workload,
        manifest: Value,
    ) -> Result<Found, ApiError> {
        let what = format!("create a {}", workload.kind());
        let object = serde_json::from_value(manifest).map_err(|error| ApiError::Refused {
            call: what.clone(),
            code: 0,
            reason: error.to_string(),
        })?;
        let (api, parameters) = (self.workloads(workload).await?, PostParams::default());
        let object = self.call(&what, api.create(&parameters, &object)).await?;
        Ok(Found { workload, object })
    }

    pub(super) async fn find(
        &self,
        workload: Workload,
        name: &str,
    ) -> Result<Option<Found>, ApiError> {
        let what = format!("get the {}", workload.kind());
        let api = self.workloads(workload).await?;
        let found = self.call(&what, api.get_opt(name)).await?;
        Ok(found.map(|object| Found { workload, object }))
    }

    /// Deletes a workload with its pods, if it is still the one of this uid. Claims of a StatefulSet
    /// stay: they hold what it is kept for.
    pub(super) async fn delete(
        &self,
        workload: Workload,
        name: &str,
        uid: Option<&str>,
    ) -> Result<(), ApiError> {
        let mut parameters = DeleteParams::background();
        if let Some(uid) = uid {
            parameters = parameters.preconditions(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            });
        }
        let what = format!("delete the {}", workload.kind());
        let api = self.workloads(workload).await?;
        match self.call(&what, api.delete(name, &parameters)).await {
            // Gone, or another one by now.
            Err(
                ApiError::Refused {
                    code: 404 | 409, ..
                }
                | ApiError::NoNamespace { .. },
            ) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn workloads(&self, workload: Workload) -> Result<Api<DynamicObject>, ApiError> {
        let resource = match workload {
            Workload::Deployment => ApiResource::erase::<Deployment>(&()),
            Workload::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        };
        self.dynamic(&resource).await
    }
}
