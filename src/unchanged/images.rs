//! Images that a build reads, by their digests of now.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use image::ImageRef;

use super::{Reason, Registries};
use crate::aws::error_chain;

/// Digests by the names that the Dockerfile's graph has for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Digests {
    pub all: BTreeMap<String, String>,
    /// Those that a tag named just now. Another moment, or another registry's copy, may have another.
    pub moving: BTreeMap<String, String>,
}

/// Asks all registries at the same time.
///
/// # Errors
/// The first image whose digest can't be told.
pub(super) async fn digests(
    names: &BTreeSet<String>,
    registries: &Registries<'_>,
) -> Result<Digests, Reason> {
    let asked = names.iter().map(|name| async move {
        let unknown = |reason: &str| format!("the digest of `{name}` is not known: {reason}");
        let image: ImageRef = name.parse().map_err(|_| unknown("it is no name"))?;
        if let Some(digest) = &image.digest {
            return Ok((name.clone(), digest.to_string(), false));
        }
        let repository = registries.repository(&image);
        let repository = repository.map_err(|reason| unknown(&reason))?;
        let tag = image.tag.as_deref().unwrap_or("latest");
        let digest = repository.digest(tag).await;
        let digest = digest.map_err(|error| unknown(&error_chain(&error)))?;
        let digest = digest.ok_or_else(|| unknown("its registry does not have it"))?;
        Ok::<_, Reason>((name.clone(), digest.to_string(), true))
    });
    let mut digests = Digests::default();
    for (name, digest, is_moving) in try_join_all(asked).await? {
        if is_moving {
            digests.moving.insert(name.clone(), digest.clone());
        }
        digests.all.insert(name, digest);
    }
    Ok(digests)
}
