//! The image that a push would repeat, read from Amazon ECR's API.
//!
//! In: what the preflight found. Out: the image as its push would have reported it, without a builder or a login.

use std::collections::BTreeMap;

use image::{Digest, ImageRef};
use sha2::{Digest as _, Sha256};

use super::api::Api;
use super::{ExistingTag, Found};
use crate::aws::Session;
use crate::buildx::metadata::Metadata;
use crate::plan::{EcrRepository, ImagePlan};
use crate::registry::pushed::{PushedImage, children};

/// The image, if it exists under all its immutable tags, with one digest, in every repository.
pub(crate) async fn existing(
    image: &ImagePlan,
    repositories: &[EcrRepository],
    found: &Found,
    session: &Session,
) -> Option<(Metadata, PushedImage)> {
    let names = &image.push.as_ref()?.names;
    let taken = taken(names, found)?;
    let first = names.first()?;
    let digest: Digest = taken.digest.parse().ok()?;
    let is_of = |repository: &&EcrRepository| {
        found.repositories.iter().any(|found| {
            found.address == repository.address()
                && found.taken.iter().any(|tag| tag.digest == taken.digest)
        })
    };
    // The first name's, whose digest the outputs name.
    let own = repositories
        .iter()
        .find(|repository| repository.address() == first.name());
    let repository = own.filter(is_of).or(repositories.iter().find(is_of))?;
    let hash = Sha256::digest(taken.manifest.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    if format!("sha256:{hash}") != taken.digest {
        return None;
    }
    let children = children(&taken.manifest);
    let manifests = match children.as_slice() {
        [] => BTreeMap::new(),
        children => {
            let config = session.config_for(&repository.registry).await.ok()?;
            let api = Api::new(&config, &repository.registry);
            api.manifests(&repository.name, children).await.ok()?
        }
    };
    let name = ImageRef::clone(first);
    let pushed = PushedImage::existing(&name, &digest, &taken.manifest, &manifests)?;
    let metadata = Metadata::of_existing(&digest, &taken.manifest, names);
    Some((metadata, pushed))
}

/// A tag of the image that all its immutable tags agree with; none if one is free, or none is known to be immutable.
fn taken<'a>(names: &[ImageRef], found: &'a Found) -> Option<&'a ExistingTag> {
    let mut common: Option<&ExistingTag> = None;
    for name in names {
        let address = name.name();
        let mut repositories = found.repositories.iter();
        let repository = repositories.find(|repository| repository.address == address)?;
        let tag = name.tag.as_deref()?;
        let mutability = repository.mutability.as_ref()?;
        if mutability.may_move(tag) {
            continue;
        }
        let taken = repository.taken.iter().find(|taken| taken.tag == tag)?;
        if common.is_some_and(|common| common.digest != taken.digest) {
            return None;
        }
        common = Some(taken);
    }
    common
}
