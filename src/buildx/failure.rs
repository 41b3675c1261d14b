//! Why a build failed: the step, its last output, the Dockerfile's line, a hint.
//!
//! In: the progress and buildx's final text. That text names the place as `Dockerfile:3`, above a ruler and an excerpt
//! (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/solver/errdefs/source.go>).

use std::fmt;

use image::{Digest, Registry};

use super::progress::{Progress, Step};
use super::{cache_step, catalogue};
use crate::runner::redact::Redactor;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    /// BuildKit's name of the failed step.
    pub step: Option<String>,
    /// The step's last lines of output.
    pub tail: Vec<String>,
    /// File and line, from 1. BuildKit's file is a path in the context or a bare name.
    pub place: Option<(String, u32)>,
    /// The same with a path in the repository, if the file is in it.
    pub in_repository: Option<(String, u32)>,
    /// The error of BuildKit or buildx.
    pub message: String,
    /// The digest that was being pushed under tags.
    pub pushing: Option<Digest>,
    /// Names that exist and cannot move, with their digests, if this is why the push was refused.
    pub taken: Vec<(String, String)>,
}

impl Failure {
    /// From redacted progress, whose output of steps is not redacted yet, and buildx's final text.
    pub(super) fn new(progress: &Progress, text: &[String], redactor: &Redactor) -> Self {
        let mut lines = text.iter().map(|line| line.trim());
        let mut errors = lines
            .clone()
            .filter_map(|line| line.strip_prefix("ERROR: "));
        let last_line = lines.rfind(|line| !line.is_empty());
        let reason = errors.next_back().or(last_line);
        // BuildKit continues without a cache: a failed transfer counts only if buildx repeats its error.
        let is_cause = |step: &&Step| {
            let error = step.error.as_deref().unwrap_or_default();
            !cache_step::is_transfer(&step.name)
                || reason.is_none_or(|reason| reason.contains(error))
        };
        let step = progress.failed().filter(is_cause);
        let tail = step.iter().flat_map(|step| &step.tail);
        let mut failure = Self {
            step: step.map(|step| step.name.clone()),
            tail: tail.map(|line| redactor.text(line)).collect(),
            place: place(text),
            in_repository: None,
            message: step
                .and_then(|step| step.error.clone())
                .or(reason.map(|reason| redactor.without_secrets(reason)))
                .unwrap_or_else(|| "buildx gave no reason".to_owned()),
            pushing: progress.pushing().cloned(),
            taken: Vec::new(),
        };
        // Retries depend on a registry's message, which has no values of build arguments.
        if step.is_none() && !failure.is_of_push() && !failure.is_disconnection() {
            failure.message = redactor.text(&failure.message);
        }
        failure
    }

    /// What to do, if the error is known by its message or by the last output of a failed command.
    pub(crate) fn hint(&self) -> Option<String> {
        if let Some((name, digest)) = self.taken.first() {
            let built = match &self.pushing {
                Some(built) => format!("this build gave {built}"),
                None => "this build gave another image".to_owned(),
            };
            return Some(format!(
                "{built}, but `{name}` is {digest} and cannot move. Attestations (`provenance`, `sbom`) and steps that give different files \
                 each time give another digest in every build. `if-exists: skip` ends with the existing image; another image needs another \
                 tag, such as `type=sha`"
            ));
        }
        let known = catalogue::find(self.cause()).map(|entry| entry.hint);
        let hint = known.or_else(|| {
            let is_command = self.cause().len() < self.message.len();
            let lines = self.tail.iter().rev().take(LAST_LINES);
            let output = lines.map(String::as_str).chain([self.cause()]);
            is_command.then(|| catalogue::find_in_output(output))?
        });
        hint.map(str::to_owned)
    }

    /// The message without the failed command, which may quote any error
    /// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/solver/llbsolver/ops/exec.go>).
    fn cause(&self) -> &str {
        let after = self.message.rsplit_once("did not complete successfully");
        after.map_or(self.message.as_str(), |(_, cause)| cause)
    }

    /// Whether buildx lost its connection to the builder, or found it ended.
    /// Not for a step, whose error may be about its own connections. These are gRPC's texts
    /// (<https://github.com/grpc/grpc-go/blob/v1.79.0/internal/transport/http2_client.go>).
    pub(crate) fn is_disconnection(&self) -> bool {
        let texts = ["code = Unavailable", "error reading from server"];
        let is_lost = texts.iter().any(|text| self.message.contains(text));
        self.step.is_none() && (is_lost || is_of_ended_container(&self.message))
    }

    /// Whether a registry denied access.
    pub(crate) fn is_denied(&self) -> bool {
        catalogue::find(self.cause()).is_some_and(|entry| entry.is_denied)
    }

    /// Whether a registry refused to move a tag that exists.
    pub(crate) fn is_taken(&self) -> bool {
        self.is_of_push() && catalogue::is_taken(&self.message)
    }

    /// Whether the token may have expired during a push to Amazon ECR. An answer to HEAD has no reason.
    pub(crate) fn may_be_expired_login(&self) -> bool {
        let has = |text: &str| self.message.contains(text);
        let url = self.message.split_once("https://");
        let host = url.and_then(|(_, url)| url.split('/').next());
        let is_ecr = host.is_some_and(|host| matches!(Registry::from_host(host), Registry::Ecr(_)));
        let has_no_reason = is_ecr && has("HEAD request") && has("403 Forbidden");
        self.is_of_push() && (has_no_reason || has(catalogue::EXPIRED))
    }

    /// Whether a push or the connection to the builder failed, not a step of the Dockerfile.
    fn is_of_push(&self) -> bool {
        match &self.step {
            Some(step) => PUSHING.iter().any(|start| step.starts_with(start)),
            None => CONNECTION.iter().any(|text| self.message.contains(text)),
        }
    }

    /// What failed and is tried again: `push`, or `build` before there was anything to push.
    pub(crate) fn attempted(&self) -> &'static str {
        if self.is_of_push() { "push" } else { "build" }
    }

    /// Whether the step only reads from a registry: names of base images and frontends, and their layers.
    fn is_of_pull(&self) -> bool {
        let name = self.step.as_deref().unwrap_or_default();
        let (_, instruction) = name.split_once("] ").unwrap_or_default();
        name.starts_with("resolve image config for ")
            || PULLING.iter().any(|start| instruction.starts_with(start))
    }

    /// Whether a retry may succeed: after a temporary failure of a push, of a pull or of the connection to the builder, never of another
    /// step. Amazon ECR closes uploads to missing repositories in the same way, so `exists` must know the repository
    /// (`registry/repository`).
    pub(crate) fn is_temporary(&self, exists: &dyn Fn(&str) -> bool) -> bool {
        (self.is_of_push() || self.is_of_pull())
            && catalogue::is_temporary(&self.message)
            && !(catalogue::may_be_missing_repository(&self.message)
                && self.ecr_repository().is_some_and(|name| !exists(&name)))
    }

    /// The repository of Amazon ECR that an upload went to: `https://<host>/v2/<name>/blobs/uploads/`.
    fn ecr_repository(&self) -> Option<String> {
        let (_, url) = self.message.split_once("https://")?;
        let (host, rest) = url.split_once("/v2/")?;
        let (name, _) = rest.split_once("/blobs/uploads")?;
        let is_ecr = matches!(Registry::from_host(host), Registry::Ecr(_));
        is_ecr.then(|| format!("{host}/{name}"))
    }
}

/// Lines of output that may contain the cause of a failed command.
const LAST_LINES: usize = 5;

/// How the names of BuildKit's pushing steps begin
/// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/solver/llbsolver/solver.go>).
const PUSHING: &[&str] = &[
    "exporting to ",
    "exporting cache to ",
    "exporting config",
    "pushing ",
];

/// How BuildKit's names of steps go on that read images: `[internal] load metadata for REF`, `[build 1/4] FROM REF`.
const PULLING: &[&str] = &["load metadata for ", "FROM "];

/// buildx's errors when it cannot reach the builder, or a push failed outside of a step.
const CONNECTION: &[&str] = &[
    "failed to push",
    "error dialing backend",
    "error while dialing",
    "error reading server preface",
];

/// Whether the builder's container has ended, and may be about to start again: the Engine says so
/// (<https://github.com/moby/moby/blob/v28.5.2/daemon/errors.go>), of which its client has the status alone where a command was to be
/// attached (<https://github.com/moby/moby/blob/v28.5.2/client/hijack.go>), or a command in it ended, of which buildx has the code
/// alone (<https://github.com/docker/buildx/blob/461836ba0/driver/docker-container/driver.go>, `run`).
pub(crate) fn is_of_ended_container(message: &str) -> bool {
    let message = message.trim_end().to_lowercase();
    let of_engine = message.split_once("error response from daemon: container ");
    let has_ended = of_engine.is_some_and(|(_, rest)| {
        rest.contains("is restarting, wait until") || rest.contains("is not running")
    });
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    has_ended
        || message.contains("unable to upgrade to tcp, received 409")
        || message
            .rsplit_once("exit code ")
            .is_some_and(|(_, code)| is_number(code))
}

fn place(text: &[String]) -> Option<(String, u32)> {
    text.windows(2).find_map(|pair| {
        let [line, ruler] = pair else { return None };
        let (file, number) = line.trim().rsplit_once(':')?;
        let number = number.parse().ok()?;
        (ruler.starts_with("-----") && !file.is_empty()).then(|| (file.to_owned(), number))
    })
}

/// One line, without the tail.
impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(formatter, "step `{step}` failed: {}", self.message)?,
            None => write!(formatter, "{}", self.message)?,
        }
        if let Some((file, line)) = &self.place {
            write!(formatter, " ({file}:{line})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::buildx::rawjson::{SolveStatus, Vertex};

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn finds_the_place_and_the_closing_words() {
        let text = lines(
            "Dockerfile:3\n--------------------\n   2 |\n   3 | >>> RUN false\n--------------------\n\
             ERROR: failed to build: failed to solve: exit code: 1\n",
        );
        let failure = Failure::new(&Progress::default(), &text, &Redactor::default());
        assert_eq!(failure.place, Some(("Dockerfile".to_owned(), 3)));
        assert_eq!(
            failure.to_string(),
            "failed to build: failed to solve: exit code: 1 (Dockerfile:3)"
        );
    }

    #[test]
    fn a_lost_connection_is_told_from_a_failed_step() {
        let message = "failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF";
        let mut failure = Failure {
            message: message.to_owned(),
            ..Failure::default()
        };
        assert!(failure.is_disconnection());
        failure.step = Some("[2/2] RUN curl".to_owned());
        assert!(!failure.is_disconnection());
        let mut progress = Progress::default();
        let missing = SolveStatus {
            vertexes: vec![Vertex {
                digest: "sha256:a".to_owned(),
                name: "importing cache manifest from r.example/app:buildcache".to_owned(),
                started: Some(Timestamp::UNIX_EPOCH),
                error: "not found".to_owned(),
                ..Vertex::default()
            }],
            ..SolveStatus::default()
        };
        progress.show(&missing, |_| ());
        let text = lines(&format!("ERROR: {message}"));
        assert!(Failure::new(&progress, &text, &Redactor::default()).is_disconnection());
        // Nor did it end a build that BuildKit refused as a whole.
        let text = lines("ERROR: failed to build: failed to solve: network.host is not allowed");
        let refused = Failure::new(&progress, &text, &Redactor::default());
        assert_eq!(refused.step, None);
        assert!(refused.hint().unwrap().contains("`allow: network.host`"));
        assert!(!Failure::default().is_disconnection());
        for (words, expected) in [
            (
                "Container 0a1b is restarting, wait until the container is running",
                true,
            ),
            ("container 0a1b is not running", true),
            ("unable to upgrade to tcp, received 409", true),
            ("No such image: buildkit:latest", false),
        ] {
            failure.step = None;
            failure.message = format!("Error response from daemon: {words}");
            assert_eq!(failure.is_disconnection(), expected, "{words}");
        }
        failure.message = "exit code 128".to_owned();
        assert!(failure.is_disconnection());
        failure.message = "failed to solve: exit code: 1".to_owned();
        assert!(!failure.is_disconnection());
    }

    #[test]
    fn the_hint_for_a_failed_command_comes_from_its_output_and_not_from_its_text() {
        let failed = |command: &str, code: i32, tail: &[&str]| {
            let failure = Failure {
                step: Some(format!("[2/2] RUN {command}")),
                message: format!(
                    "process \"/bin/sh -c {command}\" did not complete successfully: exit code: {code}"
                ),
                tail: tail.iter().map(|line| (*line).to_owned()).collect(),
                ..Failure::default()
            };
            failure.hint().unwrap_or_default()
        };
        let cases: [(&str, i32, &[&str], &str); 12] = [
            ("grep 'no space left on device' log", 1, &[], ""),
            (
                "echo 503 Service Unavailable: denied:; false",
                1,
                &["done"],
                "",
            ),
            (
                "echo 'did not complete successfully: no such host'; false",
                1,
                &[],
                "",
            ),
            (
                "make",
                2,
                &["cc: a.c", "write /x: No space left on device"],
                "disk is full",
            ),
            (
                "make",
                2,
                &["exec /bin/sh: exec format error"],
                "another architecture",
            ),
            ("make", 137, &["cc: a.c"], "memory"),
            ("make", 1, &["fork: Cannot allocate memory"], "memory"),
            ("make", 2, &["Killed"], "memory"),
            (
                "apt-get update",
                100,
                &["Temporary failure resolving 'deb.debian.org'"],
                "host name",
            ),
            (
                "curl https://x",
                6,
                &["curl: (6) Could not resolve host: x"],
                "host name",
            ),
            (
                "pip install x",
                1,
                &[
                    "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
                ],
                "certificate",
            ),
            // Long before the end.
            (
                "make",
                2,
                &["No space left on device", "1", "2", "3", "4", "5"],
                "",
            ),
        ];
        for (command, code, tail, expected) in cases {
            let hint = failed(command, code, tail);
            assert_eq!(
                hint.is_empty(),
                expected.is_empty(),
                "{command} {tail:?}: {hint}"
            );
            assert!(hint.contains(expected), "{command} {tail:?}: {hint}");
        }
    }

    #[test]
    fn the_traps_of_git_contexts_have_hints() {
        let cases = [
            (
                "failed to compute cache key: failed to calculate checksum of ref a::b: \"/dist\": not found",
                "`context: .`",
            ),
            (
                "failed to load cache key: git stderr:\nfatal: could not read Username for 'https://github.com': terminal prompts disabled",
                "GIT_AUTH_TOKEN",
            ),
            (
                "git stderr:\nremote: Repository not found.\nfatal: repository 'https://github.com/octo/private/' not found",
                "GIT_AUTH_TOKEN",
            ),
            (
                "git stderr:\nfatal: could not read Username for 'https://github.com'\nfatal: clone of 'https://github.com/octo/sub' into submodule path '/sub' failed",
                "submodules: recursive",
            ),
        ];
        for (message, expected) in cases {
            let hint = failure(None, message).hint().unwrap_or_default();
            assert!(hint.contains(expected), "{message}: {hint}");
        }
    }

    #[test]
    fn without_any_word_it_says_so() {
        let failure = Failure::new(&Progress::default(), &[], &Redactor::default());
        assert_eq!(failure.to_string(), "buildx gave no reason");
        assert_eq!(failure.hint(), None);
    }

    fn failure(step: Option<&str>, message: &str) -> Failure {
        Failure {
            step: step.map(str::to_owned),
            message: message.to_owned(),
            ..Failure::default()
        }
    }

    #[test]
    fn only_what_passes_in_a_push_or_a_pull_is_tried_again() {
        let broken = "failed to push x: unexpected status from PUT request to https://x/v2/a: 503 Service Unavailable";
        let cases = [
            ("a push", Some("exporting to image"), broken, true),
            ("a cache", Some("exporting cache to registry"), broken, true),
            ("a push outside of a step", None, broken, true),
            (
                "a refusal",
                Some("exporting to image"),
                "failed to push x: 403 Forbidden",
                false,
            ),
            (
                "unknown words",
                Some("exporting to image"),
                "failed to push x",
                false,
            ),
            (
                "a step that pushes",
                Some("[2/2] RUN make push"),
                broken,
                false,
            ),
            (
                "a step in a stage of that name",
                Some("[exporting 2/2] RUN x"),
                broken,
                false,
            ),
            (
                "a base image",
                Some("[linux/arm64 internal] load metadata for docker.io/library/x"),
                "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://x/token: 503 Service Unavailable",
                true,
            ),
            (
                "a base image's layer",
                Some("[build 1/3] FROM docker.io/library/x@sha256:ab"),
                "failed to copy: httpReadSeeker: failed open: unexpected EOF",
                true,
            ),
            (
                "a base image that is not there",
                Some("[internal] load metadata for docker.io/library/x"),
                "docker.io/library/x: not found",
                false,
            ),
            (
                "a step that mentions one",
                Some("[2/2] RUN echo '] FROM x'"),
                broken,
                false,
            ),
            (
                "a kubelet",
                None,
                "ERROR: error dialing backend: remote error: tls: internal error",
                true,
            ),
            ("buildx itself", None, "unexpected EOF", false),
        ];
        for (name, step, message, expected) in cases {
            assert_eq!(
                failure(step, message).is_temporary(&|_| true),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn an_upload_that_ecr_cuts_is_tried_again_where_the_repository_is_known() {
        let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        let cut = |host: &str| {
            let message = format!(
                "failed to push x: failed to do request: Post \"https://{host}/v2/team/app/blobs/uploads/\": EOF"
            );
            failure(Some("exporting to image"), &message)
        };
        let address = format!("{host}/team/app");
        assert!(cut(host).is_temporary(&|seen| seen == address));
        assert!(!cut(host).is_temporary(&|_| false));
        assert!(cut("ghcr.io").is_temporary(&|_| false));
    }
}
