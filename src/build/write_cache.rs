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
use crate::builder::Tool;
use crate::log::Group;
use crate::plan::ImagePlan;
use crate::process::Event;
use crate::redact::Redactor;
use crate::timings::{Phase, Recorder, Stage};

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
    let mut exports = HashSet::new();
    let mut said = None;
    let command = super::child(&image.cache_argv, image, tool);
    let ended = command.stream(cancel, |event| {
        let Event::Stderr(line) = event else {
            return;
        };
        match rawjson::parse(line) {
            rawjson::Line::Status(status) => {
                let mut status = only(&mut exports, status);
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

/// What a status tells of exports, whose vertices are kept in mind.
fn only(exports: &mut HashSet<String>, mut status: SolveStatus) -> SolveStatus {
    status
        .vertexes
        .retain(|vertex| cache::is_export(&vertex.name));
    exports.extend(status.vertexes.iter().map(|vertex| vertex.digest.clone()));
    status
        .statuses
        .retain(|part| exports.contains(&part.vertex));
    status.logs.retain(|log| exports.contains(&log.vertex));
    status.warnings.clear();
    status
}
