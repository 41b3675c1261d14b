//! The Engine's own images, where its classic store is BuildKit's: there the configuration has to be an image of the Engine for a
//! while.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};
use image::{Digest, ImageRef};
use jiff::Timestamp;
use protocol::RECEIVER_HOST;

use crate::aws::error_chain;
use crate::facts::Address;

/// An image of another run is left over after so long (seconds): the Engine needs it for a moment.
const LEFT_OVER: i64 = 3600;

/// The digest under which an image of the Engine is in its registry. BuildKit takes such an image as it is there, and says no digest.
pub(super) async fn digest(image: &ImageRef, engine: &Address) -> Option<Digest> {
    let docker = engine.client().await.ok()?;
    let found = docker.inspect_image(&image.to_string()).await.ok()?;
    let names = found.repo_digests.unwrap_or_default().into_iter();
    let mut names = names.filter_map(|name| name.parse::<ImageRef>().ok());
    let same = names.find(|name| name.name() == image.name())?;
    same.digest
}

/// Removes the image of this push, and what runs that were killed have left. An Engine that does not answer keeps them: later runs
/// remove them.
pub(super) async fn remove(nonce: &str, engine: &Address) {
    let removed = match engine.client().await {
        Ok(docker) => remove_with(&docker, nonce).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        tracing::warn!(
            "could not remove the image of the configuration from the Engine: {}",
            error_chain(&*error)
        );
    }
}

async fn remove_with(docker: &Docker, nonce: &str) -> Result<(), bollard::errors::Error> {
    let patterns = ["*", "*/*"].map(|rest| format!("{RECEIVER_HOST}:*/fast-ecr-push/{rest}"));
    let filters = HashMap::from([("reference", patterns.to_vec())]);
    let options = ListImagesOptionsBuilder::new().filters(&filters);
    let listed = docker.list_images(Some(options.build())).await?;
    for name in listed.iter().flat_map(|image| &image.repo_tags) {
        let Some(other) = nonce_of(name) else {
            continue;
        };
        if other != nonce && !is_left_over(docker, name).await? {
            continue;
        }
        let options = RemoveImageOptionsBuilder::new().force(true);
        let removed = docker.remove_image(name, Some(options.build()), None);
        match removed.await {
            // Another run that found it, too.
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404, ..
            })
            | Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn is_left_over(docker: &Docker, name: &str) -> Result<bool, bollard::errors::Error> {
    let found = docker.inspect_image(name).await?;
    let tagged = found.metadata.and_then(|metadata| metadata.last_tag_time);
    let tagged = tagged.and_then(|time| time.parse::<Timestamp>().ok());
    let age = tagged.map(|tagged| Timestamp::now().duration_since(tagged).as_secs());
    Ok(age.is_some_and(|seconds| seconds > LEFT_OVER))
}

/// The nonce in the name of an image of ours: `127.0.0.1:PORT/fast-ecr-push/NONCE[/DIGEST]:latest`. Others may have a repository that
/// is called like this action.
pub(super) fn nonce_of(name: &str) -> Option<&str> {
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let name = name.strip_prefix(RECEIVER_HOST)?.strip_prefix(':')?;
    let mut parts = name.strip_suffix(":latest")?.split('/').skip(1);
    let (folder, nonce, base) = (parts.next()?, parts.next()?, parts.next());
    let is_ours = folder == "fast-ecr-push"
        && is_hex(nonce, 32)
        && base.is_none_or(|base| is_hex(base, 64))
        && parts.next().is_none();
    is_ours.then_some(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_removed() {
        let nonce = "0123456789abcdef".repeat(2);
        let base = "0".repeat(64);
        let ours = [
            format!("127.0.0.1:1/fast-ecr-push/{nonce}:latest"),
            format!("127.0.0.1:1/fast-ecr-push/{nonce}/{base}:latest"),
        ];
        for name in &ours {
            assert_eq!(nonce_of(name), Some(&*nonce), "{name}");
        }
        for name in [
            "127.0.0.1:1/fast-ecr-push/app:latest".to_owned(),
            format!("127.0.0.1:1/fast-ecr-push/{nonce}:1"),
            format!("127.0.0.1:1/fast-ecr-push/{nonce}/{nonce}:latest"),
            format!("127.0.0.1:1/fast-ecr-push/{nonce}/{base}/x:latest"),
            format!("r.example/fast-ecr-push/{nonce}:latest"),
        ] {
            assert_eq!(nonce_of(&name), None, "{name}");
        }
    }
}
