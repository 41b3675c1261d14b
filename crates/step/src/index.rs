//! The index of an image for several platforms, when all their images are in the registries.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use protocol::{Base, Event, IndexJob, Summary};

use crate::destinations::Destinations;
use crate::events::Events;
use crate::job;
use crate::push::{digest, milliseconds};
use crate::room::Room;

/// Writes the index and the tags, and reads them back.
pub(crate) fn run(events: &Arc<Events>, job: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    let job: IndexJob = job::read(job)?;
    job::check(job.version)?;
    let secrets = job::secrets()?;
    let destinations = Destinations::new(
        &job.destinations,
        &Base::Scratch,
        job.answer_within,
        Room::of(None),
        &secrets,
    )?;
    destinations.publish_index(&job.media_type, job.index.as_bytes(), &job.images)?;
    let digest = digest(job.index.as_bytes());
    events.published(&job.destinations, &digest);
    events.send(&Event::Done(Summary {
        digest,
        configuration: None,
        media_type: job.media_type,
        size: job.index.len() as u64,
        layers: Vec::new(),
        uploaded: destinations.progress().sent,
        reused: 0,
        streams: 0,
        packages: None,
        milliseconds: milliseconds(started),
    }));
    Ok(())
}
