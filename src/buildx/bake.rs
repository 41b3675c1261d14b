//! `buildx bake`: the definitions with which an image is built and pushed by the push engine.
//!
//! Three targets: `image` is the user's build, `configuration` the same Dockerfile without what makes files, and `push` the build step
//! that gets the file systems of both. With the Engine's classic store, `base` is the base image alone, and the step gets its file
//! system. Where the image is for several platforms each has targets of its own, `image-0` and so on, for which buildx takes the same node;
//! one more `push` writes their index when all are there.
//! Reference: <https://docs.docker.com/build/bake/reference/>.

use std::collections::BTreeMap;
use std::path::Path;

use image::Digest;
use serde_json::{Map, Value, json};

use super::command::{self, secret};
use crate::plan::{EngineFiles, ImagePlan};

/// The user's build.
pub(super) const IMAGE: &str = "image";
/// The image's configuration.
pub(super) const CONFIGURATION: &str = "configuration";
/// The base image.
pub(super) const BASE: &str = "base";
/// The build step.
pub(super) const PUSH: &str = "push";

/// What the step compares the image with.
#[derive(Debug)]
pub(crate) enum Base<'a> {
    /// The tree of the configuration, which BuildKit pushes.
    Configuration,
    /// Nothing.
    Scratch,
    /// The tree of the base image. The Engine pushes the configuration for its classic store, and the step has to know the base
    /// image's digest.
    Image {
        /// Text of the base image's Dockerfile.
        dockerfile: &'a str,
        /// The digest that the Engine knows, for an image that BuildKit finds there.
        digest: Option<&'a Digest>,
    },
}

/// What the definitions are made from.
#[derive(Debug)]
pub(crate) struct Definition<'a> {
    pub image: &'a ImagePlan,
    /// The Dockerfile: a path here, or one in a context that is elsewhere.
    pub dockerfile: &'a str,
    /// Values of build arguments.
    pub arguments: &'a BTreeMap<String, String>,
    /// The folder with the step's binaries.
    pub step: &'a Path,
    pub files: &'a EngineFiles,
    /// Random, and known to this run alone.
    pub nonce: &'a str,
    /// What is pushed, each by a step of its own.
    pub parts: Vec<Part<'a>>,
}

/// The image, or that of one of its platforms.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// Among several.
    pub place: Option<usize>,
    /// None: the builder's own.
    pub platform: Option<&'a str>,
    /// Text of the Dockerfile for the configuration.
    pub configuration: &'a str,
    pub base: Base<'a>,
    /// The step's build context.
    pub context: &'a Path,
    /// Whether the step runs in the image. If not, it runs in one of its own.
    pub runs_in_image: bool,
}

/// A target's name: that of its only part, or that of the part at this place.
pub(super) fn target(name: &str, place: Option<usize>) -> String {
    place.map_or_else(|| name.to_owned(), |place| format!("{name}-{place}"))
}

impl Definition<'_> {
    /// The build with the steps, all of which are what [`PUSH`] names.
    pub(crate) fn push(&self) -> Value {
        let mut targets = Map::new();
        let mut steps = Vec::new();
        for part in &self.parts {
            let mut add = |name: &str, value: Value| {
                targets.insert(target(name, part.place), value);
            };
            add(IMAGE, self.image(part).into());
            add(PUSH, self.step(part));
            match &part.base {
                Base::Configuration => {
                    let configuration = self.configuration(part, "type=cacheonly");
                    add(CONFIGURATION, configuration.into());
                }
                Base::Image { dockerfile, .. } => {
                    add(BASE, self.without_files(part, dockerfile).into());
                }
                Base::Scratch => {}
            }
            steps.push(target(PUSH, part.place));
        }
        let mut definition = json!({ "target": targets });
        // That of a single part is its name already.
        if steps.len() > 1 {
            definition["group"] = json!({ PUSH: { "targets": steps } });
        }
        escaped(definition)
    }

    /// The push of a part's configuration to the registry that its step plays, on the base image of this digest.
    pub(crate) fn push_configuration(
        &self,
        part: &Part<'_>,
        port: u16,
        base: Option<&Digest>,
    ) -> Value {
        let mut repository = protocol::configuration_repository(self.nonce);
        if let Some((_, hex)) = base.and_then(|base| base.as_str().split_once(':')) {
            repository.push('/');
            repository.push_str(hex);
        }
        let host = protocol::RECEIVER_HOST;
        let output = format!(
            "type=image,name={host}:{port}/{repository}:latest,push=true,oci-mediatypes=true,store=false,registry.insecure=true"
        );
        escaped(json!({ "target": { CONFIGURATION: self.configuration(part, &output) } }))
    }

    /// The step that writes the index of all parts, from this build context.
    pub(crate) fn index(&self, context: &Path) -> Value {
        let dockerfile = index_dockerfile(self.nonce);
        let step = self.step_in(context, &dockerfile, Map::new());
        escaped(json!({ "target": { PUSH: step } }))
    }

    /// Flags have the names that `build` has for them, in its order.
    fn image(&self, part: &Part<'_>) -> Map<String, Value> {
        let ImagePlan { steps, .. } = self.image;
        let mut target = self.common(part, &command::context(&self.image.context));
        target.insert("dockerfile".to_owned(), json!(self.dockerfile));
        let mut set = |name: &str, value: Value| {
            let is_empty = value.is_null()
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(Map::is_empty);
            if !is_empty {
                target.insert(name.to_owned(), value);
            }
        };
        set("extra-hosts", self.hosts());
        set("entitlements", json!(steps.allow));
        set("cache-from", texts(&self.image.cache_from));
        let is_exported = !self.image.cache.afterwards;
        let exported = self
            .image
            .cache_to
            .iter()
            .filter(|cache| is_exported && !cache.is_inline());
        set("cache-to", texts(exported));
        set("secret", self.image.secrets.iter().map(secret).collect());
        set("no-cache-filter", json!(steps.no_cache_filters));
        set("shm-size", json!(steps.shm_size));
        set("ssh", texts(&self.image.ssh));
        set("ulimits", texts(&steps.ulimit));
        set("network", json!(steps.network.map(<&str>::from)));
        if steps.no_cache {
            set("no-cache", json!(true));
        }
        target
    }

    fn configuration(&self, part: &Part<'_>, output: &str) -> Map<String, Value> {
        let mut target = self.without_files(part, part.configuration);
        target.insert("output".to_owned(), json!([output]));
        let labels = self
            .image
            .labels
            .iter()
            .filter_map(|label| pair(label, &['=']));
        target.insert("labels".to_owned(), labels.collect::<Map<_, _>>().into());
        target
    }

    fn without_files(&self, part: &Part<'_>, dockerfile: &str) -> Map<String, Value> {
        let mut target = self.common(part, &self.files.empty.to_string_lossy());
        target.insert("dockerfile-inline".to_owned(), json!(dockerfile));
        target
    }

    /// What the build and its configuration have in common.
    fn common(&self, part: &Part<'_>, context: &str) -> Map<String, Value> {
        let mut target = Map::new();
        let contexts = self.image.build_contexts.iter();
        let contexts = contexts.map(|context| (context.name.clone(), json!(context.value)));
        target.insert("context".to_owned(), json!(context));
        target.insert(
            "contexts".to_owned(),
            contexts.collect::<Map<_, _>>().into(),
        );
        target.insert("args".to_owned(), json!(self.arguments));
        target.insert("output".to_owned(), json!(["type=cacheonly"]));
        target.insert(
            "attest".to_owned(),
            json!(["type=provenance,disabled=true"]),
        );
        if let Some(platform) = part.platform {
            target.insert("platforms".to_owned(), json!([platform]));
        }
        if let Some(name) = &self.image.target {
            target.insert("target".to_owned(), json!(name));
        }
        if self.image.steps.pull {
            target.insert("pull".to_owned(), json!(true));
        }
        target
    }

    fn hosts(&self) -> Value {
        let hosts = self.image.steps.add_hosts.iter();
        let hosts = hosts.filter_map(|host| pair(host, &[':', '=']));
        hosts.collect::<Map<_, _>>().into()
    }

    /// With a platform only if others may be on other nodes. Whatever it is, the step's program is one of the node's own.
    fn step(&self, part: &Part<'_>) -> Value {
        let compared = match part.base {
            Base::Configuration => Some(CONFIGURATION),
            Base::Image { .. } => Some(BASE),
            Base::Scratch => None,
        };
        let mut contexts = Map::new();
        let mut link = |name: &str, of: &str| {
            let linked = format!("target:{}", target(of, part.place));
            contexts.insert(name.to_owned(), linked.into());
        };
        link("final", IMAGE);
        if let Some(compared) = compared {
            link("base", compared);
        }
        let dockerfile = step_dockerfile(self.nonce, compared.is_some(), part.runs_in_image);
        let mut target = self.step_in(part.context, &dockerfile, contexts);
        if part.place.is_some() {
            target["platforms"] = json!([part.platform]);
        }
        // BuildKit asks the session of any target for what a step of the image needs.
        if let Some(secrets) = target["secret"].as_array_mut() {
            secrets.extend(self.image.secrets.iter().map(|given| json!(secret(given))));
        }
        if !self.image.ssh.is_empty() {
            target["ssh"] = texts(&self.image.ssh);
        }
        target
    }

    /// A step of ours, with its program among these contexts.
    fn step_in(&self, context: &Path, dockerfile: &str, mut contexts: Map<String, Value>) -> Value {
        contexts.insert("step".to_owned(), json!(self.step));
        json!({
            "context": context,
            "dockerfile-inline": dockerfile,
            "contexts": contexts,
            "secret": [format!("id={},src={}", protocol::secrets_id(self.nonce), self.files.secrets.display())],
            "entitlements": ["network.host"],
            "extra-hosts": self.hosts(),
            "output": ["type=cacheonly"],
            "attest": ["type=provenance,disabled=true"],
            // What it copies keeps its times.
            "args": {"SOURCE_DATE_EPOCH": ""},
        })
    }
}

/// The program, in what the target calls `step`: one for the node's own architecture.
const PROGRAM_FILE: &str = "/fast-ecr-push-step-$BUILDARCH";

/// The folder in which the step sees its program and its job.
const PROGRAM_FOLDER: &str = "/program";

/// The program in it.
const PROGRAM: &str = "/program/fast-ecr-push-step";

/// Name of the step's stage. Others cannot guess it.
pub(super) fn stage(nonce: &str) -> String {
    format!("step-{nonce}")
}

/// The folder in which a step sees what it needs, if it runs in the image itself.
fn step_root(nonce: &str) -> String {
    format!("/.fast-ecr-push-{nonce}")
}

fn index_dockerfile(nonce: &str) -> String {
    let stage = stage(nonce);
    let run = run(nonce, "", protocol::INDEX_JOB_FILE, &[], "");
    format!("FROM --platform=$BUILDPLATFORM scratch AS {stage}\n{run}")
}

/// The instruction that runs the engine's program for a job, below a root directory.
fn run(nonce: &str, root: &str, job: &str, mounts: &[String], argument: &str) -> String {
    let (id, secrets) = (protocol::secrets_id(nonce), protocol::SECRETS_PATH);
    // Program and job are mounted from where they come, so that BuildKit copies neither.
    let mut run = format!(
        "ARG BUILDARCH\nRUN --network=host \
         --mount=type=bind,from=step,source={PROGRAM_FILE},target={root}{PROGRAM} \
         --mount=type=bind,source=/{job},target={root}{PROGRAM_FOLDER}/{job} \
         --mount=type=secret,id={id},target={root}{secrets}"
    );
    for mount in mounts {
        run += &format!(" --mount={mount}");
    }
    run + &format!(" [\"{root}{PROGRAM}\"{argument}]\n")
}

fn step_dockerfile(nonce: &str, has_base: bool, runs_in_image: bool) -> String {
    let stage = stage(nonce);
    let run = |root: &str, from: &str, path: &str, argument: &str| {
        let mut mounts = vec![format!("type=bind,from={from},target={root}{path}")];
        if has_base {
            let path = protocol::BASE_PATH;
            mounts.push(format!("type=bind,from=base,target={root}{path}"));
        }
        let digests = "type=cache,id=fast-ecr-push-digests";
        mounts.push(format!("{digests},target={root}/cache"));
        run(nonce, root, protocol::JOB_FILE, &mounts, argument)
    };
    if !runs_in_image {
        return format!("FROM --platform=$BUILDPLATFORM scratch AS {stage}\n")
            + &run("", "final", protocol::IMAGE_PATH, "");
    }

    // BuildKit hashes all files of what a step mounts, but not of what it runs in (`getMountDeps` in
    // <https://github.com/moby/buildkit/blob/v0.32.0/solver/llbsolver/ops/exec.go>): the step of a large image that runs in it starts
    // seconds earlier. BuildKit changes `/etc`, so the step gets a copy; the directory is made first where it is missing. BuildKit does
    // not hash a copy whose source and destination are the same image (`CacheMap` of ops/file.go). The copy has no pattern, for which
    // BuildKit would list the whole image. Of a mount of two names only what is below the first is read.
    let root = step_root(nonce);
    let folder = "/.fast-ecr-push/hidden";
    let (user, group) = protocol::OWNER_OF_MISSING;
    let hidden = format!("hidden,source={folder}");
    format!(
        "FROM final AS final-image\nUSER {user}:{group}\nWORKDIR /etc\nUSER 0:0\n\
         FROM final-image AS hidden\nCOPY --from=final-image /etc {folder}/etc\n\
         FROM final-image AS {stage}\nWORKDIR /\n"
    ) + &run(
        &root,
        &hidden,
        protocol::HIDDEN_PATH,
        &format!(", \"{root}\""),
    )
}

/// The arguments for a target of a definition. The definition is ours, so that it may read what it names.
pub(crate) fn arguments(
    file: &Path,
    target: &str,
    image: &ImagePlan,
    builder: &str,
    metadata: Option<&Path>,
) -> Vec<String> {
    let file = file.display().to_string();
    let mut arguments = vec!["bake", "--file", &file, "--builder", builder];
    let allowed = ["network.host", "fs=*", "ssh"].into_iter();
    for right in allowed.chain(image.steps.allow.iter().map(String::as_str)) {
        arguments.extend(["--allow", right]);
    }
    let metadata = metadata.map(|path| path.display().to_string());
    if let Some(path) = &metadata {
        arguments.extend(["--metadata-file", path]);
    }
    arguments.extend(["--progress", "rawjson", target]);
    arguments.into_iter().map(str::to_owned).collect()
}

fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Value {
    values.into_iter().map(|value| value.to_string()).collect()
}

fn pair(text: &str, separators: &[char]) -> Option<(String, Value)> {
    let (name, value) = text.split_once(separators)?;
    Some((name.to_owned(), json!(value)))
}

/// The whole file. Bake reads every text as a template of HCL
/// (<https://github.com/hashicorp/hcl/blob/main/json/spec.md#strings>).
fn escaped(value: Value) -> Value {
    let text = |text: &str| text.replace("${", "$${").replace("%{", "%%{");
    match value {
        Value::String(given) => text(&given).into(),
        Value::Array(values) => values.into_iter().map(escaped).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, value)| (text(&name), escaped(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_runs_in_the_image_and_sees_what_buildkit_hides_there() {
        let expected = r#"FROM final AS final-image
USER 64123:63211
WORKDIR /etc
USER 0:0
FROM final-image AS hidden
COPY --from=final-image /etc /.fast-ecr-push/hidden/etc
FROM final-image AS step-01
WORKDIR /
ARG BUILDARCH
RUN --network=host --mount=type=bind,from=step,source=/fast-ecr-push-step-$BUILDARCH,target=/.fast-ecr-push-01/program/fast-ecr-push-step --mount=type=bind,source=/job.json,target=/.fast-ecr-push-01/program/job.json --mount=type=secret,id=fast-ecr-push-01,target=/.fast-ecr-push-01/run/secrets/fast-ecr-push-step --mount=type=bind,from=hidden,source=/.fast-ecr-push/hidden,target=/.fast-ecr-push-01/hidden --mount=type=bind,from=base,target=/.fast-ecr-push-01/base --mount=type=cache,id=fast-ecr-push-digests,target=/.fast-ecr-push-01/cache ["/.fast-ecr-push-01/program/fast-ecr-push-step", "/.fast-ecr-push-01"]
"#;
        assert_eq!(step_dockerfile("01", true, true), expected);
    }

    #[test]
    fn a_step_that_cannot_run_in_the_image_runs_in_one_of_its_own() {
        let expected = r#"FROM --platform=$BUILDPLATFORM scratch AS step-01
ARG BUILDARCH
RUN --network=host --mount=type=bind,from=step,source=/fast-ecr-push-step-$BUILDARCH,target=/program/fast-ecr-push-step --mount=type=bind,source=/job.json,target=/program/job.json --mount=type=secret,id=fast-ecr-push-01,target=/run/secrets/fast-ecr-push-step --mount=type=bind,from=final,target=/final --mount=type=cache,id=fast-ecr-push-digests,target=/cache ["/program/fast-ecr-push-step"]
"#;
        assert_eq!(step_dockerfile("01", false, false), expected);
    }
}
