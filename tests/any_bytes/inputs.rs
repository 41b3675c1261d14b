//! What the user typed, as far as buildx's command line.

use std::path::PathBuf;

use readers::Target;

use super::{parts, seed};
use crate::buildx::command;
use crate::credentials::kubeconfig::{Access, Terms};
use crate::facts::{Facts, GivenFacts, ImageStore};
use crate::inputs::{Inputs, RawInputs, SPECS, unknown};
use crate::plan::{Plan, RunDir};
use crate::runner::env::Env;
use crate::runner::workflow::WorkflowRun;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "inputs",
        read: inputs,
        seeds,
    },
    Target {
        name: "given-facts",
        read: given_facts,
        seeds: || {
            vec![b"buildx=0.37.1\nengine=28.5.2\nstore=containerd\nplatform=linux/amd64\nstep=amd64,arm64\nregistry=r.example\n\
            cluster=a\nnow=2026-01-31T12:00:00Z\nimmutable=r.example/a!v*,latest\nmutable=r.example/b".to_vec()]
        },
    },
];

/// Parts are `NAME=TEXT`. Inputs are refused, or planned on an Engine and in a cluster, each time in the same way.
fn inputs(bytes: &[u8]) {
    let parts = parts(bytes);
    let mut raw = RawInputs::from_env(&Env::from([("A", "a")]));
    for (name, text) in parts.iter().filter_map(|part| part.split_once('=')) {
        match SPECS.iter().find(|spec| spec.name == name) {
            Some(spec) => raw.set(spec.name, text.to_owned()),
            None => {
                let variable = format!("INPUT_{}", name.to_uppercase());
                let _ = unknown(&Env::default().with([(variable, text.to_owned())]));
            }
        }
    }
    let _ = (raw.to_mask(), raw.unset_arguments());
    let inputs = match Inputs::parse(&raw) {
        Ok(inputs) => inputs,
        Err(errors) => {
            assert!(!errors.is_empty());
            return;
        }
    };
    let run = WorkflowRun {
        repository: "octo/app".to_owned(),
        git_ref: Some("refs/heads/main".to_owned()),
        sha: Some("0123abc".to_owned()),
        run_id: Some("7".to_owned()),
        ..WorkflowRun::default()
    };
    let dir = RunDir {
        path: PathBuf::from("/run"),
        id: "x1".to_owned(),
    };
    for facts in [Facts::example(ImageStore::Containerd), in_cluster()] {
        let plan = || {
            let plan = Plan::new(&inputs, Some(&run), &facts, &dir).ok()?;
            let argv: Vec<Vec<String>> = plan
                .images
                .iter()
                .map(|image| command::build(image, &plan.builder.name))
                .collect();
            Some((serde_json::to_string(&plan).unwrap(), argv))
        };
        assert_eq!(plan(), plan());
    }
}

fn in_cluster() -> Facts {
    let kubeconfig = "{current-context: a, clusters: [{name: c, cluster: {server: 'https://k'}}], \
        contexts: [{name: a, context: {cluster: c, namespace: team}}]}";
    let terms = Terms {
        context: None,
        allow_exec: false,
        may_name_files: false,
        program: "/fast-ecr-push".as_ref(),
    };
    let mut facts = Facts::example(ImageStore::Classic);
    facts.cluster = Some(Access::read(kubeconfig, &terms).unwrap());
    facts.engine = Err("no Engine here".to_owned());
    facts
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        seed(&[
            "repository=team/app",
            "tags=type=ref,event=branch\ntype=sha\nlatest",
            "build-args=A\nB=1",
            "platforms=linux/amd64,linux/arm64",
            "labels=a=b",
            "annotations=index:a=b",
            "secrets=id=token,env=T\n\"key=a\nb\"",
            "outputs=type=image,push=true",
            "cache-from=type=gha",
            "cache-to=type=registry,ref=r.example/a:c,mode=max",
        ]),
        seed(&[
            "driver=kubernetes",
            "tags=r.example/a:1",
            "driver-opts=namespace=buildx\nreplicas=2\n\"nodeselector=a=b,c=d\"\nrequests.memory=2Gi\n\
                tolerations=key=a,value=b",
            "append=- platforms: linux/arm64\n  driver-opts:\n    - namespace=arm",
            "buildkitd-config-inline=[worker.oci]\n  gc = true\n[registry.\"r.example\"]\n  http = true",
            "buildkitd-flags=--debug --allow-insecure-entitlement network.host",
        ]),
        seed(&[
            "registry-auth=- registry: r.example\n  username: a\n  password: b",
            "create-repository=immutable: true\nlifecycle: keep 10",
            "skip-unchanged=true",
            "ulimit=nofile=1024:2048",
            "shm-size=2g",
            "add-hosts=db:10.0.0.1",
            "allow=network.host",
            "attests=type=provenance,mode=max",
            "call=check,format=json",
            "kubeconfig=YXBpVmVyc2lvbjogdjE=",
            "tags=a",
        ]),
    ];
    let names = SPECS.iter().map(|spec| format!("{}=true", spec.name));
    seeds.extend(names.map(String::into_bytes));
    seeds
}

fn given_facts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = GivenFacts::parse(text.lines());
}
