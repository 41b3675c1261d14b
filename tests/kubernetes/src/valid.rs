//! The checks of the API server that a hand-made manifest is likely to fail.

use serde_json::Value;

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
    if !matches!(resource, "deployments" | "statefulsets") {
        return Ok(());
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
