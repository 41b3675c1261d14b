//! How the text of an input becomes a value: the type of the value decides.
//!
//! A type that is one value implements [`Single`], the items of a list implement [`Item`]; a type
//! that needs the text as a whole implements [`Value`] itself.

use std::borrow::Cow;
use std::path::PathBuf;
use std::str::FromStr;

use lists::list::{self, Grammar};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use strum::VariantNames;

use super::InputError;
use super::grammar::Rule;
use crate::metadata::Tags;
use crate::metadata::flavor::Flavor;
use crate::metadata::labels::Labels;

/// What an input looks like to whoever types it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Line,
    Block,
    Boolean,
    Number,
    Choice(&'static [&'static str]),
    List(Grammar),
    /// Never shown, and never the value of a flag.
    Secret,
}

/// The text of one input.
pub(super) struct Field<'a> {
    pub name: &'static str,
    /// With the blanks around it; never blank as a whole.
    pub text: &'a str,
    /// At most one, which the text or every item has to keep.
    pub rules: &'static [Rule],
}

/// A value, or everything that is wrong with the text.
pub(super) type Read<T> = Result<T, Vec<InputError>>;

/// What is expected instead of a text.
pub(super) type Expected = Cow<'static, str>;

/// The value of an input; its default is that of an input that is not set.
pub(super) trait Value: Default {
    const FORM: Form;

    fn read(field: &Field<'_>) -> Read<Self>;

    /// Everything in the text that must be masked, also where the text cannot be read.
    fn to_mask(text: &str) -> Vec<SecretString> {
        match Self::FORM {
            Form::Secret => vec![SecretString::from(text)],
            _ => Vec::new(),
        }
    }
}

/// A value that the whole text stands for.
pub(super) trait Single: Sized {
    const FORM: Form = Form::Line;

    fn parse(text: &str) -> Result<Self, Expected>;

    /// As [`Value::to_mask`].
    fn to_mask(text: &str) -> Vec<SecretString> {
        match Self::FORM {
            Form::Secret => vec![SecretString::from(text)],
            _ => Vec::new(),
        }
    }
}

/// An item of a list.
pub(super) trait Item: Sized {
    const GRAMMAR: Grammar = Grammar::Lines;
    const FORM: Form = Form::List(Self::GRAMMAR);
    /// Whether errors show the item by its number only: it may be a secret, or a piece of one that
    /// was split in the wrong place.
    const HIDDEN: bool = false;

    /// Adds what the text of one item stands for to the items before it.
    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected>;

    /// See [`Value::to_mask`].
    fn to_mask(_text: &str) -> Vec<SecretString> {
        Vec::new()
    }
}

impl Field<'_> {
    pub(super) fn trimmed(&self) -> &str {
        self.text.trim()
    }

    pub(super) fn wrong(&self, given: &str, expected: impl Into<Expected>) -> Vec<InputError> {
        vec![InputError::new(self.name, given, expected.into())]
    }

    /// The same input with another text.
    pub(super) fn with<'a>(&self, text: &'a str) -> Field<'a> {
        let (name, rules) = (self.name, self.rules);
        Field { name, text, rules }
    }

    /// Reads YAML. Where it is secret, an error names only the line.
    pub(super) fn yaml<T: DeserializeOwned>(&self, is_secret: bool, expected: &str) -> Read<T> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_aliases: 100,
                max_depth: 8,
                max_documents: 1,
                max_nodes: 10_000,
                max_total_scalar_bytes: 1 << 20,
            },
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options(self.trimmed(), options).map_err(|error| {
            let place = match error.location() {
                Some(place) if is_secret => format!("line {}", place.line()),
                None if is_secret => "the text".to_owned(),
                _ => format!("the YAML ({})", one_line(&error.to_string())),
            };
            vec![InputError::part(self.name, place, expected)]
        })
    }

    fn check(&self, text: &str) -> Result<(), Expected> {
        match self.rules.iter().find(|rule| !(rule.holds)(text)) {
            Some(rule) => Err(rule.expected.into()),
            None => Ok(()),
        }
    }

    fn single<T: Single>(&self) -> Read<T> {
        let text = self.trimmed();
        let shown = if T::FORM == Form::Secret { "…" } else { text };
        let value = self.check(text).and_then(|()| T::parse(text));
        value.map_err(|expected| self.wrong(shown, expected))
    }

    /// All wrong items of a list; of hidden ones the first, as the others may be the rest of it.
    pub(super) fn list<T: Item>(&self) -> Read<Vec<T>> {
        let texts = list::items(self.text, T::GRAMMAR)
            .map_err(|error| vec![InputError::caused(self.name, &error, Some(error.hint()))])?;
        let mut items = Vec::new();
        let mut errors = Vec::new();
        for (index, item) in texts.iter().enumerate() {
            let added = if item.lost_quotes && T::GRAMMAR == Grammar::Secrets {
                Err(QUOTED.into())
            } else {
                let text = item.text.as_str();
                self.check(text).and_then(|()| T::add(text, &mut items))
            };
            match added {
                Ok(()) => {}
                Err(expected) if T::HIDDEN => {
                    return Err(vec![InputError::item(self.name, index + 1, expected)]);
                }
                Err(expected) => errors.extend(self.wrong(&item.text, expected)),
            }
        }
        if errors.is_empty() {
            Ok(items)
        } else {
            Err(errors)
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How a secret is written whose quotes would be lost.
const QUOTED: &str = "quotes around the whole item, since those inside it would be removed: \
                      `\"KEY={\"\"name\"\":\"\"value\"\"}\"`; `secret-envs` and `secret-files` take values as they are";

impl<T: Single + Default> Value for T {
    const FORM: Form = T::FORM;

    fn read(field: &Field<'_>) -> Read<Self> {
        field.single()
    }

    fn to_mask(text: &str) -> Vec<SecretString> {
        T::to_mask(text)
    }
}

impl<T: Single> Value for Option<T> {
    const FORM: Form = T::FORM;

    fn read(field: &Field<'_>) -> Read<Self> {
        field.single().map(Some)
    }

    fn to_mask(text: &str) -> Vec<SecretString> {
        T::to_mask(text)
    }
}

impl<T: Item> Value for Vec<T> {
    const FORM: Form = T::FORM;

    fn read(field: &Field<'_>) -> Read<Self> {
        field.list()
    }

    fn to_mask(text: &str) -> Vec<SecretString> {
        T::to_mask(text)
    }
}

impl Single for String {
    fn parse(text: &str) -> Result<Self, Expected> {
        if text.contains(['\n', '\r', '\0']) {
            return Err("text on one line".into());
        }
        Ok(text.to_owned())
    }
}

impl Single for PathBuf {
    fn parse(text: &str) -> Result<Self, Expected> {
        String::parse(text).map(Self::from)
    }
}

/// Text on any number of lines.
#[derive(Debug, Clone)]
pub(crate) struct Block(pub String);

impl Single for Block {
    const FORM: Form = Form::Block;

    fn parse(text: &str) -> Result<Self, Expected> {
        Ok(Self(text.to_owned()))
    }
}

impl Single for SecretString {
    const FORM: Form = Form::Secret;

    fn parse(text: &str) -> Result<Self, Expected> {
        Ok(Self::from(text))
    }
}

/// YAML 1.2 core schema booleans, which are all that GitHub's toolkit takes:
/// <https://github.com/actions/toolkit/blob/main/packages/core/src/core.ts> (`getBooleanInput`).
impl Single for bool {
    const FORM: Form = Form::Boolean;

    fn parse(text: &str) -> Result<Self, Expected> {
        match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err("`true` or `false`".into()),
        }
    }
}

/// A whole number within bounds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number<const LEAST: u32, const MOST: u32>(u32);

impl<const LEAST: u32, const MOST: u32> Number<LEAST, MOST> {
    pub(crate) fn new(number: u32) -> Option<Self> {
        (LEAST..=MOST).contains(&number).then_some(Self(number))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

impl<const LEAST: u32, const MOST: u32> Default for Number<LEAST, MOST> {
    fn default() -> Self {
        Self(LEAST)
    }
}

impl<const LEAST: u32, const MOST: u32> Single for Number<LEAST, MOST> {
    const FORM: Form = Form::Number;

    fn parse(text: &str) -> Result<Self, Expected> {
        let number = text.parse().ok().and_then(Self::new);
        number.ok_or_else(|| format!("a whole number from {LEAST} to {MOST}").into())
    }
}

/// One of a closed set, whose names are those of the variants.
pub(super) trait Choice: FromStr + VariantNames {
    /// More about a name that is not one of them.
    fn note(_text: &str) -> &'static str {
        ""
    }
}

impl<T: Choice> Single for T {
    const FORM: Form = Form::Choice(T::VARIANTS);

    fn parse(text: &str) -> Result<Self, Expected> {
        text.parse()
            .map_err(|_| one_of(T::VARIANTS) + T::note(text))
    }
}

pub(super) fn one_of(names: &[&str]) -> Expected {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("one of {}", names.join(", ")).into()
}

impl Item for String {
    const GRAMMAR: Grammar = Grammar::Commas;

    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        items.push(text.to_owned());
        Ok(())
    }
}

impl Value for Tags {
    const FORM: Form = Form::List(Grammar::Commas);

    fn read(field: &Field<'_>) -> Read<Self> {
        Self::parse(field.trimmed()).map_err(|errors| {
            let errors = errors.iter();
            let errors =
                errors.map(|error| InputError::caused(field.name, error, error.hint().as_deref()));
            errors.collect()
        })
    }
}

impl Value for Flavor {
    const FORM: Form = Form::List(Grammar::Lines);

    fn read(field: &Field<'_>) -> Read<Self> {
        Self::parse(field.trimmed())
            .map_err(|error| vec![InputError::caused(field.name, &error, None)])
    }
}

/// A rule holds for lines that go to buildx as they are, not for templates, which a line `auto` asks for. Lines are not
/// shown: one may be the rest of a value of several lines.
impl Value for Labels {
    const FORM: Form = Form::List(Grammar::Lines);

    fn read(field: &Field<'_>) -> Read<Self> {
        let labels = Self::parse(field.trimmed())
            .map_err(|error| vec![InputError::caused(field.name, &error, None)])?;
        let lines = match &labels {
            Self::Lines(lines) => lines.as_slice(),
            Self::Auto(_) => &[],
        };
        for (index, line) in lines.iter().enumerate() {
            if let Err(expected) = field.check(line) {
                return Err(vec![InputError::item(field.name, index + 1, expected)]);
            }
        }
        Ok(labels)
    }
}
