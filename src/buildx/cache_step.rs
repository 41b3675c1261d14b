//! How BuildKit names the steps that read and write caches.

const IMPORT: &str = "importing cache manifest from ";

/// The inline cache is part of the image's own export.
const EXPORTS: [&str; 2] = ["exporting cache ", "exporting to GitHub Actions Cache"];

/// The name of the cache that a step reads.
pub(super) fn imported(step: &str) -> Option<&str> {
    step.strip_prefix(IMPORT)
}

pub(super) fn is_export(step: &str) -> bool {
    EXPORTS.iter().any(|start| step.starts_with(start))
}

/// Whether a step reads or writes a cache.
pub(super) fn is_transfer(step: &str) -> bool {
    imported(step).is_some() || is_export(step)
}
