//! The Dockerfile: found and read, and what it leaves for the configuration.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::dockerfile::{Build, Configuration, Dockerfile, Origin, Platform};
use image::ImageRef;

use super::{Preparation, in_image, unreadable};
use crate::buildx::{Reason, command};
use crate::plan::{Context, EnginePlan, Fallback, lower_case};

/// A Dockerfile is no longer (bytes): BuildKit refuses what is.
const LONGEST: u64 = 1 << 20;

/// The Dockerfile of a build.
#[derive(Debug)]
pub(super) struct Found {
    /// As bake takes it.
    pub path: String,
    pub text: Vec<u8>,
}

impl Preparation<'_> {
    /// The build's Dockerfile. One in a context that is elsewhere is fetched by BuildKit, which needs the context anyway.
    pub(super) async fn find_dockerfile(&self) -> Result<Found, Reason> {
        match &self.image.context {
            Context::Folder { .. } => {
                let given = self.image.context.dockerfile();
                let given = given.ok_or_else(|| {
                    let address = self.image.file.clone();
                    Fallback::DockerfileAddress(address.unwrap_or_default())
                })?;
                here(given)
            }
            Context::ThisCommit { url } | Context::Remote { url } => self.fetch(url).await,
        }
    }

    async fn fetch(&self, url: &str) -> Result<Found, Reason> {
        let path = self.image.file.as_deref().unwrap_or("Dockerfile");
        if path.starts_with("http://") || path.starts_with("https://") || path.contains("..") {
            return Err(Fallback::DockerfileAddress(path.to_owned()).into());
        }
        let files = &self.plan.files;
        let copy = serde_json::json!([path, "/Dockerfile"]);
        let dockerfile = files.empty.with_file_name("fetch.Dockerfile");
        let text = format!("FROM scratch\nCOPY --from=source {copy}\n");
        fs::write(&dockerfile, text).map_err(|error| Reason::new(error.to_string()))?;
        let fetch = command::Fetch {
            context: url,
            dockerfile: &dockerfile,
            empty: &files.empty,
            into: &files.fetched,
        };
        let arguments = command::fetch(self.image, self.builder, &fetch);
        let fetched = self.tool.command(arguments).output(self.cancel).await;
        // The build itself will say more.
        fetched.map_err(|_| Reason::new(format!("could not read `{path}` in the context")))?;
        let text = read_file(&files.fetched.join("Dockerfile"))?;
        Ok(Found {
            path: path.to_owned(),
            text,
        })
    }
}

/// A Dockerfile on this machine, perhaps in lower case.
fn here(given: &Path) -> Result<Found, Reason> {
    let path = match fs::exists(given) {
        Ok(false) => lower_case(given).unwrap_or_else(|| given.to_owned()),
        _ => given.to_owned(),
    };
    let text = read_file(&path)?;
    let absolute = std::path::absolute(&path).unwrap_or(path);
    let path = absolute.into_os_string().into_string();
    let path = path.map_err(|path| {
        let path = PathBuf::from(path);
        Reason::new(format!("the name of `{}` is not UTF-8", path.display()))
    })?;
    Ok(Found { path, text })
}

fn read_file(path: &Path) -> Result<Vec<u8>, Reason> {
    let failed = |error: io::Error| unreadable("the Dockerfile", path, &error);
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > LONGEST {
        return Err(Reason::new(format!("the Dockerfile has {size} bytes")));
    }
    fs::read(path).map_err(failed)
}

/// What a Dockerfile says that the engine needs.
#[derive(Debug)]
pub(super) struct Read {
    /// What is left for the configuration, the same for all platforms.
    pub configuration: Configuration,
    /// The images that it starts from, where they have a name. More than one if platforms have others.
    pub images: Vec<ImageRef>,
    /// The platform, by its place in the plan, in whose image the step can run. 0 for an image of the builder's own platform.
    pub runs_in: Option<usize>,
}

/// The same for one platform.
#[derive(Debug)]
struct OfPlatform {
    configuration: Configuration,
    image: Option<ImageRef>,
    /// Whether a step can run in the image, as far as its files go.
    runs_in_image: bool,
}

/// Reads the Dockerfile, for each of the image's platforms.
pub(super) fn read(
    preparation: &Preparation<'_>,
    text: &[u8],
    arguments: &BTreeMap<String, String>,
) -> Result<Read, Reason> {
    let given = &preparation.image.platforms;
    let (first, others) = match given.split_first() {
        Some((first, others)) => (Some(first.as_str()), others),
        None => (None, given.as_slice()),
    };
    let read = |platform| of_platform(preparation, text, arguments, platform);
    let first = read(first)?;
    let mut images: Vec<ImageRef> = first.image.into_iter().collect();
    let mut runs = vec![first.runs_in_image];
    for platform in others {
        let other = read(Some(platform))?;
        if !is_same(&other.configuration, &first.configuration) {
            return Err(Fallback::PlatformStages(platform.clone()).into());
        }
        let new = other.image.filter(|image| !images.contains(image));
        images.extend(new);
        runs.push(other.runs_in_image);
    }
    let EnginePlan {
        own_platform,
        kernel_runs_all,
        ..
    } = preparation.plan;
    let runs_in = in_image::place(given, own_platform.as_deref(), *kernel_runs_all);
    Ok(Read {
        configuration: first.configuration,
        images,
        runs_in: runs_in.filter(|place| runs.get(*place) == Some(&true)),
    })
}

/// Whether one build with both platforms gives both configurations, and both are compared with the same kind of tree.
fn is_same(one: &Configuration, other: &Configuration) -> bool {
    let starts_from_nothing = |of: &Configuration| of.origin == Origin::Scratch;
    one.cfg == other.cfg
        && one.entries == other.entries
        && starts_from_nothing(one) == starts_from_nothing(other)
}

fn of_platform(
    preparation: &Preparation<'_>,
    text: &[u8],
    arguments: &BTreeMap<String, String>,
    platform: Option<&str>,
) -> Result<OfPlatform, Reason> {
    let not_understood = |error: ::dockerfile::Unsupported| Fallback::Dockerfile(error.to_string());
    let file = Dockerfile::read(text).map_err(not_understood)?;
    let image = preparation.image;
    let contexts = image.build_contexts.iter();
    let platform = platform.map(Platform::parse);
    let build = Build {
        target: image.target.clone(),
        args: arguments.clone(),
        contexts: contexts
            .map(|context| (context.name.clone(), context.value.clone()))
            .collect(),
        platform: platform.and_then(Result::ok),
        builder: None,
    };
    let graph = file.resolve(&build).map_err(not_understood)?;
    let configuration = graph.configuration().map_err(not_understood)?;
    let base = match &configuration.origin {
        Origin::Image(image) => image.reference.parse::<ImageRef>().ok(),
        Origin::Context(name) => {
            let mut contexts = image.build_contexts.iter();
            let context = contexts.find(|context| context.name == *name);
            let image = context.and_then(|context| context.value.strip_prefix("docker-image://"));
            let Some(image) = image else {
                return Err(Fallback::Context(name.clone()).into());
            };
            image.parse::<ImageRef>().ok()
        }
        Origin::Scratch | Origin::Stage(_) => None,
    };
    let runs_in_image = in_image::is_possible(&graph, &image.context);
    Ok(OfPlatform {
        configuration,
        image: base,
        runs_in_image,
    })
}
