//! Further nodes of a builder: the input `append`, as docker/setup-buildx-action takes it.
//!
//! In: YAML, a list of nodes. Out: [`AppendedNode`]s, each field read as the input of its name is.
//! <https://docs.docker.com/build/ci/github-actions/configure-builder/#append-additional-nodes>

use lists::list;
use serde::Deserialize;

use super::driver_options::DriverOption;
use super::platform::Platform;
use super::value::{Field, Form, Item, Read, Value};

/// What is expected, in words.
const EXPECTED: &str = "a list of nodes in YAML, each with any of `name`, `endpoint`, `driver-opts`, \
                        `buildkitd-flags`, `platforms`";

/// More nodes than anybody has.
const MOST: usize = 50;

/// One further node.
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
    /// The items, read as those of the input of this name.
    fn items<T: Item>(self, key: &str) -> Result<Vec<T>, (String, String)> {
        let texts = match self {
            Self::Many(texts) => texts,
            Self::One(text) => text.into_iter().collect(),
        };
        let mut items = Vec::new();
        for text in texts {
            let broken = |error: list::ListError| (EXPECTED.to_owned(), error.to_string());
            for item in list::parse(&text, T::GRAMMAR).map_err(broken)? {
                if let Err(expected) = T::add(&item, &mut items) {
                    return Err((item, format!("for each item of `{key}` {expected}")));
                }
            }
        }
        Ok(items)
    }
}

impl Value for Vec<AppendedNode> {
    const FORM: Form = Form::Block;

    fn read(field: &Field<'_>) -> Read<Self> {
        parse(field.trimmed()).map_err(|(given, expected)| field.wrong(&given, expected))
    }
}

/// Reads the nodes.
///
/// # Errors
/// What was given, and what is expected instead.
fn parse(text: &str) -> Result<Vec<AppendedNode>, (String, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 100,
            max_depth: 8,
            max_documents: 1,
            max_nodes: 10_000,
        },
        with_snippet: false,
    };
    let entries: Vec<Entry> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let said = error.to_string();
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            (text.to_owned(), format!("{EXPECTED} ({said})"))
        })?;
    if entries.len() > MOST {
        let given = format!("{} nodes", entries.len());
        return Err((given, format!("at most {MOST} nodes")));
    }
    entries.into_iter().map(node).collect()
}

fn node(entry: Entry) -> Result<AppendedNode, (String, String)> {
    let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    Ok(AppendedNode {
        name: filled(entry.name),
        endpoint: filled(entry.endpoint),
        driver_opts: entry.driver_opts.items("driver-opts")?,
        buildkitd_flags: filled(entry.buildkitd_flags),
        platforms: entry.platforms.items("platforms")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (text, given, expected) in [
            ("linux/arm64", "linux/arm64", EXPECTED),
            ("- {platform: linux/arm64}", "platform", EXPECTED),
            ("- [a", "- [a", EXPECTED),
            ("- {driver-opts: [x]}", "x", "`name=value`"),
            ("- {platforms: 'linux arm'}", "linux arm", "linux/arm64"),
        ] {
            let (shown, words) = parse(text).unwrap_err();
            assert!(shown.contains(given), "{text}: {shown}");
            assert!(words.contains(expected), "{text}: {words}");
        }
        let many = "- {name: a}\n".repeat(51);
        assert_eq!(parse(&many).unwrap_err().0, "51 nodes");
    }
}
