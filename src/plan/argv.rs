//! The buildx command line of one image.
//!
//! Flags stand in docker/build-push-action's order, so that the two can be compared line by line
//! (<https://github.com/docker/build-push-action/blob/cb941d0/src/context.ts>, `getArgs`).

use super::{BuilderPlan, Context, ImagePlan, Place};
use crate::facts::Facts;
use crate::github::workflow::WorkflowRun;
use crate::inputs::{Attestation, Inputs};

/// The command line, program first.
pub(super) fn build(
    inputs: &Inputs,
    image: &ImagePlan,
    builder: &BuilderPlan,
    run: Option<&WorkflowRun>,
    facts: &Facts,
    place: &Place,
) -> Vec<String> {
    let mut argv = Argv(vec![
        facts.buildx.program.to_string_lossy().into_owned(),
        "build".to_owned(),
    ]);
    argv.each("--build-arg", &inputs.build_args);
    argv.each("--cache-from", &image.cache_from);
    argv.each("--cache-to", &image.cache_to);
    if let Some(file) = &inputs.file {
        argv.pair("--file", file);
    }
    if image.image_id {
        argv.pair("--iidfile", place.image_id_file().to_string_lossy());
    }
    argv.each("--label", &image.labels);
    for output in &image.outputs {
        argv.pair("--output", output.to_string());
    }
    if !image.platforms.is_empty() {
        argv.pair("--platform", image.platforms.join(","));
    }
    argv.pair("--attest", provenance(&inputs.provenance, run));
    if let Some(sbom) = sbom(&inputs.sbom) {
        argv.pair("--attest", sbom);
    }
    if let (true, Some(run)) = (image.git_token, run) {
        let source = place.git_token_file();
        argv.pair(
            "--secret",
            format!(
                "id=GIT_AUTH_TOKEN.{},src={}",
                run.server_host(),
                source.display()
            ),
        );
    }
    argv.each("--tag", &image.tags);
    if let Some(target) = &inputs.target {
        argv.pair("--target", target);
    }
    argv.pair("--builder", &builder.name);
    argv.pair("--metadata-file", place.metadata_file().to_string_lossy());
    if inputs.no_cache {
        argv.0.push("--no-cache".to_owned());
    }
    if inputs.pull {
        argv.0.push("--pull".to_owned());
    }
    argv.pair("--progress", "rawjson");
    argv.0.push(context_argument(&image.context));
    argv.0
}

/// A folder whose name begins with a hyphen is no flag.
fn context_argument(context: &Context) -> String {
    let argument = context.argument();
    if argument.starts_with('-') {
        format!("./{argument}")
    } else {
        argument
    }
}

/// Off unless asked for: the index that an attestation needs is what AWS Lambda and some other
/// consumers can't read. The builder's id is added as docker/build-push-action does.
fn provenance(wanted: &Attestation, run: Option<&WorkflowRun>) -> String {
    let builder_id = run.and_then(WorkflowRun::run_url);
    let with_id = |attributes: &str| match &builder_id {
        Some(id) if !attributes.contains("builder-id=") => format!("{attributes},builder-id={id}"),
        _ => attributes.to_owned(),
    };
    match wanted {
        Attestation::Off => "type=provenance,disabled=true".to_owned(),
        Attestation::On => with_id("type=provenance"),
        Attestation::With(attributes) => with_id(&format!("type=provenance,{attributes}")),
    }
}

fn sbom(wanted: &Attestation) -> Option<String> {
    match wanted {
        Attestation::Off => None,
        Attestation::On => Some("type=sbom".to_owned()),
        Attestation::With(attributes) => Some(format!("type=sbom,{attributes}")),
    }
}

struct Argv(Vec<String>);

impl Argv {
    fn pair(&mut self, flag: &str, value: impl Into<String>) {
        self.0.push(flag.to_owned());
        self.0.push(value.into());
    }

    fn each(&mut self, flag: &str, values: &[String]) {
        for value in values {
            self.pair(flag, value);
        }
    }
}
