//! The order of the work: listen, compare, plan, pack and upload while the configuration arrives, compose, publish.

use std::io::PipeReader;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use image::Digest;
use layers::{
    Compression, Diff, LayerState, Limits, Owners, Packages, Packer, Plan, Times, Tree, Workers,
};
use protocol::{BASE_PATH, Event, Job, LayerSource, LayerTimes, Summary, configuration_repository};
use sha2::{Digest as _, Sha256};
use upload::{Blob, Descriptor, How, Pending, Present};

use crate::base_image;
use crate::compose::{self, Base, BaseLayer, NewLayer};
use crate::destinations::Destinations;
use crate::events::Events;
use crate::job;
use crate::previous::{self, Kept, Previous};
use crate::receiver::{Layers, Received, Receiver};
use crate::remembered::Remembered;
use crate::room::Room;

/// A cache mount.
const CACHE_FOLDER: &str = "/cache";
const CACHE: &str = "/cache/digests";

/// How long BuildKit may take to push the configuration after it can.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often progress is reported.
const REPORT: Duration = Duration::from_millis(500);

/// What to do about an error, where that is known.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    let upload = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<upload::Error>());
    upload.and_then(upload::Error::hint).map(str::to_owned)
}

/// Does all of it.
pub(crate) fn run(
    events: &Arc<Events>,
    job: &Path,
    image: Tree,
    threads: usize,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let job: Job = job::read(job)?;
    job::check(job.version)?;
    let secrets = job::secrets()?;
    let room = Room::of(job.memory);
    let destinations = Destinations::new(
        &job.destinations,
        &job.base,
        job.answer_within,
        room,
        &secrets,
    )?;
    let destinations = Arc::new(destinations);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("could not start a thread")?;
    let repository = configuration_repository(&job.nonce);
    let kept = match job.base {
        protocol::Base::Configuration => Layers::Kept,
        protocol::Base::Scratch | protocol::Base::Registry(_) => Layers::Dropped,
    };
    let listening = Receiver::listen(repository, kept, Arc::clone(&destinations));
    let mut receiver = runtime.block_on(listening)?;
    events.send(&Event::Listening {
        port: receiver.port,
    });

    let workers = Workers::new(job.threads.unwrap_or(threads), room.chunks)?;
    let base = match job.base {
        protocol::Base::Scratch => None,
        _ => Some(Tree::open(Path::new(BASE_PATH))?),
    };
    let note = job.destinations.first().map(|destination| {
        previous::note_path(
            Path::new(CACHE_FOLDER),
            &destination.registry,
            &destination.repository,
            job.platform.as_deref(),
        )
    });
    let previous = {
        let (destinations, job, note) = (Arc::clone(&destinations), job.clone(), note.clone());
        std::thread::spawn(move || {
            let note = note.unwrap_or_default();
            let first = destinations.first();
            let platform = job.platform.as_deref();
            first.map(|first| Previous::read(first, &job.previous, platform, &note))
        })
    };
    let diff = Diff::new(&image, base.as_ref(), &workers)?;
    let owners = Owners::read(&image, &diff, &workers)?;
    let packing = Arc::new(Packing {
        image,
        diff,
        owners,
        workers,
        compression: compression(&job),
        times: job.times,
    });
    let Packing { diff, owners, .. } = &*packing;
    let sizes = diff.entries.iter().map(|entry| entry.found.size);
    let bytes = sizes.fold(0, u64::saturating_add);
    events.send(&Event::Compared {
        changed: diff.entries.len() as u64,
        removed: diff.removed.len() as u64,
        bytes,
        milliseconds: milliseconds(started),
    });

    // Without the image before, it takes longer.
    let previous = Arc::new(previous.join().ok().flatten().unwrap_or_default());
    let remembered = Remembered::load(
        Path::new(CACHE),
        (packing.compression, media_type(&job)),
        Arc::clone(&previous),
        Arc::clone(&destinations),
    );
    let work = Arc::new(Work {
        job,
        remembered,
        destinations: Arc::clone(&destinations),
        events: Arc::clone(events),
        packing: Arc::clone(&packing),
        previous: Arc::clone(&previous),
        packed: AtomicU64::new(0),
        total: bytes,
        room,
    });
    let pushing = work.start()?;

    let received = runtime.block_on(receiver.wait(PATIENCE))?;
    let base = compose_base(&work.job, &received)?;
    let copies = match work.job.base {
        protocol::Base::Registry(_) => copies(&destinations, &base.layers),
        _ => Vec::new(),
    };
    let packages = Packages::new(diff, owners);
    let (mut plan, mut layers) = finished(pushing)?;
    if base.layers.len() + plan.layers.len() > Limits::default().layers_with_base {
        plan = work.plan(base.layers.len());
        layers = work.push(&plan, &packing.times())?;
    }
    if let Some(problem) = receiver.problem() {
        return Err(problem);
    }
    let kept = Kept {
        assignment: plan.assignment,
        packages,
        headers: layers.iter().map(Pushed::headers).collect(),
    };
    for copy in copies {
        let copied = destinations.finish(copy);
        copied.context("could not copy a layer of the base image")?;
    }
    let image = work.publish(&base, &layers, &kept, started)?;
    let states = layers.iter().map(|layer| (layer.state, layer.tar));
    work.remembered.keep(states, &image, Path::new(CACHE));
    if let Some(note) = note {
        previous::note(&note, &image);
    }
    // Many small pieces of memory, for which nothing has to wait.
    std::thread::spawn(move || drop((work, packing)));
    Ok(())
}

/// The thread that plans, packs and uploads layers.
type Layering = JoinHandle<anyhow::Result<(Plan, Vec<Pushed>)>>;

fn finished(pushing: Layering) -> anyhow::Result<(Plan, Vec<Pushed>)> {
    let ended = pushing.join();
    ended.unwrap_or_else(|_| Err(anyhow!("the thread that pushes layers has ended")))
}

/// The configuration, and the layers that are not packed here.
fn compose_base(job: &Job, received: &Received) -> anyhow::Result<Base> {
    let digest = compose::configuration_digest(&received.manifest)?;
    let configuration = received
        .blobs
        .get(digest.as_str())
        .ok_or_else(|| anyhow!("BuildKit did not push the image's configuration"))?;
    let layers = match job.base {
        protocol::Base::Configuration => {
            return Ok(Base::new(&received.manifest, configuration)?);
        }
        protocol::Base::Scratch => Vec::new(),
        protocol::Base::Registry(_) => {
            let diff_ids = compose::diff_ids(configuration)?;
            base_image::layers_of(&received.bases, &diff_ids)?
        }
    };
    Ok(Base::on_layers(configuration, layers, job.kept)?)
}

/// Starts to copy the layers of the base image that are missing somewhere.
fn copies(destinations: &Destinations, layers: &[BaseLayer]) -> Vec<Vec<Pending<Present>>> {
    let missing = layers
        .iter()
        .filter(|layer| !destinations.obtain(&layer.digest));
    missing
        .map(|layer| {
            destinations.copy(&Descriptor {
                digest: layer.digest.clone(),
                size: layer.size,
            })
        })
        .collect()
}

/// What it takes to pack a layer, now or once more.
struct Packing {
    image: Tree,
    diff: Diff,
    owners: Owners,
    workers: Workers,
    compression: Compression,
    times: LayerTimes,
}

impl Packing {
    /// The times that the layers have.
    fn times(&self) -> Times<'_> {
        match self.times {
            LayerTimes::Keep => Times::kept(),
            LayerTimes::Packages => Times::of_packages(&self.diff, &self.owners),
        }
    }

    fn packer<'a>(&'a self, times: &'a Times<'a>) -> Packer<'a> {
        Packer::new(
            &self.image,
            &self.diff,
            times,
            &self.workers,
            self.compression,
        )
    }

    /// Packs a layer once more, for an upload that failed when its start was forgotten.
    fn again(self: &Arc<Self>, layer: &Arc<layers::Layer>) -> std::io::Result<PipeReader> {
        let (reader, mut writer) = std::io::pipe()?;
        let (packing, layer) = (Arc::clone(self), Arc::clone(layer));
        std::thread::Builder::new()
            .name("pack again".to_owned())
            .spawn(move || {
                // Who reads sees that the content is too short.
                let _ = packing
                    .packer(&packing.times())
                    .compress(&layer, &mut writer);
            })?;
        Ok(reader)
    }
}

struct Work {
    job: Job,
    destinations: Arc<Destinations>,
    events: Arc<Events>,
    packing: Arc<Packing>,
    previous: Arc<Previous>,
    remembered: Remembered,
    /// Bytes of tar that were packed, or are known to be in the repositories.
    packed: AtomicU64,
    /// Bytes of files.
    total: u64,
    room: Room,
}

/// A layer in all repositories.
struct Pushed {
    layer: NewLayer,
    /// Where it came from.
    source: LayerSource,
    state: LayerState,
    tar: layers::PackedLayer,
}

impl Pushed {
    /// What the image notes of it.
    fn headers(&self) -> (String, String) {
        (self.layer.diff_id.to_string(), self.state.headers.hex())
    }
}

impl Work {
    /// Plans, packs and uploads all layers on a thread. The program may end before it does.
    fn start(self: &Arc<Self>) -> anyhow::Result<Layering> {
        let work = Arc::clone(self);
        std::thread::Builder::new()
            .name("layers".to_owned())
            .spawn(move || {
                // The number of layers below matters only where there are very many, so that nothing waits for the configuration.
                let workers = &work.packing.workers;
                let (plan, times) = workers.join(|| work.plan(0), || work.packing.times());
                let layers = work.push(&plan, &times)?;
                Ok((plan, layers))
            })
            .context("could not start a thread")
    }

    /// The layers over a base of so many.
    fn plan(&self, base_layers: usize) -> Plan {
        let Packing { diff, owners, .. } = &*self.packing;
        let before = Some(&self.previous.kept.assignment).filter(|_| self.previous.is_known());
        Plan::new(diff, owners, base_layers, before, Limits::default())
    }

    /// Packs and uploads all layers, the largest first. They are in the image's order then.
    fn push(&self, plan: &Plan, times: &Times<'_>) -> anyhow::Result<Vec<Pushed>> {
        let packer = self.packing.packer(times).counted_in(&self.packed);
        let queue = Mutex::new(plan.largest_first().into_iter());
        let done: Mutex<Vec<Pushed>> = Mutex::default();
        let failed: Mutex<Option<anyhow::Error>> = Mutex::default();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.report(&is_over));
            let packers: Vec<_> = (0..self.room.layers)
                .map(|_| {
                    scope.spawn(|| {
                        while lock(&failed).is_none() {
                            let Some(layer) = lock(&queue).next() else {
                                return;
                            };
                            match self.push_layer(layer, times, &packer) {
                                Ok(pushed) => lock(&done).push(pushed),
                                Err(error) => {
                                    lock(&failed).get_or_insert(error);
                                }
                            }
                        }
                    })
                })
                .collect();
            for packer in packers {
                // A panic is a failure of the whole step.
                if packer.join().is_err() {
                    lock(&failed).get_or_insert_with(|| anyhow!("a thread that packs has ended"));
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let order = |name: &str| plan.layers.iter().position(|layer| layer.name == name);
        done.sort_by_key(|pushed| order(&pushed.layer.name));
        Ok(done)
    }

    fn push_layer(
        &self,
        layer: &layers::Layer,
        times: &Times<'_>,
        packer: &Packer<'_>,
    ) -> anyhow::Result<Pushed> {
        let state = LayerState::new(&self.packing.diff, times, layer);
        let known = self.remembered.of_state(&state);
        if let Some(blob) = known.filter(|blob| self.has(blob)) {
            self.packed.fetch_add(blob.tar.size, Ordering::Relaxed);
            return Ok(self.pushed(layer, state, blob, LayerSource::Unchanged));
        }
        if let Some(blob) = self.as_before(layer, &state, packer)? {
            return Ok(self.pushed(layer, state, blob, LayerSource::Present));
        }
        let (mut writer, content) = Blob::written_and_hashed(self.destinations.memory());
        let (packing, again) = (Arc::clone(&self.packing), Arc::new(layer.clone()));
        let content = content.with_repeat(move || Ok(Box::new(packing.again(&again)?)));
        let pending = self.destinations.push(&content);
        let blob = match packer.compress(layer, &mut writer) {
            Ok(blob) => blob,
            Err(error) => {
                // The uploads say more than a writer that nobody reads from.
                writer.fail(&std::io::Error::other(error.to_string()));
                let upload = self.destinations.finish(pending).err();
                return Err(upload
                    .filter(|_| is_broken_pipe(&error))
                    .unwrap_or_else(|| error.into()));
            }
        };
        writer
            .finish_as(blob.digest())
            .context("could not pass on a packed layer")?;
        let source = match self.destinations.finish(pending)? {
            How::Uploaded => LayerSource::Uploaded,
            _ => LayerSource::Present,
        };
        Ok(self.pushed(layer, state, blob, source))
    }

    /// Whether all repositories have a blob that was made before. One that is not there any more is packed once more.
    fn has(&self, blob: &layers::Blob) -> bool {
        let descriptor = Descriptor {
            digest: blob.digest(),
            size: blob.size,
        };
        let pending = self.destinations.push(&Blob::known(descriptor));
        self.destinations.finish(pending).is_ok()
    }

    /// The blob that the image before has for the same tar, or that this builder once made of it, if all repositories have it. Such a
    /// layer is read, and neither compressed nor sent. One whose tar must be a new one is not read for that.
    fn as_before(
        &self,
        layer: &layers::Layer,
        state: &LayerState,
        packer: &Packer<'_>,
    ) -> anyhow::Result<Option<layers::Blob>> {
        if !self.remembered.has(&state.headers) {
            return Ok(None);
        }
        let tar = packer.pack(layer, &mut std::io::sink())?;
        let known = self.remembered.of_tar(tar).filter(|blob| self.has(blob));
        if known.is_none() {
            // It is packed once more, which counts from the start.
            self.packed.fetch_sub(tar.size, Ordering::Relaxed);
        }
        Ok(known)
    }

    fn pushed(
        &self,
        layer: &layers::Layer,
        state: LayerState,
        blob: layers::Blob,
        source: LayerSource,
    ) -> Pushed {
        let new = NewLayer {
            diff_id: blob.tar.diff_id(),
            digest: blob.digest(),
            size: blob.size,
            media_type: media_type(&self.job),
            name: layer.name.clone(),
        };
        self.events.send(&Event::Layer(event_layer(&new, source)));
        Pushed {
            layer: new,
            source,
            state,
            tar: blob.tar,
        }
    }

    /// Configuration, manifest and tags. Returns the manifest's digest.
    fn publish(
        &self,
        base: &Base,
        layers: &[Pushed],
        kept: &Kept,
        started: Instant,
    ) -> anyhow::Result<Digest> {
        let new: Vec<NewLayer> = layers.iter().map(|pushed| pushed.layer.clone()).collect();
        let configuration = base.configuration(&new, &self.job.removed);
        let id = digest(&configuration);
        let mut annotations = self.job.annotations.clone();
        let value = kept.annotation();
        annotations.extend(value.map(|value| (previous::ANNOTATION.to_owned(), value)));
        let manifest = base.manifest((&id, configuration.len()), &new, &annotations);
        let pending = self.destinations.push(&Blob::bytes(configuration.into()));
        self.destinations.finish(pending)?;
        for layer in &base.layers {
            // BuildKit asked for each of them; one that it did not need to send is looked for here.
            if !self.destinations.obtain(&layer.digest) {
                return Err(anyhow!(
                    "layer {} of the base image is not in the registry",
                    layer.digest
                ));
            }
        }
        let media_type = base.media_type();
        self.destinations.publish(media_type, &manifest)?;
        let digest = digest(&manifest);
        self.events.published(&self.job.destinations, &digest);
        let progress = self.destinations.progress();
        let bases = base.layers.iter().map(|layer| protocol::Layer {
            name: "base image".to_owned(),
            digest: layer.digest.clone(),
            size: layer.size,
            source: LayerSource::Base,
        });
        let own = layers
            .iter()
            .map(|pushed| event_layer(&pushed.layer, pushed.source));
        let all: Vec<protocol::Layer> = bases.chain(own).collect();
        let reused = all
            .iter()
            .filter(|layer| layer.source != LayerSource::Uploaded);
        self.events.send(&Event::Done(Summary {
            digest: digest.clone(),
            configuration: Some(id),
            media_type: media_type.to_owned(),
            size: manifest.len() as u64,
            reused: reused.map(|layer| layer.size).fold(0, u64::saturating_add),
            layers: all,
            uploaded: progress.sent,
            streams: count(progress.most_streams),
            packages: self.previous.is_known().then(|| {
                let changes = kept.packages.changes(&self.previous.kept.packages);
                let changes = changes.into_iter().take(protocol::MOST_PACKAGES);
                changes.map(package_change).collect()
            }),
            milliseconds: milliseconds(started),
        }));
        Ok(digest)
    }

    /// Says how far the work is, until it is over.
    fn report(&self, is_over: &std::sync::atomic::AtomicBool) {
        let mut last = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            if last.elapsed() < REPORT {
                continue;
            }
            last = Instant::now();
            let progress = self.destinations.progress();
            self.events.send(&Event::Progress {
                packed: self.packed.load(Ordering::Relaxed),
                total: self.total,
                uploaded: progress.sent,
                streams: count(progress.streams),
            });
        }
    }
}

fn is_broken_pipe(error: &layers::Error) -> bool {
    matches!(error, layers::Error::Sink(_))
}

fn event_layer(layer: &NewLayer, source: LayerSource) -> protocol::Layer {
    protocol::Layer {
        name: layer.name.clone(),
        digest: layer.digest.clone(),
        size: layer.size,
        source,
    }
}

fn package_change(change: layers::PackageChange) -> protocol::PackageChange {
    let state = |state: layers::PackageState| protocol::PackageState {
        size: state.size,
        version: state.version,
    };
    protocol::PackageChange {
        name: change.name,
        before: change.before.map(state),
        after: change.after.map(state),
    }
}

fn compression(job: &Job) -> Compression {
    match job.compression {
        protocol::Compression::Zstd { level } => Compression::Zstd { level },
        protocol::Compression::Gzip { level } => Compression::Gzip { level },
    }
}

fn media_type(job: &Job) -> &'static str {
    match job.compression {
        protocol::Compression::Gzip { .. } => "application/vnd.oci.image.layer.v1.tar+gzip",
        protocol::Compression::Zstd { .. } => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(content).into())
}

fn count(streams: usize) -> u32 {
    u32::try_from(streams).unwrap_or(u32::MAX)
}

pub(crate) fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
