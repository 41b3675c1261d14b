//! Known error messages of registries, BuildKit and the network, with hints.
//!
//! Amazon ECR's messages: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/troubleshooting.html>, and the threads that the
//! entries link. The first match counts, so special entries come before general ones.

use image::Registry;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Texts that must all occur, in lower case.
    texts: &'static [&'static str],
    /// What it means and what to do.
    pub hint: &'static str,
    /// Whether a registry denies access.
    pub is_denied: bool,
    /// Whether a retry may succeed.
    pub is_temporary: bool,
}

/// What helps when the runner's disk is full, not the builder's.
pub(crate) const FULL_DISK: &str =
    "the disk of this machine is full: free some space, or use a runner with a larger disk";

/// Amazon ECR's text for a tag that exists and cannot move. Old: "because the repository is immutable", new: "because the tag is immutable".
const TAKEN: &[&str] = &["cannot be overwritten because the", "is immutable"];

/// Whether a registry refused to move a tag that exists.
pub(super) fn is_taken(message: &str) -> bool {
    TAKEN.iter().all(|text| message.contains(text))
}

pub(super) fn find(message: &str) -> Option<&'static Entry> {
    let message = message.to_lowercase();
    if names_a_host(&message) {
        return Some(&HOST_IN_NAME);
    }
    CATALOGUE
        .iter()
        .find(|entry| entry.texts.iter().all(|text| message.contains(text)))
}

/// The hint for the last lines of a failed command's output, latest first.
pub(super) fn find_in_output<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    lines.into_iter().find_map(|line| {
        let line = line.to_lowercase();
        let has = |texts: &[&str]| texts.iter().any(|text| line.contains(text));
        let known = IN_OUTPUT.iter().find(|(texts, _)| has(texts));
        let is_killed = line.trim() == "killed";
        known.map(|(_, hint)| *hint).or(is_killed.then_some(KILLED))
    })
}

/// Whether a retry may succeed after this message.
pub(crate) fn is_temporary(message: &str) -> bool {
    find(message).is_some_and(|entry| entry.is_temporary)
}

/// Whether the repository may be missing: ECR ends such an upload without an answer
/// (<https://github.com/aws/containers-roadmap/issues/1970>).
pub(super) fn may_be_missing_repository(message: &str) -> bool {
    let message = message.to_lowercase();
    MISSING.iter().all(|text| message.contains(text))
}

const MISSING: &[&str] = &["blobs/uploads", "eof"];

/// Amazon ECR's message for an expired token.
pub(super) const EXPIRED: &str = "authorization token has expired";

const fn permanent(texts: &'static [&'static str], hint: &'static str) -> Entry {
    Entry {
        texts,
        hint,
        is_denied: false,
        is_temporary: false,
    }
}

const fn denied(texts: &'static [&'static str], hint: &'static str) -> Entry {
    Entry {
        is_denied: true,
        ..permanent(texts, hint)
    }
}

const fn temporary(texts: &'static [&'static str], hint: &'static str) -> Entry {
    Entry {
        is_temporary: true,
        ..permanent(texts, hint)
    }
}

/// Whether the unknown repository's name begins with a registry's host
/// (<https://github.com/actions/starter-workflows/issues/2647>). The rest of the message may have the host, too.
fn names_a_host(message: &str) -> bool {
    let name = message.split_once("the repository with name '");
    let first = name.and_then(|(_, name)| name.split(['/', '\'']).next());
    message.contains("does not exist in the registry")
        && first.is_some_and(|first| !matches!(Registry::from_host(first), Registry::Other { .. }))
}

/// BuildKit goes on from the bytes that it has, so that it fails the next time, too.
const CHANGED: &str = "other bytes came than the registry named, and this BuildKit keeps them: build on a new builder (`driver: docker-container` starts \
     one), and check proxies and mirrors in between";

const HOST_IN_NAME: Entry = permanent(
    &[],
    "the repository's name begins with the registry's host: remove the host from `repository`",
);

const CATALOGUE: &[Entry] = &[
    permanent(
        &["failed to calculate checksum", "not found"],
        "the build context does not have this file: check its name and `.dockerignore`. The default context is the commit, without \
         files that an earlier step created: set `context: .` to build from the workspace",
    ),
    permanent(
        &["submodule"],
        "a Git submodule could not be fetched: `github.token` reads only its own repository. Run actions/checkout with \
         `submodules: recursive` and a token that reads all of them, and set `context: .`; or pass that token as the secret `GIT_AUTH_TOKEN`",
    ),
    permanent(
        &["could not read username"],
        "Git asks for a login: pass a token that reads the repository as the secret `GIT_AUTH_TOKEN` (`secrets: GIT_AUTH_TOKEN=…`)",
    ),
    permanent(
        &["repository not found"],
        "the Git repository does not exist, or the token may not read it: pass one that can as the secret `GIT_AUTH_TOKEN` \
         (`secrets: GIT_AUTH_TOKEN=…`)",
    ),
    permanent(
        TAKEN,
        "the tag exists and the repository's tags are immutable: push another tag, or exclude this one (IMMUTABLE_WITH_EXCLUSION)",
    ),
    denied(
        &[EXPIRED],
        "the login expired: let this step assume the role (`role-to-assume`), which renews the login, or get AWS credentials \
         right before this step; do not log in to this registry elsewhere",
    ),
    denied(
        &["no basic auth credentials"],
        "the registry requires a login, and there is none for it",
    ),
    permanent(
        &["the repository with name", "does not exist in the registry"],
        "the repository does not exist: create it (`create-repository: true` does), or correct its name, \
         account or region",
    ),
    permanent(
        &["name unknown"],
        "the repository does not exist: create it (`create-repository: true` does, in Amazon ECR), or correct its name",
    ),
    permanent(
        // ImageArchivedException of the API.
        &["is archived"],
        "the image is in ECR's archive: restore it (`aws ecr update-image-storage-class \
         --target-storage-class STANDARD`), which takes up to 20 minutes",
    ),
    permanent(
        &["kmsexception"],
        "the KMS key of the repository cannot be used: is it enabled, and may the role use it?",
    ),
    permanent(
        &["exceeds the maximum allowed size of a layer"],
        "the layer exceeds Amazon ECR's limit (52,000 MiB; 10,000 MiB in ECR Public): split the step that creates it",
    ),
    permanent(
        &["none of the provided layer digests match"],
        "the registry received other bytes than were sent: check proxies in between",
    ),
    temporary(
        &["got digest sha256:", "expected sha256:"],
        "the registry names other content than was sent: try again, and check proxies in between",
    ),
    permanent(&["unexpected commit digest"], CHANGED),
    permanent(&["failed size validation"], CHANGED),
    temporary(
        &["blob unknown to registry"],
        "the registry does not have a layer that it said it has: try again",
    ),
    permanent(
        &["could not fetch content descriptor", "not found"],
        "the registry does not have what it named: push that image again, or check the mirror or proxy in between",
    ),
    permanent(
        &["blockedbyorganizationpolicyexception"],
        "a policy of the AWS organization forbids this: ask its administrator",
    ),
    permanent(
        // BuildKit before 0.21: https://github.com/aws/containers-roadmap/issues/876.
        &["error writing manifest blob", "400 bad request"],
        "the registry does not accept this cache format: add `image-manifest=true,oci-mediatypes=true` to `cache-to`",
    ),
    // Docker Hub's limit: a retry within minutes does not help.
    permanent(
        &["toomanyrequests", "pull rate limit"],
        "Docker Hub limits pulls: log in, or pull the base image from a mirror, as \
         `public.ecr.aws/docker/library/…` or a pull-through cache of your ECR",
    ),
    permanent(
        &["toomanyrequests", "data limit exceeded"],
        "ECR Public limits anonymous pulls: log in, or copy the base image to your own registry",
    ),
    temporary(
        &["toomanyrequests"],
        "the registry limits requests: try again later, log in, or use a mirror of the base image",
    ),
    temporary(
        &["429 too many requests"],
        "the registry limits requests: try again later, log in, or use a mirror of the base image",
    ),
    temporary(
        &["throttlingexception"],
        "AWS limits requests: try again later, or ask for a higher quota",
    ),
    temporary(
        &["rate exceeded"],
        "AWS limits requests: try again later, or ask for a higher quota",
    ),
    denied(
        &["401 unauthorized"],
        "the registry rejects the login: are the account and the region of the image name right?",
    ),
    denied(
        // A stale login: https://github.com/aws-solutions-library-samples/guidance-for-game-server-hosting-using-agones-and-open-match-on-amazon-eks/issues/71.
        &["public.ecr.aws", "403 forbidden"],
        "ECR Public rejects an expired login even for public images: log out of public.ecr.aws, or log in again",
    ),
    denied(
        &["403 forbidden"],
        "the login lacks rights on this repository, or expired: it needs ecr:BatchCheckLayerAvailability, \
         ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload, ecr:PutImage and ecr:BatchGetImage",
    ),
    denied(
        &["is not authorized to perform: ecr:"],
        "the role lacks this right on the repository: add it to its IAM policy",
    ),
    denied(&["denied:"], "the login lacks rights on this repository"),
    denied(&[": denied"], "the login lacks rights on this repository"),
    denied(&["authorization failed"], "the registry rejects the login"),
    temporary(
        MISSING,
        "Amazon ECR ends an upload like this when the repository does not exist: create it \
         (`create-repository: true` does), or correct its name",
    ),
    permanent(
        &["server gave http response to https client"],
        "the registry speaks plain HTTP, which BuildKit accepts only on localhost: set `http = true` in `[registry.\"HOST:PORT\"]` of \
         `buildkitd-config-inline`, or, for the Engine's own BuildKit, the Engine's `insecure-registries`",
    ),
    permanent(
        &["certificate signed by unknown authority"],
        "BuildKit does not trust the certificate of this host: set SSL_CERT_FILE or NODE_EXTRA_CA_CERTS for a builder in a container or \
         in pods, or install the authority on the machine of the Engine (`/etc/docker/certs.d/HOST/ca.crt`)",
    ),
    permanent(
        &["connection refused"],
        "nothing listens at this address; `localhost` is the machine that BuildKit runs on",
    ),
    permanent(
        &["no such host"],
        "BuildKit's machine cannot resolve the host name",
    ),
    permanent(
        // A file of buildx in the run's directory, not the builder's.
        &["/fast-ecr-push-", "no space left on device"],
        FULL_DISK,
    ),
    permanent(&["no space left on device"], DISK_FULL),
    temporary(
        // A kubelet of a new node, whose certificate is not signed yet.
        &["tls: internal error"],
        "the server has no certificate yet, as on a new node: try again",
    ),
    temporary(&["tls handshake timeout"], SLOW),
    temporary(&["i/o timeout"], SLOW),
    temporary(&["500 internal server error"], BROKEN),
    temporary(&["502 bad gateway"], BROKEN),
    temporary(&["503 service unavailable"], BROKEN),
    temporary(&["504 gateway time"], BROKEN),
    temporary(
        &["error reading from server"],
        "BuildKit or its Docker Engine ended or was restarted during the build: its log has the reason. Run the job again",
    ),
    permanent(
        &["cannot connect to the docker daemon"],
        "the Docker Engine does not run, or its socket is gone: start it, and run the job again",
    ),
    temporary(&["connection reset by peer"], CLOSED),
    temporary(&["broken pipe"], CLOSED),
    // Of a connection that was kept for the next request, which the registry closed at that moment.
    temporary(&["server closed idle connection"], CLOSED),
    temporary(&["use of closed network connection"], CLOSED),
    temporary(&["client connection lost"], CLOSED),
    temporary(&["http2: server sent goaway"], CLOSED),
    temporary(&["unexpected eof"], CLOSED),
    temporary(&[": eof"], CLOSED),
    temporary(
        &["server misbehaving"],
        "the name server did not answer: try again",
    ),
    permanent(
        &["is not allowed by build daemon configuration"],
        "the builder does not allow this entitlement: `driver: docker-container` does, unless `buildkitd-flags` forbid it",
    ),
    permanent(
        &["network.host is not allowed"],
        "a step needs this entitlement: grant it with `allow: network.host`",
    ),
    permanent(
        &["security.insecure is not allowed"],
        "a step needs this entitlement: grant it with `allow: security.insecure`",
    ),
    permanent(
        &["index annotations not supported"],
        "`index:` annotations need an index: build several platforms, or an attestation as `provenance: true`",
    ),
    permanent(&["exec format error"], OTHER_ARCHITECTURE),
];

const DISK_FULL: &str = "the builder's disk is full: free some, or use a larger one: of the runner; in a cluster of the node (request it with \
     `driver-opts: requests.ephemeral-storage=…`), or of the volume";

const OTHER_ARCHITECTURE: &str = "the step needs another architecture: on a runner, run docker/setup-qemu-action before this step; in a cluster, name it in \
     `platforms` for a node that has it, or emulate it with `driver-opts: qemu.install=true`";

const KILLED: &str = "the command was killed, probably out of memory: use a larger runner, raise `memory` (in a cluster `limits.memory`) in \
     `driver-opts`, or run fewer jobs in parallel";

/// Texts in the output of a failed command, of which any counts, and the hint.
const IN_OUTPUT: &[(&[&str], &str)] = &[
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
        "the command could not resolve a host name: check the name, and the name server of BuildKit's machine. Behind a proxy, the \
         command needs the proxy, too",
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
        "the command does not trust a server's certificate, for example of a proxy that inspects TLS: install the authority's \
         certificate in the image before this step; the builder's certificates do not apply to steps",
    ),
];

const SLOW: &str = "the server did not answer in time: check the network of BuildKit's machine";
const BROKEN: &str =
    "the registry has a problem: try again later (https://health.aws.amazon.com for Amazon ECR)";
const CLOSED: &str = "the connection was closed: try again, and check proxies and NAT between BuildKit and the registry";

/// The catalogue as rows of a Markdown table, for docs/troubleshooting.md.
#[cfg(test)]
pub(crate) fn rows() -> String {
    let row = |entry: &Entry| {
        let texts: Vec<String> = entry.texts.iter().map(|text| format!("`{text}`")).collect();
        let again = if entry.is_temporary { "yes" } else { "" };
        format!("| {} | {} | {again} |\n", texts.join(" … "), entry.hint)
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

    /// Situation, message, part of the hint, whether access is denied, whether it is temporary.
    type Row = (&'static str, &'static str, &'static str, bool, bool);

    /// Texts as reports and runs have them; the catalogue has the sources.
    #[rustfmt::skip]
    const ROWS: &[Row] = &[
        ("tag taken, old wording", "tag invalid: The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the repository is immutable.", "push another tag", false, false),
        ("tag taken, new wording", "failed to push 1.dkr.ecr.eu-west-1.amazonaws.com/app:v1: tag invalid: The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the tag is immutable.", "push another tag", false, false),
        ("token expired", "failed to push x: denied: Your authorization token has expired. Reauthenticate and try again.", "role-to-assume", true, false),
        ("no login", "failed to push x: no basic auth credentials", "requires a login", true, false),
        ("wrong login", "failed to push x: unexpected status from HEAD request to https://x/v2/app/blobs/sha256:ab: 401 Unauthorized", "rejects the login", true, false),
        ("no rights, HEAD without body", "failed to push x: unexpected status from HEAD request to https://x/v2/app/manifests/1: 403 Forbidden", "ecr:PutImage", true, false),
        ("no rights, IAM's message", "failed to push x: denied: User: arn:aws:sts::1:assumed-role/a/b is not authorized to perform: ecr:InitiateLayerUpload on resource: arn:aws:ecr:eu-west-1:1:repository/app", "add it to its IAM policy", true, false),
        ("stale login at ECR Public", "public.ecr.aws/docker/library/alpine:3: failed to resolve source metadata: unexpected status from HEAD request to https://public.ecr.aws/v2/docker/library/alpine/manifests/3: 403 Forbidden", "log out of public.ecr.aws", true, false),
        ("no repository, GET", "name unknown: The repository with name 'app' does not exist in the registry with id '123456789012'", "create-repository", false, false),
        ("no repository, through BuildKit", "failed to push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1: name unknown: The repository with name 'app' does not exist in the registry with id '123456789012'", "create-repository", false, false),
        ("no repository, elsewhere", "failed to push x: name unknown: repository name not known to registry", "correct its name", false, false),
        ("no repository, upload", "failed to push x: failed to do request: Post \"https://x/v2/app/blobs/uploads/\": EOF", "does not exist", false, true),
        ("host in the name", "name unknown: The repository with name '123456789012.dkr.ecr.eu-west-1.amazonaws.com/app' does not exist in the registry with id '123456789012'", "remove the host", false, false),
        ("host in the name, Public", "name unknown: The repository with name 'public.ecr.aws/a/b' does not exist in the registry with id 'a'", "remove the host", false, false),
        ("archived image", "failed to resolve source metadata for x: ImageArchivedException: The image is archived", "restore it", false, false),
        ("key disabled", "failed to push x: KmsException: arn:aws:kms:eu-west-1:1:key/a is disabled. (Service: AWSKMS; Error Code: DisabledException)", "is it enabled", false, false),
        ("layer too large", "failed to push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1: denied: Adding this part to the layer with upload id 'a' in the repository with name 'app' in registry with id '1' exceeds the maximum allowed size of a layer which is '54525952000'", "split the step", false, false),
        ("bytes changed", "failed to push x: blob upload invalid: None of the provided layer digests match the calculated digest", "other bytes", false, false),
        ("other content named", "failed to push x: failed commit on ref \"layer-sha256:ab\": got digest sha256:cd, expected sha256:ab", "other content", false, true),
        ("other bytes came", "failed to copy: failed commit on ref \"manifest-sha256:ab\": commit failed: unexpected commit digest sha256:cd, expected sha256:ab: failed precondition", "other bytes came", false, false),
        ("more bytes came", "failed commit on ref \"config-sha256:ab\": commit failed: \"config-sha256:ab\" failed size validation: 9 != 8: failed precondition", "other bytes came", false, false),
        ("a layer that is not there after all", "failed to push x: unknown: blob unknown to registry - sha256:ab", "said it has", false, true),
        ("a manifest that is not there after all", "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:ab () from remote: not found", "what it named", false, false),
        ("no rights, without words", "failed to push x: denied", "lacks rights", true, false),
        ("forbidden by the organization", "BlockedByOrganizationPolicyException: no", "organization forbids", false, false),
        ("cache of an old form", "error writing manifest blob: failed commit on ref \"sha256:ab\": unexpected status from PUT request to https://x/v2/app/manifests/buildcache: 400 Bad Request", "image-manifest=true", false, false),
        ("Docker Hub's limit", "unexpected status from HEAD request to https://registry-1.docker.io/v2/library/python/manifests/3: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit", "Docker Hub limits pulls", false, false),
        ("ECR Public's rate", "public.ecr.aws/a/b:1: toomanyrequests: Rate exceeded", "try again later", false, true),
        ("ECR Public's volume", "public.ecr.aws/a/b:1: toomanyrequests: Data limit exceeded", "your own registry", false, false),
        ("429 without a message", "failed to push x: unexpected status from PUT request to https://x/v2/app/manifests/1: 429 Too Many Requests", "limits requests", false, true),
        ("throttled", "failed to push x: denied: ThrottlingException: Rate exceeded", "AWS limits requests", false, true),
        ("500", "failed to push x: unexpected status from POST request to https://x/v2/app/blobs/uploads/: 500 Internal Server Error", "has a problem", false, true),
        ("503", "failed to push x: unexpected status from PUT request to https://x/v2/app/blobs/uploads/a?digest=b: 503 Service Unavailable", "has a problem", false, true),
        ("504", "failed to push x: unexpected status from PUT request to https://x/v2/a: 504 Gateway Timeout", "has a problem", false, true),
        ("reset", "failed to push x: failed to do request: Put \"https://x/v2/a\": write tcp 10.0.0.1:1->10.0.0.2:443: write: connection reset by peer", "was closed", false, true),
        ("reset while the body is sent", "failed to push x: failed to do request: Put \"https://x/v2/a\": readfrom tcp 10.0.0.1:1->10.0.0.2:443: write tcp 10.0.0.1:1->10.0.0.2:443: use of closed network connection", "was closed", false, true),
        ("ended", "failed to copy: httpReadSeeker: failed open: failed to do request: Get \"https://x/v2/a\": EOF", "was closed", false, true),
        ("closed while kept", "failed to push x: failed to do request: Post \"https://x/v2/a/blobs/uploads/\": http: server closed idle connection", "was closed", false, true),
        ("ended in the middle", "failed to push x: unexpected EOF", "was closed", false, true),
        ("TLS", "Error: error dialing backend: remote error: tls: internal error", "no certificate yet", false, true),
        ("slow", "dial tcp 10.0.0.1:443: i/o timeout", "in time", false, true),
        ("no listener", "dial tcp 127.0.0.1:1: connect: connection refused", "nothing listens", false, false),
        ("no name", "dial tcp: lookup x on 10.0.0.2:53: no such host", "cannot resolve", false, false),
        ("plain HTTP", "http: server gave HTTP response to HTTPS client", "http = true", false, false),
        ("unknown authority", "tls: failed to verify certificate: x509: certificate signed by unknown authority", "does not trust", false, false),
        ("disk full", "write /x: no space left on device", "requests.ephemeral-storage", false, false),
        ("the runner's disk full", "writing image ID file: write /tmp/fast-ecr-push-gLUTwi/image-id-0: no space left on device", "of this machine", false, false),
        ("the builder's disk full in the engine's step", "write /.fast-ecr-push-ab/cache/x: no space left on device", "requests.ephemeral-storage", false, false),
        ("the Engine ended", "failed to build: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF", "was restarted during the build", false, true),
        ("the Engine ended, in other words", "failed to build: failed to solve: Unavailable: error reading from server: EOF", "was restarted during the build", false, true),
        ("no Engine", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", "start it", false, false),
        ("right not granted", "granting entitlement security.insecure is not allowed by build daemon configuration", "docker-container", false, false),
        ("other architecture", "exec /bin/sh: exec format error", "qemu.install=true", false, false),
    ];

    #[test]
    fn each_known_message_gets_its_hint() {
        for (situation, said, hint, is_denied, is_temporary) in ROWS {
            let entry = find(said).unwrap_or_else(|| panic!("{situation}"));
            assert!(entry.hint.contains(hint), "{situation}: {}", entry.hint);
            assert_eq!(
                (entry.is_denied, entry.is_temporary),
                (*is_denied, *is_temporary),
                "{situation}"
            );
        }
    }

    #[test]
    fn other_messages_get_no_hint() {
        for said in [
            "",
            "exit code: 1",
            "process \"/bin/sh -c false\" did not complete successfully",
        ] {
            assert_eq!(find(said), None, "{said}");
        }
    }
}
