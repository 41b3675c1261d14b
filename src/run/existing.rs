//! `if-exists: skip`: images that exist already are taken as they are, before a builder is started.

use jiff::Timestamp;

use super::execution::Execution;
use super::stage;
use crate::plan::IfExists;
use crate::registry::preflight;
use crate::report::Built;
use crate::run::error::Error;
use crate::runner::log;
use crate::timings::Phase;

impl Execution<'_> {
    /// Takes the existing images, if they are wanted and all exist; whether it did.
    ///
    /// # Errors
    /// What the preflight found, or that the run is cancelled.
    pub(super) async fn take_existing(&mut self) -> Result<bool, Error> {
        if self.plan.if_exists != IfExists::Skip || self.found.is_some() {
            return Ok(false);
        }
        let repositories = self.plan.ecr_repositories();
        if repositories.is_empty() {
            return Ok(false);
        }
        let begin = Timestamp::now();
        let found = self.run.preflight(&self.plan, self.session).await?;
        let mut images = Vec::new();
        for image in &self.plan.images {
            let existing = preflight::existing(image, &repositories, &found, self.session);
            images.push(tokio::select! {
                found = Box::pin(existing) => found,
                () = self.run.cancel.cancelled() => return Err(Error::Cancelled),
            });
        }
        self.record(&stage("preflight", Phase::Setup, begin));
        self.found = Some(found);
        let Some(images) = images.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        for (metadata, image) in images {
            tracing::info!(
                target: log::NOTICE,
                "nothing was built (`if-exists: skip`): all immutable tags exist, `{}`; other tags were not moved",
                image.reference
            );
            self.built.push(Built {
                metadata,
                image: Some(image),
                existed: true,
                unchanged: None,
                engine: None,
            });
            self.image_recorders.push(self.recorder.clone());
        }
        Ok(true)
    }
}
