//! What images there are: as pushed to the registry.

use serde_json::{Value, json};

use super::asked::Asked;
use super::errors::Refusal;
use super::{Outcome, json_reply};
use crate::images::Images;
use crate::repositories;
use crate::state::State;

/// `DescribeImages`, `BatchGetImage`, `ListImages`, in one page:
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>.
pub(super) async fn answer(state: &State, account: &str, asked: &Asked) -> Outcome {
    let name = asked.repository().unwrap_or_default();
    let found = repositories::find(state, account, asked.region(), name).await;
    if found
        .map_err(|error| Refusal::new(500, "ServerException", format!("{error:#}")))?
        .is_none()
    {
        let message = format!(
            "The repository with name '{name}' does not exist in the registry with id '{account}'"
        );
        return Err(Refusal::new(400, "RepositoryNotFoundException", message));
    }
    let mut memory = state.memory();
    let key = (asked.region().to_owned(), name.to_owned());
    let images = memory.account(account).images.entry(key).or_default();
    match asked.operation.as_str() {
        "DescribeImages" => describe(images, account, name, asked),
        "BatchGetImage" => Ok(get(images, account, name, asked)),
        _ => {
            let tagged = images.digests().flat_map(|digest| {
                let tags = images.tags_of(digest);
                let untagged = tags.is_empty().then(|| json!({ "imageDigest": digest }));
                let tagged = tags
                    .into_iter()
                    .map(|tag| json!({ "imageDigest": digest, "imageTag": tag }))
                    .collect::<Vec<_>>();
                tagged.into_iter().chain(untagged)
            });
            let ids: Vec<Value> = tagged
                .filter(|id| wanted(asked, id.get("imageTag").is_some()))
                .collect();
            Ok(json_reply(&json!({ "imageIds": ids })))
        }
    }
}

/// Whether the filter `tagStatus` lets it through.
fn wanted(asked: &Asked, tagged: bool) -> bool {
    match asked.value["filter"]["tagStatus"].as_str() {
        Some("TAGGED") => tagged,
        Some("UNTAGGED") => !tagged,
        _ => true,
    }
}

fn ids(asked: &Asked) -> impl Iterator<Item = &Value> {
    asked.value["imageIds"].as_array().into_iter().flatten()
}

fn describe(images: &Images, account: &str, name: &str, asked: &Asked) -> Outcome {
    let mut digests = Vec::new();
    for id in ids(asked) {
        let Some(digest) = images.find(id) else {
            let part = |member: &str| id[member].as_str().unwrap_or("null").to_owned();
            let message = format!(
                "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the repository with \
                 name '{name}' in the registry with id '{account}'",
                part("imageDigest"),
                part("imageTag")
            );
            return Err(Refusal::new(400, "ImageNotFoundException", message));
        };
        digests.push(digest);
    }
    if asked.value["imageIds"].is_null() {
        digests = images.digests().collect();
    }
    let details: Vec<Value> = digests
        .into_iter()
        .filter_map(|digest| images.detail(digest))
        .filter(|detail| wanted(asked, detail.get("imageTags").is_some()))
        .map(|mut detail| {
            detail["registryId"] = json!(account);
            detail["repositoryName"] = json!(name);
            detail
        })
        .collect();
    Ok(json_reply(&json!({ "imageDetails": details })))
}

/// What is not there is told beside what is.
fn get(
    images: &Images,
    account: &str,
    name: &str,
    asked: &Asked,
) -> hyper::Response<crate::body::Body> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for id in ids(asked) {
        let image = images
            .find(id)
            .and_then(|digest| Some((digest, images.manifest(digest)?)));
        let Some((digest, (manifest, kind))) = image else {
            failures.push(json!({
                "imageId": id, "failureCode": "ImageNotFound", "failureReason": "Requested image not found",
            }));
            continue;
        };
        let mut image_id = json!({ "imageDigest": digest });
        if let Some(tag) = id["imageTag"].as_str() {
            image_id["imageTag"] = json!(tag);
        }
        found.push(json!({
            "registryId": account, "repositoryName": name, "imageId": image_id,
            "imageManifest": manifest, "imageManifestMediaType": kind,
        }));
    }
    json_reply(&json!({ "images": found, "failures": failures }))
}
