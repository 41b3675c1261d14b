//! The push engine, seen from here: whether it can push an image, what its build step is given, and what the step says.
//!
//! In: an image's [`EnginePlan`] and the run's logins. Out: [`Prepared`], with which buildx builds the image and runs the step, or the
//! [`Reason`] for which BuildKit pushes. [`Watch`] makes lines for the log, and times, of what the step says. How the engine works:
//! docs/push-engine.md.

mod context;
mod dockerfile;
mod metadata;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::buildx::bake::Definition;
use crate::buildx::{Reason, Tool};
use crate::credentials::Credentials;
use crate::plan::{EnginePlan, ImagePlan};
use crate::runner::env::Env;
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
    pub cancel: &'a CancellationToken,
}

/// Everything for the build with the step, written into the run's directory.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The Dockerfile's path, here or in a context that is elsewhere.
    dockerfile: String,
    configuration: String,
    arguments: BTreeMap<String, String>,
    nonce: String,
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
        let (configuration, mount_from) = dockerfile::configuration(self, &found.text, &arguments)?;
        let nonce = context::nonce()?;
        self.write_context(&configuration, mount_from.as_ref(), &nonce)?;
        Ok(Prepared {
            dockerfile: found.path,
            configuration: configuration.cfg,
            arguments,
            nonce,
        })
    }

    /// The build arguments with their values. One without a value has that of the variable of its name, if there is one.
    fn arguments(&self) -> BTreeMap<String, String> {
        let value = |name: &str| {
            let of_build = self.tool.env.get(name).and_then(|value| value.to_str());
            of_build.or_else(|| self.env.get(name)).map(str::to_owned)
        };
        let arguments = self.image.build_args.iter();
        arguments
            .filter_map(|argument| {
                let value = argument.value.clone().or_else(|| value(&argument.name));
                Some((argument.name.clone(), value?))
            })
            .collect()
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
            configuration: &self.configuration,
            step: &plan.step,
            files: &plan.files,
            nonce: &self.nonce,
        }
    }
}

fn unreadable(what: impl std::fmt::Display, path: &Path, error: &std::io::Error) -> Reason {
    Reason::new(format!(
        "could not read {what} `{}`: {error}",
        path.display()
    ))
}
