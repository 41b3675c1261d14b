//! The step that writes the index of an image for several platforms, whose images are in the registries by then.

use std::path::Path;
use std::time::Instant;

use protocol::{Event as StepEvent, Summary};

use super::accelerated::{NotPushed, Said, reason_of, write};
use super::bake::{self, Definition, PUSH};
use super::failure::Failure;
use super::final_lines::FinalLines;
use super::progress::{Progress, one_line};
use super::rawjson::{self, Line};
use super::targets::{Targets, without_target_in_text};
use super::{Build, Reason};
use crate::process::Event;

impl Build<'_> {
    /// Runs the step, with its job in this build context; `on_event` gets what it does.
    ///
    /// # Errors
    /// When a registry has no index, or is not known to have it.
    pub(crate) async fn write_index(
        &self,
        definition: &Definition<'_>,
        context: &Path,
        mut on_event: impl FnMut(&StepEvent),
    ) -> Result<Summary, NotPushed> {
        let file = &definition.files.definition;
        write(file, &definition.index(context))?;
        let mut targets = Targets::of_step(definition.nonce);
        let mut progress = Progress::default();
        let mut text = FinalLines::default();
        let mut said = Said::default();
        let stop = self.cancel.child_token();
        let command = self.command(bake::arguments(file, PUSH, self.image, self.builder, None));
        let running = self.ongoing.one();
        let ended = command.stream(&stop, |event| match event {
            Event::Stderr(line) => match rawjson::parse(line) {
                Line::Status(status) => {
                    let parts = targets.split(status);
                    progress.show(&parts.image, |_| {});
                    for (_, line) in &parts.lines {
                        if let Some(event) = said.hear(line) {
                            on_event(&event);
                        }
                    }
                }
                Line::Text(line) if line.starts_with('{') => {}
                Line::Text(line) => text.push(&without_target_in_text(&line)),
            },
            Event::Stdout(line) => tracing::debug!("{}", one_line(&String::from_utf8_lossy(line))),
            Event::Second => {
                if said.is_stuck(Instant::now(), self.patience) {
                    stop.cancel();
                }
            }
        });
        let ended = ended.await;
        drop(running);
        let is_published = said.has_tags;
        let reason = match (ended, said.summary, said.failed) {
            (Ok(status), Some(summary), _) if status.success() => return Ok(summary),
            (_, _, Some(reason)) => reason,
            (Ok(_), ..) => reason_of(Failure::new(&progress, text.as_slice(), self.redactor)),
            (Err(error), ..) => Reason::new(error.to_string()),
        };
        Err(NotPushed {
            reason,
            is_published,
        })
    }
}
