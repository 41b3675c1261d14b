//! The buildx command line of one image.
//!
//! Flags stand in docker/build-push-action's order, so that the two can be compared line by line
//! (<https://github.com/docker/build-push-action/blob/cb941d0/src/context.ts>, `getArgs`).

use super::{BuilderPlan, Context, ImagePlan, Place, SecretSource};
use crate::facts::Facts;
use crate::inputs::Inputs;
use crate::inputs::attest::Attest;
use crate::runner::workflow::WorkflowRun;

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
    argv.each("--add-host", &inputs.add_hosts);
    argv.each("--allow", &inputs.allow);
    argv.each("--annotation", &image.annotations);
    argv.each("--build-arg", &texts(&inputs.build_args));
    for context in &image.build_contexts {
        argv.pair(
            "--build-context",
            format!("{}={}", context.name, context.value),
        );
    }
    argv.each("--cache-from", &texts(&image.cache_from));
    if !image.cache.afterwards {
        argv.each("--cache-to", &texts(&image.cache_to));
    }
    argv.option("--call", image.call.as_ref().map(|call| &call.text));
    argv.option("--cgroup-parent", inputs.cgroup_parent.as_ref());
    let is_variable = |source: &SecretSource| matches!(source, SecretSource::Variable(_));
    for secret in image
        .secrets
        .iter()
        .filter(|secret| is_variable(&secret.source))
    {
        argv.pair("--secret", secret.argument());
    }
    argv.option("--file", image.file.as_ref());
    if image.image_id {
        argv.pair("--iidfile", place.image_id_file().to_string_lossy());
    }
    argv.each("--label", &image.labels);
    argv.each("--no-cache-filter", &inputs.no_cache_filters);
    for output in &image.outputs {
        argv.pair("--output", output.to_string());
    }
    if !image.platforms.is_empty() {
        argv.pair("--platform", image.platforms.join(","));
    }
    for attest in attests(inputs, run) {
        argv.pair("--attest", attest.to_string());
    }
    for secret in image
        .secrets
        .iter()
        .filter(|secret| !is_variable(&secret.source))
    {
        argv.pair("--secret", secret.argument());
    }
    argv.option("--shm-size", inputs.shm_size.as_ref());
    argv.each("--ssh", &image.ssh);
    argv.each("--tag", &image.tags);
    argv.option("--tag", image.cache.tag.as_ref());
    argv.option("--target", inputs.target.as_ref());
    argv.each("--ulimit", &texts(&inputs.ulimit));
    argv.pair("--builder", &builder.name);
    argv.pair("--metadata-file", place.metadata_file().to_string_lossy());
    argv.option(
        "--network",
        inputs
            .network
            .map(Into::<&str>::into)
            .map(str::to_owned)
            .as_ref(),
    );
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

impl ImagePlan {
    /// The values of a flag on the command line.
    pub(crate) fn flag<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.argv.iter().zip(self.argv.iter().skip(1));
        let given = pairs.filter(move |(flag, _)| *flag == name);
        given.map(|(_, value)| value.as_str())
    }

    /// The build arguments by name, with their values; without where buildx takes the environment's.
    pub(crate) fn build_arguments(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.flag("--build-arg")
            .map(|given| match given.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (given, None),
            })
    }
}

/// Flags of a build that are about the image and not its steps.
const OF_THE_IMAGE: &[&str] = &[
    "--annotation",
    "--attest",
    "--iidfile",
    "--metadata-file",
    "--output",
    "--tag",
];

/// The command line that writes the cache of a build that was done: its own, without the image.
pub(super) fn cache(image: &ImagePlan) -> Vec<String> {
    let mut words = image.argv.iter().cloned();
    let mut argv = Argv(words.by_ref().take(2).collect());
    let mut words = words.peekable();
    while let Some(flag) = words.next() {
        // The last word is the context.
        if words.peek().is_none() {
            argv.each("--cache-to", &texts(&image.cache_to));
            argv.pair("--output", "type=cacheonly");
            argv.pair("--provenance", "false");
            argv.0.push(flag);
        } else if flag != "--pull"
            && let Some(value) = words.next()
            && !OF_THE_IMAGE.contains(&flag.as_str())
        {
            argv.pair(&flag, value);
        }
    }
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

/// The attestations: the inputs `provenance` and `sbom`, then of `attests` the kinds that those
/// two don't settle. Provenance is off unless asked for: the index that it needs is what AWS Lambda
/// and some other consumers can't read. Its builder is this run, as with docker/build-push-action.
fn attests(inputs: &Inputs, run: Option<&WorkflowRun>) -> Vec<Attest> {
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

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

struct Argv(Vec<String>);

impl Argv {
    fn pair(&mut self, flag: &str, value: impl Into<String>) {
        self.0.push(flag.to_owned());
        self.0.push(value.into());
    }

    fn option(&mut self, flag: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.pair(flag, value);
        }
    }

    fn each(&mut self, flag: &str, values: &[String]) {
        for value in values {
            self.pair(flag, value);
        }
    }
}
