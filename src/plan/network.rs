//! What builders get of this machine's network settings: its proxy and the certificates that it trusts.
//!
//! A builder in a container gets both, one in pods the certificates: pods are in another network, and `driver-opts` names their
//! proxy. The Engine's own BuildKit has the Engine's settings, which are not ours to change
//! (<https://docs.docker.com/engine/daemon/proxy/>, <https://docs.docker.com/engine/security/certificates/>).

use std::path::PathBuf;

use serde::Serialize;

use super::kubernetes::Node;
use super::{Diagnostics, Hidden, RunDir, buildkitd};
use crate::inputs::driver_options::DriverOption;
use crate::network::Network;
use crate::network::certificates::FOLDERS;

/// What a builder in a container gets.
#[derive(Debug, Default)]
pub(super) struct OfContainer {
    pub options: Vec<DriverOption>,
    /// Options with a password in their value, by name.
    pub secret_options: Vec<(String, Hidden)>,
    pub certificates: Option<CertificatesFile>,
}

/// A file of certificates in PEM form, which we write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct CertificatesFile {
    pub path: PathBuf,
    #[serde(skip)]
    pub text: String,
}

/// buildx cuts a longer file of certificates (bytes).
const CONTAINER_LIMIT: usize = 1024 * 1024;

/// Pods get certificates in a ConfigMap, which holds 1 MiB in all
/// (<https://kubernetes.io/docs/concepts/configuration/configmap/#motivation>).
const POD_LIMIT: usize = 900 * 1024;

/// The proxy and the certificates for a builder in a container, unless its options set them.
pub(super) fn of_container(
    given: &[DriverOption],
    network: &Network,
    dir: &RunDir,
    diagnostics: &mut Diagnostics,
) -> OfContainer {
    let is_set = |name: &str| {
        let mut variables = given.iter().filter_map(DriverOption::variable);
        variables.any(|variable| variable.eq_ignore_ascii_case(name))
    };
    let mut gets = OfContainer::default();
    let proxy = network.proxy.iter();
    for variable in proxy.filter(|variable| !is_set(variable.name)) {
        let option = DriverOption::set_variable(variable.name, variable.value.clone());
        if variable.has_password {
            let value = Hidden(option.value.into());
            gets.secret_options.push((option.name, value));
        } else {
            gets.options.push(option);
        }
    }
    let certificates = &network.certificates;
    if fits(certificates, CONTAINER_LIMIT, diagnostics) && !is_set(FOLDERS) {
        let option = DriverOption::set_variable(FOLDERS, buildkitd::CERTIFICATES);
        gets.options.push(option);
        gets.certificates = Some(CertificatesFile {
            path: dir.certificates(),
            text: certificates.clone(),
        });
    }
    gets
}

/// Gives the nodes of a builder in pods the certificates, unless their options name a directory of certificates.
pub(super) fn give_to_nodes(nodes: &mut [Node], certificates: &str, diagnostics: &mut Diagnostics) {
    if !fits(certificates, POD_LIMIT, diagnostics) {
        return;
    }
    for node in nodes
        .iter_mut()
        .filter(|node| !node.env.contains_key(FOLDERS))
    {
        node.certificates = Some(certificates.to_owned());
    }
}

/// Whether there are certificates, and not too many.
fn fits(certificates: &str, limit: usize, diagnostics: &mut Diagnostics) -> bool {
    let size = certificates.len();
    if size > limit {
        diagnostics.warnings.push(format!(
            "the builder does not get the certificates that `SSL_CERT_FILE`, `SSL_CERT_DIR` or `NODE_EXTRA_CA_CERTS` name: they \
             take {size} bytes, and the limit is {limit}"
        ));
    }
    (1..=limit).contains(&size)
}
