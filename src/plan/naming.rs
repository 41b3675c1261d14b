//! Tags or digest: how a push names the image.

use image::ImageRef;

use crate::inputs::Inputs;
use crate::inputs::output_spec::OutputSpec;

/// The tag of a name that has none.
const DEFAULT_TAG: &str = "latest";

/// How an image is named in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// Under tags.
    Tags,
    /// By its digest alone (`push-by-digest=true`).
    Digest,
}

impl Naming {
    /// As the outputs say.
    pub(super) fn of(inputs: &Inputs) -> Self {
        let by_digest = inputs.outputs.iter().any(OutputSpec::is_by_digest);
        if by_digest && inputs.call.is_none() {
            Self::Digest
        } else {
            Self::Tags
        }
    }

    /// The name as it is pushed. A name without tag gets the default one.
    pub(super) fn complete(self, mut name: ImageRef) -> ImageRef {
        if self == Self::Tags {
            name.tag.get_or_insert_with(|| DEFAULT_TAG.to_owned());
        }
        name
    }
}
