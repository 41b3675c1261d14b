//! The plan as the subcommand `plan` prints it: with the command lines.

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
    #[serde(flatten)]
    image: &'a ImagePlan,
}

impl<'a> Document<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let builder = &plan.builder.name;
        let command_line = |mut arguments: Vec<String>| {
            arguments.insert(0, plan.buildx.to_string_lossy().into_owned());
            arguments
        };
        let images = plan.images.iter().map(|image| Image {
            argv: command_line(command::build(image, builder)),
            cache_argv: command::export_cache(image, builder).map(command_line),
            image,
        });
        Self {
            plan,
            images: images.collect(),
        }
    }
}
