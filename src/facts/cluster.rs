//! Finds access to the Kubernetes cluster.
//!
//! Precedence: the input `kubeconfig` > `eks-cluster` (by DescribeCluster:
//! <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html>) > the user's
//! kubeconfig (`KUBECONFIG`, `~/.kube/config`) > this pod's service account.

use std::io;
use std::path::{Path, PathBuf};

use aws_sdk_eks::types::{Cluster, ClusterStatus};
use secrecy::ExposeSecret as _;
use thiserror::Error;

use crate::aws::eks::TokenRequest;
use crate::aws::{Refusal, Session, SessionError, UNREACHABLE};
use crate::credentials::kubeconfig::{Access, KubeconfigError, Terms};
use crate::inputs::Inputs;
use crate::runner::env::Env;

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    #[error("could not read the kubeconfig `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not describe the EKS cluster `{cluster}`: {refusal}")]
    Describe { cluster: String, refusal: Refusal },
    #[error("could not describe the EKS cluster `{cluster}`: the answer is empty")]
    Empty { cluster: String },
    #[error("could not describe the EKS cluster `{cluster}`")]
    Session {
        cluster: String,
        #[source]
        source: SessionError,
    },
    #[error("could not describe the EKS cluster `{cluster}`: the AWS region is unknown")]
    NoRegion { cluster: String },
    #[error("the EKS cluster `{cluster}` is {status}, so it has no API server yet")]
    NotActive { cluster: String, status: String },
    #[error("there is no access to a Kubernetes cluster")]
    None,
    #[error("could not find our own program, which makes the cluster's tokens")]
    Program(#[source] io::Error),
}

impl ClusterError {
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Kubeconfig(error) => return Some(error.hint()),
            Self::Session { source, .. } => return source.hint(),
            Self::Program(_) | Self::Empty { .. } => return None,
            Self::Read { .. } => {
                "correct the path in KUBECONFIG; the input `kubeconfig` takes a kubeconfig's content"
            }
            Self::NoRegion { .. } => "set the input `aws-region`, or AWS_REGION",
            Self::NotActive { .. } => "wait until it is active",
            Self::None => {
                "set the input `kubeconfig` (a secret with its content) or `eks-cluster` (a name)"
            }
            Self::Describe { refusal, .. } => match refusal.code.as_deref() {
                _ if let Some(hint) = refusal.hint() => hint,
                Some("ResourceNotFoundException") => "check the name, the account and `aws-region`",
                Some("AccessDeniedException") => {
                    "the role needs `eks:DescribeCluster` on the cluster's ARN"
                }
                Some(_) => return None,
                None => UNREACHABLE,
            },
        };
        Some(hint.to_owned())
    }

    /// Whether an input is wrong, which another builder would not fix.
    pub(crate) fn is_input(&self) -> bool {
        matches!(self, Self::Kubeconfig(_) | Self::None)
    }
}

/// Finds access to the cluster, with its proxy.
pub(crate) async fn find(
    inputs: &Inputs,
    session: &Session,
    env: &Env,
) -> Result<Access, ClusterError> {
    let access = Box::pin(first(inputs, session, env)).await?;
    Ok(access.with_proxy(env))
}

async fn first(inputs: &Inputs, session: &Session, env: &Env) -> Result<Access, ClusterError> {
    let program = std::env::current_exe().map_err(ClusterError::Program)?;
    let mut terms = Terms {
        context: inputs.kube_context.as_deref(),
        allow_exec: inputs.allow_exec,
        may_name_files: false,
        program: &program,
    };
    if let Some(text) = &inputs.kubeconfig {
        return Ok(Access::read(text.0.expose_secret(), &terms)?);
    }
    if let Some(cluster) = &inputs.eks_cluster {
        return Box::pin(describe(cluster, session, &program)).await;
    }
    let paths = own_files(env);
    if !paths.is_empty() {
        terms.may_name_files = true;
        return Ok(Access::merge(&read(paths)?, &terms)?);
    }
    let address = env
        .get("KUBERNETES_SERVICE_HOST")
        .zip(env.get("KUBERNETES_SERVICE_PORT"));
    match address {
        Some((host, port)) => {
            let folder = Path::new(SERVICE_ACCOUNT);
            Ok(Access::in_cluster(folder, host, port, &program)?)
        }
        None => Err(ClusterError::None),
    }
}

/// The files of `KUBECONFIG`, or kubectl's default where there is one.
fn own_files(env: &Env) -> Vec<PathBuf> {
    if let Some(list) = env.get("KUBECONFIG") {
        let paths = list.split(':').filter(|path| !path.is_empty());
        return paths.map(PathBuf::from).collect();
    }
    let path = env.path("HOME").map(|home| home.join(".kube/config"));
    path.filter(|path| path.is_file()).into_iter().collect()
}

/// Reads the files that exist, as kubectl does; at least one must.
fn read(paths: Vec<PathBuf>) -> Result<Vec<(PathBuf, String)>, ClusterError> {
    let mut files = Vec::new();
    let mut missing = None;
    for path in paths {
        match std::fs::read_to_string(&path) {
            Ok(text) => files.push((path, text)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                missing.get_or_insert(ClusterError::Read { path, source });
            }
            Err(source) => return Err(ClusterError::Read { path, source }),
        }
    }
    match missing {
        Some(error) if files.is_empty() => Err(error),
        _ => Ok(files),
    }
}

async fn describe(name: &str, session: &Session, program: &Path) -> Result<Access, ClusterError> {
    let cluster = || name.to_owned();
    let config = session.config(None).await;
    let config = config.map_err(|source| ClusterError::Session {
        cluster: cluster(),
        source,
    })?;
    let region = config
        .region()
        .ok_or_else(|| ClusterError::NoRegion { cluster: cluster() })?
        .to_string();
    let answer = aws_sdk_eks::Client::new(&config)
        .describe_cluster()
        .name(name)
        .send()
        .await
        .map_err(|error| ClusterError::Describe {
            cluster: cluster(),
            refusal: Refusal::of(&error),
        })?;
    let described = answer.cluster;
    let described = described.ok_or_else(|| ClusterError::Empty { cluster: cluster() })?;
    access(name, region, &described, program)
}

pub(super) fn access(
    name: &str,
    region: String,
    cluster: &Cluster,
    program: &Path,
) -> Result<Access, ClusterError> {
    let status = cluster.status.as_ref();
    let authority = cluster
        .certificate_authority
        .as_ref()
        .and_then(|authority| authority.data.as_deref());
    // The API server also answers during an update.
    let usable = matches!(
        status,
        Some(ClusterStatus::Active | ClusterStatus::Updating)
    );
    let (true, Some(endpoint), Some(authority)) = (usable, cluster.endpoint.as_deref(), authority)
    else {
        return Err(ClusterError::NotActive {
            cluster: name.to_owned(),
            status: status.map_or("UNKNOWN", ClusterStatus::as_str).to_owned(),
        });
    };
    let request = TokenRequest {
        // On Outposts the token has the cluster's id, not its name.
        cluster: match &cluster.outpost_config {
            Some(_) => cluster.id.clone().unwrap_or_else(|| name.to_owned()),
            None => name.to_owned(),
        },
        region: Some(region),
        ..TokenRequest::default()
    };
    let mut access = Access::eks(endpoint, authority, &request, program)?;
    access.restriction = restriction(cluster);
    Ok(access)
}

/// Who can reach the API server, if it is not public.
fn restriction(cluster: &Cluster) -> Option<String> {
    let network = cluster.resources_vpc_config.as_ref()?;
    if !network.endpoint_public_access {
        return Some(
            "its API endpoint is private: only runners in its VPC (or a connected network) can reach it"
                .to_owned(),
        );
    }
    let ranges = network.public_access_cidrs();
    if ranges.is_empty() || ranges.iter().any(|range| range == "0.0.0.0/0") {
        return None;
    }
    Some(format!(
        "its API endpoint accepts only {}, which GitHub's own runners are not part of",
        ranges.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use aws_sdk_eks::types::{Certificate, VpcConfigResponse};

    use super::*;
    use crate::aws::Settings;

    fn cluster(status: ClusterStatus, network: VpcConfigResponse) -> Cluster {
        Cluster::builder()
            .endpoint("https://abc.gr7.eu-west-1.eks.amazonaws.com")
            .certificate_authority(Certificate::builder().data("Y2E=").build())
            .status(status)
            .resources_vpc_config(network)
            .build()
    }

    fn found(cluster: &Cluster) -> Result<Access, ClusterError> {
        access("builders", "eu-west-1".to_owned(), cluster, Path::new("/p"))
    }

    #[test]
    fn a_restricted_endpoint_is_described() {
        let network = VpcConfigResponse::builder;
        let public = network().endpoint_public_access(true);
        for (network, expected) in [
            (public.clone().build(), None),
            (
                public.clone().public_access_cidrs("0.0.0.0/0").build(),
                None,
            ),
            (
                public.public_access_cidrs("203.0.113.0/24").build(),
                Some("accepts only 203.0.113.0/24"),
            ),
            (
                network().endpoint_private_access(true).build(),
                Some("is private"),
            ),
        ] {
            let access = found(&cluster(ClusterStatus::Active, network)).unwrap();
            let said = access.restriction.as_deref();
            assert_eq!(said.is_some(), expected.is_some(), "{said:?}");
            assert!(
                said.unwrap_or("").contains(expected.unwrap_or("")),
                "{said:?}"
            );
        }
    }

    #[test]
    fn a_cluster_that_has_no_api_yet_is_refused() {
        let network = VpcConfigResponse::builder().build();
        let error = found(&cluster(ClusterStatus::Creating, network)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the EKS cluster `builders` is CREATING, so it has no API server yet"
        );
    }

    fn session() -> Session {
        Session::new(Settings::default(), std::sync::Arc::new(|_| {}))
    }

    #[tokio::test]
    async fn without_access_the_hint_names_both_inputs() {
        let error = find(&Inputs::default(), &session(), &Env::default())
            .await
            .unwrap_err();
        assert!(error.hint().unwrap().contains("`eks-cluster`"));
    }

    #[tokio::test]
    async fn the_users_own_kubeconfig_is_found() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".kube")).unwrap();
        let path = home.path().join(".kube/config");
        let text = "{clusters: [{name: c, cluster: {server: 'https://k'}}], current-context: x, \
                    contexts: [{name: x, context: {cluster: c}}]}";
        std::fs::write(&path, text).unwrap();
        let home = home.path().to_string_lossy().into_owned();
        let access = find(
            &Inputs::default(),
            &session(),
            &Env::from([("HOME", &*home)]),
        )
        .await;
        assert_eq!(access.unwrap().server, "https://k");
        let missing = Env::from([("KUBECONFIG", "/nowhere/config"), ("HOME", &*home)]);
        let error = find(&Inputs::default(), &session(), &missing)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("`/nowhere/config`"));
    }

    /// The access from these files. `@` in the value of `KUBECONFIG` is their folder.
    async fn found_in(files: &[(&str, &str)], list: &str) -> Result<Access, ClusterError> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let list = list.replace('@', &root.path().to_string_lossy());
        let env = Env::from([("KUBECONFIG", &*list)]);
        find(&Inputs::default(), &session(), &env).await
    }

    #[tokio::test]
    async fn several_kubeconfigs_are_merged_as_kubectl_does() {
        let clusters = "{current-context: '', clusters: [{name: c, cluster: {server: 'https://k', \
                        certificate-authority: ca.crt}}]}";
        let contexts = "{current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}], \
                        users: [{name: u, user: {tokenFile: token}}]}";
        let others =
            "{current-context: y, clusters: [{name: c, cluster: {server: 'https://other'}}]}";
        let files = [
            ("one/config", clusters),
            ("one/ca.crt", "a certificate"),
            ("two/config", contexts),
            ("two/token", "a token"),
            ("three/config", others),
            ("bad/config", "clusters: {"),
        ];
        // Missing files are skipped, and the first definition wins.
        let list = "@/none/config::@/one/config:@/two/config:@/three/config";
        let access = found_in(&files, list).await.unwrap();
        assert_eq!(
            (access.server.as_str(), access.context.as_str()),
            ("https://k", "x")
        );
        for (list, expected) in [
            ("@/none/config:@/nothing", "/none/config"),
            ("@/one/config:@/bad/config", "/bad/config`: "),
            ("@/two/config", "names the cluster `c`"),
        ] {
            let error = found_in(&files, list).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{list}: {error}");
            assert!(error.hint().is_some());
        }
    }
}
