//! Logins: tokens for the plan's registries, left to the credential helper.

use secrecy::ExposeSecret as _;

use super::Run;
use crate::credentials::{Credentials, ecr};
use crate::error::Error;
use crate::image::{EcrRegistry, Registry};

impl Run {
    /// Fetches tokens for the plan's ECR registries and leaves them to the credential helper.
    pub(super) async fn log_in(
        &self,
        registries: &[Registry],
        authorization: Option<&ecr::Authorization>,
        credentials: &Credentials,
    ) -> Result<(), Error> {
        for registry in registries {
            let Registry::Ecr(registry) = registry else {
                continue;
            };
            let token = self.token(registry, authorization).await?;
            credentials.keep(registry, &token)?;
        }
        Ok(())
    }

    async fn token(
        &self,
        registry: &EcrRegistry,
        authorization: Option<&ecr::Authorization>,
    ) -> Result<ecr::Token, Error> {
        if let Some(authorization) = authorization
            && authorization.host == registry.host
        {
            return Ok(authorization.token.clone());
        }
        let token = self
            .unless_cancelled(Box::pin(ecr::token(registry)))
            .await?;
        self.mask(token.password.expose_secret());
        Ok(token)
    }

    /// Waits for an answer of AWS, but no longer than the run goes on.
    pub(super) async fn unless_cancelled<T>(
        &self,
        answer: impl Future<Output = Result<T, ecr::EcrError>>,
    ) -> Result<T, Error> {
        tokio::select! {
            answer = answer => answer.map_err(|error| Error::Credentials(error.into())),
            () = self.cancel.cancelled() => Err(Error::Cancelled),
        }
    }
}
