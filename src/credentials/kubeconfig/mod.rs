//! A kubeconfig, made fit for this run: one context, credentials that last, nothing that points
//! out of it.
//!
//! In: its text, plain or base64, and where it comes from. Out: an [`Access`], which is written into
//! the run's folder for buildx and for our own client, or a [`KubeconfigError`]. The text may come
//! from a secret: no error repeats any of it but names. Format:
//! <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>.

mod error;
mod exec;
mod proxy;
mod read;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{
    AuthInfo, Cluster, Context, ExecConfig, ExecInteractiveMode, Kubeconfig, NamedAuthInfo,
    NamedCluster, NamedContext,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::aws::TOKENS_VARIABLE;
use crate::aws::eks::{self, TokenRequest};
pub(crate) use error::KubeconfigError;
use exec::Exec;

/// The one cluster, context and user of what we write.
const NAME: &str = "fast-ecr-push";

/// A way into a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    config: Kubeconfig,
    /// The API server's address.
    pub server: String,
    /// Name of the context that was chosen.
    pub context: String,
    /// The context's namespace.
    pub namespace: Option<String>,
    /// Who can reach the server, when not everybody can.
    pub restriction: Option<String>,
    pub warnings: Vec<String>,
}

/// What is taken from a kubeconfig, and how far it is trusted.
#[derive(Debug, Clone)]
pub(crate) struct Terms<'a> {
    /// The context to use instead of the current one.
    pub context: Option<&'a str>,
    /// Whether commands that we don't know may be run.
    pub allow_exec: bool,
    /// Whether it may name files. Not the content of an input: they lie where it was made.
    pub may_name_files: bool,
    /// Our own program.
    pub program: &'a Path,
}

impl Access {
    /// Reads a kubeconfig.
    ///
    /// # Errors
    /// When it can't be read, has no such context, or needs what isn't there.
    pub(crate) fn read(text: &str, terms: &Terms<'_>) -> Result<Self, KubeconfigError> {
        Self::choose(&read::parse(text)?, terms)
    }

    /// Reads files, each with its name, as one kubeconfig.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn merge(
        files: &[(PathBuf, String)],
        terms: &Terms<'_>,
    ) -> Result<Self, KubeconfigError> {
        Self::choose(&read::merged(files)?, terms)
    }

    fn choose(config: &Kubeconfig, terms: &Terms<'_>) -> Result<Self, KubeconfigError> {
        let known = || {
            config
                .contexts
                .iter()
                .map(|named| named.name.clone())
                .collect()
        };
        let name = terms
            .context
            .or(config.current_context.as_deref())
            .filter(|name| !name.is_empty())
            .ok_or_else(|| KubeconfigError::NoCurrentContext { known: known() })?;
        let context = config
            .contexts
            .iter()
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

    /// The access that a cluster's description and our own tokens give.
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
            // Ours, which it is not necessary to look at.
            allow_exec: true,
            may_name_files: false,
            program,
        };
        Self::assemble(&request.cluster, None, cluster, user, &terms)
    }

    /// A cluster that nobody has asked, for a plan alone.
    pub(crate) fn assumed(name: &str) -> Self {
        Self {
            config: Kubeconfig::default(),
            server: format!("https://{name}.invalid"),
            context: name.to_owned(),
            namespace: None,
            restriction: None,
            warnings: Vec::new(),
        }
    }

    /// The access of a pod's service account, whose token file is renewed by the kubelet
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
        file(
            &mut cluster.certificate_authority,
            "certificate-authority",
            terms,
        )?;
        file(&mut user.client_certificate, "client-certificate", terms)?;
        file(&mut user.client_key, "client-key", terms)?;
        file(&mut user.token_file, "tokenFile", terms)?;
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
                "the kubeconfig says `insecure-skip-tls-verify` for {server}: whoever answers there \
                 gets the credentials and the build context; put the authority's certificate into \
                 `certificate-authority-data`"
            ));
        }
        cluster.extensions = None;
        let config = Kubeconfig {
            api_version: Some("v1".to_owned()),
            kind: Some("Config".to_owned()),
            current_context: Some(NAME.to_owned()),
            clusters: vec![NamedCluster {
                name: NAME.to_owned(),
                cluster: Some(cluster),
                ..NamedCluster::default()
            }],
            auth_infos: vec![NamedAuthInfo {
                name: NAME.to_owned(),
                auth_info: Some(user),
                ..NamedAuthInfo::default()
            }],
            contexts: vec![NamedContext {
                name: NAME.to_owned(),
                context: Some(Context {
                    cluster: NAME.to_owned(),
                    user: Some(NAME.to_owned()),
                    namespace: namespace.clone(),
                    ..Context::default()
                }),
                ..NamedContext::default()
            }],
            ..Kubeconfig::default()
        };
        Ok(Self {
            config,
            server,
            context: context.to_owned(),
            namespace: namespace.filter(|name| !name.is_empty()),
            restriction: None,
            warnings,
        })
    }

    /// What the runner has to hide: credentials that stand in it as they are.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let users = self.config.auth_infos.iter();
        users
            .filter_map(|named| named.auth_info.as_ref())
            .flat_map(|user| [&user.token, &user.password, &user.client_key_data])
            .flatten()
            .map(|secret| secret.expose_secret().to_owned())
            .filter(|secret| !secret.is_empty())
            .collect()
    }

    /// Whether credentials come from a command that is not ours.
    pub(crate) fn runs_a_foreign_command(&self) -> bool {
        let users = self.config.auth_infos.iter();
        users
            .filter_map(|named| named.auth_info.as_ref()?.exec.as_ref())
            .any(|exec| !is_ours(exec))
    }

    /// The kubeconfig as a file's content, with this namespace, and with the run's folder of tokens
    /// for our own command. JSON is YAML.
    pub(crate) fn to_file(&self, namespace: &str, tokens: &Path) -> SecretString {
        let mut config = self.config.clone();
        let variable = HashMap::from([
            ("name".to_owned(), TOKENS_VARIABLE.to_owned()),
            ("value".to_owned(), tokens.to_string_lossy().into_owned()),
        ]);
        for exec in config
            .auth_infos
            .iter_mut()
            .filter_map(|named| named.auth_info.as_mut()?.exec.as_mut())
            .filter(|exec| is_ours(exec))
        {
            exec.env.get_or_insert_default().push(variable.clone());
        }
        for context in config
            .contexts
            .iter_mut()
            .filter_map(|named| named.context.as_mut())
        {
            context.namespace = Some(namespace.to_owned());
        }
        // Maps with text as keys always serialize.
        SecretString::from(serde_json::to_string(&config).unwrap_or_default())
    }
}

/// A file's name is looked at: whether it may stand there, and whether there is such a file.
fn file(
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

/// Whether an exec entry is one that [`plugin`] made.
fn is_ours(exec: &ExecConfig) -> bool {
    let first = exec.args.as_ref().and_then(|arguments| arguments.first());
    first.is_some_and(|argument| argument == eks::SUBCOMMAND)
}

/// Our own program as the exec entry, with the variables of the one it replaces.
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
