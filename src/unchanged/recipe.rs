//! The Dockerfile, its ignore file, and what of both a build needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use ::dockerfile::{
    Build as Target, Dockerfile, IGNORE_FILE, Ignore, Node, Origin, Platform, ignore_file_beside,
};

use super::Reason;
use super::build::Build;
use super::images::Wanted;
use crate::plan::lower_case;

/// A Dockerfile is no longer (bytes): BuildKit refuses what is. Nor is an ignore file.
const LONGEST: u64 = 1 << 20;

/// What takes the place of an image in a named context.
pub(super) const IMAGE: &str = "docker-image://";

/// What is built, and from what.
#[derive(Debug)]
pub(super) struct Recipe {
    pub text: Vec<u8>,
    pub file: Dockerfile,
    /// The ignore file as it is.
    pub ignore_text: Option<Vec<u8>>,
    pub ignore: Ignore,
    /// One for each platform.
    pub builds: Vec<(String, Target)>,
    /// Named contexts that the build reads, and what takes their place.
    pub contexts: BTreeMap<String, String>,
    /// Images that the build reads, as the graph names them.
    pub images: BTreeSet<String>,
    /// Those of them that stages are based on.
    pub bases: BTreeSet<Wanted>,
}

impl Recipe {
    /// Reads what is with a folder on this machine.
    ///
    /// # Errors
    /// What can't be known.
    pub(super) fn read(build: &Build<'_>, path: &Path) -> Result<Self, Reason> {
        let image = build.image;
        let dockerfile = image.context.dockerfile();
        let dockerfile = dockerfile.ok_or("the Dockerfile is at an address")?;
        let dockerfile = found(dockerfile);
        let text = read(&dockerfile)?
            .ok_or_else(|| format!("there is no Dockerfile at `{}`", dockerfile.display()))?;
        let beside = dockerfile.to_string_lossy();
        let beside = read(Path::new(&ignore_file_beside(&beside)))?;
        let of_context = read(&path.join(IGNORE_FILE))?;
        let ignore = Ignore::choose(beside.as_deref(), of_context.as_deref());
        let ignore = ignore.map_err(|error| format!("the ignore file: {error}"))?;
        let mut recipe = Self::of(build, text)?;
        recipe.ignore_text = beside.or(of_context);
        recipe.ignore = ignore;
        Ok(recipe)
    }

    /// What a Dockerfile needs, without an ignore file.
    ///
    /// # Errors
    /// What can't be known.
    pub(super) fn of(build: &Build<'_>, text: Vec<u8>) -> Result<Self, Reason> {
        let Build {
            image,
            look,
            arguments,
        } = *build;
        let not_understood = |error| format!("the Dockerfile: {error}");
        let file = Dockerfile::read(&text).map_err(not_understood)?;
        if look.platforms.is_empty() {
            return Err(
                "only the builder knows its platform: `platforms` would name one".to_owned(),
            );
        }
        let builder = look.builder.as_deref().map(Platform::parse);
        let contexts: BTreeMap<String, String> = image
            .build_contexts
            .iter()
            .map(|context| (context.name.clone(), context.value.clone()))
            .collect();
        let mut builds = Vec::new();
        for name in &look.platforms {
            let platform = Platform::parse(name);
            let platform = platform.map_err(|reason| format!("the platform: {reason}"))?;
            let build = Target {
                target: image.target.clone(),
                args: arguments.clone(),
                contexts: contexts.clone(),
                platform: Some(platform),
                builder: builder.clone().and_then(Result::ok),
            };
            builds.push((name.clone(), build));
        }
        let (mut images, mut used) = (BTreeSet::new(), BTreeMap::new());
        let mut bases = BTreeSet::new();
        for (_, build) in &builds {
            let graph = file.resolve(build).map_err(not_understood)?;
            images.extend(graph.images().iter().map(|image| image.reference.clone()));
            images.extend(graph.frontend.clone());
            let nodes = graph.nodes.iter();
            bases.extend(nodes.filter_map(|node| wanted(node, build)));
            for name in graph.contexts() {
                let value = contexts.get(name).cloned().unwrap_or_default();
                used.insert(name.to_owned(), value);
            }
        }
        Ok(Self {
            text,
            file,
            ignore_text: None,
            ignore: Ignore::default(),
            builds,
            contexts: used,
            images,
            bases,
        })
    }
}

/// The image that a stage is based on, with the stage's platform, if it is based on one.
pub(super) fn wanted(node: &Node, build: &Target) -> Option<Wanted> {
    let (name, platform) = match &node.base {
        Origin::Image(image) => (image.reference.clone(), image.platform.clone()),
        Origin::Context(name) => {
            let image = build.contexts.get(name)?.strip_prefix(IMAGE)?;
            (image.to_owned(), node.platform.clone())
        }
        Origin::Stage(_) | Origin::Scratch => return None,
    };
    Some((name, platform.or_else(|| build.platform.clone())?))
}

/// A Dockerfile's path, perhaps in lower case.
fn found(given: &Path) -> PathBuf {
    match fs::exists(given) {
        Ok(false) => lower_case(given).unwrap_or_else(|| given.to_owned()),
        _ => given.to_owned(),
    }
}

/// A file's content, `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Reason> {
    let failed = |error: io::Error| format!("could not read `{}`: {error}", path.display());
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > LONGEST => {
            Err(format!("`{}` has {} bytes", path.display(), metadata.len()))
        }
        Ok(metadata) if !metadata.is_file() => Err(format!("`{}` is no file", path.display())),
        Ok(_) => fs::read(path).map(Some).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
