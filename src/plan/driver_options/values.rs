//! The types of driver options: what each accepts, and how it is read.

use std::collections::BTreeMap;

use image::ImageRef;
use lists::attributes;
use serde::Serialize;

use super::quantity;
use crate::inputs::Number;
use crate::inputs::grammar::{Rule, SHM_SIZE};

/// The value of an option; its default is that of an option that is not set.
pub(super) trait Value: Default {
    /// What is accepted, for people.
    const VALUES: &'static str;

    fn parse(text: &str) -> Option<Self>;
}

impl Value for bool {
    const VALUES: &'static str = "`true` or `false`";

    fn parse(text: &str) -> Option<Self> {
        attributes::boolean(text)
    }
}

impl Value for String {
    const VALUES: &'static str = "text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// An empty text is none.
impl Value for Option<String> {
    const VALUES: &'static str = String::VALUES;

    fn parse(text: &str) -> Option<Self> {
        Some(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }
}

impl Value for Number<1, 100> {
    const VALUES: &'static str = "a number from 1 to 100";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().and_then(Self::new)
    }
}

/// Whole seconds of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub u64);

impl Value for Option<Seconds> {
    const VALUES: &'static str = "a duration, as `10m` or `90s`";

    fn parse(text: &str) -> Option<Self> {
        quantity::seconds(text).map(|seconds| Some(Seconds(seconds)))
    }
}

/// Names with values.
#[derive(Debug, Default)]
pub(crate) struct Pairs(pub BTreeMap<String, String>);

/// `name=value,name=value`. A part without `=` belongs to the value before it.
impl Value for Pairs {
    const VALUES: &'static str = "`name=value`, several of them with commas between";

    fn parse(text: &str) -> Option<Self> {
        let mut pairs = BTreeMap::new();
        let mut last: Option<String> = None;
        for part in text.trim_matches('"').split(',') {
            match (part.split_once('='), &last) {
                (Some((name, value)), _) if !name.trim().is_empty() => {
                    let name = name.trim().to_owned();
                    pairs.insert(name.clone(), value.trim().to_owned());
                    last = Some(name);
                }
                (None, Some(name)) => {
                    if let Some(value) = pairs.get_mut(name) {
                        value.push(',');
                        value.push_str(part);
                    }
                }
                _ => return None,
            }
        }
        Some(Self(pairs))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Annotations(pub BTreeMap<String, String>);

impl Value for Annotations {
    const VALUES: &'static str = "`name=value`, several of them with commas between, but no `buildx.docker.com/platform`, which \
                                  buildx keeps for itself";

    fn parse(text: &str) -> Option<Self> {
        let pairs = Pairs::parse(text)?.0;
        (!pairs.contains_key("buildx.docker.com/platform")).then_some(Self(pairs))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Labels(pub BTreeMap<String, String>);

impl Value for Labels {
    const VALUES: &'static str = "`name=value`, several of them with commas between, the values at most 63 letters, digits, `-`, \
                                  `_` and `.`, but no `app`, which buildx keeps for itself";

    fn parse(text: &str) -> Option<Self> {
        let pairs = Pairs::parse(text)?.0;
        let fit = !pairs.contains_key("app") && pairs.values().all(|value| is_label(value));
        fit.then_some(Self(pairs))
    }
}

fn is_label(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && edge(bytes.first())
        && edge(bytes.last())
}

/// A taint that pods put up with, as the pod's specification writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Toleration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Tolerations(pub Vec<Toleration>);

impl Value for Tolerations {
    const VALUES: &'static str =
        "`key=…,operator=…,value=…,effect=…,tolerationSeconds=…`, several of them with `;` between";

    fn parse(text: &str) -> Option<Self> {
        let parts = text.trim_matches('"').split(';');
        let parts = parts.filter(|part| !part.trim().is_empty());
        parts.map(toleration).collect::<Option<_>>().map(Self)
    }
}

fn toleration(text: &str) -> Option<Toleration> {
    let mut toleration = Toleration::default();
    for (name, value) in Pairs::parse(text)?.0 {
        match (name.as_str(), value.as_str()) {
            ("key", _) => toleration.key = Some(value),
            ("operator", "Exists" | "Equal") => toleration.operator = Some(value),
            ("value", _) => toleration.value = Some(value),
            ("effect", "NoSchedule" | "PreferNoSchedule" | "NoExecute") => {
                toleration.effect = Some(value);
            }
            ("tolerationSeconds", _) => {
                toleration.toleration_seconds = Some(value.parse().ok()?);
            }
            _ => return None,
        }
    }
    Some(toleration)
}

pub(super) const IMAGE: Rule = Rule {
    holds: |text| text.is_empty() || text.parse::<ImageRef>().is_ok(),
    expected: "the reference of an image, as `moby/buildkit:buildx-stable-1`",
};

pub(super) const QUANTITY: Rule = Rule {
    holds: |text| quantity::amount(text).is_some(),
    expected: "a quantity of Kubernetes, as `2`, `500m` or `7Gi`",
};

pub(super) const WHOLE: Rule = Rule {
    holds: |text| text.parse::<i64>().is_ok(),
    expected: "a whole number",
};

pub(super) const SWAP: Rule = Rule {
    holds: |text| text == "-1" || (SHM_SIZE.holds)(text),
    expected: "a number of bytes, or one with a unit, as `2g` or `512m`; `-1` for no limit",
};

/// As `docker run --restart` takes it.
pub(super) const RESTART: Rule = Rule {
    holds: |text| match text.split_once(':') {
        Some(("on-failure", times)) => times.parse::<u32>().is_ok(),
        _ => matches!(text, "no" | "always" | "unless-stopped" | "on-failure"),
    },
    expected: "`no`, `always`, `unless-stopped`, `on-failure` or `on-failure:TIMES`",
};

pub(super) const BALANCE: Rule = Rule {
    holds: |text| matches!(text, "sticky" | "random"),
    expected: "`sticky` or `random`",
};
