//! Leaves the key of a new image for later runs, last: when the image is complete and has its tags.

use futures_util::future::{join_all, try_join_all};
use image::{Digest, ImageRef};
use jiff::Timestamp;
use upload::{Blob, Complete};

use super::lookup::key_tag;
use super::mark::{EMPTY, MANIFEST, Mark};
use super::{Identity, Reason, Registries};
use crate::aws::error_chain;
use crate::plan::{Look, PushPlan, repositories};

/// A build that succeeded.
#[derive(Debug)]
pub(crate) struct Built {
    pub digest: Digest,
    /// The address of this run.
    pub run: Option<String>,
    pub commit: Option<String>,
    pub at: Timestamp,
    /// From the run's start.
    pub seconds: f64,
}

/// Writes the key into all repositories of a push. `built_from` says whether the builder used an image with a digest.
///
/// # Errors
/// Why there is no key, in a line. The image is there all the same.
pub(crate) async fn write_key(
    identity: &Identity,
    look: &Look,
    push: &PushPlan,
    built: Built,
    registries: &Registries<'_>,
    built_from: &dyn Fn(&str) -> bool,
) -> Result<(), Reason> {
    if let Some(reason) = &look.unwritten {
        return Err(reason.clone());
    }
    let mark = Mark {
        key: identity.key(),
        digest: built.digest,
        run: built.run,
        commit: built.commit,
        built: built.at,
        seconds: Some(built.seconds),
        parts: identity.key.parts.clone(),
    };
    let names = repositories(push);
    let tag = key_tag(identity);
    let preparing = names.iter().map(|name| prepare(name, &mark, registries));
    let (manifests, ()) = tokio::try_join!(try_join_all(preparing), identity.check(built_from))?;
    let writing = manifests
        .into_iter()
        .map(|manifest| write(manifest, &tag, look, registries));
    join_all(writing).await.into_iter().collect()
}

/// The key's manifest in a repository that has its blob.
async fn prepare(
    name: &ImageRef,
    mark: &Mark,
    registries: &Registries<'_>,
) -> Result<Complete, Reason> {
    let chain = |error: upload::Error| error_chain(&error);
    let repository = registries.repository(name)?;
    let empty = repository.push(Blob::bytes(EMPTY.into())).await;
    let empty = empty.map_err(chain)?;
    let manifest = repository.complete(MANIFEST, mark.to_manifest(), &[empty], &[]);
    manifest.map_err(chain)
}

async fn write(
    manifest: Complete,
    tag: &str,
    look: &Look,
    registries: &Registries<'_>,
) -> Result<(), Reason> {
    let tags = std::iter::once(tag).chain(look.newest.as_deref());
    let tags = tags.map(str::to_owned).collect();
    let published = registries.uploader().publish(vec![(manifest, tags)]).await;
    match published {
        Ok(_) => Ok(()),
        // The newest serves only to name what changed.
        Err(error) if error.has_tagged(tag) => {
            tracing::debug!("{}", error_chain(&error));
            Ok(())
        }
        Err(error) => Err(error_chain(&error)),
    }
}
