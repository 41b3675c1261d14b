//! Additional nodes of a builder: the input `append`, as docker/setup-buildx-action takes it, each
//! key read as the input of its name
//! (<https://docs.docker.com/build/ci/github-actions/configure-builder/#append-additional-nodes>).

use serde::Deserialize;

use super::driver_options::DriverOption;
use super::platform::Platform;
use super::value::{Field, Form, Read, Value};

const EXPECTED: &str = "a list of nodes in YAML, each with any of `name`, `endpoint`, `driver-opts`, \
                        `buildkitd-flags`, `platforms`";

const MOST: usize = 50;

/// An additional node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AppendedNode {
    pub name: Option<String>,
    pub endpoint: Option<String>,
    pub driver_opts: Vec<DriverOption>,
    pub buildkitd_flags: Option<String>,
    pub platforms: Vec<Platform>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    endpoint: Option<String>,
    #[serde(default)]
    driver_opts: Texts,
    buildkitd_flags: Option<String>,
    #[serde(default)]
    platforms: Texts,
}

/// A list, or what the inputs of these names take.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    Many(Vec<String>),
    One(Option<String>),
}

impl Default for Texts {
    fn default() -> Self {
        Self::One(None)
    }
}

impl Texts {
    /// As the input of the same name takes them.
    fn joined(self) -> String {
        match self {
            Self::Many(texts) => texts.join("\n"),
            Self::One(text) => text.unwrap_or_default(),
        }
    }
}

impl Value for Vec<AppendedNode> {
    const FORM: Form = Form::Block;

    fn read(field: &Field<'_>) -> Read<Self> {
        let entries: Vec<Entry> = field.yaml(false, EXPECTED)?;
        if entries.len() > MOST {
            return Err(field.wrong(
                &format!("{} nodes", entries.len()),
                format!("at most {MOST}"),
            ));
        }
        let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let node = |entry: Entry| {
            Ok(AppendedNode {
                name: filled(entry.name),
                endpoint: filled(entry.endpoint),
                driver_opts: field.with(&entry.driver_opts.joined()).list()?,
                buildkitd_flags: filled(entry.buildkitd_flags),
                platforms: field.with(&entry.platforms.joined()).list()?,
            })
        };
        entries.into_iter().map(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<AppendedNode>, String> {
        let field = Field {
            name: "append",
            text,
            rules: &[],
        };
        Vec::read(&field).map_err(|errors| errors[0].to_string())
    }

    #[test]
    fn takes_what_setup_buildx_takes() {
        let text = "- name: arm\n  driver-opts:\n    - nodeselector=kubernetes.io/arch=arm64,replicas=2\n    \
                    - \"\\\"tolerations=key=a,operator=Exists\\\"\"\n  platforms: linux/arm64,linux/arm/v7\n\
                    - endpoint: ssh://me@host\n  buildkitd-flags: --debug\n  platforms: [linux/s390x]\n\
                    - driver-opts: |\n    requests.cpu=2\n    limits.cpu=4\n";
        let nodes = parse(text).unwrap();
        let pair = |name: &str, value: &str| DriverOption {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(nodes[0].name.as_deref(), Some("arm"));
        assert_eq!(
            nodes[0].driver_opts,
            [
                pair("nodeselector", "kubernetes.io/arch=arm64"),
                pair("replicas", "2"),
                pair("tolerations", "key=a,operator=Exists"),
            ]
        );
        let platforms: Vec<String> = nodes[0].platforms.iter().map(ToString::to_string).collect();
        assert_eq!(platforms, ["linux/arm64", "linux/arm/v7"]);
        assert_eq!(nodes[1].endpoint.as_deref(), Some("ssh://me@host"));
        assert_eq!(nodes[1].buildkitd_flags.as_deref(), Some("--debug"));
        assert_eq!(nodes[2].driver_opts.len(), 2);
    }

    #[test]
    fn what_is_no_list_of_nodes_is_refused_in_words() {
        for (text, expected) in [
            ("linux/arm64", EXPECTED),
            ("- {platform: linux/arm64}", "`platform`"),
            ("- [a", EXPECTED),
            ("- {driver-opts: [x]}", "`x` given, expected `name=value`"),
            ("- {platforms: 'linux arm'}", "`linux arm` given, expected"),
            (
                &"- {name: a}\n".repeat(51),
                "`51 nodes` given, expected at most 50",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
