//! From the options of buildx's kubernetes driver to a node.

use std::collections::BTreeMap;

use super::Node;
use crate::inputs::driver_options::DriverOption;
use crate::plan::Diagnostics;
use crate::plan::driver_options::{Options, amount};

/// The images of buildx's own driver
/// (<https://github.com/docker/buildx/blob/461836ba0/util/bkimage.go>).
const IMAGE: &str = "moby/buildkit:buildx-stable-1";
const ROOTLESS_IMAGE: &str = "moby/buildkit:buildx-stable-1-rootless";
const QEMU_IMAGE: &str = "tonistiigi/binfmt:latest";

/// The options as they were read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub node: Node,
    pub namespace: Option<String>,
    pub timeout_seconds: Option<u64>,
}

/// Reads options that the driver knows; `input` is where they were given.
pub(super) fn read(
    input: &'static str,
    given: &[DriverOption],
    diagnostics: &mut Diagnostics,
) -> Read {
    let options = Options::read(given);
    let requests = resources(
        options.requests_cpu,
        options.requests_memory,
        options.requests_ephemeral_storage,
    );
    let limits = resources(
        options.limits_cpu,
        options.limits_memory,
        options.limits_ephemeral_storage,
    );
    for (resource, request) in &requests {
        if let Some(limit) = limits.get(resource)
            && amount(request) > amount(limit)
        {
            diagnostics.wrong(
                input,
                format!("requests.{resource}={request}"),
                format!("at most `limits.{resource}`, which is `{limit}`"),
            );
        }
    }
    let image = if options.rootless {
        ROOTLESS_IMAGE
    } else {
        IMAGE
    };
    let variables = given.iter().filter_map(|option| {
        let name = option.variable()?.to_owned();
        Some((name, option.value.clone()))
    });
    let node = Node {
        image: options.image.unwrap_or_else(|| image.to_owned()),
        replicas: options.replicas.get(),
        requests,
        limits,
        rootless: options.rootless,
        scheduler: options.scheduler,
        service_account: options.service_account,
        node_selector: options.node_selector.0,
        annotations: options.annotations.0,
        labels: options.labels.0,
        tolerations: options.tolerations.0,
        env: variables.collect(),
        qemu: options
            .qemu
            .then(|| options.qemu_image.unwrap_or_else(|| QEMU_IMAGE.to_owned())),
        memory_volume: options.memory_volume,
        storage: options.storage,
        storage_class: options.storage_class,
        ..Node::default()
    };
    Read {
        node,
        namespace: options.namespace,
        timeout_seconds: options.timeout.map(|timeout| timeout.0),
    }
}

fn resources(
    cpu: Option<String>,
    memory: Option<String>,
    storage: Option<String>,
) -> BTreeMap<&'static str, String> {
    let all = [
        ("cpu", cpu),
        ("memory", memory),
        ("ephemeral-storage", storage),
    ];
    let given = all
        .into_iter()
        .filter_map(|(name, amount)| Some((name, amount?)));
    given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Driver;
    use crate::plan::driver_options::of_driver;

    fn parsed(options: &[(&str, &str)]) -> (Read, Vec<String>) {
        let owned = options.iter();
        let owned: Vec<DriverOption> = owned
            .map(|(name, value)| DriverOption::new(*name, *value))
            .collect();
        let mut diagnostics = Diagnostics::default();
        let given = of_driver("driver-opts", &owned, Driver::Kubernetes, &mut diagnostics);
        let read = read("driver-opts", &given, &mut diagnostics);
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
        assert!(read.node.rootless);
        assert_eq!(read.node.qemu.as_deref(), Some(QEMU_IMAGE));
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
