//! A build whose image the push engine pushes.
//!
//! Two calls of buildx: one builds and runs the step; the other pushes the image's configuration to the step, as soon as that
//! listens. The user's build looks as if it were alone, in the log and in the errors.

use std::path::Path;
use std::time::{Duration, Instant};

use image::Digest;
use jiff::Timestamp;
use protocol::{Event as StepEvent, Summary};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::bake::{self, Base, CONFIGURATION, Definition, IMAGE, PUSH};
use super::build::log_caches;
use super::cache::Caches;
use super::failure::Failure;
use super::final_lines::FinalLines;
use super::metadata::Metadata;
use super::progress::{Progress, one_line};
use super::rawjson::{Line, SolveStatus};
use super::silence::{self, Patience, Silence};
use super::targets::{Targets, without_target_in_text};
use super::{Build, BuildError, rawjson, redact};
use crate::plan::Fallback;
use crate::process::{Event, Input, ProcessError};
use crate::runner::private::write_private;

/// How long what the step says may be on its way.
const NEWS: Duration = Duration::from_secs(2);

/// What came of it, where the user's own build did not fail.
#[derive(Debug)]
pub(crate) enum Accelerated {
    /// The image is in its registries.
    Pushed {
        /// What buildx says about the user's build.
        metadata: Box<Metadata>,
        summary: Box<Summary>,
    },
    /// The image is built, but is not in all of its registries.
    NotPushed {
        reason: Reason,
        /// Whether it is in one of them, under its tags.
        is_published: bool,
    },
}

/// Why the push engine did not push.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct Reason {
    pub message: String,
    pub hint: Option<String>,
}

impl Reason {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }
}

impl From<Fallback> for Reason {
    fn from(fallback: Fallback) -> Self {
        Self::new(fallback.to_string())
    }
}

/// Where the configuration is to be pushed.
#[derive(Debug)]
struct Receiver {
    port: u16,
    /// Digest of the base image, where the step needs it.
    base: Option<Digest>,
}

/// What the two calls of buildx learn from each other.
#[derive(Debug)]
struct Signals {
    /// The step runs.
    begun: CancellationToken,
    /// The step has the configuration.
    taken: CancellationToken,
    /// Both calls are to end.
    stop: CancellationToken,
}

/// What the step has said.
#[derive(Debug, Default)]
struct Said {
    summary: Option<Summary>,
    failed: Option<Reason>,
    push_started: Option<Timestamp>,
    /// When the step last said something.
    heard: Option<Instant>,
    /// A registry that was silent for too long in the user's build.
    silence: Option<Silence>,
}

impl Build<'_> {
    /// Builds and pushes; `on_status` gets the progress of the user's build, `on_event` what the step does.
    ///
    /// # Errors
    /// When buildx can't be run, the user's build fails, the builder is lost, or the run is cancelled.
    pub(crate) async fn accelerate(
        &self,
        definition: &Definition<'_>,
        mut on_status: impl FnMut(&SolveStatus),
        mut on_event: impl FnMut(&StepEvent),
    ) -> Result<Accelerated, BuildError> {
        let files = definition.files;
        if let Err(reason) = write(&files.definition, &definition.push()) {
            return Ok(Accelerated::NotPushed {
                reason,
                is_published: false,
            });
        }
        let mut progress = Progress::default();
        let mut text = FinalLines::default();
        let mut targets = Targets::new(definition.nonce);
        let mut said = Said::default();
        let signals = Signals {
            begun: CancellationToken::new(),
            taken: CancellationToken::new(),
            stop: self.cancel.child_token(),
        };
        let (receivers, receiver) = mpsc::channel(1);
        let metadata = &self.image.files.metadata;
        let arguments = bake::arguments(
            &files.definition,
            PUSH,
            self.image,
            self.builder,
            Some(metadata),
        );
        let mut command = self.command(arguments);
        let warnings = ("BUILDX_METADATA_WARNINGS".to_owned(), "1".into());
        command.env.extend([warnings]);
        let (progress_of, text_of) = (&mut progress, &mut text);
        let (targets_of, said_of) = (&mut targets, &mut said);
        let signals_of = &signals;
        let build = async move {
            let _running = self.ongoing.one();
            // The stream, and with it the sender, ends before the other call is waited for.
            command
                .stream(&signals_of.stop, move |event| match event {
                    Event::Stderr(line) => match rawjson::parse(line) {
                        Line::Status(status) => {
                            let mut parts = targets_of.split(status);
                            if targets_of.has_step() {
                                signals_of.begun.cancel();
                            }
                            redact::status(&mut parts.image, self.redactor);
                            on_status(&parts.image);
                            progress_of.show(&parts.image, |line| tracing::info!("{line}"));
                            for line in &parts.lines {
                                let Some(event) = said_of.hear(line) else {
                                    continue;
                                };
                                if said_of.push_started.is_some() {
                                    signals_of.taken.cancel();
                                }
                                if let StepEvent::Listening { port } = event {
                                    match receiver_of(definition, targets_of, port) {
                                        // A second port would be no work of ours.
                                        Ok(receiver) => drop(receivers.try_send(receiver)),
                                        Err(reason) => {
                                            said_of.fail(reason);
                                            signals_of.stop.cancel();
                                        }
                                    }
                                }
                                on_event(&event);
                            }
                        }
                        Line::Text(line) if line.starts_with('{') => {}
                        Line::Text(line) => text_of.push(&without_target_in_text(&line)),
                    },
                    Event::Stdout(line) => {
                        tracing::info!("{}", one_line(&String::from_utf8_lossy(line)));
                    }
                    Event::Second => {
                        let now = Instant::now();
                        progress_of.tick(now, Timestamp::now(), |line| tracing::info!("{line}"));
                        if said_of.silence.is_none() {
                            let silent = progress_of.silent(now);
                            said_of.silence =
                                silence::find(progress_of.running(), silent, self.patience);
                            // The push engine's step is not part of this progress.
                            if !said_of.is_running() && said_of.silence.is_none() {
                                said_of.silence = silence::find_idle(
                                    progress_of.running(),
                                    silent,
                                    self.patience,
                                );
                            }
                            if said_of.silence.is_some() || said_of.is_silent(now, self.patience) {
                                signals_of.stop.cancel();
                            }
                        }
                    }
                })
                .await
        };
        let (ended, configured) = tokio::join!(
            build,
            self.push_configuration(definition, receiver, &signals)
        );
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        if let Some(silence) = said.silence.take() {
            return Err(BuildError::Silent {
                silence,
                pushing: None,
            });
        }
        let status = match ended {
            Err(ProcessError::Cancelled { .. }) => None,
            other => Some(other.map_err(BuildError::Process)?),
        };
        if let (Some(status), Some(summary)) = (status, said.summary.take())
            && status.success()
        {
            let mut metadata = match Metadata::read(&self.image.files) {
                Ok(metadata) => metadata,
                Err(error) => return Err(BuildError::Metadata(error)),
            };
            let of_image = metadata.json.remove(IMAGE);
            metadata.json = match of_image {
                Some(Value::Object(json)) => json,
                _ => serde_json::Map::new(),
            };
            metadata.caches = Caches::of(&progress);
            log_caches(&metadata.caches);
            metadata.push_started = said.push_started;
            return Ok(Accelerated::Pushed {
                metadata: Box::new(metadata),
                summary: Box::new(summary),
            });
        }
        let failure = Failure::new(&progress, text.as_slice(), self.redactor);
        if let Some(status) = status.filter(|status| !status.success())
            && (failure.step.is_some() || failure.is_disconnection())
        {
            return Err(BuildError::Failed {
                failure: Box::new(failure),
                status,
            });
        }
        let reason = said.failed.or(configured.err());
        Ok(Accelerated::NotPushed {
            reason: reason.unwrap_or_else(|| match fallback(&failure.message) {
                Some(fallback) => fallback.into(),
                None => Reason::new(failure.message),
            }),
            is_published: said.push_started.is_some(),
        })
    }

    /// Pushes the image's configuration to the step, once it says where it listens. If that can't be, the step's build is stopped.
    ///
    /// buildx takes about as long to look at the builder as BuildKit to start the step, so it does that when the step has `begun`, and
    /// waits for the definition then. The Engine asks for the manifest once more when it has pushed it. A step with little to do has ended
    /// by then, which is no failure if it has `taken` the configuration.
    async fn push_configuration(
        &self,
        definition: &Definition<'_>,
        mut receiver: mpsc::Receiver<Receiver>,
        Signals { begun, taken, stop }: &Signals,
    ) -> Result<(), Reason> {
        let over = stop.child_token();
        let (sender, input) = oneshot::channel();
        let give = async {
            // Without a receiver the build has ended.
            match receiver.recv().await {
                Some(Receiver { port, base }) => {
                    let definition = definition.push_configuration(port, base.as_ref());
                    // buildx may have failed already.
                    let _ = sender.send(definition.to_string().into_bytes());
                }
                None => over.cancel(),
            }
        };
        let push = async {
            tokio::select! {
                () = begun.cancelled() => {}
                () = over.cancelled() => return Ok(()),
            }
            let pushed = self.try_to_push_configuration(input, &over).await;
            if pushed.is_err() && tokio::time::timeout(NEWS, taken.cancelled()).await.is_ok() {
                return Ok(());
            }
            if pushed.is_err() {
                stop.cancel();
            }
            pushed
        };
        let ((), pushed) = tokio::join!(give, push);
        pushed
    }

    async fn try_to_push_configuration(
        &self,
        definition: Input,
        over: &CancellationToken,
    ) -> Result<(), Reason> {
        let arguments = bake::arguments(
            Path::new("-"),
            CONFIGURATION,
            self.image,
            self.builder,
            None,
        );
        let ongoing = self.ongoing.one();
        let command = self.command(arguments);
        let pushed = command.output_of(Some(definition), over).await;
        drop(ongoing);
        match pushed {
            // Whatever stopped it has its own words.
            Ok(_) | Err(ProcessError::Cancelled { .. }) => Ok(()),
            Err(ProcessError::Failed { stderr, .. }) => {
                let last = stderr
                    .lines()
                    .rev()
                    .find(|line| line.starts_with("ERROR: "));
                let words = last.map_or_else(String::new, without_target_in_text);
                let words = self.redactor.without_secrets(&words);
                Err(Reason::new(format!(
                    "BuildKit could not hand on the image's configuration: {words}"
                )))
            }
            Err(error) => Err(Reason::new(error.to_string())),
        }
    }
}

/// What the builder turned out to lack, from BuildKit's words (`checksum` of `cache/contenthash/checksum.go` and `Check` of
/// `util/entitlements/entitlements.go` in <https://github.com/moby/buildkit>).
fn fallback(message: &str) -> Option<Fallback> {
    if message.contains("network.host is not allowed") {
        return Some(Fallback::HostNetwork);
    }
    let (_, rest) = message.split_once("\"/fast-ecr-push-step-")?;
    let (architecture, _) = rest.split_once("\": not found")?;
    Some(Fallback::NoStepFor(architecture.to_owned()))
}

/// The registry that the step plays, if the image can be pushed.
fn receiver_of(
    definition: &Definition<'_>,
    targets: &Targets,
    port: u16,
) -> Result<Receiver, Reason> {
    if let Some(trigger) = targets.trigger() {
        return Err(Fallback::Trigger(trigger.to_owned()).into());
    }
    let base = match definition.base {
        Base::Configuration | Base::Scratch => None,
        Base::Image { digest, .. } => {
            let digest = targets.base().or(digest);
            let digest = digest.ok_or(Fallback::LocalBase)?;
            Some(digest.clone())
        }
    };
    Ok(Receiver { port, base })
}

impl Said {
    /// Whether the step has begun and not ended.
    fn is_running(&self) -> bool {
        self.heard.is_some() && self.summary.is_none()
    }

    /// Whether the step has begun, has not ended, and been silent for too long: it limits all that it waits for, and says each half second what it
    /// does, but for the comparison and the last requests.
    fn is_silent(&mut self, now: Instant, patience: Patience) -> bool {
        let (Some(heard), Some(limit), None) = (self.heard, patience.request, &self.summary) else {
            return false;
        };
        let is_silent = now.saturating_duration_since(heard) > limit;
        if is_silent {
            let seconds = limit.as_secs();
            self.fail(Reason::new(format!(
                "the build step has said nothing for {seconds} s"
            )));
        }
        is_silent
    }

    /// Takes in a line of the step; the event in it.
    fn hear(&mut self, line: &str) -> Option<StepEvent> {
        self.heard = Some(Instant::now());
        let event = match protocol::parse(line) {
            Ok(event) => event,
            Err(error) => {
                self.fail(Reason::new(error.to_string()));
                None
            }
        }?;
        match &event {
            StepEvent::Published(_) => {
                self.push_started = self.push_started.or(Some(Timestamp::now()));
            }
            StepEvent::Done(summary) => self.summary = Some(summary.clone()),
            StepEvent::Failed { message, hint } => self.fail(Reason {
                message: one_line(message),
                hint: hint.as_deref().map(one_line),
            }),
            _ => {}
        }
        Some(event)
    }

    /// The first reason counts.
    fn fail(&mut self, reason: Reason) {
        self.failed.get_or_insert(reason);
    }
}

fn write(path: &Path, definition: &Value) -> Result<(), Reason> {
    let written = write_private(path, definition.to_string().as_bytes());
    written.map_err(|error| Reason::new(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_has_done_its_work_may_be_silent() {
        let patience = Patience::of(Some(4));
        let begun = Instant::now();
        let mut said = Said::default();
        assert!(!said.is_silent(begun + Duration::from_secs(9), patience));
        said.heard = Some(begun);
        assert!(!said.is_silent(begun + Duration::from_secs(4), patience));
        assert!(said.is_running() && said.is_silent(begun + Duration::from_secs(5), patience));
        let digest = Digest::sha256([0; 32]);
        said.summary = Some(Summary {
            digest: digest.clone(),
            configuration: Some(digest),
            media_type: String::new(),
            size: 1,
            layers: Vec::new(),
            uploaded: 1,
            reused: 0,
            streams: 1,
            packages: None,
            milliseconds: 1,
        });
        assert!(!said.is_running() && !said.is_silent(begun + Duration::from_secs(5), patience));
    }

    #[test]
    fn what_the_builder_lacks_is_said_in_our_words() {
        let missing = "failed to compute cache key: failed to calculate checksum of ref a::b: \"/fast-ecr-push-step-arm64\": not found";
        let refused =
            "granting entitlement network.host is not allowed by build daemon configuration";
        let found = [missing, refused, "other"].map(fallback);
        assert_eq!(
            found,
            [
                Some(Fallback::NoStepFor("arm64".to_owned())),
                Some(Fallback::HostNetwork),
                None
            ]
        );
    }
}
