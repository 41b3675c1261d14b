//! A repository that does not exist: made by us, by ECR's template, or an error.

use std::fs;

use super::api::Trouble;
use super::problem::Kind;
use super::{FoundRepository, Look};
use crate::plan::{LifecyclePolicy, NewRepository};
use crate::registry::lifecycle;
use crate::runner::log;

/// The template for every name.
const ROOT: &str = "ROOT";

impl Look<'_> {
    /// Makes the repository, where that is asked for or ECR does.
    pub(super) async fn make(&self, found: &mut FoundRepository) -> Result<(), Kind> {
        match self.new {
            Some(new) => self.create(new, found).await,
            None => self.let_ecr_create(found).await,
        }
    }

    async fn create(&self, new: &NewRepository, found: &mut FoundRepository) -> Result<(), Kind> {
        let (name, address) = (self.repository.name.as_str(), &found.address);
        match self.api.create(name, new).await {
            Ok(()) => {}
            Err(Trouble::Other {
                code: Some(code), ..
            }) if code == "RepositoryAlreadyExistsException" => {
                tracing::info!("another run has just created the repository `{address}`");
                found.exists = true;
                return Ok(());
            }
            Err(Trouble::Denied(words)) => {
                return Err(Kind::Uncreated {
                    denied: true,
                    words,
                });
            }
            Err(Trouble::Other { words, .. }) => {
                return Err(Kind::Uncreated {
                    denied: false,
                    words,
                });
            }
            Err(Trouble::Missing) => return Err(Kind::Missing),
        }
        tracing::info!(target: log::NOTICE, "created the repository `{address}`");
        found.exists = true;
        found.created = true;
        found.mutability.clone_from(&new.mutability);
        found.has_lifecycle_policy = Some(self.give_policy(new).await);
        Ok(())
    }

    /// Whether the new repository has a lifecycle policy now. It works without.
    async fn give_policy(&self, new: &NewRepository) -> bool {
        let policy = match &new.lifecycle_policy {
            LifecyclePolicy::None => return false,
            LifecyclePolicy::Ours => lifecycle::policy_text(),
            // Looked at before anything was started.
            LifecyclePolicy::File(path) => fs::read_to_string(path).unwrap_or_default(),
        };
        let given = self
            .api
            .put_lifecycle_policy(&self.repository.name, &policy);
        match given.await {
            Ok(()) => true,
            Err(Trouble::Denied(words) | Trouble::Other { words, .. }) => {
                let address = self.repository.address();
                tracing::warn!("could not give `{address}` its lifecycle policy: {words}");
                false
            }
            Err(Trouble::Missing) => false,
        }
    }

    /// ECR makes a repository when something is pushed to it, if a template says so
    /// (<https://aws.amazon.com/about-aws/whats-new/2025/12/amazon-ecr-creating-repositories-on-push/>).
    /// An upload that begins shows it; where it does not, the templates may still tell.
    async fn let_ecr_create(&self, found: &mut FoundRepository) -> Result<(), Kind> {
        let name = self.repository.name.as_str();
        let begun = self.in_time(self.api.may_begin(name)).await;
        if begun == Some(Ok(())) {
            tracing::info!(
                target: log::NOTICE,
                "Amazon ECR created the repository `{}`, by a template of the registry",
                found.address
            );
            found.exists = true;
            found.created = true;
            return Ok(());
        }
        if begun == Some(Err(Trouble::Missing))
            && let Some(Ok(prefixes)) = self.in_time(self.api.created_on_push()).await
            && prefixes.iter().any(|prefix| covers(prefix, name))
        {
            return Ok(());
        }
        Err(Kind::Missing)
    }
}

/// Whether a template of this prefix, behind which a `/` is thought, is for the name
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepositoryCreationTemplate.html>).
fn covers(prefix: &str, name: &str) -> bool {
    let rest = name.strip_prefix(prefix.trim_end_matches('/'));
    prefix == ROOT || rest.is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_for_names_below_its_prefix() {
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
