//! The table of inputs: the one place that gives an input its name, type, default and help.
//!
//! From it come the variables that are read, the flags of the command line, `action.yml` and the
//! README. Names and meanings are docker/build-push-action's wherever it has the input
//! (<https://github.com/docker/build-push-action/blob/cb941d0/action.yml>), those about AWS are
//! aws-actions/configure-aws-credentials'. [`inputs!`] explains the form of an entry.

use std::path::PathBuf;

use secrecy::SecretString;

use super::append::AppendedNode;
use super::attest::Attest;
use super::aws::{ACCOUNT, EXTERNAL_ID, ONE_WORD, REGISTRY, RoleName, SESSION_NAME};
use super::build::{BuildArg, BuildContext, SshKey, Ulimit};
use super::cache::{CacheEntry, IMPORT};
use super::call::Call;
use super::choices::{
    Accelerate, Cache, CacheMode, Compression, Driver, Fallback, IfExists, LayerTimes, Network,
};
use super::driver_options::DriverOption;
use super::grammar::{
    ADD_HOST, ANNOTATION, BUILDER, CLUSTER, ENTITLEMENT, LABEL, NAMESPACE, REGION, SHM_SIZE,
};
use super::kubeconfig::KubeconfigText;
use super::matrix::Matrix;
use super::new_repository::NewRepository;
use super::output_spec::OutputSpec;
use super::platform::Platform;
use super::reader::Reader;
use super::registry_auth::{Login, RegistryHost};
use super::secret::{Secret, SecretEnv, SecretFile};
use super::spec::{Spec, holds_paths, inputs};
use super::unchanged::SkipUnchanged;
use super::value::{Block, Number, Value};
use crate::metadata::Tags;
use crate::metadata::flavor::Flavor;
use crate::metadata::labels::Labels;

inputs! {
    /// Build context: a path or the URL of a Git repository (default: the commit of this workflow
    /// run; on the command line, the current directory)
    "context" => context: Option<String>, paths;
    /// Path of the Dockerfile (default: `Dockerfile` in the context)
    "file" => file: Option<String>, paths;
    /// Additional build contexts, `name=path`, a URL or `docker-image://…`
    "build-contexts" => build_contexts: Vec<BuildContext>, paths;
    /// Tags: plain tags and docker/metadata-action's rules (`type=sha`) if `repository` is set,
    /// full image names otherwise
    "tags" => tags: Tags;
    /// Settings for all tags: `latest=` (auto, true or false), `prefix=`, `suffix=`
    "flavor" => flavor: Flavor;
    /// Repository to push to, without registry and tag
    "repository" => repository: Option<String>;
    /// Registry host for `repository` (default: the account's own Amazon ECR)
    "registry" => registry: Option<RegistryHost>;
    /// Additional Amazon ECR registries to log in to: account ids in the same region, hosts in
    /// other regions, `public.ecr.aws`
    "registries" => registries: Vec<String> where REGISTRY;
    /// Logins to other registries, as in docker/login-action: a YAML list of `registry` (default:
    /// `docker.io`), `username`, `password`
    "registry-auth" => registry_auth: Vec<Login>;
    /// AWS region of the registry (default: from the environment, as the AWS SDKs read it)
    "aws-region" => aws_region: Option<String> where REGION;
    /// ARN or name of the AWS role to assume: with GitHub's OpenID Connect token (`permissions:
    /// id-token: write`), or with the credentials found in the environment
    "role-to-assume" => role_to_assume: Option<RoleName>;
    /// Session name of the role (default: `GitHubActions`)
    "role-session-name" => role_session_name: Option<String> where SESSION_NAME;
    /// Duration of the role session in seconds; a longer build renews it automatically (default:
    /// 3600)
    "role-duration-seconds" => role_duration_seconds: Option<Number<900, 43_200>>;
    /// External id required by the role's trust policy
    "role-external-id" => role_external_id: Option<String> where EXTERNAL_ID;
    /// Audience of GitHub's OpenID Connect token (default: `sts.amazonaws.com`)
    "audience" => audience: Option<String>;
    /// AWS accounts that the credentials may belong to (default: any)
    "allowed-account-ids" => allowed_account_ids: Vec<String> where ACCOUNT;
    /// Assume the role with the AWS credentials found in the environment instead of OpenID Connect
    "role-chaining" => role_chaining: bool = "false";
    /// File with an OpenID Connect token to assume the role with
    "web-identity-token-file" => web_identity_token_file: Option<PathBuf>;
    /// Profile in the AWS configuration files to take credentials from
    "aws-profile" => aws_profile: Option<String>;
    /// AWS access key id (default: the standard AWS chain, environment variables first)
    "aws-access-key-id" => aws_access_key_id: Option<SecretString> where ONE_WORD;
    /// AWS secret access key
    "aws-secret-access-key" => aws_secret_access_key: Option<SecretString> where ONE_WORD;
    /// AWS session token, for temporary keys
    "aws-session-token" => aws_session_token: Option<SecretString> where ONE_WORD;
    /// Create the Amazon ECR repository if it does not exist: a boolean, or attributes such as
    /// `image-tag-mutability=IMMUTABLE,scan-on-push=true`
    "create-repository" => create_repository: Option<NewRepository> = "false", paths;
    /// What to do if an image exists under an immutable tag: `same` (build, and accept an equal
    /// digest), `skip` (end at once with the existing image) or `fail` (before the build)
    "if-exists" => if_exists: IfExists = "same";
    /// Give the image of an earlier build of the same inputs the tags of this run instead of building: a boolean, or the greatest
    /// age of that image (`12h`, `7d`); see docs/unchanged.md
    "skip-unchanged" => skip_unchanged: SkipUnchanged = "false";
    /// Build arguments, `NAME=value`; put a multi-line value in double quotes
    "build-args" => build_args: Vec<BuildArg>;
    /// Build secrets, `id=value`; put a multi-line secret in double quotes
    "secrets" => secrets: Vec<Secret>;
    /// Build secrets from environment variables, `id=NAME`
    "secret-envs" => secret_envs: Vec<SecretEnv>;
    /// Build secrets from files, `id=path`
    "secret-files" => secret_files: Vec<SecretFile>, paths;
    /// SSH agent sockets or keys for the build, `default=path`
    "ssh" => ssh: Vec<SshKey>, paths;
    /// Stage of the Dockerfile to build
    "target" => target: Option<String>;
    /// Image labels, `name=value`; a line `auto` adds docker/metadata-action's eight
    "labels" => labels: Labels where LABEL;
    /// Image annotations, `name=value` or `index:name=value`; a line `auto` adds the same eight
    /// keys as for labels
    "annotations" => annotations: Labels where ANNOTATION;
    /// Platforms to build for, e.g. `linux/amd64`
    "platforms" => platforms: Vec<Platform>;
    /// Build without the cache
    "no-cache" => no_cache: bool = "false";
    /// Stages to build without the cache
    "no-cache-filters" => no_cache_filters: Vec<String>;
    /// Always check the registry for newer base images
    "pull" => pull: bool = "false";
    /// Network of `RUN` steps: `default`, `host` or `none`
    "network" => network: Option<Network>;
    /// Additional host-to-IP mappings for `RUN` steps, `host:address`
    "add-hosts" => add_hosts: Vec<String> where ADD_HOST;
    /// Entitlements to grant: `network.host`, `security.insecure`, `device`
    "allow" => allow: Vec<String> where ENTITLEMENT;
    /// Parent cgroup of `RUN` steps
    "cgroup-parent" => cgroup_parent: Option<String>;
    /// Size of `/dev/shm` in `RUN` steps, e.g. `2g`
    "shm-size" => shm_size: Option<String> where SHM_SIZE;
    /// Ulimits of `RUN` steps, `nofile=1024:2048`
    "ulimit" => ulimit: Vec<Ulimit>;
    /// Push the image (default: true, unless `load`, `outputs` or `call` is set)
    "push" => push: Option<bool>;
    /// Load the image into the Docker Engine
    "load" => load: bool = "false";
    /// Output destinations, `type=local,dest=path`
    "outputs" => outputs: Vec<OutputSpec>, paths;
    /// Evaluate the Dockerfile instead of building: `check`, `outline` or `targets`; nothing is
    /// pushed
    "call" => call: Option<Call>;
    /// Builder to use: `auto`, `local`, `kubernetes`, or `docker` / `docker-container` to force one
    "driver" => driver: Driver = "auto";
    /// Driver options, `name=value`, as in docker/setup-buildx-action
    "driver-opts" => driver_opts: Vec<DriverOption>;
    /// Flags for the BuildKit daemon of `docker-container` and `kubernetes`
    "buildkitd-flags" => buildkitd_flags: Option<String>;
    /// Configuration of the BuildKit daemon as TOML, for `docker-container` and `kubernetes`
    "buildkitd-config-inline" => buildkitd_config_inline: Option<Block>, paths;
    /// Additional nodes of a Kubernetes builder: a YAML list of `name`, `driver-opts`,
    /// `buildkitd-flags`, `platforms`
    "append" => append: Vec<AppendedNode>;
    /// Content of a kubeconfig, plain or base64, for `driver: kubernetes`
    "kubeconfig" => kubeconfig: Option<KubeconfigText>;
    /// Context in the kubeconfig (default: its current context)
    "kube-context" => kube_context: Option<String>;
    /// Name of the Amazon EKS cluster to build in; needs no kubeconfig
    "eks-cluster" => eks_cluster: Option<String> where CLUSTER;
    /// Kubernetes namespace of the builder (default: from `driver-opts`, then from the kubeconfig)
    "namespace" => namespace: Option<String> where NAMESPACE;
    /// Allow the commands that a kubeconfig runs to get credentials (those for Amazon EKS are
    /// always allowed)
    "allow-exec" => allow_exec: bool = "false";
    /// Name of a persistent Kubernetes builder, which keeps its cache (default: a builder for this
    /// run only)
    "builder" => builder: Option<String> where BUILDER;
    /// Replace the persistent builder if it differs from the requested one
    "replace" => replace: bool = "false";
    /// Seconds to wait for a Kubernetes builder to become ready (default: 300)
    "builder-timeout" => builder_timeout: Option<Number<1, 86_400>>;
    /// What to do if the cluster cannot build: `local` or `fail` (default: `local` with `driver:
    /// auto`, else `fail`)
    "fallback" => fallback: Option<Fallback>;
    /// Where to keep the cache: `auto`, `inline` (in the image), `registry`, `gha` or `none`; see
    /// docs/cache.md
    "cache" => cache: Cache = "auto";
    /// Name of the registry cache: a repository, for one tag per branch, or a name with a tag
    /// (default: tags `buildcache…` in the image's repository)
    "cache-ref" => cache_ref: Option<String>;
    /// What the cache holds: `min` (the image's layers) or `max` (the layers of all stages; the
    /// default where supported)
    "cache-mode" => cache_mode: Option<CacheMode>;
    /// The entry of the job's matrix as JSON: legs that differ by build arguments have caches of their own
    "matrix" => matrix: Option<Matrix> = "${{ toJSON(matrix) }}";
    /// Caches to import, `type=registry,ref=name`; overrides `cache`
    "cache-from" => cache_from: Vec<CacheEntry> where IMPORT, paths;
    /// Caches to export, `type=inline`; overrides `cache`
    "cache-to" => cache_to: Vec<CacheEntry>, paths;
    /// Compression of new layers: `auto` (zstd where possible; gzip in your own `outputs`), `gzip`,
    /// `zstd`, `estargz` or `uncompressed`
    "compression" => compression: Compression = "auto";
    /// Compression level: 0 to 9 for gzip and estargz, 0 to 22 for zstd (by default 1)
    "compression-level" => compression_level: Option<Number<0, 22>>;
    /// Push with the push engine, which packs and uploads straight from the builder's file system: `auto` (where it helps), `on`
    /// (or fail) or `off`; see docs/push-engine.md
    "accelerate" => accelerate: Accelerate = "auto";
    /// Times in the push engine's layers: `packages` (one time for what packages own, so that a package that is installed once more is
    /// not sent again) or `keep`; see docs/push-engine.md
    "layer-times" => layer_times: LayerTimes = "packages";
    /// How often to retry a push, the pull of a base image or a builder start after a transient error such as 503, 429 or a
    /// dropped connection; finished steps are not built again
    "retries" => retries: Number<0, 10> = "2";
    /// Seconds for which a registry may leave a request without an answer before the run ends; 0
    /// for ever (default: 600, and 7200 while layers are uploaded)
    "silence-timeout" => silence_timeout: Option<Number<0, 86_400>>;
    /// Provenance attestation: a boolean, or attributes such as `mode=max` (default: false, unless
    /// `attests` asks for it)
    "provenance" => provenance: Option<Attest>;
    /// SBOM attestation: a boolean, or attributes such as `generator=image` (default: false, unless
    /// `attests` asks for it)
    "sbom" => sbom: Option<Attest>;
    /// Attestations, `type=sbom,generator=image`; `provenance` and `sbom` override them
    "attests" => attests: Vec<Attest>;
    /// Write the job summary
    "summary" => summary: bool = "true";
    /// File to write the full timings to, as JSON
    "timings-file" => timings_file: Option<PathBuf>, paths;
    /// Name of the artifact with the timings of earlier runs; the summary compares this run with
    /// the last successful ones on the default branch; `none` disables it (default:
    /// `fast-ecr-push-timings`; for a run without it, the duration of this step)
    "compare-with" => compare_with: Option<String>;
    /// Post the summary as a comment on the pull request and keep it up to date
    "comment" => comment: bool = "false";
    /// Check the inputs and print the plan without building
    "dry-run" => dry_run: bool = "false";
    /// Token to read the Git context with
    "github-token" => github_token: Option<SecretString> = "${{ github.token }}";
}
