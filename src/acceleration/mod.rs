//! The push engine, seen from here: whether it can push an image, what its build step is given, and what the step says.
//!
//! In: an image's [`EnginePlan`] and the run's logins. Out: [`Prepared`], with which buildx builds the image and runs the step, or the
//! [`Reason`] for which BuildKit pushes. [`Watch`] makes lines for the log, and times, of what the step says. How the engine works:
//! docs/push-engine.md.

#[cfg(test)]
#[path = "../../tests/any_bytes/acceleration.rs"]
pub(crate) mod any_bytes;
mod context;
mod dockerfile;
mod engine_images;
mod in_image;
pub(crate) mod index;
mod metadata;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::dockerfile::Origin;
use image::{Digest, is_loopback};
use protocol::{Base, BaseImage, Summary};
use tokio_util::sync::CancellationToken;

use crate::buildx::bake::{self, Definition};
use crate::buildx::{Reason, Tool};
use crate::credentials::Credentials;
use crate::facts::Address;
use crate::plan::{EnginePlan, Fallback, ImagePlan};
use crate::runner::env::Env;
use dockerfile::Read;
pub(crate) use metadata::complete;
pub(crate) use watch::{Watch, speed};

/// What a push with the engine needs.
#[derive(Debug)]
pub(crate) struct Preparation<'a> {
    pub image: &'a ImagePlan,
    pub plan: &'a EnginePlan,
    pub builder: &'a str,
    pub tool: &'a Tool,
    pub credentials: &'a Credentials,
    pub env: &'a Env,
    /// How long the step may say nothing.
    pub silence_timeout: Option<Duration>,
    pub cancel: &'a CancellationToken,
}

/// Everything for the build with the step, written into the run's directory.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The Dockerfile's path, here or in a context that is elsewhere.
    dockerfile: String,
    arguments: BTreeMap<String, String>,
    nonce: String,
    parts: Vec<Part>,
}

/// What is pushed by a step: the image, or that of one of its platforms.
#[derive(Debug)]
struct Part {
    /// Among several.
    place: Option<usize>,
    platform: Option<String>,
    configuration: String,
    start: Start,
    /// The step's build context.
    context: PathBuf,
    runs_in_image: bool,
}

/// What the step compares the image with.
#[derive(Debug)]
enum Start {
    Configuration,
    Scratch,
    Image {
        dockerfile: String,
        digest: Option<Digest>,
    },
}

impl Preparation<'_> {
    /// Reads the Dockerfile and writes what the step is given.
    ///
    /// # Errors
    /// Why BuildKit has to push.
    pub(crate) async fn prepare(&self) -> Result<Prepared, Reason> {
        context::create_folders(&self.plan.files)?;
        let found = self.find_dockerfile().await?;
        let arguments = self.arguments();
        let nonce = context::nonce()?;
        let mut parts = Vec::new();
        for (place, part) in self.plan.places() {
            let read = dockerfile::read(self, &found.text, &arguments, part)?;
            let (start, base) = self.start(&read).await?;
            let context = self.write_context((place, part), &read, base, &nonce)?;
            parts.push(Part {
                place,
                platform: part.platform.clone(),
                configuration: read.configuration.cfg,
                start,
                context,
                runs_in_image: read.runs_in_image,
            });
        }
        Ok(Prepared {
            dockerfile: found.path,
            arguments,
            nonce,
            parts,
        })
    }

    /// What the image is compared with, for buildx and for the step.
    async fn start(
        &self,
        Read {
            configuration,
            image,
            ..
        }: &Read,
    ) -> Result<(Start, Base), Reason> {
        if configuration.origin == Origin::Scratch {
            return Ok((Start::Scratch, Base::Scratch));
        }
        let Some(engine) = &self.plan.engine else {
            return Ok((Start::Configuration, Base::Configuration));
        };
        let (Some(image), Some(dockerfile)) = (image, &configuration.base) else {
            return Err(Fallback::NoBaseName.into());
        };
        let start = Start::Image {
            dockerfile: dockerfile.clone(),
            digest: engine_images::digest(image, engine).await,
        };
        let base = Base::Registry(BaseImage {
            registry: image.host.clone(),
            repository: image.repository.clone(),
            is_plain: is_loopback(&image.host),
            architecture: self.architecture(),
        });
        Ok((start, base))
    }

    /// That of the image, if it was asked for.
    fn architecture(&self) -> Option<String> {
        let platform = self.image.platforms.first()?;
        let mut parts = platform.split('/').skip(1);
        parts.next().map(str::to_owned)
    }

    /// Writes what the step is given that writes the index of these images; its build context.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn prepare_index(
        &self,
        prepared: &Prepared,
        images: &[Summary],
    ) -> Result<PathBuf, Reason> {
        self.write_index_context(&index::text(self.plan, images), images, &prepared.nonce)
    }

    /// Removes from the Engine what it needed for the push, and what runs left that were killed.
    pub(crate) async fn clean_up(&self, prepared: &Prepared) {
        if let Some(engine) = &self.plan.engine {
            engine_images::remove(&prepared.nonce, engine).await;
        }
    }

    /// The build arguments with their values. One without a value has that of the variable of its name, if there is one.
    fn arguments(&self) -> BTreeMap<String, String> {
        let value = |name: &str| {
            let of_build = self.tool.env.get(name).and_then(|value| value.to_str());
            of_build.or_else(|| self.env.get(name)).map(str::to_owned)
        };
        self.image.arguments(value)
    }
}

/// Removes from the Engine what a run with this folder has left there.
pub(crate) async fn clean_up_after(folder: &Path, env: &Env) {
    let Some(nonce) = context::left_nonce(folder) else {
        return;
    };
    if let Ok(engine) = Address::of(env) {
        engine_images::remove(&nonce, &engine).await;
    }
}

impl Prepared {
    /// The build with the step, for buildx.
    pub(crate) fn definition<'a>(
        &'a self,
        image: &'a ImagePlan,
        plan: &'a EnginePlan,
    ) -> Definition<'a> {
        Definition {
            image,
            dockerfile: &self.dockerfile,
            arguments: &self.arguments,
            step: &plan.step,
            files: &plan.files,
            nonce: &self.nonce,
            parts: self.parts.iter().map(Part::definition).collect(),
        }
    }
}

impl Part {
    fn definition(&self) -> bake::Part<'_> {
        bake::Part {
            place: self.place,
            platform: self.platform.as_deref(),
            configuration: &self.configuration,
            base: match &self.start {
                Start::Configuration => bake::Base::Configuration,
                Start::Scratch => bake::Base::Scratch,
                Start::Image { dockerfile, digest } => bake::Base::Image {
                    dockerfile,
                    digest: digest.as_ref(),
                },
            },
            context: &self.context,
            runs_in_image: self.runs_in_image,
        }
    }
}

fn unreadable(what: impl std::fmt::Display, path: &Path, error: &std::io::Error) -> Reason {
    Reason::new(format!(
        "could not read {what} `{}`: {error}",
        path.display()
    ))
}
