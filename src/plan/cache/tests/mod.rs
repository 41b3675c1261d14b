//! Inputs, builder and run → cache, a named row per case.

use std::path::PathBuf;

use image::ImageRef;
use serde_json::{Value, json};

use crate::facts::{Facts, ImageStore};
use crate::inputs::cache::CacheEntry;
use crate::inputs::{Inputs, RawInputs};
use crate::plan::tests::argv;
use crate::plan::{ImagePlan, Plan, PlanError, RunDir};
use crate::runner::workflow::WorkflowRun;

mod afterwards;
mod job;
mod names;
mod obstacles;

type Pairs<'a> = &'a [(&'static str, &'a str)];

/// Name, inputs, whether in a workflow; the kind, what is read, what is written.
type Row<'a> = (
    &'a str,
    Pairs<'a>,
    bool,
    &'a str,
    &'a [&'a str],
    &'a [&'a str],
);

const COMMIT: &str = "0123abc456def";
const TAG: (&str, &str) = ("tags", "r.example/a:1");
const CONTAINER: (&str, &str) = ("driver", "docker-container");

fn plan(pairs: Pairs<'_>, run: Option<&WorkflowRun>, facts: &Facts) -> Result<Plan, PlanError> {
    let raw: RawInputs = pairs.iter().copied().collect();
    let dir = RunDir {
        path: PathBuf::from("/run"),
        id: "x1".to_owned(),
    };
    Plan::new(&Inputs::parse(&raw).unwrap(), run, facts, &dir)
}

fn of(pairs: Pairs<'_>, run: Option<&WorkflowRun>) -> Plan {
    plan(pairs, run, &Facts::example(ImageStore::Containerd)).unwrap()
}

fn texts(caches: &[CacheEntry]) -> Vec<String> {
    caches.iter().map(ToString::to_string).collect()
}

fn image(plan: &Plan) -> &ImagePlan {
    &plan.images[0]
}

fn text(name: Option<&ImageRef>) -> Option<String> {
    name.map(ToString::to_string)
}

fn run_on(event: &str, git_ref: &str, payload: Value) -> WorkflowRun {
    WorkflowRun {
        server_url: "https://github.com".to_owned(),
        repository: "octo/app".to_owned(),
        sha: Some(COMMIT.to_owned()),
        event_name: event.to_owned(),
        git_ref: Some(git_ref.to_owned()),
        payload,
        ..WorkflowRun::default()
    }
}

fn on_main() -> WorkflowRun {
    run_on(
        "push",
        "refs/heads/main",
        json!({"repository": {"default_branch": "main"}}),
    )
}

fn pull_request_of(repository: &str) -> WorkflowRun {
    run_on(
        "pull_request",
        "refs/pull/7/merge",
        json!({
            "repository": {"default_branch": "main"},
            "pull_request": {
                "head": {"ref": "fix", "repo": {"full_name": repository}},
                "base": {"ref": "next"},
            },
        }),
    )
}

const EXPORT: &str = "mode=max,image-manifest=true,oci-mediatypes=true,compression=zstd,compression-level=1,ignore-error=true";

#[test]
fn auto_takes_what_suits_the_builder() {
    let cases: &[Row<'_>] = &[
        (
            "a runner's disk is new",
            &[TAG],
            true,
            "registry",
            &["type=registry,ref=r.example/a:buildcache"],
            &[&format!(
                "type=registry,ref=r.example/a:buildcache,{EXPORT}"
            )],
        ),
        (
            "a person's Engine keeps its disk",
            &[TAG],
            false,
            "inline",
            &["type=registry,ref=r.example/a:1"],
            &["type=inline"],
        ),
        (
            "a container of this run alone",
            &[TAG, CONTAINER],
            false,
            "registry",
            &["type=registry,ref=r.example/a:buildcache"],
            &[&format!(
                "type=registry,ref=r.example/a:buildcache,{EXPORT}"
            )],
        ),
        (
            "what is not pushed writes none",
            &[TAG, ("push", "false")],
            true,
            "registry",
            &["type=registry,ref=r.example/a:buildcache"],
            &[],
        ),
        (
            "a name of this machine",
            &[("tags", "app:1"), ("load", "true")],
            true,
            "none",
            &[],
            &[],
        ),
        (
            "no name at all",
            &[("push", "false")],
            true,
            "none",
            &[],
            &[],
        ),
        (
            "what no cache is wanted for",
            &[TAG, ("cache", "none")],
            true,
            "none",
            &[],
            &[],
        ),
        (
            "the raw inputs win",
            &[TAG, ("cache-from", "type=gha")],
            true,
            "given",
            &["type=gha"],
            &[],
        ),
        (
            "every step is built anew, and kept",
            &[TAG, ("no-cache", "true")],
            true,
            "registry",
            &[],
            &[&format!(
                "type=registry,ref=r.example/a:buildcache,{EXPORT}"
            )],
        ),
    ];
    for (name, pairs, in_workflow, kind, from, to) in cases {
        let run = on_main();
        let plan = of(pairs, in_workflow.then_some(&run));
        let found = image(&plan);
        assert_eq!(
            serde_json::to_value(found.cache.kind).unwrap(),
            *kind,
            "{name}"
        );
        assert_eq!(texts(&found.cache_from), *from, "{name}");
        assert_eq!(texts(&found.cache_to), *to, "{name}");
        assert_eq!(
            found.tags.len(),
            argv(&plan).iter().filter(|word| *word == "--tag").count(),
            "{name}"
        );
    }
}

#[test]
fn the_registrys_cache_is_compressed_as_the_image() {
    let cases: &[(Pairs<'_>, &str)] = &[
        (
            &[("compression", "gzip"), ("compression-level", "9")],
            ",compression=gzip,compression-level=9,",
        ),
        (
            &[("compression", "zstd"), ("compression-level", "7")],
            ",compression=zstd,compression-level=7,",
        ),
        (
            &[("outputs", "type=image,push=true,compression=estargz")],
            ",compression=estargz,",
        ),
        (&[("cache-mode", "min")], ",mode=min,"),
    ];
    for (more, words) in cases {
        let pairs = [&[TAG, ("cache", "registry")], *more].concat();
        let plan = of(&pairs, None);
        let to = &texts(&image(&plan).cache_to)[0];
        assert!(to.contains(words), "{to}");
        assert!(to.ends_with("ignore-error=true"), "{to}");
    }
}

#[test]
fn githubs_cache_service_is_used_where_there_is_one() {
    let gha = [TAG, ("cache", "gha")];
    let served = WorkflowRun {
        cache_service: true,
        ..on_main()
    };
    let found = of(&gha, Some(&served));
    assert_eq!(texts(&image(&found).cache_from), ["type=gha,scope=a"]);
    assert_eq!(
        texts(&image(&found).cache_to),
        ["type=gha,mode=max,ignore-error=true,scope=a"]
    );
    let second = [("ACTIONS_CACHE_SERVICE_V2".to_owned(), "true".to_owned())];
    assert_eq!(image(&found).variables, second);

    let own_server = WorkflowRun {
        server_url: "https://ghe.example.com".to_owned(),
        ..served.clone()
    };
    assert!(image(&of(&gha, Some(&own_server))).variables.is_empty());
    let residency = WorkflowRun {
        server_url: "https://octo.ghe.com".to_owned(),
        ..served.clone()
    };
    assert_eq!(image(&of(&gha, Some(&residency))).variables, second);
    for raw in ["type=gha,mode=min", "Type=gha", "\"type=gha\",mode=min"] {
        let plan = of(&[TAG, ("cache-to", raw)], Some(&served));
        assert_eq!(image(&plan).variables, second, "{raw}");
    }
    assert!(image(&of(&[TAG], Some(&served))).variables.is_empty());

    for run in [None, Some(on_main())] {
        let without = of(&gha, run.as_ref());
        assert!(image(&without).cache_to.is_empty());
        assert!(
            without
                .notices
                .iter()
                .any(|notice| notice.contains("ACTIONS_RUNTIME_TOKEN"))
        );
    }
}
