//! The Amazon ECR repositories that a plan writes to: images and caches.

use image::{EcrRegistry, ImageRef, Registry};

use super::{CacheKind, ImagePlan, Naming, Plan};
use crate::inputs::cache::Backend;

/// A repository in Amazon ECR, and what is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EcrRepository {
    pub registry: EcrRegistry,
    /// Its path in the registry.
    pub name: String,
    /// Whether the image goes there.
    pub image: bool,
    /// Tags of the image; none where it is pushed by its digest.
    pub tags: Vec<String>,
    pub caches: Vec<CacheTag>,
}

/// A tag that names a cache, and is moved with every run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheTag {
    pub tag: String,
    /// Whether the build goes on where the cache can't be written.
    pub may_fail: bool,
    /// Whether `cache-to` names it. For its own caches the plan finds another place where a tag
    /// can't move.
    pub given: bool,
}

impl EcrRepository {
    /// `registry/repository`, as in an image's name.
    pub(crate) fn address(&self) -> String {
        format!("{}/{}", self.registry.host, self.name)
    }

    /// Its ARN (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html>).
    pub(crate) fn arn(&self) -> String {
        let EcrRegistry {
            account,
            region,
            partition,
            ..
        } = &self.registry;
        let name = &self.name;
        format!(
            "arn:{}:ecr:{region}:{account}:repository/{name}",
            partition.name
        )
    }

    /// Whether the build goes on without it.
    pub(crate) fn is_optional(&self) -> bool {
        !self.image && self.caches.iter().all(|cache| cache.may_fail)
    }
}

impl Plan {
    /// The repositories of Amazon ECR that images and caches are written to, each once.
    pub(crate) fn ecr_repositories(&self) -> Vec<EcrRepository> {
        let mut repositories = Vec::new();
        for image in &self.images {
            for name in image.push.iter().flat_map(|push| &push.names) {
                if let Some(repository) = entry(&mut repositories, name) {
                    repository.image = true;
                    repository.tags.extend(name.tag.clone());
                }
            }
            for (reference, may_fail) in caches(image) {
                if let Some(repository) = entry(&mut repositories, &reference) {
                    let reference = Naming::Tags.complete(reference);
                    let tag = reference.tag.unwrap_or_default();
                    let given = image.cache.kind == CacheKind::Given;
                    repository.caches.push(CacheTag {
                        tag,
                        may_fail,
                        given,
                    });
                }
            }
        }
        repositories
    }
}

fn entry<'a>(
    repositories: &'a mut Vec<EcrRepository>,
    reference: &ImageRef,
) -> Option<&'a mut EcrRepository> {
    let Registry::Ecr(registry) = reference.registry() else {
        return None;
    };
    let known = repositories
        .iter()
        .position(|other| other.registry == registry && other.name == reference.repository);
    let index = known.unwrap_or_else(|| {
        repositories.push(EcrRepository {
            registry,
            name: reference.repository.clone(),
            image: false,
            tags: Vec::new(),
            caches: Vec::new(),
        });
        repositories.len() - 1
    });
    repositories.get_mut(index)
}

/// Caches that go to a registry, with whether they may fail.
fn caches(image: &ImagePlan) -> impl Iterator<Item = (ImageRef, bool)> {
    let caches = image.cache_to.iter();
    let caches = caches.filter(|cache| cache.backend == Backend::Registry);
    caches.filter_map(|cache| {
        let name = cache.attributes.get("ref")?.parse().ok()?;
        Some((name, cache.attributes.is_true("ignore-error")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::{Inputs, RawInputs};
    use crate::plan::RunDir;
    use std::path::Path;

    const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

    fn repositories(pairs: &[(&'static str, &str)]) -> Vec<EcrRepository> {
        let mut given = RawInputs::default();
        for (name, text) in pairs {
            given.set(name, (*text).to_owned());
        }
        let inputs = Inputs::parse(&given).unwrap();
        let facts = Facts::example(ImageStore::Containerd);
        let plan = Plan::new(&inputs, None, &facts, &RunDir::at(Path::new("/run"))).unwrap();
        plan.ecr_repositories()
    }

    #[test]
    fn tags_and_caches_of_a_repository_stand_together() {
        let tags = format!("{ECR}/a:1\n{ECR}/a\nghcr.io/o/a:1\n{ECR}/b/c:1");
        let caches = format!(
            "type=registry,ref={ECR}/a:cache,mode=max,ignore-error=true\n{ECR}/only:c\n\
             type=registry,ref=ghcr.io/o/a:c\ntype=inline"
        );
        let found = repositories(&[("tags", &tags), ("cache-to", &caches)]);
        let cache = |tag: &str, may_fail| CacheTag {
            tag: tag.to_owned(),
            may_fail,
            given: true,
        };
        let seen: Vec<_> = found
            .iter()
            .map(|found| {
                (
                    found.name.as_str(),
                    found.tags.join(" "),
                    found.caches.clone(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("a", "1 latest".to_owned(), vec![cache("cache", true)]),
                ("b/c", "1".to_owned(), vec![]),
                ("only", String::new(), vec![cache("c", false)]),
            ]
        );
        assert_eq!(found[1].address(), format!("{ECR}/b/c"));
        assert_eq!(
            found[1].arn(),
            "arn:aws:ecr:eu-west-1:123456789012:repository/b/c"
        );
        assert!(!found[0].is_optional() && !found[2].is_optional());
    }

    #[test]
    fn what_is_not_pushed_is_not_written() {
        let tags = format!("{ECR}/a:1");
        assert_eq!(repositories(&[("tags", &tags), ("push", "false")]), []);
        let output = format!("type=image,push=true,push-by-digest=true,name={ECR}/a");
        let found = repositories(&[("outputs", &output)]);
        assert!(found[0].image && found[0].tags.is_empty());
    }
}
