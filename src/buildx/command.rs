//! `buildx build`: the command line of an image.
//!
//! Flags have docker/build-push-action's order, so that the two can be compared line by line
//! (<https://github.com/docker/build-push-action/blob/cb941d0/src/context.ts>, `getArgs`).

use std::path::Path;

use image::ImageRef;
use lists::attributes;

use crate::inputs::cache::Backend;
use crate::plan::{Context, ImagePlan, PlannedSecret, SecretSource};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Image,
    /// The cache of an image that has been built: all that decides on steps, none of what the image gets.
    Cache,
}

pub(crate) fn build(image: &ImagePlan, builder: &str) -> Vec<String> {
    arguments(image, builder, Purpose::Image)
}

/// The arguments that export the cache once the image is pushed; none where the build does.
pub(crate) fn export_cache(image: &ImagePlan, builder: &str) -> Option<Vec<String>> {
    image
        .cache
        .afterwards
        .then(|| arguments(image, builder, Purpose::Cache))
}

/// The arguments that export the cache of a build that failed after its last step; none where nothing is to be exported, or steps would
/// run again.
pub(crate) fn export_cache_again(image: &ImagePlan, builder: &str) -> Option<Vec<String>> {
    let mut caches = image.cache_to.iter();
    let is_apart = caches.any(|cache| cache.backend != Backend::Inline);
    let repeats = image.steps.no_cache || !image.steps.no_cache_filters.is_empty();
    (is_apart && !repeats).then(|| arguments(image, builder, Purpose::Cache))
}

fn arguments(image: &ImagePlan, builder: &str, purpose: Purpose) -> Vec<String> {
    let is_image = purpose == Purpose::Image;
    let steps = &image.steps;
    let mut args = Args(vec!["build".to_owned()]);
    args.each("--add-host", &steps.add_hosts);
    args.each("--allow", &steps.allow);
    if is_image {
        args.each("--annotation", &image.annotations);
    }
    args.each("--build-arg", &image.build_args);
    for context in &image.build_contexts {
        args.pair(
            "--build-context",
            &format!("{}={}", context.name, context.value),
        );
    }
    args.each("--cache-from", &image.cache_from);
    if is_image && !image.cache.afterwards {
        args.each("--cache-to", &image.cache_to);
    }
    args.each("--call", image.call.as_ref().map(|call| &call.text));
    args.each("--cgroup-parent", &steps.cgroup_parent);
    let (variables, files): (Vec<_>, Vec<_>) = image
        .secrets
        .iter()
        .partition(|secret| matches!(secret.source, SecretSource::Variable(_)));
    args.each("--secret", variables.into_iter().map(secret));
    args.each("--file", &image.file);
    if is_image && image.image_id {
        args.pair("--iidfile", &image.files.image_id.display());
    }
    args.each("--label", &image.labels);
    args.each("--no-cache-filter", &steps.no_cache_filters);
    if is_image {
        args.each("--output", &image.outputs);
    }
    if !image.platforms.is_empty() {
        args.pair("--platform", &image.platforms.join(","));
    }
    if is_image {
        args.each("--attest", &image.attestations);
    }
    args.each("--secret", files.into_iter().map(secret));
    args.each("--shm-size", &steps.shm_size);
    args.each("--ssh", &image.ssh);
    if is_image {
        // BuildKit pushes them in this order, and stops at the first that fails.
        let is_taken = |tag: &&ImageRef| image.taken.contains(tag);
        args.each("--tag", image.tags.iter().filter(is_taken));
        args.each("--tag", image.tags.iter().filter(|tag| !is_taken(tag)));
        args.each("--tag", &image.cache.tag);
    }
    args.each("--target", &image.target);
    args.each("--ulimit", &steps.ulimit);
    args.pair("--builder", builder);
    if is_image {
        args.pair("--metadata-file", &image.files.metadata.display());
    }
    args.each("--network", steps.network.map(<&str>::from));
    if steps.no_cache {
        args.0.push("--no-cache".to_owned());
    }
    if is_image && steps.pull {
        args.0.push("--pull".to_owned());
    }
    args.pair("--progress", "rawjson");
    if !is_image {
        args.each("--cache-to", &image.cache_to);
        args.pair("--output", "type=cacheonly");
        args.pair("--provenance", "false");
    }
    args.0.push(context(&image.context));
    args.0
}

/// A file of a context that BuildKit fetches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch<'a> {
    /// The context's address: for the Dockerfile it is the context `source`.
    pub context: &'a str,
    /// A Dockerfile that copies the file.
    pub dockerfile: &'a Path,
    /// An empty folder.
    pub empty: &'a Path,
    /// The folder that gets the file.
    pub into: &'a Path,
}

/// The arguments that fetch it, with what the build itself may use of secrets for Git.
pub(crate) fn fetch(image: &ImagePlan, builder: &str, fetch: &Fetch<'_>) -> Vec<String> {
    let mut args = Args(vec!["build".to_owned()]);
    args.pair("--build-context", &format!("source={}", fetch.context));
    let secrets = image.secrets.iter();
    let of_git = secrets.filter(|secret| secret.id.starts_with("GIT_AUTH_"));
    args.each("--secret", of_git.map(secret));
    args.each("--ssh", &image.ssh);
    args.pair("--file", &fetch.dockerfile.display());
    let folder = format!("dest={}", fetch.into.display());
    args.pair(
        "--output",
        &attributes::join(["type=local".to_owned(), folder]),
    );
    args.pair("--provenance", "false");
    args.pair("--builder", builder);
    args.pair("--progress", "rawjson");
    args.0.push(fetch.empty.display().to_string());
    args.0
}

/// The value of `--secret`.
pub(super) fn secret(secret: &PlannedSecret) -> String {
    let id = format!("id={}", secret.id);
    let source = match &secret.source {
        SecretSource::Variable(name) => format!("env={name}"),
        SecretSource::Written(path) | SecretSource::File(path) | SecretSource::GitToken(path) => {
            format!("src={}", path.display())
        }
    };
    attributes::join([id, source])
}

/// A path that begins with a hyphen is not a flag.
pub(super) fn context(context: &Context) -> String {
    let argument = context.argument();
    if argument.starts_with('-') {
        format!("./{argument}")
    } else {
        argument
    }
}

struct Args(Vec<String>);

impl Args {
    fn pair(&mut self, flag: &str, value: &(impl ToString + ?Sized)) {
        self.0.extend([flag.to_owned(), value.to_string()]);
    }

    fn each<T: ToString>(&mut self, flag: &str, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.pair(flag, &value);
        }
    }
}
