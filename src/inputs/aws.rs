//! How to get at AWS: the inputs of aws-actions/configure-aws-credentials, under its names.
//!
//! In: their texts. Out: an [`Aws`], or what is wrong with each. Limits are those of
//! [AssumeRole](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html) and
//! [AssumeRoleWithWebIdentity](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html).

use std::path::PathBuf;

use image::Registry;
use secrecy::SecretString;

use super::Given;
use super::grammar::Rule;
use super::reader::Reader;

/// What the inputs say about AWS credentials; nothing of it has to be given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aws {
    pub role: Option<RoleName>,
    pub session_name: Option<String>,
    /// How long a session lasts (seconds).
    pub seconds: Option<i64>,
    pub external_id: Option<String>,
    pub audience: Option<String>,
    /// Accounts, 12 digits each; empty where any will do.
    pub allowed_accounts: Vec<String>,
    /// Whether the credentials that are there assume the role.
    pub chaining: bool,
    pub token_file: Option<PathBuf>,
    pub profile: Option<String>,
    pub access_key_id: Option<SecretString>,
    pub secret_access_key: Option<SecretString>,
    pub session_token: Option<SecretString>,
}

/// A role: by its ARN, or by its name in an account that has to be known otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoleName {
    Arn { arn: String, account: String },
    Name(String),
}

const ROLE: &str =
    "a role's ARN, as `arn:aws:iam::123456789012:role/deploy`, or its name, as `deploy`";

const SESSION_NAME: Rule = Rule {
    holds: |text| (2..=64).contains(&text.len()) && text.bytes().all(is_name),
    expected: "2 to 64 letters, digits and `_+=,.@-`",
};

const EXTERNAL_ID: Rule = Rule {
    holds: |text| {
        let allowed = |byte| is_name(byte) || matches!(byte, b':' | b'/');
        (2..=1224).contains(&text.len()) && text.bytes().all(allowed)
    },
    expected: "2 to 1224 letters, digits and `_+=,.@:/-`",
};

const ACCOUNT: Rule = Rule {
    holds: is_account,
    expected: "account ids of 12 digits each, in quotes where one begins with 0",
};

pub(super) const REGISTRY: Rule = Rule {
    holds: |text| is_account(text) || !matches!(Registry::from_host(text), Registry::Other { .. }),
    expected: "an account's id of 12 digits, in quotes where it begins with 0, or a host of Amazon ECR, as \
               `123456789012.dkr.ecr.eu-west-1.amazonaws.com` or `public.ecr.aws`; for others there is \
               `registry-auth`",
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
    fn parse(text: &str) -> Option<Self> {
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

impl Aws {
    pub(super) fn read(reader: &mut Reader<'_>, given: &Given) -> Self {
        let mut secret = |name| {
            let text = given.text(name)?;
            if text.contains(char::is_whitespace) {
                reader.wrong(name, "…", "one word, without blanks and line breaks");
                return None;
            }
            Some(SecretString::from(text))
        };
        let access_key_id = secret("aws-access-key-id");
        let secret_access_key = secret("aws-secret-access-key");
        let session_token = secret("aws-session-token");
        let role = reader.text("role-to-assume").and_then(|text| {
            let role = RoleName::parse(&text);
            if role.is_none() {
                reader.wrong("role-to-assume", &text, ROLE);
            }
            role
        });
        Self {
            role,
            session_name: reader.item("role-session-name", SESSION_NAME),
            seconds: reader.integer("role-duration-seconds"),
            external_id: reader.item("role-external-id", EXTERNAL_ID),
            audience: reader.text("audience"),
            allowed_accounts: reader.items("allowed-account-ids", ACCOUNT),
            chaining: reader.boolean("role-chaining").unwrap_or(false),
            token_file: reader.text("web-identity-token-file").map(PathBuf::from),
            profile: reader.text("aws-profile"),
            access_key_id,
            secret_access_key,
            session_token,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;

    fn parse(pairs: &[(&'static str, &str)]) -> Result<Aws, String> {
        let mut given = Given::default();
        for (name, text) in pairs {
            given.set(name, (*text).to_owned());
        }
        match Inputs::parse(&given) {
            Ok(inputs) => Ok(inputs.aws),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
        }
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
                parse(&[("role-to-assume", arn)]).unwrap().role,
                Some(expected)
            );
        }
        let name = parse(&[("role-to-assume", "ci/deploy")]).unwrap().role;
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
        assert_eq!(accounts.allowed_accounts, ["012345678901", "123456789012"]);
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
