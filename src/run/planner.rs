//! From inputs to a plan: facts are probed, the cluster is found, the account's registry is asked for.

use secrecy::ExposeSecret as _;

use super::Run;
use crate::aws::{Session, ecr};
use crate::credentials::kubeconfig::Access;
use crate::facts::{self, Facts, GivenFacts, cluster};
use crate::inputs::aws::is_account;
use crate::inputs::{IfExists, Inputs, SkipUnchanged};
use crate::plan::{self, Plan, PlanError, RunDir};
use crate::run::error::Error;
use crate::runner::env::Env;
use crate::runner::workflow::WorkflowRun;
use crate::unchanged::GitHub;

/// What every plan of a run is made from. Only the facts change.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    pub inputs: &'a Inputs,
    workflow: Option<WorkflowRun>,
    pub dir: RunDir,
}

/// A plan, and what it was made from.
#[derive(Debug)]
pub(super) struct Planned {
    pub plan: Plan,
    pub facts: Facts,
    /// The token that came with the account's own registry.
    pub authorization: Option<ecr::Authorization>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(inputs: &'a Inputs, env: &Env, dir: RunDir) -> Self {
        Self {
            inputs,
            workflow: WorkflowRun::from_env(env),
            dir,
        }
    }

    /// Where the commit of the default context can be asked for.
    pub(super) fn github(&self, env: &Env) -> Option<GitHub> {
        GitHub::of(env, self.inputs.github_token.as_ref())
    }

    /// The name of a cluster of EKS that builds, if the run may end before anything is built. A kubeconfig is only
    /// parsed, so that planning with it asks for nothing.
    pub(super) fn cluster_to_describe(&self) -> Option<String> {
        let inputs = self.inputs;
        let may_skip =
            inputs.skip_unchanged != SkipUnchanged::No || inputs.if_exists == IfExists::Skip;
        let is_described = inputs.wants_cluster() && inputs.kubeconfig.is_none();
        let cluster = inputs.eks_cluster.clone();
        cluster.filter(|_| is_described && may_skip && !inputs.dry_run)
    }

    /// The plan from these facts.
    ///
    /// # Errors
    /// All conflicts between inputs, or what this machine lacks.
    pub(super) fn plan(&self, facts: &Facts) -> Result<Plan, PlanError> {
        Plan::new(self.inputs, self.workflow.as_ref(), facts, &self.dir)
    }
}

impl Run {
    /// Finds out the facts that were not given, and plans.
    pub(super) async fn make_plan(
        &self,
        planner: &Planner<'_>,
        session: &Session,
        given: &GivenFacts,
    ) -> Result<Planned, Error> {
        let inputs = planner.inputs;
        if inputs.wants_cluster() {
            plan::check_cluster(inputs, &planner.dir)?;
        }
        let asks_for_registry = inputs.repository.is_some()
            && inputs.registry.is_none()
            && inputs.call.is_none()
            && given.registry.is_none();
        let authorization = async {
            if !asks_for_registry {
                return Ok(None);
            }
            let answer = Box::pin(ecr::own_registry(None, session));
            self.unless_cancelled(answer).await.map(Some)
        };
        let (facts, authorization, cluster) = tokio::join!(
            facts::probe(given, &self.env, &self.cancel),
            authorization,
            self.find_cluster(inputs, session, given)
        );
        let (mut facts, authorization) = (facts?, authorization?);
        match cluster? {
            Ok(access) => facts.cluster = access,
            Err(failure) => facts.cluster_failure = Some(failure),
        }
        if let Some(authorization) = &authorization {
            self.mask(authorization.token.password.expose_secret());
            facts.registry = Some(authorization.host.clone());
        }
        // Account ids stand for registries in the session's region.
        if inputs.registries.iter().any(|given| is_account(given)) {
            facts.region = session.region().await;
        }
        Ok(Planned {
            plan: planner.plan(&facts)?,
            facts,
            authorization,
        })
    }

    /// Access to the cluster that builds, described.
    pub(super) async fn describe_cluster(
        &self,
        inputs: &Inputs,
        session: &Session,
    ) -> Result<Access, Error> {
        let access = tokio::select! {
            found = Box::pin(cluster::find(inputs, session, &self.env)) => found?,
            () = self.cancel.cancelled() => return Err(Error::Cancelled),
        };
        for secret in access.secrets() {
            self.mask(&secret);
        }
        Ok(access)
    }

    /// Access to the cluster that is to build, if one is; or why it can't, where another builder may take over.
    async fn find_cluster(
        &self,
        inputs: &Inputs,
        session: &Session,
        given: &GivenFacts,
    ) -> Result<Result<Option<Access>, String>, Error> {
        if !inputs.wants_cluster() {
            return Ok(Ok(None));
        }
        if let Some(name) = given.cluster.as_deref() {
            return Ok(Ok(Some(Access::assumed(name))));
        }
        match self.describe_cluster(inputs, session).await {
            Ok(access) => Ok(Ok(Some(access))),
            Err(Error::Cluster(error)) if inputs.falls_back() && !error.is_input() => {
                Ok(Err(cluster_failure(&error.into())))
            }
            Err(error) => Err(error),
        }
    }
}

/// The warning that another builder takes over.
pub(super) fn cluster_failure(error: &Error) -> String {
    let lines = error.lines().join("\n");
    format!("the cluster can't build, this machine does: {lines}")
}
