//! The driver options of buildx's kubernetes driver, one by one.
//!
//! Mended here: a value may contain `=` and `,`, `requests.ephemeral-storage` is a request, nothing
//! malformed is dropped in silence.

use std::collections::BTreeMap;

use lists::attributes;

use super::quantity::{self, EXPECTED};
use super::{Node, Toleration};
use crate::inputs::driver_options::DriverOption;
use crate::inputs::grammar::NAMESPACE;
use crate::plan::Diagnostics;

/// What buildx's driver keeps for itself.
const PLATFORM_ANNOTATION: &str = "buildx.docker.com/platform";
const APP_LABEL: &str = "app";

/// The options as they were read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub node: Node,
    pub namespace: Option<String>,
    pub timeout_seconds: Option<u64>,
    pub qemu: bool,
    pub qemu_image: Option<String>,
}

/// Reads options whose names are known and stand once; `input` is the one that they stand in.
pub(super) fn read(
    input: &'static str,
    options: &[DriverOption],
    diagnostics: &mut Diagnostics,
) -> Read {
    let mut read = Read::default();
    read.node.replicas = 1;
    for option in options {
        let DriverOption { name, value } = option;
        if let Err(expected) = apply(&mut read, option) {
            diagnostics.wrong(input, format!("{name}={value}"), expected);
        }
    }
    for (resource, request) in &read.node.requests {
        let limit = read.node.limits.get(resource);
        if let (Some(wanted), Some(most)) = (
            quantity::amount(request),
            limit.and_then(|limit| quantity::amount(limit)),
        ) && wanted > most
        {
            diagnostics.wrong(
                input,
                format!("requests.{resource}={request}"),
                format!(
                    "at most `limits.{resource}`, which is `{}`",
                    limit.map_or("", String::as_str)
                ),
            );
        }
    }
    read
}

fn apply(read: &mut Read, option: &DriverOption) -> Result<(), String> {
    let (name, value) = (option.name.as_str(), option.value.as_str());
    let node = &mut read.node;
    let text = || Some(value.to_owned()).filter(|text| !text.is_empty());
    match name {
        "image" => value.clone_into(&mut node.image),
        "namespace" if !(NAMESPACE.holds)(value) => return Err(NAMESPACE.expected.to_owned()),
        "namespace" => read.namespace = text(),
        "replicas" => {
            let replicas = value.parse().ok().filter(|count| (1..=100).contains(count));
            node.replicas = replicas.ok_or("a number from 1 to 100")?;
        }
        "requests.cpu" => resource(&mut node.requests, "cpu", value)?,
        "requests.memory" => resource(&mut node.requests, "memory", value)?,
        "requests.ephemeral-storage" => resource(&mut node.requests, "ephemeral-storage", value)?,
        "limits.cpu" => resource(&mut node.limits, "cpu", value)?,
        "limits.memory" => resource(&mut node.limits, "memory", value)?,
        "limits.ephemeral-storage" => resource(&mut node.limits, "ephemeral-storage", value)?,
        "rootless" => node.rootless = boolean(value)?,
        "schedulername" => node.scheduler = text(),
        "serviceaccount" => node.service_account = text(),
        "nodeselector" => node.node_selector = pairs(value)?,
        "annotations" => {
            node.annotations = pairs(value)?;
            if node.annotations.contains_key(PLATFORM_ANNOTATION) {
                return Err(format!(
                    "no `{PLATFORM_ANNOTATION}`, which buildx keeps for itself"
                ));
            }
        }
        "labels" => {
            node.labels = pairs(value)?;
            if node.labels.contains_key(APP_LABEL) {
                return Err(format!("no `{APP_LABEL}`, which buildx keeps for itself"));
            }
            if let Some(value) = node.labels.values().find(|value| !is_label(value)) {
                return Err(format!(
                    "label values of at most 63 letters, digits, `-`, `_` and `.`, not `{value}`"
                ));
            }
        }
        "tolerations" => node.tolerations = tolerations(value)?,
        "loadbalance" if matches!(value, "sticky" | "random") => {}
        "loadbalance" => return Err("`sticky` or `random`".to_owned()),
        "qemu.install" => read.qemu = boolean(value)?,
        "qemu.image" => read.qemu_image = text(),
        "buildkit-root-volume-memory" => {
            quantity::amount(value).ok_or(EXPECTED)?;
            node.memory_volume = text();
        }
        "default-load" => {
            boolean(value)?;
        }
        "timeout" => {
            let seconds = quantity::seconds(value).ok_or("a duration, as `10m` or `90s`")?;
            read.timeout_seconds = Some(seconds);
        }
        "persistent-volume-claim.requests.storage" => {
            quantity::amount(value).ok_or(EXPECTED)?;
            node.storage = text();
        }
        "persistent-volume-claim.storageclassname" => node.storage_class = text(),
        _ => {
            if let Some(variable) = option.variable() {
                node.env.insert(variable.to_owned(), value.to_owned());
            }
        }
    }
    Ok(())
}

fn resource(
    into: &mut BTreeMap<&'static str, String>,
    name: &'static str,
    value: &str,
) -> Result<(), String> {
    quantity::amount(value).ok_or(EXPECTED)?;
    into.insert(name, value.to_owned());
    Ok(())
}

fn boolean(value: &str) -> Result<bool, String> {
    attributes::boolean(value).ok_or_else(|| "`true` or `false`".to_owned())
}

/// `name=value,name=value`. A part without `=` belongs to the value before it.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    let mut last: Option<String> = None;
    for part in text.trim_matches('"').split(',') {
        match (part.split_once('='), &last) {
            (Some((name, value)), _) if !name.trim().is_empty() => {
                let name = name.trim().to_owned();
                pairs.insert(name.clone(), value.trim().to_owned());
                last = Some(name);
            }
            (None, Some(name)) => {
                if let Some(value) = pairs.get_mut(name) {
                    value.push(',');
                    value.push_str(part);
                }
            }
            _ => return Err("`name=value`, several of them with commas between".to_owned()),
        }
    }
    Ok(pairs)
}

/// `key=…,operator=…,value=…,effect=…,tolerationSeconds=…`, several with `;` between.
fn tolerations(text: &str) -> Result<Vec<Toleration>, String> {
    let expected = || {
        "`key=…,operator=…,value=…,effect=…,tolerationSeconds=…`, several of them with `;` between"
            .to_owned()
    };
    let mut all = Vec::new();
    for part in text
        .trim_matches('"')
        .split(';')
        .filter(|part| !part.trim().is_empty())
    {
        let mut toleration = Toleration::default();
        for (name, value) in pairs(part).map_err(|_| expected())? {
            match name.as_str() {
                "key" => toleration.key = Some(value),
                "operator" if matches!(value.as_str(), "Exists" | "Equal") => {
                    toleration.operator = Some(value);
                }
                "value" => toleration.value = Some(value),
                "effect"
                    if matches!(
                        value.as_str(),
                        "NoSchedule" | "PreferNoSchedule" | "NoExecute"
                    ) =>
                {
                    toleration.effect = Some(value);
                }
                "tolerationSeconds" => {
                    let seconds = value.parse().map_err(|_| expected())?;
                    toleration.toleration_seconds = Some(seconds);
                }
                _ => return Err(expected()),
            }
        }
        all.push(toleration);
    }
    Ok(all)
}

fn is_label(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && edge(bytes.first())
        && edge(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &[(&str, &str)]) -> (Read, Vec<String>) {
        let owned = options.iter();
        let owned: Vec<DriverOption> = owned
            .map(|(name, value)| DriverOption::new(*name, *value))
            .collect();
        let mut diagnostics = Diagnostics::default();
        let read = read("driver-opts", &owned, &mut diagnostics);
        let errors = diagnostics.errors.iter().map(ToString::to_string).collect();
        (read, errors)
    }

    #[test]
    fn every_option_has_its_place() {
        let (read, errors) = parsed(&[
            ("replicas", "3"),
            ("namespace", "buildx"),
            ("requests.cpu", "2"),
            ("requests.ephemeral-storage", "40Gi"),
            ("limits.memory", "7Gi"),
            ("rootless", "true"),
            ("nodeselector", "kubernetes.io/arch=arm64,pool=ci"),
            ("annotations", "a=x=y,b=1,2"),
            (
                "tolerations",
                "key=build,operator=Exists,effect=NoSchedule;key=spot,value=true,tolerationSeconds=60",
            ),
            ("qemu.install", "true"),
            ("timeout", "10m"),
            ("env.HTTP_PROXY", "http://p:1"),
            ("loadbalance", "random"),
        ]);
        assert_eq!(errors, [""; 0]);
        assert_eq!(read.namespace.as_deref(), Some("buildx"));
        assert_eq!(read.timeout_seconds, Some(600));
        assert!(read.qemu && read.node.rootless);
        let node = read.node;
        assert_eq!(node.replicas, 3);
        assert_eq!(node.requests["ephemeral-storage"], "40Gi");
        assert!(!node.limits.contains_key("ephemeral-storage"));
        assert_eq!(node.node_selector["kubernetes.io/arch"], "arm64");
        assert_eq!(node.annotations["a"], "x=y");
        assert_eq!(node.annotations["b"], "1,2");
        assert_eq!(node.env["HTTP_PROXY"], "http://p:1");
        assert_eq!(node.tolerations.len(), 2);
        assert_eq!(node.tolerations[1].toleration_seconds, Some(60));
    }

    #[test]
    fn what_is_malformed_is_named_with_what_is_expected() {
        for (name, value, expected) in [
            ("namespace", "Team_A", "a namespace's name"),
            ("replicas", "0", "a number from 1 to 100"),
            ("requests.memory", "7GB", EXPECTED),
            ("rootless", "yes", "`true` or `false`"),
            ("nodeselector", "arm64", "`name=value`"),
            ("labels", "app=x", "no `app`"),
            ("labels", "run=a/b", "not `a/b`"),
            (
                "annotations",
                "buildx.docker.com/platform=x",
                "keeps for itself",
            ),
            (
                "tolerations",
                "key=a,effects=NoSchedule",
                "`key=…,operator=…",
            ),
            ("tolerations", "operator=exists", "`key=…,operator=…"),
            ("timeout", "10", "a duration"),
            ("loadbalance", "least", "`sticky` or `random`"),
        ] {
            let (_, errors) = parsed(&[(name, value)]);
            assert_eq!(errors.len(), 1, "{name}={value}");
            assert!(
                errors[0].starts_with(&format!("input `driver-opts`: `{name}={value}` given")),
                "{errors:?}"
            );
            assert!(errors[0].contains(expected), "{errors:?}");
        }
    }

    #[test]
    fn a_request_beyond_its_limit_is_refused_before_the_cluster_does() {
        let (_, errors) = parsed(&[("requests.cpu", "2500m"), ("limits.cpu", "2")]);
        assert!(
            errors[0].contains("at most `limits.cpu`, which is `2`"),
            "{errors:?}"
        );
        let (_, errors) = parsed(&[("requests.memory", "7Gi"), ("limits.memory", "7Gi")]);
        assert!(errors.is_empty());
    }
}
