//! Which secrets the build gets, and from where.
//!
//! buildx reads a secret from a file or a variable. The values of the input `secrets` are written into files of the run's
//! directory before the build.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Serialize;

use super::{Context, Diagnostics, Hidden, RunDir};
use crate::inputs::Inputs;
use crate::runner::workflow::WorkflowRun;

/// A secret of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlannedSecret {
    pub id: String,
    #[serde(flatten)]
    pub source: SecretSource,
    /// What we write into the file, if we write it.
    #[serde(skip)]
    pub value: Option<Hidden>,
}

/// Where buildx reads a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SecretSource {
    /// A variable of our environment.
    Variable(String),
    /// A file that we write with a value of `secrets`.
    Written(PathBuf),
    /// A file of the user's.
    File(PathBuf),
    /// A file that we write with the token for the Git context.
    GitToken(PathBuf),
}

/// The secrets in the order of docker/build-push-action: variables, values, files, and last the token for the Git context, unless
/// the user gives one.
pub(super) fn choose(
    inputs: &Inputs,
    context: &Context,
    run: Option<&WorkflowRun>,
    dir: &RunDir,
    diagnostics: &mut Diagnostics,
) -> Vec<PlannedSecret> {
    let secret = |id: &str, source, value: Option<&SecretString>| PlannedSecret {
        id: id.to_owned(),
        source,
        value: value.cloned().map(Hidden),
    };
    let variables = inputs.secret_envs.iter().map(|given| {
        let source = SecretSource::Variable(given.variable.clone());
        secret(&given.id, source, None)
    });
    let values = inputs.secrets.iter().enumerate().map(|(index, given)| {
        let source = SecretSource::Written(dir.secret(index));
        secret(&given.id, source, Some(&given.value))
    });
    let files = inputs.secret_files.iter().map(|given| {
        let source = SecretSource::File(given.path.clone());
        secret(&given.id, source, None)
    });
    let mut secrets: Vec<PlannedSecret> = variables.chain(values).chain(files).collect();
    if let (Some(run), true, Some(token)) = (run, context.is_this_commit(), &inputs.github_token) {
        let general = "GIT_AUTH_TOKEN";
        let id = format!("{general}.{}", run.server_host());
        // BuildKit would prefer ours, whose id names the host.
        if !secrets
            .iter()
            .any(|secret| secret.id == id || secret.id == general)
        {
            let source = SecretSource::GitToken(dir.git_token());
            secrets.push(secret(&id, source, Some(token)));
        }
    }
    for (index, secret) in secrets.iter().enumerate() {
        if secrets
            .iter()
            .take(index)
            .any(|other| other.id == secret.id)
        {
            diagnostics.notices.push(format!(
                "the secret `{}` is given more than once: the last one counts",
                secret.id
            ));
        }
    }
    secrets
}
