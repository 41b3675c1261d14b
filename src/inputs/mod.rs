//! What the user typed, checked field by field.
//!
//! In: one text per input, from `INPUT_*` variables or flags. Out: [`Inputs`], typed, or all that
//! is wrong with them at once. Nothing is decided here: defaults that depend on other inputs and
//! conflicts between inputs are the plan's.

pub(crate) mod list;
pub(crate) mod output_spec;
pub(crate) mod spec;

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;

use crate::env::Env;
use output_spec::OutputSpec;
use spec::{Kind, SPECS};

/// The texts of the inputs that were given, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(BTreeMap<&'static str, String>);

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
        let text = self.0.get(name)?.trim();
        Some(text).filter(|text| !text.is_empty())
    }
}

/// The inputs, typed.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub context: Option<String>,
    pub file: Option<String>,
    pub tags: Vec<String>,
    pub repository: Option<String>,
    pub registry: Option<String>,
    pub aws_region: Option<String>,
    pub build_args: Vec<String>,
    pub target: Option<String>,
    pub labels: Vec<String>,
    pub platforms: Vec<String>,
    pub no_cache: bool,
    pub pull: bool,
    pub push: Option<bool>,
    pub load: bool,
    pub outputs: Vec<OutputSpec>,
    pub driver: Driver,
    pub driver_opts: Vec<(String, String)>,
    pub cache_from: Vec<String>,
    pub cache_to: Vec<String>,
    pub compression: Compression,
    pub compression_level: Option<i64>,
    pub provenance: Attestation,
    pub sbom: Attestation,
    pub summary: bool,
    pub timings_file: Option<String>,
    pub compare_with: Option<String>,
    pub comment: bool,
    pub dry_run: bool,
    pub github_token: Option<SecretString>,
}

/// The builder that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Driver {
    /// The best that is there.
    #[default]
    Auto,
    /// The best on this machine.
    Local,
    Docker,
    DockerContainer,
}

/// The compression that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    #[default]
    Auto,
    Gzip,
    Zstd,
    Estargz,
    Uncompressed,
}

impl Compression {
    /// BuildKit's name of it; none for [`Self::Auto`].
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
            Self::Estargz => Some("estargz"),
            Self::Uncompressed => Some("uncompressed"),
        }
    }
}

/// Whether to attest, and with which attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Attestation {
    #[default]
    Off,
    On,
    With(String),
}

/// One input is wrong: its name, what was given and what is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputError {
    pub input: &'static str,
    pub given: String,
    pub expected: String,
}

impl fmt::Display for InputError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            input,
            given,
            expected,
        } = self;
        if given.is_empty() {
            write!(
                formatter,
                "input `{input}`: nothing given, expected {expected}"
            )
        } else {
            write!(
                formatter,
                "input `{input}`: `{given}` given, expected {expected}"
            )
        }
    }
}

impl InputError {
    pub(crate) fn new(
        input: &'static str,
        given: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            input,
            given: given.into(),
            expected: expected.into(),
        }
    }
}

impl Inputs {
    /// Types every input.
    ///
    /// # Errors
    /// All wrong inputs, in the order of the table.
    pub(crate) fn parse(given: &Given) -> Result<Self, Vec<InputError>> {
        let mut reader = Reader {
            given,
            errors: Vec::new(),
        };
        let inputs = Self {
            context: reader.text("context"),
            file: reader.text("file"),
            tags: reader.list("tags"),
            repository: reader.text("repository"),
            registry: reader.text("registry"),
            aws_region: reader.checked("aws-region", "a region, as `eu-west-1`", is_region),
            build_args: reader.list("build-args"),
            target: reader.text("target"),
            labels: reader.list("labels"),
            platforms: reader.platforms(),
            no_cache: reader.boolean("no-cache").unwrap_or(false),
            pull: reader.boolean("pull").unwrap_or(false),
            push: reader.boolean("push"),
            load: reader.boolean("load").unwrap_or(false),
            outputs: reader.outputs(),
            driver: reader.choice(
                "driver",
                &[
                    Driver::Auto,
                    Driver::Local,
                    Driver::Docker,
                    Driver::DockerContainer,
                ],
            ),
            driver_opts: reader.driver_opts(),
            cache_from: reader.list("cache-from"),
            cache_to: reader.list("cache-to"),
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
            provenance: reader.attestation("provenance"),
            sbom: reader.attestation("sbom"),
            summary: reader.boolean("summary").unwrap_or(true),
            timings_file: reader.text("timings-file"),
            compare_with: reader.text("compare-with"),
            comment: reader.boolean("comment").unwrap_or(false),
            dry_run: reader.boolean("dry-run").unwrap_or(false),
            github_token: given.text("github-token").map(SecretString::from),
        };
        if reader.errors.is_empty() {
            Ok(inputs)
        } else {
            Err(reader.errors)
        }
    }
}

/// Reads inputs one by one and keeps what is wrong with them.
struct Reader<'a> {
    given: &'a Given,
    errors: Vec<InputError>,
}

impl Reader<'_> {
    fn wrong(&mut self, input: &'static str, given: &str, expected: impl Into<String>) {
        self.errors.push(InputError::new(input, given, expected));
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        self.checked(name, "text on one line", |text| {
            !text.contains(['\n', '\r', '\0'])
        })
    }

    fn checked(
        &mut self,
        name: &'static str,
        expected: &str,
        holds: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let text = self.given.text(name)?;
        if holds(text) {
            return Some(text.to_owned());
        }
        self.wrong(name, text, expected);
        None
    }

    fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let text = self.given.text(name)?;
        let value = boolean(text);
        if value.is_none() {
            self.wrong(name, text, "`true` or `false`");
        }
        value
    }

    fn integer(&mut self, name: &'static str) -> Option<i64> {
        let text = self.given.text(name)?;
        let Some(Kind::Integer { least, most }) = spec::find(name).map(|spec| spec.kind) else {
            return None;
        };
        let value = text
            .parse()
            .ok()
            .filter(|value| (least..=most).contains(value));
        if value.is_none() {
            self.wrong(name, text, format!("a whole number from {least} to {most}"));
        }
        value
    }

    fn list(&mut self, name: &'static str) -> Vec<String> {
        let Some(text) = self.given.text(name) else {
            return Vec::new();
        };
        let grammar = match spec::find(name).map(|spec| spec.kind) {
            Some(Kind::Lines) => list::Grammar::Lines,
            Some(Kind::QuotedLines) => list::Grammar::QuotedLines,
            _ => list::Grammar::Commas,
        };
        list::parse(text, grammar).unwrap_or_else(|error| {
            self.wrong(name, text, format!("a list ({error}; {})", error.hint()));
            Vec::new()
        })
    }

    fn choice<T: Copy + Default>(&mut self, name: &'static str, values: &[T]) -> T {
        let Some(text) = self.given.text(name) else {
            return T::default();
        };
        let Some(Kind::Choice(names)) = spec::find(name).map(|spec| spec.kind) else {
            return T::default();
        };
        let found = names.iter().position(|candidate| *candidate == text);
        found
            .and_then(|index| values.get(index).copied())
            .unwrap_or_else(|| {
                let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                self.wrong(name, text, format!("one of {}", known.join(", ")));
                T::default()
            })
    }

    fn attestation(&mut self, name: &'static str) -> Attestation {
        match self.text(name) {
            None => Attestation::Off,
            Some(text) => match boolean(&text) {
                Some(true) => Attestation::On,
                Some(false) => Attestation::Off,
                None => Attestation::With(text),
            },
        }
    }

    fn platforms(&mut self) -> Vec<String> {
        let platforms = self.list("platforms");
        for platform in &platforms {
            if !is_platform(platform) {
                self.wrong(
                    "platforms",
                    platform,
                    "`os/architecture[/variant]`, as `linux/arm64`",
                );
            }
        }
        platforms
    }

    fn outputs(&mut self) -> Vec<OutputSpec> {
        let mut specs = Vec::new();
        for text in self.list("outputs") {
            match OutputSpec::parse(&text) {
                Ok(spec) => specs.push(spec),
                Err(expected) => self.wrong("outputs", &text, expected),
            }
        }
        specs
    }

    fn driver_opts(&mut self) -> Vec<(String, String)> {
        let mut options = Vec::new();
        for text in self.list("driver-opts") {
            match text.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() => {
                    options.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                _ => self.wrong("driver-opts", &text, "`name=value` on each line"),
            }
        }
        options
    }
}

/// YAML 1.2 core schema booleans, which are all that GitHub's toolkit takes:
/// <https://github.com/actions/toolkit/blob/main/packages/core/src/core.ts> (`getBooleanInput`).
fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn is_region(text: &str) -> bool {
    text.len() <= 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `os/architecture[/variant]`, or a lone operating system or architecture, as containerd's
/// platform parser takes them (<https://github.com/containerd/platforms>).
fn is_platform(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    parts.len() <= 3
        && parts.iter().all(|part| {
            !part.is_empty()
                && part.chars().all(|character| {
                    character.is_ascii_alphanumeric() || "_-.()".contains(character)
                })
        })
}

#[cfg(test)]
mod tests;
