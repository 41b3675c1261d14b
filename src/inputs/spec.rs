//! The one table of inputs.
//!
//! From it come: which `INPUT_*` variables are read, the flags of the command line, the checks of
//! `action.yml` and of the README's tables. Names and meanings are docker/build-push-action's
//! wherever it has the input
//! (<https://github.com/docker/build-push-action/blob/cb941d0/action.yml>).

/// What an input's text has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text on one line.
    Text,
    /// YAML 1.2 core boolean, as `core.getBooleanInput` takes it.
    Boolean,
    /// One of a closed set.
    Choice(&'static [&'static str]),
    /// Whole number within bounds, both included.
    Integer { least: i64, most: i64 },
    /// List separated by commas or lines.
    List,
    /// List with one item a line; commas belong to the item.
    Lines,
    /// List with one item a line; commas and quotes belong to the item.
    QuotedLines,
    /// A boolean, or attributes.
    BooleanOrText,
    /// A boolean, or attributes on one or several lines.
    BooleanOrBlock,
    /// Any text, on several lines.
    Block,
    /// Text that must never be shown, nor given as a flag's value.
    Secret,
    /// List of `id=value` with one item a line, never shown either.
    Secrets,
    /// Logins at registries, as YAML, never shown either.
    Logins,
}

/// One input: the only place that says its name, default and meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub name: &'static str,
    pub kind: Kind,
    /// Default as `action.yml` declares it; empty when the plan decides.
    pub default: &'static str,
    /// One sentence for `action.yml`, the README and `--help`.
    pub help: &'static str,
}

const fn spec(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Spec {
    Spec {
        name,
        kind,
        default,
        help,
    }
}

/// Builders that can be asked for by name.
pub(crate) const DRIVERS: &[&str] = &["auto", "local", "docker", "docker-container", "kubernetes"];

/// Who takes over when the cluster can't.
pub(crate) const FALLBACKS: &[&str] = &["local", "fail"];

/// Layer compressions. `auto` is decided by the plan.
pub(crate) const COMPRESSIONS: &[&str] = &["auto", "gzip", "zstd", "estargz", "uncompressed"];

/// Where the cache is kept. `auto` is decided by the plan.
pub(crate) const CACHES: &[&str] = &["auto", "inline", "registry", "gha", "none"];

/// How much of the build a cache holds.
const CACHE_MODES: &[&str] = &["min", "max"];

/// Networks of the build's steps that buildx takes.
const NETWORKS: &[&str] = &["default", "host", "none"];

/// All inputs, in the order in which the README lists them.
pub(crate) const SPECS: &[Spec] = &[
    spec(
        "context",
        Kind::Text,
        "",
        "Build context: a path, or the URL of a Git repository (default: the commit of this workflow run; on the command line the current folder)",
    ),
    spec(
        "file",
        Kind::Text,
        "",
        "Path of the Dockerfile (default: `Dockerfile` in the context)",
    ),
    spec(
        "build-contexts",
        Kind::Lines,
        "",
        "Further contexts for the Dockerfile, `name=path`, a URL or `docker-image://…`",
    ),
    spec(
        "tags",
        Kind::List,
        "",
        "Tags: with `repository` plain tags and docker/metadata-action's rules (`type=sha`), else full image names",
    ),
    spec(
        "flavor",
        Kind::Lines,
        "",
        "What all tags have in common: `latest=` (auto, true or false), `prefix=`, `suffix=`",
    ),
    spec(
        "repository",
        Kind::Text,
        "",
        "Repository to push to, without registry and tag",
    ),
    spec(
        "registry",
        Kind::Text,
        "",
        "Registry host for `repository` (default: the account's own Amazon ECR)",
    ),
    spec(
        "registries",
        Kind::List,
        "",
        "More of Amazon ECR to log in to: ids of accounts in the same region, hosts of other regions, `public.ecr.aws`",
    ),
    spec(
        "registry-auth",
        Kind::Logins,
        "",
        "Logins at other registries, as docker/login-action's: a YAML list of `registry` (default: `docker.io`), `username`, `password`",
    ),
    spec(
        "aws-region",
        Kind::Text,
        "",
        "AWS region of the registry (default: from the environment, as the AWS SDKs read it)",
    ),
    spec(
        "role-to-assume",
        Kind::Text,
        "",
        "ARN of the AWS role to assume, or its name: with GitHub's OpenID Connect (`permissions: id-token: write`), else with the credentials that are there",
    ),
    spec(
        "role-session-name",
        Kind::Text,
        "",
        "Name of the role's session (default: `GitHubActions`)",
    ),
    spec(
        "role-duration-seconds",
        Kind::Integer {
            least: 900,
            most: 43_200,
        },
        "",
        "Seconds that the role's session lasts; a longer build gets a new one by itself (default: 3600)",
    ),
    spec(
        "role-external-id",
        Kind::Text,
        "",
        "External id that the role's trust policy asks for",
    ),
    spec(
        "audience",
        Kind::Text,
        "",
        "Audience of GitHub's OpenID Connect token (default: `sts.amazonaws.com`)",
    ),
    spec(
        "allowed-account-ids",
        Kind::List,
        "",
        "AWS accounts that the credentials may belong to (default: any)",
    ),
    spec(
        "role-chaining",
        Kind::Boolean,
        "false",
        "Assume the role with the AWS credentials that are there, not with OpenID Connect",
    ),
    spec(
        "web-identity-token-file",
        Kind::Text,
        "",
        "File with an OpenID Connect token to assume the role with",
    ),
    spec(
        "aws-profile",
        Kind::Text,
        "",
        "Profile of the AWS configuration files to take credentials from",
    ),
    spec(
        "aws-access-key-id",
        Kind::Secret,
        "",
        "AWS access key id (default: the standard chain, environment variables first)",
    ),
    spec(
        "aws-secret-access-key",
        Kind::Secret,
        "",
        "AWS secret access key",
    ),
    spec(
        "aws-session-token",
        Kind::Secret,
        "",
        "AWS session token, where the keys are temporary",
    ),
    spec(
        "create-repository",
        Kind::BooleanOrBlock,
        "false",
        "Create the Amazon ECR repository where it does not exist: a boolean, or attributes as `image-tag-mutability=IMMUTABLE,scan-on-push=true`",
    ),
    spec(
        "build-args",
        Kind::Lines,
        "",
        "Build arguments, `NAME=value`",
    ),
    spec(
        "secrets",
        Kind::Secrets,
        "",
        "Secrets for the build, `id=value`; one with several lines in double quotes",
    ),
    spec(
        "secret-envs",
        Kind::List,
        "",
        "Secrets from environment variables, `id=NAME`",
    ),
    spec(
        "secret-files",
        Kind::Lines,
        "",
        "Secrets from files, `id=path`",
    ),
    spec(
        "ssh",
        Kind::List,
        "",
        "SSH agent sockets or keys for the build, `default=path`",
    ),
    spec("target", Kind::Text, "", "Stage of the Dockerfile to build"),
    spec(
        "labels",
        Kind::Lines,
        "",
        "Labels of the image, `name=value`; a line `auto` adds docker/metadata-action's eight",
    ),
    spec(
        "annotations",
        Kind::Lines,
        "",
        "Annotations of the image, `name=value` or `index:name=value`; a line `auto` adds the labels' eight",
    ),
    spec(
        "platforms",
        Kind::List,
        "",
        "Platforms to build for, as `linux/amd64`",
    ),
    spec("no-cache", Kind::Boolean, "false", "Build every step anew"),
    spec("no-cache-filters", Kind::List, "", "Stages to build anew"),
    spec(
        "pull",
        Kind::Boolean,
        "false",
        "Ask the registry for newer base images",
    ),
    spec(
        "network",
        Kind::Choice(NETWORKS),
        "",
        "Network of the build's steps: `default`, `host` or `none`",
    ),
    spec(
        "add-hosts",
        Kind::List,
        "",
        "Entries for the steps' `/etc/hosts`, `host:address`",
    ),
    spec(
        "allow",
        Kind::List,
        "",
        "Rights that steps may ask for: `network.host`, `security.insecure`, `device`",
    ),
    spec(
        "cgroup-parent",
        Kind::Text,
        "",
        "Parent cgroup of the build's steps",
    ),
    spec(
        "shm-size",
        Kind::Text,
        "",
        "Size of the steps' `/dev/shm`, as `2g`",
    ),
    spec(
        "ulimit",
        Kind::Lines,
        "",
        "Limits of the steps, `nofile=1024:2048`",
    ),
    spec(
        "push",
        Kind::Boolean,
        "",
        "Push the image (default: true, unless `load`, `outputs` or `call` is given)",
    ),
    spec(
        "load",
        Kind::Boolean,
        "false",
        "Load the image into the Docker Engine",
    ),
    spec(
        "outputs",
        Kind::QuotedLines,
        "",
        "Output destinations, `type=local,dest=path`",
    ),
    spec(
        "call",
        Kind::Text,
        "",
        "Ask instead of building: `check`, `outline` or `targets`; nothing is pushed",
    ),
    spec(
        "driver",
        Kind::Choice(DRIVERS),
        "auto",
        "Who builds: `auto`, `local`, `kubernetes`, or `docker` / `docker-container` to force that one",
    ),
    spec(
        "driver-opts",
        Kind::QuotedLines,
        "",
        "Options of the builder, `name=value`, as docker/setup-buildx-action takes them",
    ),
    spec(
        "buildkitd-flags",
        Kind::Text,
        "",
        "Flags of BuildKit's daemon, for `docker-container` and `kubernetes`",
    ),
    spec(
        "buildkitd-config-inline",
        Kind::Block,
        "",
        "Configuration of BuildKit's daemon, as TOML, for `docker-container` and `kubernetes`",
    ),
    spec(
        "append",
        Kind::Block,
        "",
        "Further nodes of a Kubernetes builder, as YAML: a list of `name`, `driver-opts`, `buildkitd-flags`, `platforms`",
    ),
    spec(
        "kubeconfig",
        Kind::Secret,
        "",
        "Content of a kubeconfig, plain or in base64, for `driver: kubernetes`",
    ),
    spec(
        "kube-context",
        Kind::Text,
        "",
        "Context of the kubeconfig (default: its current one)",
    ),
    spec(
        "eks-cluster",
        Kind::Text,
        "",
        "Name of the Amazon EKS cluster that builds; needs no kubeconfig",
    ),
    spec(
        "namespace",
        Kind::Text,
        "",
        "Kubernetes namespace of the builder (default: from `driver-opts`, else from the kubeconfig)",
    ),
    spec(
        "allow-exec",
        Kind::Boolean,
        "false",
        "Run commands that the kubeconfig names for its credentials (those for Amazon EKS need no permission)",
    ),
    spec(
        "builder",
        Kind::Text,
        "",
        "Name of a Kubernetes builder that outlives the run, with its cache (default: one for this run alone)",
    ),
    spec(
        "replace",
        Kind::Boolean,
        "false",
        "Replace the builder of that name where it differs from what is asked for",
    ),
    spec(
        "builder-timeout",
        Kind::Integer {
            least: 1,
            most: 86_400,
        },
        "",
        "Seconds until a Kubernetes builder has to be ready (default: 300)",
    ),
    spec(
        "fallback",
        Kind::Choice(FALLBACKS),
        "",
        "When the cluster can't build: `local` or `fail` (default: `local` with `driver: auto`, else `fail`)",
    ),
    spec(
        "cache",
        Kind::Choice(CACHES),
        "auto",
        "Where the cache is kept: `auto`, `inline` (in the image), `registry`, `gha` or `none`; docs/cache.md tells more",
    ),
    spec(
        "cache-ref",
        Kind::Text,
        "",
        "Name of the cache in the registry: a repository, for a tag of each branch, or a name with tag for all (default: tags `buildcache…` in the image's repository)",
    ),
    spec(
        "cache-mode",
        Kind::Choice(CACHE_MODES),
        "",
        "What the cache holds: `min` (the image's layers) or `max` (the layers of all stages; default, where the cache can)",
    ),
    spec(
        "cache-from",
        Kind::Lines,
        "",
        "Caches to import, `type=registry,ref=name`; wins over `cache`",
    ),
    spec(
        "cache-to",
        Kind::Lines,
        "",
        "Caches to export, `type=inline`; wins over `cache`",
    ),
    spec(
        "compression",
        Kind::Choice(COMPRESSIONS),
        "auto",
        "Compression of new layers: `auto` (zstd where it can be; gzip in `outputs` of yours), `gzip`, `zstd`, `estargz` or `uncompressed`",
    ),
    spec(
        "compression-level",
        Kind::Integer { least: 0, most: 22 },
        "",
        "Level of the compression: 0 to 9 for gzip and estargz, 0 to 22 for zstd",
    ),
    spec(
        "retries",
        Kind::Integer { least: 0, most: 10 },
        "2",
        "How often a push, or the start of a builder, that a passing fault ended is tried again, as 503, 429 or a cut connection; what is built stays built",
    ),
    spec(
        "provenance",
        Kind::BooleanOrText,
        "",
        "Provenance attestation: a boolean, or attributes as `mode=max` (default: false, unless `attests` asks for it)",
    ),
    spec(
        "sbom",
        Kind::BooleanOrText,
        "",
        "SBOM attestation: a boolean, or attributes as `generator=image` (default: false, unless `attests` asks for it)",
    ),
    spec(
        "attests",
        Kind::Lines,
        "",
        "Attestations, `type=sbom,generator=image`; `provenance` and `sbom` win over them",
    ),
    spec("summary", Kind::Boolean, "true", "Write the job summary"),
    spec(
        "timings-file",
        Kind::Text,
        "",
        "File for the full timings, as JSON",
    ),
    spec(
        "compare-with",
        Kind::Text,
        "",
        "Name of the artifact with the timings of earlier runs, which the summary compares with the last successful ones on the default branch; `none` for no comparison (default: `fast-ecr-push-timings`; where a run has none, the times of this step)",
    ),
    spec(
        "comment",
        Kind::Boolean,
        "false",
        "Keep one comment with the summary on the pull request",
    ),
    spec(
        "dry-run",
        Kind::Boolean,
        "false",
        "Check the inputs and print the plan, without building",
    ),
    spec(
        "github-token",
        Kind::Secret,
        "${{ github.token }}",
        "Token to read the Git context with",
    ),
];

/// The specification of this name.
pub(crate) fn find(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.name == name)
}

impl Kind {
    /// Whether several values make one input, so that a flag may be repeated.
    pub(crate) fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Lines | Self::QuotedLines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_spelled_as_inputs_are() {
        let mut names: Vec<&str> = SPECS.iter().map(|spec| spec.name).collect();
        for name in &names {
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{name}"
            );
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SPECS.len());
    }
}
