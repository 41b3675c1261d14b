//! BuildKit in the user's cluster: ours under the name where buildx's driver looks for its own.
//!
//! In: the plan and a kubeconfig. Out: a [`Running`] builder. The Deployment is created, followed
//! and deleted by us; buildx is told of it meanwhile and only connects. If the cluster will not
//! have our manifest, the driver makes its own. A heartbeat tells later runs that this one lives
//! ([`reap`]); what happens to the pod during the build is watched ([`guard`]).

mod boot;
mod client;
mod follow;
mod guard;
mod manifest;
mod reap;
mod rights;

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{BuilderError, Tool};
use crate::log;
use crate::plan::{BuilderPlan, KubernetesPlan, Node};
use crate::timings::{Phase, Stage};
use boot::Milestone;
pub(crate) use client::ApiError;
use client::Cluster;
use follow::{Follower, Way};
use guard::Guard;

/// The builder in the cluster could not be had.
#[derive(Debug, Error)]
pub(crate) enum KubernetesError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("this identity lacks rights in the namespace `{namespace}`: {}", missing.join(", "))]
    Rights {
        namespace: String,
        missing: Vec<String>,
    },
    #[error("the builder `{name}` in the namespace `{namespace}` {}: {why}", late(.seconds))]
    NotReady {
        name: String,
        namespace: String,
        /// None when waiting was given up.
        seconds: Option<u64>,
        why: String,
        hint: Option<String>,
    },
    #[error("somebody deleted the builder `{name}` while it started")]
    Gone { name: String },
    #[error("the builder `{name}` was lost during the build: {why}")]
    Lost {
        name: String,
        why: String,
        hint: String,
    },
    #[error("the run was cancelled while the builder started")]
    Cancelled,
}

fn late(seconds: &Option<u64>) -> String {
    match seconds {
        Some(seconds) => format!("was not ready within {seconds} s"),
        None => "can't start".to_owned(),
    }
}

impl KubernetesError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Api(error) => error.hint(),
            Self::Rights { .. } => Some(format!(
                "apply this Role and bind it to the identity of this step:\n{}",
                rights::ROLE
            )),
            Self::NotReady { hint, seconds, .. } => match (hint, seconds) {
                (Some(hint), _) => Some(hint.clone()),
                (None, Some(_)) => Some(
                    "a slow pull or a new node may need more: raise `builder-timeout`".to_owned(),
                ),
                (None, None) => None,
            },
            Self::Lost { hint, .. } => Some(hint.clone()),
            Self::Gone { .. } | Self::Cancelled => None,
        }
    }
}

/// A builder whose pods are ready.
#[derive(Debug)]
pub(crate) struct Running {
    cluster: Cluster,
    nodes: Vec<(String, Option<String>)>,
    guard: Guard,
    /// What its start consisted of.
    pub stages: Vec<Stage>,
}

/// What is known of a Deployment that was made.
struct Made {
    /// None when buildx makes it.
    uid: Option<String>,
    /// The API server's clock minus ours.
    skew: SignedDuration,
}

/// Makes the builder and waits until it is ready.
pub(super) async fn start(
    plan: &BuilderPlan,
    kubernetes: &KubernetesPlan,
    tool: &Tool,
    cancel: &CancellationToken,
) -> Result<Running, BuilderError> {
    let begun = Timestamp::now();
    let kubeconfig = tool.env.get("KUBECONFIG").map(Path::new);
    let cluster = Cluster::open(kubeconfig.unwrap_or(Path::new(""))).await;
    let cluster = cluster.map_err(KubernetesError::from)?;
    let may_renew = rights::review(&cluster).await?;
    let mut running = Running {
        cluster: cluster.clone(),
        nodes: Vec::new(),
        guard: Guard::none(),
        stages: Vec::new(),
    };
    for node in &kubernetes.nodes {
        // Noted before it is made, so that whatever fails from here on is cleaned up.
        running.nodes.push((node.name.clone(), None));
        let done = Box::pin(start_node(
            plan,
            kubernetes,
            node,
            may_renew,
            &mut running,
            tool,
            cancel,
        ))
        .await;
        match done {
            Ok(way) => running.stages.extend(stages(&way, begun)),
            Err(error) => {
                running.stop(&plan.name, tool).await;
                return Err(error);
            }
        }
    }
    tracing::debug!(
        "{} calls to the Kubernetes API until ready",
        cluster.calls()
    );
    Ok(running)
}

async fn start_node(
    plan: &BuilderPlan,
    kubernetes: &KubernetesPlan,
    node: &Node,
    may_renew: bool,
    running: &mut Running,
    tool: &Tool,
    cancel: &CancellationToken,
) -> Result<Way, BuilderError> {
    let cluster = running.cluster.clone();
    let made = make(&cluster, kubernetes, node, may_renew).await?;
    if let Some(last) = running.nodes.last_mut() {
        last.1.clone_from(&made.uid);
    }
    let begun = Timestamp::now();
    running.guard = Guard::start(cluster.clone(), &node.name, made.skew, may_renew);
    let timeout = Duration::from_secs(kubernetes.timeout_seconds);
    let follow = async {
        let follower = Follower::new(&cluster, &node.name, node.replicas);
        follower
            .ready(timeout, cancel)
            .await
            .map_err(BuilderError::from)
    };
    let register = async {
        let by_driver = made.uid.is_none();
        register(plan, node, by_driver, tool, cancel).await?;
        check_owner(&cluster, node, made.uid.as_deref()).await;
        Ok(())
    };
    let reap = async {
        if may_renew {
            reap::others(&cluster, &node.name, made.skew).await;
        }
        Ok(())
    };
    let (way, (), ()) = tokio::try_join!(follow, register, reap)?;
    let pods = cluster.pods(&format!("app={}", node.name)).await;
    let (pods, _) = pods.map_err(KubernetesError::from)?;
    running.guard.watch(pods);
    tracing::info!(
        "builder `{}` is up on {} in {:.1} s",
        node.name,
        way.node.as_deref().unwrap_or("a node"),
        Timestamp::now().duration_since(begun).as_secs_f64()
    );
    Ok(way)
}

async fn make(
    cluster: &Cluster,
    kubernetes: &KubernetesPlan,
    node: &Node,
    may_renew: bool,
) -> Result<Made, KubernetesError> {
    let before = Timestamp::now();
    let heartbeat = if may_renew {
        before
    } else {
        before.saturating_add(reap::LONGEST_RUN).unwrap_or(before)
    };
    let made = cluster
        .create(manifest::deployment(kubernetes, node, heartbeat))
        .await;
    match made {
        Ok(deployment) => {
            // Whole seconds are enough to tell minutes.
            let created = deployment.metadata.creation_timestamp.as_ref();
            let skew = created
                .and_then(|time| Timestamp::from_second(time.0.as_second()).ok())
                .map_or(SignedDuration::ZERO, |time| time.duration_since(before));
            Ok(Made {
                uid: deployment.metadata.uid,
                skew: if skew.abs() > SignedDuration::from_secs(2) {
                    skew
                } else {
                    SignedDuration::ZERO
                },
            })
        }
        // A cluster with rules or a version that our manifest does not suit.
        Err(ApiError::Refused {
            code: code @ (400 | 422),
            reason,
            ..
        }) => {
            tracing::info!(
                target: log::NOTICE,
                "the cluster refuses our manifest ({code}: {reason}): buildx's own is used"
            );
            Ok(Made {
                uid: None,
                skew: SignedDuration::ZERO,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells buildx of the builder. With our Deployment there it only looks whether it runs.
async fn register(
    plan: &BuilderPlan,
    node: &Node,
    by_driver: bool,
    tool: &Tool,
    cancel: &CancellationToken,
) -> Result<(), BuilderError> {
    let flags = node.buildkitd_flags.join(" ");
    let mut args = vec!["create", "--name", &plan.name, "--node", &node.name];
    args.extend(["--driver", plan.driver.name(), "--buildkitd-flags", &flags]);
    let options: Vec<String> = plan.options.iter().map(option).collect();
    for option in &options {
        args.extend(["--driver-opt", option]);
    }
    if by_driver {
        args.push("--bootstrap");
    }
    let created = tool.command(&args).output(cancel).await;
    created.map_err(|source| BuilderError::Boot {
        name: plan.name.clone(),
        source,
    })?;
    Ok(())
}

/// `--driver-opt` is read as comma-separated values.
fn option((name, value): &(String, String)) -> String {
    let option = format!("{name}={value}");
    if option.contains([',', '"']) {
        format!("\"{}\"", option.replace('"', "\"\""))
    } else {
        option
    }
}

/// Whether the Deployment that buildx found is ours.
async fn check_owner(cluster: &Cluster, node: &Node, uid: Option<&str>) {
    let (Some(uid), Ok(Some(found))) = (uid, cluster.deployment(&node.name).await) else {
        return;
    };
    if found.metadata.uid.as_deref() != Some(uid) {
        tracing::info!(
            target: log::NOTICE,
            "the Deployment `{}` was replaced: buildx's own manifest is used",
            node.name
        );
    }
}

fn stages(way: &Way, begun: Timestamp) -> Vec<Stage> {
    let mut from = begun;
    let mut stages = Vec::new();
    for (milestone, at) in &way.reached {
        let name = match milestone {
            Milestone::Created => "ask the cluster for a builder",
            Milestone::Scheduled => "wait for a node",
            Milestone::Pulling => "prepare the pod",
            Milestone::Started => "pull the builder's image, start its container",
            Milestone::Ready => "wait for BuildKit",
        };
        stages.push(Stage {
            name: name.to_owned(),
            phase: Phase::Builder,
            started: from,
            ended: *at,
        });
        from = *at;
    }
    stages
}

impl Running {
    /// Ends when the builder is lost, with what happened.
    pub(super) async fn lost(&self) -> KubernetesError {
        let (name, trouble) = self.guard.lost().await;
        KubernetesError::Lost {
            name,
            why: trouble.text,
            hint: trouble.hint,
        }
    }

    /// Removes the Deployment with its pods, and buildx's knowledge of it. Also after a
    /// cancellation: what we made does not stay behind.
    pub(super) async fn stop(&self, builder: &str, tool: &Tool) {
        self.guard.stop();
        let forget = tool.command(&["rm", "--force", "--keep-daemon", builder]);
        let never = CancellationToken::new();
        let delete = async {
            for (name, uid) in &self.nodes {
                if let Err(error) = self.cluster.delete(name, uid.as_deref()).await {
                    tracing::warn!("could not remove the builder `{name}`: {error}");
                }
            }
        };
        let (forgotten, ()) = tokio::join!(forget.output(&never), delete);
        if let Err(error) = forgotten {
            tracing::debug!("{error}");
        }
        tracing::debug!(
            "{} calls to the Kubernetes API in all",
            self.cluster.calls()
        );
    }
}

/// Removes a builder that a killed run left, by the kubeconfig in its folder.
pub(super) async fn remove(name: &str, kubeconfig: &Path) -> Result<(), ApiError> {
    let cluster = Cluster::open(kubeconfig).await?;
    cluster.delete(name, None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_with_commas_stay_in_one_piece() {
        let option = |name: &str, value: &str| option(&(name.to_owned(), value.to_owned()));
        assert_eq!(option("replicas", "1"), "replicas=1");
        assert_eq!(
            option("nodeselector", "a=b,c=d"),
            "\"nodeselector=a=b,c=d\""
        );
        assert_eq!(option("labels", "a=\"b\""), "\"labels=a=\"\"b\"\"\"");
    }

    #[test]
    fn each_stage_begins_where_the_one_before_ended() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let way = Way {
            reached: vec![
                (Milestone::Created, at(11)),
                (Milestone::Scheduled, at(15)),
                (Milestone::Ready, at(20)),
            ],
            node: None,
        };
        let stages = stages(&way, at(10));
        let times: Vec<(i64, i64)> = stages
            .iter()
            .map(|stage| (stage.started.as_second(), stage.ended.as_second()))
            .collect();
        assert_eq!(times, [(10, 11), (11, 15), (15, 20)]);
    }

    #[test]
    fn missing_rights_come_with_the_role_that_grants_them() {
        let error = KubernetesError::Rights {
            namespace: "buildx".to_owned(),
            missing: vec!["create pods/exec".to_owned()],
        };
        assert_eq!(
            error.to_string(),
            "this identity lacks rights in the namespace `buildx`: create pods/exec"
        );
        assert!(error.hint().unwrap().contains("kind: Role"));
    }
}
