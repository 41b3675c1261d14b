//! Claims of pods: those of a StatefulSet, which stay, and those that go with a pod. All are bound at once.

use serde_json::{Value, json};

use crate::store::{Key, Store};

const CLAIMS: &str = "persistentvolumeclaims";

/// Makes the claims of a StatefulSet's pod where they are not there yet, and adds them to its volumes
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#stable-storage>).
pub(crate) fn of_stateful_set(store: &Store, pod: &Key, object: &Value, spec: &mut Value) {
    let templates = object["spec"]["volumeClaimTemplates"].as_array();
    for template in templates.into_iter().flatten() {
        let name = template["metadata"]["name"].as_str().unwrap_or_default();
        let claim = format!("{name}-{}", pod.name);
        let volume =
            json!({ "name": name, "persistentVolumeClaim": { "claimName": claim.as_str() } });
        match spec["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(volume),
            None => spec["volumes"] = json!([volume]),
        }
        let mut made = template.clone();
        let selector = object["spec"]["selector"]["matchLabels"].as_object();
        for (label, value) in selector.into_iter().flatten() {
            made["metadata"]["labels"][label] = value.clone();
        }
        store.create(&Key::new(CLAIMS, &pod.namespace, &claim), made);
    }
}

/// Makes the claims that belong to a pod
/// (<https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes>).
pub(crate) fn of_pod(store: &Store, pod: &Key, object: &Value) {
    for volume in object["spec"]["volumes"].as_array().into_iter().flatten() {
        let template = &volume["ephemeral"]["volumeClaimTemplate"];
        if template.is_null() {
            continue;
        }
        let mut claim = template.clone();
        claim["metadata"]["ownerReferences"] = json!([{ "uid": object["metadata"]["uid"] }]);
        let name = volume["name"].as_str().unwrap_or_default();
        let name = format!("{}-{name}", pod.name);
        store.create(&Key::new(CLAIMS, &pod.namespace, &name), claim);
    }
}

/// The claims of a pod.
pub(crate) fn claims(pod: &Key, object: &Value) -> Vec<Key> {
    let volumes = object["spec"]["volumes"].as_array().into_iter().flatten();
    let name = |volume: &Value| {
        let own = || {
            let name = volume["name"].as_str().unwrap_or_default();
            format!("{}-{name}", pod.name)
        };
        let named = volume["persistentVolumeClaim"]["claimName"].as_str();
        named
            .map(str::to_owned)
            .or_else(|| (!volume["ephemeral"].is_null()).then(own))
    };
    let names = volumes.filter_map(name);
    names
        .map(|name| Key::new(CLAIMS, &pod.namespace, &name))
        .collect()
}

/// A claim that a pod names and that is not there.
pub(crate) fn missing(store: &Store, pod: &Key, object: &Value) -> Option<String> {
    let volumes = object["spec"]["volumes"].as_array().into_iter().flatten();
    volumes
        .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
        .find(|name| store.get(&Key::new(CLAIMS, &pod.namespace, name)).is_none())
        .map(str::to_owned)
}
