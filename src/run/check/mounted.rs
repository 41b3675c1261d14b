//! Paths of the plan that only this container would see.

use std::path::PathBuf;

use thiserror::Error;

use crate::inputs::cache::{Backend, CacheEntry};
use crate::plan::Plan;
use crate::runner::env::Env;
use crate::runner::mounts::{self, Mounts};

/// An input names a path that is not mounted.
#[derive(Debug, Error)]
#[error("input `{input}`: `{}` given, expected a path{}", path.display(), mounts::below(roots))]
pub(crate) struct Unseen {
    input: &'static str,
    path: PathBuf,
    roots: Vec<PathBuf>,
}

impl Unseen {
    pub(crate) fn hint(&self) -> String {
        "the action runs in a container of its own, where the runner's other folders are not mounted: use \
         `${{ runner.temp }}` or a folder of the workspace"
            .to_owned()
    }
}

/// Looks for paths of the plan that are not mounted: what is written there is gone with the container.
///
/// # Errors
/// At the first.
pub(crate) fn check(plan: &Plan, env: &Env) -> Result<(), Unseen> {
    let Some(mounts) = Mounts::of(env) else {
        return Ok(());
    };
    let read = plan.images.iter().flat_map(|image| &image.cache_from);
    let read = read.filter_map(|cache| Some(("cache-from", local_cache(cache, "src")?)));
    match written(plan)
        .into_iter()
        .chain(read)
        .find(|(_, path)| !mounts.sees(path))
    {
        Some((input, path)) => Err(Unseen {
            input,
            path,
            roots: mounts.roots,
        }),
        None => Ok(()),
    }
}

/// The files and folders that a run writes for others, with the inputs that name them.
pub(crate) fn written(plan: &Plan) -> Vec<(&'static str, PathBuf)> {
    let mut written = Vec::new();
    for image in &plan.images {
        let destinations = image
            .outputs
            .iter()
            .filter_map(|output| output.attribute("dest"));
        // A lone `-` is standard output.
        let destinations = destinations.filter(|destination| *destination != "-");
        written.extend(destinations.map(|path| ("outputs", PathBuf::from(path))));
        let caches = image
            .cache_to
            .iter()
            .filter_map(|cache| local_cache(cache, "dest"));
        written.extend(caches.map(|path| ("cache-to", path)));
    }
    written.extend(
        plan.timings_file
            .iter()
            .map(|path| ("timings-file", path.clone())),
    );
    written
}

/// The folder of a cache on disk (<https://docs.docker.com/build/cache/backends/local/>).
fn local_cache(cache: &CacheEntry, attribute: &str) -> Option<PathBuf> {
    let folder = cache.attributes.get(attribute).map(PathBuf::from);
    folder.filter(|_| cache.backend == Backend::Local)
}
