//! Events on standard output.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use image::Digest;
use protocol::{Destination, Event, Published};

/// Writes each event with one call, since BuildKit takes what arrives together as one piece of log.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<()>);

impl Events {
    pub(crate) fn send(&self, event: &Event) {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        // Without a reader the build is over anyway.
        let _ = out.write_all(protocol::render(event).as_bytes());
        let _ = out.flush();
    }

    /// Says what these tags name now.
    pub(crate) fn published(&self, destinations: &[Destination], digest: &Digest) {
        for destination in destinations {
            self.send(&Event::Published(Published {
                registry: destination.registry.clone(),
                repository: destination.repository.clone(),
                digest: digest.clone(),
                tags: destination.tags.clone(),
            }));
        }
    }
}
