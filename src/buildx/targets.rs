//! The progress of a build with the push engine, taken apart.
//!
//! buildx puts a target's name in front of the names of its vertices: `[image 2/3] RUN make`, `[image build 1/2] FROM a`,
//! `[image] resolving …` (<https://github.com/docker/buildx/blob/461836ba0/util/progress/multiwriter.go>, `addPrefix`). A vertex that
//! several targets have comes once for each of them, under one digest.

use std::collections::HashSet;

use image::Digest;

use super::bake::{BASE, CONFIGURATION, IMAGE, PUSH, stage};
use super::budget::Budget;
use super::rawjson::{SolveStatus, Vertex};

/// Bytes of vertex digests that are kept: some 100,000 vertices.
const MOST_KEPT: usize = 8 * 1024 * 1024;

/// Longer lines of the step are cut; none of its events is that long (bytes).
const LONGEST_LINE: usize = protocol::LARGEST_LINE + 1024;

/// Takes statuses apart.
#[derive(Debug)]
pub(super) struct Targets {
    /// What names of the step's vertices begin with.
    step_prefix: String,
    /// The step's own vertex.
    step: Option<String>,
    /// Vertices of the user's build.
    image: HashSet<String>,
    budget: Budget,
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
    /// Lines of the step.
    pub lines: Vec<String>,
}

impl Targets {
    pub(super) fn new(nonce: &str) -> Self {
        Self {
            step_prefix: format!("[{PUSH} {} ", stage(nonce)),
            step: None,
            image: HashSet::new(),
            budget: Budget::of(MOST_KEPT),
            pending: Vec::new(),
            trigger: None,
            base: None,
        }
    }

    /// The instruction that a base image adds to the builds based on it, if one was seen.
    pub(super) fn trigger(&self) -> Option<&str> {
        self.trigger.as_deref()
    }

    /// The digest of the base image, if BuildKit has asked its registry.
    pub(super) fn base(&self) -> Option<&Digest> {
        self.base.as_ref()
    }

    /// Whether the step has begun.
    pub(super) fn has_step(&self) -> bool {
        self.step.is_some()
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
            if self.step.as_ref() == Some(&log.vertex) {
                self.pending.extend(&log.data);
            } else if self.image.contains(&log.vertex) {
                parts.image.logs.push(log);
            }
        }
        self.take_lines(&mut parts.lines);
        parts
    }

    fn vertex(&mut self, mut vertex: Vertex, image: &mut Vec<Vertex>) {
        if let Some(name) = without_target(&vertex.name, IMAGE) {
            vertex.name = name;
        } else if without_target(&vertex.name, PUSH).is_some() {
            if vertex.name.starts_with(&self.step_prefix)
                && vertex.name.contains("] RUN ")
                && vertex.started.is_some()
            {
                self.step = Some(vertex.digest);
            }
            return;
        } else if let Some(name) = without_target(&vertex.name, CONFIGURATION)
            .or_else(|| without_target(&vertex.name, BASE))
        {
            self.base = self.base.take().or_else(|| digest_of_base(&name));
            if makes_files(&name) {
                self.trigger = Some(name);
            }
            return;
        }
        let is_known = self.image.contains(&vertex.digest);
        if !is_known && self.budget.take(vertex.digest.len()) {
            self.image.insert(vertex.digest.clone());
        }
        image.push(vertex);
    }

    fn take_lines(&mut self, lines: &mut Vec<String>) {
        if let Some(last) = self.pending.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.pending.split_off(last + 1);
            let whole = std::mem::replace(&mut self.pending, rest);
            let whole = whole.split_inclusive(|byte| *byte == b'\n');
            lines.extend(whole.map(|line| String::from_utf8_lossy(line).trim_end().to_owned()));
        }
        self.pending.truncate(LONGEST_LINE);
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
    for target in [PUSH, IMAGE, CONFIGURATION, BASE] {
        let prefix = format!("ERROR: target {target}: ");
        if let Some(rest) = line.strip_prefix(&prefix) {
            return format!("ERROR: failed to build: {rest}");
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::buildx::rawjson::VertexLog;

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
        let mut targets = Targets::new("1");
        let step = "[push step-1 2/2] RUN step";
        let lines = "\n".repeat(2_000_000);
        let begun = std::time::Instant::now();
        let parts = targets.split(status(&[("a", step)], &[("a", &lines), ("a", "b")]));
        assert_eq!(parts.lines.len(), 2_000_000);
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
        let parts = targets.split(status(&[], &[("a", "c \nd")]));
        assert_eq!(parts.lines, ["bc"]);
    }

    #[test]
    fn the_users_build_looks_as_if_it_were_alone() {
        let mut targets = Targets::new("1");
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
    fn only_the_steps_own_vertex_is_listened_to() {
        let mut targets = Targets::new("secret");
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
        assert_eq!(parts.lines, ["one", "two"]);
        assert!(targets.has_step());
        assert_eq!(
            targets.split(status(&[], &[("step", "ee\n")])).lines,
            ["three"]
        );
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
            let mut targets = Targets::new("1");
            targets.split(status(&[("a", name)], &[]));
            assert_eq!(targets.trigger().is_some(), expected, "{name}");
        }
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut targets = Targets::new("1");
        targets.split(status(&[("s", "[push step-1 3/3] RUN x")], &[]));
        let piece = "x".repeat(100_000);
        for _ in 0..20 {
            targets.split(status(&[], &[("s", &piece)]));
        }
        assert_eq!(targets.pending.len(), LONGEST_LINE);
    }

    #[test]
    fn closing_words_are_those_of_a_build() {
        assert_eq!(
            without_target_in_text("ERROR: target push: failed to solve: exit code: 1"),
            "ERROR: failed to build: failed to solve: exit code: 1"
        );
        assert_eq!(without_target_in_text("Dockerfile:3"), "Dockerfile:3");
    }
}
