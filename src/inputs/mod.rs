//! What the user typed, checked field by field.
//!
//! In: one text per input, from `INPUT_*` variables or flags. Out: [`Inputs`], typed, or all that
//! is wrong with them at once. Nothing is decided here: defaults that depend on other inputs and
//! conflicts between inputs are the plan's.

mod append;
pub(crate) mod attest;
pub(crate) mod aws;
mod call;
mod choices;
pub(crate) mod grammar;
pub(crate) mod new_repository;
pub(crate) mod output_spec;
mod platform;
mod reader;
pub(crate) mod registry_auth;
mod secret;
pub(crate) mod spec;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use secrecy::SecretString;

use crate::metadata::Tags;
use crate::metadata::flavor::Flavor;
use crate::metadata::labels::Labels;
use crate::runner::env::Env;
pub(crate) use append::AppendedNode;
use attest::Attest;
use aws::Aws;
pub(crate) use call::Call;
pub(crate) use choices::{Cache, CacheMode, Compression, Driver, Fallback};
use lists::list;
use new_repository::NewRepository;
use output_spec::OutputSpec;
use reader::Reader;
use registry_auth::Login;
pub(crate) use secret::{LARGEST as LARGEST_SECRET, Secret};
use spec::{Kind, SPECS};

/// The texts of the inputs that were given, by name.
#[derive(Clone, Default)]
pub(crate) struct Given(BTreeMap<&'static str, String>);

/// Names only: some texts are secret.
impl fmt::Debug for Given {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Given {
    /// Reads `INPUT_<NAME>`: upper case, hyphens kept, empty means unset. This is how the runner
    /// passes inputs (`Handler.cs`, `AddInputsToEnvironment`).
    pub(crate) fn from_env(env: &Env) -> Self {
        let mut given = Self::default();
        for spec in SPECS {
            let variable = format!("INPUT_{}", spec.name.to_ascii_uppercase());
            if let Some(text) = env.get(&variable) {
                given.set(spec.name, text.to_owned());
            }
        }
        given
    }

    /// Sets an input; a later call wins.
    pub(crate) fn set(&mut self, name: &'static str, text: String) {
        self.0.insert(name, text);
    }

    fn text(&self, name: &str) -> Option<&str> {
        Some(self.raw(name)?.trim())
    }

    /// The text with its blanks; not when there is nothing else.
    fn raw(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?;
        Some(text.as_str()).filter(|text| !text.trim().is_empty())
    }

    /// Every text that has to be masked before anything is printed, also where an input can't be
    /// read: then all of it.
    pub(crate) fn to_mask(&self) -> Vec<SecretString> {
        let mut texts = Vec::new();
        for spec in SPECS {
            let Some(text) = self.raw(spec.name) else {
                continue;
            };
            match spec.kind {
                Kind::Secret => texts.push(SecretString::from(text)),
                Kind::Secrets => match list::parse(text, list::Grammar::Secrets) {
                    Ok(items) => texts.extend(secret::to_mask(&items)),
                    Err(_) => texts.push(SecretString::from(text)),
                },
                Kind::Logins => texts.extend(registry_auth::to_mask(text)),
                _ => {}
            }
        }
        texts
    }
}

/// The inputs, typed.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub context: Option<String>,
    pub file: Option<String>,
    /// Name and context.
    pub build_contexts: Vec<(String, String)>,
    pub tags: Tags,
    pub flavor: Flavor,
    pub repository: Option<String>,
    pub registry: Option<String>,
    /// Accounts and hosts of Amazon ECR.
    pub registries: Vec<String>,
    pub registry_auth: Vec<Login>,
    pub aws_region: Option<String>,
    pub aws: Aws,
    /// None where no repository is to be created.
    pub create_repository: Option<NewRepository>,
    pub build_args: Vec<String>,
    pub secrets: Vec<Secret>,
    /// Id and variable.
    pub secret_envs: Vec<(String, String)>,
    /// Id and path.
    pub secret_files: Vec<(String, String)>,
    pub ssh: Vec<String>,
    pub target: Option<String>,
    pub labels: Labels,
    pub annotations: Labels,
    pub platforms: Vec<String>,
    pub no_cache: bool,
    pub no_cache_filters: Vec<String>,
    pub pull: bool,
    pub network: Option<String>,
    pub add_hosts: Vec<String>,
    pub allow: Vec<String>,
    pub cgroup_parent: Option<String>,
    pub shm_size: Option<String>,
    pub ulimit: Vec<String>,
    pub push: Option<bool>,
    pub load: bool,
    pub outputs: Vec<OutputSpec>,
    pub call: Option<Call>,
    pub driver: Driver,
    pub driver_opts: Vec<(String, String)>,
    pub buildkitd_flags: Option<String>,
    pub buildkitd_config_inline: Option<String>,
    /// Further nodes of the builder.
    pub append: Vec<AppendedNode>,
    pub kubeconfig: Option<SecretString>,
    pub kube_context: Option<String>,
    pub eks_cluster: Option<String>,
    pub namespace: Option<String>,
    pub allow_exec: bool,
    /// Name of a builder that outlives the run.
    pub builder: Option<String>,
    pub replace: bool,
    /// Seconds.
    pub builder_timeout: Option<i64>,
    /// None when the driver decides.
    pub fallback: Option<Fallback>,
    pub cache: Cache,
    pub cache_ref: Option<String>,
    /// None when the plan decides.
    pub cache_mode: Option<CacheMode>,
    pub cache_from: Vec<String>,
    pub cache_to: Vec<String>,
    pub compression: Compression,
    pub compression_level: Option<i64>,
    /// None when the plan decides.
    pub retries: Option<i64>,
    /// None when the input says nothing.
    pub provenance: Option<Attest>,
    pub sbom: Option<Attest>,
    pub attests: Vec<Attest>,
    pub summary: bool,
    pub timings_file: Option<String>,
    pub compare_with: Option<String>,
    pub comment: bool,
    pub dry_run: bool,
    pub github_token: Option<SecretString>,
}

/// One input is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input `{input}`: {text}")]
pub(crate) struct InputError {
    pub input: &'static str,
    text: String,
}

impl InputError {
    /// What was given, and what is expected instead.
    pub(crate) fn new(
        input: &'static str,
        given: impl AsRef<str>,
        expected: impl fmt::Display,
    ) -> Self {
        let text = match given.as_ref() {
            "" => format!("nothing given, expected {expected}"),
            given => format!("`{given}` given, expected {expected}"),
        };
        Self { input, text }
    }

    /// An error that names what was given by itself, with its causes and what to do about it.
    pub(crate) fn caused(input: &'static str, error: &dyn Error, hint: Option<&str>) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        if let Some(hint) = hint {
            text = format!("{text} ({hint})");
        }
        Self { input, text }
    }
}

impl Inputs {
    /// Types every input.
    ///
    /// # Errors
    /// All wrong inputs, in the order of the table.
    pub(crate) fn parse(given: &Given) -> Result<Self, Vec<InputError>> {
        let mut reader = Reader::new(given);
        let inputs = Self {
            context: reader.text("context"),
            file: reader.text("file"),
            build_contexts: reader.build_contexts(),
            tags: reader.tags(),
            flavor: reader.flavor(),
            repository: reader.text("repository"),
            registry: reader.registry(),
            registries: reader.items("registries", aws::REGISTRY),
            registry_auth: reader.registry_auth(),
            aws_region: reader.item("aws-region", grammar::REGION),
            aws: Aws::read(&mut reader, given),
            create_repository: NewRepository::read(&mut reader, given),
            build_args: reader.list("build-args"),
            secrets: reader.secrets(),
            secret_envs: reader.named_secrets("secret-envs", "`id=NAME`, the name of a variable"),
            secret_files: reader.named_secrets("secret-files", "`id=path`"),
            ssh: reader.ssh(),
            target: reader.text("target"),
            labels: reader.labels("labels"),
            annotations: reader.annotations(),
            platforms: reader.platforms(),
            no_cache: reader.boolean("no-cache").unwrap_or(false),
            no_cache_filters: reader.list("no-cache-filters"),
            pull: reader.boolean("pull").unwrap_or(false),
            network: reader.one_of("network").map(str::to_owned),
            add_hosts: reader.items("add-hosts", grammar::ADD_HOST),
            allow: reader.items("allow", grammar::ENTITLEMENT),
            cgroup_parent: reader.text("cgroup-parent"),
            shm_size: reader.item("shm-size", grammar::SHM_SIZE),
            ulimit: reader.items("ulimit", grammar::ULIMIT),
            push: reader.boolean("push"),
            load: reader.boolean("load").unwrap_or(false),
            outputs: reader.outputs(),
            call: reader.call(),
            driver: reader.choice(
                "driver",
                &[
                    Driver::Auto,
                    Driver::Local,
                    Driver::Docker,
                    Driver::DockerContainer,
                    Driver::Kubernetes,
                ],
            ),
            driver_opts: reader.driver_opts(),
            buildkitd_flags: reader.text("buildkitd-flags"),
            buildkitd_config_inline: given.text("buildkitd-config-inline").map(str::to_owned),
            append: reader.append(),
            kubeconfig: given.text("kubeconfig").map(SecretString::from),
            kube_context: reader.text("kube-context"),
            eks_cluster: reader.cluster("eks-cluster"),
            namespace: reader.namespace("namespace"),
            allow_exec: reader.boolean("allow-exec").unwrap_or(false),
            builder: reader.builder("builder"),
            replace: reader.boolean("replace").unwrap_or(false),
            builder_timeout: reader.integer("builder-timeout"),
            fallback: reader.choice("fallback", &[Some(Fallback::Local), Some(Fallback::Fail)]),
            cache: reader.choice(
                "cache",
                &[
                    Cache::Auto,
                    Cache::Inline,
                    Cache::Registry,
                    Cache::Gha,
                    Cache::None,
                ],
            ),
            cache_ref: reader.text("cache-ref"),
            cache_mode: reader.choice("cache-mode", &[Some(CacheMode::Min), Some(CacheMode::Max)]),
            cache_from: reader.items("cache-from", grammar::CACHE_FROM),
            cache_to: reader.items("cache-to", grammar::CACHE_TO),
            compression: reader.choice(
                "compression",
                &[
                    Compression::Auto,
                    Compression::Gzip,
                    Compression::Zstd,
                    Compression::Estargz,
                    Compression::Uncompressed,
                ],
            ),
            compression_level: reader.integer("compression-level"),
            retries: reader.integer("retries"),
            provenance: reader.attestation("provenance"),
            sbom: reader.attestation("sbom"),
            attests: reader.attests(),
            summary: reader.boolean("summary").unwrap_or(true),
            timings_file: reader.text("timings-file"),
            compare_with: reader.text("compare-with"),
            comment: reader.boolean("comment").unwrap_or(false),
            dry_run: reader.boolean("dry-run").unwrap_or(false),
            github_token: given.text("github-token").map(SecretString::from),
        };
        reader.finish(inputs)
    }
}

impl Inputs {
    /// Whether a cluster is to build: when it is asked for, or a way into one is given.
    pub(crate) fn wants_cluster(&self) -> bool {
        match self.driver {
            Driver::Kubernetes => true,
            Driver::Auto => self.kubeconfig.is_some() || self.eks_cluster.is_some(),
            Driver::Local | Driver::Docker | Driver::DockerContainer => false,
        }
    }

    /// Whether another builder takes over when the cluster can't build.
    pub(crate) fn falls_back(&self) -> bool {
        match self.fallback {
            Some(fallback) => fallback == Fallback::Local,
            None => self.driver == Driver::Auto,
        }
    }
}

#[cfg(test)]
mod tests;
