//! The ConfigMap of a node: `buildkitd.toml`, and certificates for BuildKit. Pure.
//!
//! Each file is mounted in its own folder.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::MANAGED;
use crate::plan::Node;

/// The folders of `buildkitd.toml` in both images.
const FOLDER: &str = "/etc/buildkit";
const ROOTLESS_FOLDER: &str = "/home/user/.config/buildkit";
const FILE: &str = "buildkitd.toml";

const CERTIFICATES: &str = "certificates.pem";
const CERTIFICATES_FOLDER: &str = "/etc/ssl/fast-ecr-push";
/// The folders from which Go reads certificates, in addition to the system's file; the first is the default
/// (<https://pkg.go.dev/crypto/x509#SystemCertPool>).
const CERTIFICATE_FOLDERS: (&str, &str) = ("SSL_CERT_DIR", "/etc/ssl/certs:/etc/ssl/fast-ecr-push");

/// buildx's name for the ConfigMap of a workload.
pub(in crate::builder::kubernetes) fn config_name(workload: &str) -> String {
    format!("{workload}-config")
}

/// The ConfigMap, owned by its workload; none if it would be empty.
pub(in crate::builder::kubernetes) fn config(node: &Node, owner: &str) -> Option<Value> {
    let files = [(FILE, &node.config), (CERTIFICATES, &node.certificates)];
    let files = files.into_iter();
    let data: Map<String, Value> = files
        .filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?))))
        .collect();
    (!data.is_empty()).then(|| {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": config_name(&node.name),
                "labels": { MANAGED.0: MANAGED.1 },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": node.workload.kind(), "name": node.name, "uid": owner,
                }],
            },
            "data": data,
        })
    })
}

/// Mounts its files into a pod and its container.
pub(super) fn mount(node: &Node, volumes: &mut Vec<Value>, container: &mut Value) {
    let folder = if node.rootless {
        ROOTLESS_FOLDER
    } else {
        FOLDER
    };
    let config = node.config.as_ref();
    let config = config.map(|_| ("config", FILE, folder));
    let certificates = node.certificates.as_ref();
    let certificates = certificates.map(|_| ("certificates", CERTIFICATES, CERTIFICATES_FOLDER));
    for (name, file, folder) in [config, certificates].into_iter().flatten() {
        volumes.push(json!({ "name": name, "configMap": {
            "name": config_name(&node.name), "items": [{ "key": file, "path": file }],
        }}));
        if let Some(mounts) = container["volumeMounts"].as_array_mut() {
            mounts.push(json!({ "name": name, "mountPath": folder }));
        }
    }
    if node.certificates.is_some() {
        let (name, value) = CERTIFICATE_FOLDERS;
        let variable = json!({ "name": name, "value": value });
        match container["env"].as_array_mut() {
            Some(env) => env.push(variable),
            None => container["env"] = json!([variable]),
        }
    }
}

/// `sha256:…`, so that other certificates count as a difference.
pub(super) fn digest(text: &str) -> String {
    let digest = Sha256::digest(text);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
