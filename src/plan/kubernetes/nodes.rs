//! The nodes of a builder: one for each architecture, and those of `append`.
//!
//! In: inputs and the first node's options. Out: [`Nodes`]. A platform belongs to the node of
//! `append` that names it, else to the first one, which stands for one native node per
//! architecture. Nodes that nothing is built on are not started.

use semver::Version;
use sha2::{Digest as _, Sha256};

use super::{Node, options, volume};
use crate::inputs::driver_options::DriverOption;
use crate::inputs::{AppendedNode, Inputs, Platform};
use crate::plan::{Diagnostics, Driver, buildkitd, driver_options};

/// What docker/setup-buildx-action allows its builders by default; every step still has to be
/// allowed by the build itself.
const BUILDKITD_FLAGS: [&str; 2] = [
    "--allow-insecure-entitlement=security.insecure",
    "--allow-insecure-entitlement=network.host",
];

/// The label of machines that names their architecture
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-arch>).
const ARCHITECTURE: &str = "kubernetes.io/arch";

/// Length of a node's name, which is that of a workload. With the suffixes of its revision and pods it still is a label's value
/// (63 characters).
const LONGEST_NAME: usize = 50;
/// Digits of the hash in a name that was cut.
const HASH_DIGITS: usize = 6;

/// The nodes, and what their options say of the builder as a whole.
pub(super) struct Nodes {
    pub nodes: Vec<Node>,
    pub namespace: Option<String>,
    pub timeout_seconds: Option<u64>,
}

/// Reads the nodes of the builder of this name.
pub(super) fn choose(
    inputs: &Inputs,
    name: &str,
    buildx: &Version,
    diagnostics: &mut Diagnostics,
) -> Nodes {
    let options = driver_options::of_driver(
        "driver-opts",
        &inputs.driver_opts,
        Driver::Kubernetes,
        diagnostics,
    );
    let config = buildkitd::given(inputs, diagnostics);
    let reader = Reader {
        inputs,
        name,
        buildx,
        config,
    };
    let flags = inputs.buildkitd_flags.as_deref();
    let options::Read {
        node: mut first,
        namespace,
        mut timeout_seconds,
    } = reader.node("driver-opts", options, flags, diagnostics);
    name.clone_into(&mut first.name);
    let mut appended = Vec::new();
    let mut names = Vec::new();
    for (index, entry) in inputs.append.iter().enumerate() {
        let common = inputs.namespace.as_ref().or(namespace.as_ref());
        let (node, timeout) = reader.appended(entry, index + 2, common, &mut names, diagnostics);
        timeout_seconds = timeout_seconds.max(timeout);
        appended.push(node);
    }
    Nodes {
        nodes: shared_out(first, appended, &platforms(&inputs.platforms), diagnostics),
        namespace,
        timeout_seconds,
    }
}

struct Reader<'a> {
    inputs: &'a Inputs,
    /// The builder's.
    name: &'a str,
    buildx: &'a Version,
    config: Option<&'a str>,
}

impl Reader<'_> {
    fn node(
        &self,
        input: &'static str,
        given: Vec<DriverOption>,
        flags: Option<&str>,
        diagnostics: &mut Diagnostics,
    ) -> options::Read {
        let mut read = options::read(input, &given, diagnostics);
        let node = &mut read.node;
        match volume::choose(node, self.inputs.builder.is_some(), self.buildx) {
            Ok(workload) => node.workload = workload,
            Err(expected) => {
                let size = node.storage.as_deref().unwrap_or_default();
                let given = format!("{}={size}", volume::OPTION);
                diagnostics.wrong(input, given, expected);
            }
        }
        node.config = match &node.storage {
            Some(_) => Some(buildkitd::for_volume(self.config)),
            // One more object in the cluster, and the right to make it, is not asked for this alone.
            None => self.config.map(|text| buildkitd::faster(Some(text))),
        };
        node.buildkitd_flags = match flags {
            Some(flags) => flags.split_whitespace().map(str::to_owned).collect(),
            None => BUILDKITD_FLAGS.map(str::to_owned).to_vec(),
        };
        // With it the driver looks for a StatefulSet: it hears of it when there is one.
        let of_claim = |option: &DriverOption| option.name.starts_with("persistent-volume-claim.");
        let options = given.into_iter();
        node.options = options.filter(|option| !of_claim(option)).collect();
        read
    }

    fn appended(
        &self,
        entry: &AppendedNode,
        number: usize,
        namespace: Option<&String>,
        names: &mut Vec<String>,
        diagnostics: &mut Diagnostics,
    ) -> (Node, Option<u64>) {
        if let Some(endpoint) = &entry.endpoint {
            let expected =
                "no `endpoint`: the nodes of a Kubernetes builder are pods of its cluster";
            diagnostics.wrong("append", endpoint, expected);
        }
        let given = driver_options::of_driver(
            "append",
            &entry.driver_opts,
            Driver::Kubernetes,
            diagnostics,
        );
        let flags = entry
            .buildkitd_flags
            .as_ref()
            .or(self.inputs.buildkitd_flags.as_ref());
        let options::Read {
            mut node,
            namespace: own,
            timeout_seconds,
        } = self.node("append", given, flags.map(String::as_str), diagnostics);
        if let Some(other) = &own
            && Some(other) != namespace
        {
            diagnostics.wrong(
                "append",
                format!("namespace={other}"),
                "the namespace of the whole builder: name it in `namespace` or `driver-opts`",
            );
        }
        node.platforms = platforms(&entry.platforms);
        let selected = node.architecture();
        match (selected, only_architecture(&node.platforms)) {
            (Some(selected), _) if node.platforms.is_empty() => {
                node.platforms = vec![format!("linux/{selected}")];
            }
            (None, Some(architecture)) if node.qemu.is_none() => {
                let architecture = architecture.to_owned();
                node.select(architecture);
            }
            _ => {}
        }
        let shown = entry
            .name
            .clone()
            .unwrap_or_else(|| format!("node {number}"));
        if node.platforms.is_empty() {
            let expected = "`platforms`, which say what is built on it";
            diagnostics.wrong("append", &shown, expected);
        }
        let room = LONGEST_NAME.saturating_sub(self.name.len() + 1);
        let own = match &entry.name {
            Some(given) => {
                let own = object_name(given, room);
                if !is_name(given) {
                    let expected =
                        "a name of letters, digits, `.`, `_` and `-` that begins with a letter";
                    diagnostics.wrong("append", given, expected);
                } else if names.contains(&own) {
                    let expected = "another name for each node; upper and lower case are the same, and so are `.`, `_` and `-`";
                    diagnostics.wrong("append", given, expected);
                }
                own
            }
            None => node
                .node_selector
                .get(ARCHITECTURE)
                .filter(|architecture| is_name(architecture))
                .map(|architecture| object_name(architecture, room))
                .filter(|own| !names.contains(own))
                .unwrap_or_else(|| number.to_string()),
        };
        node.name = format!("{}-{own}", self.name);
        names.push(own);
        (node, timeout_seconds)
    }
}

impl Node {
    /// That of its machines, if it asks for one.
    pub(in crate::plan) fn architecture(&self) -> Option<&str> {
        self.node_selector.get(ARCHITECTURE).map(String::as_str)
    }

    /// Asks for machines of an architecture, also by the driver's own manifest.
    fn select(&mut self, architecture: String) {
        self.node_selector
            .insert(ARCHITECTURE.to_owned(), architecture);
        let pairs = self.node_selector.iter();
        let pairs: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        self.set_option("nodeselector", pairs.join(","));
    }
}

fn platforms(given: &[Platform]) -> Vec<String> {
    given.iter().map(ToString::to_string).collect()
}

/// The nodes that something is built on.
fn shared_out(
    first: Node,
    appended: Vec<Node>,
    platforms: &[String],
    diagnostics: &mut Diagnostics,
) -> Vec<Node> {
    let (used, idle): (Vec<Node>, Vec<Node>) = appended.into_iter().partition(|node| {
        platforms
            .iter()
            .any(|wanted| node.platforms.contains(wanted))
    });
    for node in idle {
        diagnostics.notices.push(format!(
            "the node `{}` of `append` is not started: `platforms` names nothing that it builds ({})",
            node.name,
            node.platforms.join(", ")
        ));
    }
    if used.is_empty() {
        return native(first, platforms);
    }
    let of_others = |platform: &&String| used.iter().any(|node| node.platforms.contains(*platform));
    let rest: Vec<String> = platforms
        .iter()
        .filter(|platform| !of_others(platform))
        .cloned()
        .collect();
    let mut nodes = Vec::new();
    if rest.is_empty() {
        diagnostics.notices.push(
            "the builder's first node is not started: `append` has a node for each of `platforms`"
                .to_owned(),
        );
    } else {
        nodes = native(first, &rest);
        if let [only] = nodes.as_mut_slice() {
            only.platforms.clone_from(&rest);
        }
    }
    nodes.extend(used);
    // `<builder>-arm64` may be a native node and one of `append`.
    for index in 1..nodes.len() {
        let (before, from) = nodes.split_at_mut(index);
        if let [node, ..] = from
            && before.iter().any(|other| other.name == node.name)
        {
            node.name = format!("{}-{}", node.name, index + 1);
        }
    }
    nodes
}

/// One node for each architecture that is built for, each on a machine of that kind: native, where
/// emulation is ten times slower. With emulators asked for, one for all.
fn native(node: Node, platforms: &[String]) -> Vec<Node> {
    if node.qemu.is_some() || node.node_selector.contains_key(ARCHITECTURE) {
        return vec![node];
    }
    let mut nodes: Vec<Node> = Vec::new();
    for platform in platforms {
        let Some(architecture) = architecture(platform) else {
            return vec![node];
        };
        let known = nodes
            .iter_mut()
            .find(|other| other.node_selector[ARCHITECTURE] == architecture);
        match known {
            Some(known) if known.platforms.contains(platform) => {}
            Some(known) => known.platforms.push(platform.clone()),
            None => {
                let mut new = node.clone();
                new.platforms.push(platform.clone());
                new.select(architecture.to_owned());
                nodes.push(new);
            }
        }
    }
    if nodes.len() > 1 {
        for node in &mut nodes {
            node.name = format!("{}-{}", node.name, node.node_selector[ARCHITECTURE]);
        }
    }
    if nodes.is_empty() {
        nodes.push(node);
    }
    nodes
}

/// The architecture of the machines that run all of these platforms natively.
fn only_architecture(platforms: &[String]) -> Option<&str> {
    let first = architecture(platforms.first()?)?;
    let same = |platform: &String| architecture(platform) == Some(first);
    platforms.iter().all(same).then_some(first)
}

/// The machines that run a Linux platform natively, under Kubernetes' name for them.
fn architecture(platform: &str) -> Option<&str> {
    let mut parts = platform.split('/');
    let (first, second) = (parts.next()?, parts.next());
    match (first, second) {
        // Machines of today run their 32-bit ancestors' programs.
        ("linux", Some("amd64" | "386")) => Some("amd64"),
        ("linux", Some("arm64" | "arm")) => Some("arm64"),
        ("linux", Some(other)) => Some(other),
        _ => None,
    }
}

/// Whether buildx takes a text as a node's name
/// (<https://github.com/docker/buildx/blob/461836ba0/store/util.go>, `ValidateName`); also one that begins with a digit.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(inner)
}

/// What a node's name contributes to the name of its workload, which has lower case, digits and `-` alone. buildx replaces `_` in
/// the same way (<https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/factory.go>, `buildxNameToDeploymentName`).
/// A name longer than `room` is cut and gets a hash.
fn object_name(name: &str, room: usize) -> String {
    let plain = name.to_ascii_lowercase().replace(['.', '_'], "-");
    let plain = plain.trim_end_matches('-');
    if plain.len() <= room {
        return plain.to_owned();
    }
    let digest = Sha256::digest(plain.as_bytes());
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let cut = |text: &str, length: usize| text.chars().take(length).collect::<String>();
    let start = cut(plain, room.saturating_sub(HASH_DIGITS + 1));
    format!(
        "{}-{}",
        start.trim_end_matches('-'),
        cut(&hash, HASH_DIGITS)
    )
}
