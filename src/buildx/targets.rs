//! The progress of a build with the push engine, taken apart.
//!
//! buildx puts a target's name in front of the names of its vertices: `[image 2/3] RUN make`, `[image build 1/2] FROM a`,
//! `[image] resolving …` (<https://github.com/docker/buildx/blob/461836ba0/util/progress/multiwriter.go>, `addPrefix`). A vertex that
//! several targets have comes once for each of them, under one digest. Of several platforms each has targets of its own; the user sees
//! the platform instead, as in a build of all of them: `[linux/arm64 2/3] RUN make`.

use std::collections::HashSet;

use image::Digest;

use super::bake::{BASE, CONFIGURATION, Definition, IMAGE, PUSH, stage, target};
use super::budget::Budget;
use super::rawjson::{SolveStatus, Vertex};

/// Bytes of vertex digests that are kept: some 100,000 vertices.
const MOST_KEPT: usize = 8 * 1024 * 1024;

/// Longer lines of the step are cut; none of its events is that long (bytes).
const LONGEST_LINE: usize = protocol::LARGEST_LINE + 1024;

/// Takes statuses apart.
#[derive(Debug)]
pub(super) struct Targets {
    parts: Vec<Part>,
    /// Vertices of the user's build.
    image: HashSet<String>,
    budget: Budget,
}

/// The targets of the image, or of one of its platforms.
#[derive(Debug)]
struct Part {
    /// Where there are several.
    platform: Option<String>,
    image_target: String,
    step_target: String,
    /// Those of the configuration and of the base image.
    other_targets: [String; 2],
    /// What names of the step's vertices begin with.
    step_prefix: String,
    /// The step's own vertex.
    step: Option<String>,
    /// The step's output that has no line end yet.
    pending: Vec<u8>,
    /// An instruction that makes files, in a build that is to have none: from `ONBUILD` of the base image.
    trigger: Option<String>,
    /// The digest of the base image that is a target of its own.
    base: Option<Digest>,
}

/// What a status brings.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The user's build, as if it were alone.
    pub image: SolveStatus,
    /// Lines of the steps, each with the place of its part.
    pub lines: Vec<(usize, String)>,
}

impl Targets {
    pub(super) fn of(definition: &Definition<'_>) -> Self {
        let parts = definition.parts.iter();
        let parts = parts.map(|part| (part.place, part.platform));
        Self::new(definition.nonce, parts)
    }

    /// Those of parts, each with its place among several and its platform.
    pub(super) fn new<'a>(
        nonce: &str,
        parts: impl IntoIterator<Item = (Option<usize>, Option<&'a str>)>,
    ) -> Self {
        let parts = parts.into_iter();
        Self {
            parts: parts
                .map(|(place, platform)| Part::new(nonce, place, platform))
                .collect(),
            image: HashSet::new(),
            budget: Budget::of(MOST_KEPT),
        }
    }

    /// That of a step without an image, which is the only target: names have no target then.
    pub(super) fn of_step(nonce: &str) -> Self {
        let stage = stage(nonce);
        let part = Part {
            step_prefix: format!("[{stage} "),
            step_target: stage,
            ..Part::new(nonce, None, None)
        };
        Self {
            parts: vec![part],
            image: HashSet::new(),
            budget: Budget::of(MOST_KEPT),
        }
    }

    /// The instruction that a part's base image adds to the builds based on it, if one was seen.
    pub(super) fn trigger(&self, part: usize) -> Option<&str> {
        self.parts.get(part)?.trigger.as_deref()
    }

    /// The digest of a part's base image, if BuildKit has asked its registry.
    pub(super) fn base(&self, part: usize) -> Option<&Digest> {
        self.parts.get(part)?.base.as_ref()
    }

    /// Whether a part's step has begun.
    pub(super) fn has_step(&self, part: usize) -> bool {
        self.parts.get(part).is_some_and(|part| part.step.is_some())
    }

    /// Takes a status apart.
    pub(super) fn split(&mut self, status: SolveStatus) -> Parts {
        let mut parts = Parts::default();
        for vertex in status.vertexes {
            self.vertex(vertex, &mut parts.image.vertexes);
        }
        let image = &self.image;
        let of_image = |digest: &str| image.contains(digest);
        let statuses = status.statuses.into_iter();
        parts.image.statuses = statuses.filter(|part| of_image(&part.vertex)).collect();
        let warnings = status.warnings.into_iter();
        parts.image.warnings = warnings
            .filter(|warning| of_image(&warning.vertex))
            .collect();
        for log in status.logs {
            let mut steps = self.parts.iter_mut();
            if let Some(part) = steps.find(|part| part.step.as_ref() == Some(&log.vertex)) {
                part.pending.extend(&log.data);
            } else if self.image.contains(&log.vertex) {
                parts.image.logs.push(log);
            }
        }
        for (place, part) in self.parts.iter_mut().enumerate() {
            let lines = part.take_lines().into_iter();
            parts.lines.extend(lines.map(|line| (place, line)));
        }
        parts
    }

    fn vertex(&mut self, mut vertex: Vertex, image: &mut Vec<Vertex>) {
        for part in &mut self.parts {
            if let Some(name) = without_target(&vertex.name, &part.image_target) {
                vertex.name = part.with_platform(name);
                break;
            }
            if part.takes(&vertex) {
                return;
            }
        }
        let is_known = self.image.contains(&vertex.digest);
        if !is_known && self.budget.take(vertex.digest.len()) {
            self.image.insert(vertex.digest.clone());
        }
        image.push(vertex);
    }
}

impl Part {
    fn new(nonce: &str, place: Option<usize>, platform: Option<&str>) -> Self {
        let step_target = target(PUSH, place);
        Self {
            platform: platform.filter(|_| place.is_some()).map(str::to_owned),
            image_target: target(IMAGE, place),
            other_targets: [CONFIGURATION, BASE].map(|name| target(name, place)),
            step_prefix: format!("[{step_target} {} ", stage(nonce)),
            step_target,
            step: None,
            pending: Vec::new(),
            trigger: None,
            base: None,
        }
    }

    /// A name as it is where several platforms are one target: only steps of the Dockerfile have theirs.
    fn with_platform(&self, name: String) -> String {
        let step = name.strip_prefix('[').filter(|step| is_numbered(step));
        match (&self.platform, step) {
            (Some(platform), Some(step)) => format!("[{platform} {step}"),
            _ => name,
        }
    }

    /// Takes in a vertex that is not the user's build.
    fn takes(&mut self, vertex: &Vertex) -> bool {
        let name = &vertex.name;
        if without_target(name, &self.step_target).is_some() {
            if name.starts_with(&self.step_prefix)
                && name.contains("] RUN ")
                && vertex.started.is_some()
            {
                self.step = Some(vertex.digest.clone());
            }
            return true;
        }
        let mut others = self.other_targets.iter();
        let Some(name) = others.find_map(|target| without_target(name, target)) else {
            return false;
        };
        self.base = self.base.take().or_else(|| digest_of_base(&name));
        if makes_files(&name) {
            self.trigger = Some(name);
        }
        true
    }

    /// Lines that have ended.
    fn take_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(last) = self.pending.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.pending.split_off(last + 1);
            let whole = std::mem::replace(&mut self.pending, rest);
            let whole = whole.split_inclusive(|byte| *byte == b'\n');
            lines.extend(whole.map(|line| String::from_utf8_lossy(line).trim_end().to_owned()));
        }
        self.pending.truncate(LONGEST_LINE);
        lines
    }
}

/// A vertex's name without its target, if it is that target's.
pub(super) fn without_target(name: &str, target: &str) -> Option<String> {
    let rest = name.strip_prefix('[')?.strip_prefix(target)?;
    match rest.strip_prefix("] ") {
        Some(rest) => Some(rest.to_owned()),
        None => Some(format!("[{}", rest.strip_prefix(' ')?)),
    }
}

/// Whether a name goes on as `build 2/3] RUN make`.
fn is_numbered(name: &str) -> bool {
    let stage = name.split("] ").next().unwrap_or_default();
    let last = stage.rsplit(' ').next().unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    last.split_once('/')
        .is_some_and(|(step, of)| is_number(step) && is_number(of))
}

/// The digest in `[1/2] FROM HOST/REPOSITORY:TAG@sha256:…`.
fn digest_of_base(name: &str) -> Option<Digest> {
    let (_, reference) = name.split_once("] FROM ")?;
    let (_, digest) = reference.split_once('@')?;
    digest.parse().ok()
}

/// Whether a vertex's name is that of an instruction that `configuration` does not have by itself.
fn makes_files(name: &str) -> bool {
    let command = name.split_once("] ").map_or("", |(_, command)| command);
    let keyword = command
        .split(' ')
        .find(|word| !matches!(*word, "LINK" | "ONBUILD"));
    matches!(keyword, Some("RUN" | "COPY" | "ADD"))
}

/// A line of buildx's closing text as `build` has it.
pub(super) fn without_target_in_text(line: &str) -> String {
    let of_target = line.strip_prefix("ERROR: target ");
    let of_target = of_target.and_then(|rest| rest.split_once(": "));
    let is_ours = |target: &str| {
        [PUSH, IMAGE, CONFIGURATION, BASE].into_iter().any(|name| {
            target.strip_prefix(name).is_some_and(|place| {
                let number = place.strip_prefix('-');
                place.is_empty() || number.is_some_and(|number| number.parse::<usize>().is_ok())
            })
        })
    };
    match of_target {
        Some((target, rest)) if is_ours(target) => format!("ERROR: failed to build: {rest}"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::buildx::rawjson::VertexLog;

    const ONE: [(Option<usize>, Option<&str>); 1] = [(None, Some("linux/amd64"))];

    /// Lines of the only part.
    fn texts(parts: Parts) -> Vec<String> {
        assert!(parts.lines.iter().all(|(place, _)| *place == 0));
        parts.lines.into_iter().map(|(_, line)| line).collect()
    }

    fn vertex(digest: &str, name: &str) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            name: name.to_owned(),
            started: Some(Timestamp::UNIX_EPOCH),
            ..Vertex::default()
        }
    }

    fn log(digest: &str, data: &str) -> VertexLog {
        VertexLog {
            vertex: digest.to_owned(),
            data: data.as_bytes().to_vec(),
            ..VertexLog::default()
        }
    }

    fn status(vertexes: &[(&str, &str)], logs: &[(&str, &str)]) -> SolveStatus {
        SolveStatus {
            vertexes: vertexes
                .iter()
                .map(|(digest, name)| vertex(digest, name))
                .collect(),
            logs: logs
                .iter()
                .map(|(digest, data)| log(digest, data))
                .collect(),
            ..SolveStatus::default()
        }
    }

    #[test]
    fn many_short_lines_take_no_longer_than_one_long_line() {
        let mut targets = Targets::new("1", ONE);
        let step = "[push step-1 2/2] RUN step";
        let lines = "\n".repeat(2_000_000);
        let begun = std::time::Instant::now();
        let parts = targets.split(status(&[("a", step)], &[("a", &lines), ("a", "b")]));
        assert_eq!(parts.lines.len(), 2_000_000);
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
        let parts = targets.split(status(&[], &[("a", "c \nd")]));
        assert_eq!(texts(parts), ["bc"]);
    }

    #[test]
    fn the_users_build_looks_as_if_it_were_alone() {
        let mut targets = Targets::new("1", ONE);
        let parts = targets.split(status(
            &[
                ("x", "[internal] load local bake definitions"),
                ("a", "[push internal] load build definition from Dockerfile"),
                ("b", "[configuration 1/2] FROM busybox"),
                ("b", "[image 1/2] FROM busybox"),
                ("c", "[image build 2/2] RUN make"),
                ("d", "[image internal] load build context"),
                ("e", "[image] resolving provenance for metadata file"),
                ("c", "[push build 2/2] RUN make"),
                ("f", "[context base] load from client"),
            ],
            &[("c", "made\n"), ("a", "x\n")],
        ));
        let names: Vec<&str> = parts
            .image
            .vertexes
            .iter()
            .map(|vertex| &*vertex.name)
            .collect();
        assert_eq!(
            names,
            [
                "[internal] load local bake definitions",
                "[1/2] FROM busybox",
                "[build 2/2] RUN make",
                "[internal] load build context",
                "resolving provenance for metadata file",
                "[context base] load from client",
            ]
        );
        assert_eq!(parts.image.logs.len(), 1);
        assert_eq!(parts.lines.len(), 0);
    }

    #[test]
    fn of_several_platforms_each_has_its_own_step_and_is_named_as_in_one_build() {
        let both = ["linux/amd64", "linux/arm64"].map(Some).into_iter();
        let both = both.enumerate().map(|(place, of)| (Some(place), of));
        let mut targets = Targets::new("1", both);
        let run = "RUN --network=host [\"/program\"]";
        let parts = targets.split(status(
            &[
                ("a", "[image-0 internal] load build definition"),
                ("b", "[image-1 context tools] load from client"),
                ("c", "[image-0 1/2] FROM busybox"),
                ("d", "[image-1 build 2/2] RUN make"),
                ("e", "[image-1] resolving provenance for metadata file"),
                ("f", "[configuration-1 2/2] ONBUILD RUN make"),
                ("x", &format!("[push-0 step-1 2/2] {run}")),
                ("y", &format!("[push-1 step-1 2/2] {run}")),
            ],
            &[("y", "of y\n"), ("x", "of x\n"), ("d", "made\n")],
        ));
        let names = parts.image.vertexes.iter().map(|vertex| &*vertex.name);
        let expected = [
            "[internal] load build definition",
            "[context tools] load from client",
            "[linux/amd64 1/2] FROM busybox",
            "[linux/arm64 build 2/2] RUN make",
            "resolving provenance for metadata file",
        ];
        assert_eq!(names.collect::<Vec<_>>(), expected);
        let lines = [(0, "of x".to_owned()), (1, "of y".to_owned())];
        assert_eq!(parts.lines, lines);
        assert_eq!(parts.image.logs.len(), 1);
        assert!(targets.has_step(0) && targets.has_step(1));
        assert!(targets.trigger(0).is_none() && targets.trigger(1).is_some());
    }

    #[test]
    fn only_the_steps_own_vertex_is_listened_to() {
        let mut targets = Targets::new("secret", ONE);
        let run = "[push step-secret 3/3] RUN --network=host [\"/fast-ecr-push-step\"]";
        let parts = targets.split(status(
            &[
                ("user", "[push step-guess 2/2] RUN echo fast-ecr-push-event"),
                (
                    "user",
                    "[image step-guess 2/2] RUN echo fast-ecr-push-event",
                ),
                ("copy", "[push step-secret 2/3] COPY job.json /"),
                ("step", run),
            ],
            &[
                ("user", "no\n"),
                ("step", "one\ntw"),
                ("step", "o\r\nthr"),
                ("copy", "no\n"),
            ],
        ));
        assert_eq!(texts(parts), ["one", "two"]);
        assert!(targets.has_step(0));
        assert_eq!(
            texts(targets.split(status(&[], &[("step", "ee\n")]))),
            ["three"]
        );
    }

    #[test]
    fn a_step_that_is_the_only_target_is_listened_to() {
        let mut targets = Targets::of_step("1");
        let parts = targets.split(status(
            &[
                ("a", "[internal] load build definition"),
                ("x", "[step-1 1/1] RUN --network=host [\"/program\"]"),
            ],
            &[("x", "of the step\n"), ("a", "no\n")],
        ));
        assert_eq!(texts(parts), ["of the step"]);
    }

    #[test]
    fn triggers_of_a_base_image_are_noticed() {
        for (name, expected) in [
            ("[configuration 1/2] FROM a", false),
            ("[configuration 2/2] WORKDIR /a", false),
            ("[configuration internal] load build context", false),
            ("[configuration 2/3] COPY . /app", true),
            ("[configuration 2/3] ONBUILD RUN make", true),
            ("[configuration stage-1 2/3] LINK COPY . /", true),
            ("[image 2/3] COPY . /app", false),
        ] {
            let mut targets = Targets::new("1", ONE);
            targets.split(status(&[("a", name)], &[]));
            assert_eq!(targets.trigger(0).is_some(), expected, "{name}");
        }
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut targets = Targets::new("1", ONE);
        targets.split(status(&[("s", "[push step-1 3/3] RUN x")], &[]));
        let piece = "x".repeat(100_000);
        for _ in 0..20 {
            targets.split(status(&[], &[("s", &piece)]));
        }
        assert_eq!(targets.parts[0].pending.len(), LONGEST_LINE);
    }

    #[test]
    fn closing_words_are_those_of_a_build() {
        assert_eq!(
            without_target_in_text("ERROR: target push: failed to solve: exit code: 1"),
            "ERROR: failed to build: failed to solve: exit code: 1"
        );
        assert_eq!(
            without_target_in_text("ERROR: target image-1: failed to solve: x"),
            "ERROR: failed to build: failed to solve: x"
        );
        for other in [
            "Dockerfile:3",
            "ERROR: target image-x: a",
            "ERROR: target app: a",
        ] {
            assert_eq!(without_target_in_text(other), other);
        }
    }
}
