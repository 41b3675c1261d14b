//! What the cache saved, where it came from, and what writing it took.
//!
//! In: an [`Image`]. Out: a line below the phases, and one more if the run changed nothing.

use std::fmt::Write as _;

use super::outcome::Image;
use super::part::Part;
use super::tables::without_digest;
use crate::plan::CacheKind;
use crate::runner::markdown::code;
use crate::timings::{BuildTimings, Phase, Step, units};

/// Whether a cache was to be written. The push engine's images hold none.
fn is_written(image: &Image<'_>) -> bool {
    let by_engine = image.built.is_some_and(|built| built.engine.is_some());
    let mut exports = image.plan.cache_to.iter();
    exports.any(|export| !(by_engine && export.is_inline()))
}

/// The part; empty if nothing was built.
pub(super) fn part(image: &Image<'_>) -> Part {
    let Image { plan, timings, .. } = *image;
    if timings.total_steps == 0 {
        return Part::default();
    }
    let mut text = String::new();
    let missed = first_missed(timings);
    if missed.is_none() && image.pushed().is_some_and(|pushed| pushed.unchanged) {
        text.push_str(
            "\nNothing changed: every step came from the cache, and the registry already had the image under all its tags. \
             Nothing was uploaded.\n",
        );
    }
    let mut facts = vec![match missed {
        Some(step) => {
            let name = code(&without_digest(&step.name));
            format!("the first step that ran was {name}")
        }
        None => "no step had to run".to_owned(),
    }];
    let caches = image.metadata().map(|metadata| &metadata.caches);
    let imported = caches.map_or(&[][..], |caches| &caches.imported);
    let import = timings.phase(Phase::CacheImport).union;
    if !imported.is_empty() {
        let names: Vec<String> = imported.iter().map(|name| code(name)).collect();
        let (names, time) = (names.join(", "), units::duration(import));
        facts.push(format!("read from {names} in {time}"));
    } else if !import.is_zero() {
        facts.push(format!("none found in {}", units::duration(import)));
    }
    let export = units::duration(timings.phase(Phase::CacheExport).union);
    if caches.is_some_and(|caches| caches.unwritten.is_some()) {
        facts.push(format!("not written after {export}"));
    } else if image.built.is_some() && is_written(image) {
        let to = match (&plan.cache.written, plan.cache.kind) {
            _ if plan.cache.for_job => " for later steps of this job".to_owned(),
            (Some(name), _) => format!(" to {}", code(&name.to_string())),
            (None, CacheKind::Inline) => " into the image".to_owned(),
            (None, _) => String::new(),
        };
        let took = match plan.cache.kind {
            // Part of the image's export.
            CacheKind::Inline => String::new(),
            _ => format!(" in {export}"),
        };
        facts.push(format!("written{to}{took}"));
    }
    let kind = plan.cache.kind.name();
    let _ = writeln!(text, "\nCache ({kind}): {}", facts.join(" · "));
    Part::text(text)
}

/// The first step of the Dockerfile that did not come from the cache, by start.
pub(super) fn first_missed(timings: &BuildTimings) -> Option<&Step> {
    let ran = |step: &&Step| step.phase == Phase::Build && !step.cached;
    timings.steps.iter().find(ran)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;
    use crate::report::tests::outcome;
    use crate::timings::tests::recording::Recording;

    fn shown(change: impl FnOnce(&mut Outcome), recording: &str) -> String {
        let mut outcome = outcome(Recording::open(recording).timings(), Vec::new());
        change(&mut outcome);
        part(&outcome.images().next().unwrap()).head
    }

    #[test]
    fn a_run_that_changed_nothing_says_so() {
        let unchanged = |outcome: &mut Outcome| {
            let built = outcome.images[0].built.as_mut().unwrap();
            built.image.as_mut().unwrap().unchanged = true;
        };
        let says = |text: &str| text.starts_with("\nNothing changed: ");
        assert!(says(&shown(unchanged, "cached-push")));
        assert!(!says(&shown(|_| {}, "cached-push")));
        // Steps ran, and made the same.
        assert!(!says(&shown(unchanged, "cold-push")));
    }

    #[test]
    fn reading_and_writing_are_told_with_their_time() {
        let text = shown(
            |outcome| {
                let built = outcome.images[0].built.as_mut().unwrap();
                built.metadata.caches.imported = vec!["r/a:buildcache".to_owned()];
                let cache = &mut outcome.plan.images[0].cache;
                (cache.kind, cache.written) = (
                    CacheKind::Registry,
                    Some("r.test/a:buildcache-x".parse().unwrap()),
                );
            },
            "registry-cache-import",
        );
        for part in [
            "Cache (registry): ",
            "read from `r/a:buildcache` in ",
            " · written to `r.test/a:buildcache-x` in ",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let failed = shown(
            |outcome| {
                let built = outcome.images[0].built.as_mut().unwrap();
                built.metadata.caches.unwritten = Some("403 Forbidden".to_owned());
            },
            "registry-cache-import",
        );
        assert!(failed.contains(" · not written after "), "{failed}");
    }

    #[test]
    fn the_first_step_that_missed_is_named() {
        let cases = [
            ("cold-push", Some("[2/6] WORKDIR /app")),
            ("cached-push", None),
            ("registry-cache-import", Some("[5/6] COPY . .")),
        ];
        for (name, expected) in cases {
            let timings = Recording::open(name).timings();
            let found = first_missed(&timings).map(|step| step.name.as_str());
            assert_eq!(found, expected, "{name}");
        }
    }
}
