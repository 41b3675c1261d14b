//! Logins: tokens for the plan's registries, left to the credential helper.

use std::collections::BTreeMap;
use std::ffi::OsString;

use secrecy::{ExposeSecret as _, SecretString};

use super::Run;
use crate::credentials::aws::Session;
use crate::credentials::{Credentials, CredentialsError, ecr};
use crate::error::Error;
use crate::image::Registry;
use crate::plan::Plan;

impl Run {
    /// Fetches tokens for the plan's ECR registries and leaves them to the credential helper.
    pub(super) async fn log_in(
        &self,
        registries: &[Registry],
        authorization: Option<&ecr::Authorization>,
        session: &Session,
        credentials: &Credentials,
    ) -> Result<(), Error> {
        for registry in registries {
            let known = authorization.filter(|known| known.host == registry.host());
            let token = match known {
                Some(known) => Some(known.token.clone()),
                None => {
                    let answer = Box::pin(ecr::token(registry, session));
                    self.unless_cancelled(answer).await?
                }
            };
            if let Some(token) = token {
                self.mask(token.password.expose_secret());
                credentials.keep(registry, &token)?;
            }
        }
        Ok(())
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
