//! A build whose image the push engine pushes.
//!
//! Two calls of buildx: one builds and runs the step; the other pushes the image's configuration to the step, as soon as that
//! listens. For several platforms the first builds and runs the steps of all, and each step has a second call of its own. The user's build
//! looks as if it were alone, in the log and in the errors.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use image::Digest;
use jiff::Timestamp;
use protocol::{Event as StepEvent, Summary};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::bake::{self, Base, CONFIGURATION, Definition, IMAGE, PUSH, Part, target};
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

/// The name of the provenance in buildx's metadata
/// (<https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file>).
const PROVENANCE: &str = "buildx.build.provenance";

/// How long a step may pack and send nothing, while it says so: longer than a registry keeps it waiting, six tries that take up to three
/// minutes each.
const STANDSTILL: Duration = Duration::from_secs(30 * 60);

/// How long what the step says may be on its way.
const NEWS: Duration = Duration::from_secs(2);

/// What came of it, where the user's own build did not fail.
#[derive(Debug)]
pub(crate) enum Accelerated {
    /// The image is in its registries; if it is one of several platforms, without tags.
    Pushed {
        /// What buildx says about the user's build.
        metadata: Box<Metadata>,
        /// What each step did.
        summaries: Vec<Summary>,
    },
    /// The image is built.
    NotPushed(NotPushed),
}

/// An image is not in all of its registries.
#[derive(Debug)]
pub(crate) struct NotPushed {
    pub reason: Reason,
    /// Whether it is in one of them, under its tags.
    pub is_published: bool,
}

impl From<Reason> for NotPushed {
    /// Before anything was pushed.
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            is_published: false,
        }
    }
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

/// What the two calls of buildx that a part needs learn from each other.
#[derive(Debug, Clone)]
struct Signals {
    /// The step runs.
    begun: CancellationToken,
    /// The step has the configuration.
    taken: CancellationToken,
    /// All calls are to end.
    stop: CancellationToken,
}

/// A step that runs, or will.
#[derive(Debug)]
struct Step {
    said: Said,
    signals: Signals,
    /// To the call that pushes the configuration.
    receivers: mpsc::Sender<Receiver>,
}

/// What a step has said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub summary: Option<Summary>,
    pub failed: Option<Reason>,
    /// Since when the manifest is in a registry.
    published: Option<Timestamp>,
    /// Whether it has tags there.
    pub has_tags: bool,
    /// When the step last said something.
    heard: Option<Instant>,
    /// When it last had packed or sent more, or told of anything else than its progress.
    moved: Option<Instant>,
    /// Bytes that it has packed and sent.
    moved_bytes: (u64, u64),
}

impl Build<'_> {
    /// Builds and pushes; `on_status` gets the progress of the user's build, `on_event` what the step of a part does.
    ///
    /// # Errors
    /// When buildx can't be run, the user's build fails, the builder is lost, or the run is cancelled.
    pub(crate) async fn accelerate(
        &self,
        definition: &Definition<'_>,
        mut on_status: impl FnMut(&SolveStatus),
        mut on_event: impl FnMut(usize, &StepEvent),
    ) -> Result<Accelerated, BuildError> {
        let files = definition.files;
        if let Err(reason) = write(&files.definition, &definition.push()) {
            return Ok(Accelerated::NotPushed(reason.into()));
        }
        let mut progress = Progress::default();
        let mut text = FinalLines::default();
        let mut targets = Targets::of(definition);
        let mut silence: Option<Silence> = None;
        let stop = self.cancel.child_token();
        let (mut steps, waiting): (Vec<_>, Vec<_>) = definition
            .parts
            .iter()
            .map(|part| {
                let (step, receiver) = Step::new(&stop);
                let configuration = Waiting {
                    part,
                    receiver,
                    signals: step.signals.clone(),
                };
                (step, configuration)
            })
            .unzip();
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
        let (targets_of, silence_of) = (&mut targets, &mut silence);
        let stop_of = &stop;
        let build = async move {
            let _running = self.ongoing.one();
            let ended = command
                .stream(stop_of, |event| match event {
                    Event::Stderr(line) => match rawjson::parse(line) {
                        Line::Status(status) => {
                            let mut parts = targets_of.split(status);
                            for (place, step) in steps.iter().enumerate() {
                                if targets_of.has_step(place) {
                                    step.signals.begun.cancel();
                                }
                            }
                            redact::status(&mut parts.image, self.redactor);
                            on_status(&parts.image);
                            progress_of.show(&parts.image, |line| tracing::info!("{line}"));
                            for (place, line) in &parts.lines {
                                let (Some(step), Some(part)) =
                                    (steps.get_mut(*place), definition.parts.get(*place))
                                else {
                                    continue;
                                };
                                let Some(event) = step.said.hear(line) else {
                                    continue;
                                };
                                let base = targets_of.base(*place);
                                step.follow(&event, part, base, targets_of.trigger(*place));
                                on_event(*place, &event);
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
                        if silence_of.is_none() {
                            let silent = progress_of.silent(now);
                            *silence_of =
                                silence::find(progress_of.running(), silent, self.patience);
                            // The push engine's steps are not part of this progress.
                            let any_runs = steps.iter().any(|step| step.said.is_running());
                            if !any_runs && silence_of.is_none() {
                                *silence_of = silence::find_idle(
                                    progress_of.running(),
                                    silent,
                                    self.patience,
                                );
                            }
                            let mut said = steps.iter_mut().map(|step| &mut step.said);
                            if silence_of.is_some()
                                || said.any(|said| said.is_stuck(now, self.patience))
                            {
                                stop_of.cancel();
                            }
                        }
                    }
                })
                .await;
            // With the senders end the other calls that still wait for their step.
            let said: Vec<Said> = steps.into_iter().map(|step| step.said).collect();
            (ended, said)
        };
        let configure = waiting
            .into_iter()
            .map(|waiting| self.push_configuration(definition, waiting));
        let ((ended, said), configured) = tokio::join!(build, join_all(configure));
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        if let Some(silence) = silence {
            return Err(BuildError::Silent {
                silence,
                pushing: None,
            });
        }
        let status = match ended {
            Err(ProcessError::Cancelled { .. }) => None,
            other => Some(other.map_err(BuildError::Process)?),
        };
        let summaries: Option<Vec<Summary>> =
            said.iter().map(|said| said.summary.clone()).collect();
        if let (Some(status), Some(summaries)) = (status, summaries)
            && status.success()
        {
            let mut metadata = match Metadata::read(&self.image.files) {
                Ok(metadata) => metadata,
                Err(error) => return Err(BuildError::Metadata(error)),
            };
            metadata.json = of_image(metadata.json, &definition.parts);
            metadata.caches = Caches::of(&progress);
            log_caches(&metadata.caches);
            metadata.push_started = said.iter().find_map(|said| said.published);
            return Ok(Accelerated::Pushed {
                metadata: Box::new(metadata),
                summaries,
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
        let is_published = said.iter().any(|said| said.has_tags);
        let mut failed = said.into_iter().filter_map(|said| said.failed);
        let mut unconfigured = configured.into_iter().filter_map(Result::err);
        let reason = failed.next().or_else(|| unconfigured.next());
        Ok(Accelerated::NotPushed(NotPushed {
            reason: reason.unwrap_or_else(|| reason_of(failure)),
            is_published,
        }))
    }

    /// Pushes the configuration of a part to its step, once that says where it listens. If that can't be, all is stopped.
    ///
    /// buildx takes about as long to look at the builder as BuildKit to start the step, so it does that when the step has `begun`, and
    /// waits for the definition then. The Engine asks for the manifest once more when it has pushed it. A step with little to do has ended
    /// by then, which is no failure if it has `taken` the configuration.
    async fn push_configuration(
        &self,
        definition: &Definition<'_>,
        Waiting {
            part,
            mut receiver,
            signals: Signals { begun, taken, stop },
        }: Waiting<'_>,
    ) -> Result<(), Reason> {
        let over = stop.child_token();
        let (sender, input) = oneshot::channel();
        let give = async {
            // Without a receiver the build has ended.
            match receiver.recv().await {
                Some(Receiver { port, base }) => {
                    let definition = definition.push_configuration(part, port, base.as_ref());
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

/// Why a step failed that said nothing.
pub(super) fn reason_of(failure: Failure) -> Reason {
    match fallback(&failure.message) {
        Some(fallback) => fallback.into(),
        None => Reason::new(failure.message),
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

/// A part whose configuration is to be pushed.
struct Waiting<'a> {
    part: &'a Part<'a>,
    receiver: mpsc::Receiver<Receiver>,
    signals: Signals,
}

/// What buildx says of the user's build. For several platforms that is what it says of the first, with the provenance of each under the
/// name that it has where they are one target.
fn of_image(mut json: Map<String, Value>, parts: &[Part<'_>]) -> Map<String, Value> {
    let mut all = Map::new();
    for part in parts {
        let Some(Value::Object(of_part)) = json.remove(&target(IMAGE, part.place)) else {
            continue;
        };
        for (name, value) in of_part {
            let platform = part.platform.filter(|_| part.place.is_some());
            let name = match platform.filter(|_| name == PROVENANCE) {
                Some(platform) => format!("{name}/{platform}"),
                None => name,
            };
            all.entry(name).or_insert(value);
        }
    }
    all
}

impl Step {
    /// One that has not begun, and where to learn of the registry that it plays.
    fn new(stop: &CancellationToken) -> (Self, mpsc::Receiver<Receiver>) {
        let (receivers, receiver) = mpsc::channel(1);
        let step = Self {
            said: Said::default(),
            signals: Signals {
                begun: CancellationToken::new(),
                taken: CancellationToken::new(),
                stop: stop.clone(),
            },
            receivers,
        };
        (step, receiver)
    }

    /// Passes on what an event says to the call that pushes the configuration, or ends all.
    fn follow(
        &mut self,
        event: &StepEvent,
        part: &Part<'_>,
        base: Option<&Digest>,
        trigger: Option<&str>,
    ) {
        if self.said.published.is_some() {
            self.signals.taken.cancel();
        }
        if let StepEvent::Listening { port } = event {
            match receiver_of(part, *port, base, trigger) {
                // A second port would be no work of ours.
                Ok(receiver) => drop(self.receivers.try_send(receiver)),
                Err(reason) => {
                    self.said.fail(reason);
                    self.signals.stop.cancel();
                }
            }
        }
    }
}

/// The registry that a step plays, if the image can be pushed.
fn receiver_of(
    part: &Part<'_>,
    port: u16,
    base: Option<&Digest>,
    trigger: Option<&str>,
) -> Result<Receiver, Reason> {
    if let Some(trigger) = trigger {
        return Err(Fallback::Trigger(trigger.to_owned()).into());
    }
    let base = match part.base {
        Base::Configuration | Base::Scratch => None,
        Base::Image { digest, .. } => {
            let digest = base.or(digest);
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

    /// Whether the step has begun, has not ended, and been silent or at a standstill for too long: it limits all that it waits for, and says
    /// each half second what it does, but for the comparison and the last requests.
    pub(super) fn is_stuck(&mut self, now: Instant, patience: Patience) -> bool {
        let (Some(heard), Some(limit), None) = (self.heard, patience.request, &self.summary) else {
            return false;
        };
        let lasts = |since: Instant, limit| now.saturating_duration_since(since) > limit;
        let standstill = limit.max(STANDSTILL);
        let reason = if lasts(heard, limit) {
            Reason::new(format!(
                "the build step has said nothing for {} s",
                limit.as_secs()
            ))
        } else if self.moved.is_some_and(|moved| lasts(moved, standstill)) {
            Reason {
                message: format!(
                    "the build step has packed and sent nothing for {} s",
                    standstill.as_secs()
                ),
                hint: Some("look at the builder's memory and disk".to_owned()),
            }
        } else {
            return false;
        };
        self.fail(reason);
        true
    }

    /// Takes in a line of the step; the event in it.
    pub(super) fn hear(&mut self, line: &str) -> Option<StepEvent> {
        let now = Instant::now();
        self.heard = Some(now);
        let event = match protocol::parse(line) {
            Ok(event) => event,
            Err(error) => {
                self.fail(Reason::new(error.to_string()));
                None
            }
        }?;
        let has_moved = match event {
            StepEvent::Progress {
                packed, uploaded, ..
            } => {
                let bytes = (packed, uploaded);
                std::mem::replace(&mut self.moved_bytes, bytes) != bytes
            }
            _ => true,
        };
        if has_moved {
            self.moved = Some(now);
        }
        match &event {
            StepEvent::Published(published) => {
                self.published = self.published.or(Some(Timestamp::now()));
                self.has_tags |= !published.tags.is_empty();
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

pub(super) fn write(path: &Path, definition: &Value) -> Result<(), Reason> {
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
        assert!(!said.is_stuck(begun + Duration::from_secs(9), patience));
        said.heard = Some(begun);
        assert!(!said.is_stuck(begun + Duration::from_secs(4), patience));
        assert!(said.is_running() && said.is_stuck(begun + Duration::from_secs(5), patience));
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
        assert!(!said.is_running() && !said.is_stuck(begun + Duration::from_secs(5), patience));
    }

    #[test]
    fn a_step_that_neither_packs_nor_sends_is_stuck_whatever_it_says() {
        let progress = |packed, streams| {
            protocol::render(&StepEvent::Progress {
                packed,
                total: 9,
                uploaded: 1,
                streams,
            })
        };
        let patience = Patience::of(None);
        let mut said = Said::default();
        said.hear(&progress(1, 1));
        let moved = said.moved.unwrap();
        std::thread::sleep(Duration::from_millis(2));
        said.hear(&progress(1, 2));
        said.hear("no event");
        assert_eq!(said.moved, Some(moved));
        // It has just said so.
        let late = moved + STANDSTILL + Duration::from_secs(1);
        said.heard = Some(late);
        assert!(!said.is_stuck(late, Patience::of(Some(0))));
        assert!(!said.is_stuck(late, Patience::of(Some(4000))));
        assert!(said.is_stuck(late, patience));
        let failed = said.failed.take().unwrap();
        assert_eq!(
            failed.message,
            "the build step has packed and sent nothing for 1800 s"
        );

        said.hear(&progress(2, 2));
        assert!(said.moved > Some(moved));
        said.heard = Some(late);
        said.moved = Some(late - STANDSTILL);
        assert!(!said.is_stuck(late, patience));
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
