//! How to get at AWS: the inputs of aws-actions/configure-aws-credentials, under its names.
//!
//! Limits are those of
//! [AssumeRole](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html) and
//! [AssumeRoleWithWebIdentity](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html).

use image::Registry;

use super::grammar::Rule;
use super::value::{Expected, Single};

/// A role: by its ARN, or by its name in an account that has to be known otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoleName {
    Arn { arn: String, account: String },
    Name(String),
}

const ROLE: &str =
    "a role's ARN, as `arn:aws:iam::123456789012:role/deploy`, or its name, as `deploy`";

pub(super) const SESSION_NAME: Rule = Rule {
    holds: |text| (2..=64).contains(&text.len()) && text.bytes().all(is_name),
    expected: "2 to 64 letters, digits and `_+=,.@-`",
};

pub(super) const EXTERNAL_ID: Rule = Rule {
    holds: |text| {
        let allowed = |byte| is_name(byte) || matches!(byte, b':' | b'/');
        (2..=1224).contains(&text.len()) && text.bytes().all(allowed)
    },
    expected: "2 to 1224 letters, digits and `_+=,.@:/-`",
};

pub(super) const ACCOUNT: Rule = Rule {
    holds: is_account,
    expected: "account ids of 12 digits each, in quotes where one begins with 0",
};

pub(super) const REGISTRY: Rule = Rule {
    holds: |text| is_account(text) || !matches!(Registry::from_host(text), Registry::Other { .. }),
    expected: "an account's id of 12 digits, in quotes where it begins with 0, or a host of Amazon ECR, as \
               `123456789012.dkr.ecr.eu-west-1.amazonaws.com` or `public.ecr.aws`; for others there is \
               `registry-auth`",
};

pub(super) const ONE_WORD: Rule = Rule {
    holds: |text| !text.contains(char::is_whitespace),
    expected: "one word, without blanks and line breaks",
};

/// What an ARN, a name and a session are made of (`[\w+=,.@-]`).
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

/// Whether the text is the id of an AWS account.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl RoleName {
    fn read(text: &str) -> Option<Self> {
        let is_path = |path: &str| {
            let allowed = |byte| is_name(byte) || byte == b'/';
            !path.is_empty() && path.len() <= 576 && path.bytes().all(allowed)
        };
        if !text.starts_with("arn:") {
            return is_path(text).then(|| Self::Name(text.trim_start_matches('/').to_owned()));
        }
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (_, partition, service, region) = (next(), next(), next(), next());
        let (account, resource) = (next(), next());
        let name = resource.strip_prefix("role/")?;
        let known = partition.starts_with("aws") && service == "iam" && region.is_empty();
        (known && is_account(account) && is_path(name)).then(|| Self::Arn {
            arn: text.to_owned(),
            account: account.to_owned(),
        })
    }
}

impl Single for RoleName {
    fn parse(text: &str) -> Result<Self, Expected> {
        Self::read(text).ok_or(ROLE.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::{Inputs, RawInputs};

    fn parse(pairs: &[(&'static str, &str)]) -> Result<Inputs, String> {
        let raw: RawInputs = pairs.iter().copied().collect();
        Inputs::parse(&raw).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_role_is_an_arn_or_a_name() {
        for arn in [
            "arn:aws:iam::123456789012:role/deploy",
            "arn:aws-us-gov:iam::123456789012:role/ci/deploy@x",
        ] {
            let expected = RoleName::Arn {
                arn: arn.to_owned(),
                account: "123456789012".to_owned(),
            };
            assert_eq!(
                parse(&[("role-to-assume", arn)]).unwrap().role_to_assume,
                Some(expected)
            );
        }
        let name = parse(&[("role-to-assume", "ci/deploy")])
            .unwrap()
            .role_to_assume;
        assert_eq!(name, Some(RoleName::Name("ci/deploy".to_owned())));
        for wrong in [
            "arn:aws:iam::123456789012:user/me",
            "arn:aws:iam::1234:role/x",
            "arn:aws:sts::123456789012:assumed-role/x/y",
            "arn:aws:iam::123456789012:role/",
            "deploy role",
        ] {
            let error = parse(&[("role-to-assume", wrong)]).unwrap_err();
            let start = format!("input `role-to-assume`: `{wrong}` given, expected a role's ARN");
            assert!(error.starts_with(&start), "{error}");
        }
    }

    #[test]
    fn limits_are_those_of_sts() {
        let long = "x".repeat(65);
        for (name, wrong, right) in [
            ("role-session-name", "x", "GitHubActions@1"),
            ("role-session-name", "a b", "a_b"),
            ("role-session-name", &long, "ab"),
            ("role-duration-seconds", "899", "900"),
            ("role-duration-seconds", "43201", "43200"),
            ("role-external-id", "ä", "a:b/c"),
            (
                "allowed-account-ids",
                "12345678901",
                "012345678901, 123456789012",
            ),
        ] {
            let error = parse(&[(name, wrong)]).unwrap_err();
            assert!(
                error.starts_with(&format!("input `{name}`: `{wrong}` given")),
                "{error}"
            );
            parse(&[(name, right)]).unwrap();
        }
        let accounts = parse(&[("allowed-account-ids", "012345678901, 123456789012")]).unwrap();
        assert_eq!(
            accounts.allowed_account_ids,
            ["012345678901", "123456789012"]
        );
    }

    #[test]
    fn a_key_of_several_lines_is_refused_without_showing_it() {
        for name in [
            "aws-access-key-id",
            "aws-secret-access-key",
            "aws-session-token",
        ] {
            let error = parse(&[(name, "hunter2\nhunter3")]).unwrap_err();
            let expected = format!("input `{name}`: `…` given, expected one word, without blanks");
            assert!(error.starts_with(&expected), "{error}");
            assert!(!error.contains("hunter"), "{error}");
        }
    }
}
