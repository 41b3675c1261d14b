//! The plan as a person reads it in the log.

use std::borrow::Cow;
use std::fmt;

use super::{CachePlan, Plan};
use crate::process::shell_line;

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            builder, images, ..
        } = self;
        write!(
            formatter,
            "builder   {} ({})",
            builder.driver.name(),
            builder.name
        )?;
        for option in builder.shown_options() {
            write!(formatter, " {option}")?;
        }
        for image in images {
            row(formatter, "context", &[image.context.argument()])?;
            row(formatter, "tag", &image.tags)?;
            row(formatter, "label", &image.labels)?;
            row(formatter, "platform", &image.platforms)?;
            let secrets: Vec<String> = image
                .secrets
                .iter()
                .map(|secret| secret.id.clone())
                .collect();
            row(formatter, "secret", &secrets)?;
            row(formatter, "cache", &[cache(&image.cache)])?;
            row(formatter, "import", &texts(&image.cache_from))?;
            row(formatter, "export", &texts(&image.cache_to))?;
            row(formatter, "output", &texts(&image.outputs))?;
            let command = shell_line(image.argv.iter().map(Cow::from));
            row(formatter, "command", &[command])?;
            if !image.cache_argv.is_empty() {
                let command = shell_line(image.cache_argv.iter().map(Cow::from));
                row(formatter, "then", &[command])?;
            }
        }
        Ok(())
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// `registry (the builder's disk is new in every run)`.
fn cache(plan: &CachePlan) -> String {
    match plan.reason.as_str() {
        "" => plan.kind.name().to_owned(),
        reason => format!("{} ({reason})", plan.kind.name()),
    }
}

fn row(formatter: &mut fmt::Formatter<'_>, title: &str, values: &[String]) -> fmt::Result {
    for value in values {
        write!(formatter, "\n{title:<9} {value}")?;
    }
    Ok(())
}
