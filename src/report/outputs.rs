//! The step's outputs: names and values, nothing else.

use serde_json::Value;

use super::{Outcome, timings_file};
use crate::timings::Phase;

/// Largest value of the output `timings` (bytes). The runner allows 1 MiB for all outputs of a job
/// (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs>).
const LARGEST_TIMINGS: usize = 64 * 1024;

/// All outputs with their meaning, in the order of `action.yml` and the README.
pub(crate) const OUTPUTS: &[(&str, &str)] = &[
    ("digest", "Digest of the image or index"),
    ("imageid", "Id of the image"),
    ("metadata", "What buildx says about the build, as JSON"),
    ("image", "The pushed image, `registry/repository@digest`"),
    ("tags", "Full names of the image, a line each"),
    (
        "version",
        "The most important tag, as docker/metadata-action's output of that name",
    ),
    ("labels", "Labels of the image, a line each"),
    (
        "json",
        "Tags and labels, as docker/metadata-action's output of that name",
    ),
    ("registry", "Registry host of the first tag"),
    ("driver", "The driver that built"),
    ("builder", "Name of the builder"),
    ("cached-steps", "Number of steps that came from the cache"),
    ("total-steps", "Number of all steps"),
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

/// The values; an output that has none is left out. Seconds are those of the partition: all phases
/// add up to the total.
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
            return match phase {
                "total" => Some(seconds(timings.total)),
                _ => Phase::ORDER
                    .iter()
                    .find(|candidate| candidate.name() == phase)
                    .map(|phase| seconds(timings.phase(*phase).partition)),
            };
        }
        match name {
            "digest" => built?.metadata.digest.as_ref().map(ToString::to_string),
            "imageid" => built?.metadata.image_id.clone(),
            "metadata" => serde_json::to_string_pretty(&outcome.metadata()?.json).ok(),
            "image" => Some(pushed?.reference.clone()),
            "tags" => Some(image?.tags.join("\n")).filter(|tags| !tags.is_empty()),
            "version" => Some(image?.version.clone()).filter(|version| !version.is_empty()),
            "labels" => Some(image?.labels.join("\n")).filter(|labels| !labels.is_empty()),
            "json" => Some(&image?.json)
                .filter(|json| !json.is_null())
                .map(ToString::to_string),
            "registry" => match pushed {
                Some(pushed) => Some(pushed.registry.clone()),
                None => Some(image?.references.first()?.host.clone()),
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
    OUTPUTS
        .iter()
        .filter_map(|(name, _)| Some((*name, value(name)?)))
        .collect()
}

/// The timings as JSON. What does not fit is left out, the finest grain first: the timeline, then
/// the quickest steps, then layers, retries and warnings; the timings file has them all.
fn bounded_timings(outcome: &Outcome) -> Option<String> {
    let mut value = serde_json::to_value(timings_file(outcome)).ok()?;
    let mut text = value.to_string();
    if text.len() > LARGEST_TIMINGS {
        text = without(&mut value, "timeline")?;
    }
    let mut keep = usize::MAX;
    while text.len() > LARGEST_TIMINGS && keep > 0 {
        for image in images(&mut value)? {
            let steps = image.get_mut("steps")?.as_array_mut()?;
            steps.sort_by_key(|step| {
                std::cmp::Reverse(step.get("duration_ms").and_then(Value::as_u64))
            });
            keep = keep.min(steps.len()) / 2;
            steps.truncate(keep);
        }
        text = value.to_string();
    }
    for list in ["layers", "retries", "warnings"] {
        if text.len() > LARGEST_TIMINGS {
            text = without(&mut value, list)?;
        }
    }
    Some(text).filter(|text| text.len() <= LARGEST_TIMINGS)
}

fn images(value: &mut Value) -> Option<&mut Vec<Value>> {
    value.get_mut("images")?.as_array_mut()
}

/// What is left without this list.
fn without(value: &mut Value, list: &str) -> Option<String> {
    for image in images(value)? {
        image.as_object_mut()?.remove(list);
    }
    Some(value.to_string())
}

fn seconds(duration: std::time::Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}
