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
//! 4. Smaller ones are collected: those of packages in up to 16 layers, the rest in up to 4, by the hash of the component's name.
//!    The number of layers is a power of two near 2 sum / [`Limits::smallest`], so that a doubling splits each layer in two. More
//!    layers would move less when a small package changes, and cost more requests.
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

use std::borrow::Cow;
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
    owner: Cow<'a, Owner>,
    estimate: u64,
    entries: Vec<usize>,
    removed: Option<usize>,
}

fn units<'a>(diff: &'a Diff, owners: &'a Owners) -> Vec<Unit<'a>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut inodes: HashMap<u64, usize> = HashMap::new();
    for (at, (entry, owner)) in owners.each(diff).enumerate() {
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
            owner: Cow::Borrowed(owner),
            estimate: estimate(entry),
            entries: vec![at],
            removed: None,
        });
    }
    for (at, path) in diff.removed.iter().enumerate() {
        units.push(Unit {
            path,
            owner: Cow::Owned(Owner::of_directory(path)),
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

/// A larger file counts as this many bytes, so that no sum overflows: a sparse one may say that it has exabytes.
const LARGEST_FILE: u64 = 1 << 40;

/// Bytes after compression. Measured with zstd at level 1: libraries 0.40, Python packages as a whole 0.27, sources 0.25.
fn estimate(entry: &Entry) -> u64 {
    let size = entry.found.size.min(LARGEST_FILE);
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
    placement.collect(packages, PACKAGES, 16);
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
            let count = sum
                .div_ceil((self.limits.smallest / 2).max(1))
                .clamp(1, most);
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
            .map(|(name, mut stretches)| {
                stretches.sort_by(|one, other| one.piece.cmp(&other.piece));
                let units = || stretches.iter().flat_map(|stretch| stretch.units);
                let mut layer = Layer {
                    name,
                    estimate: stretches.iter().map(|stretch| stretch.estimate).sum(),
                    entries: units().flat_map(|unit| &unit.entries).copied().collect(),
                    removed: units().filter_map(|unit| unit.removed).collect(),
                };
                layer.entries.sort_unstable();
                layer.removed.sort_unstable();
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::tree::{Found, Time};

    const MB: u64 = 1_000_000;

    /// A file of a Python package, or of none: `torch lib/x.so`.
    fn files(files: &[(&str, u64)]) -> (Diff, Owners) {
        let mut diff = Diff::default();
        for (name, size) in files {
            let path = match name.split_once(' ') {
                Some((package, path)) => format!("site-packages/{package}/{path}"),
                None => (*name).to_owned(),
            };
            diff.entries.push(Entry {
                path: TreePath::from(path.as_str()),
                found: Found {
                    size: *size,
                    ..EMPTY
                },
            });
        }
        diff.entries.sort_by(|one, other| one.path.cmp(&other.path));
        let packages = files.iter().filter_map(|(name, _)| name.split_once(' '));
        let packages: BTreeSet<_> = packages.map(|(package, _)| package).collect();
        let owners = Owners::of_python_packages(&packages, &diff);
        (diff, owners)
    }

    const EMPTY: Found = Found {
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 0,
        device: (0, 0),
        modified: Time {
            seconds: 0,
            nanoseconds: 0,
        },
        changed: Time {
            seconds: 0,
            nanoseconds: 0,
        },
        inode: 1,
        names: 1,
    };

    fn plan_of(given: &[(&str, u64)], previous: Option<&Assignment>) -> (Diff, Plan) {
        let (diff, owners) = files(given);
        let plan = Plan::new(&diff, &owners, 5, previous, Limits::default());
        assert_complete(&diff, &plan);
        (diff, plan)
    }

    /// Every file is in exactly one layer.
    fn assert_complete(diff: &Diff, plan: &Plan) {
        let mut entries: Vec<_> = plan.layers.iter().flat_map(|it| &it.entries).collect();
        entries.sort_unstable();
        assert!(entries.into_iter().copied().eq(0..diff.entries.len()));
        let names: HashSet<_> = plan.layers.iter().map(|layer| &layer.name).collect();
        assert_eq!(names.len(), plan.layers.len());
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.layers
            .iter()
            .map(|layer| layer.name.as_str())
            .collect()
    }

    /// What each layer consists of.
    fn contents(diff: &Diff, plan: &Plan) -> BTreeSet<Vec<(TreePath, u64)>> {
        let entry = |at: &usize| (diff.entries[*at].path.clone(), diff.entries[*at].found.size);
        let layers = plan.layers.iter();
        layers
            .map(|layer| layer.entries.iter().map(entry).collect())
            .collect()
    }

    #[test]
    fn nothing_new_needs_no_layer() {
        assert_eq!(plan_of(&[], None).1.layers, []);
    }

    #[test]
    fn large_packages_and_files_have_layers_of_their_own_and_the_rest_is_collected() {
        let (_, plan) = plan_of(
            &[
                ("torch lib/libtorch_cuda.so", 900 * MB),
                ("torch lib/libtorch_cpu.so", 400 * MB),
                ("torch nn/x.so", 150 * MB),
                ("scipy x.so", 90 * MB),
                ("requests api.py", MB),
                ("idna core.py", MB),
                ("srv/app/main.py", 1000),
            ],
            None,
        );
        assert_eq!(
            names(&plan),
            [
                "pip/torch:site-packages/torch/lib/libtorch_cuda.so",
                "pip/torch:site-packages/torch/lib/libtorch_cpu.so",
                "pip/torch",
                "pip/scipy",
                "packages-1-of-1",
                "files-1-of-1",
            ]
        );
        let largest: Vec<_> = plan.largest_first().iter().map(|it| it.estimate).collect();
        assert!(largest.is_sorted_by(|one, other| one >= other));
    }

    #[test]
    fn files_that_say_they_have_exabytes_are_planned() {
        let most = i64::MAX as u64;
        let (diff, plan) = plan_of(
            &[
                ("torch a", most),
                ("torch b", most),
                ("torch c", most),
                ("srv/d", most),
            ],
            None,
        );
        assert_complete(&diff, &plan);
    }

    #[test]
    fn images_with_the_same_package_share_its_layer_whatever_else_they_have() {
        let torch = ("torch lib/libtorch.so", 300 * MB);
        let scipy = ("scipy x.so", 90 * MB);
        let (one_diff, one) = plan_of(&[torch, scipy, ("a b.py", MB)], None);
        let (other_diff, other) = plan_of(
            &[
                ("app/main.py", MB),
                ("jupyter x.so", 120 * MB),
                scipy,
                torch,
            ],
            None,
        );
        let (one, other) = (contents(&one_diff, &one), contents(&other_diff, &other));
        assert_eq!(one.intersection(&other).count(), 2);
    }

    #[test]
    fn a_large_component_is_cut_evenly_and_a_new_file_moves_few_cuts() {
        let names: Vec<String> = (0..2000)
            .map(|at| format!("data/set/x/{at:04}.bin"))
            .collect();
        let mut given: Vec<_> = names.iter().map(|name| (name.as_str(), MB)).collect();
        let (diff, plan) = plan_of(&given, None);
        let limits = Limits::default();
        for layer in &plan.layers {
            assert!(
                layer.estimate <= limits.largest,
                "{} {}",
                layer.name,
                layer.estimate
            );
        }
        assert!(
            (7..=12).contains(&plan.layers.len()),
            "{:?}",
            plan.layers.len()
        );

        given.push(("data/set/x/0003a.bin", MB));
        let (later_diff, later) = plan_of(&given, None);
        let before = contents(&diff, &plan);
        let moved = contents(&later_diff, &later).difference(&before).count();
        assert!(moved <= 3, "{moved} of {}", later.layers.len());
        let (kept_diff, kept) = plan_of(&given, Some(&plan.assignment));
        assert_eq!(contents(&kept_diff, &kept).difference(&before).count(), 1);
    }

    #[test]
    fn a_package_that_crosses_a_limit_stays_where_it_was() {
        let mut given = [("scipy x.so", 79 * MB), ("a x.py", MB), ("b x.py", MB)];
        let (diff, plan) = plan_of(&given, None);
        assert_eq!(names(&plan), ["packages-1-of-2", "packages-2-of-2"]);
        given[0].1 = 90 * MB;
        let (_, fresh) = plan_of(&given, None);
        assert_eq!(names(&fresh), ["pip/scipy", "packages-1-of-1"]);
        let (_, kept) = plan_of(&given, Some(&plan.assignment));
        assert_eq!(names(&kept), names(&plan));
        assert_eq!(diff.entries.len(), 3);
        // Until it is far too large.
        given[0].1 = 900 * MB;
        let (_, outgrown) = plan_of(&given, Some(&plan.assignment));
        assert_eq!(outgrown.layers.len(), 3);
    }

    #[test]
    fn adding_and_removing_packages_leaves_the_other_layers_alone() {
        let names: Vec<String> = (0..300).map(|at| format!("package{at} x.so")).collect();
        let given: Vec<_> = names.iter().map(|name| (name.as_str(), 2 * MB)).collect();
        let (diff, plan) = plan_of(&given, None);
        assert_eq!(plan.layers.len(), 16);
        let before = contents(&diff, &plan);

        let mut more = given.clone();
        more.push(("another x.so", 2 * MB));
        more.push(("large x.so", 200 * MB));
        let (later_diff, later) = plan_of(&more, Some(&plan.assignment));
        assert_eq!(contents(&later_diff, &later).difference(&before).count(), 2);

        let fewer: Vec<_> = given.iter().copied().skip(1).collect();
        let (later_diff, later) = plan_of(&fewer, Some(&plan.assignment));
        assert_eq!(contents(&later_diff, &later).difference(&before).count(), 1);
    }

    #[test]
    fn an_image_that_is_too_large_for_the_limits_gets_larger_layers() {
        let names: Vec<String> = (0..200).map(|at| format!("package{at} x.so")).collect();
        let given: Vec<_> = names.iter().map(|name| (name.as_str(), 100 * MB)).collect();
        let (diff, owners) = files(&given);
        for (base, most) in [(5, 24), (95, 5), (99, 1), (150, 1)] {
            let plan = Plan::new(&diff, &owners, base, None, Limits::default());
            assert_complete(&diff, &plan);
            assert!(
                (1..=most).contains(&plan.layers.len()),
                "{base}: {}",
                plan.layers.len()
            );
        }
    }

    #[test]
    fn the_names_of_an_inode_stay_together() {
        let (mut diff, owners) = files(&[("a x.so", 100 * MB), ("b y.so", 100 * MB), ("z", MB)]);
        for entry in &mut diff.entries {
            (entry.found.names, entry.found.inode) = (3, 7);
        }
        let plan = Plan::new(&diff, &owners, 5, None, Limits::default());
        assert_eq!(names(&plan), ["pip/a"]);
        assert_complete(&diff, &plan);
    }

    #[test]
    fn the_assignment_survives_json() {
        let names: Vec<String> = (0..1000).map(|at| format!("data/x/{at}")).collect();
        let given: Vec<_> = names.iter().map(|name| (name.as_str(), MB)).collect();
        let (_, plan) = plan_of(&given, None);
        let json = serde_json::to_string(&plan.assignment).unwrap();
        let read: Assignment = serde_json::from_str(&json).unwrap();
        assert_eq!(read, plan.assignment);
        assert_eq!(plan_of(&given, Some(&read)).1, plan);
    }

    proptest! {
        /// Also with an assignment that someone else wrote.
        #[test]
        fn any_plan_is_complete_and_its_own_successor(
            sizes in prop::collection::vec((0..12_u8, 0..20_u8, 0..400 * MB), 0..60),
            earlier in prop::collection::vec((0..12_u8, 0..20_u8, 0..400 * MB), 0..60),
            base in 0..120_usize,
            scale in 0..70_u32,
            odd in "[a-z/]{0,5}",
        ) {
            let given = |sizes: &[(u8, u8, u64)]| {
                let names: Vec<_> = sizes.iter().map(|(package, file, size)| match package {
                    0..8 => (format!("p{package} {file}"), *size),
                    _ => (format!("d{package}/{file}"), *size),
                }).collect();
                let unique: BTreeMap<_, _> = names.into_iter().collect();
                let names: Vec<_> = unique.iter().map(|(name, size)| (name.as_str(), *size)).collect();
                files(&names)
            };
            let limits = Limits::default();
            let (diff, owners) = given(&earlier);
            let mut previous = Plan::new(&diff, &owners, base, None, limits).assignment;
            previous.scale = previous.scale.max(scale);
            previous.layers.push(AssignedLayer {
                name: odd.clone(),
                pieces: vec![Piece { component: odd.clone(), from: Some(odd) }],
            });
            let (diff, owners) = given(&sizes);
            let plan = Plan::new(&diff, &owners, base, Some(&previous), limits);
            assert_complete(&diff, &plan);
            let most = 100_usize.saturating_sub(base).clamp(1, 24);
            prop_assert!(plan.layers.len() <= most);
            let again = Plan::new(&diff, &owners, base, Some(&plan.assignment), limits);
            prop_assert_eq!(contents(&diff, &again), contents(&diff, &plan));
        }
    }
}
