//! Problems that would make the push fail, each with what to do.

use std::fmt;

use image::Mutability;
use serde_json::json;
use thiserror::Error;

use crate::plan::EcrRepository;

/// The push would fail.
#[derive(Debug, Error)]
#[error("{}", lines(.0))]
pub(crate) struct PreflightError(pub(super) Vec<Problem>);

/// A problem of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub repository: EcrRepository,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Missing,
    /// It does not exist and could not be created; AWS's message.
    NotCreated {
        denied: bool,
        message: String,
    },
    /// Tags that exist, each with its digest, and cannot move.
    Taken {
        tags: Vec<(String, String)>,
        mutability: Mutability,
        /// Whether all have the same digest.
        is_one_image: bool,
    },
    /// A cache's tag that exists and cannot move.
    Cache {
        tag: String,
        mutability: Mutability,
    },
    /// IAM actions that the role lacks, and AWS's message about one of them.
    Denied {
        actions: Vec<&'static str>,
        message: String,
    },
    /// ECR accepts no upload; AWS's message.
    Refused(String),
}

/// The IAM actions that a push needs on its repository
/// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html>).
pub(super) const PUSH: [&str; 6] = [
    "ecr:BatchCheckLayerAvailability",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:PutImage",
    "ecr:BatchGetImage",
];

impl PreflightError {
    /// What to do about each problem.
    pub(crate) fn hint(&self) -> Option<String> {
        let mut hints: Vec<String> = Vec::new();
        for hint in self.0.iter().map(Problem::hint) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        (!hints.is_empty()).then(|| hints.join("\n"))
    }

    /// Whether rights are missing.
    pub(crate) fn is_refusal(&self) -> bool {
        let denied = |kind: &Kind| match kind {
            Kind::NotCreated { denied, .. } => *denied,
            kind => matches!(kind, Kind::Denied { .. }),
        };
        self.0.iter().any(|problem| denied(&problem.kind))
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.repository.address();
        match &self.kind {
            Kind::Missing => write!(formatter, "the repository `{address}` does not exist"),
            Kind::NotCreated { message, .. } => write!(
                formatter,
                "could not create the repository `{address}`: {message}"
            ),
            Kind::Taken {
                tags, mutability, ..
            } => {
                let tags = tags.iter();
                let tags = tags.map(|(tag, digest)| format!("`{tag}` is {digest}"));
                write!(
                    formatter,
                    "the repository `{address}` is {}, and these tags exist: {}",
                    mutability.name(),
                    tags.collect::<Vec<_>>().join(", ")
                )
            }
            Kind::Cache { tag, mutability } => write!(
                formatter,
                "the cache cannot be written to `{address}:{tag}`: the repository is {}, and the tag \
                 exists",
                mutability.name()
            ),
            Kind::Denied { actions, message } => write!(
                formatter,
                "the role may not push to `{address}`, it lacks {}: {message}",
                actions.join(", ")
            ),
            Kind::Refused(message) => write!(
                formatter,
                "Amazon ECR accepts no upload to `{address}`: {message}"
            ),
        }
    }
}

impl Problem {
    /// Whether only a cache is affected, so that the image is pushed all the same.
    pub(super) fn is_of_cache_only(&self) -> bool {
        match &self.kind {
            Kind::Cache { tag, .. } => {
                let mut caches = self.repository.caches.iter();
                caches.all(|cache| cache.may_fail || cache.tag != *tag)
            }
            _ => self.repository.is_optional(),
        }
    }

    pub(super) fn hint(&self) -> String {
        let EcrRepository { registry, name, .. } = &self.repository;
        let region = &registry.region;
        match &self.kind {
            Kind::Missing if names_a_host(name) => {
                format!("`repository` is the path in the registry: remove the host from `{name}`")
            }
            Kind::Missing => format!(
                "set `create-repository: true`, or run `aws ecr create-repository --repository-name {name} \
                 --region {region}`; or check the name, the account and the region"
            ),
            Kind::NotCreated { denied: true, .. } => format!(
                "give the role these rights:\n{}",
                policy(
                    &[
                        "ecr:CreateRepository",
                        "ecr:PutLifecyclePolicy",
                        "ecr:TagResource"
                    ],
                    &self.repository
                )
            ),
            Kind::NotCreated { message, .. } | Kind::Refused(message) => {
                hint_about(message).to_owned()
            }
            Kind::Taken { is_one_image, .. } => {
                let repeat = if *is_one_image {
                    "`if-exists: same` accepts a build that gives the same digest, as it usually does without \
                     attestations; `if-exists: skip` ends with the existing image. For another image, "
                } else {
                    "the tags name different images, and one build cannot be both: "
                };
                format!(
                    "{repeat}push a unique tag, such as `type=sha`. A tag that moves, such as `latest`, needs an \
                     exclusion filter: `aws ecr put-image-tag-mutability --image-tag-mutability \
                     IMMUTABLE_WITH_EXCLUSION`"
                )
            }
            Kind::Cache { tag, .. } => format!(
                "write the cache to a repository with mutable tags, or exclude its tag: `aws ecr \
                 put-image-tag-mutability --repository-name {name} --region {region} \
                 --image-tag-mutability IMMUTABLE_WITH_EXCLUSION \
                 --image-tag-mutability-exclusion-filters filterType=WILDCARD,filter={tag}`"
            ),
            Kind::Denied { .. } => format!(
                "give the role these rights, and `ecr:GetAuthorizationToken` on `*`:\n{}",
                policy(&PUSH, &self.repository)
            ),
        }
    }
}

/// What to do about an AWS message.
fn hint_about(message: &str) -> &'static str {
    if message.starts_with("KmsException") {
        "the repository's KMS key is unusable: check that it is enabled and that the role may use it"
    } else if message.starts_with("LimitExceededException") {
        "a quota of the account is used up: https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html"
    } else if message.starts_with("BlockedByOrganizationPolicyException") {
        "a policy of the AWS organization forbids it: ask its administrator"
    } else {
        "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html explains AWS's errors"
    }
}

/// Whether a repository's name begins with a registry's host.
pub(super) fn names_a_host(name: &str) -> bool {
    name.split_once('/')
        .is_some_and(|(first, _)| first.contains('.') && !first.contains(".."))
}

/// An IAM policy that allows these actions on the repository.
fn policy(actions: &[&str], repository: &EcrRepository) -> String {
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": repository.arn()}],
    });
    // A value of our own always serializes.
    serde_json::to_string_pretty(&policy).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::EcrRegistry;

    fn problem(name: &str, kind: Kind) -> Problem {
        Problem {
            repository: EcrRepository {
                registry: EcrRegistry::new("123456789012", "cn-north-1").unwrap(),
                name: name.to_owned(),
                image: true,
                tags: Vec::new(),
                caches: Vec::new(),
            },
            kind,
        }
    }

    #[test]
    fn each_problem_has_a_message_and_a_hint() {
        let message =
            "KmsException: The operation failed because the KMS key is disabled".to_owned();
        let cases = [
            (
                problem("a/b", Kind::Missing),
                "/a/b` does not exist",
                "--repository-name a/b --region cn-north-1",
            ),
            (
                problem("public.ecr.aws/a/b", Kind::Missing),
                "does not exist",
                "remove the host",
            ),
            (
                problem(
                    "a",
                    Kind::NotCreated {
                        denied: true,
                        message: "no".to_owned(),
                    },
                ),
                "could not create the repository",
                "\"ecr:CreateRepository\"",
            ),
            (
                problem("a", Kind::Refused(message.clone())),
                &message,
                "KMS key is unusable",
            ),
            (
                problem(
                    "a",
                    Kind::NotCreated {
                        denied: false,
                        message: message.clone(),
                    },
                ),
                &message,
                "KMS key",
            ),
            (
                problem(
                    "a",
                    Kind::Taken {
                        tags: vec![("1.0".to_owned(), "sha256:ab".to_owned())],
                        mutability: Mutability::Immutable,
                        is_one_image: true,
                    },
                ),
                "is IMMUTABLE, and these tags exist: `1.0` is sha256:ab",
                "`type=sha`",
            ),
            (
                problem(
                    "a",
                    Kind::Cache {
                        tag: "buildcache".to_owned(),
                        mutability: Mutability::Immutable,
                    },
                ),
                "/a:buildcache`",
                "filter=buildcache",
            ),
            (
                problem(
                    "a",
                    Kind::Denied {
                        actions: vec!["ecr:PutImage"],
                        message: "User: x is not authorized".to_owned(),
                    },
                ),
                "it lacks ecr:PutImage: User: x is not",
                "arn:aws-cn:ecr:cn-north-1:123456789012:repository/a",
            ),
        ];
        for (problem, text, hint) in cases {
            assert!(problem.to_string().contains(text), "{problem}");
            assert!(problem.hint().contains(hint), "{}", problem.hint());
        }
    }

    #[test]
    fn a_common_hint_is_given_once() {
        let kind = || Kind::Refused("LimitExceededException: x".to_owned());
        let error = PreflightError(vec![problem("a", kind()), problem("b", kind())]);
        assert_eq!(error.to_string().lines().count(), 2);
        assert_eq!(error.hint().unwrap().lines().count(), 1);
        assert!(!error.is_refusal());
    }
}
