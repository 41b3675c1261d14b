//! Layers that earlier runs on this builder pushed.
//!
//! The builder's records lie where other builds on it can write, so they are believed only where an image in the first repository, which only those
//! who may push there can write, says the same:
//!
//! - By the state of files: the image has a layer with the record's tar, and notes for that tar the headers that these files have. A forged record
//!   can then only put files for others that have the same names, sizes, owners, modes and times, and were pushed once.
//! - By the digest of a tar that was read just now: the image has a layer with that tar.
//!
//! The image is the one before, or else the one that the record names. Fingerprints in an image's notes would leave nothing to a forger,
//! but differ from builder to builder, and with them the image's digest; headers are the same wherever the tar is. A key for the records would have to be
//! kept where each run finds it and no other build does: there is no such place without one more secret to configure.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use image::Digest;
use layers::{Blob, Compression, DigestCache, Headers, LayerState, PackedLayer};
use upload::Descriptor;

use crate::destinations::Destinations;
use crate::previous::Previous;

/// What is remembered, and what proves it.
pub(crate) struct Remembered {
    cache: DigestCache,
    compression: Compression,
    media_type: &'static str,
    previous: Arc<Previous>,
    destinations: Arc<Destinations>,
    images: Mutex<HashMap<Digest, Arc<OnceLock<Option<Previous>>>>>,
}

impl Remembered {
    /// Reads what is there. Lost, damaged, or of another version: nothing is remembered.
    pub(crate) fn load(
        path: &Path,
        (compression, media_type): (Compression, &'static str),
        previous: Arc<Previous>,
        destinations: Arc<Destinations>,
    ) -> Self {
        Self {
            cache: DigestCache::load(path).unwrap_or_default(),
            compression,
            media_type,
            previous,
            destinations,
            images: Mutex::default(),
        }
    }

    /// The blob that files in this state became. Reads none of them.
    pub(crate) fn of_state(&self, state: &LayerState) -> Option<Blob> {
        let (tar, image) = self.cache.layer(&state.fingerprint, self.compression)?;
        self.proven(tar, Some(&image), |image| {
            image.blob_with(&tar.diff_id(), &state.headers, self.media_type)
        })
    }

    /// Whether a layer with these headers was pushed, here or in the image before. If none was, the tar is a new one.
    pub(crate) fn has(&self, headers: &Headers) -> bool {
        self.previous.has_headers(headers) || self.cache.has(headers)
    }

    /// The blob that a tar became.
    pub(crate) fn of_tar(&self, tar: PackedLayer) -> Option<Blob> {
        let image = self.cache.image(tar, self.compression);
        self.proven(tar, image.as_ref(), |image| {
            image.blob(&tar.diff_id(), self.media_type)
        })
    }

    fn proven(
        &self,
        tar: PackedLayer,
        image: Option<&Digest>,
        blob: impl Fn(&Previous) -> Option<Descriptor>,
    ) -> Option<Blob> {
        let found = blob(&self.previous).or_else(|| {
            let image = self.image(image?);
            let found = image.get().and_then(Option::as_ref);
            found.and_then(&blob)
        })?;
        Blob::known(&found.digest, found.size, tar)
    }

    /// An image of the first repository, asked for once.
    fn image(&self, digest: &Digest) -> Arc<OnceLock<Option<Previous>>> {
        let image = {
            let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(images.entry(digest.clone()).or_default())
        };
        image.get_or_init(|| Previous::image(self.destinations.first()?, digest));
        image
    }

    /// Keeps what layers became, in an image that is in the first repository by now. Without it, the next run takes longer.
    pub(crate) fn keep(
        &self,
        layers: impl IntoIterator<Item = (LayerState, PackedLayer)>,
        image: &Digest,
        path: &Path,
    ) {
        let now = now();
        let _ = DigestCache::update(path, |cache| {
            for (state, tar) in layers {
                cache.keep(state, self.compression, tar, image, now);
            }
        });
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
