//! Inputs that the step is given and this action does not have: the runner passes them all the same.

use super::SPECS;
use super::nearest::nearest;
use crate::runner::env::Env;

/// Inputs of the actions that this one replaces, and what to use instead.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "buildkitd-config",
        "use `buildkitd-config-inline`, which takes the content of the file",
    ),
    ("cleanup", "what the step creates is always removed"),
    (
        "endpoint",
        "builders of the drivers `remote` and `cloud` are not supported; `DOCKER_HOST` names the Engine",
    ),
    ("force-skip-oidc", "use `role-chaining`"),
    (
        "http-proxy",
        "set `HTTPS_PROXY` and `NO_PROXY` in `env` of the step",
    ),
    ("images", "use `repository`, or full image names in `tags`"),
    (
        "keep-state",
        "use `builder`, the name of a persistent Kubernetes builder",
    ),
    (
        "name",
        "use `builder`, the name of a persistent Kubernetes builder",
    ),
    ("no-proxy", "set `NO_PROXY` in `env` of the step"),
    (
        "registry-type",
        "use `registries: public.ecr.aws` or a full image name",
    ),
    ("retry-max-attempts", "use `retries`"),
    ("version", "buildx is part of the action"),
];

/// What the runner itself reads of a container action's inputs.
const RUNNERS: &[&str] = &["args", "entrypoint", "post-entrypoint", "pre-entrypoint"];

/// A warning for each input that has no effect.
pub(crate) fn unknown(env: &Env) -> Vec<String> {
    let names = env.names().filter_map(|name| name.strip_prefix("INPUT_"));
    let names = names.map(str::to_ascii_lowercase);
    let names = names.filter(|name| {
        let is_known =
            SPECS.iter().any(|spec| spec.name == name) || RUNNERS.contains(&name.as_str());
        !is_known
            && env
                .get(&format!("INPUT_{}", name.to_ascii_uppercase()))
                .is_some()
    });
    names
        .map(|name| match advice(&name) {
            Some(advice) => format!("`{name}` is not an input of this action: {advice}"),
            None => format!("`{name}` is not an input of this action and has no effect"),
        })
        .collect()
}

fn advice(name: &str) -> Option<String> {
    if let Some((_, advice)) = ELSEWHERE.iter().find(|(other, _)| *other == name) {
        return Some((*advice).to_owned());
    }
    let known = SPECS.iter().map(|spec| spec.name);
    Some(format!("did you mean `{}`?", nearest(name, known)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_input_is_named_with_the_one_to_use() {
        for (variable, expected) in [
            (
                "INPUT_IMAGES",
                "`images` is not an input of this action: use `repository`, or full",
            ),
            ("INPUT_ENDPOINT", "`remote` and `cloud` are not supported"),
            ("INPUT_BUILD-ARG", "did you mean `build-args`?"),
            ("INPUT_CACHE_FROM", "did you mean `cache-from`?"),
            ("INPUT_TAG", "did you mean `tags`?"),
            (
                "INPUT_COLOUR",
                "`colour` is not an input of this action and has no effect",
            ),
        ] {
            let found = unknown(&Env::from([(variable, "x")]));
            assert_eq!(found.len(), 1, "{variable}");
            assert!(found[0].contains(expected), "{variable}: {}", found[0]);
        }
        let known = [
            ("INPUT_TAGS", "x"),
            ("INPUT_ARGS", "x"),
            ("INPUT_USE", ""),
            ("HOME", "x"),
        ];
        assert_eq!(unknown(&Env::from(known)), [""; 0]);
    }

    #[test]
    fn no_advice_hides_an_input() {
        for (name, _) in ELSEWHERE {
            assert!(SPECS.iter().all(|spec| spec.name != *name), "{name}");
        }
    }
}
