//! Generated pairs of trees.

use std::io::Read;

use layers::{Compression, Diff, LayerState, Limits, Owners, Packer, Plan, Times, Tree, Workers};
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::Digest;

use crate::change::{Change, NO_CHARACTER};
use crate::image::Image;
use crate::snapshot::{assert_same, snapshot};
use crate::unpack::unpack;

/// Few names, so that changes meet; odd ones among them.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-d]",
        1 => Just("line\nfeed".to_owned()),
        1 => Just("é ü".to_owned()),
        1 => Just("x.wh.y".to_owned()),
        1 => Just(format!("not{NO_CHARACTER}utf{NO_CHARACTER}8")),
        1 => prop_oneof![Just("back\\slash"), Just(" "), Just("-rf"), Just("..."), Just(".wh"), Just("a=b\t")].prop_map(str::to_owned),
        1 => Just("long".repeat(40)),
        1 => Just(format!("{}ö", "n".repeat(98))),
    ]
}

fn path() -> impl Strategy<Value = String> {
    vec(name(), 1..4).prop_map(|names| names.join("/"))
}

fn change() -> impl Strategy<Value = Change> {
    let size = prop_oneof![Just(0), 1..2000_usize, Just(512), Just(70_000)];
    let seconds = prop_oneof![
        5 => 1_500_000_000..1_500_000_003_i64,
        1 => Just(9_000_000_000),
        1 => Just(0)
    ];
    let id = prop_oneof![0..3_u32, Just(70_000), Just(2_097_152), Just(4_000_000_000)];
    prop_oneof![
        6 => path().prop_map(Change::Directory),
        6 => (path(), size, 0..3_u8).prop_map(|(path, size, seed)| Change::File { path, size, seed }),
        1 => (path(), 100_000..300_000_u64).prop_map(|(path, size)| Change::Sparse { path, size }),
        2 => (path(), path()).prop_map(|(path, target)| Change::Symlink { path, target }),
        3 => (path(), path()).prop_map(|(path, to)| Change::Hard { path, to }),
        2 => (path(), path()).prop_map(|(path, to)| Change::Rename { path, to }),
        1 => path().prop_map(Change::Fifo),
        1 => path().prop_map(|path| Change::Socket(format!("{path}/new.sock"))),
        // Majors for local use, which no driver of this machine has.
        1 => (path(), any::<bool>(), 60..64_u32, 0..70_000_u32)
            .prop_map(|(path, block, major, minor)| Change::Device { path, block, major, minor }),
        4 => path().prop_map(Change::Remove),
        2 => (path(), 0..0o10000_u32).prop_map(|(path, mode)| Change::Mode { path, mode }),
        2 => (path(), id.clone(), id).prop_map(|(path, uid, gid)| Change::Owner { path, uid, gid }),
        3 => (path(), seconds, prop_oneof![Just(0), 0..2_i64])
            .prop_map(|(path, seconds, nanoseconds)| Change::Modified { path, seconds, nanoseconds }),
        2 => (path(), 1..4_u8).prop_map(|(path, bits)| Change::Capability { path, bits }),
        1 => path().prop_map(Change::UserAttribute),
        1 => path().prop_map(Change::Touch),
    ]
}

fn make(changes: Vec<Change>) -> impl FnOnce(&std::path::Path) {
    move |root| changes.iter().for_each(|change| change.make(root))
}

/// So small that these trees need several layers.
const SMALL: Limits = Limits {
    smallest: 300,
    largest: 1500,
    large_file: 1000,
    layers: 12,
    layers_with_base: 100,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_change_survives_packing_and_unpacking(
        base in vec(change(), 0..40),
        changes in vec(change(), 0..30),
        base_layers in prop_oneof![Just(1_usize), Just(95), Just(200)],
        gzip: bool,
    ) {
        let compression = if gzip {
            Compression::Gzip { level: 1 }
        } else {
            Compression::Zstd { level: 1 }
        };
        let image = Image::build(make(base), make(changes));
        let packed = Packed::new(&image, base_layers, compression, 2);
        prop_assert!(packed.layers.len() <= 12.min(100_usize.saturating_sub(base_layers).max(1)));
        // Neither the number of threads nor the order in which they find things shows.
        prop_assert_eq!(&packed, &Packed::new(&image, base_layers, compression, 1));

        let (base, mut expected) = (snapshot(&image.lower()), snapshot(&image.image()));
        for (_, blob) in &packed.layers {
            unpack(&decoded(blob, compression), &image.lower());
        }
        let got = snapshot(&image.lower());
        for (path, node) in &mut expected {
            // Of a directory that has changed in nothing else, the time is no change.
            let times = [&base, &got].map(|tree| tree.get(path).map(|node| node.modified));
            if node.kind == "directory" && times[0].is_some() && times[0] == times[1] {
                node.modified = times[0].unwrap();
            }
        }
        assert_same(&got, &expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_name_that_would_be_a_whiteout_is_packed_in_no_case(
        base in vec(change(), 0..20),
        changes in vec(change(), 0..20),
        below in path(),
        name in prop_oneof![Just(".wh.a"), Just(".wh..wh..opq"), Just(".wh."), Just(".wh..wh.plnk")],
        is_directory: bool,
        is_in_base: bool,
    ) {
        let path = format!("{below}/{name}");
        let reserved = match is_directory {
            true => Change::Directory(path),
            false => Change::File { path, size: 0, seed: 0 },
        };
        let (mut base, mut changes) = (base, changes);
        if is_in_base { base.push(reserved) } else { changes.push(reserved) }
        let image = Image::build(make(base), make(changes));
        let workers = Workers::new(2, 8 << 20).unwrap();
        let tree = Tree::open(&image.image()).unwrap();
        let base = Tree::open(&image.base()).unwrap();
        let holds = |path: &[u8]| path.split(|&it| it == b'/').any(|name| name.starts_with(b".wh."));
        match Diff::new(&tree, Some(&base), &workers) {
            Ok(diff) => {
                let entries = diff.entries.iter().map(|entry| &entry.path);
                for path in entries.chain(&diff.removed) {
                    prop_assert!(!holds(path.as_bytes()), "{}", path);
                }
            }
            Err(error) => {
                prop_assert!(matches!(error, layers::Error::ReservedName { .. }), "{}", error);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Packed {
    layers: Vec<(LayerState, Vec<u8>)>,
}

impl Packed {
    fn new(image: &Image, base_layers: usize, compression: Compression, threads: usize) -> Self {
        let workers = Workers::new(threads, 64 << 20).unwrap();
        let tree = Tree::open(&image.image()).unwrap();
        let base = Tree::open(&image.base()).unwrap();
        let diff = Diff::new(&tree, Some(&base), &workers).unwrap();
        let owners = Owners::read(&tree, &diff, &workers).unwrap();
        let plan = Plan::new(&diff, &owners, base_layers, None, SMALL);
        let times = Times::kept();
        let packer = Packer::new(&tree, &diff, &times, &workers, compression);
        let layers = plan.layers.iter().map(|layer| {
            let (mut blob, mut tar) = (Vec::new(), Vec::new());
            let compressed = packer.compress(layer, &mut blob).unwrap();
            let packed = packer.pack(layer, &mut tar).unwrap();
            assert_eq!(compressed.tar, packed);
            assert_eq!(compressed.digest().to_string(), sha256(&blob));
            assert_eq!(packed.diff_id().to_string(), sha256(&tar));
            assert_eq!(
                (compressed.size, packed.size),
                (blob.len() as u64, tar.len() as u64)
            );
            assert_eq!(decoded(&blob, compression), tar);
            (LayerState::new(&diff, &times, layer), blob)
        });
        Self {
            layers: layers.collect(),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hash = sha2::Sha256::digest(bytes);
    image::Digest::sha256(hash.into()).to_string()
}

fn decoded(blob: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Zstd { .. } => zstd::decode_all(blob).unwrap(),
        Compression::Gzip { .. } => {
            let mut tar = Vec::new();
            // One member only, and nothing behind it.
            let mut decoder = flate2::bufread::GzDecoder::new(blob);
            decoder.read_to_end(&mut tar).unwrap();
            assert!(decoder.into_inner().is_empty());
            tar
        }
    }
}
