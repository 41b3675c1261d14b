//! Whether the image's repositories have the key, and the image that it names.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use image::{Digest, ImageRef};
use jiff::Timestamp;
use upload::{Fetched, Repository};

use super::mark::Mark;
use super::{Identity, Reason, Registries};
use crate::aws::error_chain;
use crate::buildx::metadata::Metadata;
use crate::plan::{KEY_TAGS, Look, PushPlan, repositories};
use crate::registry::pushed::{PushedImage, children};

/// What an image or index is, of all kinds of manifests.
const IMAGES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// What the registries say.
#[derive(Debug)]
pub(crate) enum Answer {
    Hit(Box<Hit>),
    Miss(Reason),
}

/// An image of an earlier build of the same inputs, in all repositories.
#[derive(Debug)]
pub(crate) struct Hit {
    pub mark: Mark,
    pub metadata: Metadata,
    pub image: PushedImage,
    places: Vec<Place>,
    names: Vec<ImageRef>,
}

/// The image in one repository.
#[derive(Debug)]
struct Place {
    name: String,
    repository: Repository,
    image: Fetched,
    mark: (Mark, Fetched),
    /// The key that this line of development has had last.
    newest: Option<String>,
}

/// The tag of a key.
pub(super) fn key_tag(identity: &Identity) -> String {
    format!("{KEY_TAGS}-{}", identity.key())
}

/// Asks all repositories of a push for the key, and reads the image.
pub(crate) async fn look_up(
    identity: &Identity,
    look: &Look,
    push: &PushPlan,
    registries: &Registries<'_>,
    now: Timestamp,
) -> Answer {
    let names = repositories(push);
    let places = names
        .iter()
        .map(|name| find(name, identity, look, registries, now));
    let places = match try_join_all(places).await {
        Ok(places) => places,
        Err(reason) => return Answer::Miss(reason),
    };
    match hit(places, push).await {
        Ok(hit) => Answer::Hit(Box::new(hit)),
        Err(reason) => Answer::Miss(reason),
    }
}

/// The key and its image in one repository.
async fn find(
    name: &ImageRef,
    identity: &Identity,
    look: &Look,
    registries: &Registries<'_>,
    now: Timestamp,
) -> Result<Place, Reason> {
    let repository = registries.repository(name)?;
    let address = name.name();
    let tag = key_tag(identity);
    // Only a miss needs the earlier keys, but asks for them at no cost.
    let earlier = join_all(look.earlier.iter().map(|tag| repository.manifest(tag)));
    let (found, earlier) = tokio::join!(repository.manifest(&tag), earlier);
    let earlier: Vec<(&String, Mark)> = look
        .earlier
        .iter()
        .zip(earlier)
        .filter_map(|(tag, found)| Some((tag, Mark::read(&found.ok()??)?)))
        .collect();
    let found = found.map_err(|error| error_chain(&error))?;
    let Some(fetched) = found else {
        return Err(not_there(&address, identity, &earlier));
    };
    let mark = Mark::read(&fetched).filter(|mark| mark.key == identity.key());
    let mark = mark.ok_or_else(|| format!("`{address}:{tag}` is not a key"))?;
    if let Some(age) = look.age {
        let of_image = now.duration_since(mark.built);
        let most = jiff::SignedDuration::try_from(Duration::from_secs(age.seconds));
        if most.is_ok_and(|most| of_image > most) {
            return Err(format!(
                "the image of the same build is from {}, which is longer ago than {age}",
                mark.built.strftime("%F %R UTC")
            ));
        }
    }
    let digest = mark.digest.clone();
    let image = repository.manifest(digest.as_str()).await;
    let image = image.map_err(|error| error_chain(&error))?;
    let image = image.ok_or_else(|| {
        format!("the image of the same build is gone: `{address}` has no `{digest}`")
    })?;
    if !is_image(&image) {
        return Err(format!("`{address}@{digest}` is not an image"));
    }
    let own = look.newest.as_ref();
    let newest = earlier
        .iter()
        .find(|(tag, _)| Some(*tag) == own)
        .map(|(_, mark)| mark.key.clone());
    Ok(Place {
        name: address,
        repository,
        image,
        mark: (mark, fetched),
        newest,
    })
}

/// Why the key is not there: what changed since the nearest earlier key.
fn not_there(address: &str, identity: &Identity, earlier: &[(&String, Mark)]) -> Reason {
    let nothing = format!("`{address}` has no image of the same build");
    let Some((_, mark)) = earlier.first() else {
        return nothing;
    };
    let changed = identity.key.changed(&mark.parts);
    let changed = match changed.as_slice() {
        // Values of arguments are in no part.
        [] => "a build argument".to_owned(),
        parts => shown(parts),
    };
    let since = match (&mark.run, &mark.commit) {
        (Some(run), _) => format!("the build of {run}"),
        (None, Some(commit)) => format!("the build of {commit}"),
        (None, None) => format!("the build of {}", mark.built.strftime("%F %R UTC")),
    };
    format!("{nothing}; changed since {since}: {changed}")
}

/// More parts than this are counted.
const MOST_SHOWN: usize = 6;

fn shown(parts: &[String]) -> String {
    let named = parts.iter().take(MOST_SHOWN);
    // A name may come from a manifest that anyone wrote.
    let named = named.map(|part| {
        let plain = part.chars().filter(|character| !character.is_control());
        plain.take(200).collect::<String>()
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if parts.len() > MOST_SHOWN {
        text.push_str(&format!(" and {} more", parts.len() - MOST_SHOWN));
    }
    text
}

/// Whether a manifest is that of an image or an index of images.
fn is_image(fetched: &Fetched) -> bool {
    #[derive(serde::Deserialize)]
    struct Manifest {
        #[serde(rename = "artifactType")]
        kind: Option<String>,
        config: Option<serde_json::Value>,
        manifests: Option<Vec<serde_json::Value>>,
    }
    let manifest = serde_json::from_slice::<Manifest>(&fetched.bytes);
    IMAGES.contains(&fetched.media_type.as_str())
        && manifest.is_ok_and(|manifest| {
            let is_image = manifest.config.is_some_and(|config| {
                let kind = config.get("mediaType").and_then(|kind| kind.as_str());
                kind.is_some_and(|kind| {
                    kind == "application/vnd.oci.image.config.v1+json"
                        || kind == "application/vnd.docker.container.image.v1+json"
                })
            });
            let is_index = manifest.manifests.is_some_and(|all| !all.is_empty());
            manifest.kind.is_none() && (is_image || is_index)
        })
}

async fn hit(places: Vec<Place>, push: &PushPlan) -> Result<Hit, Reason> {
    let (Some(first), Some(name)) = (places.first(), push.names.first()) else {
        return Err("the image has no name".to_owned());
    };
    let digest: Digest = first.mark.0.digest.clone();
    if let Some(other) = places.iter().find(|place| place.mark.0.digest != digest) {
        return Err(format!(
            "`{}` and `{}` have different images of the same build",
            first.name, other.name
        ));
    }
    let text = |fetched: &Fetched| String::from_utf8_lossy(&fetched.bytes).into_owned();
    let manifest = text(&first.image);
    let children = children(&manifest);
    let asked = children.iter().map(|child| async move {
        let found = first.repository.manifest(child).await;
        let found = found.map_err(|error| error_chain(&error))?;
        let found = found.ok_or_else(|| {
            format!(
                "the image of the same build is gone in part: `{}` has no `{child}`",
                first.name
            )
        })?;
        Ok::<_, Reason>((child.clone(), text(&found)))
    });
    let platforms: BTreeMap<String, String> = try_join_all(asked).await?.into_iter().collect();
    let image = PushedImage::existing(name, &digest, &manifest, &platforms);
    let image = image.ok_or_else(|| format!("`{}@{digest}` is not an image", first.name))?;
    Ok(Hit {
        mark: first.mark.0.clone(),
        metadata: Metadata::of_existing(&digest, &manifest, &push.names),
        image,
        names: push.names.clone(),
        places,
    })
}

impl Hit {
    /// Puts the run's tags on the image, where they are not yet. `taken` has the names that can't move, with their digests.
    ///
    /// # Errors
    /// Which tag can't be put, and why.
    pub(crate) async fn tag(&self, look: &Look, taken: &[(String, String)]) -> Result<(), Reason> {
        let digest = self.mark.digest.to_string();
        let mut by_place: Vec<Vec<String>> = vec![Vec::new(); self.places.len()];
        for name in &self.names {
            let shown = name.to_string();
            match taken.iter().find(|(taken, _)| *taken == shown) {
                Some((_, other)) if *other != digest => {
                    return Err(format!("`{shown}` can't move, and is {other}"));
                }
                Some(_) => continue,
                None => {}
            }
            let address = name.name();
            let mut places = self.places.iter();
            let place = places.position(|place| place.name == address);
            if let (Some(tag), Some(tags)) =
                (&name.tag, place.and_then(|place| by_place.get_mut(place)))
            {
                tags.push(tag.clone());
            }
        }
        let tagging = self
            .places
            .iter()
            .zip(&by_place)
            .map(|(place, tags)| async {
                let tagged = place.repository.tag(&place.image, tags).await;
                tagged.map_err(|error| error_chain(&error))
            });
        let (tagged, ()) = tokio::join!(try_join_all(tagging), self.tag_newest(look));
        tagged.map(drop)
    }

    /// Makes the key the newest of this line of development.
    async fn tag_newest(&self, look: &Look) {
        let Some(newest) = look.newest.as_ref().filter(|_| look.unwritten.is_none()) else {
            return;
        };
        let places = self.places.iter();
        let others = places.filter(|place| place.newest.as_ref() != Some(&self.mark.key));
        let tagging = others.map(|place| async {
            let tags = std::slice::from_ref(newest);
            if let Err(error) = place.repository.tag(&place.mark.1, tags).await {
                tracing::debug!("{}", error_chain(&error));
            }
        });
        join_all(tagging).await;
    }
}
