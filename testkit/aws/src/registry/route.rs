//! What a request is about: hosts and paths of the distribution specification
//! (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints>).

use aws_stand_in::{Resource, names};

use crate::repositories::PUBLIC;

/// A request's place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub account: String,
    /// `public` for ECR Public.
    pub region: String,
    pub resource: Resource,
    /// As its account names it, of ECR Public without the alias.
    pub repository: Option<String>,
    /// Tag or digest, digest of a blob, identifier of an upload; empty where there is none.
    pub reference: String,
    /// What follows the name in the path, as `/manifests/1`.
    rest: String,
}

impl Place {
    /// Where a path under a host name leads; none for a host that is not ours.
    pub(super) fn find(host: &str, path: &str) -> Option<Self> {
        let path = path.strip_prefix("/v2/").unwrap_or_default();
        let (name, rest) = split(path);
        let (resource, reference) = match rest
            .strip_prefix('/')
            .and_then(|rest| rest.split_once('/'))
        {
            None => (Resource::Base, ""),
            Some(("manifests", reference)) => (Resource::Manifest, reference),
            Some(("blobs", uploads)) if uploads == "uploads" || uploads.starts_with("uploads/") => {
                (
                    Resource::Upload,
                    uploads
                        .trim_start_matches("uploads")
                        .trim_start_matches('/'),
                )
            }
            Some(("blobs", digest)) => (Resource::Blob, digest),
            Some((_, reference)) => (Resource::Other, reference),
        };
        let (account, region, name) = match names::parse(host) {
            Some((account, region)) => (account, region, name),
            None if host == names::PUBLIC => {
                let (alias, name) = name.split_once('/').unwrap_or((name, ""));
                (
                    alias.strip_prefix('r').unwrap_or(names::ACCOUNT),
                    PUBLIC,
                    name,
                )
            }
            None => return None,
        };
        Some(Self {
            account: account.to_owned(),
            region: region.to_owned(),
            resource,
            repository: (!name.is_empty()).then(|| name.to_owned()),
            reference: reference.to_owned(),
            rest: rest.to_owned(),
        })
    }

    /// The name of a repository of this registry behind: each registry has a part of its own, so that none shares
    /// layers with another.
    pub(super) fn behind(&self, repository: &str) -> String {
        format!("ecr/{}/{}/{repository}", self.account, self.region)
    }

    /// The path behind.
    pub(super) fn path(&self) -> String {
        match &self.repository {
            Some(repository) => format!("/v2/{}{}", self.behind(repository), self.rest),
            None => "/v2/".to_owned(),
        }
    }

    /// A path from behind, as this registry's clients know it.
    pub(super) fn before(&self, text: &str) -> String {
        let alias = match self.region.as_str() {
            PUBLIC => format!("{}/", names::alias(&self.account)),
            _ => String::new(),
        };
        text.replacen(&self.behind(""), &alias, 1)
    }

    /// Name of the operation that IAM is asked about:
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html>.
    pub(super) fn action(&self, method: &str) -> Option<String> {
        let operation = match (self.resource, method) {
            (Resource::Base, _) => return None,
            (Resource::Manifest, "PUT") => "PutImage",
            (Resource::Manifest, "DELETE") => "BatchDeleteImage",
            (Resource::Manifest, _) => "BatchGetImage",
            (Resource::Blob, "HEAD") => "BatchCheckLayerAvailability",
            (Resource::Blob, _) => "GetDownloadUrlForLayer",
            (Resource::Upload, "POST") => "InitiateLayerUpload",
            (Resource::Upload, "PUT") => "CompleteLayerUpload",
            (Resource::Upload, _) => "UploadLayerPart",
            (Resource::Other, _) => "ListImages",
        };
        let service = if self.region == PUBLIC {
            "ecr-public"
        } else {
            "ecr"
        };
        Some(format!("{service}:{operation}"))
    }
}

/// Name and rest of `NAME/manifests/…` and the like. The last such word counts: names may hold these words, too.
fn split(path: &str) -> (&str, &str) {
    let words = ["/blobs/", "/manifests/", "/tags/", "/referrers/"];
    let at = words.iter().filter_map(|word| path.rfind(word)).max();
    // `…/blobs/uploads/ID` has no other word behind.
    at.and_then(|at| path.split_at_checked(at))
        .unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "222233334001.dkr.ecr.us-east-1.amazonaws.com";

    #[test]
    fn paths_lead_to_places() {
        for (path, resource, repository, reference) in [
            ("/v2/", Resource::Base, None, ""),
            (
                "/v2/team/app/manifests/1",
                Resource::Manifest,
                Some("team/app"),
                "1",
            ),
            (
                "/v2/blobs/manifests/sha256:1",
                Resource::Manifest,
                Some("blobs"),
                "sha256:1",
            ),
            (
                "/v2/app/blobs/sha256:1",
                Resource::Blob,
                Some("app"),
                "sha256:1",
            ),
            ("/v2/app/blobs/uploads/", Resource::Upload, Some("app"), ""),
            (
                "/v2/app/blobs/uploads/x-1",
                Resource::Upload,
                Some("app"),
                "x-1",
            ),
            ("/v2/app/tags/list", Resource::Other, Some("app"), "list"),
        ] {
            let place = Place::find(HOST, path).expect("our host");
            let found = (
                place.resource,
                place.repository.as_deref(),
                place.reference.as_str(),
            );
            assert_eq!(found, (resource, repository, reference), "{path}");
            assert_eq!(place.before(&place.path()), path);
        }
    }

    #[test]
    fn each_registry_has_repositories_of_its_own_behind() {
        let private = Place::find(HOST, "/v2/app/tags/list").expect("our host");
        assert_eq!(
            private.path(),
            "/v2/ecr/222233334001/us-east-1/app/tags/list"
        );
        let public =
            Place::find(names::PUBLIC, "/v2/r222233334001/app/tags/list").expect("our host");
        assert_eq!(public.path(), "/v2/ecr/222233334001/public/app/tags/list");
        assert_eq!(
            public.before(&public.path()),
            "/v2/r222233334001/app/tags/list"
        );
        assert_eq!(Place::find("registry-1.docker.io", "/v2/"), None);
    }
}
