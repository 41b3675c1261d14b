//! What would fail later, in words, with the remedy.

use std::fmt;

use image::Mutability;
use serde_json::json;
use thiserror::Error;

use crate::plan::EcrRepository;

/// The image could not be pushed, however well it is built.
#[derive(Debug, Error)]
#[error("{}", lines(.0))]
pub(crate) struct PreflightError(Vec<Problem>);

/// What stands in the way of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub repository: EcrRepository,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// It does not exist.
    Missing,
    /// It does not exist and can't be created; AWS's words.
    Uncreated { denied: bool, words: String },
    /// Tags that name an image, with its digest, and can't be given to another.
    Taken {
        tags: Vec<(String, String)>,
        mutability: Mutability,
    },
    /// A cache's tag names one already, and can't be moved.
    Cache { tag: String, mutability: Mutability },
    /// The role lacks these IAM actions; AWS's words about one of them.
    Denied {
        actions: Vec<&'static str>,
        words: String,
    },
    /// An upload can't begin; AWS's words.
    Refused { words: String },
}

/// IAM actions that a push needs on its repository
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
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    /// What to do, about each problem.
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
        self.0.iter().any(|problem| {
            matches!(
                problem.kind,
                Kind::Denied { .. } | Kind::Uncreated { denied: true, .. }
            )
        })
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
            Kind::Uncreated { words, .. } => {
                write!(
                    formatter,
                    "could not create the repository `{address}`: {words}"
                )
            }
            Kind::Taken { tags, mutability } => {
                let named: Vec<String> = tags
                    .iter()
                    .map(|(tag, digest)| format!("`{tag}` names {digest}"))
                    .collect();
                write!(
                    formatter,
                    "the repository `{address}` keeps its tags ({}), and of this image's {}",
                    mutability.name(),
                    named.join(", ")
                )
            }
            Kind::Cache { tag, mutability } => write!(
                formatter,
                "the cache can't be written to `{address}:{tag}`: the repository keeps its tags \
                 ({}), and this one is taken",
                mutability.name()
            ),
            Kind::Denied { actions, words } => write!(
                formatter,
                "the role may not push to `{address}`, it lacks {}: {words}",
                actions.join(", ")
            ),
            Kind::Refused { words } => write!(
                formatter,
                "Amazon ECR takes no upload to `{address}`: {words}"
            ),
        }
    }
}

impl Problem {
    pub(super) fn hint(&self) -> String {
        let EcrRepository { registry, name, .. } = &self.repository;
        let region = &registry.region;
        match &self.kind {
            Kind::Missing if names_a_host(name) => format!(
                "`repository` is the path in the registry: leave the host out of `{name}`"
            ),
            Kind::Missing => format!(
                "set `create-repository: true`, or run `aws ecr create-repository \
                 --repository-name {name} --region {region}`; or is it the name, the account or \
                 the region?"
            ),
            Kind::Uncreated { denied: true, .. } => format!(
                "give the role these rights:\n{}",
                policy(
                    &["ecr:CreateRepository", "ecr:PutLifecyclePolicy", "ecr:TagResource"],
                    &self.repository
                )
            ),
            Kind::Uncreated { words, .. } | Kind::Refused { words } => hint_about(words).to_owned(),
            Kind::Taken { .. } => "push a tag of its own for every build, as `type=sha`; to build the \
                 same commit again needs another tag too, since two builds are rarely the same byte \
                 for byte. A tag that has to move, as `latest`, needs an exclusion filter of the \
                 repository: `aws ecr put-image-tag-mutability --image-tag-mutability \
                 IMMUTABLE_WITH_EXCLUSION`"
                .to_owned(),
            Kind::Cache { tag, .. } => format!(
                "write the cache to a repository whose tags may move, or exclude it: `aws ecr \
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

/// What to do about an answer of AWS that is about the key, the organization or a quota.
fn hint_about(words: &str) -> &'static str {
    if words.starts_with("KmsException") {
        "the repository is encrypted with a KMS key that can't be used: is it enabled, and may the role use it?"
    } else if words.starts_with("LimitExceededException") {
        "a quota of the account is used up: https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html"
    } else if words.starts_with("BlockedByOrganizationPolicyException") {
        "a policy of the AWS organization forbids it: ask who manages it"
    } else {
        "Amazon ECR's words stand above; https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html lists what they mean"
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
    fn each_problem_is_said_with_its_remedy() {
        let words = "KmsException: The operation failed because the KMS key is disabled".to_owned();
        let cases = [
            (
                problem("a/b", Kind::Missing),
                "/a/b` does not exist",
                "--repository-name a/b --region cn-north-1",
            ),
            (
                problem("public.ecr.aws/a/b", Kind::Missing),
                "does not exist",
                "leave the host out",
            ),
            (
                problem(
                    "a",
                    Kind::Uncreated {
                        denied: true,
                        words: "no".to_owned(),
                    },
                ),
                "could not create the repository",
                "\"ecr:CreateRepository\"",
            ),
            (
                problem(
                    "a",
                    Kind::Refused {
                        words: words.clone(),
                    },
                ),
                &words,
                "KMS key that can't be used",
            ),
            (
                problem(
                    "a",
                    Kind::Uncreated {
                        denied: false,
                        words: words.clone(),
                    },
                ),
                &words,
                "KMS key",
            ),
            (
                problem(
                    "a",
                    Kind::Taken {
                        tags: vec![("1.0".to_owned(), "sha256:ab".to_owned())],
                        mutability: Mutability::Immutable,
                    },
                ),
                "keeps its tags (IMMUTABLE), and of this image's `1.0` names sha256:ab",
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
                        words: "User: x is not authorized".to_owned(),
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
    fn one_remedy_for_all_is_said_once() {
        let kind = || Kind::Refused {
            words: "LimitExceededException: x".to_owned(),
        };
        let error = PreflightError::new(vec![problem("a", kind()), problem("b", kind())]);
        assert_eq!(error.to_string().lines().count(), 2);
        assert_eq!(error.hint().unwrap().lines().count(), 1);
        assert!(!error.is_refusal());
    }
}
