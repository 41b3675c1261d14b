//! AWS credentials for one run.
//!
//! A role is assumed once. This process and the processes that buildx starts (our credential helper,
//! `eks-token`) share its session through a private file, and renew it when it expires during a build.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use image::EcrRegistry;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::error::SessionError;
use super::proxy::Proxy;
use super::role::{self, Assumed};
use super::run_files::{self, TOKENS_VARIABLE};
use super::settings::{Keys, Role, Settings, Source};
use crate::runner::env::Env;
use crate::runner::private::{PrivateError, create_private_folder};

/// Masks a text in the log.
pub(crate) type Mask = Arc<dyn Fn(&str) + Send + Sync>;

/// Time limit of one request to AWS; the SDK has none.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);

/// Time limit of a request with its retries.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

/// Credentials are renewed this long before they expire, so that requests in flight can finish.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// The SDK's name for the source of our credentials.
const PROVIDER: &str = "fast-ecr-push";

/// AWS credentials, loaded on first use.
pub(crate) struct Session {
    settings: Settings,
    mask: Mask,
    /// The folder in which the run's processes share a role's session.
    folder: Option<PathBuf>,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Debug, Clone)]
struct Loaded {
    config: SdkConfig,
    keys: Keys,
    /// `None` for keys that do not expire.
    expires: Option<Timestamp>,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, .. } = self;
        formatter.debug_tuple("Session").field(settings).finish()
    }
}

impl Session {
    pub(crate) fn new(settings: Settings, mask: Mask) -> Self {
        Self {
            settings,
            mask,
            folder: None,
            loaded: Mutex::default(),
        }
    }

    /// The session of the run that started this process: a registry's own, else the run's. Outside a
    /// run, a session from the environment.
    pub(crate) fn of_run(env: &Env, host: Option<&str>) -> Result<Self, SessionError> {
        let new = |settings| Self::new(settings, Arc::new(|_| {}));
        let Some(folder) = env.path(TOKENS_VARIABLE) else {
            return Ok(new(Settings::of_environment(env)));
        };
        let read = |host| run_files::read_settings(folder, host).map_err(SessionError::Settings);
        if host.is_some()
            && let Some(settings) = read(host)?
        {
            return Ok(new(settings));
        }
        let settings = read(None)?.unwrap_or_else(|| Settings::of_environment(env));
        let mut session = new(settings);
        session.folder = Some(folder.to_owned());
        Ok(session)
    }

    /// Shares the session with the processes of this run, through a private folder.
    pub(crate) fn share(mut self, folder: &Path) -> Result<Self, PrivateError> {
        create_private_folder(folder)?;
        run_files::write_settings(folder, None, &self.settings)?;
        self.folder = Some(folder.to_owned());
        Ok(self)
    }

    /// Shares the settings with the processes of this run, for one registry.
    pub(crate) fn share_for(&self, host: &str, folder: &Path) -> Result<(), PrivateError> {
        run_files::write_settings(folder, Some(host), &self.settings)
    }

    /// The region of the inputs, the environment or the configuration files.
    pub(crate) async fn region(&self) -> Option<String> {
        let config = self.base_config(None, None).await;
        config.region().map(ToString::to_string)
    }

    /// Adds a kubeconfig's profile to the standard chain. Other credentials take precedence.
    pub(crate) fn with_profile(mut self, profile: Option<&str>) -> Self {
        if let (Source::Chain, Some(profile)) = (&self.settings.source, profile) {
            self.settings.profile = Some(profile.to_owned());
        }
        self
    }

    /// A configuration for a region, or for the default one.
    /// Fails without credentials, or with those of an account that is not allowed.
    pub(crate) async fn config(&self, region: Option<&str>) -> Result<SdkConfig, SessionError> {
        let loaded = self.loaded(region).await?;
        let region = region.map(|region| Region::new(region.to_owned()));
        let region = region.or(loaded.config.region().cloned());
        Ok(loaded.config.into_builder().region(region).build())
    }

    /// A configuration for a registry: its region and kind of endpoint.
    pub(crate) async fn config_for(
        &self,
        registry: &EcrRegistry,
    ) -> Result<SdkConfig, SessionError> {
        let mut builder = self.config(Some(&registry.region)).await?.into_builder();
        builder.set_use_fips(registry.fips.then_some(true));
        builder.set_use_dual_stack(registry.dual_stack.then_some(true));
        Ok(builder.build())
    }

    /// The credentials as variables for a child process. Empty for those of the standard chain, which
    /// the child finds by itself.
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
        // Concurrent callers wait for one answer.
        let mut loaded = self.loaded.lock().await;
        if let Some(loaded) = loaded.as_ref().filter(|loaded| is_fresh(loaded.expires)) {
            return Ok(loaded.clone());
        }
        let fresh = Box::pin(self.load(region)).await?;
        *loaded = Some(fresh.clone());
        Ok(fresh)
    }

    async fn load(&self, region: Option<&str>) -> Result<Loaded, SessionError> {
        let settings = &self.settings;
        let on_runner = settings.on_runner;
        let (source, role) = match &settings.source {
            Source::Role(role) => (role.source(), Some(role)),
            source => (Some(source), None),
        };
        let fallback = role.and_then(|role| role.fallback());
        let mut config = self.base_config(source, region).await;
        let mut account = None;
        let mut found = None;
        let shared = role
            .and(self.folder.as_deref())
            .and_then(run_files::read_session)
            .filter(|shared| is_fresh(Some(shared.expires)));
        if let (None, Some(provider)) = (&shared, source.and(config.credentials_provider())) {
            let credentials = provider.provide_credentials().await.map_err(|error| {
                let error = SessionError::of_chain(&error, on_runner, fallback);
                match (source, error) {
                    (Some(Source::Profile(name)), SessionError::Nothing { .. }) => {
                        SessionError::Profile(name.clone())
                    }
                    (_, error) => match (&settings.profile, error) {
                        (Some(name), SessionError::Nothing { .. }) => {
                            SessionError::KubeconfigProfile(name.clone())
                        }
                        (_, error) => error,
                    },
                }
            })?;
            account = credentials.account_id().map(|id| id.as_str().to_owned());
            let keys = Keys::of(&credentials);
            let expires = credentials
                .expiry()
                .and_then(|time| Timestamp::try_from(time).ok());
            self.mask_keys(&keys);
            config = with_keys(config, &keys, expires);
            found = Some((keys, expires));
        }
        if let Some(role) = role {
            if config.region().is_none() {
                return Err(SessionError::NoRegion);
            }
            let assumed = match shared {
                Some(shared) => shared,
                None => self.assume(role, &config).await?,
            };
            account = assumed.arn.split(':').nth(4).map(str::to_owned);
            config = with_keys(config, &assumed.keys, Some(assumed.expires));
            found = Some((assumed.keys, Some(assumed.expires)));
        }
        let (keys, expires) = found.ok_or(SessionError::Nothing {
            on_runner,
            fallback,
        })?;
        let allowed = &settings.allowed_accounts;
        if !allowed.is_empty() {
            let account = match account {
                Some(account) => account,
                None if config.region().is_none() => return Err(SessionError::NoRegion),
                None => role::account(&config).await?,
            };
            if !allowed.contains(&account) {
                return Err(SessionError::Account {
                    account,
                    allowed: allowed.clone(),
                });
            }
        }
        Ok(Loaded {
            config,
            keys,
            expires,
        })
    }

    async fn base_config(&self, source: Option<&Source>, region: Option<&str>) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let mut loader = aws_config::from_env().timeout_config(timeouts);
        if let Some(client) = self.settings.proxy.as_ref().and_then(Proxy::client) {
            loader = loader.http_client(client);
        }
        if let Ok(name) = AppName::new(concat!("fast-ecr-push-", env!("CARGO_PKG_VERSION"))) {
            loader = loader.app_name(name);
        }
        loader = match source {
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
        let default = region.map(|region| Region::new(region.to_owned()));
        let region = config.region().cloned().or(default);
        config.into_builder().region(region).build()
    }

    fn mask_keys(&self, keys: &Keys) {
        for secret in [&keys.id, &keys.secret, &keys.token] {
            (self.mask)(secret.expose_secret());
        }
    }

    /// Assumes a role, masks its keys and shares them with the run's other processes.
    async fn assume(&self, role: &Role, config: &SdkConfig) -> Result<Assumed, SessionError> {
        let assumed = role::assume(role, config, &*self.mask).await?;
        self.mask_keys(&assumed.keys);
        tracing::info!("AWS: {}, until {:.0}", assumed.arn, assumed.expires);
        if let Some(folder) = &self.folder {
            // Without the file the next process assumes the role by itself.
            let _ = run_files::write_session(folder, &assumed);
        }
        Ok(assumed)
    }
}

fn is_fresh(expires: Option<Timestamp>) -> bool {
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
