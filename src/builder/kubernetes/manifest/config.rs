//! The ConfigMap of a node: `buildkitd.toml`, and certificates that BuildKit trusts. Pure.
//!
//! Each is mounted by itself, in a folder of its own.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::MANAGED;
use crate::plan::Node;

/// Where the two images look for `buildkitd.toml`.
const FOLDER: &str = "/etc/buildkit";
const ROOTLESS_FOLDER: &str = "/home/user/.config/buildkit";
const FILE: &str = "buildkitd.toml";

const CERTIFICATES: &str = "certificates.pem";
const CERTIFICATES_FOLDER: &str = "/etc/ssl/fast-ecr-push";
/// A Go program reads one file of all certificates of its system, and these folders; the first is
/// that of the system (<https://pkg.go.dev/crypto/x509#SystemCertPool>).
const CERTIFICATE_FOLDERS: (&str, &str) = ("SSL_CERT_DIR", "/etc/ssl/certs:/etc/ssl/fast-ecr-push");

/// Name of the ConfigMap that belongs to a workload, as buildx's driver has it.
pub(in crate::builder::kubernetes) fn config_name(workload: &str) -> String {
    format!("{workload}-config")
}

/// The ConfigMap, which goes with its workload; none where there is nothing to put into it.
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

/// Mounts what is in it into a pod and its container.
pub(super) fn mount(node: &Node, volumes: &mut Vec<Value>, container: &mut Value) {
    let folder = if node.rootless {
        ROOTLESS_FOLDER
    } else {
        FOLDER
    };
    for (wanted, name, file, folder) in [
        (&node.config, "config", FILE, folder),
        (
            &node.certificates,
            "certificates",
            CERTIFICATES,
            CERTIFICATES_FOLDER,
        ),
    ] {
        if wanted.is_none() {
            continue;
        }
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

/// As in `sha256:…`, so that other certificates count as a difference.
pub(super) fn digest(text: &str) -> String {
    let digest = Sha256::digest(text);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
