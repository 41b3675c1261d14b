//! Access to AWS for one run: one answer to the question whose credentials are used.
//!
//! In: [`Settings`]. Out: SDK configurations for a region or a registry, with credentials that are good
//! for five minutes at least. A role is assumed once and its session shared: within this process, and
//! through a private file with the processes that buildx starts (our credential helper, `eks-token`),
//! which renew it when it ends in the middle of a build.

pub(crate) mod ecr;
pub(crate) mod eks;
pub(crate) mod error;
mod github;
mod kept;
mod role;
pub(crate) mod settings;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use image::EcrRegistry;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use crate::runner::env::Env;
use crate::runner::private::{PrivateError, create_private_folder, write_private};
pub(crate) use error::SessionError;
use role::Assumed;
pub(crate) use settings::Settings;
use settings::{Keys, Proof, Source};

/// Names the folder of tokens to our own processes that buildx starts.
pub(crate) const TOKENS_VARIABLE: &str = "FAST_ECR_PUSH_TOKENS";

/// Hides a text before anything can print it.
pub(crate) type Mask = Arc<dyn Fn(&str) + Send + Sync>;

/// How long one request to AWS may take. The SDK by itself waits for ever.
const ATTEMPT: Duration = Duration::from_secs(8);

/// How long to try in all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Credentials are not used in their last minutes: what begins with them must be able to end.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// Names the SDK's users see in CloudTrail beside our credentials.
const PROVIDER: &str = "fast-ecr-push";

/// A way to AWS credentials, and those it has led to.
pub(crate) struct Session {
    settings: Settings,
    mask: Mask,
    /// Where the run's processes share a role's session.
    folder: Option<PathBuf>,
    loaded: Mutex<Option<Loaded>>,
}

/// Credentials in use, within a configuration without a region of its own.
#[derive(Debug, Clone)]
struct Loaded {
    config: SdkConfig,
    keys: Keys,
    /// None for those that do not end.
    expires: Option<Timestamp>,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, .. } = self;
        formatter.debug_tuple("Session").field(settings).finish()
    }
}

impl Session {
    /// Nothing is asked of AWS before it is needed.
    pub(crate) fn new(settings: Settings, mask: Mask) -> Self {
        Self {
            settings,
            mask,
            folder: None,
            loaded: Mutex::default(),
        }
    }

    /// The session of the run that started this process, for a registry that has its own or for all;
    /// else one of the environment.
    ///
    /// # Errors
    /// When the run left settings that can't be read.
    pub(crate) fn of_run(env: &Env, host: Option<&str>) -> Result<Self, SessionError> {
        let Some(folder) = env.path(TOKENS_VARIABLE) else {
            return Ok(Self::new(Settings::of_environment(env), Arc::new(|_| {})));
        };
        let read = |host| {
            let path = folder.join(kept::settings_file(host));
            kept::settings(&path).map_err(SessionError::Settings)
        };
        let own = match host {
            Some(host) => read(Some(host))?,
            None => None,
        };
        if let Some(settings) = own {
            return Ok(Self::new(settings, Arc::new(|_| {})));
        }
        let settings = read(None)?.unwrap_or_else(|| Settings::of_environment(env));
        let mut session = Self::new(settings, Arc::new(|_| {}));
        session.folder = Some(folder.to_owned());
        Ok(session)
    }

    /// Leaves the settings to the processes of this run, in a folder that nobody else may read.
    ///
    /// # Errors
    /// When they can't be written.
    pub(crate) fn hand_over(mut self, folder: &Path) -> Result<Self, PrivateError> {
        create_private_folder(folder)?;
        self.write(folder, None)?;
        self.folder = Some(folder.to_owned());
        Ok(self)
    }

    /// Leaves the settings to the processes of this run, for one registry.
    ///
    /// # Errors
    /// When they can't be written.
    pub(crate) fn hand_over_for(&self, host: &str, folder: &Path) -> Result<(), PrivateError> {
        self.write(folder, Some(host))
    }

    fn write(&self, folder: &Path, host: Option<&str>) -> Result<(), PrivateError> {
        let text = kept::settings_text(&self.settings);
        write_private(&folder.join(kept::settings_file(host)), text.as_bytes())
    }

    /// The region of inputs, environment or configuration files.
    pub(crate) async fn region(&self) -> Option<String> {
        let config = self.configured(None, None).await;
        config.region().map(ToString::to_string)
    }

    /// With a profile where the standard chain would look for one: a kubeconfig's.
    pub(crate) fn with_profile(mut self, profile: Option<&str>) -> Self {
        if let (Source::Chain, Some(profile)) = (&self.settings.source, profile) {
            self.settings.profile = Some(profile.to_owned());
        }
        self
    }

    /// A configuration for a region, or for the one of the inputs or the environment.
    ///
    /// # Errors
    /// When no credentials can be had, or they are another account's than allowed.
    pub(crate) async fn config(&self, region: Option<&str>) -> Result<SdkConfig, SessionError> {
        let loaded = self.loaded(region).await?;
        let region = region.map(|region| Region::new(region.to_owned()));
        let region = region.or(loaded.config.region().cloned());
        Ok(loaded.config.into_builder().region(region).build())
    }

    /// A configuration for requests about a registry: its region, and endpoints of its kind.
    ///
    /// # Errors
    /// As [`Self::config`].
    pub(crate) async fn config_for(
        &self,
        registry: &EcrRegistry,
    ) -> Result<SdkConfig, SessionError> {
        let mut builder = self.config(Some(&registry.region)).await?.into_builder();
        if registry.fips {
            builder.set_use_fips(Some(true));
        }
        if registry.dual_stack {
            builder.set_use_dual_stack(Some(true));
        }
        Ok(builder.build())
    }

    /// Credentials as variables for a child: of those that inputs or variables give. What the
    /// standard chain finds, a child finds by itself.
    ///
    /// # Errors
    /// As [`Self::config`].
    pub(crate) async fn variables(
        &self,
    ) -> Result<Vec<(&'static str, SecretString)>, SessionError> {
        if let Source::Chain = self.settings.source {
            return Ok(Vec::new());
        }
        let keys = self.loaded(None).await?.keys;
        Ok(vec![
            ("AWS_ACCESS_KEY_ID", keys.id),
            ("AWS_SECRET_ACCESS_KEY", keys.secret),
            ("AWS_SESSION_TOKEN", keys.token),
        ])
    }

    async fn loaded(&self, region: Option<&str>) -> Result<Loaded, SessionError> {
        // Whoever comes second waits for the first one's answer.
        let mut loaded = self.loaded.lock().await;
        if let Some(loaded) = loaded.as_ref().filter(|loaded| is_good(loaded.expires)) {
            return Ok(loaded.clone());
        }
        let fresh = Box::pin(self.load(region)).await?;
        *loaded = Some(fresh.clone());
        Ok(fresh)
    }

    async fn load(&self, region: Option<&str>) -> Result<Loaded, SessionError> {
        let Settings {
            source,
            allowed_accounts,
            on_runner,
            ..
        } = &self.settings;
        let (plain, role) = match source {
            Source::Role(role) => match &role.proof {
                Proof::Credentials(plain) => (Some(plain), Some(role)),
                Proof::GitHub { .. } | Proof::File(_) => (None, Some(role)),
            },
            plain => (Some(plain), None),
        };
        let instead = role.and_then(|role| role.instead());
        let mut config = self.configured(plain, region).await;
        let mut account = None;
        let mut own = None;
        let kept = role
            .and(self.folder.as_deref())
            .and_then(kept::credentials)
            .filter(|kept| is_good(Some(kept.expires)));
        if let (None, Some(provider)) = (&kept, plain.and(config.credentials_provider())) {
            let credentials = provider
                .provide_credentials()
                .await
                .map_err(|error| SessionError::of_chain(&error, *on_runner, instead))?;
            account = credentials.account_id().map(|id| id.as_str().to_owned());
            let keys = Keys::of(&credentials);
            let expires = credentials
                .expiry()
                .and_then(|time| Timestamp::try_from(time).ok());
            self.hide(&keys);
            config = with_keys(config, &keys, expires);
            own = Some((keys, expires));
        }
        if let Some(role) = role {
            if config.region().is_none() {
                return Err(SessionError::NoRegion);
            }
            let assumed = match kept {
                Some(kept) => kept,
                None => self.assumed(role::assume(role, &config, &self.mask).await?),
            };
            account = assumed.arn.split(':').nth(4).map(str::to_owned);
            config = with_keys(config, &assumed.keys, Some(assumed.expires));
            own = Some((assumed.keys, Some(assumed.expires)));
        }
        let (keys, expires) = own.ok_or(SessionError::Nothing {
            on_runner: *on_runner,
            role: instead,
        })?;
        if !allowed_accounts.is_empty() {
            let account = match account {
                Some(account) => account,
                None if config.region().is_none() => return Err(SessionError::NoRegion),
                None => role::caller(&config).await?.1,
            };
            if !allowed_accounts.contains(&account) {
                return Err(SessionError::Account {
                    account,
                    allowed: allowed_accounts.clone(),
                });
            }
        }
        Ok(Loaded {
            config,
            keys,
            expires,
        })
    }

    async fn configured(&self, plain: Option<&Source>, region: Option<&str>) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(PATIENCE)
            .build();
        let mut loader = aws_config::from_env().timeout_config(timeouts);
        loader = match plain {
            None => loader.no_credentials(),
            Some(Source::Keys(keys)) => loader.credentials_provider(keys.credentials(None)),
            Some(Source::Profile(name)) => loader.profile_name(name).credentials_provider(
                ProfileFileCredentialsProvider::builder()
                    .profile_name(name)
                    .build(),
            ),
            Some(_) => match &self.settings.profile {
                Some(name) => loader.profile_name(name),
                None => loader,
            },
        };
        if let Some(region) = &self.settings.region {
            return loader.region(Region::new(region.clone())).load().await;
        }
        let config = loader.load().await;
        match (config.region(), region) {
            (None, Some(region)) => config
                .into_builder()
                .region(Region::new(region.to_owned()))
                .build(),
            _ => config,
        }
    }

    fn hide(&self, keys: &Keys) {
        for secret in [&keys.id, &keys.secret, &keys.token] {
            (self.mask)(secret.expose_secret());
        }
    }

    /// Hides a role's new keys, and keeps them for the run's other processes.
    fn assumed(&self, assumed: Assumed) -> Assumed {
        self.hide(&assumed.keys);
        tracing::info!("AWS: {}, until {:.0}", assumed.arn, assumed.expires);
        if let Some(folder) = &self.folder {
            let text = kept::credentials_text(&assumed);
            // Without them the next process assumes the role by itself.
            let _ = write_private(&folder.join(kept::CREDENTIALS), text.as_bytes());
        }
        assumed
    }
}

fn is_good(expires: Option<Timestamp>) -> bool {
    expires.is_none_or(|expires| expires.duration_since(Timestamp::now()) > MARGIN)
}

fn with_keys(config: SdkConfig, keys: &Keys, expires: Option<Timestamp>) -> SdkConfig {
    let provider = SharedCredentialsProvider::new(keys.credentials(expires));
    config.into_builder().credentials_provider(provider).build()
}

impl Keys {
    fn of(credentials: &Credentials) -> Self {
        Self {
            id: credentials.access_key_id().into(),
            secret: credentials.secret_access_key().into(),
            token: credentials.session_token().unwrap_or_default().into(),
        }
    }

    fn credentials(&self, expires: Option<Timestamp>) -> Credentials {
        let token = Some(self.token.expose_secret().to_owned()).filter(|token| !token.is_empty());
        Credentials::new(
            self.id.expose_secret(),
            self.secret.expose_secret(),
            token,
            expires.and_then(|expires| expires.try_into().ok()),
            PROVIDER,
        )
    }
}
