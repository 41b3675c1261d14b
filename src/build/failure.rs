//! Why a build failed, in words: the step, its last output, the Dockerfile's line, what to do.
//!
//! In: the progress so far and buildx's closing text. That text names the place as
//! `Dockerfile:3`, above a ruler and an excerpt
//! (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/solver/errdefs/source.go>).

use std::fmt;

use super::progress::Progress;

/// A failed build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    /// BuildKit's name of the step that failed.
    pub step: Option<String>,
    /// The step's last lines of output.
    pub tail: Vec<String>,
    /// File and line, counted from 1.
    pub place: Option<(String, u32)>,
    /// What BuildKit or buildx says about it.
    pub message: String,
}

impl Failure {
    /// Puts together what is known.
    pub(super) fn new(progress: &Progress, text: &[String]) -> Self {
        let step = progress.failed();
        let closing = text
            .iter()
            .rev()
            .find_map(|line| line.trim().strip_prefix("ERROR: "))
            .or_else(|| {
                text.iter()
                    .rev()
                    .map(|line| line.trim())
                    .find(|line| !line.is_empty())
            });
        let message = step
            .and_then(|step| step.error.as_deref())
            .or(closing)
            .unwrap_or("buildx gave no reason");
        Self {
            step: step.map(|step| step.name.clone()),
            tail: step.map_or_else(Vec::new, |step| step.tail.iter().cloned().collect()),
            place: place(text),
            message: message.to_owned(),
        }
    }

    /// What to do next, when the words are known.
    pub(crate) fn hint(&self) -> Option<String> {
        hint(&self.message).map(str::to_owned)
    }

    /// Whether buildx lost its connection to the builder, as gRPC words it
    /// (<https://github.com/grpc/grpc-go/blob/v1.79.0/internal/transport/http2_client.go>).
    pub(crate) fn is_disconnection(&self) -> bool {
        let words = ["code = Unavailable", "error reading from server"];
        self.step.is_none() && words.iter().any(|words| self.message.contains(words))
    }

    /// Whether a registry refused for want of rights.
    pub(crate) fn is_refusal(&self) -> bool {
        let message = self.message.to_lowercase();
        REFUSALS.iter().any(|words| message.contains(words))
    }
}

/// What to do about an error, when its words are known.
pub(super) fn hint(error: &str) -> Option<&'static str> {
    let error = error.to_lowercase();
    HINTS
        .iter()
        .find(|(words, _)| words.iter().all(|word| error.contains(word)))
        .map(|(_, hint)| *hint)
}

/// Words of registries that want a login, another one, or one with more rights.
const REFUSALS: &[&str] = &[
    "401 unauthorized",
    "403 forbidden",
    "authorization failed",
    "denied",
    "no basic auth credentials",
];

/// Words of registries and BuildKit, all of which have to occur, and what helps. ECR's wording:
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/troubleshooting.html> and the reports in
/// <https://github.com/aws/containers-roadmap/issues/1970> (a missing repository ends the upload
/// without an answer).
const HINTS: &[(&[&str], &str)] = &[
    (
        &["cannot be overwritten because the", "is immutable"],
        "the tag exists and the repository keeps tags as they are: push another tag",
    ),
    (
        &["authorization token has expired"],
        "the login ran out: get AWS credentials right before this step",
    ),
    (
        &["no basic auth credentials"],
        "the registry wants a login and none is known for it",
    ),
    (
        &["401 unauthorized"],
        "the registry wants another login: is the account and region of the image name right?",
    ),
    (
        &["403 forbidden"],
        "the login lacks rights on this repository: it needs ecr:BatchCheckLayerAvailability, \
         ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload, ecr:PutImage and ecr:BatchGetImage",
    ),
    (&["denied:"], "the login lacks rights on this repository"),
    (
        &["name unknown"],
        "the repository does not exist: create it, or mend its name",
    ),
    (
        &["blobs/uploads", "eof"],
        "Amazon ECR ends an upload like this when the repository does not exist: create it, or mend its name",
    ),
    (
        &["server gave http response to https client"],
        "the registry speaks plain HTTP: BuildKit accepts that on localhost, else it must be set up as insecure",
    ),
    (
        &["connection refused"],
        "nothing listens at this address; `localhost` is the machine that BuildKit runs on",
    ),
    (
        &["no such host"],
        "the host name can't be resolved where BuildKit runs",
    ),
    (
        &["certificate signed by unknown authority"],
        "BuildKit does not know who vouches for this host: a builder in a container gets the certificates that SSL_CERT_FILE or \
         NODE_EXTRA_CA_CERTS names; the Engine's own trusts what its machine does (`/etc/docker/certs.d/HOST/ca.crt`)",
    ),
    (
        &["no space left on device"],
        "the builder's disk is full: free some, or use a runner with a larger one",
    ),
    (
        &["toomanyrequests"],
        "the registry limits pulls: log in, or use a mirror of the base image",
    ),
    (
        &["is not allowed by build daemon configuration"],
        "the builder's BuildKit does not grant this right: `driver: docker-container` makes one that \
         does, unless `buildkitd-flags` say otherwise",
    ),
    (
        &["network.host is not allowed"],
        "a step asks for this right: grant it with `allow: network.host`",
    ),
    (
        &["security.insecure is not allowed"],
        "a step asks for this right: grant it with `allow: security.insecure`",
    ),
    (
        &["index annotations not supported"],
        "`index:` annotations need an index: several platforms, or an attestation as `provenance: true`",
    ),
    (
        &["exec format error"],
        "the step needs another architecture: run docker/setup-qemu-action before this step",
    ),
];

fn place(text: &[String]) -> Option<(String, u32)> {
    text.windows(2).find_map(|pair| {
        let [line, ruler] = pair else { return None };
        let (file, number) = line.trim().rsplit_once(':')?;
        let number = number.parse().ok()?;
        (ruler.starts_with("-----") && !file.is_empty()).then(|| (file.to_owned(), number))
    })
}

/// The failure in one line; the tail is shown apart.
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
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn finds_the_place_and_the_closing_words() {
        let text = lines(
            "Dockerfile:3\n--------------------\n   2 |\n   3 | >>> RUN false\n--------------------\n\
             ERROR: failed to build: failed to solve: exit code: 1\n",
        );
        let failure = Failure::new(&Progress::default(), &text);
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
        assert!(!Failure::default().is_disconnection());
    }

    #[test]
    fn without_any_word_it_says_so() {
        let failure = Failure::new(&Progress::default(), &[]);
        assert_eq!(failure.to_string(), "buildx gave no reason");
        assert_eq!(failure.hint(), None);
    }

    #[test]
    fn what_registries_say_has_a_hint() {
        let cases = [
            (
                "tag invalid: The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the tag is immutable.",
                "another tag",
            ),
            (
                "failed to push r/app: unexpected status from HEAD request to https://r/v2/: 403 Forbidden",
                "ecr:PutImage",
            ),
            (
                "failed to do request: Post \"https://r/v2/app/blobs/uploads/\": EOF",
                "does not exist",
            ),
            (
                "dial tcp 127.0.0.1:1: connect: connection refused",
                "nothing listens",
            ),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "SSL_CERT_FILE",
            ),
            (
                "granting entitlement security.insecure is not allowed by build daemon configuration",
                "docker-container",
            ),
        ];
        for (message, part) in cases {
            let failure = Failure {
                message: message.to_owned(),
                ..Failure::default()
            };
            let hint = failure.hint().unwrap_or_default();
            assert!(hint.contains(part), "{message}: {hint}");
        }
    }
}
