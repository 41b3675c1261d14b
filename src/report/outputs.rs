//! The step's outputs: names and values.

use std::time::Duration;

use protocol::Summary;
use serde_json::Value;

use super::outcome::{Image, Outcome};
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
    (
        "unchanged",
        "Whether the image is that of an earlier build of the same inputs (`skip-unchanged`)",
    ),
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
    ("pushed-bytes", "Bytes of layers that the push engine sent"),
    (
        "reused-bytes",
        "Bytes of layers that the registry had already, in a push by the push engine",
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

/// The values; an output without a value is left out. Seconds are the partition's: all phases of an image add up to its total. Several
/// images have a line each, JSON as an array, and sums of numbers.
pub(super) fn outputs(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let builder = &outcome.plan.builder;
    let texts = |text: &dyn Fn(Image<'_>) -> Option<String>| -> Option<String> {
        let texts = outcome.images().filter_map(text);
        let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    };
    let json = |json: &dyn Fn(Image<'_>) -> Option<Value>| -> Option<Value> {
        let values = outcome.images().filter_map(json);
        let mut values: Vec<Value> = values.filter(|value| !value.is_null()).collect();
        match values.len() {
            0 | 1 => values.pop(),
            _ => Some(Value::Array(values)),
        }
    };
    let engine = |bytes: fn(&Summary) -> u64| -> Option<String> {
        let engines = outcome
            .images()
            .filter_map(|image| image.built?.engine.as_ref());
        let bytes = engines.map(bytes).reduce(u64::saturating_add);
        bytes.map(|bytes| bytes.to_string())
    };
    let timings = || outcome.images().map(|image| image.timings);
    let value = |name: &str| -> Option<String> {
        if let Some(phase) = name.strip_suffix("-seconds") {
            let mut phases = Phase::ORDER.into_iter();
            let time: Duration = match phases.find(|candidate| candidate.name() == phase) {
                Some(phase) => timings().map(|image| image.phase(phase).partition).sum(),
                None => timings().map(|image| image.total).max()?,
            };
            return Some(format!("{:.3}", time.as_secs_f64()));
        }
        match name {
            "digest" => texts(&|image| Some(image.built?.metadata.digest.as_ref()?.to_string())),
            "imageid" => texts(&|image| image.built?.metadata.image_id.clone()),
            "metadata" => {
                let metadata = json(&|image| Some(image.metadata()?.json.clone().into()));
                serde_json::to_string_pretty(&metadata?).ok()
            }
            "image" => texts(&|image| Some(image.pushed()?.reference.clone())),
            "unchanged" => texts(&|image| Some(image.built?.unchanged.is_some().to_string())),
            "tags" => {
                let tags = outcome.images().flat_map(|image| &image.plan.tags);
                let tags: Vec<String> = tags.map(ToString::to_string).collect();
                (!tags.is_empty()).then(|| tags.join("\n"))
            }
            "version" => texts(&|image| Some(image.plan.version.clone())),
            "labels" => texts(&|image| Some(image.plan.labels.join("\n"))),
            "json" => json(&|image| Some(image.plan.json.clone())).map(|json| json.to_string()),
            "registry" => texts(&|image| match image.pushed() {
                Some(pushed) => Some(pushed.registry.clone()),
                None => Some(image.plan.name()?.host.clone()),
            }),
            "driver" => Some(builder.driver.name().to_owned()),
            "builder" => Some(builder.name.clone()),
            "cached-steps" => {
                let steps: usize = timings().map(|image| image.cached_steps).sum();
                Some(steps.to_string())
            }
            "total-steps" => {
                let steps: usize = timings().map(|image| image.total_steps).sum();
                Some(steps.to_string())
            }
            "image-bytes" => {
                let bytes = outcome.images().filter_map(|image| image.pushed()?.bytes);
                bytes
                    .reduce(u64::saturating_add)
                    .map(|bytes| bytes.to_string())
            }
            "pushed-bytes" => engine(|engine| engine.uploaded),
            "reused-bytes" => engine(|engine| engine.reused),
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
