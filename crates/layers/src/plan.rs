//! Which file goes to which layer.
//!
//! The aim: layers that are about equally large, so that they are sent and fetched in parallel; few of them; and the same ones
//! from image to image, so that a change moves what it changed and two images with the same packages share blobs.
//!
//! # Terms
//! - *Unit*: a file, or all names of an inode, which must be in one layer to be linked. Directories that hold anything new are in
//!   every layer that needs them and belong to no unit.
//! - *Component*: the units of one [owner](crate::Owner); or a single unit of at least [`Limits::large_file`], named after owner and path.
//! - *Piece*: a component, or a stretch of one (by path) if the component is larger than [`Limits::largest`].
//! - *Estimate*: bytes after compression, guessed from size and name: nothing is read yet.
//! - *Scale*: the number of times that all limits are doubled, for images that would need too many layers.
//!
//! # Phases
//! 1. Units get their owner. Removed names belong to the directory they were in.
//! 2. Components larger than [`Limits::largest`] are cut. A cut is made where the layer so far has between half of [`Limits::largest`] and all of
//!    it, before the path whose hash is lowest: a file more or less moves the cuts around it, but not all that follow.
//! 3. A piece of at least [`Limits::smallest`] gets a layer of its own.
//! 4. Smaller ones are collected: those of packages in up to 8 layers, the rest in up to 4, by the hash of the component's name.
//!    The number of layers is a power of two near sum / [`Limits::smallest`] / 2, so that a doubling splits each layer in two.
//! 5. Too many layers: double the limits and start again with phase 1.
//! 6. Order in the image: packages first and files without a package last, since those change most, and a node unpacks again
//!    what is above a changed layer.
//!
//! # Why it is deterministic
//! A component's cuts and layer follow from its own name, paths and sizes. Other components matter in two places, both coarse:
//! the number of collected layers and the scale are powers of two of sums. Nothing depends on times, inodes or the order of reading.
//!
//! # Later images
//! Sizes change, and a piece that crosses a limit would move. So the [`Assignment`] is kept with the image, and the next plan
//! starts from it: a component that has a layer stays in it, at the cuts it had; new ones are placed by phases 3 and 4 among the
//! layers there are. The old assignment is dropped where it no longer fits: for a piece that has grown beyond twice
//! [`Limits::largest`], and altogether if the image needs too many layers with it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::diff::{Diff, Entry};
use crate::owner::{Owner, Owners};
use crate::path::TreePath;
use crate::tree::Kind;

/// How large layers should be, in estimated bytes after compression, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A piece of at least this many bytes has a layer of its own.
    pub smallest: u64,
    /// Components of more bytes are cut.
    pub largest: u64,
    /// A file of at least this many bytes is a component of its own.
    pub large_file: u64,
    /// New layers of one image: to push each takes four or five requests, and ECR's quotas are for all pushes of an account.
    pub layers: usize,
    /// Layers of one image with those of its base. Docker's overlay2 fails at about 125.
    /// <https://github.com/moby/moby/issues/26380>
    pub layers_with_base: usize,
}

impl Default for Limits {
    /// 32 to 128 MiB, at most 24 layers, 100 with the base.
    fn default() -> Self {
        Self {
            smallest: 32 << 20,
            largest: 128 << 20,
            large_file: 64 << 20,
            layers: 24,
            layers_with_base: 100,
        }
    }
}

impl Limits {
    fn doubled(self, scale: u32) -> Self {
        Self {
            smallest: self.smallest << scale,
            largest: self.largest << scale,
            large_file: self.large_file << scale,
            ..self
        }
    }
}

/// Where each file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The layers in the order they have in the image, the lowest first. Empty if nothing changed.
    pub layers: Vec<Layer>,
    /// What to keep for the next image.
    pub assignment: Assignment,
}

/// A layer to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The component it is made of, or `packages-1-of-4`, `files-1-of-1`.
    pub name: String,
    /// Bytes of its blob, guessed.
    pub estimate: u64,
    /// Which of the diff's entries it has.
    pub(crate) entries: Vec<usize>,
    /// Which of the diff's removed names it has.
    pub(crate) removed: Vec<usize>,
}

impl Layer {
    /// Everything in one layer.
    pub fn whole(diff: &Diff) -> Self {
        Self {
            name: "all".to_owned(),
            estimate: diff.entries.iter().map(estimate).sum(),
            entries: (0..diff.entries.len()).collect(),
            removed: (0..diff.removed.len()).collect(),
        }
    }
}

/// Which component is in which layer of an image; goes with the image, for the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    scale: u32,
    layers: Vec<AssignedLayer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AssignedLayer {
    name: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Piece {
    component: String,
    /// The path it starts with; none for a component's first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

impl Plan {
    /// Plans the layers of `diff` over a base of `base_layers` layers, starting from `previous` if there is one.
    pub fn new(
        diff: &Diff,
        owners: &Owners,
        base_layers: usize,
        previous: Option<&Assignment>,
        limits: Limits,
    ) -> Self {
        let most = limits
            .layers_with_base
            .saturating_sub(base_layers)
            .clamp(1, limits.layers.max(1));
        let units = units(diff, owners);
        let kept = previous
            .filter(|it| it.scale < LAST_SCALE)
            .map(|previous| plan(&units, previous, limits))
            .filter(|plan| plan.layers.len() <= most);
        let mut fresh = (0..LAST_SCALE).map(|scale| {
            let nothing = Assignment {
                scale,
                layers: Vec::new(),
            };
            plan(&units, &nothing, limits)
        });
        kept.or_else(|| fresh.find(|plan| plan.layers.len() <= most))
            .unwrap_or_else(|| {
                let layer = Layer::whole(diff);
                Self {
                    layers: vec![layer],
                    assignment: Assignment::default(),
                }
            })
    }

    /// The layers in the order in which to pack and send them: the largest takes longest.
    pub fn largest_first(&self) -> Vec<&Layer> {
        let mut layers: Vec<_> = self.layers.iter().collect();
        layers.sort_by_key(|layer| std::cmp::Reverse(layer.estimate));
        layers
    }
}

/// From here on a limit would not fit 64 bits; everything fits one layer long before.
const LAST_SCALE: u32 = 32;

/// Files that must be together.
#[derive(Debug)]
struct Unit<'a> {
    path: &'a TreePath,
    owner: Owner,
    estimate: u64,
    entries: Vec<usize>,
    removed: Option<usize>,
}

fn units<'a>(diff: &'a Diff, owners: &Owners) -> Vec<Unit<'a>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut inodes: HashMap<u64, usize> = HashMap::new();
    for (at, entry) in diff.entries.iter().enumerate() {
        let directory = entry.found.kind == Kind::Directory;
        if directory && diff.directories.contains_key(&entry.path) {
            continue;
        }
        let linked = !directory && entry.found.names > 1;
        if linked
            && let Some(first) = inodes.get(&entry.found.inode)
            && let Some(unit) = units.get_mut(*first)
        {
            unit.entries.push(at);
            continue;
        }
        if linked {
            inodes.insert(entry.found.inode, units.len());
        }
        units.push(Unit {
            path: &entry.path,
            owner: owners.of(&entry.path),
            estimate: estimate(entry),
            entries: vec![at],
            removed: None,
        });
    }
    for (at, path) in diff.removed.iter().enumerate() {
        units.push(Unit {
            path,
            owner: Owner::of_directory(path),
            estimate: HEADER,
            entries: Vec::new(),
            removed: Some(at),
        });
    }
    units.sort_by(|one, other| one.path.cmp(other.path));
    units
}

/// A header compresses to about this.
const HEADER: u64 = 80;

/// Bytes after compression. Measured with zstd at level 1: libraries 0.40, Python packages as a whole 0.27, sources 0.25.
fn estimate(entry: &Entry) -> u64 {
    let size = entry.found.size;
    let name = entry.path.name();
    let extension = name
        .iter()
        .rposition(|&byte| byte == b'.')
        .and_then(|dot| name.get(dot + 1..))
        .unwrap_or_default();
    let compressed = match extension {
        b"gz" | b"tgz" | b"xz" | b"bz2" | b"zst" | b"zip" | b"whl" | b"jar" | b"conda" | b"npz"
        | b"png" | b"jpg" | b"jpeg" | b"webp" | b"woff2" | b"mp4" | b"safetensors" | b"pt"
        | b"pth" | b"onnx" | b"gguf" => size,
        b"py" | b"pyi" | b"js" | b"ts" | b"mjs" | b"cjs" | b"json" | b"map" | b"txt" | b"md"
        | b"h" | b"hpp" | b"c" | b"html" | b"css" | b"rst" | b"xml" | b"yaml" | b"csv" => size / 4,
        _ => size / 5 * 2,
    };
    compressed + HEADER
}

/// A component's units, in the order of their paths.
#[derive(Debug, Default)]
struct Component<'a> {
    package: bool,
    units: Vec<&'a Unit<'a>>,
}

fn plan(units: &[Unit<'_>], previous: &Assignment, limits: Limits) -> Plan {
    let limits = limits.doubled(previous.scale);
    let mut components: BTreeMap<String, Component<'_>> = BTreeMap::new();
    for unit in units {
        let mut name = unit.owner.to_string();
        if unit.estimate >= limits.large_file {
            // Not as messages show it: a name is compared with those of earlier images.
            name = format!("{name}:{}", String::from_utf8_lossy(unit.path.as_bytes()));
        }
        let component = components.entry(name).or_default();
        component.package = unit.owner.is_package();
        component.units.push(unit);
    }

    let mut placement = Placement::new(previous, limits);
    let (mut packages, mut files) = (Vec::new(), Vec::new());
    for (name, component) in &components {
        let kept = placement.cuts(name).filter(|cuts| {
            stretches(&component.units, cuts)
                .iter()
                .all(|(_, units)| sum(units) <= 2 * limits.largest)
        });
        let cuts = kept.unwrap_or_else(|| cuts(&component.units, limits.largest));
        for (from, units) in stretches(&component.units, &cuts) {
            let stretch = Stretch {
                piece: Piece {
                    component: name.clone(),
                    from: from.map(str::to_owned),
                },
                package: component.package,
                estimate: sum(units),
                units,
            };
            let own = match from {
                None => name.clone(),
                Some(from) => format!("{name} from {from}"),
            };
            if let Some(layer) = placement.of(&stretch) {
                placement.put(layer, stretch);
            } else if stretch.estimate >= limits.smallest {
                placement.put(own, stretch);
            } else if stretch.package {
                packages.push(stretch);
            } else {
                files.push(stretch);
            }
        }
    }
    placement.collect(packages, PACKAGES, 8);
    placement.collect(files, FILES, 4);
    placement.finish()
}

fn sum(units: &[&Unit<'_>]) -> u64 {
    units.iter().map(|unit| unit.estimate).sum()
}

/// A piece with what is in it.
#[derive(Debug)]
struct Stretch<'c> {
    piece: Piece,
    package: bool,
    estimate: u64,
    units: &'c [&'c Unit<'c>],
}

/// How collected layers are named.
const PACKAGES: &str = "packages-";
const FILES: &str = "files-";

/// The layers so far.
struct Placement<'c, 'p> {
    previous: &'p Assignment,
    limits: Limits,
    layer_of: HashMap<&'p Piece, &'p str>,
    cuts: HashMap<&'p str, Vec<String>>,
    layers: BTreeMap<String, Vec<Stretch<'c>>>,
}

impl<'c, 'p> Placement<'c, 'p> {
    fn new(previous: &'p Assignment, limits: Limits) -> Self {
        let mut layer_of = HashMap::new();
        let mut cuts: HashMap<_, Vec<_>> = HashMap::new();
        for layer in &previous.layers {
            for piece in &layer.pieces {
                layer_of.entry(piece).or_insert(layer.name.as_str());
                cuts.entry(piece.component.as_str())
                    .or_default()
                    .extend(piece.from.clone());
            }
        }
        for cuts in cuts.values_mut() {
            cuts.sort_unstable();
            cuts.dedup();
        }
        Self {
            previous,
            limits,
            layer_of,
            cuts,
            layers: BTreeMap::new(),
        }
    }

    /// Where the component was cut in the previous image; `None` if it was not in it.
    fn cuts(&self, component: &str) -> Option<Vec<String>> {
        self.cuts.get(component).cloned()
    }

    /// The layer that had the piece in the previous image, unless the piece has outgrown it.
    fn of(&self, stretch: &Stretch<'_>) -> Option<String> {
        let limit = 2 * self.limits.largest;
        self.layer_of
            .get(&stretch.piece)
            .filter(|_| stretch.estimate <= limit)
            .map(|&name| name.to_owned())
    }

    fn put(&mut self, layer: String, stretch: Stretch<'c>) {
        self.layers.entry(layer).or_default().push(stretch);
    }

    /// Puts small pieces together by the hash of their component's name: into the layers of this kind that the previous image
    /// had, or into at most `most` new ones.
    fn collect(&mut self, small: Vec<Stretch<'c>>, kind: &str, most: u64) {
        let names = self.previous.layers.iter().map(|layer| &layer.name);
        let mut names: Vec<_> = names.filter(|it| it.starts_with(kind)).cloned().collect();
        if names.is_empty() {
            let sum: u64 = small.iter().map(|stretch| stretch.estimate).sum();
            let count = sum.div_ceil(2 * self.limits.smallest.max(1)).clamp(1, most);
            let count = count.next_power_of_two();
            names.extend((1..=count).map(|number| format!("{kind}{number}-of-{count}")));
        }
        for stretch in small {
            let number = hash(stretch.piece.component.as_bytes()) % names.len().max(1) as u64;
            let name = usize::try_from(number).ok().and_then(|at| names.get(at));
            if let Some(name) = name {
                self.put(name.clone(), stretch);
            }
        }
    }

    fn finish(self) -> Plan {
        let before: HashMap<&str, usize> = self
            .previous
            .layers
            .iter()
            .enumerate()
            .map(|(at, layer)| (layer.name.as_str(), at))
            .collect();
        let mut layers: Vec<(Layer, Vec<Stretch<'_>>)> = self
            .layers
            .into_iter()
            .map(|(name, stretches)| {
                let units = || stretches.iter().flat_map(|stretch| stretch.units);
                let layer = Layer {
                    name,
                    estimate: stretches.iter().map(|stretch| stretch.estimate).sum(),
                    entries: units().flat_map(|unit| &unit.entries).copied().collect(),
                    removed: units().filter_map(|unit| unit.removed).collect(),
                };
                (layer, stretches)
            })
            .collect();
        layers.sort_by_cached_key(|(layer, stretches)| {
            let packages = stretches.iter().any(|stretch| stretch.package);
            let collected = layer.name.starts_with(PACKAGES) || layer.name.starts_with(FILES);
            let before = before.get(layer.name.as_str()).copied();
            (
                !packages,
                collected,
                before.unwrap_or(usize::MAX),
                std::cmp::Reverse(layer.estimate),
                layer.name.clone(),
            )
        });
        let assigned = layers.iter().map(|(layer, stretches)| AssignedLayer {
            name: layer.name.clone(),
            pieces: stretches.iter().map(|it| it.piece.clone()).collect(),
        });
        Plan {
            assignment: Assignment {
                scale: self.previous.scale,
                layers: assigned.collect(),
            },
            layers: layers.into_iter().map(|(layer, _)| layer).collect(),
        }
    }
}

/// The paths at which to cut units so that no piece is larger than `largest`, unless one unit is.
fn cuts(units: &[&Unit<'_>], largest: u64) -> Vec<String> {
    let mut cuts = Vec::new();
    let mut rest = units;
    while sum(rest) > largest {
        let mut so_far = 0;
        let mut best: Option<(u64, usize, &str)> = None;
        for (at, unit) in rest.iter().enumerate() {
            let full = so_far + unit.estimate > largest;
            if at > 0
                && (so_far >= largest / 2 || full)
                && let Ok(path) = str::from_utf8(unit.path.as_bytes())
            {
                let candidate = (hash(path.as_bytes()), at, path);
                best = Some(best.map_or(candidate, |best| best.min(candidate)));
            }
            if full && best.is_some() {
                break;
            }
            so_far += unit.estimate;
        }
        let Some((_, at, path)) = best else { break };
        cuts.push(path.to_owned());
        rest = rest.get(at..).unwrap_or_default();
    }
    cuts
}

/// Units in stretches that begin at `cuts`, which are sorted; each with the cut it begins at, and none of them empty.
fn stretches<'c, 'k>(
    units: &'c [&'c Unit<'c>],
    cuts: &'k [String],
) -> Vec<(Option<&'k str>, &'c [&'c Unit<'c>])> {
    let mut stretches = Vec::new();
    let (mut from, mut rest) = (None, units);
    for cut in cuts {
        let end = rest.partition_point(|unit| unit.path.as_bytes() < cut.as_bytes());
        let (stretch, after) = rest.split_at(end);
        stretches.push((from, stretch));
        (from, rest) = (Some(cut.as_str()), after);
    }
    stretches.push((from, rest));
    stretches.retain(|(_, units)| !units.is_empty());
    stretches
}

/// The same on every machine and in every release, and evenly spread.
fn hash(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
