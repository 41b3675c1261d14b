//! Everything known at the end of a run, for all images and for one.

use super::observed::{Entry, Observed};
use crate::buildx::metadata::Metadata;
use crate::plan::{ImagePlan, Plan};
use crate::registry::pushed::PushedImage;
use crate::runner::redact::Redactor;
use crate::timings::BuildTimings;
use crate::timings::schema::Ended;
use crate::unchanged::Mark;
use protocol::Summary;

#[derive(Debug)]
pub(crate) struct Outcome {
    pub plan: Plan,
    /// One for each image of the plan, in its order.
    pub images: Vec<ImageOutcome>,
    /// Why the run did not succeed.
    pub failure: Option<Failure>,
    pub observed: Observed,
    pub redactor: Redactor,
}

#[derive(Debug)]
pub(crate) struct ImageOutcome {
    pub timings: BuildTimings,
    /// None if the run ended before it was built.
    pub built: Option<Built>,
    /// Entries of the context's folder, the largest first; empty unless the context is large.
    pub context: Vec<Entry>,
}

/// What a successful build made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Built {
    pub metadata: Metadata,
    pub image: Option<PushedImage>,
    /// Whether the image was there before, so that nothing was built.
    pub existed: bool,
    /// Whose image it is, if it is that of an earlier build of the same inputs.
    pub unchanged: Option<Mark>,
    /// What the push engine did, if it pushed.
    pub engine: Option<Summary>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Failure {
    pub kind: FailureKind,
    /// The error, its causes and a hint, a line each.
    pub lines: Vec<String>,
    /// The failed step's last output.
    pub tail: Vec<String>,
    /// buildx's metadata of build checks that found something.
    pub metadata: Option<Metadata>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FailureKind {
    Cancelled,
    /// Build checks found something.
    Checks,
    /// The build failed; its text is without the values of build arguments.
    Build,
    #[default]
    Other,
}

/// One image of an [`Outcome`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<'a> {
    pub run: &'a Outcome,
    pub plan: &'a ImagePlan,
    pub timings: &'a BuildTimings,
    pub built: Option<&'a Built>,
    pub context: &'a [Entry],
}

impl Outcome {
    pub(super) fn images(&self) -> impl Iterator<Item = Image<'_>> {
        let images = self.plan.images.iter().zip(&self.images);
        images.map(|(plan, image)| Image {
            run: self,
            plan,
            timings: &image.timings,
            built: image.built.as_ref(),
            context: &image.context,
        })
    }
}

impl<'a> Image<'a> {
    pub(super) fn pushed(&self) -> Option<&'a PushedImage> {
        self.built?.image.as_ref()
    }

    pub(super) fn failure(&self) -> Option<&'a Failure> {
        let failure = self.run.failure.as_ref();
        failure.filter(|_| self.built.is_none())
    }

    /// buildx's metadata, also of a failed build check.
    pub(super) fn metadata(&self) -> Option<&'a Metadata> {
        match self.built {
            Some(built) => Some(&built.metadata),
            None => self.failure()?.metadata.as_ref(),
        }
    }

    pub(super) fn ended(&self) -> Ended {
        match self.failure().map(|failure| failure.kind) {
            None => Ended::Success,
            Some(FailureKind::Cancelled) => Ended::Cancelled,
            Some(_) => Ended::Failure,
        }
    }
}
