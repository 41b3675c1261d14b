//! Whether an image of the same build is looked for, and what of the plan is in its key.
//!
//! What is made of an image's names and labels by the commit alone is not in the key: the same files give the same image on every
//! branch. Where the result is not in a registry, nothing is looked for.

use std::collections::{BTreeMap, BTreeSet};

use image::ImageRef;
use serde::Serialize;

use super::{BuilderPlan, Driver, PushPlan, Sources, cache};
use crate::inputs::SkipUnchanged;
use crate::inputs::attest::Attest;
use crate::inputs::output_spec::OutputSpec;
use crate::inputs::unchanged::Age;
use crate::runner::origin::Origin;
use crate::runner::workflow::WorkflowRun;

/// What the tags of keys begin with. No image has such a tag.
pub(crate) const KEY_TAGS: &str = "unchanged";

/// The tag of the newest key of a line of development; others have names behind it.
const NEWEST: &str = "unchanged.newest";

/// Attributes of outputs that do not change the image, only where it goes.
const PLACES: [&str; 10] = [
    "name",
    "push",
    "push-by-digest",
    "name-canonical",
    "dangling-name-prefix",
    "registry.insecure",
    "store",
    "unpack",
    "danglingnameprefix",
    "registry.insecure.skip-verify",
];

/// Labels and annotations that docker/metadata-action makes of a commit, a ref or the time
/// (<https://github.com/opencontainers/image-spec/blob/main/annotations.md>).
const OF_COMMIT: [&str; 4] = [
    "org.opencontainers.image.created",
    "org.opencontainers.image.ref.name",
    "org.opencontainers.image.revision",
    "org.opencontainers.image.version",
];

/// Digits of a commit that texts have at least when they name it.
const SHORT_COMMIT: usize = 7;

/// Whether an image of the same build is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unchanged {
    /// It is not wanted, or can't be; the plan's notices say why.
    #[default]
    Ignore,
    Look(Box<Look>),
}

impl Unchanged {
    pub(super) fn is_ignored(&self) -> bool {
        *self == Self::Ignore
    }
}

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Look {
    /// The greatest age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Age>,
    /// What is set beside the Dockerfile and counts.
    pub settings: BTreeMap<String, Vec<String>>,
    /// What is built for; none if only the builder knows.
    pub platforms: Vec<String>,
    /// The builder's own platform, if it is known.
    #[serde(skip)]
    pub builder: Option<String>,
    /// Whether build arguments count that no instruction uses, and all of the context: attestations have them.
    #[serde(skip)]
    pub attests: bool,
    /// The tag under which this line of development has its newest key, and those to compare with.
    #[serde(skip)]
    pub newest: Option<String>,
    #[serde(skip)]
    pub earlier: Vec<String>,
    /// Why no key is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
}

/// What the plan has decided by then.
pub(super) struct Situation<'a> {
    pub sources: &'a Sources<'a>,
    pub builder: &'a BuilderPlan,
    pub push: Option<&'a PushPlan>,
    pub outputs: &'a [OutputSpec],
    pub attestations: &'a [Attest],
    pub labels: &'a [String],
    pub annotations: &'a [String],
    pub secrets: BTreeSet<&'a str>,
    pub cache: &'a cache::Situation<'a>,
}

/// Decides. Why not, if it is wanted and can't be.
pub(super) fn choose(situation: &Situation<'_>) -> (Unchanged, Option<String>) {
    let inputs = situation.sources.inputs;
    let SkipUnchanged::Yes { age, labels } = inputs.skip_unchanged else {
        return (Unchanged::Ignore, None);
    };
    match obstacle(situation) {
        Some(reason) => {
            let notice = format!("`skip-unchanged` has no effect: {reason}");
            (Unchanged::Ignore, Some(notice))
        }
        None => {
            let look = look(situation, age, labels);
            (Unchanged::Look(Box::new(look)), None)
        }
    }
}

fn obstacle(situation: &Situation<'_>) -> Option<&'static str> {
    let inputs = situation.sources.inputs;
    let is_elsewhere = |output: &OutputSpec| !output.pushes();
    if inputs.call.is_some() {
        Some("`call` builds nothing")
    } else if inputs.load {
        Some("`load` needs the image itself")
    } else if situation.push.is_none() {
        Some("the image is not pushed")
    } else if situation.outputs.iter().any(is_elsewhere) {
        Some("`outputs` asks for more than a push")
    } else if inputs.no_cache || !inputs.no_cache_filters.is_empty() {
        Some("`no-cache` asks for a build")
    } else if inputs.pull {
        Some("`pull` asks for a build")
    } else {
        None
    }
}

fn look(situation: &Situation<'_>, age: Option<Age>, labels: bool) -> Look {
    let Situation {
        sources, builder, ..
    } = situation;
    let run = sources.run;
    let engine = sources.facts.engine.as_ref().ok();
    // Nodes of a cluster may be of any kind.
    let own = engine.filter(|_| builder.driver != Driver::Kubernetes);
    let own = own.map(|engine| engine.platform.clone());
    let given = sources.inputs.platforms.iter();
    let mut platforms: Vec<String> = given.map(ToString::to_string).collect();
    if platforms.is_empty() {
        platforms.extend(own.clone());
    }
    let origin = run.map(Origin::of);
    let (newest, earlier) = cache::line_tags(NEWEST, situation.cache);
    Look {
        age,
        settings: settings(situation, labels),
        platforms,
        builder: own,
        attests: situation.attestations.iter().any(Attest::is_on),
        newest,
        earlier,
        unwritten: origin.and_then(|origin| origin.untrusted),
    }
}

fn settings(situation: &Situation<'_>, labels: bool) -> BTreeMap<String, Vec<String>> {
    let inputs = situation.sources.inputs;
    let run = situation.sources.run;
    let texts = |values: &[String]| {
        let kept = values
            .iter()
            .filter(|text| labels || !names_commit(text, run));
        let mut kept: Vec<String> = kept.cloned().collect();
        kept.sort_unstable();
        kept
    };
    let sorted = |mut values: Vec<String>| {
        values.sort_unstable();
        values
    };
    let mut outputs: Vec<String> = situation.outputs.iter().map(form).collect();
    outputs.extend(inputs.compression.name().map(str::to_owned));
    outputs.extend(
        inputs
            .compression_level
            .map(|level| level.get().to_string()),
    );
    let network: Option<&'static str> = inputs.network.map(Into::into);
    let attestations = situation.attestations.iter();
    let secrets = situation.secrets.iter();
    let mut settings = BTreeMap::new();
    for (name, values) in [
        ("target", inputs.target.iter().cloned().collect()),
        ("network", network.map(str::to_owned).into_iter().collect()),
        ("add-hosts", sorted(inputs.add_hosts.clone())),
        ("allow", sorted(inputs.allow.clone())),
        (
            "cgroup-parent",
            inputs.cgroup_parent.iter().cloned().collect(),
        ),
        ("shm-size", inputs.shm_size.iter().cloned().collect()),
        (
            "ulimit",
            sorted(inputs.ulimit.iter().map(ToString::to_string).collect()),
        ),
        ("secrets", secrets.map(|id| (*id).to_owned()).collect()),
        ("labels", texts(situation.labels)),
        ("annotations", texts(situation.annotations)),
        (
            "attestations",
            attestations.map(|attest| of_any_run(attest, run)).collect(),
        ),
        ("outputs", outputs),
    ] {
        let values: Vec<String> = values;
        if !values.is_empty() {
            settings.insert(name.to_owned(), values);
        }
    }
    settings
}

/// What of an output changes the image.
fn form(output: &OutputSpec) -> String {
    let names: BTreeSet<&str> = output.attribute_names().collect();
    let attributes = names.into_iter().filter(|name| !PLACES.contains(name));
    let attributes = attributes.map(|name| {
        let value = output.attribute(name).unwrap_or_default();
        format!("{name}={value}")
    });
    attributes.collect::<Vec<_>>().join(",")
}

/// An attestation without the address of this run.
fn of_any_run(attest: &Attest, run: Option<&WorkflowRun>) -> String {
    let text = attest.to_string();
    match run.and_then(WorkflowRun::run_url) {
        Some(url) => text.replace(&url, ""),
        None => text,
    }
}

/// Whether a label or annotation, `name=value`, names the commit, its ref, or the time.
fn names_commit(text: &str, run: Option<&WorkflowRun>) -> bool {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    // Annotations may begin with what they are for: `index:`, `manifest[linux/amd64]:`.
    let is_of_commit = OF_COMMIT
        .iter()
        .any(|known| name.trim() == *known || name.trim().ends_with(&format!(":{known}")));
    let commit = run.and_then(|run| run.sha.as_deref());
    let commit = commit.and_then(|commit| commit.get(..SHORT_COMMIT));
    is_of_commit || commit.is_some_and(|commit| value.contains(commit))
}

/// The repositories that an image is pushed to, each once, without tag.
pub(crate) fn repositories(push: &PushPlan) -> Vec<ImageRef> {
    let mut repositories: Vec<ImageRef> = Vec::new();
    for name in &push.names {
        if !repositories.iter().any(|other| other.name() == name.name()) {
            repositories.push(name.clone());
        }
    }
    repositories
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::{Inputs, RawInputs};
    use crate::plan::{Plan, RunDir};

    fn run(git_ref: &str, sha: &str) -> WorkflowRun {
        WorkflowRun {
            server_url: "https://github.com".to_owned(),
            repository: "octo/app".to_owned(),
            sha: Some(sha.to_owned()),
            git_ref: Some(git_ref.to_owned()),
            event_name: "push".to_owned(),
            run_id: Some(sha.to_owned()),
            ..WorkflowRun::default()
        }
    }

    fn plan(pairs: &[(&'static str, &str)], run: &WorkflowRun) -> Plan {
        let mut raw = RawInputs::default();
        for (name, text) in [
            ("context", "."),
            ("tags", "r.example/a:1"),
            ("skip-unchanged", "true"),
        ] {
            raw.set(name, text.to_owned());
        }
        for (name, text) in pairs {
            raw.set(name, (*text).to_owned());
        }
        let facts = Facts::example(ImageStore::Containerd);
        let dir = RunDir::at("/run".as_ref());
        Plan::new(&Inputs::parse(&raw).unwrap(), Some(run), &facts, &dir).unwrap()
    }

    fn look(pairs: &[(&'static str, &str)], run: &WorkflowRun) -> Look {
        match &plan(pairs, run).images[0].unchanged {
            Unchanged::Look(look) => Look::clone(look),
            Unchanged::Ignore => panic!("{pairs:?}"),
        }
    }

    #[test]
    fn what_a_commit_alone_changes_is_in_no_key() {
        let one = run("refs/heads/main", "0123456789abcdef");
        let other = run("refs/heads/other", "fedcba9876543210");
        let inputs = [
            ("labels", "auto\na=b\ncommit=0123456789abcdef"),
            (
                "annotations",
                "index:org.opencontainers.image.revision=0123456789abcdef",
            ),
            ("provenance", "mode=max"),
        ];
        let inputs_of_other = [
            ("labels", "auto\na=b\ncommit=fedcba9876543210"),
            (
                "annotations",
                "index:org.opencontainers.image.revision=fedcba9876543210",
            ),
            ("tags", "r.example/a:2"),
            ("provenance", "mode=max"),
        ];
        let (one_look, other_look) = (look(&inputs, &one), look(&inputs_of_other, &other));
        assert_eq!(one_look.settings, other_look.settings);
        assert!(one_look.settings["labels"].contains(&"a=b".to_owned()));
        assert_eq!(one_look.newest.as_deref(), Some("unchanged.newest"));
        assert_eq!(other_look.newest.as_deref(), Some("unchanged.newest-other"));
        let strict = [&inputs[..], &[("skip-unchanged", "7d,labels")]].concat();
        let strict_of_other = [&inputs_of_other[..], &[("skip-unchanged", "7d,labels")]].concat();
        assert_ne!(
            look(&strict, &one).settings,
            look(&strict_of_other, &other).settings
        );
    }

    #[test]
    fn what_changes_the_image_is_a_setting() {
        let run = run("refs/heads/main", "0123456789abcdef");
        let plain = look(&[], &run);
        assert_eq!(plain.platforms, ["linux/amd64"]);
        let same = [
            ("tags", "r.example/b:2"),
            ("cache", "none"),
            ("retries", "5"),
        ];
        for pair in same {
            assert_eq!(look(&[pair], &run).settings, plain.settings, "{pair:?}");
        }
        for pair in [
            ("target", "a"),
            ("network", "none"),
            ("add-hosts", "a:1.2.3.4"),
            ("shm-size", "2g"),
            ("ulimit", "nofile=1:2"),
            ("allow", "network.host"),
            ("cgroup-parent", "a"),
            ("secrets", "A=b"),
            ("labels", "a=b"),
            ("annotations", "a=b"),
            ("provenance", "true"),
            ("sbom", "true"),
            ("compression", "gzip"),
            ("compression-level", "9"),
            ("outputs", "type=image,push=true,rewrite-timestamp=true"),
        ] {
            assert_ne!(look(&[pair], &run).settings, plain.settings, "{pair:?}");
        }
    }

    #[test]
    fn nothing_is_looked_for_where_the_image_is_not_only_pushed() {
        let run = run("refs/heads/main", "0123456789abcdef");
        for (pair, words) in [
            (("load", "true"), "`load`"),
            (("push", "false"), "not pushed"),
            (("no-cache", "true"), "`no-cache`"),
            (("no-cache-filters", "a"), "`no-cache`"),
            (("pull", "true"), "`pull`"),
            (("call", "check"), "`call`"),
            (("outputs", "type=local,dest=x"), "not pushed"),
            (
                ("outputs", "type=local,dest=x\ntype=registry"),
                "more than a push",
            ),
        ] {
            let plan = plan(&[pair], &run);
            assert_eq!(plan.images[0].unchanged, Unchanged::Ignore, "{pair:?}");
            let notice = plan
                .notices
                .iter()
                .find(|notice| notice.starts_with("`skip-unchanged` has no effect"));
            assert!(
                notice.is_some_and(|notice| notice.contains(words)),
                "{pair:?}: {:?}",
                plan.notices
            );
        }
    }

    #[test]
    fn a_fork_writes_no_key() {
        let payload = r#"{"pull_request":{"head":{"repo":{"full_name":"eve/app"}}}}"#;
        let fork = WorkflowRun {
            event_name: "pull_request".to_owned(),
            payload: serde_json::from_str(payload).unwrap(),
            ..run("refs/pull/1/merge", "0123456789abcdef")
        };
        let unwritten = look(&[], &fork).unwritten.unwrap();
        assert!(unwritten.contains("eve/app"), "{unwritten}");
        assert_eq!(look(&[], &fork).newest, None);
    }
}
