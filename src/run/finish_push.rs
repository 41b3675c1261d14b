//! A push that failed after its first tag: the other tags get the same image, without another build.
//!
//! Another build may give another digest, for example because its provenance has other times, and then an immutable tag of our own would
//! refuse it.

use std::time::Duration;

use image::{Digest, ImageRef};
use tokio::time::timeout;

use crate::buildx::imagetools::Imagetools;
use crate::buildx::metadata::Metadata;
use crate::buildx::retry::is_temporary;
use crate::plan::{ImagePlan, Naming};

/// Limit for one more tag: a manifest in the same repository, a copy of the image in another one.
const LONGEST: Duration = Duration::from_secs(1800);

/// The push of an image, of which a part may be done.
pub(super) struct Push<'a> {
    image: &'a ImagePlan,
    imagetools: &'a Imagetools<'a>,
    /// What earlier attempts of this run pushed, in part or as a whole.
    attempted: Vec<Digest>,
}

impl<'a> Push<'a> {
    pub(super) fn new(image: &'a ImagePlan, imagetools: &'a Imagetools<'a>) -> Self {
        Self {
            image,
            imagetools,
            attempted: Vec::new(),
        }
    }

    /// Remembers what an attempt began to push.
    pub(super) fn attempted(&mut self, digest: Option<&Digest>) {
        let digest = digest.filter(|digest| !self.attempted.contains(digest));
        self.attempted.extend(digest.cloned());
    }

    /// Completes the push if one of the image's names has what this run pushed; the remaining waits are used up for temporary failures.
    /// `None` if no name has, so that another build is no worse.
    ///
    /// # Errors
    /// When a tag could not be given.
    pub(super) async fn finish(
        &self,
        waits: &mut impl Iterator<Item = Duration>,
    ) -> Result<Option<Metadata>, String> {
        let push = self.image.push.as_ref();
        let Some(push) = push.filter(|push| push.naming == Naming::Tags) else {
            return Ok(None);
        };
        let is_push_only = self.image.outputs.iter().all(|output| output.pushes());
        if self.attempted.is_empty() || !is_push_only {
            return Ok(None);
        }
        let names: Vec<&ImageRef> = push.names.iter().chain(&self.image.cache.tag).collect();
        let mut pushed = None;
        let mut missing = Vec::new();
        for name in &names {
            match self.imagetools.digest(name).await {
                Some(digest) if pushed.is_none() && self.attempted.contains(&digest) => {
                    pushed = Some((*name, digest));
                }
                Some(digest) if is(&digest, pushed.as_ref()) => {}
                _ => missing.push(*name),
            }
        }
        let Some((first, digest)) = pushed else {
            return Ok(None);
        };
        let source = format!("{}@{digest}", first.name());
        let Some(manifest) = self.imagetools.raw(&source).await else {
            return Ok(None);
        };
        if !missing.is_empty() {
            let shown: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
            tracing::info!(
                "`{first}` was pushed; the same image, {digest}, now goes to {}",
                shown.join(", ")
            );
        }
        for name in missing {
            self.tag(&source, name, waits).await?;
        }
        Ok(Some(Metadata {
            is_of_failed_build: true,
            ..Metadata::of_existing(&digest, &manifest, &push.names)
        }))
    }

    async fn tag(
        &self,
        source: &str,
        name: &ImageRef,
        waits: &mut impl Iterator<Item = Duration>,
    ) -> Result<(), String> {
        loop {
            let tagged = self.imagetools.tag(source, name);
            let error = match timeout(LONGEST, tagged).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => {
                    let seconds = LONGEST.as_secs();
                    return Err(format!(
                        "the registry did not take `{name}` within {seconds} s"
                    ));
                }
            };
            let wait = waits.next().filter(|_| is_temporary(&error));
            let Some(wait) = wait else {
                return Err(error.to_string());
            };
            tracing::warn!(
                "{error}\nthis is temporary: `{name}` is pushed again in {:.1} s",
                wait.as_secs_f64()
            );
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.imagetools.cancel.cancelled() => return Err(error.to_string()),
            }
        }
    }
}

fn is(digest: &Digest, pushed: Option<&(&ImageRef, Digest)>) -> bool {
    pushed.is_some_and(|(_, pushed)| pushed == digest)
}
