//! Manifests: tags that may not move, index caches, and the record of what was pushed.

use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use serde_json::Value;

use super::{Exchange, manners};
use crate::body::{Body, Error, collect, full};
use crate::images::{Images, digest};
use crate::repositories::Repository;

impl Exchange {
    /// The same image under the same tag again is no offence; another one is, where the tag is frozen.
    pub(super) async fn put_manifest(
        &self,
        request: Request<Body>,
        repository: &Repository,
    ) -> Result<Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let kind = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        let bytes = collect(body, manners::MANIFEST_LIMIT).await?;
        let reference = self.place.reference.clone();
        let name = self.place.repository.clone().unwrap_or_default();
        let refusal = {
            let mut memory = self.state.memory();
            let account = memory.account(&self.place.account);
            let old = account.old_wording;
            let taken = self.images(&mut account.images).tag(&reference);
            if account.refuse_index_cache && is_index_cache(&bytes) {
                Some(manners::index_cache())
            } else if taken.is_some_and(|taken| taken != digest(&bytes))
                && repository.freezes(&reference)
            {
                Some(manners::immutable(&reference, &name, old))
            } else {
                None
            }
        };
        if let Some(refusal) = refusal {
            return Ok(refusal);
        }
        let response = self
            .pass(Request::from_parts(parts, full(bytes.clone())), None)
            .await?;
        if response.status().is_success() {
            let mut memory = self.state.memory();
            let account = memory.account(&self.place.account);
            self.images(&mut account.images)
                .push(&reference, &kind, bytes);
        }
        Ok(response)
    }

    /// Reads or deletes one.
    pub(super) async fn other_manifest(
        &self,
        delete: bool,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let response = self.pass(request, None).await?;
        if response.status().as_u16() == 404 {
            return Ok(manners::no_image());
        }
        if delete && response.status().is_success() {
            let mut memory = self.state.memory();
            let account = memory.account(&self.place.account);
            self.images(&mut account.images)
                .delete(&self.place.reference);
        }
        Ok(response)
    }

    pub(super) fn images<'a>(
        &self,
        all: &'a mut std::collections::BTreeMap<(String, String), Images>,
    ) -> &'a mut Images {
        let name = self.place.repository.clone().unwrap_or_default();
        all.entry((self.place.region.clone(), name)).or_default()
    }
}

fn is_index_cache(bytes: &[u8]) -> bool {
    let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let parts = manifest["manifests"].as_array().into_iter().flatten();
    parts
        .into_iter()
        .any(|part| part["mediaType"] == manners::CACHE_CONFIG)
}
