//! `action.yml` as the runner reads it (`ActionManifestManager.cs`): inputs with their defaults, and how to start.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// What the runner takes from an action's metadata.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    #[serde(default)]
    pub inputs: BTreeMap<String, Input>,
    #[serde(default)]
    pub outputs: BTreeMap<String, Output>,
    pub runs: Runs,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Input {
    #[serde(default)]
    default: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Output {}

/// <https://docs.github.com/actions/reference/workflows-and-actions/metadata-syntax#runs-for-docker-container-actions>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Runs {
    pub using: String,
    pub image: String,
    pub entrypoint: String,
    pub post_entrypoint: String,
}

impl Manifest {
    /// The action's own.
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml");
        serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// The inputs as the container gets them: what the step gives, and the defaults of the others, whose expressions
    /// are evaluated. The runner only warns about an input that the action does not declare; here it is a mistake.
    pub(crate) fn inputs(
        &self,
        given: &BTreeMap<String, String>,
        token: &str,
    ) -> BTreeMap<String, String> {
        for name in given.keys() {
            assert!(self.inputs.contains_key(name), "unexpected input `{name}`");
        }
        let value = |(name, input): (&String, &Input)| {
            let default = || {
                input
                    .default
                    .replace("${{ github.token }}", token)
                    .replace("${{ toJSON(matrix) }}", "null")
            };
            let value = given.get(name).cloned().unwrap_or_else(default);
            assert!(
                !value.contains("${{"),
                "the stand-in knows no such expression: {value}"
            );
            (name.clone(), value)
        };
        self.inputs.iter().map(value).collect()
    }
}
