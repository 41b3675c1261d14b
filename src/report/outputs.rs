//! The step's outputs: names and values.

use serde_json::Value;

use super::Outcome;
use super::timings_file::timings_file;
use crate::timings::Phase;

/// Largest value of the output `timings` (bytes). The runner allows 1 MiB for all outputs of a job
/// (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs>).
const LARGEST_TIMINGS: usize = 64 * 1024;

/// All outputs with their descriptions, in the order of `action.yml` and the README.
pub(crate) const OUTPUTS: &[(&str, &str)] = &[
    ("digest", "Digest of the image or index"),
    ("imageid", "Id of the image"),
    ("metadata", "buildx's metadata of the build, as JSON"),
    ("image", "The pushed image, `registry/repository@digest`"),
    ("tags", "Full names of the image, one per line"),
    (
        "version",
        "The most important tag, like docker/metadata-action's output of that name",
    ),
    ("labels", "Labels of the image, one per line"),
    (
        "json",
        "Tags and labels, like docker/metadata-action's output of that name",
    ),
    ("registry", "Registry host of the first tag"),
    ("driver", "The driver that built"),
    ("builder", "Name of the builder"),
    (
        "cached-steps",
        "Number of the Dockerfile's steps that came from the cache",
    ),
    (
        "total-steps",
        "Number of the Dockerfile's steps, without `FROM`",
    ),
    (
        "image-bytes",
        "Compressed size of the pushed image in bytes",
    ),
    ("timings", "Where the time went, as JSON of at most 64 KiB"),
    ("total-seconds", "Seconds from start to end"),
    (
        "setup-seconds",
        "Seconds of our own work: inputs, credentials, checks",
    ),
    ("builder-seconds", "Seconds until the builder was ready"),
    ("context-seconds", "Seconds for the build context"),
    (
        "cache-import-seconds",
        "Seconds for reading cache manifests",
    ),
    ("pull-seconds", "Seconds for base images and cached layers"),
    ("build-seconds", "Seconds in the Dockerfile's steps"),
    (
        "export-seconds",
        "Seconds for compressing layers and writing the image",
    ),
    ("push-seconds", "Seconds for the push"),
    ("cache-export-seconds", "Seconds for writing the cache"),
    (
        "other-seconds",
        "Seconds of BuildKit's work that belongs to no phase",
    ),
    ("waiting-seconds", "Seconds in which nothing ran"),
];

/// The values; an output without a value is left out. Seconds are the partition's: all phases add up to the total.
pub(super) fn outputs(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let Outcome {
        plan,
        timings,
        result,
        ..
    } = outcome;
    let built = result.as_ref().ok();
    let pushed = built.and_then(|built| built.image.as_ref());
    let image = plan.images.first();
    let value = |name: &str| -> Option<String> {
        if let Some(phase) = name.strip_suffix("-seconds") {
            let mut phases = Phase::ORDER.into_iter();
            let time = match phases.find(|candidate| candidate.name() == phase) {
                Some(phase) => timings.phase(phase).partition,
                None => timings.total,
            };
            return Some(format!("{:.3}", time.as_secs_f64()));
        }
        match name {
            "digest" => built?.metadata.digest.as_ref().map(ToString::to_string),
            "imageid" => built?.metadata.image_id.clone(),
            "metadata" => serde_json::to_string_pretty(&outcome.metadata()?.json).ok(),
            "image" => Some(pushed?.reference.clone()),
            "tags" => {
                let tags = image?.tags.iter().map(ToString::to_string);
                Some(tags.collect::<Vec<_>>().join("\n")).filter(|tags| !tags.is_empty())
            }
            "version" => Some(image?.version.clone()).filter(|version| !version.is_empty()),
            "labels" => Some(image?.labels.join("\n")).filter(|labels| !labels.is_empty()),
            "json" => Some(&image?.json)
                .filter(|json| !json.is_null())
                .map(ToString::to_string),
            "registry" => match pushed {
                Some(pushed) => Some(pushed.registry.clone()),
                None => Some(image?.name()?.host.clone()),
            },
            "driver" => Some(plan.builder.driver.name().to_owned()),
            "builder" => Some(plan.builder.name.clone()),
            "cached-steps" => Some(timings.cached_steps.to_string()),
            "total-steps" => Some(timings.total_steps.to_string()),
            "image-bytes" => Some(pushed?.bytes?.to_string()),
            "timings" => bounded_timings(outcome),
            _ => None,
        }
    };
    let names = OUTPUTS.iter().map(|(name, _)| *name);
    names
        .filter_map(|name| Some((name, value(name)?)))
        .collect()
}

/// The timings as JSON. What does not fit is left out, the finest detail first: the timeline, the quickest steps, then layers, retries and
/// warnings. The timings file has everything.
fn bounded_timings(outcome: &Outcome) -> Option<String> {
    let mut value = serde_json::to_value(timings_file(outcome)).ok()?;
    let is_large = |value: &Value| value.to_string().len() > LARGEST_TIMINGS;
    if is_large(&value) {
        remove(&mut value, "timeline");
    }
    let mut keep = usize::MAX;
    while keep > 0 && is_large(&value) {
        for image in images(&mut value) {
            let steps = image.get_mut("steps")?.as_array_mut()?;
            let time = |step: &Value| step.get("duration_ms").and_then(Value::as_u64);
            steps.sort_by_key(|step| std::cmp::Reverse(time(step)));
            keep = keep.min(steps.len()) / 2;
            steps.truncate(keep);
        }
    }
    for list in ["layers", "retries", "warnings"] {
        if is_large(&value) {
            remove(&mut value, list);
        }
    }
    (!is_large(&value)).then(|| value.to_string())
}

fn images(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    let images = value.get_mut("images").and_then(Value::as_array_mut);
    images.into_iter().flatten()
}

fn remove(value: &mut Value, list: &str) {
    for image in images(value).filter_map(Value::as_object_mut) {
        image.remove(list);
    }
}
