//! The repositories that get the image, and what is known to be in all of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base_image::{self, Candidate};
use crate::room::Room;
use anyhow::{Context as _, anyhow};
use image::Digest;
use protocol::{Base, Destination, Secrets};
use upload::{
    Blob, Credentials, Descriptor, How, Memory, Pending, Present, Proxies, RegistrySettings,
    Repository, Settings, Stored, Timing, Uploader,
};

/// Of all registries together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Bytes.
    pub sent: u64,
    /// Uploads that run.
    pub streams: usize,
    /// The most that ran at a time, in each registry.
    pub most_streams: usize,
}

/// All repositories.
pub(crate) struct Destinations {
    uploader: Uploader,
    registries: Vec<upload::Registry>,
    repositories: Vec<Target>,
    /// The base image's, where its layers are to be had from there, and the image's architecture.
    base: Option<(Repository, Option<String>)>,
    memory: Memory,
    present: Mutex<HashMap<String, Vec<Present>>>,
}

/// The usual limits, none above the one that is given.
fn timing(longest: Option<Duration>) -> Timing {
    let usual = Timing::default();
    let limit = |usual: Duration| longest.map_or(usual, |longest| usual.min(longest));
    Timing {
        silence: limit(usual.silence),
        answer: limit(usual.answer),
        ..usual
    }
}

struct Target {
    repository: Repository,
    mount_from: Vec<String>,
    tags: Vec<String>,
}

impl Destinations {
    /// Makes clients; asks nothing yet.
    pub(crate) fn new(
        destinations: &[Destination],
        base: &Base,
        answer_within: Option<u64>,
        room: Room,
        secrets: &Secrets,
    ) -> anyhow::Result<Self> {
        let Secrets { proxies, .. } = secrets;
        let uploader = Uploader::start(&Settings {
            proxies: Proxies {
                http: proxies.http.clone(),
                https: proxies.https.clone(),
                no_proxy: proxies.no_proxy.clone(),
            },
            authorities: secrets.authorities.clone(),
            timing: timing(answer_within.map(Duration::from_secs)),
            ..Settings::default()
        })?;
        let mut registries: Vec<(&str, upload::Registry)> = Vec::new();
        let mut registry = |host, is_plain| -> anyhow::Result<upload::Registry> {
            if let Some((_, registry)) = registries.iter().find(|(name, _)| *name == host) {
                return Ok(registry.clone());
            }
            let mut settings = RegistrySettings::new(host);
            settings.is_plain = is_plain;
            if let Some(login) = secrets.logins.get(host) {
                settings.credentials = Credentials::Basic {
                    user: login.user.clone(),
                    password: login.password.clone(),
                };
            }
            let registry = uploader.registry(settings)?;
            registries.push((host, registry.clone()));
            Ok(registry)
        };
        let mut repositories = Vec::new();
        for destination in destinations {
            let registry = registry(&destination.registry, destination.is_plain)?;
            repositories.push(Target {
                repository: registry.repository(&destination.repository),
                mount_from: destination.mount_from.clone(),
                tags: destination.tags.clone(),
            });
        }
        let base = match base {
            Base::Registry(base) => {
                let registry = registry(&base.registry, base.is_plain)?;
                let repository = registry.repository(&base.repository);
                Some((repository, base.architecture.clone()))
            }
            Base::Configuration | Base::Scratch => None,
        };
        Ok(Self {
            uploader,
            registries: registries
                .into_iter()
                .map(|(_, registry)| registry)
                .collect(),
            repositories,
            base,
            memory: Memory::new(room.sent, room.sent_of_layer),
            present: Mutex::default(),
        })
    }

    /// The images that may be the base, of those that a digest names. Blocks.
    pub(crate) fn read_base(&self, digest: &Digest) -> anyhow::Result<Vec<Candidate>> {
        match &self.base {
            Some((repository, architecture)) => {
                base_image::read(repository, digest, architecture.as_deref())
            }
            None => Ok(Vec::new()),
        }
    }

    /// Starts to copy a layer of the base image to where it is missing.
    pub(crate) fn copy(&self, layer: &Descriptor) -> Vec<Pending<Present>> {
        let mut blob = Blob::known(layer.clone());
        if let Some((base, _)) = self.base.clone() {
            let layer = layer.clone();
            blob = blob.with_repeat(move || Ok(Box::new(base.open(&layer))));
        }
        self.push(&blob)
    }

    /// The first repository.
    pub(crate) fn first(&self) -> Option<&Repository> {
        self.repositories.first().map(|target| &target.repository)
    }

    /// Room for content on its way.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Starts to get a blob into all repositories.
    pub(crate) fn push(&self, blob: &Blob) -> Vec<Pending<Present>> {
        let targets = self.repositories.iter();
        targets
            .map(|target| {
                let mounts = target.mount_from.iter().cloned();
                target.repository.push(blob.clone().mounted_from(mounts))
            })
            .collect()
    }

    /// Waits for such a push. How the blob came there: sent, if any repository did not have it.
    pub(crate) fn finish(&self, pending: Vec<Pending<Present>>) -> anyhow::Result<How> {
        let mut how = How::Reused;
        let mut arrived = Vec::new();
        for pending in pending {
            let present = pending.wait()?;
            how = match (how, present.how()) {
                (How::Uploaded, _) | (_, How::Uploaded) => How::Uploaded,
                (How::Mounted, _) | (_, How::Mounted) => How::Mounted,
                (How::Reused, How::Reused) => How::Reused,
            };
            arrived.push(present);
        }
        if let Some(first) = arrived.first() {
            let digest = first.descriptor().digest.to_string();
            self.present().insert(digest, arrived);
        }
        Ok(how)
    }

    /// Whether all repositories have a blob by now, or can mount it.
    pub(crate) fn obtain(&self, digest: &Digest) -> bool {
        if self.present().contains_key(digest.as_str()) {
            return true;
        }
        let asked: Vec<_> = self
            .repositories
            .iter()
            .map(|target| target.repository.obtain(digest, &target.mount_from))
            .collect();
        let found = asked
            .into_iter()
            .map(|pending| pending.wait().ok().flatten());
        let Some(found) = found.collect::<Option<Vec<Present>>>() else {
            return false;
        };
        self.present().insert(digest.to_string(), found);
        true
    }

    /// Writes the manifest and the tags, and reads them back.
    pub(crate) fn publish(&self, media_type: &str, manifest: &[u8]) -> anyhow::Result<()> {
        let present = self.present().clone();
        let blobs: Vec<Present> = present.into_values().flatten().collect();
        self.publish_with(media_type, manifest, |_| Ok((blobs.clone(), Vec::new())))
    }

    /// The same for an index of images that are there.
    pub(crate) fn publish_index(
        &self,
        media_type: &str,
        index: &[u8],
        images: &[String],
    ) -> anyhow::Result<()> {
        self.publish_with(media_type, index, |repository| {
            let asked: Vec<_> = images.iter().map(|it| repository.manifest(it)).collect();
            let stored = asked.into_iter().zip(images).map(|(asked, image)| {
                let found = asked.wait()?;
                let found = found.ok_or_else(|| anyhow!("image {image} is not in the registry"))?;
                Ok(repository.stored(&found))
            });
            Ok((Vec::new(), stored.collect::<anyhow::Result<_>>()?))
        })
    }

    /// Publishes what `parts` proves to be whole in each repository.
    fn publish_with(
        &self,
        media_type: &str,
        text: &[u8],
        parts: impl Fn(&Repository) -> anyhow::Result<(Vec<Present>, Vec<Stored>)>,
    ) -> anyhow::Result<()> {
        let mut images = Vec::new();
        for Target {
            repository, tags, ..
        } in &self.repositories
        {
            let (blobs, manifests) = parts(repository)?;
            let complete = repository.complete(media_type, text.to_vec(), &blobs, &manifests)?;
            images.push((complete, tags.clone()));
        }
        self.uploader
            .publish(images)
            .wait()
            .context("could not write the image's manifest")?;
        Ok(())
    }

    /// What the uploads to all registries are doing.
    pub(crate) fn progress(&self) -> Progress {
        let all = self.registries.iter().map(upload::Registry::progress);
        all.fold(Progress::default(), |sum, one| Progress {
            sent: sum.sent.saturating_add(one.sent),
            streams: sum.streams.saturating_add(one.streams),
            most_streams: sum.most_streams.saturating_add(one.most_streams),
        })
    }

    fn present(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Present>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
