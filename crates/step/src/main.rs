//! A build step that pushes the image it is given.
//!
//! It runs inside the BuildKit that built the image, in that image ([`in_image`]) or in one of its own with the image's root file
//! system at `/final`. It has the file system of the image's configuration at `/base` (the base image, and what `WORKDIR` makes), and
//! the network of BuildKit. It compares the two trees, packs what is new into
//! even layers on all cores, uploads them while they are packed, and writes configuration, manifest and tags last.
//!
//! It does so for one platform after the other where the image has several, with the file systems at `/final/0` and so on, and writes
//! an index of their manifests then. The program is one of the builder's own architecture.
//!
//! In: the [`Job`](protocol::Job) and the [`Secrets`](protocol::Secrets). Out: [`Event`]s, one a line. Exit code 0 when the image is
//! complete in all registries, else 1.

mod base_image;
mod compose;
mod destinations;
mod events;
mod in_image;
mod index;
mod job;
mod previous;
mod push;
mod receiver;
mod remembered;
mod uploads;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use events::Events;
use protocol::{BASE_PATH, Event, JOB_FILE};

/// Where program and job are.
const PROGRAM: &str = "program";

fn main() -> ExitCode {
    let events = Arc::new(Events::default());
    match start(&events) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            events.send(&Event::Failed {
                message: format!("{error:#}"),
                hint: push::hint(&error),
            });
            ExitCode::FAILURE
        }
    }
}

fn start(events: &Arc<Events>) -> anyhow::Result<()> {
    // Reads `/proc` and `/sys`, which another root directory does not have.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let folder = std::env::args_os().nth(1);
    let folder = folder.as_ref().map(Path::new);
    let root = folder.unwrap_or(Path::new("/"));
    let job = job::read(&root.join(PROGRAM).join(JOB_FILE))?;
    let own = job.platforms.iter().position(|image| image.is_own);
    let base = protocol::mounted_at(BASE_PATH, own);
    let image = folder.map(|folder| in_image::enter(folder, Path::new(&base)));
    push::run(events, job, image.transpose()?, threads)
}
