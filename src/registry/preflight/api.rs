//! The calls to Amazon ECR's API that the preflight makes.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html>

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecr::primitives::Blob;
use aws_sdk_ecr::types::{
    EncryptionConfiguration, EncryptionType, Image, ImageIdentifier, ImageScanningConfiguration,
    ImageTagMutability, ImageTagMutabilityExclusionFilter, ImageTagMutabilityExclusionFilterType,
    RctAppliedFor, Repository, Tag,
};
use image::{EcrRegistry, Mutability};

use crate::aws::Refusal;
use crate::plan::NewRepository;

/// The most images of one `BatchGetImage`
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html>).
const MAX_IMAGES: usize = 100;

/// All kinds of manifests. An image of another kind would seem to be missing.
const MANIFESTS: [&str; 5] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
];

/// The layer without bytes. It need not exist.
const EMPTY_LAYER: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An upload that does not exist.
const NO_UPLOAD: &str = "00000000-0000-0000-0000-000000000000";

/// A call about a repository of the registry.
macro_rules! call {
    ($api:ident.$operation:ident, $name:expr) => {
        $api.client
            .$operation()
            .registry_id(&$api.account)
            .repository_name($name)
    };
}

/// The API of one registry.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: Client,
    account: String,
}

/// A tag that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExistingTag {
    pub tag: String,
    pub digest: String,
    /// As the registry has it; empty if unknown.
    pub manifest: String,
}

/// A failed call.
#[derive(Debug, Clone)]
pub(super) enum ApiError {
    /// The repository does not exist.
    Missing,
    /// The role may not do this; AWS's message.
    Denied(String),
    Other(Refusal),
}

impl ApiError {
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Missing => "the repository does not exist",
            Self::Denied(message) => message,
            Self::Other(refusal) => &refusal.reason,
        }
    }

    /// AWS's error code, if there is one.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Other(refusal) => refusal.code.as_deref().unwrap_or_default(),
            Self::Missing | Self::Denied(_) => "",
        }
    }
}

impl Api {
    pub(super) fn new(config: &SdkConfig, registry: &EcrRegistry) -> Self {
        Self {
            client: Client::new(config),
            account: registry.account.clone(),
        }
    }

    /// The repository's tag mutability; `None` for an unknown kind.
    pub(super) async fn mutability(&self, name: &str) -> Result<Option<Mutability>, ApiError> {
        let call = self.client.describe_repositories();
        let call = call.registry_id(&self.account).repository_names(name);
        let answer = call.send().await.map_err(api_error)?;
        let repository = answer.repositories().first().ok_or(ApiError::Missing)?;
        Ok(mutability(repository))
    }

    /// The tags that exist.
    pub(super) async fn existing_tags(
        &self,
        name: &str,
        tags: &[String],
    ) -> Result<Vec<ExistingTag>, ApiError> {
        let mut existing = Vec::new();
        for tags in tags.chunks(MAX_IMAGES) {
            let ids = tags
                .iter()
                .map(|tag| ImageIdentifier::builder().image_tag(tag).build());
            let images = self.images(name, ids.collect()).await?;
            existing.extend(images.into_iter().filter_map(|image| {
                let id = image.image_id()?;
                Some(ExistingTag {
                    tag: id.image_tag()?.to_owned(),
                    digest: id.image_digest().unwrap_or("an image").to_owned(),
                    manifest: image.image_manifest().unwrap_or_default().to_owned(),
                })
            }));
        }
        Ok(existing)
    }

    /// The manifests with these digests, by digest.
    pub(super) async fn manifests(
        &self,
        name: &str,
        digests: &[String],
    ) -> Result<BTreeMap<String, String>, ApiError> {
        let mut manifests = BTreeMap::new();
        for digests in digests.chunks(MAX_IMAGES) {
            let ids = digests
                .iter()
                .map(|digest| ImageIdentifier::builder().image_digest(digest).build());
            let images = self.images(name, ids.collect()).await?;
            manifests.extend(images.into_iter().filter_map(|image| {
                let digest = image.image_id()?.image_digest()?.to_owned();
                Some((digest, image.image_manifest()?.to_owned()))
            }));
        }
        Ok(manifests)
    }

    /// Those of the images that exist. The missing ones are among the answer's failures.
    async fn images(&self, name: &str, ids: Vec<ImageIdentifier>) -> Result<Vec<Image>, ApiError> {
        let call = self.client.batch_get_image();
        let call = call
            .registry_id(&self.account)
            .repository_name(name)
            .set_image_ids(Some(ids))
            .set_accepted_media_types(Some(MANIFESTS.map(str::to_owned).to_vec()));
        let answer = call.send().await.map_err(api_error)?;
        Ok(answer.images.unwrap_or_default())
    }

    pub(super) async fn has_lifecycle_policy(&self, name: &str) -> Result<bool, ApiError> {
        let call = call!(self.get_lifecycle_policy, name);
        match call.send().await.map_err(api_error) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == "LifecyclePolicyNotFoundException" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks for a layer, like the first request of a push.
    pub(super) async fn may_look(&self, name: &str) -> Result<(), ApiError> {
        let call = call!(self.batch_check_layer_availability, name).layer_digests(EMPTY_LAYER);
        call.send().await.map(drop).map_err(api_error)
    }

    /// Begins an upload that is never completed.
    pub(super) async fn may_begin(&self, name: &str) -> Result<(), ApiError> {
        let call = call!(self.initiate_layer_upload, name);
        call.send().await.map(drop).map_err(api_error)
    }

    /// Sends a byte to an upload that does not exist: ECR checks the rights first.
    pub(super) async fn may_upload(&self, name: &str) -> Result<(), ApiError> {
        let call = call!(self.upload_layer_part, name)
            .upload_id(NO_UPLOAD)
            .part_first_byte(0)
            .part_last_byte(0)
            .layer_part_blob(Blob::new([0]));
        call.send().await.map(drop).map_err(api_error)
    }

    /// Completes an upload that does not exist: ECR checks the rights first.
    pub(super) async fn may_complete(&self, name: &str) -> Result<(), ApiError> {
        let call = call!(self.complete_layer_upload, name)
            .upload_id(NO_UPLOAD)
            .layer_digests(EMPTY_LAYER);
        call.send().await.map(drop).map_err(api_error)
    }

    /// The prefixes of names for which ECR creates repositories on push
    /// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-creation-templates.html>).
    pub(super) async fn created_on_push(&self) -> Result<Vec<String>, ApiError> {
        let call = self.client.describe_repository_creation_templates();
        let answer = call.max_results(1000).send().await.map_err(api_error)?;
        let on_push = answer.repository_creation_templates().iter();
        let on_push = on_push.filter(|template| {
            template
                .applied_for()
                .contains(&RctAppliedFor::CreateOnPush)
        });
        Ok(on_push
            .filter_map(|template| template.prefix().map(str::to_owned))
            .collect())
    }

    pub(super) async fn create(&self, name: &str, new: &NewRepository) -> Result<(), ApiError> {
        let mut call = call!(self.create_repository, name);
        if let Some(mutability) = &new.mutability {
            let filters = mutability.filters().iter().filter_map(|filter| {
                ImageTagMutabilityExclusionFilter::builder()
                    .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
                    .filter(filter)
                    .build()
                    .ok()
            });
            let filters: Vec<_> = filters.collect();
            call = call
                .image_tag_mutability(ImageTagMutability::from(mutability.name()))
                .set_image_tag_mutability_exclusion_filters(
                    (!filters.is_empty()).then_some(filters),
                );
        }
        if let Some(on) = new.scan_on_push {
            let scanning = ImageScanningConfiguration::builder().scan_on_push(on);
            call = call.image_scanning_configuration(scanning.build());
        }
        if let Some(encryption) = &new.encryption {
            let configuration = EncryptionConfiguration::builder()
                .encryption_type(EncryptionType::from(encryption.kind))
                .set_kms_key(encryption.key.clone());
            call = call.set_encryption_configuration(configuration.build().ok());
        }
        for (key, value) in &new.tags {
            if let Ok(tag) = Tag::builder().key(key).value(value).build() {
                call = call.tags(tag);
            }
        }
        call.send().await.map(drop).map_err(api_error)
    }

    pub(super) async fn put_lifecycle_policy(
        &self,
        name: &str,
        policy: &str,
    ) -> Result<(), ApiError> {
        let call = call!(self.put_lifecycle_policy, name).lifecycle_policy_text(policy);
        call.send().await.map(drop).map_err(api_error)
    }
}

fn mutability(repository: &Repository) -> Option<Mutability> {
    let filters = || {
        let filters = repository.image_tag_mutability_exclusion_filters().iter();
        filters.map(|filter| filter.filter().to_owned()).collect()
    };
    match repository.image_tag_mutability()? {
        ImageTagMutability::Mutable => Some(Mutability::Mutable),
        ImageTagMutability::Immutable => Some(Mutability::Immutable),
        ImageTagMutability::ImmutableWithExclusion => Some(Mutability::ImmutableExcept(filters())),
        ImageTagMutability::MutableWithExclusion => Some(Mutability::MutableExcept(filters())),
        _ => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of `map_err`")]
fn api_error<E>(error: SdkError<E>) -> ApiError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        Some("RepositoryNotFoundException") => ApiError::Missing,
        Some("AccessDeniedException" | "AccessDenied") => {
            ApiError::Denied(error.message().unwrap_or("no reason given").to_owned())
        }
        _ => ApiError::Other(Refusal::of(&error)),
    }
}
