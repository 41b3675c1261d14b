//! Inputs → plan, a named row per case.

mod acceleration;
mod builder;
mod cluster;
mod command_line;
mod context;
mod names;
mod network;
mod nodes;
mod outputs;
mod refusals;

use std::path::Path;

use semver::Version;

use super::*;
use crate::buildx::command;
use crate::credentials::kubeconfig::{Access, Terms};
use crate::facts::ImageStore;
use crate::inputs::RawInputs;

pub(super) type Pairs<'a> = &'a [(&'static str, &'a str)];

pub(super) fn facts(store: ImageStore) -> Facts {
    Facts::example(store)
}

pub(super) fn plan_with(
    pairs: Pairs<'_>,
    facts: &Facts,
    run: Option<&WorkflowRun>,
) -> Result<Plan, PlanError> {
    let mut given = RawInputs::default();
    for (name, text) in pairs {
        given.set(name, (*text).to_owned());
    }
    let inputs = Inputs::parse(&given).unwrap();
    let dir = RunDir {
        path: PathBuf::from("/run"),
        id: "x1".to_owned(),
    };
    Plan::new(&inputs, run, facts, &dir)
}

pub(super) fn plan(pairs: Pairs<'_>) -> Plan {
    plan_with(pairs, &facts(ImageStore::Containerd), None).unwrap()
}

/// buildx's arguments for the image.
pub(super) fn argv(plan: &Plan) -> Vec<String> {
    command::build(&plan.images[0], &plan.builder.name)
}

/// The names of tags as text.
pub(super) fn tags(plan: &Plan) -> Vec<String> {
    plan.images[0]
        .tags
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn outputs(plan: &Plan) -> Vec<String> {
    plan.images[0]
        .outputs
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn refusals(pairs: Pairs<'_>) -> Vec<String> {
    match plan_with(pairs, &facts(ImageStore::Containerd), None) {
        Err(PlanError::Inputs(errors)) => errors.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn workflow() -> WorkflowRun {
    WorkflowRun {
        server_url: "https://github.com".to_owned(),
        repository: "octo/app".to_owned(),
        sha: Some("0123abc".to_owned()),
        run_id: Some("7".to_owned()),
        ..WorkflowRun::default()
    }
}

const KUBECONFIG: &str = "{current-context: ci, clusters: [{name: c, cluster: {server: 'https://k'}}], \
    contexts: [{name: ci, context: {cluster: c, user: u, namespace: team}}], \
    users: [{name: u, user: {token: hidden}}]}";

fn in_cluster(pairs: Pairs<'_>) -> Result<Plan, PlanError> {
    in_cluster_with(pairs, facts(ImageStore::Containerd).buildx.version)
}

fn in_cluster_with(pairs: Pairs<'_>, buildx: Version) -> Result<Plan, PlanError> {
    let terms = Terms {
        context: None,
        allow_exec: false,
        may_name_files: false,
        program: Path::new("/fast-ecr-push"),
    };
    let mut facts = facts(ImageStore::Containerd);
    facts.cluster = Some(Access::read(KUBECONFIG, &terms).unwrap());
    facts.engine = Err("no Engine here".to_owned());
    facts.buildx.version = buildx;
    let mut all = vec![("driver", "kubernetes"), ("tags", "r.example/a:1")];
    all.extend(pairs);
    plan_with(&all, &facts, Some(&workflow()))
}

fn kubernetes(plan: &Plan) -> &KubernetesPlan {
    plan.builder.kubernetes.as_ref().unwrap()
}
