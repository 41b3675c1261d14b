//! Amazon ECR's API as the preflight asks it: one call a question.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html>

use aws_config::SdkConfig;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ecr::primitives::Blob;
use aws_sdk_ecr::types::{
    EncryptionConfiguration, EncryptionType, ImageIdentifier, ImageScanningConfiguration,
    ImageTagMutability, ImageTagMutabilityExclusionFilter, ImageTagMutabilityExclusionFilterType,
    RctAppliedFor, Repository, Tag,
};
use image::{EcrRegistry, Mutability};

use crate::plan::NewRepository;

/// Most images that `BatchGetImage` takes
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html>).
const MOST_IMAGES: usize = 100;

/// Manifests of every kind. The API's page names fewer; an image that is none of those it is told of
/// could be taken for one that is not there.
const MANIFESTS: [&str; 5] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
];

/// The layer of no bytes: asked for, it need not be there.
const EMPTY_LAYER: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An upload that nobody began.
const NO_UPLOAD: &str = "00000000-0000-0000-0000-000000000000";

/// A registry's API.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: Client,
    account: String,
}

/// An answer that is no answer to the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The repository does not exist.
    Missing,
    /// The role may not ask or do this; in AWS's words.
    Denied(String),
    /// Anything else: its code, if there is one, and its words.
    Other { code: Option<String>, words: String },
}

/// A repository's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// None where it is of a kind not known here.
    pub mutability: Option<Mutability>,
}

impl Api {
    pub(super) fn new(config: &SdkConfig, registry: &EcrRegistry) -> Self {
        Self {
            client: Client::new(config),
            account: registry.account.clone(),
        }
    }

    pub(super) async fn describe(&self, name: &str) -> Result<Described, Trouble> {
        let call = self.client.describe_repositories();
        let call = call.registry_id(&self.account).repository_names(name);
        let answer = call.send().await.map_err(trouble)?;
        let found = answer.repositories().first().ok_or(Trouble::Missing)?;
        Ok(Described {
            mutability: mutability(found),
        })
    }

    /// Which of the tags name an image, with its digest.
    pub(super) async fn taken(
        &self,
        name: &str,
        tags: &[String],
    ) -> Result<Vec<(String, String)>, Trouble> {
        let mut taken = Vec::new();
        for tags in tags.chunks(MOST_IMAGES) {
            let call = self.client.batch_get_image();
            let ids = tags
                .iter()
                .map(|tag| ImageIdentifier::builder().image_tag(tag).build());
            let call = call
                .registry_id(&self.account)
                .repository_name(name)
                .set_image_ids(Some(ids.collect()))
                .set_accepted_media_types(Some(MANIFESTS.map(str::to_owned).to_vec()));
            let answer = call.send().await.map_err(trouble)?;
            // Tags that name nothing are among the answer's failures.
            taken.extend(answer.images().iter().filter_map(|image| {
                let id = image.image_id()?;
                let digest = id.image_digest().unwrap_or("an image");
                Some((id.image_tag()?.to_owned(), digest.to_owned()))
            }));
        }
        Ok(taken)
    }

    pub(super) async fn has_lifecycle_policy(&self, name: &str) -> Result<bool, Trouble> {
        let call = self.client.get_lifecycle_policy();
        let call = call.registry_id(&self.account).repository_name(name);
        match call.send().await.map_err(trouble) {
            Ok(_) => Ok(true),
            Err(Trouble::Other {
                code: Some(code), ..
            }) if code == "LifecyclePolicyNotFoundException" => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// Asks for a layer, as the first request of a push does.
    pub(super) async fn may_look(&self, name: &str) -> Result<(), Trouble> {
        let call = self.client.batch_check_layer_availability();
        let call = call
            .registry_id(&self.account)
            .repository_name(name)
            .layer_digests(EMPTY_LAYER);
        call.send().await.map(drop).map_err(trouble)
    }

    /// Begins an upload that is never completed, as a push does: a layer without bytes is no layer.
    pub(super) async fn may_begin(&self, name: &str) -> Result<(), Trouble> {
        let call = self.client.initiate_layer_upload();
        let call = call.registry_id(&self.account).repository_name(name);
        call.send().await.map(drop).map_err(trouble)
    }

    /// Sends a byte to an upload that does not exist: IAM answers before that is found out.
    pub(super) async fn may_upload(&self, name: &str) -> Result<(), Trouble> {
        let call = self.client.upload_layer_part();
        let call = call
            .registry_id(&self.account)
            .repository_name(name)
            .upload_id(NO_UPLOAD)
            .part_first_byte(0)
            .part_last_byte(0)
            .layer_part_blob(Blob::new([0]));
        call.send().await.map(drop).map_err(trouble)
    }

    /// Completes an upload that does not exist, likewise.
    pub(super) async fn may_complete(&self, name: &str) -> Result<(), Trouble> {
        let call = self.client.complete_layer_upload();
        let call = call
            .registry_id(&self.account)
            .repository_name(name)
            .upload_id(NO_UPLOAD)
            .layer_digests(EMPTY_LAYER);
        call.send().await.map(drop).map_err(trouble)
    }

    /// The prefixes of names that ECR makes repositories for when something is pushed there
    /// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-creation-templates.html>).
    pub(super) async fn created_on_push(&self) -> Result<Vec<String>, Trouble> {
        let call = self.client.describe_repository_creation_templates();
        let answer = call.max_results(1000).send().await.map_err(trouble)?;
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

    pub(super) async fn create(&self, name: &str, new: &NewRepository) -> Result<(), Trouble> {
        let mut call = self.client.create_repository();
        call = call.registry_id(&self.account).repository_name(name);
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
        call.send().await.map(drop).map_err(trouble)
    }

    pub(super) async fn put_lifecycle_policy(
        &self,
        name: &str,
        policy: &str,
    ) -> Result<(), Trouble> {
        let call = self.client.put_lifecycle_policy();
        let call = call
            .registry_id(&self.account)
            .repository_name(name)
            .lifecycle_policy_text(policy);
        call.send().await.map(drop).map_err(trouble)
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

/// The error in three kinds. AWS says by whom and why something is denied.
#[expect(clippy::needless_pass_by_value, reason = "goes into `map_err`")]
fn trouble<E>(error: SdkError<E>) -> Trouble
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some("RepositoryNotFoundException"), _) => Trouble::Missing,
        (Some("AccessDeniedException" | "AccessDenied"), words) => {
            Trouble::Denied(words.unwrap_or("no reason given").to_owned())
        }
        (Some(code), words) => Trouble::Other {
            code: Some(code.to_owned()),
            words: format!("{code}: {}", words.unwrap_or("no reason given")),
        },
        (None, _) => Trouble::Other {
            code: None,
            words: DisplayErrorContext(&error).to_string(),
        },
    }
}
