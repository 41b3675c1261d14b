//! What would fail after the build, found before it: repositories, tags, rights.
//!
//! In: the repositories of Amazon ECR that the plan writes to. Out: [`Found`], or everything that
//! speaks against the push, in words. A repository that does not exist is created where that is
//! asked for. The rights to push are enough: what the role may not look at, and what is not
//! answered in time, counts as unknown and stops nothing.

mod api;
mod create;
mod problem;

use std::time::Duration;

use futures_util::future::join_all;
use image::Mutability;

use crate::aws::Session;
use crate::plan::{EcrRepository, NewRepository};
use crate::runner::log;
use api::{Api, Described, Trouble};
pub(crate) use problem::PreflightError;
use problem::{Kind, Problem};

/// How long each of two rounds of questions may take. ECR answers within 0.1 s; a builder's boot
/// takes some seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub repositories: Vec<FoundRepository>,
    /// What concerns caches only, and so stops nothing.
    pub warnings: Vec<String>,
}

/// What is known of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundRepository {
    /// `registry/repository`.
    pub address: String,
    /// Whether it was seen, or made.
    pub exists: bool,
    /// Whether it was made now.
    pub created: bool,
    pub mutability: Option<Mutability>,
    /// None where that may not be asked.
    pub has_lifecycle_policy: Option<bool>,
}

impl Found {
    /// Whether a repository, as `registry/repository`, was seen.
    pub(crate) fn has_seen(&self, address: &str) -> bool {
        let mut repositories = self.repositories.iter();
        repositories.any(|repository| repository.address == address && repository.exists)
    }
}

/// Looks at the repositories, all at once, and creates those that are missing.
///
/// # Errors
/// All that would make the push fail.
pub(crate) async fn look(
    repositories: Vec<EcrRepository>,
    new: Option<&NewRepository>,
    session: &Session,
) -> Result<Found, PreflightError> {
    let looks = repositories.into_iter().map(|repository| async move {
        // Without credentials the login fails, and says why.
        let config = session.config_for(&repository.registry).await.ok()?;
        let api = Api::new(&config, &repository.registry);
        let look = Look {
            api,
            repository,
            new,
        };
        Some(Box::pin(look.run()).await)
    });
    let (mut found, mut problems) = (Found::default(), Vec::new());
    for (repository, of_it) in join_all(looks).await.into_iter().flatten() {
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
        Ok(found)
    } else {
        Err(PreflightError::new(problems))
    }
}

impl Problem {
    /// Whether the image is pushed all the same.
    fn is_of_cache_only(&self) -> bool {
        match &self.kind {
            Kind::Cache { tag, .. } => {
                let mut caches = self.repository.caches.iter();
                caches.all(|cache| cache.may_fail || cache.tag != *tag)
            }
            _ => self.repository.is_optional(),
        }
    }
}

/// A look at one repository.
struct Look<'a> {
    api: Api,
    repository: EcrRepository,
    new: Option<&'a NewRepository>,
}

impl Look<'_> {
    async fn run(self) -> (FoundRepository, Vec<Problem>) {
        let mut found = FoundRepository {
            address: self.repository.address(),
            exists: false,
            created: false,
            mutability: None,
            has_lifecycle_policy: None,
        };
        let (api, name) = (&self.api, self.repository.name.as_str());
        let questions = async {
            tokio::join!(
                api.describe(name),
                api.may_look(name),
                api.has_lifecycle_policy(name)
            )
        };
        let Some((described, looked, policy)) = self.in_time(Box::pin(questions)).await else {
            return (found, Vec::new());
        };
        self.unknown("look at", &described);
        let is_missing = matches!(
            (&described, &looked),
            (Err(Trouble::Missing), _) | (Err(_), Err(Trouble::Missing))
        );
        if is_missing {
            return match self.make(&mut found).await {
                Ok(()) => (found, Vec::new()),
                Err(kind) => (found, vec![self.problem(kind)]),
            };
        }
        found.exists = described.is_ok() || looked.is_ok();
        found.mutability = described
            .ok()
            .and_then(|Described { mutability }| mutability);
        found.has_lifecycle_policy = policy.ok();
        let problems = Box::pin(self.push(&found, looked)).await;
        (found, problems)
    }

    /// Tags and rights. The empty upload is begun only where the repository exists: ECR may make
    /// one for it.
    async fn push(&self, found: &FoundRepository, looked: Result<(), Trouble>) -> Vec<Problem> {
        let (api, name) = (&self.api, self.repository.name.as_str());
        let mut asked = self.repository.tags.clone();
        let given = self.repository.caches.iter().filter(|cache| cache.given);
        asked.extend(given.map(|cache| cache.tag.clone()));
        if asked.is_empty() {
            // Nothing is pushed to it; the right to look is needed all the same.
            asked.push("latest".to_owned());
        }
        let questions = async {
            tokio::join!(
                api.taken(name, &asked),
                api.may_begin(name),
                api.may_upload(name),
                api.may_complete(name)
            )
        };
        let Some((taken, begun, uploaded, completed)) = self.in_time(Box::pin(questions)).await
        else {
            return Vec::new();
        };
        let mut kinds = Vec::new();
        if let (Some(mutability), Ok(taken)) = (&found.mutability, &taken) {
            kinds.extend(self.tags(mutability, taken));
        }
        if let Err(Trouble::Other {
            code: Some(code),
            words,
        }) = &begun
            && REFUSALS.contains(&code.as_str())
        {
            kinds.push(Kind::Refused {
                words: words.clone(),
            });
        }
        let answers = [
            ("ecr:BatchCheckLayerAvailability", looked),
            ("ecr:InitiateLayerUpload", begun),
            ("ecr:UploadLayerPart", uploaded),
            ("ecr:CompleteLayerUpload", completed),
            ("ecr:BatchGetImage", taken.map(drop)),
        ];
        let denied = answers.iter().filter_map(|(action, answer)| match answer {
            Err(Trouble::Denied(words)) => Some((*action, words)),
            _ => None,
        });
        let (actions, words): (Vec<_>, Vec<_>) = denied.unzip();
        if let Some(words) = words.first() {
            kinds.push(Kind::Denied {
                actions,
                words: (*words).clone(),
            });
        }
        kinds.into_iter().map(|kind| self.problem(kind)).collect()
    }

    /// Tags that name an image already and can't be given to another.
    fn tags(&self, mutability: &Mutability, taken: &[(String, String)]) -> Vec<Kind> {
        let fixed: Vec<_> = taken
            .iter()
            .filter(|(tag, _)| !mutability.may_move(tag))
            .collect();
        let is_image = |tag: &String| self.repository.tags.contains(tag);
        let tags: Vec<_> = fixed
            .iter()
            .filter(|(tag, _)| is_image(tag))
            .map(|taken| (*taken).clone())
            .collect();
        let mut kinds: Vec<Kind> = fixed
            .iter()
            .filter(|(tag, _)| !is_image(tag))
            .map(|(tag, _)| Kind::Cache {
                tag: tag.clone(),
                mutability: mutability.clone(),
            })
            .collect();
        if !tags.is_empty() {
            let mutability = mutability.clone();
            kinds.insert(0, Kind::Taken { tags, mutability });
        }
        kinds
    }

    fn problem(&self, kind: Kind) -> Problem {
        Problem {
            repository: self.repository.clone(),
            kind,
        }
    }

    /// The answers, if they come in time.
    async fn in_time<T>(&self, answers: impl Future<Output = T>) -> Option<T> {
        let answers = tokio::time::timeout(PATIENCE, answers).await.ok();
        if answers.is_none() {
            tracing::info!(
                target: log::NOTICE,
                "`{}` was not looked at beforehand: Amazon ECR did not answer within {} s",
                self.repository.address(),
                PATIENCE.as_secs()
            );
        }
        answers
    }

    /// Tells of an answer that is missing, to those who want to know.
    fn unknown<T>(&self, what: &str, answer: &Result<T, Trouble>) {
        if let Err(Trouble::Denied(words) | Trouble::Other { words, .. }) = answer {
            let address = self.repository.address();
            tracing::debug!("could not {what} `{address}`: {words}");
        }
    }
}

/// Answers to the begin of an upload that will not pass.
const REFUSALS: [&str; 3] = [
    "KmsException",
    "LimitExceededException",
    "BlockedByOrganizationPolicyException",
];
