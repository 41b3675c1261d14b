//! From inputs to a plan: facts are probed, the cluster is found, the account's registry is asked for.

use secrecy::ExposeSecret as _;

use super::{Run, fall_back};
use crate::aws::Session;
use crate::aws::ecr;
use crate::credentials::kubeconfig::Access;
use crate::facts::{self, Facts, GivenFacts, cluster};
use crate::inputs::Inputs;
use crate::inputs::aws::is_account;
use crate::network::certificates;
use crate::network::proxy;
use crate::plan::{self, Place, Plan};
use crate::registry::preflight::Found;
use crate::run::error::Error;
use crate::runner::workflow::WorkflowRun;

/// The plan, and what it was made from.
#[derive(Debug)]
pub(super) struct Settled {
    pub plan: Plan,
    pub facts: Facts,
    pub authorization: Option<ecr::Authorization>,
    /// What the preflight found, once it was made.
    pub found: Option<Found>,
    /// Warnings that no plan knows: what became of the cluster. They are in the log already.
    pub remarks: Vec<String>,
}

impl Run {
    /// Probes facts and settles the plan; the token that telling the account's own registry took
    /// is kept for later.
    pub(super) async fn settle(
        &self,
        inputs: &Inputs,
        session: &Session,
        given: &GivenFacts,
        place: &Place,
    ) -> Result<Settled, Error> {
        if inputs.wants_cluster() {
            plan::check_cluster(inputs, place)?;
        }
        let asks = inputs.repository.is_some()
            && inputs.registry.is_none()
            && inputs.call.is_none()
            && given.registry.is_none();
        let authorization = async {
            if !asks {
                return Ok(None);
            }
            let answer = Box::pin(ecr::own_registry(None, session));
            self.unless_cancelled(answer).await.map(Some)
        };
        let (facts, authorization, cluster) = tokio::join!(
            facts::probe(given, &self.env, &self.cancel),
            authorization,
            self.cluster(inputs, session, given)
        );
        let (mut facts, authorization) = (facts?, authorization?);
        let mut remarks = Vec::new();
        facts.cluster = cluster?.unwrap_or_else(|words| {
            remarks.push(words);
            None
        });
        if let Some(authorization) = &authorization {
            self.mask(authorization.token.password.expose_secret());
            facts.registry = Some(authorization.host.clone());
        }
        // Accounts by their ids are those of one region.
        if inputs.registries.iter().any(|given| is_account(given)) {
            facts.region = session.region().await;
        }
        Ok(Settled {
            plan: self.plan_with(inputs, &facts, place)?,
            facts,
            authorization,
            found: None,
            remarks,
        })
    }

    /// The plan from these facts.
    pub(super) fn plan_with(
        &self,
        inputs: &Inputs,
        facts: &Facts,
        place: &Place,
    ) -> Result<Plan, Error> {
        let workflow = WorkflowRun::from_env(&self.env);
        let mut plan = Plan::new(inputs, workflow.as_ref(), facts, place)?;
        self.hand_on(&mut plan, place);
        Ok(plan)
    }

    /// Tells a builder in a container of this machine's proxy and of the authorities that it trusts.
    pub(super) fn hand_on(&self, plan: &mut Plan, place: &Place) {
        proxy::hand_on(plan, &self.env);
        certificates::hand_on(plan, place, &self.env);
        plan.warnings.extend(certificates::warning(&self.env));
    }

    /// The way into the cluster, if one is to build; in words why it can't, where another builder may.
    async fn cluster(
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
        let found = tokio::select! {
            found = Box::pin(cluster::find(inputs, session, &self.env)) => found,
            () = self.cancel.cancelled() => return Err(Error::Cancelled),
        };
        match found {
            Ok(access) => {
                for secret in access.secrets() {
                    self.mask(&secret);
                }
                Ok(Ok(Some(access)))
            }
            Err(error) if inputs.falls_back() && !error.is_input() => {
                let words = fall_back::words(&error.into());
                tracing::warn!("{words}");
                Ok(Err(words))
            }
            Err(error) => Err(error.into()),
        }
    }
}
