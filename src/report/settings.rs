//! The settings of the build, folded at the end of the summary.
//!
//! In: the plan and the machine. Out: a [`Part`]. Caches and outputs show only attributes known to be harmless, build arguments only their
//! names: a value may be a secret.

use super::part::Part;
use super::{Outcome, traffic};
use crate::inputs::cache::CacheEntry;
use crate::inputs::driver_options::DriverOption;
use crate::inputs::output_spec::OutputSpec;
use crate::plan::Context;
use crate::runner::markdown::cell;
use crate::timings::schema::Runner;
use crate::timings::units;

/// Attributes of caches and outputs that cannot hold a secret
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

pub(super) fn settings(outcome: &Outcome) -> Part {
    let Outcome { plan, observed, .. } = outcome;
    let mut traffic = outcome
        .images
        .iter()
        .filter_map(|image| image.timings.api_traffic);
    let traffic = traffic.next().map(traffic::line);
    let options = plan.builder.options.iter().map(DriverOption::redacted);
    let mut rows = vec![
        ("driver", vec![plan.builder.driver.name().to_owned()]),
        ("builder", vec![plan.builder.name.clone()]),
        ("driver-opts", options.collect()),
        ("Kubernetes API", traffic.into_iter().collect()),
        ("runner", described(&observed.runner)),
    ];
    for image in &plan.images {
        let target = image.target.iter().cloned();
        let arguments = image
            .build_args
            .iter()
            .map(|argument| argument.name.clone());
        let outputs = image.outputs.iter().cloned().map(shown_output);
        let cache_from = image.cache_from.iter().cloned().map(shown_cache);
        let cache_to = image.cache_to.iter().cloned().map(shown_cache);
        rows.extend([
            ("context", vec![context(&image.context)]),
            ("platforms", image.platforms.clone()),
            ("target", target.collect()),
            ("build-args", arguments.collect()),
            ("outputs", outputs.collect()),
            ("cache-from", cache_from.collect()),
            ("cache-to", cache_to.collect()),
        ]);
    }
    let rows = rows
        .into_iter()
        .filter(|(_, values)| values.iter().any(|value| !value.is_empty()))
        .map(|(name, values)| {
            let values: Vec<String> = values.iter().map(|value| cell(value)).collect();
            format!("| {name} | {} |\n", values.join(" "))
        });
    let head = "| Setting | Value |\n| :-- | :-- |\n";
    Part::folded("Settings", head, rows.collect())
}

fn described(runner: &Runner) -> Vec<String> {
    let cores = runner.cores.map(|cores| match cores {
        1 => "1 core".to_owned(),
        cores => format!("{cores} cores"),
    });
    let memory = runner.memory_bytes.map(units::bytes);
    let architecture = Some(runner.architecture.clone());
    let all = [runner.environment.clone(), cores, memory, architecture];
    all.into_iter().flatten().collect()
}

fn context(context: &Context) -> String {
    match context {
        Context::Folder { path, .. } => path.display().to_string(),
        Context::ThisCommit { url } | Context::Remote { url } => without_login(url),
    }
}

/// The part before `@` may hold a token, the part after `?` a signature.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or(host);
    let path = path.split('?').next().unwrap_or(path);
    format!("{scheme}://{host}/{path}")
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
