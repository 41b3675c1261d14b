//! Facts about the machine that the plan needs.
//!
//! A missing Engine is a fact, not an error: other builders do not need it. The Engine's API:
//! <https://docs.docker.com/reference/api/engine/>.

mod address;
#[cfg(test)]
#[path = "../../tests/any_bytes/facts.rs"]
pub(crate) mod any_bytes;
mod buildx;
pub(crate) mod cluster;
mod engine;
mod error;
mod given;
mod job_cache;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use image::Mutability;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::credentials::kubeconfig::Access;
use crate::network::Network;
use crate::runner::env::Env;

pub(crate) use address::Address;
pub(crate) use buildx::Buildx;
pub(crate) use engine::{Engine, ImageStore};
pub(crate) use error::{FactsError, OLDEST_BUILDX};
pub(crate) use given::GivenFacts;
pub(crate) use job_cache::JobCaches;
pub(crate) use step::Step;

/// What the plan knows about the machine.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub buildx: Buildx,
    /// The Docker Engine, or why there is none.
    pub engine: Result<Engine, String>,
    /// The AWS account's registry, if no input names one.
    pub registry: Option<String>,
    /// The region of the AWS configuration, if an input needs it.
    pub region: Option<String>,
    /// The time for `{{date}}`.
    pub now: Timestamp,
    /// Access to the cluster that builds, if one does.
    pub cluster: Option<Access>,
    /// Why the cluster that was asked for can't build, if another builder takes over.
    pub cluster_failure: Option<String>,
    /// Proxy and certificates of this machine, for builders.
    pub network: Network,
    /// Caches of earlier steps of this job.
    pub job_caches: Option<JobCaches>,
    /// The push engine's build step, if it is installed.
    pub step: Option<Step>,
    /// The tag mutability of repositories, by `host/repository`, as far as known.
    pub repositories: BTreeMap<String, Mutability>,
    /// Names of images that exist and cannot move, as far as known.
    pub taken: BTreeSet<String>,
}

impl Facts {
    /// The Engine's address, if there is one.
    pub(crate) fn engine_address(&self) -> Option<&Address> {
        self.engine.as_ref().ok().map(|engine| &engine.address)
    }

    /// The Engine's address as variables for buildx.
    pub(crate) fn engine_variables(&self) -> BTreeMap<String, OsString> {
        let address = self.engine_address();
        address.map_or_else(BTreeMap::new, Address::variables)
    }
}

#[cfg(test)]
impl Facts {
    /// A current machine.
    pub(crate) fn example(store: ImageStore) -> Self {
        Self {
            buildx: Buildx {
                program: "buildx".into(),
                version: semver::Version::new(0, 37, 1),
            },
            engine: Ok(Engine {
                address: Address::usual(),
                version: "28.5.2".to_owned(),
                store,
                platform: "linux/amd64".to_owned(),
            }),
            registry: Some("123456789012.dkr.ecr.eu-west-1.amazonaws.com".to_owned()),
            region: None,
            now: "2026-11-23T12:00:00Z".parse().expect("a time"),
            cluster: None,
            cluster_failure: None,
            network: Network::default(),
            job_caches: None,
            step: Some(Step {
                folder: "/usr/local/libexec/fast-ecr-push".into(),
                architectures: ["amd64", "arm64"].map(str::to_owned).into(),
            }),
            repositories: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }
}

/// Probes the facts that are not given, concurrently.
pub(crate) async fn probe(
    given: &GivenFacts,
    env: &Env,
    cancel: &CancellationToken,
) -> Result<Facts, FactsError> {
    let buildx = async {
        match &given.buildx {
            Some(version) => Ok(Buildx::given(env, version.clone())),
            None => Buildx::find(env, cancel).await,
        }
    };
    let engine = async {
        let version = match (&given.engine, given.store) {
            (Some(None), _) => return Err("the fact `engine=none` was given".to_owned()),
            (Some(Some(version)), _) => version.to_string(),
            // One given fact is enough; the others are those of a current Engine.
            (None, Some(_)) => "28.5.2".to_owned(),
            (None, None) => return Engine::ask(env).await,
        };
        let platform = given.platform.as_deref().unwrap_or("linux/amd64");
        Ok(Engine {
            address: Address::of(env).unwrap_or_else(|_| Address::usual()),
            version,
            store: given.store.unwrap_or(ImageStore::Containerd),
            platform: platform.to_owned(),
        })
    };
    let (buildx, engine) = tokio::join!(buildx, engine);
    Ok(Facts {
        now: given.now.unwrap_or_else(Timestamp::now),
        buildx: buildx?,
        engine,
        registry: given.registry.clone(),
        region: None,
        cluster: None,
        cluster_failure: None,
        network: Network::of(env),
        step: match &given.step {
            Some(architectures) => step::given(architectures, env),
            None => step::find(env),
        },
        job_caches: job_cache::find(env),
        repositories: given.repositories.clone(),
        taken: BTreeSet::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn given_facts_are_not_probed() {
        let given =
            GivenFacts::parse(["buildx=v0.37.1", "store=classic", "registry=r.example"]).unwrap();
        let facts = probe(&given, &Env::default(), &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(facts.buildx.version, semver::Version::new(0, 37, 1));
        let engine = facts.engine.unwrap();
        assert_eq!(engine.store, ImageStore::Classic);
        assert_eq!(facts.registry.as_deref(), Some("r.example"));
    }
}
