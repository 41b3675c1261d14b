//! Creates a missing repository, or finds out whether ECR will.

use std::fs;

use super::api::ApiError;
use super::problem::Kind;
use super::{Check, FoundRepository};
use crate::plan::{LifecyclePolicy, NewRepository};
use crate::registry::lifecycle;
use crate::runner::log;

/// The template for all names.
const ROOT: &str = "ROOT";

impl Check<'_> {
    /// Creates the repository if the inputs say so; otherwise ECR may.
    pub(super) async fn create(&self, found: &mut FoundRepository) -> Result<(), Kind> {
        match self.new {
            Some(new) => self.create_by_input(new, found).await,
            None => self.create_by_template(found).await,
        }
    }

    async fn create_by_input(
        &self,
        new: &NewRepository,
        found: &mut FoundRepository,
    ) -> Result<(), Kind> {
        let address = &found.address;
        if let Err(error) = self.api.create(&self.repository.name, new).await {
            if error.code() == "RepositoryAlreadyExistsException" {
                tracing::info!("another run has just created the repository `{address}`");
                found.exists = true;
                return Ok(());
            }
            return Err(Kind::NotCreated {
                denied: matches!(error, ApiError::Denied(_)),
                message: error.message().to_owned(),
            });
        }
        tracing::info!(target: log::NOTICE, "created the repository `{address}`");
        found.exists = true;
        found.created = true;
        found.mutability.clone_from(&new.mutability);
        found.has_lifecycle_policy = Some(self.put_policy(new).await);
        Ok(())
    }

    /// Sets the new repository's lifecycle policy; a failure is a warning. Returns whether it has one.
    async fn put_policy(&self, new: &NewRepository) -> bool {
        let policy = match &new.lifecycle_policy {
            LifecyclePolicy::None => return false,
            LifecyclePolicy::Ours => {
                lifecycle::policy(&self.repository, new.mutability.as_ref()).to_string()
            }
            // Checked before the run started.
            LifecyclePolicy::File(path) => fs::read_to_string(path).unwrap_or_default(),
        };
        let name = &self.repository.name;
        if let Err(error) = self.api.put_lifecycle_policy(name, &policy).await {
            let (address, message) = (self.repository.address(), error.message());
            tracing::warn!("could not set the lifecycle policy of `{address}`: {message}");
            return false;
        }
        true
    }

    /// ECR creates a repository on push if a template says so
    /// (<https://aws.amazon.com/about-aws/whats-new/2025/12/amazon-ecr-creating-repositories-on-push/>).
    /// Beginning an upload may create it; otherwise the templates may show that a push will.
    async fn create_by_template(&self, found: &mut FoundRepository) -> Result<(), Kind> {
        let name = self.repository.name.as_str();
        let begun = self.in_time(self.api.may_begin(name)).await;
        if let Some(Ok(())) = begun {
            tracing::info!(
                target: log::NOTICE,
                "Amazon ECR created the repository `{}` from a template of the registry",
                found.address
            );
            found.exists = true;
            found.created = true;
            return Ok(());
        }
        if let Some(Err(ApiError::Missing)) = begun
            && let Some(Ok(prefixes)) = self.in_time(self.api.created_on_push()).await
            && prefixes.iter().any(|prefix| covers(prefix, name))
        {
            return Ok(());
        }
        Err(Kind::Missing)
    }
}

/// Whether a template's prefix, which implies a trailing `/`, covers a name
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepositoryCreationTemplate.html>).
fn covers(prefix: &str, name: &str) -> bool {
    let rest = name.strip_prefix(prefix.trim_end_matches('/'));
    prefix == ROOT || rest.is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_covers_names_below_its_prefix() {
        for (prefix, name, expected) in [
            ("ROOT", "app", true),
            ("team", "team/app", true),
            ("team/", "team/app", true),
            ("team", "teams/app", false),
            ("team", "team", false),
            ("team/a", "team/app", false),
        ] {
            assert_eq!(covers(prefix, name), expected, "{prefix} {name}");
        }
    }
}
