//! Logins: tokens for the plan's registries, for the credential helper.

use anyhow::Context as _;
use futures_util::future::try_join_all;
use secrecy::ExposeSecret as _;

use super::Run;
use crate::aws::ecr;
use crate::aws::{Session, Settings};
use crate::credentials::{Credentials, CredentialsError};
use crate::plan::Plan;
use crate::run::error::Error;

impl Run {
    /// Fetches tokens for the plan's ECR registries, all at once, and gives them to the credential helper. Whether there were any.
    pub(super) async fn log_in(
        &self,
        plan: &Plan,
        authorization: Option<&ecr::Authorization>,
        session: &Session,
        credentials: &Credentials,
    ) -> Result<bool, Error> {
        let registries = plan.logins();
        let tokens = registries.iter().map(|registry| async move {
            let host = registry.host();
            if credentials.has_login(host) {
                return Ok(None);
            }
            if let Some(known) = authorization.filter(|known| known.host == host) {
                return Ok(Some(known.token.clone()));
            }
            match credentials.aws_keys(host) {
                None => {
                    self.unless_cancelled(Box::pin(ecr::token(registry, session)))
                        .await
                }
                Some((id, secret)) => {
                    let own = Session::new(Settings::of_keys(id, secret), self.masking());
                    own.share_for(host, &credentials.tokens)
                        .context("could not keep the settings for AWS")?;
                    self.unless_cancelled(Box::pin(ecr::token(registry, &own)))
                        .await
                }
            }
        });
        let tokens = try_join_all(tokens).await?;
        let mut any = false;
        for (registry, token) in registries.iter().zip(tokens) {
            if let Some(token) = token {
                any = true;
                self.mask(token.password.expose_secret());
                credentials.store_token(registry, &token)?;
            }
        }
        Ok(any)
    }

    /// Waits for an answer from AWS until the run is cancelled.
    pub(super) async fn unless_cancelled<T, E: Into<CredentialsError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        tokio::select! {
            answer = answer => answer.map_err(|error| Error::Credentials(error.into())),
            () = self.cancel.cancelled() => Err(Error::Cancelled),
        }
    }
}
