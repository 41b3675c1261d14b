//! Another builder where the cluster can't build.

use super::settle::Settled;
use super::{Run, show};
use crate::aws::Session;
use crate::builder;
use crate::credentials::FORMER_KUBECONFIG_FILE;
use crate::inputs::Inputs;
use crate::plan::{Place, Plan};
use crate::report::{self, Built};
use crate::run::error::Error;
use crate::run::post;
use crate::timings::Recorder;

impl Run {
    /// Executes the plan; where the cluster can't build and another builder may, that one's.
    pub(super) async fn execute_or_fall_back(
        &self,
        inputs: &Inputs,
        session: &Session,
        settled: &mut Settled,
        place: &Place,
        recorder: &mut Recorder,
    ) -> Result<Built, Error> {
        let first = match self
            .execute(inputs, session, settled, place, recorder)
            .await
        {
            Err(error) if falls_back(&settled.plan, &error) && !self.cancel.is_cancelled() => error,
            ended => return ended,
        };
        let second = match self.fall_back(inputs, settled, place, &first) {
            Ok(()) => {
                self.execute(inputs, session, settled, place, recorder)
                    .await
            }
            Err(error) => Err(error),
        };
        second.map_err(|second| Error::Fallback {
            first: Box::new(first),
            second: Box::new(second),
        })
    }

    /// Plans anew without the cluster, which could not build.
    fn fall_back(
        &self,
        inputs: &Inputs,
        settled: &mut Settled,
        place: &Place,
        first: &Error,
    ) -> Result<(), Error> {
        let words = words(first);
        tracing::warn!("{words}");
        settled.facts.cluster = None;
        settled.plan = self.plan_with(inputs, &settled.facts, place)?;
        // Left in place, it would tell the post step of a builder in the cluster and of no other.
        let kubeconfig = place.kubeconfig_file();
        builder::set_aside(&kubeconfig, &place.folder.join(FORMER_KUBECONFIG_FILE));
        self.hide(&settled.plan);
        show(&settled.plan);
        settled.remarks.push(words);
        // The post step is to remove this one's builder instead; of two values the later counts.
        post::note(&settled.plan, place, &self.env).map_err(report::ReportError::from)?;
        Ok(())
    }
}

/// That the cluster can't build, and why.
pub(super) fn words(error: &Error) -> String {
    let lines = error.lines().join("\n");
    format!("the cluster can't build, this machine does: {lines}")
}

/// Whether another builder is to be tried after this failure: one of the cluster, not of the build.
fn falls_back(plan: &Plan, error: &Error) -> bool {
    let kubernetes = plan.builder.kubernetes.as_ref();
    kubernetes.is_some_and(|kubernetes| kubernetes.fallback)
        && matches!(error, Error::Builder(error) if !error.is_lost())
}
