//! Where AWS credentials come from: what the inputs say, else what the environment offers.
//!
//! In: inputs and environment. Out: [`Settings`], or inputs that speak against each other. Nothing is
//! asked of anybody here. They can be written to a private file, with all that is secret in them, for
//! the processes that buildx starts: see [`super::Session::hand_over`].

use std::path::PathBuf;

use image::{Partition, Registry};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::Instead;
use crate::inputs::aws::RoleName;
use crate::inputs::{InputError, Inputs};
use crate::runner::env::Env;

/// configure-aws-credentials' defaults
/// (<https://github.com/aws-actions/configure-aws-credentials/blob/bcd4089/action.yml>).
const SESSION_NAME: &str = "GitHubActions";
const SECONDS: i32 = 3600;
const AUDIENCE: &str = "sts.amazonaws.com";

/// The longest session of a role that another role's session assumes (seconds):
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>.
const LONGEST_CHAINED: u32 = 3600;

/// How this run gets AWS credentials.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The region of requests that name none by themselves; none for the environment's.
    pub region: Option<String>,
    pub source: Source,
    /// A profile for the standard chain, which a kubeconfig names.
    pub profile: Option<String>,
    /// Accounts, 12 digits each; empty where any will do.
    pub allowed_accounts: Vec<String>,
    /// Whether GitHub's runner started us, so that its remedies are the ones to name.
    pub on_runner: bool,
}

/// Whose credentials are used.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) enum Source {
    /// What the AWS SDKs find by themselves.
    #[default]
    Chain,
    /// A profile of the configuration files.
    Profile(String),
    Keys(Keys),
    Role(Box<Role>),
}

/// Long-lived or temporary keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Keys {
    #[serde(serialize_with = "exposed", deserialize_with = "hidden")]
    pub id: SecretString,
    #[serde(serialize_with = "exposed", deserialize_with = "hidden")]
    pub secret: SecretString,
    #[serde(serialize_with = "exposed", deserialize_with = "hidden")]
    /// Empty for long-lived keys.
    pub token: SecretString,
}

/// A role to assume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Role {
    /// Its ARN; or its name alone, in the account of the credentials that assume it.
    pub name: String,
    pub session_name: String,
    pub seconds: i32,
    pub external_id: Option<String>,
    pub proof: Proof,
    /// Whether it would be assumed with GitHub's token, if the job got one.
    pub lacks_token: bool,
}

impl Role {
    /// Why it is assumed with other credentials than a token, if it is.
    pub(super) fn instead(&self) -> Option<Instead> {
        match self.proof {
            Proof::GitHub { .. } | Proof::File(_) => None,
            Proof::Credentials(_) if self.lacks_token => Some(Instead::NoToken),
            Proof::Credentials(_) => Some(Instead::Chosen),
        }
    }
}

/// What a role is assumed with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Proof {
    /// A token for OpenID Connect, asked of GitHub each time: it is good for minutes.
    GitHub {
        /// The runner's `ACTIONS_ID_TOKEN_REQUEST_URL`.
        url: String,
        /// The runner's `ACTIONS_ID_TOKEN_REQUEST_TOKEN`, good as long as the job.
        #[serde(serialize_with = "exposed", deserialize_with = "hidden")]
        token: SecretString,
        audience: String,
    },
    /// A token for OpenID Connect in a file, which somebody renews.
    File(PathBuf),
    /// Other credentials.
    Credentials(Source),
}

pub(super) fn exposed<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose_secret())
}

pub(super) fn hidden<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(SecretString::from)
}

impl Settings {
    /// Settles where credentials come from.
    ///
    /// # Errors
    /// All inputs that lack something or speak against another.
    pub(crate) fn choose(inputs: &Inputs, env: &Env) -> Result<Self, Vec<InputError>> {
        let mut errors = Vec::new();
        let keys = keys(inputs, &mut errors);
        if inputs.role_to_assume.is_none() {
            for (name, text) in [
                ("role-session-name", inputs.role_session_name.clone()),
                (
                    "role-duration-seconds",
                    inputs
                        .role_duration_seconds
                        .map(|seconds| seconds.get().to_string()),
                ),
                ("role-external-id", inputs.role_external_id.clone()),
                ("audience", inputs.audience.clone()),
                (
                    "role-chaining",
                    inputs.role_chaining.then(|| "true".to_owned()),
                ),
                (
                    "web-identity-token-file",
                    inputs
                        .web_identity_token_file
                        .as_ref()
                        .map(|path| path.display().to_string()),
                ),
            ] {
                if let Some(text) = text {
                    errors.push(InputError::new(name, text, "`role-to-assume` beside it"));
                }
            }
        }
        if inputs.aws_profile.is_some() && keys.is_some() {
            let profile = inputs.aws_profile.as_deref().unwrap_or_default();
            errors.push(InputError::new(
                "aws-profile",
                profile,
                "either a profile or `aws-access-key-id`, not both",
            ));
        }
        let plain = match (keys, &inputs.aws_profile) {
            (Some(keys), _) => Source::Keys(keys),
            (None, Some(profile)) => Source::Profile(profile.clone()),
            (None, None) => of_environment(env).map_or(Source::Chain, Source::Keys),
        };
        let source = match &inputs.role_to_assume {
            Some(role) => Source::Role(Box::new(assumed(role, plain, inputs, env, &mut errors))),
            None => plain,
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            region: inputs.aws_region.clone(),
            source,
            profile: None,
            allowed_accounts: inputs.allowed_account_ids.clone(),
            on_runner: env.is_true("GITHUB_ACTIONS"),
        })
    }

    /// The settings of a login with keys of its own.
    pub(crate) fn of_keys(id: &str, secret: &SecretString) -> Self {
        Self {
            source: Source::Keys(Keys {
                id: id.into(),
                secret: secret.clone(),
                token: SecretString::default(),
            }),
            ..Self::default()
        }
    }

    /// The settings of one that has no inputs: our subcommands, called by themselves.
    pub(crate) fn of_environment(env: &Env) -> Self {
        Self {
            source: of_environment(env).map_or(Source::Chain, Source::Keys),
            on_runner: env.is_true("GITHUB_ACTIONS"),
            ..Self::default()
        }
    }
}

/// The keys that inputs give: id and secret together, or neither.
fn keys(inputs: &Inputs, errors: &mut Vec<InputError>) -> Option<Keys> {
    match (&inputs.aws_access_key_id, &inputs.aws_secret_access_key) {
        (Some(id), Some(secret)) => Some(Keys {
            id: id.clone(),
            secret: secret.clone(),
            token: inputs.aws_session_token.clone().unwrap_or_default(),
        }),
        (None, None) if inputs.aws_session_token.is_none() => None,
        (id, _) => {
            let (name, other) = match id {
                Some(_) => ("aws-secret-access-key", "aws-access-key-id"),
                None if inputs.aws_secret_access_key.is_some() => {
                    ("aws-access-key-id", "aws-secret-access-key")
                }
                None => ("aws-access-key-id", "aws-session-token"),
            };
            let expected = format!(
                "a key beside `{other}`; an expression that is empty here gives none, as \
                 `secrets.NAME` in a run of a fork's pull request"
            );
            errors.push(InputError::new(name, "", expected));
            None
        }
    }
}

/// Keys in the standard variables, as a preceding configure-aws-credentials leaves them.
fn of_environment(env: &Env) -> Option<Keys> {
    Some(Keys {
        id: env.get("AWS_ACCESS_KEY_ID")?.into(),
        secret: env.get("AWS_SECRET_ACCESS_KEY")?.into(),
        token: env.get("AWS_SESSION_TOKEN").unwrap_or_default().into(),
    })
}

fn assumed(
    role: &RoleName,
    plain: Source,
    inputs: &Inputs,
    env: &Env,
    errors: &mut Vec<InputError>,
) -> Role {
    let request = env
        .get("ACTIONS_ID_TOKEN_REQUEST_URL")
        .zip(env.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"));
    let chosen =
        inputs.role_chaining || inputs.aws_access_key_id.is_some() || inputs.aws_profile.is_some();
    let lacks_token = env.is_true("GITHUB_ACTIONS")
        && !chosen
        && inputs.web_identity_token_file.is_none()
        && request.is_none();
    let proof = match (&inputs.web_identity_token_file, request) {
        (Some(path), _) => Proof::File(path.clone()),
        (None, Some((url, token))) if !chosen => Proof::GitHub {
            url: url.to_owned(),
            token: token.into(),
            audience: inputs.audience.clone().unwrap_or(AUDIENCE.to_owned()),
        },
        _ => Proof::Credentials(plain),
    };
    if let (true, Some(path)) = (chosen, &inputs.web_identity_token_file) {
        errors.push(InputError::new(
            "web-identity-token-file",
            path.display().to_string(),
            "one way to assume the role: this file, keys, a profile, or `role-chaining`",
        ));
    }
    if let (true, Some(seconds)) = (inputs.role_chaining, inputs.role_duration_seconds)
        && seconds.get() > LONGEST_CHAINED
    {
        errors.push(InputError::new(
            "role-duration-seconds",
            seconds.get().to_string(),
            "at most 3600 beside `role-chaining`, as AWS takes it",
        ));
    }
    let account = match (role, &proof) {
        (RoleName::Arn { account, .. }, _) => Some(account.clone()),
        // Whoever assumes it knows: it is the account of those credentials, whosever the registry is.
        (RoleName::Name(_), Proof::Credentials(_)) => None,
        (RoleName::Name(_), _) => known_account(inputs),
    };
    if let Some(account) = &account
        && !inputs.allowed_account_ids.is_empty()
        && !inputs.allowed_account_ids.contains(account)
    {
        errors.push(InputError::new(
            "role-to-assume",
            match role {
                RoleName::Arn { arn, .. } => arn,
                RoleName::Name(name) => name,
            },
            format!(
                "a role in one of `allowed-account-ids` ({}), not in {account}",
                inputs.allowed_account_ids.join(", ")
            ),
        ));
    }
    let name = match (role, account) {
        (RoleName::Arn { arn, .. }, _) => arn.clone(),
        (RoleName::Name(name), Some(account)) => {
            let region = inputs.aws_region.as_deref().unwrap_or_default();
            let partition = Partition::of_region(region).name();
            format!("arn:{partition}:iam::{account}:role/{name}")
        }
        (RoleName::Name(name), None) => {
            if !matches!(proof, Proof::Credentials(_)) {
                errors.push(InputError::new(
                    "role-to-assume",
                    name,
                    "the role's ARN: of which account a role is, a token for OpenID Connect does \
                     not tell (one id in `allowed-account-ids` would)",
                ));
            }
            name.clone()
        }
    };
    Role {
        name,
        session_name: inputs
            .role_session_name
            .clone()
            .unwrap_or(SESSION_NAME.to_owned()),
        seconds: inputs
            .role_duration_seconds
            .and_then(|seconds| i32::try_from(seconds.get()).ok())
            .unwrap_or(SECONDS),
        external_id: inputs.role_external_id.clone(),
        proof,
        lacks_token,
    }
}

/// The one account that inputs name: the only allowed one, else that of the ECR hosts.
fn known_account(inputs: &Inputs) -> Option<String> {
    if let [account] = inputs.allowed_account_ids.as_slice() {
        return Some(account.clone());
    }
    let hosts = inputs.registry.as_deref().into_iter().chain(
        inputs
            .tags
            .references()
            .iter()
            .map(|image| image.host.as_str()),
    );
    let mut accounts: Vec<String> = hosts
        .filter_map(|host| match Registry::from_host(host) {
            Registry::Ecr(registry) => Some(registry.account),
            _ => None,
        })
        .collect();
    accounts.dedup();
    match accounts.as_mut_slice() {
        [account] => Some(std::mem::take(account)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
