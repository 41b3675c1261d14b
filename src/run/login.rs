//! Logins: tokens for the plan's registries, left to the credential helper.

use std::collections::BTreeMap;
use std::ffi::OsString;

use futures_util::future::try_join_all;
use secrecy::{ExposeSecret as _, SecretString};

use super::Run;
use crate::aws::ecr;
use crate::aws::{Session, Settings};
use crate::credentials::{Credentials, CredentialsError};
use crate::plan::Plan;
use crate::run::error::Error;

impl Run {
    /// Fetches tokens for the plan's ECR registries, all at once, and leaves them to the credential
    /// helper. Whether there were any.
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
                    own.share_for(host, &credentials.tokens)?;
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

    /// The secret variables that the plan hands on to buildx, with their values.
    pub(super) async fn handed_on(
        &self,
        plan: &Plan,
        session: &Session,
    ) -> Result<Vec<(String, OsString)>, Error> {
        let names = &plan.handed_on;
        let mut values: BTreeMap<&str, SecretString> = names
            .iter()
            .filter_map(|name| Some((name.as_str(), self.env.get(name)?.into())))
            .collect();
        if names.iter().any(|name| name.starts_with("AWS_")) {
            let own = self.unless_cancelled(Box::pin(session.variables())).await?;
            values.extend(own.into_iter().filter(|(name, _)| names.contains(*name)));
        }
        let values = values.into_iter();
        Ok(values
            .map(|(name, value)| (name.to_owned(), value.expose_secret().into()))
            .collect())
    }

    /// Waits for an answer of AWS, but no longer than the run goes on.
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
