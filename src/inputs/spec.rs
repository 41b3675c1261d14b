//! What is known of every input: the macro that turns the table into types and data.

use super::value::Form;
use secrecy::SecretString;

/// One input, as users see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub name: &'static str,
    pub form: Form,
    /// As `action.yml` declares it; empty where the plan decides.
    pub default: &'static str,
    /// One sentence for `action.yml`, the README and `--help`.
    pub help: &'static str,
    /// Whether the text holds paths, which a container sees under other names.
    pub holds_paths: bool,
    pub(super) to_mask: fn(&str) -> Vec<SecretString>,
}

impl Spec {
    /// The variable by which the runner passes the input: upper case, hyphens kept
    /// (`Handler.cs`, `AddInputsToEnvironment`).
    pub(crate) fn variable(&self) -> String {
        format!("INPUT_{}", self.name.to_ascii_uppercase())
    }
}

/// Makes [`Inputs`](super::Inputs) and its specifications from entries
///
/// ```text
/// /// One sentence for users.
/// "name" => field: Type = "default" where RULE, paths;
/// ```
///
/// The type says how the text is read ([`Value`](super::value::Value)). A rule restricts texts,
/// `paths` marks an input whose text holds some.
macro_rules! inputs {
    ($(
        $(#[doc = $help:literal])+
        $name:literal => $field:ident: $type:ty
            $(= $default:literal)? $(where $rule:path)? $(, $paths:tt)?;
    )+) => {
        /// The inputs, typed.
        #[derive(Debug)]
        pub(crate) struct Inputs {
            $($(#[doc = $help])+ pub $field: $type,)+
        }

        /// All inputs, in the order in which the README lists them.
        pub(crate) const SPECS: &[Spec] = &[$(Spec {
            name: $name,
            form: <$type as Value>::FORM,
            default: concat!($($default)?),
            help: concat!($($help),+).trim_ascii(),
            holds_paths: holds_paths!($($paths)?),
            to_mask: <$type as Value>::to_mask,
        },)+];

        impl Inputs {
            pub(super) fn read(reader: &mut Reader<'_>) -> Self {
                Self {
                    $($field: reader.value($name, concat!($($default)?), &[$($rule)?]),)+
                }
            }
        }
    };
}

macro_rules! holds_paths {
    () => {
        false
    };
    (paths) => {
        true
    };
}

pub(super) use {holds_paths, inputs};
