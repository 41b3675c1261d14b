//! Where AWS credentials come from: the inputs, else the environment. No requests.
//!
//! [`super::Session::share`] writes the settings, with their secrets, to a private file.

use std::path::PathBuf;

use image::{Partition, Registry};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::error::Fallback;
use super::proxy::Proxy;
use super::secret_text;
use crate::inputs::aws::RoleName;
use crate::inputs::{InputError, Inputs};
use crate::runner::env::Env;

/// The defaults of configure-aws-credentials
/// (<https://github.com/aws-actions/configure-aws-credentials/blob/bcd4089/action.yml>).
const SESSION_NAME: &str = "GitHubActions";
const SECONDS: i32 = 3600;
const AUDIENCE: &str = "sts.amazonaws.com";

/// The longest session of a chained role (seconds):
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>.
const MAX_CHAINED: u32 = 3600;

/// How this run gets AWS credentials.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The default region; `None` for the environment's.
    pub region: Option<String>,
    pub source: Source,
    /// A kubeconfig's profile, for the standard chain.
    pub profile: Option<String>,
    /// Account ids of 12 digits; empty allows all.
    pub allowed_accounts: Vec<String>,
    /// Whether GitHub's runner started us: hints depend on it.
    pub on_runner: bool,
    pub proxy: Option<Proxy>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) enum Source {
    /// The AWS SDK's standard chain.
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
    #[serde(with = "secret_text")]
    pub id: SecretString,
    #[serde(with = "secret_text")]
    pub secret: SecretString,
    /// Empty for long-lived keys.
    #[serde(with = "secret_text")]
    pub token: SecretString,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Role {
    /// Its ARN, or its name in the account of the credentials that assume it.
    pub name: String,
    pub session_name: String,
    pub seconds: i32,
    pub external_id: Option<String>,
    pub with: AssumeWith,
    /// Whether GitHub's token was the first choice, but the job may not request one.
    pub lacks_token: bool,
}

impl Role {
    /// The credentials that assume the role; `None` for an OpenID Connect token.
    pub(super) fn source(&self) -> Option<&Source> {
        match &self.with {
            AssumeWith::Credentials(source) => Some(source),
            AssumeWith::GitHub { .. } | AssumeWith::TokenFile(_) => None,
        }
    }

    /// Why the role is assumed without an OpenID Connect token, if it is.
    pub(super) fn fallback(&self) -> Option<Fallback> {
        self.source().map(|_| match self.lacks_token {
            true => Fallback::NoToken,
            false => Fallback::Chosen,
        })
    }
}

/// What a role is assumed with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum AssumeWith {
    /// GitHub's OpenID Connect token, requested each time: it lasts minutes.
    GitHub {
        /// The runner's `ACTIONS_ID_TOKEN_REQUEST_URL`.
        url: String,
        /// The runner's `ACTIONS_ID_TOKEN_REQUEST_TOKEN`, valid for the whole job.
        #[serde(with = "secret_text")]
        token: SecretString,
        audience: String,
    },
    /// A file with an OpenID Connect token, which another program renews.
    TokenFile(PathBuf),
    /// Other credentials.
    Credentials(Source),
}

impl Settings {
    /// Chooses the source of credentials.
    /// Fails with an error for each input that is incomplete or contradicts another.
    pub(crate) fn choose(inputs: &Inputs, env: &Env) -> Result<Self, Vec<InputError>> {
        let mut errors = Vec::new();
        let keys = keys(inputs, &mut errors);
        if inputs.role_to_assume.is_none() {
            let seconds = inputs
                .role_duration_seconds
                .map(|seconds| seconds.get().to_string());
            let file = inputs.web_identity_token_file.as_ref();
            let of_role = [
                ("role-session-name", inputs.role_session_name.clone()),
                ("role-duration-seconds", seconds),
                ("role-external-id", inputs.role_external_id.clone()),
                ("audience", inputs.audience.clone()),
                (
                    "role-chaining",
                    inputs.role_chaining.then(|| "true".to_owned()),
                ),
                (
                    "web-identity-token-file",
                    file.map(|path| path.display().to_string()),
                ),
            ];
            let given = of_role.into_iter();
            let given = given.filter_map(|(name, text)| Some((name, text?)));
            let expected = "`role-to-assume` to be set as well";
            errors.extend(given.map(|(name, text)| InputError::new(name, text, expected)));
        }
        if let (Some(profile), Some(_)) = (&inputs.aws_profile, &keys) {
            let expected = "either a profile or `aws-access-key-id`, not both";
            errors.push(InputError::new("aws-profile", profile, expected));
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
            proxy: Proxy::from_env(env),
            allowed_accounts: inputs.allowed_account_ids.clone(),
            on_runner: env.is_true("GITHUB_ACTIONS"),
        })
    }

    /// Settings for a registry with keys of its own.
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

    /// Settings without inputs, for a subcommand outside a run.
    pub(crate) fn of_environment(env: &Env) -> Self {
        Self {
            source: of_environment(env).map_or(Source::Chain, Source::Keys),
            on_runner: env.is_true("GITHUB_ACTIONS"),
            proxy: Proxy::from_env(env),
            ..Self::default()
        }
    }
}

/// The keys in the inputs: id and secret together, or neither.
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
                "a key, since `{other}` is set; an expression such as `secrets.NAME` is empty in a \
                 pull request from a fork"
            );
            errors.push(InputError::new(name, "", expected));
            None
        }
    }
}

/// Keys in the standard variables, which configure-aws-credentials sets.
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
    let with = match (&inputs.web_identity_token_file, request) {
        (Some(path), _) => AssumeWith::TokenFile(path.clone()),
        (None, Some((url, token))) if !chosen => AssumeWith::GitHub {
            url: url.to_owned(),
            token: token.into(),
            audience: inputs.audience.clone().unwrap_or(AUDIENCE.to_owned()),
        },
        _ => AssumeWith::Credentials(plain),
    };
    if let (true, Some(path)) = (chosen, &inputs.web_identity_token_file) {
        errors.push(InputError::new(
            "web-identity-token-file",
            path.display().to_string(),
            "one way to assume the role: this file, keys, a profile or `role-chaining`",
        ));
    }
    if let (true, Some(seconds)) = (inputs.role_chaining, inputs.role_duration_seconds)
        && seconds.get() > MAX_CHAINED
    {
        errors.push(InputError::new(
            "role-duration-seconds",
            seconds.get().to_string(),
            "at most 3600 with `role-chaining`, which is AWS's limit",
        ));
    }
    let account = match (role, &with) {
        (RoleName::Arn { account, .. }, _) => Some(account.clone()),
        // The account is that of the credentials, which are not known yet.
        (RoleName::Name(_), AssumeWith::Credentials(_)) => None,
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
            let partition = Partition::of_region(region).name;
            format!("arn:{partition}:iam::{account}:role/{name}")
        }
        (RoleName::Name(name), None) => {
            if !matches!(with, AssumeWith::Credentials(_)) {
                errors.push(InputError::new(
                    "role-to-assume",
                    name,
                    "the role's ARN, or its account in `allowed-account-ids`: an OpenID Connect \
                     token has no account",
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
        with,
        lacks_token,
    }
}

/// The account in the inputs: the only allowed one, else that of the ECR hosts.
fn known_account(inputs: &Inputs) -> Option<String> {
    if let [account] = inputs.allowed_account_ids.as_slice() {
        return Some(account.clone());
    }
    let hosts = inputs
        .registry
        .as_deref()
        .into_iter()
        .chain(inputs.tags.references().map(|image| image.host.as_str()));
    let mut accounts: Vec<String> = hosts
        .filter_map(|host| match Registry::from_host(host) {
            Registry::Ecr(registry) => Some(registry.account),
            _ => None,
        })
        .collect();
    accounts.dedup();
    accounts.pop().filter(|_| accounts.is_empty())
}

#[cfg(test)]
mod tests;
