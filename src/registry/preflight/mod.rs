//! Checks repositories, tags and rights before the build, and creates missing repositories.
//!
//! The rights to push are enough: what the role may not see, or ECR does not answer in time, is
//! unknown and never an error.

mod api;
mod create;
mod existing;
mod problem;

use std::time::Duration;

use futures_util::future::join_all;
use image::Mutability;

use crate::aws::Session;
use crate::plan::{EcrRepository, IfExists, NewRepository};
use crate::runner::log;
pub(crate) use api::ExistingTag;
use api::{Api, ApiError};
pub(crate) use existing::existing;
pub(crate) use problem::PreflightError;
use problem::{Kind, Problem};

/// Time limit of each of two rounds of requests. ECR answers within 0.1 s; a builder boots for seconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Error codes of an upload that will never succeed.
const FINAL_CODES: [&str; 3] = [
    "KmsException",
    "LimitExceededException",
    "BlockedByOrganizationPolicyException",
];

/// The result of the preflight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub repositories: Vec<FoundRepository>,
    /// Problems of caches only, which do not end the run.
    pub warnings: Vec<String>,
}

/// A repository, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundRepository {
    /// `registry/repository`.
    pub address: String,
    pub exists: bool,
    /// Whether this run created it.
    pub created: bool,
    pub mutability: Option<Mutability>,
    /// `None` if unknown.
    pub has_lifecycle_policy: Option<bool>,
    /// Tags of the image that exist and cannot move, all with one digest.
    pub taken: Vec<ExistingTag>,
}

impl Found {
    /// Whether a repository, `registry/repository`, was seen.
    pub(crate) fn has_seen(&self, address: &str) -> bool {
        let mut repositories = self.repositories.iter();
        repositories.any(|repository| repository.address == address && repository.exists)
    }

    /// Images' names that exist and cannot move, each with its digest.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (String, &str)> {
        self.repositories.iter().flat_map(|repository| {
            let address = &repository.address;
            let taken = repository.taken.iter();
            taken.map(move |taken| (format!("{address}:{}", taken.tag), taken.digest.as_str()))
        })
    }
}

/// Checks the repositories concurrently and creates missing ones. Fails with every problem that would
/// make the push fail.
pub(crate) async fn look(
    repositories: Vec<EcrRepository>,
    new: Option<&NewRepository>,
    if_exists: IfExists,
    session: &Session,
) -> Result<Found, PreflightError> {
    let checks = repositories.into_iter().map(|repository| async move {
        // Without credentials the login fails, with the reason.
        let config = session.config_for(&repository.registry).await.ok()?;
        let check = Check {
            api: Api::new(&config, &repository.registry),
            repository,
            new,
            if_exists,
        };
        Some(Box::pin(check.run()).await)
    });
    let (mut found, mut problems) = (Found::default(), Vec::new());
    for (repository, of_it) in join_all(checks).await.into_iter().flatten() {
        found.repositories.push(repository);
        for problem in of_it {
            if problem.is_of_cache_only() {
                tracing::warn!("{problem}\nhint: {}", problem.hint());
                found.warnings.push(problem.to_string());
            } else {
                problems.push(problem);
            }
        }
    }
    if problems.is_empty() {
        return Ok(found);
    }
    Err(PreflightError(problems))
}

/// The check of one repository.
struct Check<'a> {
    api: Api,
    repository: EcrRepository,
    new: Option<&'a NewRepository>,
    if_exists: IfExists,
}

impl Check<'_> {
    async fn run(self) -> (FoundRepository, Vec<Problem>) {
        let mut found = FoundRepository {
            address: self.repository.address(),
            exists: false,
            created: false,
            mutability: None,
            has_lifecycle_policy: None,
            taken: Vec::new(),
        };
        let (api, name) = (&self.api, self.repository.name.as_str());
        let requests = async {
            tokio::join!(
                api.mutability(name),
                api.may_look(name),
                api.has_lifecycle_policy(name)
            )
        };
        let Some((mutability, looked, policy)) = self.in_time(Box::pin(requests)).await else {
            return (found, Vec::new());
        };
        if let Err(error) = &mutability {
            let address = &found.address;
            tracing::debug!("could not describe `{address}`: {}", error.message());
        }
        let is_missing = matches!(
            (&mutability, &looked),
            (Err(ApiError::Missing), _) | (Err(_), Err(ApiError::Missing))
        );
        if is_missing {
            let problem = self.create(&mut found).await.err();
            let problem = problem.map(|kind| self.problem(kind));
            return (found, problem.into_iter().collect());
        }
        found.exists = mutability.is_ok() || looked.is_ok();
        found.mutability = mutability.ok().flatten();
        found.has_lifecycle_policy = policy.ok();
        let problems = Box::pin(self.push_problems(&mut found, looked)).await;
        (found, problems)
    }

    /// Checks tags and rights. Begins an upload, which needs an existing repository: ECR may create a
    /// missing one for it.
    async fn push_problems(
        &self,
        found: &mut FoundRepository,
        looked: Result<(), ApiError>,
    ) -> Vec<Problem> {
        let (api, name) = (&self.api, self.repository.name.as_str());
        let mut tags = self.repository.tags.clone();
        let given = self.repository.caches.iter().filter(|cache| cache.given);
        tags.extend(given.map(|cache| cache.tag.clone()));
        if tags.is_empty() {
            // The right to read is needed even if no tag is pushed.
            tags.push("latest".to_owned());
        }
        let requests = async {
            tokio::join!(
                api.existing_tags(name, &tags),
                api.may_begin(name),
                api.may_upload(name),
                api.may_complete(name)
            )
        };
        let Some((existing, begun, uploaded, completed)) = self.in_time(Box::pin(requests)).await
        else {
            return Vec::new();
        };
        let mut kinds = Vec::new();
        if let (Some(mutability), Ok(existing)) = (&found.mutability, &existing) {
            let (taken, problems) = self.immovable_tags(mutability, existing);
            found.taken = taken;
            kinds.extend(problems);
        }
        if let Err(ApiError::Other(refusal)) = &begun
            && let Some(code) = &refusal.code
            && FINAL_CODES.contains(&code.as_str())
        {
            kinds.push(Kind::Refused(refusal.reason.clone()));
        }
        let answers = [
            ("ecr:BatchCheckLayerAvailability", looked),
            ("ecr:InitiateLayerUpload", begun),
            ("ecr:UploadLayerPart", uploaded),
            ("ecr:CompleteLayerUpload", completed),
            ("ecr:BatchGetImage", existing.map(drop)),
        ];
        let denied = answers
            .into_iter()
            .filter_map(|(action, answer)| match answer {
                Err(ApiError::Denied(message)) => Some((action, message)),
                _ => None,
            });
        let (actions, messages): (Vec<_>, Vec<_>) = denied.unzip();
        if let Some(message) = messages.into_iter().next() {
            kinds.push(Kind::Denied { actions, message });
        }
        kinds.into_iter().map(|kind| self.problem(kind)).collect()
    }

    /// The image's tags that exist and cannot move, and the problems that this is.
    fn immovable_tags(
        &self,
        mutability: &Mutability,
        existing: &[ExistingTag],
    ) -> (Vec<ExistingTag>, Vec<Kind>) {
        let existing = existing.iter().cloned();
        let immovable = existing.filter(|existing| !mutability.may_move(&existing.tag));
        let (tags, caches): (Vec<_>, Vec<_>) =
            immovable.partition(|existing| self.repository.tags.contains(&existing.tag));
        let mutability = || mutability.clone();
        let mut problems: Vec<Kind> = caches
            .into_iter()
            .map(|cache| Kind::Cache {
                tag: cache.tag,
                mutability: mutability(),
            })
            .collect();
        let is_one_image = tags.windows(2).all(|pair| match pair {
            [one, other] => one.digest == other.digest,
            _ => true,
        });
        if tags.is_empty() || (is_one_image && self.if_exists != IfExists::Fail) {
            return (tags, problems);
        }
        let tags = tags.into_iter().map(|taken| (taken.tag, taken.digest));
        let taken = Kind::Taken {
            tags: tags.collect(),
            mutability: mutability(),
            is_one_image,
        };
        problems.insert(0, taken);
        (Vec::new(), problems)
    }

    fn problem(&self, kind: Kind) -> Problem {
        Problem {
            repository: self.repository.clone(),
            kind,
        }
    }

    /// The answers, if they come in time.
    async fn in_time<T>(&self, answers: impl Future<Output = T>) -> Option<T> {
        let answers = tokio::time::timeout(TIMEOUT, answers).await.ok();
        if answers.is_none() {
            tracing::info!(
                target: log::NOTICE,
                "`{}` is not checked: Amazon ECR did not answer within {} s",
                self.repository.address(),
                TIMEOUT.as_secs()
            );
        }
        answers
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_config::SdkConfig;
    use image::EcrRegistry;

    use super::*;

    /// The check of a repository by an API that answers thus: what is found is a tag that was asked for and can't move.
    pub(in crate::registry) async fn check(config: &SdkConfig) {
        let registry = EcrRegistry::new("123456789012", "eu-west-1").unwrap();
        let tags = ["1".to_owned(), "latest".to_owned()];
        let new = NewRepository::default();
        let check = Check {
            api: Api::new(config, &registry),
            repository: EcrRepository {
                registry,
                name: "team/app".to_owned(),
                image: true,
                tags: tags.to_vec(),
                caches: Vec::new(),
            },
            new: Some(&new),
            if_exists: IfExists::Same,
        };
        let _ = check.api.created_on_push().await;
        let digests = ["sha256:1".to_owned()];
        let _ = check.api.manifests("team/app", &digests).await;
        let (found, problems) = Box::pin(check.run()).await;
        assert!(found.taken.iter().all(|taken| tags.contains(&taken.tag)));
        let may_move = |tag: &str| found.mutability.iter().all(|kind| kind.may_move(tag));
        assert!(found.taken.iter().all(|taken| !may_move(&taken.tag)));
        for problem in problems {
            assert!(!problem.to_string().is_empty() && !problem.hint().is_empty());
        }
    }
}
