//! The run's kubeconfig, made from the user's: one context, renewable credentials, no references to
//! files of another machine.
//!
//! buildx and our own client read it from the run's folder. The text may be a secret, so errors quote
//! only names. Format: <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>.

mod error;
mod exec;
mod proxy;
mod read;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Cluster, ExecConfig, ExecInteractiveMode, Kubeconfig};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::aws::TOKENS_VARIABLE;
use crate::aws::eks::{self, TokenRequest};
pub(crate) use error::KubeconfigError;
use exec::Exec;

/// The name of our cluster, context and user.
const NAME: &str = "fast-ecr-push";

#[derive(Debug, Clone)]
pub(crate) struct Access {
    cluster: Cluster,
    user: AuthInfo,
    /// The API server's address.
    pub server: String,
    /// The name of the chosen context.
    pub context: String,
    /// The context's namespace.
    pub namespace: Option<String>,
    /// Who can reach the server, if it is not public.
    pub restriction: Option<String>,
    pub warnings: Vec<String>,
}

/// What to take from a kubeconfig, and how far to trust it.
#[derive(Debug, Clone)]
pub(crate) struct Terms<'a> {
    /// The context to use instead of the current one.
    pub context: Option<&'a str>,
    /// Whether unknown commands may run.
    pub allow_exec: bool,
    /// Whether it may name files. An input's content may not: its files are on another machine.
    pub may_name_files: bool,
    /// Our own program.
    pub program: &'a Path,
}

impl Access {
    pub(crate) fn read(text: &str, terms: &Terms<'_>) -> Result<Self, KubeconfigError> {
        Self::select(&read::parse(text)?, terms)
    }

    /// Parses files, given by path and content, as one kubeconfig.
    pub(crate) fn merge(
        files: &[(PathBuf, String)],
        terms: &Terms<'_>,
    ) -> Result<Self, KubeconfigError> {
        Self::select(&read::merged(files)?, terms)
    }

    fn select(config: &Kubeconfig, terms: &Terms<'_>) -> Result<Self, KubeconfigError> {
        let contexts = config.contexts.iter();
        let known = || contexts.clone().map(|named| named.name.clone()).collect();
        let name = terms
            .context
            .or(config.current_context.as_deref())
            .filter(|name| !name.is_empty())
            .ok_or_else(|| KubeconfigError::NoCurrentContext { known: known() })?;
        let context = contexts
            .clone()
            .find(|named| named.name == name)
            .and_then(|named| named.context.clone())
            .ok_or_else(|| KubeconfigError::NoContext {
                name: name.to_owned(),
                known: known(),
            })?;
        let missing = |kind, wanted: &str| KubeconfigError::Missing {
            context: name.to_owned(),
            kind,
            name: wanted.to_owned(),
        };
        let cluster = config
            .clusters
            .iter()
            .find(|named| named.name == context.cluster)
            .and_then(|named| named.cluster.clone())
            .ok_or_else(|| missing("cluster", &context.cluster))?;
        let user = match context.user.as_deref().filter(|user| !user.is_empty()) {
            None => AuthInfo::default(),
            Some(user) => config
                .auth_infos
                .iter()
                .find(|named| named.name == user)
                .and_then(|named| named.auth_info.clone())
                .ok_or_else(|| missing("user", user))?,
        };
        Self::assemble(name, context.namespace, cluster, user, terms)
    }

    /// Access to an EKS cluster with our own tokens.
    pub(crate) fn eks(
        server: &str,
        authority: &str,
        request: &TokenRequest,
        program: &Path,
    ) -> Result<Self, KubeconfigError> {
        let cluster = Cluster {
            server: Some(server.trim_end_matches('/').to_owned()),
            certificate_authority_data: Some(authority.to_owned()),
            ..Cluster::default()
        };
        let user = AuthInfo {
            exec: Some(plugin(request, program, None)),
            ..AuthInfo::default()
        };
        let terms = Terms {
            context: None,
            // Only our own command.
            allow_exec: true,
            may_name_files: false,
            program,
        };
        Self::assemble(&request.cluster, None, cluster, user, &terms)
    }

    /// A placeholder for a plan that is only printed.
    pub(crate) fn assumed(name: &str) -> Self {
        Self {
            cluster: Cluster::default(),
            user: AuthInfo::default(),
            server: format!("https://{name}.invalid"),
            context: name.to_owned(),
            namespace: None,
            restriction: None,
            warnings: Vec::new(),
        }
    }

    /// The access of a pod's service account. The kubelet renews its token file
    /// (<https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>).
    pub(crate) fn in_cluster(
        folder: &Path,
        host: &str,
        port: &str,
        program: &Path,
    ) -> Result<Self, KubeconfigError> {
        let file = |name: &str| Some(folder.join(name).to_string_lossy().into_owned());
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let cluster = Cluster {
            server: Some(format!("https://{host}:{port}")),
            certificate_authority: file("ca.crt"),
            ..Cluster::default()
        };
        let user = AuthInfo {
            token_file: file("token"),
            ..AuthInfo::default()
        };
        let namespace = std::fs::read_to_string(folder.join("namespace")).ok();
        let terms = Terms {
            context: None,
            allow_exec: false,
            may_name_files: true,
            program,
        };
        let namespace = namespace.map(|name| name.trim().to_owned());
        Self::assemble("service account", namespace, cluster, user, &terms)
    }

    fn assemble(
        context: &str,
        namespace: Option<String>,
        mut cluster: Cluster,
        mut user: AuthInfo,
        terms: &Terms<'_>,
    ) -> Result<Self, KubeconfigError> {
        let server = cluster.server.clone().unwrap_or_default();
        if !server.starts_with("https://") {
            return Err(KubeconfigError::Server { server });
        }
        for (value, field) in [
            (&mut cluster.certificate_authority, "certificate-authority"),
            (&mut user.client_certificate, "client-certificate"),
            (&mut user.client_key, "client-key"),
            (&mut user.token_file, "tokenFile"),
        ] {
            check_file(value, field, terms)?;
        }
        if let Some(data) = &cluster.certificate_authority_data
            && STANDARD.decode(data.trim()).is_err()
        {
            return Err(KubeconfigError::Authority);
        }
        if let Some(provider) = &user.auth_provider {
            return Err(KubeconfigError::AuthProvider {
                name: provider.name.clone(),
            });
        }
        if let Some(exec) = user.exec.take() {
            user.exec = Some(rewrite(exec, terms)?);
        }
        let mut warnings = Vec::new();
        if cluster.insecure_skip_tls_verify == Some(true) {
            warnings.push(format!(
                "the kubeconfig sets `insecure-skip-tls-verify` for {server}: an attacker could get the \
                 credentials and the build context. Set `certificate-authority-data` instead"
            ));
        }
        cluster.extensions = None;
        Ok(Self {
            cluster,
            user,
            server,
            context: context.to_owned(),
            namespace: namespace.filter(|name| !name.is_empty()),
            restriction: None,
            warnings,
        })
    }

    /// The credentials in it, which the log must mask.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let user = &self.user;
        [&user.token, &user.password, &user.client_key_data]
            .into_iter()
            .flatten()
            .map(|secret| secret.expose_secret().to_owned())
            .filter(|secret| !secret.is_empty())
            .collect()
    }

    /// Whether credentials come from a command other than ours.
    pub(crate) fn runs_a_foreign_command(&self) -> bool {
        let exec = self.user.exec.as_ref();
        exec.is_some_and(|exec| !is_eks_token(exec))
    }

    /// The kubeconfig as JSON, with a namespace, and with the folder of tokens for our own command.
    pub(crate) fn to_file(&self, namespace: &str, tokens: &Path) -> SecretString {
        let mut user = self.user.clone();
        if let Some(exec) = user.exec.as_mut().filter(|exec| is_eks_token(exec)) {
            let variable = HashMap::from([
                ("name".to_owned(), TOKENS_VARIABLE.to_owned()),
                ("value".to_owned(), tokens.to_string_lossy().into_owned()),
            ]);
            exec.env.get_or_insert_default().push(variable);
        }
        let context = json!({ "cluster": NAME, "user": NAME, "namespace": namespace });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": NAME,
            "clusters": [{ "name": NAME, "cluster": self.cluster }],
            "users": [{ "name": NAME, "user": user }],
            "contexts": [{ "name": NAME, "context": context }],
        });
        SecretString::from(config.to_string())
    }
}

/// Checks a file's name: whether it is allowed, and whether the file exists.
fn check_file(
    value: &mut Option<String>,
    field: &'static str,
    terms: &Terms<'_>,
) -> Result<(), KubeconfigError> {
    let Some(name) = value.as_deref().filter(|name| !name.is_empty()) else {
        *value = None;
        return Ok(());
    };
    if !terms.may_name_files {
        return Err(KubeconfigError::File { field });
    }
    let path = Path::new(name);
    if !path.is_file() {
        return Err(KubeconfigError::NoFile {
            field,
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn rewrite(config: ExecConfig, terms: &Terms<'_>) -> Result<ExecConfig, KubeconfigError> {
    match exec::read(&config) {
        Exec::Eks(request) => Ok(plugin(&request, terms.program, Some(config))),
        Exec::Other(_) | Exec::Unknown { .. } if terms.allow_exec => Ok(config),
        Exec::Other(command) => Err(KubeconfigError::Exec { command }),
        Exec::Unknown { program, argument } => {
            Err(KubeconfigError::AwsArgument { program, argument })
        }
    }
}

/// Whether an exec entry is our own, which [`plugin`] creates.
pub(crate) fn is_eks_token(exec: &ExecConfig) -> bool {
    let first = exec.args.as_ref().and_then(|arguments| arguments.first());
    first.is_some_and(|argument| argument == eks::SUBCOMMAND)
}

/// An exec entry with our own program and the variables of the replaced entry.
fn plugin(request: &TokenRequest, program: &Path, replaced: Option<ExecConfig>) -> ExecConfig {
    ExecConfig {
        api_version: Some("client.authentication.k8s.io/v1beta1".to_owned()),
        command: Some(program.to_string_lossy().into_owned()),
        args: Some(request.arguments()),
        env: replaced.and_then(|config| config.env),
        interactive_mode: Some(ExecInteractiveMode::Never),
        ..ExecConfig::default()
    }
}

#[cfg(test)]
mod tests;
