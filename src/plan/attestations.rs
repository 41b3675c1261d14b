//! Which attestations the image gets.

use crate::inputs::Inputs;
use crate::inputs::attest::Attest;
use crate::runner::workflow::WorkflowRun;

/// The inputs `provenance` and `sbom`, then those of `attests` that the two leave open. Provenance is off unless asked for: it
/// needs an index, which AWS Lambda and some other consumers can't read. It names this run as builder, as
/// docker/build-push-action does.
pub(super) fn choose(inputs: &Inputs, run: Option<&WorkflowRun>) -> Vec<Attest> {
    let provenance = "provenance";
    let mut attests: Vec<Attest> = [&inputs.provenance, &inputs.sbom]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let settled = |kind: &str| attests.iter().any(|attest| attest.kind == kind);
    let others: Vec<Attest> = inputs
        .attests
        .iter()
        .filter(|attest| !settled(&attest.kind))
        .cloned()
        .collect();
    attests.extend(others);
    // Only provenance is on by default in buildx.
    attests.retain(|attest| attest.kind == provenance || attest.is_on());
    if !attests.iter().any(|attest| attest.kind == provenance) {
        attests.splice(0..0, Attest::of(provenance, "disabled=true"));
    }
    if let Some(id) = run.and_then(WorkflowRun::run_url) {
        let on = |attest: &&mut Attest| attest.kind == provenance && attest.is_on();
        for attest in attests.iter_mut().filter(on) {
            attest.set_default("builder-id", &id);
        }
    }
    attests
}
