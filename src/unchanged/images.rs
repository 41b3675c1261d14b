//! Images that a build reads, by their digests of now; and what bases do by themselves.

use std::collections::{BTreeMap, BTreeSet};

use ::dockerfile::Platform;
use futures_util::future::{join_all, try_join_all};
use image::ImageRef;
use serde::Deserialize;
use upload::Repository;

use super::{Reason, Registries};
use crate::aws::error_chain;

/// Digests by the names that the Dockerfile's graph has for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Digests {
    pub all: BTreeMap<String, String>,
    /// Those that a tag named just now. Another moment, or another registry's copy, may have another.
    pub moving: BTreeMap<String, String>,
    /// What is known of bases, by name and platform.
    pub bases: BTreeMap<Wanted, Base>,
}

/// A base image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Base {
    /// `ONBUILD` instructions, which run in the stage that is based on it.
    pub triggers: Vec<String>,
    /// Its variables, if they are known.
    pub environment: Option<Vec<(String, String)>>,
}

/// A base image that is asked for: its name and the platform of its stage.
pub(super) type Wanted = (String, Platform);

/// Asks all registries at the same time. What a base does by itself is left out where it can't be read.
///
/// # Errors
/// The first image whose digest can't be told.
pub(super) async fn digests(
    names: &BTreeSet<String>,
    bases: &BTreeSet<Wanted>,
    registries: &Registries<'_>,
) -> Result<Digests, Reason> {
    let asked = names.iter().map(|name| async move {
        let unknown = |reason: &str| format!("the digest of `{name}` is not known: {reason}");
        let image: ImageRef = name.parse().map_err(|_| unknown("it is no name"))?;
        let repository = registries
            .repository(&image)
            .map(Repository::only_to_read)
            .map_err(|reason| unknown(&reason));
        let of_image = bases.iter().filter(|(base, _)| base == name);
        let platforms: Vec<&Platform> = of_image.map(|(_, platform)| platform).collect();
        let said = |error: upload::Error| unknown(&error_chain(&error));
        let not_there = || unknown("its registry does not have it");
        let tag = image.tag.as_deref().unwrap_or("latest");
        let (digest, manifest) = match &image.digest {
            Some(digest) if platforms.is_empty() => (digest.clone(), None),
            Some(digest) => {
                let asked = async { manifest(repository.as_ref().ok()?, digest.as_str()).await };
                (digest.clone(), asked.await)
            }
            // Some registries count who reads manifests.
            None if platforms.is_empty() => {
                let digest = repository.clone()?.digest(tag).await.map_err(said)?;
                (digest.ok_or_else(not_there)?, None)
            }
            // One answer has both.
            None => {
                let fetched = repository.clone()?.manifest(tag).await.map_err(said)?;
                let fetched = fetched.ok_or_else(not_there)?;
                let manifest = serde_json::from_slice(&fetched.bytes).ok();
                (fetched.digest, manifest)
            }
        };
        let read = platforms.iter().map(|platform| async {
            let base = base(repository.as_ref().ok()?, manifest.as_ref()?, platform).await;
            Some(((name.clone(), (*platform).clone()), base?))
        });
        let read: Vec<_> = join_all(read).await.into_iter().flatten().collect();
        let is_moving = image.digest.is_none();
        Ok::<_, Reason>((name.clone(), digest.to_string(), is_moving, read))
    });
    let mut digests = Digests::default();
    for (name, digest, is_moving, bases) in try_join_all(asked).await? {
        if is_moving {
            digests.moving.insert(name.clone(), digest.clone());
        }
        digests.all.insert(name, digest);
        digests.bases.extend(bases);
    }
    Ok(digests)
}

#[derive(Deserialize)]
struct Manifest {
    config: Option<Part>,
    #[serde(default)]
    manifests: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    digest: String,
    platform: Option<OfPlatform>,
}

#[derive(Deserialize)]
struct OfPlatform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: String,
}

/// An image's configuration (<https://github.com/moby/docker-image-spec/blob/main/spec.md>).
#[derive(Deserialize)]
struct Configuration {
    config: Option<Settings>,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(rename = "Env")]
    environment: Option<Vec<String>>,
    #[serde(rename = "OnBuild")]
    triggers: Option<Vec<String>>,
}

/// More variants of one architecture than this are not looked at.
const MOST_VARIANTS: usize = 8;

/// Reads a base's configuration. Where an index has several variants of the architecture and not exactly that of the stage, all are read.
async fn base(repository: &Repository, manifest: &Manifest, platform: &Platform) -> Option<Base> {
    if let Some(config) = &manifest.config {
        return configured(repository, &config.digest).await;
    }
    let read = manifest
        .variants(platform)?
        .into_iter()
        .map(|digest| async move {
            let config = self::manifest(repository, digest).await?.config?;
            configured(repository, &config.digest).await
        });
    let bases = join_all(read).await.into_iter();
    joined(bases.collect::<Option<Vec<Base>>>()?)
}

impl Manifest {
    /// Digests of the images of an index that may be that of the platform.
    fn variants(&self, platform: &Platform) -> Option<Vec<&String>> {
        let parts = self.manifests.iter();
        let of_architecture: Vec<(&OfPlatform, &String)> = parts
            .filter_map(|part| Some((part.platform.as_ref()?, &part.digest)))
            .filter(|(of, _)| of.os == platform.os && of.architecture == platform.architecture)
            .collect();
        let exact: Vec<&(&OfPlatform, &String)> = of_architecture
            .iter()
            .filter(|(of, _)| of.is(platform))
            .collect();
        let wanted: Vec<&String> = match exact.as_slice() {
            [only] => vec![only.1],
            _ => of_architecture.iter().map(|(_, digest)| *digest).collect(),
        };
        (!wanted.is_empty() && wanted.len() <= MOST_VARIANTS).then_some(wanted)
    }
}

/// What any of these bases may do.
fn joined(mut bases: Vec<Base>) -> Option<Base> {
    let mut base = bases.pop()?;
    for other in bases {
        base.triggers.extend(other.triggers);
        // Which it will be is the builder's choice.
        base.environment = None;
    }
    Some(base)
}

async fn manifest(repository: &Repository, digest: &str) -> Option<Manifest> {
    let manifest = repository.manifest(digest).await.ok()??;
    serde_json::from_slice(&manifest.bytes).ok()
}

async fn configured(repository: &Repository, config: &str) -> Option<Base> {
    let configuration = repository.blob(&config.parse().ok()?).await.ok()??;
    Base::read(&configuration)
}

impl Base {
    fn read(configuration: &[u8]) -> Option<Self> {
        let configuration: Configuration = serde_json::from_slice(configuration).ok()?;
        let Some(settings) = configuration.config else {
            return Some(Self::default());
        };
        let variables = settings.environment.unwrap_or_default();
        let variables = variables.iter().filter_map(|pair| pair.split_once('='));
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Self {
            triggers: settings.triggers.unwrap_or_default(),
            environment: Some(variables.collect()),
        })
    }
}

impl OfPlatform {
    /// Whether it is exactly that platform; `v8` is what every 64-bit Arm is.
    fn is(&self, platform: &Platform) -> bool {
        let plain = |variant: &str| match (platform.architecture.as_str(), variant) {
            ("arm64", "v8") => String::new(),
            (_, variant) => variant.to_owned(),
        };
        plain(&self.variant) == plain(&platform.variant)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// An index, and configurations of two images: nothing that a base does by itself is left out.
    pub(in crate::unchanged) fn check(index: &str, configurations: [&str; 2]) {
        let arm = Platform::parse("linux/arm/v7").unwrap();
        let index = serde_json::from_str::<Manifest>(index).ok();
        if let Some(variants) = index.as_ref().and_then(|index| index.variants(&arm)) {
            assert!((1..=MOST_VARIANTS).contains(&variants.len()));
        }
        let read = configurations.map(|text| Base::read(text.as_bytes()));
        if let [Some(one), Some(other)] = read {
            let base = joined(vec![one.clone(), other.clone()]).unwrap();
            let all = [one.triggers, other.triggers].concat();
            assert!(all.iter().all(|trigger| base.triggers.contains(trigger)));
            assert_eq!(base.environment, None);
        }
    }
    use crate::credentials::Credentials;
    use crate::network::Network;
    use crate::runner::env::Env;
    use crate::runner::folder;

    /// Answers as a registry does that holds these, by path.
    fn registry(content: BTreeMap<String, String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                lines
                    .take_while(|line| !line.as_ref().unwrap().is_empty())
                    .for_each(drop);
                let mut words = first.split(' ');
                let (method, path) = (words.next().unwrap(), words.next().unwrap());
                let (status, body) = match content.get(path) {
                    Some(body) => ("200 OK", body.as_str()),
                    None => ("404 Not Found", ""),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                if method != "HEAD" {
                    stream.write_all(body.as_bytes()).unwrap();
                }
            }
        });
        address
    }

    fn digest(text: &str) -> String {
        format!("sha256:{}", ::key::Hash::of(text.as_bytes()))
    }

    /// An index with an image for each of these configurations and variants.
    fn index(configurations: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut content = BTreeMap::new();
        let mut parts = Vec::new();
        for (variant, configuration) in configurations {
            let manifest = format!(r#"{{"config":{{"digest":"{}"}}}}"#, digest(configuration));
            let blob = format!("/v2/base/blobs/{}", digest(configuration));
            content.insert(blob, (*configuration).to_owned());
            let of_platform = digest(&manifest);
            parts.push(format!(
                r#"{{"digest":"{of_platform}","platform":{{"os":"linux","architecture":"arm","variant":"{variant}"}}}}"#
            ));
            content.insert(format!("/v2/base/manifests/{of_platform}"), manifest);
        }
        let index = format!(r#"{{"manifests":[{}]}}"#, parts.join(","));
        content.insert(
            format!("/v2/base/manifests/{}", digest(&index)),
            index.clone(),
        );
        content.insert("/v2/base/manifests/1".to_owned(), index);
        content
    }

    async fn ask(
        content: BTreeMap<String, String>,
        tag: &str,
        platform: &str,
    ) -> Result<(Option<Base>, Digests), Reason> {
        let folder = folder::create(&Env::default()).unwrap();
        let credentials = Credentials::prepare(folder.path(), &[], &[], &Env::default());
        let credentials = credentials.unwrap();
        let registries = Registries::new(&Network::default(), &credentials, false).unwrap();
        let name = format!("{}/base:{tag}", registry(content));
        let wanted = (name.clone(), Platform::parse(platform).unwrap());
        let bases = BTreeSet::from([wanted.clone()]);
        let found = digests(&BTreeSet::from([name]), &bases, &registries).await?;
        Ok((found.bases.get(&wanted).cloned(), found))
    }

    #[tokio::test]
    async fn a_base_says_its_digest_its_variables_and_its_triggers() {
        let plain = r#"{"config":{"Env":["A=b=c","PATH=/bin"]}}"#;
        let trigger = r#"{"config":{"OnBuild":["COPY . ."]}}"#;
        let content = index(&[("v6", trigger), ("v7", plain)]);
        let (base, found) = ask(content.clone(), "1", "linux/arm/v7").await.unwrap();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let base = base.unwrap();
        assert_eq!(
            base.environment,
            Some(vec![variable("A", "b=c"), variable("PATH", "/bin")])
        );
        assert_eq!(base.triggers, Vec::<String>::new());
        let expected = digest(&content["/v2/base/manifests/1"]);
        assert_eq!(found.all.values().collect::<Vec<_>>(), [&expected]);
        assert_eq!(found.all, found.moving);

        // Which of the variants it will be is the builder's choice.
        let (base, _) = ask(content, "1", "linux/arm/v5").await.unwrap();
        let base = base.unwrap();
        assert_eq!(base.triggers, ["COPY . ."]);
        assert_eq!(base.environment, None);
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_or_left_out() {
        let configuration = r#"{"config":{}}"#;
        let mut content = index(&[("v7", configuration)]);
        let error = ask(content.clone(), "2", "linux/arm/v7").await.unwrap_err();
        assert!(error.ends_with("its registry does not have it"), "{error}");
        let (base, _) = ask(content.clone(), "1", "linux/amd64").await.unwrap();
        assert_eq!(base, None);
        // Another blob than its digest says.
        let blob = format!("/v2/base/blobs/{}", digest(configuration));
        content.insert(blob, "{}".to_owned());
        let (base, _) = ask(content, "1", "linux/arm/v7").await.unwrap();
        assert_eq!(base, None);
    }
}
