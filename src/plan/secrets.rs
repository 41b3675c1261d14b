//! Which secrets the build gets, and where from; never what they are.
//!
//! buildx reads a secret from a file or a variable. What the input `secrets` holds is written
//! into files of the run's folder before the build; the plan names them.

use std::path::PathBuf;

use lists::attributes;
use serde::Serialize;

use super::{Context, Place, Remarks};
use crate::inputs::Inputs;
use crate::runner::workflow::WorkflowRun;

/// A secret of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlannedSecret {
    pub id: String,
    #[serde(flatten)]
    pub source: SecretSource,
}

/// Where buildx reads a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SecretSource {
    /// A variable of our environment.
    Variable(String),
    /// A file that we write: see [`Place::secret_file`].
    Written(PathBuf),
    /// A file of the user's.
    File(PathBuf),
    /// The file [`Place::git_token_file`], which we write.
    GitToken(PathBuf),
}

impl PlannedSecret {
    /// The value of `--secret`.
    pub(super) fn argument(&self) -> String {
        let id = format!("id={}", self.id);
        let source = match &self.source {
            SecretSource::Variable(name) => format!("env={name}"),
            SecretSource::Written(path)
            | SecretSource::File(path)
            | SecretSource::GitToken(path) => format!("src={}", path.display()),
        };
        attributes::join([id, source])
    }
}

/// The secrets, in the order of docker/build-push-action: variables, texts, files, and last the
/// token for the Git context, unless the user gives one.
pub(super) fn choose(
    inputs: &Inputs,
    context: &Context,
    run: Option<&WorkflowRun>,
    place: &Place,
    remarks: &mut Remarks,
) -> Vec<PlannedSecret> {
    let mut secrets = Vec::new();
    let mut add = |id: &str, source| {
        let id = id.to_owned();
        secrets.push(PlannedSecret { id, source });
    };
    for secret in &inputs.secret_envs {
        add(&secret.id, SecretSource::Variable(secret.variable.clone()));
    }
    for (index, secret) in inputs.secrets.iter().enumerate() {
        add(&secret.id, SecretSource::Written(place.secret_file(index)));
    }
    for secret in &inputs.secret_files {
        add(&secret.id, SecretSource::File(secret.path.clone()));
    }
    if let (Some(run), true, true) = (run, context.is_this_commit(), inputs.github_token.is_some())
    {
        let general = "GIT_AUTH_TOKEN";
        let id = format!("{general}.{}", run.server_host());
        // BuildKit would prefer ours, whose id names the host.
        if !secrets
            .iter()
            .any(|secret| secret.id == id || secret.id == general)
        {
            let source = SecretSource::GitToken(place.git_token_file());
            secrets.push(PlannedSecret { id, source });
        }
    }
    for (index, secret) in secrets.iter().enumerate() {
        if secrets
            .iter()
            .take(index)
            .any(|other| other.id == secret.id)
        {
            remarks.notices.push(format!(
                "the secret `{}` is given more than once: the last one counts",
                secret.id
            ));
        }
    }
    secrets
}
