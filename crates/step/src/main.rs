//! A build step that pushes the image it is given.
//!
//! It runs inside the BuildKit that built the image, in that image ([`in_image`]) or in one of its own with the image's root file
//! system at `/final`. It has the file system of the image's configuration at `/base` (the base image, and what `WORKDIR` makes), and
//! the network of BuildKit. It compares the two trees, packs what is new into
//! even layers on all cores, uploads them while they are packed, and writes configuration, manifest and tags last.
//!
//! Of an image for several platforms each has a step of its own, which writes no tags; one more step writes their index then ([`index`]).
//!
//! In: the [`Job`](protocol::Job) and the [`Secrets`](protocol::Secrets). Out: [`Event`]s, one a line. Exit code 0 when the image is
//! complete in all registries, else 1.

mod base_image;
mod compose;
mod destinations;
mod encryption;
mod events;
mod in_image;
mod index;
mod job;
mod previous;
mod push;
mod receiver;
mod remembered;
mod room;
mod uploads;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use events::Events;
use layers::Tree;
use protocol::{Event, IMAGE_PATH, INDEX_JOB_FILE, JOB_FILE};

/// Where program and job are.
const PROGRAM: &str = "/program";

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
    let program = Path::new(PROGRAM);
    let folder = std::env::args_os().nth(1);
    let index = program.join(INDEX_JOB_FILE);
    // An image may have a file of that name.
    if folder.is_none() && index.exists() {
        return index::run(events, &index);
    }
    let image = match folder {
        Some(folder) => in_image::enter(Path::new(&folder))?,
        None => Tree::open(Path::new(IMAGE_PATH))?,
    };
    push::run(events, &program.join(JOB_FILE), image, threads)
}
