//! The settings a build ran with, folded at the end of the summary.
//!
//! In: the plan and the machine. Out: a [`Part`]. Of caches and outputs only attributes known to be harmless are shown, of build
//! arguments only the names: a value may be a secret.

use super::markdown::cell;
use super::part::Part;
use super::{traffic, units};
use crate::inputs::cache::CacheEntry;
use crate::inputs::output_spec::OutputSpec;
use crate::plan::{Context, Plan};
use crate::timings::Traffic;
use crate::timings::schema::Runner;

/// Attributes of caches and outputs that can't hold a secret
/// (<https://docs.docker.com/build/cache/backends/>, <https://docs.docker.com/build/exporters/>).
const HARMLESS: [&str; 13] = [
    "ref",
    "mode",
    "scope",
    "dest",
    "src",
    "image-manifest",
    "oci-mediatypes",
    "ignore-error",
    "compression",
    "compression-level",
    "force-compression",
    "push",
    "store",
];

/// The settings as a folded table.
pub(super) fn settings(plan: &Plan, runner: &Runner, api: Option<Traffic>) -> Part {
    let mut rows = vec![
        ("driver", vec![plan.builder.driver.name().to_owned()]),
        ("builder", vec![plan.builder.name.clone()]),
        ("driver-opts", plan.builder.shown_options().collect()),
        (
            "Kubernetes API",
            api.map(traffic::line).into_iter().collect(),
        ),
        ("runner", described(runner)),
    ];
    for image in &plan.images {
        rows.extend([
            ("context", vec![context(&image.context)]),
            ("platforms", image.platforms.clone()),
            (
                "target",
                image.flag("--target").map(str::to_owned).collect(),
            ),
            (
                "build-args",
                image
                    .build_arguments()
                    .map(|(name, _)| name.to_owned())
                    .collect(),
            ),
            (
                "outputs",
                image.outputs.iter().cloned().map(shown_output).collect(),
            ),
            (
                "cache-from",
                image.cache_from.iter().cloned().map(shown_cache).collect(),
            ),
            (
                "cache-to",
                image.cache_to.iter().cloned().map(shown_cache).collect(),
            ),
        ]);
    }
    Part {
        head: "<details><summary>Settings</summary>\n\n| Setting | Value |\n| :-- | :-- |\n"
            .to_owned(),
        rows: rows
            .into_iter()
            .filter(|(_, values)| values.iter().any(|value| !value.is_empty()))
            .map(|(name, values)| {
                let values: Vec<String> = values.iter().map(|value| cell(value)).collect();
                format!("| {name} | {} |\n", values.join(" "))
            })
            .collect(),
        foot: "\n</details>\n".to_owned(),
    }
}

fn described(runner: &Runner) -> Vec<String> {
    let cores = runner.cores.map(|cores| match cores {
        1 => "1 core".to_owned(),
        cores => format!("{cores} cores"),
    });
    let memory = runner.memory_bytes.map(units::bytes);
    let architecture = Some(runner.architecture.clone());
    [runner.environment.clone(), cores, memory, architecture]
        .into_iter()
        .flatten()
        .collect()
}

fn context(context: &Context) -> String {
    match context {
        Context::Folder { path, .. } => path.display().to_string(),
        Context::ThisCommit { url } | Context::Remote { url } => without_login(url),
    }
}

/// An address may hold a token before its `@`.
fn without_login(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or(host);
            // What stands behind a question mark may be a signature.
            let path = path.split('?').next().unwrap_or(path);
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(),
    }
}

fn shown_cache(mut cache: CacheEntry) -> String {
    cache.attributes.show_only(&HARMLESS);
    cache.to_string()
}

fn shown_output(mut output: OutputSpec) -> String {
    output.attributes.show_only(&HARMLESS);
    output.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;

    #[test]
    fn only_harmless_attributes_are_shown() {
        let raw = [
            (
                "cache-to",
                "type=s3,region=x,secret_access_key=hush,mode=max\ntype=gha,token=hush,scope=a\n\
                 \"type=s3,\"\"x=hush,mode=hush\"\"\"\nr.example/a:cache",
            ),
            ("outputs", "type=image,x=hush,push=true"),
        ];
        let inputs = Inputs::parse(&raw.into_iter().collect()).unwrap();
        let caches: Vec<String> = inputs.cache_to.into_iter().map(shown_cache).collect();
        assert_eq!(
            caches,
            [
                "type=s3,region=…,secret_access_key=…,mode=max",
                "type=gha,token=…,scope=a",
                "type=s3,x=…",
                "type=registry,ref=r.example/a:cache",
            ]
        );
        let output = inputs.outputs[0].clone();
        assert_eq!(shown_output(output), "type=image,x=…,push=true");
    }

    #[test]
    fn addresses_lose_their_login_and_query() {
        let cases = [
            (
                "https://u:hush@git.example/a.git#main",
                "https://git.example/a.git#main",
            ),
            (
                "https://s.example/a.tar?X-Amz-Signature=hush",
                "https://s.example/a.tar",
            ),
            ("git@github.com:o/r.git", "git@github.com:o/r.git"),
        ];
        for (url, expected) in cases {
            assert_eq!(without_login(url), expected);
        }
    }
}
