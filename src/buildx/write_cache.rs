//! The export of a pushed image's cache, by a second build.
//!
//! All steps are done by then. Of the progress only the export is shown and timed.

use std::collections::HashSet;
use std::process::ExitStatus;
use std::time::Instant;

use super::budget::Budget;
use super::cache::Caches;
use super::metadata::Metadata;
use super::progress::{Progress, one_line};
use super::rawjson::{Line, SolveStatus};
use super::{Build, cache_step, command, rawjson, redact, silence};
use crate::process::{Event, ProcessError};
use crate::runner::log::Group;

/// Bytes of vertex digests that are kept. An export has one of about 70 bytes.
const MOST_KEPT: usize = 256 * 1024;

impl Build<'_> {
    /// Writes the cache, if the build did not; whether it tried. A failure is a warning and part of the metadata: the image has
    /// been pushed.
    pub(crate) async fn write_cache(
        &self,
        metadata: &mut Metadata,
        mut on_status: impl FnMut(&SolveStatus),
    ) -> bool {
        let arguments = if metadata.is_of_failed_build {
            command::export_cache_again(self.image, self.builder)
        } else {
            command::export_cache(self.image, self.builder)
        };
        let Some(arguments) = arguments else {
            return false;
        };
        let _group = Group::open("Write the cache");
        let mut progress = Progress::default();
        let mut exports = Exports::default();
        let mut last_error = None;
        let cancel = self.cancel.child_token();
        let mut silence = None;
        let command = self.command(arguments);
        let ongoing = self.ongoing.one();
        let ended = command.stream(&cancel, |event| {
            let line = match event {
                Event::Stderr(line) => line,
                Event::Second if silence.is_none() => {
                    let silent = progress.silent(Instant::now());
                    silence = silence::find(progress.running(), silent, self.patience);
                    if silence.is_some() {
                        cancel.cancel();
                    }
                    return;
                }
                Event::Second | Event::Stdout(_) => return,
            };
            match rawjson::parse(line) {
                Line::Status(status) => {
                    let mut status = exports.only(status);
                    redact::status(&mut status, self.redactor);
                    on_status(&status);
                    progress.show(&status, |line| tracing::info!("{line}"));
                }
                Line::Text(line) => {
                    if let Some(error) = line.trim_start().strip_prefix("ERROR: ") {
                        last_error = Some(self.redactor.without_secrets(&one_line(error)));
                    }
                }
            }
        });
        let ended = ended.await;
        drop(ongoing);
        let failed = match (ended, silence) {
            (_, Some(silence)) => Some(silence.to_string()),
            (ended, None) => failed(ended, last_error),
        };
        metadata.caches.unwritten = Caches::of(&progress).unwritten.or(failed);
        metadata.caches.warn_of_unwritten();
        true
    }
}

/// Why the command failed, if it did.
fn failed(ended: Result<ExitStatus, ProcessError>, last_error: Option<String>) -> Option<String> {
    match ended {
        Ok(status) if status.success() => None,
        Ok(status) => Some(last_error.unwrap_or_else(|| status.to_string())),
        Err(error) => Some(error.to_string()),
    }
}

/// The vertices that are exports, by digest.
#[derive(Debug)]
struct Exports {
    digests: HashSet<String>,
    budget: Budget,
}

impl Default for Exports {
    fn default() -> Self {
        Self {
            digests: HashSet::new(),
            budget: Budget::of(MOST_KEPT),
        }
    }
}

impl Exports {
    /// The part of a status that is about exports. Those beyond the budget are left out.
    fn only(&mut self, mut status: SolveStatus) -> SolveStatus {
        status
            .vertexes
            .retain(|vertex| cache_step::is_export(&vertex.name) && self.knows(&vertex.digest));
        status
            .statuses
            .retain(|part| self.digests.contains(&part.vertex));
        status.logs.retain(|log| self.digests.contains(&log.vertex));
        status.warnings.clear();
        status
    }

    /// Whether the vertex is known as an export; a new one becomes known if the budget allows.
    fn knows(&mut self, digest: &str) -> bool {
        if self.digests.contains(digest) {
            return true;
        }
        let has_room = self.budget.take(digest.len());
        if has_room {
            self.digests.insert(digest.to_owned());
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildx::rawjson::{Vertex, VertexLog};

    fn vertex(digest: &str, name: &str) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            name: name.to_owned(),
            ..Vertex::default()
        }
    }

    fn log(digest: &str) -> VertexLog {
        VertexLog {
            vertex: digest.to_owned(),
            ..VertexLog::default()
        }
    }

    #[test]
    fn exports_alone_are_shown_with_what_belongs_to_them() {
        let mut exports = Exports::default();
        let status = exports.only(SolveStatus {
            vertexes: vec![
                vertex("a", "[2/2] RUN make"),
                vertex("b", "exporting cache to registry"),
            ],
            logs: vec![log("a"), log("b")],
            ..SolveStatus::default()
        });
        assert_eq!(status.vertexes.len(), 1);
        assert_eq!(status.logs.len(), 1);
        assert_eq!(status.logs[0].vertex, "b");
    }

    #[test]
    fn exports_without_end_take_bounded_memory() {
        let mut exports = Exports::default();
        let long = "x".repeat(1024);
        for number in 0..MOST_KEPT {
            let digest = format!("{number}{long}");
            exports.only(SolveStatus {
                vertexes: vec![vertex(&digest, "exporting cache to registry")],
                ..SolveStatus::default()
            });
        }
        let kept: usize = exports.digests.iter().map(String::len).sum();
        assert!(kept > MOST_KEPT / 2 && kept <= MOST_KEPT, "{kept}");
    }
}
