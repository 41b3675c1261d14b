//! Image names and labels: `repository` with tags and rules, or full references.

use image::{ImageRef, Registry};

use super::{Diagnostics, Naming, Sources};
use crate::inputs::grammar::ANNOTATION;
use crate::inputs::{InputError, Inputs};
use crate::metadata::event::{GithubValues, Settings, WorkflowRun as Event};
use crate::metadata::generate::Generated;
use crate::metadata::labels::{self, Labels};
use crate::runner::workflow::WorkflowRun;

/// The names and labels of an image.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// As given: with or without tag.
    pub references: Vec<ImageRef>,
    /// The repository that the input `repository` names.
    pub repository: Option<ImageRef>,
    pub labels: Vec<String>,
    pub annotations: Vec<String>,
    /// docker/metadata-action's outputs.
    pub version: String,
    pub json: serde_json::Value,
    /// Rules that gave no tag, and why.
    pub unfired: Vec<String>,
}

impl Names {
    /// Applies the rules of `tags`, `flavor` and `labels` to this run.
    pub(super) fn choose(
        sources: &Sources<'_>,
        naming: Naming,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let Sources { inputs, facts, .. } = *sources;
        let event = event(sources.run, diagnostics);
        let repository = repository(inputs, facts.registry.as_deref(), diagnostics);
        let image: Vec<String> = repository.iter().map(|(text, _)| text.clone()).collect();
        let mut generated = inputs
            .tags
            .generate(&inputs.flavor, &event, facts.now, &image)
            .unwrap_or_else(|error| {
                diagnostics
                    .errors
                    .push(InputError::caused("tags", &error, None));
                Generated::default()
            });
        let warnings = generated.warnings.iter().map(ToString::to_string);
        diagnostics.warnings.extend(warnings);
        diagnostics.notices.append(&mut generated.notices);
        let notice = head_notice(sources, &event, &generated);
        diagnostics.notices.extend(notice);
        if naming == Naming::Digest {
            generated.drop_reference_names();
        }
        if inputs.labels.has_current_time(&event) || inputs.annotations.has_current_time(&event) {
            diagnostics.notices.push(
                "this event does not contain the commit's time: the label `created` has the current time, so every run \
                 makes another digest"
                    .to_owned(),
            );
        }
        let labels = inputs.labels.render(&event, &generated.version, facts.now);
        let annotations = annotations(sources, &event, &generated.version, diagnostics);
        let repository = repository.map(|(_, repository)| repository);
        let references = references(inputs, repository.as_ref(), &generated.names, diagnostics);
        let complete = |name: &ImageRef| naming.complete(name.clone()).to_string();
        let tags: Vec<String> = references.iter().map(complete).collect();
        let json = generated.json(&tags, &labels, &annotations);
        Self {
            // Strings and lists of our own always serialize.
            json: serde_json::to_value(json).unwrap_or_default(),
            references,
            repository,
            labels,
            annotations,
            version: generated.version,
            unfired: generated.unfired.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Says that tags name a pull request's head, if the build context is its merge commit.
fn head_notice(sources: &Sources<'_>, event: &Event, generated: &Generated) -> Option<String> {
    let context = sources.inputs.context.as_deref();
    let context = context.unwrap_or("{{defaultContext}}");
    let merge = sources.run?.sha.as_deref()?;
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

/// Annotations as given, or those of the labels at the levels that docker/metadata-action's variable names.
fn annotations(
    sources: &Sources<'_>,
    event: &Event,
    version: &str,
    diagnostics: &mut Diagnostics,
) -> Vec<String> {
    let Sources {
        inputs, run, facts, ..
    } = *sources;
    let rendered = inputs.annotations.render(event, version, facts.now);
    if matches!(inputs.annotations, Labels::Lines(_)) {
        return rendered;
    }
    let given = run.and_then(|run| run.annotation_levels.as_deref());
    match labels::levels(given.unwrap_or_default()) {
        Ok(levels) => {
            let lines = labels::at_levels(&rendered, &levels);
            for line in lines.iter().filter(|line| !(ANNOTATION.holds)(line)) {
                diagnostics.wrong("annotations", line, ANNOTATION.expected);
            }
            lines
        }
        Err(error) => {
            let error = InputError::caused("annotations", &error, None);
            diagnostics.errors.push(error);
            Vec::new()
        }
    }
}

fn event(run: Option<&WorkflowRun>, diagnostics: &mut Diagnostics) -> Event {
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
        diagnostics
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

/// The image's name without tag, as typed and parsed.
fn repository(
    inputs: &Inputs,
    own_registry: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Option<(String, ImageRef)> {
    const EXPECTED: &str = "a path in the registry without host and tag, as `team/app`";
    let registry = inputs.registry.as_deref().or(own_registry);
    let Some(repository) = inputs.repository.as_deref() else {
        if let Some(registry) = inputs.registry.as_deref() {
            let expected = "`repository` as well, or full references in `tags`";
            diagnostics.wrong("registry", registry, expected);
        }
        if inputs.tags.needs_image() && !inputs.load {
            let expected =
                "the repository for the plain tags and rules in `tags`, or full references there";
            diagnostics.wrong("repository", "", expected);
        }
        return None;
    };
    let Some(registry) = registry else {
        // The account's own registry is asked for before the plan is made.
        diagnostics.wrong("registry", "", "a registry host for `repository`");
        return None;
    };
    // As docker/metadata-action does: GitHub's names of repositories may contain capitals.
    let name = format!("{registry}/{}", repository.to_lowercase());
    match name.parse::<ImageRef>() {
        Ok(parsed)
            if parsed.tag.is_none()
                && parsed.digest.is_none()
                && parsed.host == registry
                && !begins_with_ecr_host(repository) =>
        {
            return Some((name, parsed));
        }
        Ok(_) => diagnostics.wrong("repository", repository, EXPECTED),
        Err(error) => {
            diagnostics.wrong("repository", repository, format!("{EXPECTED} ({error})"));
        }
    }
    None
}

/// Whether a repository's name begins with the host of an ECR registry, a common mistake
/// (<https://github.com/actions/starter-workflows/issues/2647>).
fn begins_with_ecr_host(repository: &str) -> bool {
    let host = repository.split('/').next().unwrap_or_default();
    !matches!(Registry::from_host(host), Registry::Other { .. })
}

/// Tags in the repository, then full references, each once. Without a repository a plain tag is the name of a local image.
fn references(
    inputs: &Inputs,
    repository: Option<&ImageRef>,
    tags: &[String],
    diagnostics: &mut Diagnostics,
) -> Vec<ImageRef> {
    let of_tags = tags.iter().map(|tag| match repository {
        Some(repository) => Ok(repository.with_tag(tag)),
        None => tag.parse::<ImageRef>(),
    });
    let given = inputs.tags.references().cloned().map(Ok);
    let mut references: Vec<ImageRef> = Vec::new();
    for reference in of_tags.chain(given) {
        match reference {
            Ok(reference) if reference.digest.is_some() => diagnostics.wrong(
                "tags",
                reference.to_string(),
                "a reference without digest: a push makes the digest",
            ),
            Ok(reference) if references.contains(&reference) => {}
            Ok(reference) => references.push(reference),
            Err(error) => diagnostics
                .errors
                .push(InputError::caused("tags", &error, None)),
        }
    }
    references
}
