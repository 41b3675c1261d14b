//! What registries, BuildKit and the network say when they refuse, what it means, what to do.
//!
//! Amazon ECR's wording: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/troubleshooting.html>
//! and the threads that the entries name. The first entry that fits counts, so that the special ones
//! stand before the general ones.

use image::Registry;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Words that all have to occur; compared in lower case.
    words: &'static [&'static str],
    /// What it means and what to do.
    pub hint: &'static str,
    /// Whether a registry refuses for want of rights.
    pub is_refusal: bool,
    /// Whether the same may well succeed a moment later.
    pub passes: bool,
}

/// Amazon ECR's words for a tag that exists and cannot move. Old: "because the repository is immutable", new: "because the tag is immutable".
const TAKEN: &[&str] = &["cannot be overwritten because the", "is immutable"];

/// Whether a registry refused to move a tag that exists.
pub(super) fn is_taken(message: &str) -> bool {
    TAKEN.iter().all(|words| message.contains(words))
}

/// The entry that a message fits.
pub(super) fn find(message: &str) -> Option<&'static Entry> {
    let message = message.to_lowercase();
    if names_a_host(&message) {
        return Some(&HOST_IN_NAME);
    }
    CATALOGUE.iter().find(|entry| {
        let mut words = entry.words.iter();
        words.all(|word| message.contains(word))
    })
}

/// The entry for the last lines of a failed command's output, latest first.
pub(super) fn find_in_output<'a>(
    lines: impl IntoIterator<Item = &'a str>,
) -> Option<&'static Entry> {
    lines.into_iter().find_map(|line| {
        let line = line.to_lowercase();
        let of_output = IN_OUTPUT.iter().find(|(phrases, _)| {
            let mut phrases = phrases.iter();
            phrases.any(|phrase| line.contains(phrase))
        });
        let is_killed = line.trim() == "killed";
        of_output
            .map(|(_, entry)| entry)
            .or(is_killed.then_some(&KILLED))
    })
}

/// Whether what a message tells of may well not be so a moment later.
pub(crate) fn may_pass(message: &str) -> bool {
    find(message).is_some_and(|entry| entry.passes)
}

/// Whether a repository that does not exist may be behind it: ECR ends such an upload without an
/// answer (<https://github.com/aws/containers-roadmap/issues/1970>).
pub(super) fn may_be_missing_repository(message: &str) -> bool {
    let message = message.to_lowercase();
    MISSING.iter().all(|word| message.contains(word))
}

const MISSING: &[&str] = &["blobs/uploads", "eof"];

/// What Amazon ECR says of a token that ran out.
pub(super) const EXPIRED: &str = "authorization token has expired";

const fn stays(words: &'static [&'static str], hint: &'static str) -> Entry {
    Entry {
        words,
        hint,
        is_refusal: false,
        passes: false,
    }
}

const fn refusal(words: &'static [&'static str], hint: &'static str) -> Entry {
    Entry {
        is_refusal: true,
        ..stays(words, hint)
    }
}

const fn passes(words: &'static [&'static str], hint: &'static str) -> Entry {
    Entry {
        passes: true,
        ..stays(words, hint)
    }
}

/// Whether the repository that ECR does not know has a whole image name where its own should stand
/// (<https://github.com/actions/starter-workflows/issues/2647>). The message may name the host elsewhere.
fn names_a_host(message: &str) -> bool {
    let name = message.split_once("the repository with name '");
    let first = name.and_then(|(_, name)| name.split(['/', '\'']).next());
    message.contains("does not exist in the registry")
        && first.is_some_and(|first| !matches!(Registry::from_host(first), Registry::Other { .. }))
}

const HOST_IN_NAME: Entry = stays(
    &[],
    "the registry's host stands in the repository's name: leave it out of `repository`",
);

const CATALOGUE: &[Entry] = &[
    stays(
        &["failed to calculate checksum", "not found"],
        "the build context does not have this file: is its name right, does `.dockerignore` exclude it, or did an earlier step make it? The \
         default context is the commit, without files of the workspace: set `context: .` to build from the workspace",
    ),
    stays(
        &["submodule"],
        "a Git submodule could not be fetched, since `github.token` reads only its own repository: run actions/checkout with \
         `submodules: recursive` and a token that reads all of them, and set `context: .`; or pass that token as the secret `GIT_AUTH_TOKEN`",
    ),
    stays(
        &["could not read username"],
        "Git asks for a login: pass a token that reads the repository as the secret `GIT_AUTH_TOKEN` (`secrets: GIT_AUTH_TOKEN=…`)",
    ),
    stays(
        &["repository not found"],
        "Git does not find the repository, or the token may not read it: pass one that does as the secret `GIT_AUTH_TOKEN` \
         (`secrets: GIT_AUTH_TOKEN=…`)",
    ),
    stays(
        TAKEN,
        "the tag exists and the repository keeps tags as they are: push another tag, or exclude this \
         one from the rule (IMMUTABLE_WITH_EXCLUSION)",
    ),
    refusal(
        &[EXPIRED],
        "the login ran out: let this step assume the role (`role-to-assume`), which renews it, or get AWS credentials \
         right before this step; don't log in to this registry elsewhere",
    ),
    refusal(
        &["no basic auth credentials"],
        "the registry wants a login and none is known for it",
    ),
    stays(
        &["the repository with name", "does not exist in the registry"],
        "the repository does not exist: create it (`create-repository: true` does), or mend its name, \
         its account or its region",
    ),
    stays(
        &["name unknown"],
        "the repository does not exist: create it (`create-repository: true` does, in Amazon ECR), or mend its name",
    ),
    stays(
        // ImageArchivedException of the API.
        &["is archived"],
        "the image is in ECR's archive: restore it (`aws ecr update-image-storage-class \
         --target-storage-class STANDARD`), which takes up to 20 minutes",
    ),
    stays(
        &["kmsexception"],
        "the repository is encrypted with a KMS key that can't be used: is it enabled, and may the role use it?",
    ),
    stays(
        &["exceeds the maximum allowed size of a layer"],
        "a layer is larger than Amazon ECR takes (52,000 MiB; 10,000 MiB in ECR Public): split the step that makes it",
    ),
    stays(
        &["none of the provided layer digests match"],
        "what arrived is not what was sent: something between here and the registry changes the bytes",
    ),
    stays(
        &["blockedbyorganizationpolicyexception"],
        "a policy of the AWS organization forbids it: ask who manages it",
    ),
    stays(
        // BuildKit before 0.21: https://github.com/aws/containers-roadmap/issues/876.
        &["error writing manifest blob", "400 bad request"],
        "the registry does not take a cache of this form: give `cache-to` the attributes \
         `image-manifest=true,oci-mediatypes=true`",
    ),
    // Docker Hub's limit: a minute later it is the same.
    stays(
        &["toomanyrequests", "pull rate limit"],
        "Docker Hub limits pulls: log in, or take the base image from a mirror, as \
         `public.ecr.aws/docker/library/…` or a pull-through cache of your ECR",
    ),
    stays(
        &["toomanyrequests", "data limit exceeded"],
        "ECR Public limits what anonymous users pull: log in, or copy the base image to your own registry",
    ),
    passes(
        &["toomanyrequests"],
        "the registry limits requests: try again later, log in, or use a mirror of the base image",
    ),
    passes(
        &["429 too many requests"],
        "the registry limits requests: try again later, log in, or use a mirror of the base image",
    ),
    passes(
        &["throttlingexception"],
        "AWS limits requests: try again later, or ask for a higher quota",
    ),
    passes(
        &["rate exceeded"],
        "AWS limits requests: try again later, or ask for a higher quota",
    ),
    refusal(
        &["401 unauthorized"],
        "the registry wants another login: is the account and region of the image name right?",
    ),
    refusal(
        // A stale login: https://github.com/aws-solutions-library-samples/guidance-for-game-server-hosting-using-agones-and-open-match-on-amazon-eks/issues/71.
        &["public.ecr.aws", "403 forbidden"],
        "ECR Public refuses a login that ran out even where none is needed: log out of public.ecr.aws, or log in anew",
    ),
    refusal(
        &["403 forbidden"],
        "the login lacks rights on this repository, or ran out: it needs ecr:BatchCheckLayerAvailability, \
         ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload, ecr:PutImage and ecr:BatchGetImage",
    ),
    refusal(
        &["is not authorized to perform: ecr:"],
        "the role lacks this right on the repository: add it to its IAM policy",
    ),
    refusal(&["denied:"], "the login lacks rights on this repository"),
    refusal(
        &["authorization failed"],
        "the registry does not take the login",
    ),
    passes(
        MISSING,
        "Amazon ECR ends an upload like this when the repository does not exist: create it \
         (`create-repository: true` does), or mend its name",
    ),
    stays(
        &["server gave http response to https client"],
        "the registry speaks plain HTTP: BuildKit accepts that on localhost, elsewhere where `buildkitd-config-inline` \
         has `[registry.\"HOST:PORT\"]` and in it `http = true` (not for the Engine's own, which takes `insecure-registries`)",
    ),
    stays(
        &["certificate signed by unknown authority"],
        "BuildKit does not know who vouches for this host: a builder in a container or in pods gets the certificates that \
         SSL_CERT_FILE or NODE_EXTRA_CA_CERTS names; the Engine's own trusts what its machine does (`/etc/docker/certs.d/HOST/ca.crt`)",
    ),
    stays(
        &["connection refused"],
        "nothing listens at this address; `localhost` is the machine that BuildKit runs on",
    ),
    stays(
        &["no such host"],
        "the host name can't be resolved where BuildKit runs",
    ),
    DISK_FULL,
    passes(
        // A kubelet whose certificate is not signed yet, on a node that has just come.
        &["tls: internal error"],
        "the other side has no certificate yet, as a node that has just come: try again",
    ),
    passes(&["tls handshake timeout"], SLOW),
    passes(&["i/o timeout"], SLOW),
    passes(&["500 internal server error"], BROKEN),
    passes(&["502 bad gateway"], BROKEN),
    passes(&["503 service unavailable"], BROKEN),
    passes(&["504 gateway time"], BROKEN),
    passes(&["connection reset by peer"], CUT),
    passes(&["broken pipe"], CUT),
    passes(&["client connection lost"], CUT),
    passes(&["http2: server sent goaway"], CUT),
    passes(&["unexpected eof"], CUT),
    passes(&[": eof"], CUT),
    passes(
        &["server misbehaving"],
        "the name server gave no answer: try again",
    ),
    stays(
        &["is not allowed by build daemon configuration"],
        "the builder's BuildKit does not grant this right: `driver: docker-container` makes one that \
         does, unless `buildkitd-flags` say otherwise",
    ),
    stays(
        &["network.host is not allowed"],
        "a step asks for this right: grant it with `allow: network.host`",
    ),
    stays(
        &["security.insecure is not allowed"],
        "a step asks for this right: grant it with `allow: security.insecure`",
    ),
    stays(
        &["index annotations not supported"],
        "`index:` annotations need an index: several platforms, or an attestation as `provenance: true`",
    ),
    OTHER_ARCHITECTURE,
];

const DISK_FULL: Entry = stays(
    &["no space left on device"],
    "the builder's disk is full: free some, or use a larger one: of the runner; in a cluster of the node (request it with \
     `driver-opts: requests.ephemeral-storage=…`), or of the volume",
);

const OTHER_ARCHITECTURE: Entry = stays(
    &["exec format error"],
    "the step needs another architecture: on a runner, run docker/setup-qemu-action before this step; in a cluster, name it in \
     `platforms` for a node that has it, or emulate it with `driver-opts: qemu.install=true`",
);

const KILLED: Entry = stays(
    &[],
    "the command was killed, most likely because the memory was exhausted: use a larger runner, raise `limits.memory` in `driver-opts` (in \
     a cluster), or let it use less memory, for example with fewer parallel jobs",
);

/// Phrases in the output of a failed command that leave no doubt. Any of them counts.
const IN_OUTPUT: &[(&[&str], Entry)] = &[
    (&["no space left on device"], DISK_FULL),
    (&["exec format error"], OTHER_ARCHITECTURE),
    (&["exit code: 137", "cannot allocate memory"], KILLED),
    (
        &[
            "could not resolve host",
            "temporary failure resolving",
            "temporary failure in name resolution",
            "no such host",
            "getaddrinfo enotfound",
            "getaddrinfo eai_again",
        ],
        stays(
            &[],
            "the command could not resolve a host name: is the name right, and does the machine that BuildKit runs on have a name server? \
             Behind a proxy, the command needs it, too",
        ),
    ),
    (
        &[
            "certificate verify failed",
            "certificate signed by unknown authority",
            "unable to get local issuer certificate",
            "self signed certificate in certificate chain",
            "self-signed certificate in certificate chain",
            "ssl certificate problem",
        ],
        stays(
            &[],
            "the command does not trust a server's certificate, for example of a proxy that inspects TLS: install the authority's \
             certificate in the image before this step; the builder's certificates do not apply to steps",
        ),
    ),
];

const SLOW: &str =
    "the other side does not answer in time: is the network all right where BuildKit runs?";
const BROKEN: &str =
    "the registry is in trouble: try again later (https://health.aws.amazon.com for Amazon ECR)";
const CUT: &str = "the connection was cut: try again, and look at proxies and NAT between BuildKit and the registry";

/// The catalogue as rows of a Markdown table, for docs/troubleshooting.md.
#[cfg(test)]
pub(crate) fn rows() -> String {
    let row = |entry: &Entry| {
        let words: Vec<String> = entry.words.iter().map(|word| format!("`{word}`")).collect();
        let again = if entry.passes { "yes" } else { "" };
        format!("| {} | {} | {again} |\n", words.join(" … "), entry.hint)
    };
    let host = format!(
        "| `the repository with name '<host>/…' does not exist in the registry` | {} | |\n",
        HOST_IN_NAME.hint
    );
    CATALOGUE.iter().map(row).chain([host]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Situation, what is said, part of the hint, whether it is a refusal, whether it passes.
    type Row = (&'static str, &'static str, &'static str, bool, bool);

    /// Texts as reports and runs have them; the sources stand in the catalogue.
    #[rustfmt::skip]
    const ROWS: &[Row] = &[
        ("tag taken, old wording", "tag invalid: The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the repository is immutable.", "push another tag", false, false),
        ("tag taken, new wording", "failed to push 1.dkr.ecr.eu-west-1.amazonaws.com/app:v1: tag invalid: The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the tag is immutable.", "push another tag", false, false),
        ("token expired", "failed to push x: denied: Your authorization token has expired. Reauthenticate and try again.", "role-to-assume", true, false),
        ("no login", "failed to push x: no basic auth credentials", "wants a login", true, false),
        ("wrong login", "failed to push x: unexpected status from HEAD request to https://x/v2/app/blobs/sha256:ab: 401 Unauthorized", "another login", true, false),
        ("no rights, HEAD without body", "failed to push x: unexpected status from HEAD request to https://x/v2/app/manifests/1: 403 Forbidden", "ecr:PutImage", true, false),
        ("no rights, in IAM's words", "failed to push x: denied: User: arn:aws:sts::1:assumed-role/a/b is not authorized to perform: ecr:InitiateLayerUpload on resource: arn:aws:ecr:eu-west-1:1:repository/app", "add it to its IAM policy", true, false),
        ("stale login at ECR Public", "public.ecr.aws/docker/library/alpine:3: failed to resolve source metadata: unexpected status from HEAD request to https://public.ecr.aws/v2/docker/library/alpine/manifests/3: 403 Forbidden", "log out of public.ecr.aws", true, false),
        ("no repository, GET", "name unknown: The repository with name 'app' does not exist in the registry with id '123456789012'", "create-repository", false, false),
        ("no repository, through BuildKit", "failed to push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1: name unknown: The repository with name 'app' does not exist in the registry with id '123456789012'", "create-repository", false, false),
        ("no repository, elsewhere", "failed to push x: name unknown: repository name not known to registry", "mend its name", false, false),
        ("no repository, upload", "failed to push x: failed to do request: Post \"https://x/v2/app/blobs/uploads/\": EOF", "does not exist", false, true),
        ("host in the name", "name unknown: The repository with name '123456789012.dkr.ecr.eu-west-1.amazonaws.com/app' does not exist in the registry with id '123456789012'", "leave it out", false, false),
        ("host in the name, Public", "name unknown: The repository with name 'public.ecr.aws/a/b' does not exist in the registry with id 'a'", "leave it out", false, false),
        ("archived image", "failed to resolve source metadata for x: ImageArchivedException: The image is archived", "restore it", false, false),
        ("key disabled", "failed to push x: KmsException: arn:aws:kms:eu-west-1:1:key/a is disabled. (Service: AWSKMS; Error Code: DisabledException)", "is it enabled", false, false),
        ("layer too large", "failed to push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1: denied: Adding this part to the layer with upload id 'a' in the repository with name 'app' in registry with id '1' exceeds the maximum allowed size of a layer which is '54525952000'", "split the step", false, false),
        ("bytes changed", "failed to push x: blob upload invalid: None of the provided layer digests match the calculated digest", "changes the bytes", false, false),
        ("forbidden by the organization", "BlockedByOrganizationPolicyException: no", "organization forbids", false, false),
        ("cache of an old form", "error writing manifest blob: failed commit on ref \"sha256:ab\": unexpected status from PUT request to https://x/v2/app/manifests/buildcache: 400 Bad Request", "image-manifest=true", false, false),
        ("Docker Hub's limit", "unexpected status from HEAD request to https://registry-1.docker.io/v2/library/python/manifests/3: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit", "Docker Hub limits pulls", false, false),
        ("ECR Public's rate", "public.ecr.aws/a/b:1: toomanyrequests: Rate exceeded", "try again later", false, true),
        ("ECR Public's volume", "public.ecr.aws/a/b:1: toomanyrequests: Data limit exceeded", "your own registry", false, false),
        ("429 without words", "failed to push x: unexpected status from PUT request to https://x/v2/app/manifests/1: 429 Too Many Requests", "limits requests", false, true),
        ("throttled", "failed to push x: denied: ThrottlingException: Rate exceeded", "AWS limits requests", false, true),
        ("500", "failed to push x: unexpected status from POST request to https://x/v2/app/blobs/uploads/: 500 Internal Server Error", "in trouble", false, true),
        ("503", "failed to push x: unexpected status from PUT request to https://x/v2/app/blobs/uploads/a?digest=b: 503 Service Unavailable", "in trouble", false, true),
        ("504", "failed to push x: unexpected status from PUT request to https://x/v2/a: 504 Gateway Timeout", "in trouble", false, true),
        ("reset", "failed to push x: failed to do request: Put \"https://x/v2/a\": write tcp 10.0.0.1:1->10.0.0.2:443: write: connection reset by peer", "was cut", false, true),
        ("ended", "failed to copy: httpReadSeeker: failed open: failed to do request: Get \"https://x/v2/a\": EOF", "was cut", false, true),
        ("ended in the middle", "failed to push x: unexpected EOF", "was cut", false, true),
        ("TLS", "Error: error dialing backend: remote error: tls: internal error", "no certificate yet", false, true),
        ("slow", "dial tcp 10.0.0.1:443: i/o timeout", "in time", false, true),
        ("nobody there", "dial tcp 127.0.0.1:1: connect: connection refused", "nothing listens", false, false),
        ("no name", "dial tcp: lookup x on 10.0.0.2:53: no such host", "can't be resolved", false, false),
        ("plain HTTP", "http: server gave HTTP response to HTTPS client", "http = true", false, false),
        ("unknown authority", "tls: failed to verify certificate: x509: certificate signed by unknown authority", "does not know", false, false),
        ("disk full", "write /x: no space left on device", "requests.ephemeral-storage", false, false),
        ("right not granted", "granting entitlement security.insecure is not allowed by build daemon configuration", "docker-container", false, false),
        ("other architecture", "exec /bin/sh: exec format error", "qemu.install=true", false, false),
    ];

    #[test]
    fn each_situation_is_known_by_what_is_said() {
        for (situation, said, hint, is_refusal, passes) in ROWS {
            let entry = find(said).unwrap_or_else(|| panic!("{situation}"));
            assert!(entry.hint.contains(hint), "{situation}: {}", entry.hint);
            assert_eq!(
                (entry.is_refusal, entry.passes),
                (*is_refusal, *passes),
                "{situation}"
            );
        }
    }

    #[test]
    fn what_is_not_known_has_no_words() {
        for said in [
            "",
            "exit code: 1",
            "process \"/bin/sh -c false\" did not complete successfully",
        ] {
            assert_eq!(find(said), None, "{said}");
        }
    }
}
