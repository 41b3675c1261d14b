//! Where the image is pushed, and under which names.

use image::{ImageRef, Registry};

use super::names::Names;
use super::{Diagnostics, Naming};
use crate::inputs::InputError;
use crate::inputs::output_spec::OutputSpec;

/// A push to one or more registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PushPlan {
    pub naming: Naming,
    /// At least one. Each has a tag, or none has.
    pub names: Vec<ImageRef>,
}

impl PushPlan {
    /// The registries, each once.
    pub(crate) fn registries(&self) -> Vec<Registry> {
        let mut registries = Vec::new();
        for registry in self.names.iter().map(ImageRef::registry) {
            if !registries.contains(&registry) {
                registries.push(registry);
            }
        }
        registries
    }
}

impl Names {
    /// Decides where the outputs push: to `tags`, which replace names in outputs as in buildx, else to the names that outputs
    /// give. In a push by digest `tags` name repositories, which go into the outputs.
    pub(super) fn push(
        &mut self,
        naming: Naming,
        outputs: &mut [OutputSpec],
        diagnostics: &mut Diagnostics,
    ) -> Option<PushPlan> {
        if naming == Naming::Digest && !self.move_to_outputs(outputs, diagnostics) {
            return None;
        }
        let complete = |name: &ImageRef| naming.complete(name.clone());
        let mut names: Vec<ImageRef> = self.references.iter().map(complete).collect();
        let mut unnamed = false;
        for output in outputs.iter_mut().filter(|output| output.pushes()) {
            if !self.references.is_empty() {
                break;
            }
            if let (true, Some(repository)) = (output.is_by_digest(), &self.repository)
                && output.names().is_empty()
            {
                output.set("name", repository.to_string());
            }
            unnamed |= output.names().is_empty();
            names.extend(output_names(naming, output, diagnostics));
        }
        if unnamed && diagnostics.errors.is_empty() {
            self.report_missing(naming, diagnostics);
        }
        let pushes = outputs.iter().any(OutputSpec::pushes);
        pushes.then_some(PushPlan { naming, names })
    }

    /// Puts the names of `tags` into the outputs that push by digest; false if one has a tag.
    fn move_to_outputs(
        &mut self,
        outputs: &mut [OutputSpec],
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let names = std::mem::take(&mut self.references);
        let tagged = names.iter().filter(|name| name.tag.is_some());
        let tagged: Vec<String> = tagged.map(ToString::to_string).collect();
        if !tagged.is_empty() {
            let other = "`push-by-digest=true`, which pushes without tags";
            diagnostics.conflict("tags", tagged.join(", "), other);
            return false;
        }
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            for output in outputs.iter_mut().filter(|output| output.is_by_digest()) {
                output.set("name", names.join(","));
            }
        }
        true
    }

    fn report_missing(&self, naming: Naming, diagnostics: &mut Diagnostics) {
        if naming == Naming::Digest {
            let expected =
                "the repository to push to by digest, or full names in the output's `name=`";
            diagnostics.wrong("repository", "", expected);
            return;
        }
        let mut expected = "at least one tag, since the image is to be pushed".to_owned();
        for reason in &self.unfired {
            expected.push_str("\n  ");
            expected.push_str(reason);
        }
        diagnostics.wrong("tags", "", expected);
    }
}

/// The names that an output gives.
fn output_names(
    naming: Naming,
    output: &OutputSpec,
    diagnostics: &mut Diagnostics,
) -> Vec<ImageRef> {
    let mut references = Vec::new();
    for name in output.names() {
        match name.parse::<ImageRef>() {
            Ok(reference) if output.is_by_digest() && reference.tag.is_some() => {
                let expected = "a name without tag together with `push-by-digest=true`";
                diagnostics.wrong("outputs", name, expected);
            }
            Ok(reference) => references.push(naming.complete(reference)),
            Err(error) => diagnostics
                .errors
                .push(InputError::caused("outputs", &error, None)),
        }
    }
    references
}
