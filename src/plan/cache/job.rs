//! A cache for the later steps of the same job: an image is loaded, tested, and pushed by another step.
//!
//! A builder in a container is gone when its step ends, with its disk. So a step that only loads writes what it built into the job's
//! folder, and a later step begins with that: it pushes what was tested, and no step of the Dockerfile runs again.

use super::leg::parts;
use super::scope::tag;
use super::{Chosen, Situation};
use crate::inputs::cache::{Backend, CacheEntry};
use crate::plan::Driver;

/// Adds the job's cache: written by a step that only loads, read by any later one.
pub(super) fn add(situation: &Situation<'_>, chosen: &mut Chosen) {
    let builder = situation.builder;
    let Some(caches) = &situation.facts.job_caches else {
        return;
    };
    if builder.driver != Driver::DockerContainer || situation.run.is_none() {
        return;
    }
    let name = tag("cache", None, &parts(situation));
    let path = caches.folder.join(&name).to_string_lossy().into_owned();
    if caches.names.contains(&name) && !situation.inputs.no_cache {
        chosen
            .from
            .insert(0, CacheEntry::new(Backend::Local).with("src", &path));
    }
    let pushes = situation.outputs.iter().any(|output| output.pushes());
    if situation.inputs.load && !pushes && chosen.to.is_empty() {
        let export = CacheEntry::new(Backend::Local).with("dest", path);
        chosen
            .to
            .push(export.with("mode", "max").with("ignore-error", "true"));
        chosen.plan.for_job = true;
    }
}
