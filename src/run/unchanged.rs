//! `skip-unchanged`: an image of an earlier build of the same inputs is tagged, before a builder is started. If there is none, this
//! build leaves its key for later ones.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use image::Digest;
use jiff::Timestamp;

use super::document::Key;
use super::execution::{Execution, With};
use super::planner::Planner;
use super::{Run, stage};
use crate::buildx::Tool;
use crate::credentials::Credentials;
use crate::plan::{ImagePlan, Plan, Unchanged};
use crate::registry::preflight::Found;
use crate::report::Built;
use crate::run::error::Error;
use crate::runner::log::NOTICE;
use crate::runner::mounts::Mounts;
use crate::runner::workflow::WorkflowRun;
use crate::timings::{Phase, Recorder, Stage};
use crate::unchanged::{
    self, Answer, Build, Hit, Identity, Registries, identify, look_up, preview, write_key,
};

/// The time of files and layers (<https://reproducible-builds.org/docs/source-date-epoch/>).
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What is known of an image before it is built: what it is, if that can be told, and where it exists. The registries that were asked must
/// outlive it.
type Known = (Option<Identity>, Result<Box<Hit>, String>);

impl Execution<'_> {
    /// The registries to ask, if an image is looked for; or why none can be.
    pub(super) fn registries<'a>(
        &self,
        credentials: &'a Credentials,
    ) -> Option<Result<Registries<'a>, String>> {
        let is_ignored = |image: &ImagePlan| matches!(image.unchanged, Unchanged::Ignore);
        if self.plan.images.iter().any(is_ignored) {
            return None;
        }
        let isolated = Mounts::of(&self.run.env).is_some();
        Some(Registries::new(&self.facts.network, credentials, isolated))
    }

    /// Tags images of earlier builds of the same inputs, if they are wanted and all exist; whether it did.
    ///
    /// # Errors
    /// What logins or the preflight found, or that the run is cancelled. Everything else is a reason to build.
    pub(super) async fn take_unchanged(
        &mut self,
        credentials: &Credentials,
        registries: Option<&Result<Registries<'_>, String>>,
        tool: &Tool,
    ) -> Result<bool, Error> {
        let Some(registries) = registries else {
            return Ok(false);
        };
        let begin = Timestamp::now();
        self.identities.clear();
        let preflight = async {
            match self.found.clone() {
                Some(found) => Ok(found),
                None => Box::pin(self.run.preflight(&self.plan, self.session)).await,
            }
        };
        let look = async {
            let authorization = self.authorization.as_ref();
            let log_in = self
                .run
                .log_in(&self.plan, authorization, self.session, credentials);
            log_in.await?;
            let look = Box::pin(self.look(registries, tool));
            tokio::select! {
                known = look => Ok(known),
                () = self.run.cancel.cancelled() => Err(Error::Cancelled),
            }
        };
        let (found, known) = tokio::try_join!(preflight, look)?;
        self.logged_in = true;
        let taken: Vec<(String, String)> = Found::taken(&found)
            .map(|(name, digest)| (name, digest.to_owned()))
            .collect();
        self.found = Some(found);
        let mut hits = Vec::new();
        let mut reason = None;
        for (identity, hit) in known {
            self.identities.push(identity);
            match hit {
                Ok(hit) => hits.push(hit),
                Err(other) => {
                    reason.get_or_insert(other);
                }
            }
        }
        if reason.is_none() {
            reason = self.tag(&hits, &taken).await?.err();
        }
        self.record(&stage("look for an unchanged image", Phase::Setup, begin));
        if let Some(reason) = reason {
            tracing::info!("`skip-unchanged` builds: {reason}");
            return Ok(false);
        }
        for hit in hits {
            self.take(*hit);
        }
        Ok(true)
    }

    /// Asks for all images, one after the other.
    async fn look(&self, registries: &Result<Registries<'_>, String>, tool: &Tool) -> Vec<Known> {
        let mut known = Vec::new();
        for image in &self.plan.images {
            known.push(match registries {
                Ok(registries) => Box::pin(self.look_for(image, registries, tool)).await,
                Err(reason) => (None, Err(reason.clone())),
            });
        }
        known
    }

    async fn look_for(&self, image: &ImagePlan, registries: &Registries<'_>, tool: &Tool) -> Known {
        let (Unchanged::Look(look), Some(push)) = (&image.unchanged, &image.push) else {
            return (None, Err("the image is not pushed".to_owned()));
        };
        let arguments = self.arguments(image, tool);
        let build = Build {
            image,
            look,
            arguments: &arguments,
        };
        let github = self.planner.github(&self.run.env);
        let identity = match identify(&build, registries, github.as_ref()).await {
            Ok(identity) => identity,
            Err(reason) => return (None, Err(reason)),
        };
        let answer = look_up(&identity, look, push, registries, Timestamp::now()).await;
        let hit = match answer {
            Answer::Hit(hit) => Ok(hit),
            Answer::Miss(reason) => Err(reason),
        };
        (Some(identity), hit)
    }

    /// The build arguments with the values that buildx takes.
    fn arguments(&self, image: &ImagePlan, tool: &Tool) -> BTreeMap<String, String> {
        let mut arguments = image.arguments(|name| {
            let of_build = tool.env.get(name).and_then(|value| value.to_str());
            of_build
                .or_else(|| self.run.env.get(name))
                .map(str::to_owned)
        });
        // buildx passes it on by itself.
        if let Some(epoch) = self.run.env.get(EPOCH) {
            let argument = arguments.entry(EPOCH.to_owned());
            argument.or_insert_with(|| epoch.to_owned());
        }
        arguments
    }

    /// Puts the tags on all images; or why not.
    async fn tag(
        &self,
        hits: &[Box<Hit>],
        taken: &[(String, String)],
    ) -> Result<Result<(), String>, Error> {
        let images = self.plan.images.iter().zip(hits);
        let tagging = images.map(|(image, hit)| async move {
            match &image.unchanged {
                Unchanged::Look(look) => hit.tag(look, taken).await,
                Unchanged::Ignore => Ok(()),
            }
        });
        tokio::select! {
            tagged = Box::pin(join_all(tagging)) => Ok(tagged.into_iter().collect()),
            () = self.run.cancel.cancelled() => Err(Error::Cancelled),
        }
    }

    /// Has the image as the run's result.
    fn take(&mut self, hit: Hit) {
        let Hit {
            mark,
            metadata,
            image,
            ..
        } = hit;
        let mut by = String::new();
        if let Some(run) = &mark.run {
            by.push_str(&format!(" by {run}"));
        }
        if let Some(commit) = &mark.commit {
            by.push_str(&format!(" from {commit}"));
        }
        tracing::info!(
            target: NOTICE,
            "nothing was built (`skip-unchanged`): `{}` is the image of the same inputs, built{by} on {}",
            image.reference,
            mark.built.strftime("%F %R UTC")
        );
        self.built.push(Built {
            metadata,
            image: Some(image),
            existed: true,
            unchanged: Some(mark),
            engine: None,
        });
        self.image_recorders.push(self.recorder.clone());
    }

    /// Leaves the key of an image that was just built, if it has one, and how long that took. What goes wrong is a line in the log.
    pub(super) async fn leave_key(
        &self,
        place: usize,
        image: &ImagePlan,
        digest: Option<&Digest>,
        with: &With<'_>,
        recorder: &Recorder,
    ) -> Option<Stage> {
        let identity = self.identities.get(place)?.as_ref()?;
        let (Unchanged::Look(look), Some(push)) = (&image.unchanged, &image.push) else {
            return None;
        };
        let (registries, digest) = (with.registries?, digest?);
        let begin = Timestamp::now();
        let workflow = WorkflowRun::from_env(&self.run.env);
        let built = unchanged::Built {
            digest: digest.clone(),
            run: workflow.as_ref().and_then(WorkflowRun::run_url),
            commit: workflow.and_then(|run| run.sha),
            at: begin,
            seconds: begin.duration_since(self.run.started).as_secs_f64(),
        };
        let built_from = |digest: &str| recorder.has_vertex(digest);
        let write = write_key(identity, look, push, built, registries, &built_from);
        let written = tokio::select! {
            written = Box::pin(write) => written,
            () = self.run.cancel.cancelled() => return None,
        };
        if let Err(reason) = written {
            tracing::info!("later runs can't skip this build: {reason}");
        }
        Some(stage("write the key", Phase::Setup, begin))
    }
}

impl Run {
    /// What goes into the keys of a plan's images.
    pub(super) async fn preview_keys(
        &self,
        plan: &Plan,
        planner: &Planner<'_>,
    ) -> Vec<Option<Key>> {
        let github = planner.github(&self.env);
        let mut keys = Vec::new();
        for image in &plan.images {
            keys.push(match &image.unchanged {
                Unchanged::Ignore => None,
                Unchanged::Look(look) => {
                    let arguments = image.arguments(|name| self.env.get(name).map(str::to_owned));
                    let build = Build {
                        image,
                        look,
                        arguments: &arguments,
                    };
                    let parts = preview(&build, github.as_ref()).await;
                    Some(parts.map_or_else(Key::Unknown, Key::Parts))
                }
            });
        }
        keys
    }
}
