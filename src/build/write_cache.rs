//! The cache of an image that is pushed, written by a command of its own.
//!
//! In: the image's second command line. Out: why it could not be written, if so, in the image's
//! [`Metadata`]. All its steps are done: of the progress only the export is shown and timed.

use std::collections::HashSet;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::cache::{self, Caches};
use super::metadata::Metadata;
use super::progress::{Progress, one_line};
use super::rawjson::{self, SolveStatus};
use super::redact;
use super::room::Room;
use crate::builder::Tool;
use crate::plan::ImagePlan;
use crate::process::Event;
use crate::runner::log::Group;
use crate::runner::redact::Redactor;
use crate::timings::{Phase, Recorder, Stage};

/// Bytes of digests that are kept in mind. An export has one, of some 70.
const MOST_KEPT: usize = 256 * 1024;

/// Writes the cache, if that is still to be done. The image is there: nothing fails it any more.
pub(crate) async fn run(
    image: &ImagePlan,
    metadata: &mut Metadata,
    tool: &Tool,
    recorder: &mut Recorder,
    redactor: &Redactor,
    cancel: &CancellationToken,
) {
    if image.cache_argv.is_empty() {
        return;
    }
    let _group = Group::open("Write the cache");
    let started = Timestamp::now();
    let mut progress = Progress::default();
    let mut exports = Exports::default();
    let mut said = None;
    let command = super::child(&image.cache_argv, image, tool);
    let ended = command.stream(cancel, |event| {
        let Event::Stderr(line) = event else {
            return;
        };
        match rawjson::parse(line) {
            rawjson::Line::Status(status) => {
                let mut status = exports.only(status);
                redact::status(&mut status, redactor);
                recorder.record(&status, Timestamp::now());
                progress.show(&status, |line| tracing::info!("{line}"));
            }
            rawjson::Line::Text(line) => {
                if let Some(error) = line.trim_start().strip_prefix("ERROR: ") {
                    said = Some(redactor.without_secrets(&one_line(error)));
                }
            }
        }
    });
    let failed = match ended.await {
        Ok(status) if status.success() => None,
        Ok(status) => Some(said.unwrap_or_else(|| status.to_string())),
        Err(error) => Some(error.to_string()),
    };
    recorder.add(Stage {
        name: "write the cache".to_owned(),
        phase: Phase::CacheExport,
        started,
        ended: Timestamp::now(),
    });
    metadata.caches.unwritten = Caches::of(&progress).unwritten.or(failed);
    super::tell_unwritten(&metadata.caches);
}

/// The vertices that are exports, by digest.
#[derive(Debug)]
struct Exports {
    digests: HashSet<String>,
    room: Room,
}

impl Default for Exports {
    fn default() -> Self {
        Self {
            digests: HashSet::new(),
            room: Room::of(MOST_KEPT),
        }
    }
}

impl Exports {
    /// What a status tells of exports. Of those that there is no room for nothing more is told.
    fn only(&mut self, mut status: SolveStatus) -> SolveStatus {
        status
            .vertexes
            .retain(|vertex| cache::is_export(&vertex.name) && self.knows(&vertex.digest));
        status
            .statuses
            .retain(|part| self.digests.contains(&part.vertex));
        status.logs.retain(|log| self.digests.contains(&log.vertex));
        status.warnings.clear();
        status
    }

    /// Whether the vertex is one of them, and from now on if there is room.
    fn knows(&mut self, digest: &str) -> bool {
        if self.digests.contains(digest) {
            return true;
        }
        let has_room = self.room.take(digest.len());
        if has_room {
            self.digests.insert(digest.to_owned());
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::rawjson::{Vertex, VertexLog};

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
