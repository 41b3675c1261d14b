//! Image names and labels: `repository` with tags and rules, or full references.

use image::{ImageRef, Registry};

use super::Remarks;
use crate::facts::Facts;
use crate::inputs::grammar::ANNOTATION;
use crate::inputs::output_spec::OutputSpec;
use crate::inputs::{InputError, Inputs};
use crate::metadata::event::{GithubValues, Settings, WorkflowRun as Event};
use crate::metadata::generate::Generated;
use crate::metadata::labels::{self, Labels};
use crate::runner::workflow::WorkflowRun;

/// What an image is called, and how it is labelled.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The image under all its names.
    pub references: Vec<ImageRef>,
    /// `registry/repository`, when the input `repository` is given.
    image: Option<String>,
    pub labels: Vec<String>,
    pub annotations: Vec<String>,
    /// docker/metadata-action's outputs.
    pub version: String,
    pub json: serde_json::Value,
    /// Rules that gave no tag, and why.
    pub unfired: Vec<String>,
}

impl Names {
    /// Follows the rules of `tags`, `flavor` and `labels` in this run.
    pub(super) fn choose(
        inputs: &Inputs,
        run: Option<&WorkflowRun>,
        facts: &Facts,
        remarks: &mut Remarks,
    ) -> Self {
        let event = event(run, remarks);
        let images = images(inputs, facts.registry.as_deref(), remarks);
        let mut generated = inputs
            .tags
            .generate(&inputs.flavor, &event, facts.now, &images)
            .unwrap_or_else(|error| {
                remarks
                    .errors
                    .push(InputError::caused("tags", &error, None));
                Generated::default()
            });
        let warnings = generated.warnings.iter().map(ToString::to_string);
        remarks.warnings.extend(warnings);
        remarks.notices.append(&mut generated.notices);
        remarks
            .notices
            .extend(head_notice(inputs, run, &event, &generated));
        let by_digest = inputs.outputs.iter().any(OutputSpec::is_by_digest);
        if by_digest {
            generated.drop_reference_names();
        }
        if inputs.labels.has_current_time(&event) || inputs.annotations.has_current_time(&event) {
            remarks.notices.push(
                "the commit's time is not in this event: the label `created` has the current time, \
                 so that another run makes another digest"
                    .to_owned(),
            );
        }
        let labels = inputs.labels.render(&event, &generated.version, facts.now);
        let annotations = annotations(inputs, run, &event, &generated.version, facts, remarks);
        let references = references(&generated.tags, remarks);
        let print = |reference: &ImageRef| match by_digest {
            true => reference.to_string(),
            false => printed(reference),
        };
        let tags: Vec<String> = references.iter().map(print).collect();
        let json = generated.json(&tags, &labels, &annotations);
        Self {
            // Strings and lists of our own always serialize.
            json: serde_json::to_value(json).unwrap_or_default(),
            references,
            image: images.into_iter().next(),
            labels,
            annotations,
            version: generated.version,
            unfired: generated.unfired.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Names {
    /// Brings together the names of tags and those that outputs give: tags replace the others, as
    /// in buildx; what is pushed by its digest has no tag, and a name in `tags` is where it goes.
    pub(super) fn join(&mut self, outputs: &mut [OutputSpec], remarks: &mut Remarks) {
        let by_digest = outputs.iter().any(OutputSpec::is_by_digest);
        if by_digest && let Err(tags) = self.move_to(outputs) {
            remarks.wrong(
                "tags",
                tags,
                "nothing beside `push-by-digest=true` but names without tag: what is pushed by \
                 its digest has none",
            );
            return;
        }
        if !self.references.is_empty() {
            return;
        }
        let mut unnamed = false;
        for output in outputs.iter_mut().filter(|output| output.pushes()) {
            if let (true, Some(image)) = (output.is_by_digest(), &self.image)
                && output.names().is_empty()
            {
                output.set("name", image.as_str());
            }
            unnamed |= output.names().is_empty();
            self.references.extend(named(output, remarks));
        }
        if !unnamed || !remarks.errors.is_empty() {
            return;
        }
        if by_digest {
            remarks.wrong(
                "repository",
                "",
                "the repository to push to by digest, or full names in the output's `name=`",
            );
            return;
        }
        let mut expected = "at least one tag, since the image is to be pushed".to_owned();
        for reason in &self.unfired {
            expected.push_str("\n  ");
            expected.push_str(reason);
        }
        remarks.wrong("tags", "", expected);
    }

    /// Makes names without tag those of the outputs that push by digest; gives the ones with a tag
    /// back, if there are any.
    fn move_to(&mut self, outputs: &mut [OutputSpec]) -> Result<(), String> {
        let tagged: Vec<String> = self
            .references
            .iter()
            .filter(|reference| reference.tag.is_some())
            .map(ToString::to_string)
            .collect();
        if !tagged.is_empty() {
            return Err(tagged.join(", "));
        }
        let names: Vec<String> = self.references.drain(..).map(|name| name.name()).collect();
        if !names.is_empty() {
            for output in outputs.iter_mut().filter(|output| output.is_by_digest()) {
                output.set("name", names.join(","));
            }
        }
        Ok(())
    }
}

/// The names that an output gives.
fn named(output: &OutputSpec, remarks: &mut Remarks) -> Vec<ImageRef> {
    let mut references = Vec::new();
    for name in output.names() {
        match name.parse::<ImageRef>() {
            Ok(reference) if output.is_by_digest() && reference.tag.is_some() => remarks.wrong(
                "outputs",
                name,
                "a name without tag beside `push-by-digest=true`",
            ),
            Ok(reference) => references.push(reference),
            Err(error) => remarks
                .errors
                .push(InputError::caused("outputs", &error, None)),
        }
    }
    references
}

/// Says that tags name a pull request's head, if the build context is its merge commit.
fn head_notice(
    inputs: &Inputs,
    run: Option<&WorkflowRun>,
    event: &Event,
    generated: &Generated,
) -> Option<String> {
    let context = inputs.context.as_deref().unwrap_or("{{defaultContext}}");
    let merge = run?.sha.as_deref()?;
    let short = event.short_sha();
    let names_head = generated.names.iter().any(|name| name.contains(&short));
    let differs = merge != event.sha && names_head && context.starts_with("{{defaultContext}}");
    differs.then(|| {
        format!(
            "the tags name the pull request's head `{short}` (DOCKER_METADATA_PR_HEAD_SHA), but the build context is \
             its merge commit `{}`; to build the head, check it out and set `context: .`",
            merge.chars().take(event.short_sha_length).collect::<String>()
        )
    })
}

/// Annotations as they stand, or the labels' at the levels that docker/metadata-action's variable
/// names.
fn annotations(
    inputs: &Inputs,
    run: Option<&WorkflowRun>,
    event: &Event,
    version: &str,
    facts: &Facts,
    remarks: &mut Remarks,
) -> Vec<String> {
    let rendered = inputs.annotations.render(event, version, facts.now);
    if matches!(inputs.annotations, Labels::Lines(_)) {
        return rendered;
    }
    let given = run.and_then(|run| run.annotation_levels.as_deref());
    match labels::levels(given.unwrap_or_default()) {
        Ok(levels) => {
            let lines = labels::at_levels(&rendered, &levels);
            for line in lines.iter().filter(|line| !(ANNOTATION.holds)(line)) {
                remarks.wrong("annotations", line, ANNOTATION.expected);
            }
            lines
        }
        Err(error) => {
            let error = InputError::caused("annotations", &error, None);
            remarks.errors.push(error);
            Vec::new()
        }
    }
}

fn event(run: Option<&WorkflowRun>, remarks: &mut Remarks) -> Event {
    let Some(run) = run else {
        return Event::new(
            GithubValues::default(),
            &serde_json::Value::Null,
            Settings::default(),
        );
    };
    let settings = Settings::parse(
        run.short_sha_length.as_deref(),
        run.pull_request_head.as_deref(),
    )
    .unwrap_or_else(|error| {
        remarks
            .errors
            .push(InputError::caused("tags", &error, None));
        Settings::default()
    });
    let values = GithubValues {
        event_name: &run.event_name,
        reference: run.git_ref.as_deref().unwrap_or_default(),
        sha: run.sha.as_deref().unwrap_or_default(),
        repository: &run.repository,
        server_url: &run.server_url,
    };
    Event::new(values, &run.payload, settings)
}

/// The image's name without tag, when there is one.
fn images(inputs: &Inputs, own_registry: Option<&str>, remarks: &mut Remarks) -> Vec<String> {
    let registry = inputs.registry.as_deref().or(own_registry);
    match (inputs.repository.as_deref(), registry) {
        (Some(repository), Some(registry)) => {
            const EXPECTED: &str = "a path in the registry without host and tag, as `team/app`";
            // As docker/metadata-action does it: GitHub's names of repositories may have capitals.
            let name = format!("{registry}/{}", repository.to_lowercase());
            match name.parse::<ImageRef>() {
                Ok(parsed)
                    if parsed.tag.is_none()
                        && parsed.digest.is_none()
                        && parsed.host == registry
                        && !begins_with_amazons_host(repository) =>
                {
                    return vec![name];
                }
                Ok(_) => remarks.wrong("repository", repository, EXPECTED),
                Err(error) => {
                    remarks.wrong("repository", repository, format!("{EXPECTED} ({error})"));
                }
            }
        }
        (None, _) => {
            if let Some(registry) = inputs.registry.as_deref() {
                remarks.wrong(
                    "registry",
                    registry,
                    "`repository` beside it, or full references in `tags`",
                );
            }
            if inputs.tags.needs_image() && !inputs.load {
                remarks.wrong(
                    "repository",
                    "",
                    "the repository that plain tags and rules in `tags` belong to, or full \
                     references there",
                );
            }
        }
        // The account's own registry is asked for before the plan is made.
        (Some(_), None) => remarks.wrong("registry", "", "a registry host beside `repository`"),
    }
    Vec::new()
}

/// Whether a registry of Amazon's stands in a repository's name: a usual slip
/// (<https://github.com/actions/starter-workflows/issues/2647>).
fn begins_with_amazons_host(repository: &str) -> bool {
    let host = repository.split('/').next().unwrap_or_default();
    !matches!(Registry::from_host(host), Registry::Other { .. })
}

fn references(tags: &[String], remarks: &mut Remarks) -> Vec<ImageRef> {
    let mut references: Vec<ImageRef> = Vec::new();
    for tag in tags {
        match tag.parse::<ImageRef>() {
            Ok(reference) if reference.digest.is_some() => remarks.wrong(
                "tags",
                tag,
                "a reference without digest: a push makes the digest",
            ),
            Ok(reference) => {
                if !references.contains(&reference) {
                    references.push(reference);
                }
            }
            Err(error) => remarks
                .errors
                .push(InputError::caused("tags", &error, None)),
        }
    }
    references
}

/// A reference as buildx is given it and the outputs show it: with `latest` when it has no tag.
pub(super) fn printed(reference: &ImageRef) -> String {
    let mut tagged = reference.clone();
    tagged.tag.get_or_insert_with(|| "latest".to_owned());
    tagged.to_string()
}
