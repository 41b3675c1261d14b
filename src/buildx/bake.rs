//! `buildx bake`: the definitions with which an image is built and pushed by the push engine.
//!
//! Three targets: `image` is the user's build, `configuration` the same Dockerfile without what makes files, and `push` the build step
//! that gets the file systems of both. With the Engine's classic store, `base` is the base image alone, and the step gets its file
//! system. Where the image is for several platforms, `image` and `configuration` are, too, and `push` gets the file systems of all.
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
    /// Text of the Dockerfile for the configuration.
    pub configuration: &'a str,
    pub base: Base<'a>,
    /// The folder with the step's binaries.
    pub step: &'a Path,
    pub files: &'a EngineFiles,
    /// Random, and known to this run alone.
    pub nonce: &'a str,
    /// The platform, by its place, in whose image the step runs; none if it runs in an image of its own.
    pub runs_in: Option<usize>,
}

impl Definition<'_> {
    /// The build with the step.
    pub(crate) fn push(&self) -> Value {
        let mut targets = json!({ IMAGE: self.image(), PUSH: self.step() });
        let compared = match &self.base {
            Base::Configuration => Some((CONFIGURATION, self.configuration("type=cacheonly"))),
            Base::Image { dockerfile, .. } => Some((BASE, self.without_files(dockerfile))),
            Base::Scratch => None,
        };
        if let (Some(targets), Some((name, target))) = (targets.as_object_mut(), compared) {
            targets.insert(name.to_owned(), target.into());
        }
        definition(targets)
    }

    /// The push of the configuration to the registry that the step plays, on the base image of this digest.
    pub(crate) fn push_configuration(&self, port: u16, base: Option<&Digest>) -> Value {
        let mut repository = protocol::configuration_repository(self.nonce);
        if let Some((_, hex)) = base.and_then(|base| base.as_str().split_once(':')) {
            repository.push('/');
            repository.push_str(hex);
        }
        let output = format!(
            "type=image,name=localhost:{port}/{repository}:latest,push=true,oci-mediatypes=true,store=false,registry.insecure=true"
        );
        let mut configuration = self.configuration(&output);
        if !self.image.several_platforms().is_empty() {
            // An image's own are the step's to write.
            let annotations = json!(self.image.annotations);
            configuration.insert("annotations".to_owned(), annotations);
        }
        definition(json!({ CONFIGURATION: configuration }))
    }

    /// Flags have the names that `build` has for them, in its order.
    fn image(&self) -> Map<String, Value> {
        let ImagePlan { steps, .. } = self.image;
        let mut target = self.common(&command::context(&self.image.context));
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

    fn configuration(&self, output: &str) -> Map<String, Value> {
        let mut target = self.without_files(self.configuration);
        target.insert("output".to_owned(), json!([output]));
        let labels = self
            .image
            .labels
            .iter()
            .filter_map(|label| pair(label, &['=']));
        target.insert("labels".to_owned(), labels.collect::<Map<_, _>>().into());
        target
    }

    fn without_files(&self, dockerfile: &str) -> Map<String, Value> {
        let mut target = self.common(&self.files.empty.to_string_lossy());
        target.insert("dockerfile-inline".to_owned(), json!(dockerfile));
        target
    }

    /// What the build and its configuration have in common.
    fn common(&self, context: &str) -> Map<String, Value> {
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
        if !self.image.platforms.is_empty() {
            target.insert("platforms".to_owned(), json!(self.image.platforms));
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

    /// Without a platform: it runs in the builder's own, whatever the image is for.
    fn step(&self) -> Value {
        let compared = match self.base {
            Base::Configuration => Some(CONFIGURATION),
            Base::Image { .. } => Some(BASE),
            Base::Scratch => None,
        };
        let mut target = json!({
            "context": self.files.context,
            "dockerfile-inline": step_dockerfile(self.nonce, compared.is_some(), self.image.several_platforms(), self.runs_in),
            "contexts": {"final": format!("target:{IMAGE}"), "step": self.step},
            "secret": [format!("id={},src={}", protocol::secrets_id(self.nonce), self.files.secrets.display())],
            "entitlements": ["network.host"],
            "extra-hosts": self.hosts(),
            "output": ["type=cacheonly"],
            "attest": ["type=provenance,disabled=true"],
            // What it copies keeps its times.
            "args": {"SOURCE_DATE_EPOCH": ""},
        });
        if let (Some(contexts), Some(compared)) = (target["contexts"].as_object_mut(), compared) {
            contexts.insert("base".to_owned(), json!(format!("target:{compared}")));
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
}

/// The program, in what the target calls `step`: one for the builder's own architecture.
const PROGRAM_FILE: &str = "/fast-ecr-push-step-$TARGETARCH";

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

fn step_dockerfile(
    nonce: &str,
    has_base: bool,
    platforms: &[String],
    runs_in: Option<usize>,
) -> String {
    let stage = stage(nonce);
    let job = format!("/{}", protocol::JOB_FILE);
    let places: Vec<Option<usize>> = match platforms.len() {
        0 => vec![None],
        several => (0..several).map(Some).collect(),
    };
    let run = |root: &str, hidden: Option<(&str, &str, &str)>, argument: &str| {
        let mut run = "RUN --network=host".to_owned();
        let mut mount = |from: &str, source: &str, target: &str| {
            run += &format!(" --mount=type=bind{from}{source},target={root}{target}");
        };
        // Program and job are mounted from where they come, so that BuildKit copies neither.
        mount(",from=step", &format!(",source={PROGRAM_FILE}"), PROGRAM);
        mount(
            "",
            &format!(",source={job}"),
            &format!("{PROGRAM_FOLDER}{job}"),
        );
        if let Some((from, source, target)) = hidden {
            mount(from, &format!(",source={source}"), target);
        }
        let mounted = |place: &&Option<usize>| runs_in.is_none_or(|own| own != place.unwrap_or(0));
        for place in places.iter().filter(mounted) {
            let stage = of_platform("final", *place);
            let path = protocol::mounted_at(protocol::IMAGE_PATH, *place);
            mount(&format!(",from={stage}"), "", &path);
        }
        for place in places.iter().filter(|_| has_base) {
            let stage = of_platform("base", *place);
            let path = protocol::mounted_at(protocol::BASE_PATH, *place);
            mount(&format!(",from={stage}"), "", &path);
        }
        let (id, secrets) = (protocol::secrets_id(nonce), protocol::SECRETS_PATH);
        run += &format!(" --mount=type=secret,id={id},target={root}{secrets}");
        run += &format!(" --mount=type=cache,id=fast-ecr-push-digests,target={root}/cache");
        format!("ARG TARGETARCH\n{run} [\"{root}{PROGRAM}\"{argument}]\n")
    };
    let stages = stages_of_platforms(platforms, has_base);
    let Some(own) = runs_in else {
        return format!("{stages}FROM scratch AS {stage}\n") + &run("", None, "");
    };

    // BuildKit hashes all files of what a step mounts, but not of what it runs in (`getMountDeps` in
    // <https://github.com/moby/buildkit/blob/v0.32.0/solver/llbsolver/ops/exec.go>): the step of a large image that runs in it starts
    // seconds earlier. BuildKit changes `/etc`, so the step gets a copy; the directory is made first where it is missing. BuildKit does
    // not hash a copy whose source and destination are the same image (`CacheMap` of ops/file.go). The copy has no pattern, for which
    // BuildKit would list the whole image. Of a mount of two names only what is below the first is read.
    let root = step_root(nonce);
    let folder = "/.fast-ecr-push/hidden";
    let (user, group) = protocol::OWNER_OF_MISSING;
    let image = of_platform("final", (!platforms.is_empty()).then_some(own));
    let own = format!(
        "FROM {image} AS final-image\nUSER {user}:{group}\nWORKDIR /etc\nUSER 0:0\n\
         FROM final-image AS hidden\nCOPY --from=final-image /etc {folder}/etc\n\
         FROM final-image AS {stage}\nWORKDIR /\n"
    );
    let hidden = (",from=hidden", folder, protocol::HIDDEN_PATH);
    stages + &own + &run(&root, Some(hidden), &format!(", \"{root}\""))
}

/// Stages with the file systems of each platform; none where there is one.
fn stages_of_platforms(platforms: &[String], has_base: bool) -> String {
    if platforms.is_empty() {
        return String::new();
    }
    // BuildKit would warn of platforms that are no variables.
    let mut text = "# check=skip=all\n".to_owned();
    for name in ["final", "base"] {
        for (place, platform) in platforms.iter().enumerate() {
            if name == "final" || has_base {
                let stage = of_platform(name, Some(place));
                text += &format!("FROM --platform={platform} {name} AS {stage}\n");
            }
        }
    }
    text
}

/// The stage of a platform.
fn of_platform(name: &str, place: Option<usize>) -> String {
    place.map_or_else(|| name.to_owned(), |place| format!("{name}-{place}"))
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
fn definition(targets: Value) -> Value {
    json!({ "target": escaped(targets) })
}

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
ARG TARGETARCH
RUN --network=host --mount=type=bind,from=step,source=/fast-ecr-push-step-$TARGETARCH,target=/.fast-ecr-push-01/program/fast-ecr-push-step --mount=type=bind,source=/job.json,target=/.fast-ecr-push-01/program/job.json --mount=type=bind,from=hidden,source=/.fast-ecr-push/hidden,target=/.fast-ecr-push-01/hidden --mount=type=bind,from=base,target=/.fast-ecr-push-01/base --mount=type=secret,id=fast-ecr-push-01,target=/.fast-ecr-push-01/run/secrets/fast-ecr-push-step --mount=type=cache,id=fast-ecr-push-digests,target=/.fast-ecr-push-01/cache ["/.fast-ecr-push-01/program/fast-ecr-push-step", "/.fast-ecr-push-01"]
"#;
        assert_eq!(step_dockerfile("01", true, &[], Some(0)), expected);
    }

    #[test]
    fn a_step_that_cannot_run_in_the_image_runs_in_one_of_its_own() {
        let expected = r#"FROM scratch AS step-01
ARG TARGETARCH
RUN --network=host --mount=type=bind,from=step,source=/fast-ecr-push-step-$TARGETARCH,target=/program/fast-ecr-push-step --mount=type=bind,source=/job.json,target=/program/job.json --mount=type=bind,from=final,target=/final --mount=type=secret,id=fast-ecr-push-01,target=/run/secrets/fast-ecr-push-step --mount=type=cache,id=fast-ecr-push-digests,target=/cache ["/program/fast-ecr-push-step"]
"#;
        assert_eq!(step_dockerfile("01", false, &[], None), expected);
    }

    #[test]
    fn a_step_gets_the_images_of_all_platforms_and_runs_in_the_one_it_can() {
        let platforms = ["linux/arm64", "linux/amd64"].map(str::to_owned);
        let expected = r#"# check=skip=all
FROM --platform=linux/arm64 final AS final-0
FROM --platform=linux/amd64 final AS final-1
FROM --platform=linux/arm64 base AS base-0
FROM --platform=linux/amd64 base AS base-1
FROM final-1 AS final-image
USER 64123:63211
WORKDIR /etc
USER 0:0
FROM final-image AS hidden
COPY --from=final-image /etc /.fast-ecr-push/hidden/etc
FROM final-image AS step-01
WORKDIR /
ARG TARGETARCH
RUN --network=host --mount=type=bind,from=step,source=/fast-ecr-push-step-$TARGETARCH,target=/.fast-ecr-push-01/program/fast-ecr-push-step --mount=type=bind,source=/job.json,target=/.fast-ecr-push-01/program/job.json --mount=type=bind,from=hidden,source=/.fast-ecr-push/hidden,target=/.fast-ecr-push-01/hidden --mount=type=bind,from=final-0,target=/.fast-ecr-push-01/final/0 --mount=type=bind,from=base-0,target=/.fast-ecr-push-01/base/0 --mount=type=bind,from=base-1,target=/.fast-ecr-push-01/base/1 --mount=type=secret,id=fast-ecr-push-01,target=/.fast-ecr-push-01/run/secrets/fast-ecr-push-step --mount=type=cache,id=fast-ecr-push-digests,target=/.fast-ecr-push-01/cache ["/.fast-ecr-push-01/program/fast-ecr-push-step", "/.fast-ecr-push-01"]
"#;
        let found = step_dockerfile("01", true, &platforms, Some(1));
        assert_eq!(found, expected);
        let expected = r#"# check=skip=all
FROM --platform=linux/arm64 final AS final-0
FROM --platform=linux/amd64 final AS final-1
FROM scratch AS step-01
ARG TARGETARCH
RUN --network=host --mount=type=bind,from=step,source=/fast-ecr-push-step-$TARGETARCH,target=/program/fast-ecr-push-step --mount=type=bind,source=/job.json,target=/program/job.json --mount=type=bind,from=final-0,target=/final/0 --mount=type=bind,from=final-1,target=/final/1 --mount=type=secret,id=fast-ecr-push-01,target=/run/secrets/fast-ecr-push-step --mount=type=cache,id=fast-ecr-push-digests,target=/cache ["/program/fast-ecr-push-step"]
"#;
        assert_eq!(step_dockerfile("01", false, &platforms, None), expected);
    }
}
