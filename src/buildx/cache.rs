//! Which caches were read and written.
//!
//! In: the build's progress. Out: [`Caches`], and one line about all that could not be read. BuildKit
//! continues without a cache and reports it only as a vertex with an error:
//! `importing cache manifest from REF` with `failed to configure registry cache importer: REF: not
//! found` (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/solver/llbsolver/bridge.go>,
//! `loadResult`), `exporting cache to registry` where `ignore-error=true` is set.

use super::progress::{Progress, Step, one_line};
use super::{cache_step, catalogue};

/// The start of an import's error.
const IMPORTER: &str = "failed to configure registry cache importer: ";

/// Parts of a registry's error for a missing cache.
const MISSING: [&str; 3] = ["not found", "manifest unknown", "name unknown"];

/// The caches of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caches {
    /// Names of the caches that were read, whether or not they had a step.
    pub imported: Vec<String>,
    pub unread: Vec<Unread>,
    /// Why the cache could not be written.
    pub unwritten: Option<String>,
}

/// A cache that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub name: String,
    /// The registry's error; none if the cache does not exist.
    pub error: Option<String>,
}

impl Caches {
    /// From the steps of a successful build.
    pub(super) fn of(progress: &Progress) -> Self {
        let mut caches = Self::default();
        for step in progress.steps() {
            caches.add(step);
        }
        // They are read in parallel.
        caches
            .unread
            .sort_by(|one, other| one.name.cmp(&other.name));
        caches
    }

    fn add(&mut self, step: &Step) {
        if cache_step::is_export(&step.name) && self.unwritten.is_none() {
            self.unwritten = step.error.as_deref().map(one_line);
        }
        let Some(name) = cache_step::imported(&step.name) else {
            return;
        };
        let name = one_line(name);
        match &step.error {
            None if self.imported.contains(&name) => {}
            None => self.imported.push(name),
            Some(error) => {
                let error = error.strip_prefix(IMPORTER).unwrap_or(error);
                let error = error.strip_prefix(&format!("{name}: ")).unwrap_or(error);
                let lower = error.to_lowercase();
                let is_missing = MISSING.iter().any(|text| lower.contains(text));
                let error = (!is_missing).then(|| one_line(error));
                self.unread.push(Unread { name, error });
            }
        }
    }

    /// One line about all caches that could not be read.
    pub(super) fn unread_text(&self) -> Option<String> {
        if self.unread.is_empty() {
            return None;
        }
        let missing = self.unread.iter().filter(|cache| cache.error.is_none());
        let missing: Vec<String> = missing.map(|cache| format!("`{}`", cache.name)).collect();
        let mut reasons = Vec::new();
        match missing.as_slice() {
            [] => {}
            [one] => reasons.push(format!("{one} does not exist yet")),
            several => reasons.push(format!("{} do not exist yet", several.join(", "))),
        }
        for cache in &self.unread {
            if let Some(error) = &cache.error {
                reasons.push(format!("`{}`: {error}{}", cache.name, hint(error)));
            }
        }
        let begin = match self.imported.as_slice() {
            [] => "no cache was read".to_owned(),
            read => format!("the cache was read from `{}`", read.join("`, `")),
        };
        Some(format!("{begin}; {}", reasons.join("; ")))
    }

    /// Whether a cache is unread for another reason than that the repository or the branch is new.
    pub(super) fn is_unexpected(&self) -> bool {
        self.unread.iter().any(|cache| cache.error.is_some())
    }

    /// Warns if the cache could not be written.
    pub(crate) fn warn_of_unwritten(&self) {
        if let Some(warning) = self.unwritten_warning() {
            tracing::warn!("{warning}");
        }
    }

    fn unwritten_warning(&self) -> Option<String> {
        let error = self.unwritten.as_ref()?;
        let hint = catalogue::find(error).map(|entry| format!(" ({})", entry.hint));
        let hint = hint.unwrap_or_default();
        Some(format!(
            "the cache could not be written, the next build will be slower: {error}{hint}"
        ))
    }
}

fn hint(error: &str) -> &'static str {
    let error = error.to_lowercase();
    if error.contains("archive") {
        " (it is archived: restore it, or delete the tag)"
    } else if error.contains("403") || error.contains("denied") {
        " (the login may not read it: it needs ecr:BatchGetImage and ecr:GetDownloadUrlForLayer)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildx::rawjson::{self, Line};

    /// A stream that was recorded on a real BuildKit.
    fn recorded(name: &str) -> Caches {
        let (folder, name) = name.split_once('/').unwrap();
        let name = format!("{folder}/buildx-0.29.1-engine-28.5.2-{name}");
        let path = format!("{}/tests/fixtures/{name}.tsv", env!("CARGO_MANIFEST_DIR"));
        let mut progress = Progress::default();
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let (_, line) = line.split_once('\t').unwrap();
            if let Line::Status(status) = rawjson::parse(line.as_bytes()) {
                progress.show(&status, |_| {});
            }
        }
        Caches::of(&progress)
    }

    #[test]
    fn all_that_could_not_be_read_is_one_line() {
        let cases = [
            ("rawjson/cold-push", None, false),
            ("rawjson/registry-cache-import", None, false),
            (
                "cache/cache-missing",
                Some(
                    "no cache was read; `registry.test/timings/none:a`, `registry.test/timings/none:b` do not exist yet",
                ),
                false,
            ),
            (
                "cache/cache-fallback",
                Some(
                    "the cache was read from `registry.test/timings/registry:buildcache`; `registry.test/timings/none:a` does not exist yet",
                ),
                false,
            ),
        ];
        for (name, words, notice) in cases {
            let caches = recorded(name);
            assert_eq!(caches.unread_text().as_deref(), words, "{name}");
            assert_eq!(words.is_some() && caches.is_unexpected(), notice, "{name}");
            assert_eq!(caches.unwritten, None, "{name}");
        }
    }

    #[test]
    fn a_registrys_error_is_quoted() {
        let refused = recorded("cache/cache-refused");
        let text = refused.unread_text().unwrap();
        assert!(text.starts_with("no cache was read; `"), "{text}");
        assert!(
            text.contains("403 Forbidden (the login may not read it"),
            "{text}"
        );
        assert!(refused.is_unexpected());
        let unwritten = refused.unwritten_warning().unwrap();
        for part in ["could not be written", "403 Forbidden", "ecr:PutImage"] {
            assert!(unwritten.contains(part), "{unwritten}");
        }
    }

    #[test]
    fn an_archived_cache_has_a_hint() {
        let caches = Caches {
            unread: vec![Unread {
                name: "r/a:c".to_owned(),
                error: Some("ImageArchivedException: The image is archived".to_owned()),
            }],
            ..Caches::default()
        };
        assert!(caches.unread_text().unwrap().contains("restore it"));
    }
}
