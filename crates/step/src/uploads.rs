//! Uploads to the receiver that go no further: BuildKit, or the Engine, sends the configuration and layers that are not needed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use image::Digest;
use sha2::{Digest as _, Sha256};

/// The uploads that run, and the blobs that arrived.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: HashMap<u64, Upload>,
    /// Bytes of the blobs that arrived.
    sizes: HashMap<String, u64>,
}

#[derive(Debug, Default)]
struct Upload {
    hash: Sha256,
    size: u64,
    /// The content, if it may be a document.
    document: Option<Vec<u8>>,
}

/// A blob that arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub digest: Digest,
    /// The content of a document; layers are forgotten.
    pub document: Option<Bytes>,
}

impl Uploads {
    /// Begins an upload; its number.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.open.insert(number, Upload::default());
        number
    }

    /// Takes in a part of an upload; how many bytes it has by now. `None` if it does not run, or breaks off.
    pub(crate) async fn append(
        &self,
        number: u64,
        mut body: Incoming,
        largest: usize,
    ) -> Option<u64> {
        let mut upload = self.state().open.remove(&number)?;
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame.ok()?.into_data() {
                upload.take(&bytes, largest);
            }
        }
        let size = upload.size;
        self.state().open.insert(number, upload);
        Some(size)
    }

    /// Ends an upload whose content is to have this digest.
    pub(crate) fn finish(&self, number: u64, expected: &Digest) -> Option<Arrived> {
        let mut state = self.state();
        let upload = state.open.remove(&number)?;
        let digest = Digest::sha256(upload.hash.finalize().into());
        if digest != *expected {
            return None;
        }
        state.sizes.insert(digest.to_string(), upload.size);
        Some(Arrived {
            digest,
            document: upload.document.map(Bytes::from),
        })
    }

    /// Bytes of a blob that arrived.
    pub(crate) fn size(&self, digest: &str) -> Option<u64> {
        self.state().sizes.get(digest).copied()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    fn take(&mut self, bytes: &[u8], largest: usize) {
        if self.size == 0 && bytes.starts_with(b"{") {
            self.document = Some(Vec::new());
        }
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        if let Some(document) = &mut self.document {
            document.extend_from_slice(bytes);
        }
        if self.size > largest as u64 {
            self.document = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(parts: &[&[u8]]) -> (Option<Arrived>, Uploads, Digest) {
        let uploads = Uploads::default();
        let number = uploads.begin();
        let all = parts.concat();
        for part in parts {
            let mut state = uploads.state();
            state.open.get_mut(&number).unwrap().take(part, 10);
        }
        let digest = Digest::sha256(Sha256::digest(&all).into());
        (uploads.finish(number, &digest), uploads, digest)
    }

    #[test]
    fn documents_are_kept_and_layers_are_not() {
        for (parts, is_kept) in [
            (&[b"{\"a\"".as_slice(), b":1}"][..], true),
            (&[b"\x1f\x8b", b"{}"], false),
            (&[b"{\"a\":12345678}"], false),
        ] {
            let (arrived, uploads, digest) = arrived(parts);
            let document = arrived.unwrap().document;
            assert_eq!(document.is_some(), is_kept, "{parts:?}");
            if let Some(document) = document {
                assert_eq!(document, parts.concat());
            }
            let size = parts.concat().len() as u64;
            assert_eq!(uploads.size(digest.as_str()), Some(size));
        }
    }

    #[test]
    fn content_of_another_digest_is_refused() {
        let (_, uploads, digest) = arrived(&[b"{}"]);
        let number = uploads.begin();
        assert!(uploads.finish(number, &digest).is_none());
        assert!(uploads.finish(number, &digest).is_none());
    }
}
