//! Reads inputs one by one, each as its kind in the table says, and keeps what is wrong.
//!
//! In: the texts. Out: values; an input that is wrong has its kind's empty value and an error.

use std::fmt;

use image::ImageRef;
use lists::attributes::{self, pair};
use lists::list;

use super::append::{self, AppendedNode};
use super::attest::Attest;
use super::grammar::{NAMESPACE, Rule, is_dns_label};
use super::output_spec::OutputSpec;
use super::registry_auth::{self, Login};
use super::secret::{self, Secret};
use super::spec::{self, Kind};
use super::{Call, Given, InputError, Inputs, grammar, platform};
use crate::metadata::Tags;
use crate::metadata::flavor::Flavor;
use crate::metadata::labels::Labels;

/// The inputs and what is wrong with them.
pub(super) struct Reader<'a> {
    given: &'a Given,
    errors: Vec<InputError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(given: &'a Given) -> Self {
        Self {
            given,
            errors: Vec::new(),
        }
    }

    /// The inputs, if nothing was wrong.
    pub(super) fn finish(self, inputs: Inputs) -> Result<Inputs, Vec<InputError>> {
        if self.errors.is_empty() {
            Ok(inputs)
        } else {
            Err(self.errors)
        }
    }

    pub(super) fn wrong(&mut self, input: &'static str, given: &str, expected: impl fmt::Display) {
        self.errors.push(InputError::new(input, given, expected));
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
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

    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let text = self.given.text(name)?;
        let value = boolean(text);
        if value.is_none() {
            self.wrong(name, text, "`true` or `false`");
        }
        value
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Option<i64> {
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

    pub(super) fn list(&mut self, name: &'static str) -> Vec<String> {
        let Some(text) = self.given.raw(name) else {
            return Vec::new();
        };
        let grammar = match spec::find(name).map(|spec| spec.kind) {
            Some(Kind::Lines) => list::Grammar::Lines,
            Some(Kind::QuotedLines) => list::Grammar::QuotedLines,
            Some(Kind::Secrets) => list::Grammar::Secrets,
            _ => list::Grammar::Commas,
        };
        list::parse(text, grammar).unwrap_or_else(|error| {
            let hidden = name.starts_with("secret");
            let shown = if hidden { "…" } else { text.trim() };
            self.wrong(name, shown, format!("a list ({error}; {})", error.hint()));
            Vec::new()
        })
    }

    /// One of the names that the table lists.
    pub(super) fn one_of(&mut self, name: &'static str) -> Option<&'static str> {
        let text = self.given.text(name)?;
        let Some(Kind::Choice(names)) = spec::find(name).map(|spec| spec.kind) else {
            return None;
        };
        let found = names.iter().find(|candidate| **candidate == text).copied();
        if found.is_none() {
            let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            self.wrong(name, text, format!("one of {}", known.join(", ")));
        }
        found
    }

    /// The value that stands where the name stands in the table's list.
    pub(super) fn choice<T: Copy + Default>(&mut self, name: &'static str, values: &[T]) -> T {
        let Some(Kind::Choice(names)) = spec::find(name).map(|spec| spec.kind) else {
            return T::default();
        };
        self.one_of(name)
            .and_then(|text| names.iter().position(|candidate| *candidate == text))
            .and_then(|index| values.get(index).copied())
            .unwrap_or_default()
    }

    /// Text that keeps a rule.
    pub(super) fn item(&mut self, name: &'static str, rule: Rule) -> Option<String> {
        self.checked(name, rule.expected, rule.holds)
    }

    /// A list whose items keep a rule.
    pub(super) fn items(&mut self, name: &'static str, rule: Rule) -> Vec<String> {
        let mut items = self.list(name);
        items.retain(|item| {
            let holds = (rule.holds)(item);
            if !holds {
                self.errors.push(InputError::new(name, item, rule.expected));
            }
            holds
        });
        items
    }

    pub(super) fn cluster(&mut self, name: &'static str) -> Option<String> {
        self.checked(name, "a cluster's name", is_cluster)
    }

    /// A name that Kubernetes objects can have, with room for what is put around it.
    pub(super) fn builder(&mut self, name: &'static str) -> Option<String> {
        let expected = "at most 40 characters: letters in lower case, digits and `-`";
        self.checked(name, expected, |name| {
            is_dns_label(name) && name.len() <= 40
        })
    }

    pub(super) fn namespace(&mut self, name: &'static str) -> Option<String> {
        self.checked(name, NAMESPACE, is_dns_label)
    }

    pub(super) fn build_contexts(&mut self) -> Vec<(String, String)> {
        let items = self.items("build-contexts", grammar::NAMED_CONTEXT);
        items.iter().filter_map(|item| pair(item)).collect()
    }

    /// `default` or an id, with the paths of a socket or of keys; each id once.
    pub(super) fn ssh(&mut self) -> Vec<String> {
        let items = self.list("ssh");
        let mut ids = Vec::new();
        for item in &items {
            let id = item.split('=').next().filter(|id| !id.is_empty());
            let id = id.unwrap_or("default");
            if ids.contains(&id) {
                self.errors.push(InputError::new(
                    "ssh",
                    item,
                    format!("`default` or an id, each once, but `{id}` stands here twice"),
                ));
            }
            ids.push(id);
        }
        items
    }

    pub(super) fn secrets(&mut self) -> Vec<Secret> {
        let items = self.list("secrets");
        self.keep(secret::secrets(items))
    }

    /// A host, also as people write it: with a scheme, or a slash behind it.
    pub(super) fn registry(&mut self) -> Option<String> {
        let text = self.text("registry")?;
        let host = registry_auth::lone_host(&text).filter(|host| {
            let name = format!("{host}/a").parse::<ImageRef>();
            name.is_ok_and(|name| name.host == *host)
        });
        if host.is_none() {
            let expected = "a registry's host, as `ghcr.io` or `localhost:5000`; a path belongs to `repository`";
            self.wrong("registry", &text, expected);
        }
        host
    }

    pub(super) fn registry_auth(&mut self) -> Vec<Login> {
        match self.given.text("registry-auth") {
            Some(text) => self.keep(registry_auth::parse(text)),
            None => Vec::new(),
        }
    }

    pub(super) fn named_secrets(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Vec<(String, String)> {
        let items = self.list(name);
        self.keep(secret::named(name, items, expected))
    }

    fn keep<T: Default>(&mut self, read: Result<T, InputError>) -> T {
        read.unwrap_or_else(|error| {
            self.errors.push(error);
            T::default()
        })
    }

    pub(super) fn call(&mut self) -> Option<Call> {
        let text = self.text("call")?;
        Call::parse(&text).unwrap_or_else(|expected| {
            self.wrong("call", &text, expected);
            None
        })
    }

    /// A boolean, or attributes.
    pub(super) fn attestation(&mut self, name: &'static str) -> Option<Attest> {
        let text = self.text(name)?;
        let attest = match boolean(&text) {
            Some(true) => Attest::parse(&format!("type={name}")),
            Some(false) => Attest::of(name, "disabled=true"),
            None => Attest::of(name, &text),
        };
        if attest.is_none() {
            self.wrong(name, &text, "a boolean, or attributes as `name=value,…`");
        }
        attest
    }

    pub(super) fn attests(&mut self) -> Vec<Attest> {
        let mut attests = Vec::new();
        for text in self.list("attests") {
            match Attest::parse(&text) {
                Some(attest) => attests.push(attest),
                None => self.wrong("attests", &text, Attest::EXPECTED),
            }
        }
        attests
    }

    pub(super) fn tags(&mut self) -> Tags {
        Tags::parse(self.given.text("tags").unwrap_or_default()).unwrap_or_else(|errors| {
            let errors = errors.iter();
            self.errors
                .extend(errors.map(|error| InputError::caused("tags", error, error.hint())));
            Tags::default()
        })
    }

    pub(super) fn flavor(&mut self) -> Flavor {
        Flavor::parse(self.given.text("flavor").unwrap_or_default()).unwrap_or_else(|error| {
            self.errors.push(InputError::caused("flavor", &error, None));
            Flavor::default()
        })
    }

    /// Lines as buildx takes them, unless a line `auto` asks for those of the labels.
    pub(super) fn annotations(&mut self) -> Labels {
        let before = self.errors.len();
        let annotations = self.labels("annotations");
        if matches!(annotations, Labels::Lines(_)) && self.errors.len() == before {
            self.items("annotations", grammar::ANNOTATION);
        }
        annotations
    }

    pub(super) fn labels(&mut self, name: &'static str) -> Labels {
        Labels::parse(self.given.text(name).unwrap_or_default()).unwrap_or_else(|error| {
            self.errors.push(InputError::caused(name, &error, None));
            Labels::default()
        })
    }

    pub(super) fn platforms(&mut self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for text in self.list("platforms") {
            match platform::usual_name(&text) {
                Some(name) if names.contains(&name) => {}
                Some(name) => names.push(name),
                None => self.wrong("platforms", &text, platform::EXPECTED),
            }
        }
        names
    }

    pub(super) fn outputs(&mut self) -> Vec<OutputSpec> {
        let mut specs = Vec::new();
        for text in self.list("outputs") {
            match OutputSpec::parse(&text) {
                Ok(spec) => specs.push(spec),
                Err(expected) => self.wrong("outputs", &text, expected),
            }
        }
        specs
    }

    pub(super) fn driver_opts(&mut self) -> Vec<(String, String)> {
        let mut options = Vec::new();
        for text in self.list("driver-opts") {
            match attributes::driver_options(&text) {
                Ok(given) => options.extend(given),
                Err(expected) => self.wrong("driver-opts", &text, expected),
            }
        }
        options
    }

    pub(super) fn append(&mut self) -> Vec<AppendedNode> {
        let text = self.given.text("append").unwrap_or("[]");
        append::parse(text).unwrap_or_else(|(given, expected)| {
            self.wrong("append", &given, expected);
            Vec::new()
        })
    }
}

/// YAML 1.2 core schema booleans, which are all that GitHub's toolkit takes:
/// <https://github.com/actions/toolkit/blob/main/packages/core/src/core.ts> (`getBooleanInput`).
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html>
fn is_cluster(text: &str) -> bool {
    text.len() <= 100
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
