//! Leaves the key of a new image for later runs, last: when the image is complete and has its tags.

use futures_util::future::join_all;
use image::{Digest, ImageRef};
use jiff::Timestamp;
use upload::{Blob, Repository};

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
    identity.check(built_from).await?;
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
    let writing = names
        .iter()
        .map(|name| write(name, &mark, &tag, look, registries));
    join_all(writing).await.into_iter().collect()
}

async fn write(
    name: &ImageRef,
    mark: &Mark,
    tag: &str,
    look: &Look,
    registries: &Registries<'_>,
) -> Result<(), Reason> {
    let repository = registries.repository(name)?;
    publish(&repository, mark, tag, registries).await?;
    if let Some(newest) = &look.newest {
        let written = repository.manifest(tag).await;
        if let Ok(Some(written)) = written
            && let Err(error) = repository.tag(&written, std::slice::from_ref(newest)).await
        {
            // It serves only to name what changed.
            tracing::debug!("{}", error_chain(&error));
        }
    }
    Ok(())
}

async fn publish(
    repository: &Repository,
    mark: &Mark,
    tag: &str,
    registries: &Registries<'_>,
) -> Result<(), Reason> {
    let chain = |error: upload::Error| error_chain(&error);
    let empty = repository.push(Blob::bytes(EMPTY.into())).await;
    let empty = empty.map_err(chain)?;
    let manifest = repository.complete(MANIFEST, mark.to_manifest(), &[empty], &[]);
    let manifest = manifest.map_err(chain)?;
    let published = registries
        .uploader()
        .publish(vec![(manifest, vec![tag.to_owned()])])
        .await;
    published.map(drop).map_err(|error| error_chain(&error))
}
