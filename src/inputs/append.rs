//! Further nodes of a builder: the input `append`, as docker/setup-buildx-action takes it.
//!
//! In: YAML, a list of nodes. Out: [`AppendedNode`]s, each field read as the input of its name is.
//! <https://docs.docker.com/build/ci/github-actions/configure-builder/#append-additional-nodes>

use lists::attributes;
use lists::list::{self, Grammar};
use serde::Deserialize;

use super::platform;

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
    /// Name and value, in the order given.
    pub driver_opts: Vec<(String, String)>,
    pub buildkitd_flags: Option<String>,
    pub platforms: Vec<String>,
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
    fn items(self, grammar: Grammar) -> Result<Vec<String>, String> {
        let texts = match self {
            Self::Many(texts) => texts,
            Self::One(text) => text.into_iter().collect(),
        };
        let mut items = Vec::new();
        for text in texts {
            items.extend(list::parse(&text, grammar).map_err(|error| error.to_string())?);
        }
        Ok(items)
    }
}

/// Reads the nodes.
///
/// # Errors
/// What was given, and what is expected instead.
pub(super) fn parse(text: &str) -> Result<Vec<AppendedNode>, (String, String)> {
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
    let broken = |error| (EXPECTED.to_owned(), error);
    let mut driver_opts = Vec::new();
    for option in entry
        .driver_opts
        .items(Grammar::QuotedLines)
        .map_err(broken)?
    {
        match attributes::driver_options(&option) {
            Ok(given) => driver_opts.extend(given),
            Err(expected) => {
                let expected = format!("for each item of `driver-opts` {expected}");
                return Err((option, expected));
            }
        }
    }
    let mut platforms = Vec::new();
    for text in entry.platforms.items(Grammar::Commas).map_err(broken)? {
        let Some(name) = platform::usual_name(&text) else {
            let expected = format!("{}, as a node's platform", platform::EXPECTED);
            return Err((text, expected));
        };
        platforms.push(name);
    }
    Ok(AppendedNode {
        name: filled(entry.name),
        endpoint: filled(entry.endpoint),
        driver_opts,
        buildkitd_flags: filled(entry.buildkitd_flags),
        platforms,
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
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            nodes[0],
            AppendedNode {
                name: Some("arm".to_owned()),
                driver_opts: vec![
                    pair("nodeselector", "kubernetes.io/arch=arm64"),
                    pair("replicas", "2"),
                    pair("tolerations", "key=a,operator=Exists"),
                ],
                platforms: vec!["linux/arm64".to_owned(), "linux/arm/v7".to_owned()],
                ..AppendedNode::default()
            }
        );
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
