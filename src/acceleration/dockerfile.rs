//! The Dockerfile: found and read, and what it leaves for the configuration.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::dockerfile::{Build, Configuration, Dockerfile, Origin, Platform};
use image::ImageRef;

use super::{Preparation, in_image, unreadable};
use crate::buildx::{Reason, command};
use crate::plan::{Context, EnginePart, Fallback, lower_case};

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
    /// What is left for the configuration.
    pub configuration: Configuration,
    /// The image that it starts from, if that has a name.
    pub image: Option<ImageRef>,
    /// Whether the step can run in the image.
    pub runs_in_image: bool,
}

/// Reads the Dockerfile, for one of the image's parts.
pub(super) fn read(
    preparation: &Preparation<'_>,
    text: &[u8],
    arguments: &BTreeMap<String, String>,
    part: &EnginePart,
) -> Result<Read, Reason> {
    let not_understood = |error: ::dockerfile::Unsupported| Fallback::Dockerfile(error.to_string());
    let file = Dockerfile::read(text).map_err(not_understood)?;
    let image = preparation.image;
    let contexts = image.build_contexts.iter();
    let platform = part.platform.as_deref().map(Platform::parse);
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
    let runs_in_image = !part.is_emulated && in_image::is_possible(&graph, &image.context);
    Ok(Read {
        configuration,
        image: base,
        runs_in_image,
    })
}
