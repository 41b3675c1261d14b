//! The plan as the subcommand `plan` prints it: with the command lines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::buildx::command;
use crate::plan::{ImagePlan, Plan};

#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    images: Vec<Image<'a>>,
}

#[derive(Debug, Serialize)]
struct Image<'a> {
    /// buildx's command line, program first.
    argv: Vec<String>,
    /// The command line that exports the cache once the image is pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_argv: Option<Vec<String>>,
    /// What goes into the key by which an image of the same build is looked for, or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    #[serde(flatten)]
    image: &'a ImagePlan,
}

/// What goes into a key.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Key {
    Parts(BTreeMap<String, String>),
    Unknown(String),
}

impl<'a> Document<'a> {
    /// The plan, with the keys of its images.
    pub(super) fn new(plan: &'a Plan, keys: Vec<Option<Key>>) -> Self {
        let builder = &plan.builder.name;
        let command_line = |mut arguments: Vec<String>| {
            arguments.insert(0, plan.buildx.to_string_lossy().into_owned());
            arguments
        };
        let images = plan.images.iter().zip(keys).map(|(image, key)| Image {
            argv: command_line(command::build(image, builder)),
            cache_argv: command::export_cache(image, builder).map(command_line),
            key,
            image,
        });
        Self {
            plan,
            images: images.collect(),
        }
    }
}
