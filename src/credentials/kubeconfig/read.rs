//! Parses kubeconfigs and merges several into one: the first definition wins, and file names are
//! relative to the kubeconfig.
//!
//! Rules: <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files>
//! and `ResolveLocalPaths` in
//! <https://github.com/kubernetes/client-go/blob/master/tools/clientcmd/loader.go>.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::Kubeconfig;

use super::error::KubeconfigError;

/// The longest accepted kubeconfig (bytes); dozens of clusters take about 100 KiB.
pub(super) const MAX_LENGTH: usize = 1 << 20;

/// Parses YAML, plain or in base64.
pub(super) fn parse(text: &str) -> Result<Kubeconfig, KubeconfigError> {
    if text.len() > MAX_LENGTH {
        return Err(KubeconfigError::Long);
    }
    let decoded;
    // Every kubeconfig has a colon, base64 has none.
    let text = if text.contains(':') {
        text
    } else {
        let packed: String = text.split_whitespace().collect();
        let bytes = STANDARD
            .decode(packed)
            .map_err(|_| KubeconfigError::Encoding)?;
        decoded = String::from_utf8(bytes).map_err(|_| KubeconfigError::Encoding)?;
        &decoded
    };
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 100,
            max_anchors: 100,
            max_recorded_anchor_events: 10_000,
            max_recorded_anchor_bytes: MAX_LENGTH,
            max_depth: 32,
            max_documents: 1,
            max_nodes: 50_000,
            max_total_scalar_bytes: 2 * MAX_LENGTH,
        },
        // An excerpt could show a secret.
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location();
        KubeconfigError::Yaml(place.map(|place| (place.line(), place.column())))
    })
}

/// Merges files, given by path and content.
pub(super) fn merged(files: &[(PathBuf, String)]) -> Result<Kubeconfig, KubeconfigError> {
    let mut merged = Kubeconfig::default();
    for (path, text) in files {
        let within = |source| KubeconfigError::Within {
            path: path.clone(),
            source: Box::new(source),
        };
        let mut config = parse(text).map_err(within)?;
        // An empty name counts as unset.
        config.current_context = config.current_context.filter(|name| !name.is_empty());
        resolve(&mut config, path.parent().unwrap_or(Path::new("/")));
        merged = merged
            .merge(config)
            .map_err(|_| within(KubeconfigError::Kind))?;
    }
    Ok(merged)
}

/// Makes the names of files absolute.
fn resolve(config: &mut Kubeconfig, folder: &Path) {
    let absolute = |name: &mut Option<String>| {
        let Some(given) = name.as_deref().filter(|name| !name.is_empty()) else {
            return;
        };
        let path = folder.join(given);
        // Fails only without a current folder.
        let path = std::path::absolute(&path).unwrap_or(path);
        *name = Some(path.to_string_lossy().into_owned());
    };
    let clusters = config.clusters.iter_mut();
    for cluster in clusters.filter_map(|named| named.cluster.as_mut()) {
        absolute(&mut cluster.certificate_authority);
    }
    let users = config.auth_infos.iter_mut();
    for user in users.filter_map(|named| named.auth_info.as_mut()) {
        absolute(&mut user.client_certificate);
        absolute(&mut user.client_key);
        absolute(&mut user.token_file);
        // A command without a slash is searched in PATH.
        let has_slash = |command: &String| command.contains('/');
        if let Some(exec) = &mut user.exec
            && exec.command.as_ref().is_some_and(has_slash)
        {
            absolute(&mut exec.command);
        }
    }
}
