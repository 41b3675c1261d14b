//! What a build is: the key of everything that goes in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ::dockerfile::{Build as Target, Graph, Origin};
use ::key::{Content, Image, Key, PlatformBuild, Sources};
use futures_util::future::try_join_all;

use super::build::Build;
use super::contents::Hashed;
use super::images::{Base, Digests, digests};
use super::recipe::{IMAGE, Recipe, wanted};
use super::tree::GitHub;
use super::{Reason, Registries};
use crate::plan::Context;

/// A build, known by its key.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(super) key: Key,
    folders: Vec<Hashed>,
    digests: Digests,
}

/// The argument by which a Git context has its `.git`, and so its commit, in it.
const KEEPS_GIT: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// Finds out everything that goes into a build: reads its folders and asks for its images at the same time.
///
/// # Errors
/// The first thing that can't be known.
pub(crate) async fn identify(
    build: &Build<'_>,
    registries: &Registries<'_>,
    github: Option<&GitHub>,
) -> Result<Identity, Reason> {
    let (recipe, place) = find(build, github).await?;
    let named = named_contexts(&recipe)?;
    let mut names = recipe.images.clone();
    names.extend(named.images.values().cloned());
    let (contents, digests) = tokio::try_join!(
        Contents::read(&recipe, &place, &named),
        digests(&names, &recipe.bases, registries)
    )?;
    let key = make_key(build, &recipe, &contents, &named, &digests)?;
    tracing::debug!("the key is {}", key.hash);
    Ok(Identity {
        key,
        folders: contents.folders,
        digests,
    })
}

/// What goes into the key, without a question to a registry: short hashes by name, and names of images.
///
/// # Errors
/// The first thing that can't be known.
pub(crate) async fn preview(
    build: &Build<'_>,
    github: Option<&GitHub>,
) -> Result<BTreeMap<String, String>, Reason> {
    let (recipe, place) = find(build, github).await?;
    let named = named_contexts(&recipe)?;
    let contents = Contents::read(&recipe, &place, &named).await?;
    let names = recipe.images.iter().chain(named.images.values());
    let digests = Digests {
        all: names.map(|name| (name.clone(), name.clone())).collect(),
        bases: (recipe.bases.iter())
            .map(|wanted| (wanted.clone(), Base::default()))
            .collect(),
        ..Digests::default()
    };
    let mut parts = make_key(build, &recipe, &contents, &named, &digests)?.parts;
    for (name, hash) in &mut parts {
        if name.starts_with("image ") {
            "its digest in its registry".clone_into(hash);
        }
    }
    let names: Vec<&str> = build.arguments.keys().map(String::as_str).collect();
    if !names.is_empty() {
        parts.insert("build arguments".to_owned(), names.join(", "));
    }
    Ok(parts)
}

/// Where the context is.
enum Place<'a> {
    Folder(&'a Path),
    /// What names its content.
    Tree(String),
}

async fn find<'a>(
    build: &Build<'a>,
    github: Option<&GitHub>,
) -> Result<(Recipe, Place<'a>), Reason> {
    match &build.image.context {
        Context::Folder { path, .. } => Ok((Recipe::read(build, path)?, Place::Folder(path))),
        Context::ThisCommit { url } => {
            let github = github.ok_or("the context is not on this machine")?;
            if build.arguments.contains_key(KEEPS_GIT) {
                return Err(format!("`{KEEPS_GIT}` has the commit in the context"));
            }
            let file = build.image.file.as_deref().unwrap_or("Dockerfile");
            if file.contains("://") {
                return Err("the Dockerfile is at an address".to_owned());
            }
            let tree = github.tree(url, file).await?;
            Ok((Recipe::of(build, tree.dockerfile)?, Place::Tree(tree.name)))
        }
        Context::Remote { .. } => Err(
            "the context is neither a folder on this machine nor the commit of this run".to_owned(),
        ),
    }
}

/// What contexts hold.
struct Contents {
    context: Content,
    /// Those that are folders, by name.
    named: BTreeMap<String, Content>,
    folders: Vec<Hashed>,
}

impl Contents {
    async fn read(recipe: &Recipe, place: &Place<'_>, named: &Named<'_>) -> Result<Self, Reason> {
        let context = async {
            match place {
                Place::Folder(path) => Hashed::read(path, &recipe.ignore).await.map(Some),
                Place::Tree(_) => Ok(None),
            }
        };
        let others = try_join_all(
            named
                .folders
                .iter()
                .map(|(_, path)| Hashed::read_named(path)),
        );
        let (context, others) = tokio::try_join!(context, others)?;
        let content = |hashed: &Hashed| Content::Folder(hashed.folder.clone());
        let names = named.folders.iter().map(|(name, _)| name.clone());
        Ok(Self {
            context: match (place, &context) {
                (Place::Folder(_), Some(hashed)) => content(hashed),
                (Place::Tree(name), _) => Content::Named(name.clone()),
                (Place::Folder(path), None) => Content::Named(path.display().to_string()),
            },
            named: names.zip(others.iter().map(content)).collect(),
            folders: context.into_iter().chain(others).collect(),
        })
    }
}

fn make_key(
    build: &Build<'_>,
    recipe: &Recipe,
    contents: &Contents,
    named: &Named<'_>,
    digests: &Digests,
) -> Result<Key, Reason> {
    let Build { image, look, .. } = *build;
    let not_understood = |error| format!("the Dockerfile: {error}");
    let mut graphs = Vec::new();
    for (name, build) in &recipe.builds {
        let graph = recipe.file.resolve(build).map_err(not_understood)?;
        let environments = environments(&graph, build, digests)?;
        let steps = graph.steps(&environments).map_err(not_understood)?;
        graphs.push((name, graph, steps));
    }
    let platforms: Vec<PlatformBuild<'_>> = graphs
        .iter()
        .map(|(platform, graph, steps)| PlatformBuild {
            platform,
            graph,
            steps,
        })
        .collect();
    let mut contexts = contents.named.clone();
    for (name, image) in &named.images {
        let digest = digests.all.get(image).cloned().unwrap_or_default();
        contexts.insert(name.clone(), Content::Named(digest));
    }
    let secrets: BTreeSet<String> = image
        .secrets
        .iter()
        .map(|secret| secret.id.clone())
        .collect();
    let key = Image {
        dockerfile: &recipe.text,
        ignore: recipe.ignore_text.as_deref(),
        settings: &look.settings,
        platforms: &platforms,
        sources: &Sources {
            context: &contents.context,
            contexts: &contexts,
            images: &digests.all,
            secrets: &secrets,
            has_ssh: !image.ssh.is_empty(),
        },
        whole_context: look.attests,
        all_arguments: look.attests,
    };
    key.key().map_err(|unknown| unknown.to_string())
}

/// The variables of all bases that are not built here, as far as they are known.
///
/// # Errors
/// When a base may have `ONBUILD` instructions, which read what they like.
fn environments(
    graph: &Graph<'_>,
    build: &Target,
    digests: &Digests,
) -> Result<BTreeMap<Origin, Vec<(String, String)>>, Reason> {
    let mut known = BTreeMap::new();
    for node in &graph.nodes {
        let Some(wanted) = wanted(node, build) else {
            continue;
        };
        let base = digests.bases.get(&wanted);
        let base = base.ok_or_else(|| {
            format!(
                "what `{}` does in a build is not known: its configuration can't be read",
                wanted.0
            )
        })?;
        let checked = graph.check_triggers(&node.base, &base.triggers);
        checked.map_err(|error| format!("the Dockerfile: {error}"))?;
        if let Some(environment) = &base.environment {
            known.insert(node.base.clone(), environment.clone());
        }
    }
    Ok(known)
}

/// Named contexts that the build reads.
#[derive(Default)]
struct Named<'a> {
    folders: Vec<(String, &'a Path)>,
    /// The image's name, completed, by the context's.
    images: BTreeMap<String, String>,
}

fn named_contexts(recipe: &Recipe) -> Result<Named<'_>, Reason> {
    let mut named = Named::default();
    for (name, value) in &recipe.contexts {
        if let Some(image) = value.strip_prefix(IMAGE) {
            named.images.insert(name.clone(), image.to_owned());
        } else if value.contains("://") || value.contains(':') || !Path::new(value).is_dir() {
            return Err(format!(
                "the content of the context `{name}` is not known: it is neither a folder here nor an image"
            ));
        } else {
            named.folders.push((name.clone(), Path::new(value)));
        }
    }
    Ok(named)
}

impl Identity {
    /// The key, 64 hexadecimal digits.
    pub(crate) fn key(&self) -> String {
        self.key.hash.to_string()
    }

    /// Whether what was built is what has this key: nothing wrote to the folders meanwhile, and the builder took the images that the
    /// registries had named. `built_from` says whether the builder used an image with a digest.
    ///
    /// # Errors
    /// Why it may be something else.
    pub(super) async fn check(&self, built_from: &dyn Fn(&str) -> bool) -> Result<(), Reason> {
        for (name, digest) in &self.digests.moving {
            if !built_from(digest) {
                return Err(format!(
                    "the builder did not take the `{name}` that its registry has"
                ));
            }
        }
        for folder in &self.folders {
            if !folder.is_untouched().await {
                return Err("files of the context were written to during the build".to_owned());
            }
        }
        Ok(())
    }
}
