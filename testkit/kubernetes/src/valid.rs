//! The checks of the API server that a hand-made manifest is likely to fail.

use serde_json::Value;

/// What a specification may say, of all that Kubernetes takes
/// (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/>).
const SPECIFICATIONS: &[(&str, &[&str])] = &[
    (
        "deployments",
        &[
            "replicas",
            "revisionHistoryLimit",
            "selector",
            "strategy",
            "template",
        ],
    ),
    (
        "statefulsets",
        &[
            "podManagementPolicy",
            "replicas",
            "revisionHistoryLimit",
            "selector",
            "serviceName",
            "template",
            "volumeClaimTemplates",
        ],
    ),
];

/// What only a StatefulSet has.
fn stateful(spec: &Value) -> Result<(), String> {
    if spec["serviceName"].as_str().is_none_or(str::is_empty) {
        return Err("spec.serviceName: Required value".to_owned());
    }
    let policy = &spec["podManagementPolicy"];
    if !policy.is_null() && *policy != "Parallel" && *policy != "OrderedReady" {
        return Err(format!(
            "spec.podManagementPolicy: Unsupported value: {policy}"
        ));
    }
    for (index, template) in spec["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        if template["metadata"]["name"]
            .as_str()
            .is_none_or(str::is_empty)
        {
            return Err(format!(
                "spec.volumeClaimTemplates[{index}].metadata.name: Required value"
            ));
        }
        claim(
            &format!("spec.volumeClaimTemplates[{index}].spec"),
            &template["spec"],
        )?;
    }
    Ok(())
}

fn claim(path: &str, spec: &Value) -> Result<(), String> {
    if spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
        return Err(format!(
            "{path}.accessModes: Required value: at least 1 access mode is required"
        ));
    }
    if !spec["resources"]["requests"]["storage"].is_string() {
        return Err(format!("{path}.resources[storage]: Required value"));
    }
    Ok(())
}

/// Checks an object that is to be created.
///
/// # Errors
/// In the words of the API server.
pub(crate) fn check(resource: &str, object: &Value) -> Result<(), String> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let named = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if name.is_empty() || name.len() > 63 || !named || name.starts_with('-') || name.ends_with('-')
    {
        return Err(format!("metadata.name: Invalid value: \"{name}\""));
    }
    let labels = |labels: &Value| {
        let all = labels.as_object().into_iter().flatten();
        for (name, value) in all {
            let value = value.as_str().ok_or(format!("label {name}: not text"))?;
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
            let edges = edge(value.bytes().next()) && edge(value.bytes().last());
            if value.len() > 63 || !value.bytes().all(good) || !edges {
                return Err(format!("metadata.labels: Invalid value: \"{value}\""));
            }
        }
        Ok(())
    };
    labels(&object["metadata"]["labels"])?;
    if resource == "persistentvolumeclaims" {
        return claim("spec", &object["spec"]);
    }
    let Some((_, fields)) = SPECIFICATIONS.iter().find(|(kind, _)| *kind == resource) else {
        return Ok(());
    };
    let given = object["spec"].as_object().into_iter().flatten();
    if let Some((field, _)) = given
        .into_iter()
        .find(|(field, _)| !fields.contains(&field.as_str()))
    {
        return Err(format!("unknown field \"spec.{field}\""));
    }
    if resource == "statefulsets" {
        stateful(&object["spec"])?;
    }
    let template = &object["spec"]["template"];
    labels(&template["metadata"]["labels"])?;
    let selector = object["spec"]["selector"]["matchLabels"].as_object();
    let selector = selector.ok_or("spec.selector: Required value")?;
    for (name, value) in selector {
        if template["metadata"]["labels"][name] != *value {
            return Err("spec.template.metadata.labels: `selector` does not match".to_owned());
        }
    }
    let containers = template["spec"]["containers"].as_array();
    let containers = containers.ok_or("spec.template.spec.containers: Required value")?;
    for volume in template["spec"]["volumes"].as_array().into_iter().flatten() {
        let of_pod = &volume["ephemeral"]["volumeClaimTemplate"];
        if !of_pod.is_null() {
            claim(
                "spec.template.spec.volumes.ephemeral.volumeClaimTemplate.spec",
                &of_pod["spec"],
            )?;
        }
    }
    for container in containers {
        let volumes: Vec<&Value> = ["volumes"]
            .into_iter()
            .flat_map(|key| template["spec"][key].as_array().into_iter().flatten())
            .chain(
                object["spec"]["volumeClaimTemplates"]
                    .as_array()
                    .into_iter()
                    .flatten(),
            )
            .collect();
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let known = volumes.iter().any(|volume| {
                volume["name"] == mount["name"] || volume["metadata"]["name"] == mount["name"]
            });
            if !known {
                return Err(format!("volumeMounts: Not found: {}", mount["name"]));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stateful_set_is_no_deployment() {
        let template = json!({
            "metadata": { "labels": { "app": "b" } },
            "spec": { "containers": [{ "name": "buildkitd", "volumeMounts": [{ "name": "data" }] }] },
        });
        let claim = json!({ "metadata": { "name": "data" }, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
        }});
        let good = json!({ "metadata": { "name": "b" }, "spec": {
            "serviceName": "b", "selector": { "matchLabels": { "app": "b" } }, "template": template,
            "volumeClaimTemplates": [claim],
        }});
        assert_eq!(check("statefulsets", &good), Ok(()));
        let refused = check("deployments", &good).unwrap_err();
        assert!(refused.starts_with("unknown field"), "{refused}");
        for (path, value, words) in [
            (
                "/spec/serviceName",
                json!(""),
                "serviceName: Required value",
            ),
            ("/spec/volumeClaimTemplates", json!([]), "Not found"),
            (
                "/spec/volumeClaimTemplates/0/spec/accessModes",
                json!([]),
                "accessModes: Required value",
            ),
            (
                "/spec/volumeClaimTemplates/0/spec/resources",
                json!({}),
                "resources[storage]: Required value",
            ),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            let refused = check("statefulsets", &bad).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
