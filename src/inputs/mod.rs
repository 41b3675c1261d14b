//! What the user typed, checked field by field.
//!
//! In: one text per input, from `INPUT_*` variables or flags. Out: [`Inputs`], typed, or all that
//! is wrong with them at once. Nothing is decided here: defaults that depend on other inputs and
//! conflicts between inputs are the plan's.

mod append;
pub(crate) mod attest;
pub(crate) mod aws;
pub(crate) mod build;
pub(crate) mod cache;
mod call;
mod choices;
pub(crate) mod driver_options;
pub(crate) mod grammar;
mod kubeconfig;
mod matrix;
mod nearest;
pub(crate) mod new_repository;
pub(crate) mod output_spec;
mod platform;
mod reader;
pub(crate) mod registry_auth;
mod secret;
pub(crate) mod spec;
mod table;
pub(crate) mod unchanged;
mod unknown;
mod value;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use secrecy::SecretString;

use crate::runner::env::Env;
pub(crate) use append::AppendedNode;
use build::BuildArg;
pub(crate) use call::Call;
pub(crate) use choices::{
    Accelerate, Cache, CacheMode, Compression, Driver, Fallback, IfExists, LayerTimes, Network,
};
pub(crate) use platform::Platform;
use reader::Reader;
pub(crate) use secret::LARGEST as LARGEST_SECRET;
pub(crate) use table::{Inputs, SPECS};
pub(crate) use unchanged::SkipUnchanged;
pub(crate) use unknown::unknown;
use value::{Field, Value as _};
pub(crate) use value::{Form, Number};

/// The texts of the inputs that are set, by name.
#[derive(Clone, Default)]
pub(crate) struct RawInputs {
    texts: BTreeMap<&'static str, String>,
    /// Where build arguments without value get theirs from.
    env: Option<Env>,
}

/// Names only: some texts are secret.
impl fmt::Debug for RawInputs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.texts.keys()).finish()
    }
}

impl<'a> FromIterator<(&'static str, &'a str)> for RawInputs {
    fn from_iter<I: IntoIterator<Item = (&'static str, &'a str)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        Self {
            texts: pairs.map(|(name, text)| (name, text.to_owned())).collect(),
            env: None,
        }
    }
}

impl RawInputs {
    /// Reads the runner's variables.
    pub(crate) fn from_env(env: &Env) -> Self {
        let text = |spec: &spec::Spec| Some((spec.name, env.get(&spec.variable())?.to_owned()));
        Self {
            texts: SPECS.iter().filter_map(text).collect(),
            env: Some(env.clone()),
        }
    }

    /// Sets an input; a later call wins.
    pub(crate) fn set(&mut self, name: &'static str, text: String) {
        self.texts.insert(name, text);
    }

    /// The text with its blanks; none where it has nothing else, which the runner passes for an
    /// input that is not set.
    fn text(&self, name: &str) -> Option<&str> {
        let text = self.texts.get(name)?;
        Some(text.as_str()).filter(|text| !text.trim().is_empty())
    }

    /// What the log says about build arguments that name a variable which is not set.
    pub(crate) fn unset_arguments(&self) -> Vec<String> {
        let (Some(env), Some(text)) = (&self.env, self.text("build-args")) else {
            return Vec::new();
        };
        let (name, rules) = ("build-args", &[]);
        let arguments = Vec::<BuildArg>::read(&Field { name, text, rules }).unwrap_or_default();
        let arguments = arguments.iter().enumerate();
        arguments
            .filter(|(_, argument)| argument.is_unset(env))
            .map(|(index, _)| {
                format!(
                    "item {} of `build-args` names an environment variable that is not set: it has no effect",
                    index + 1
                )
            })
            .collect()
    }

    /// Every text that must be masked before anything is printed. Of an input that cannot be read
    /// that is all of it.
    pub(crate) fn to_mask(&self) -> Vec<SecretString> {
        let texts = SPECS
            .iter()
            .filter_map(|spec| Some((spec, self.text(spec.name)?)));
        texts
            .flat_map(|(spec, text)| (spec.to_mask)(text))
            .collect()
    }
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

    /// Two inputs that exclude each other.
    pub(crate) fn conflict(
        input: &'static str,
        given: impl AsRef<str>,
        other: impl fmt::Display,
    ) -> Self {
        let text = format!("`{}` cannot be combined with {other}", given.as_ref());
        Self { input, text }
    }

    /// A part of an input, named instead of shown.
    fn part(input: &'static str, part: impl fmt::Display, expected: impl fmt::Display) -> Self {
        let text = format!("{part} is invalid; expected {expected}");
        Self { input, text }
    }

    /// An item of a list, counted from 1.
    fn item(input: &'static str, number: usize, expected: impl fmt::Display) -> Self {
        Self::part(input, format_args!("item {number}"), expected)
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

/// The variables of inputs whose texts hold paths.
pub(crate) fn holding_paths() -> impl Iterator<Item = String> {
    let specs = SPECS.iter().filter(|spec| spec.holds_paths);
    specs.map(spec::Spec::variable)
}

impl Inputs {
    /// Types every input.
    ///
    /// # Errors
    /// All wrong inputs, in the order of the table.
    pub(crate) fn parse(raw: &RawInputs) -> Result<Self, Vec<InputError>> {
        let mut reader = Reader {
            raw,
            errors: Vec::new(),
        };
        let mut inputs = Self::read(&mut reader);
        if inputs.repository.is_some() {
            let errors = inputs.tags.ambiguous_with_repository();
            let errors = errors.iter();
            let errors =
                errors.map(|error| InputError::caused("tags", error, error.hint().as_deref()));
            reader.errors.extend(errors);
        }
        if let Some(env) = &raw.env
            && let Err(error) = BuildArg::take_out_unset(&mut inputs.build_args, env)
        {
            reader.errors.push(error);
        }
        if reader.errors.is_empty() {
            Ok(inputs)
        } else {
            Err(reader.errors)
        }
    }

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

/// The inputs where none is set.
impl Default for Inputs {
    fn default() -> Self {
        Self::read(&mut Reader {
            raw: &RawInputs::default(),
            errors: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
