//! Another builder where the cluster can't build.

use super::settle::Settled;
use super::{Run, show};
use crate::credentials::aws::Session;
use crate::error::Error;
use crate::inputs::Inputs;
use crate::plan::{Place, Plan};
use crate::report::Built;
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
        let words = format!(
            "the cluster can't build, this machine does: {}",
            first.lines().join("\n")
        );
        tracing::warn!("{words}");
        settled.facts.cluster = None;
        settled.plan = self.plan_with(inputs, &settled.facts, place)?;
        // Left in place, it would tell the post step of a builder in the cluster.
        let _ = std::fs::remove_file(place.kubeconfig_file());
        self.hide(&settled.plan);
        show(&settled.plan);
        // The log has it already, the summary is to have it, too.
        settled.plan.warnings.push(words);
        Ok(())
    }
}

/// Whether another builder is to be tried after this failure: one of the cluster, not of the build.
fn falls_back(plan: &Plan, error: &Error) -> bool {
    let kubernetes = plan.builder.kubernetes.as_ref();
    kubernetes.is_some_and(|kubernetes| kubernetes.fallback)
        && matches!(error, Error::Builder(error) if !error.is_lost())
}
