//! Blobs, read by decoders that are not ours.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts decoders; a panic is its failure"
)]

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use layers::{Blob, Compression, Diff, Error, Layer, Packer, Times, Tree, Workers};

/// Lengths of one file, so that the tar ends before, at and behind the ends of chunks. Its header takes 512 bytes, its end 1,024.
const LENGTHS: [usize; 7] = [
    0,
    (1 << 20) - 512 - 1024,
    (1 << 20) - 512,
    (2 << 20) - 512 - 1024,
    (2 << 20) - 512 - 512,
    (4 << 20) - 512 + 1,
    // Fewer of the others: an unoptimised zlib-rs is slow.
    OTHER_LEVELS,
];

const OTHER_LEVELS: usize = 2_500_000;

/// All lengths at level 1, one at the others.
fn cases(levels: &'static [Compression]) -> impl Iterator<Item = (usize, Compression)> {
    let (first, others) = levels.split_first().unwrap();
    let first = LENGTHS.into_iter().map(|length| (length, *first));
    first.chain(others.iter().map(|other| (OTHER_LEVELS, *other)))
}

const GZIP: [Compression; 4] = [
    Compression::Gzip { level: 1 },
    Compression::Gzip { level: 0 },
    Compression::Gzip { level: 6 },
    Compression::Gzip { level: 9 },
];

const ZSTD: [Compression; 3] = [
    Compression::Zstd { level: 1 },
    Compression::Zstd { level: -1 },
    Compression::Zstd { level: 9 },
];

/// Half of it compresses, half of it does not.
fn content(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    (0..length)
        .map(|at| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            if at / 100_000 % 2 == 0 {
                (state >> 56) as u8
            } else {
                (at / 9 % 100) as u8
            }
        })
        .collect()
}

struct Packed {
    tar: Vec<u8>,
    blob: Vec<u8>,
    digests: Blob,
}

fn packed(length: usize, compression: Compression, threads: usize, memory: usize) -> Packed {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, content(length)).unwrap();
    let file = fs::File::options().append(true).open(file).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let workers = Workers::new(threads, memory).unwrap();
    let tree = Tree::open(folder.path()).unwrap();
    let diff = Diff::new(&tree, None, &workers).unwrap();
    let times = Times::kept();
    let bytes = AtomicU64::new(0);
    let packer = Packer::new(&tree, &diff, &times, &workers, compression).counted_in(&bytes);
    let layer = Layer::whole(&diff);
    let (mut tar, mut blob) = (Vec::new(), Vec::new());
    packer.pack(&layer, &mut tar).unwrap();
    let digests = packer.compress(&layer, &mut blob).unwrap();
    assert_eq!(bytes.into_inner(), 2 * tar.len() as u64);
    Packed { tar, blob, digests }
}

fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("these tests need {program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program}");
    output.stdout
}

#[test]
fn gzip_is_one_member_that_every_decoder_reads() {
    for (length, compression) in cases(&GZIP) {
        let Packed { tar, blob, .. } = packed(length, compression, 2, 64 << 20);
        let mut decoder = flate2::bufread::GzDecoder::new(&blob[..]);
        let mut decoded = Vec::new();
        decoder.read_to_end(&mut decoded).unwrap();
        assert!(
            decoded == tar,
            "{length}, {compression:?}: flate2, first member"
        );
        assert!(
            decoder.into_inner().is_empty(),
            "{length}, {compression:?}: more members"
        );

        assert!(
            piped("gzip", &["--decompress", "--stdout"], &blob) == tar,
            "{length}, {compression:?}: gzip"
        );
        let python =
            "import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
        assert!(
            piped("python3", &["-c", python], &blob) == tar,
            "{length}, {compression:?}: Python"
        );
    }
}

#[test]
fn zstd_is_independent_frames_that_read_as_one() {
    for (length, compression) in cases(&ZSTD) {
        let Packed { tar, blob, .. } = packed(length, compression, 2, 64 << 20);
        assert!(
            zstd::decode_all(&blob[..]).unwrap() == tar,
            "{length}, {compression:?}"
        );
        let (mut rest, mut frames, mut decoded) = (&blob[..], 0, Vec::new());
        while !rest.is_empty() {
            let size = zstd::zstd_safe::find_frame_compressed_size(rest).unwrap();
            let (frame, after) = rest.split_at(size);
            decoded.extend(zstd::bulk::decompress(frame, 2 << 20).unwrap());
            (rest, frames) = (after, frames + 1);
        }
        assert!(decoded == tar);
        assert_eq!(frames, tar.len().div_ceil(2 << 20));
    }
}

#[test]
fn the_blob_does_not_depend_on_threads_or_memory() {
    for compression in [
        Compression::Zstd { level: 1 },
        Compression::Gzip { level: 1 },
    ] {
        let one = packed(9_000_000, compression, 1, 0);
        for (threads, memory) in [(2, 64 << 20), (8, 4 << 20), (3, 1)] {
            let other = packed(9_000_000, compression, threads, memory);
            assert_eq!(
                one.digests, other.digests,
                "{threads} threads, {memory} bytes"
            );
            assert!(one.blob == other.blob);
        }
    }
}

#[test]
fn many_layers_at_a_time_share_little_memory_without_waiting_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), content(9_000_000)).unwrap();
    // Two chunks for six layers, with takers of different speed.
    let workers = Workers::new(2, 8 << 20).unwrap();
    let tree = Tree::open(folder.path()).unwrap();
    let diff = Diff::new(&tree, None, &workers).unwrap();
    let times = Times::kept();
    let packer = Packer::new(
        &tree,
        &diff,
        &times,
        &workers,
        Compression::Zstd { level: 1 },
    );
    let layer = Layer::whole(&diff);
    let expected = packer.compress(&layer, &mut std::io::sink()).unwrap();
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (packer, layer, done) = (&packer, &layer, &done);
            scope.spawn(move || {
                let pause = std::time::Duration::from_millis(number * 10);
                let blob = packer.compress(layer, &mut Slow(pause)).unwrap();
                assert_eq!(blob, expected);
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(done.into_inner(), 6);
}

struct Slow(std::time::Duration);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::thread::sleep(self.0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_taker_that_fails_ends_the_layer_and_frees_its_memory() {
    struct Broken(usize);
    impl Write for Broken {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(std::io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), content(9_000_000)).unwrap();
    let workers = Workers::new(2, 8 << 20).unwrap();
    let tree = Tree::open(folder.path()).unwrap();
    let diff = Diff::new(&tree, None, &workers).unwrap();
    for compression in [
        Compression::Zstd { level: 1 },
        Compression::Gzip { level: 1 },
    ] {
        let times = Times::kept();
        let packer = Packer::new(&tree, &diff, &times, &workers, compression);
        let layer = Layer::whole(&diff);
        for most in [0, 100, 3_000_000] {
            let error = packer.compress(&layer, &mut Broken(most)).unwrap_err();
            assert!(matches!(error, Error::Sink(_)), "{error}");
        }
        packer.compress(&layer, &mut std::io::sink()).unwrap();
    }
}

#[test]
fn the_largest_layers_are_packed_denser_than_level_1() {
    let folder = tempfile::tempdir().unwrap();
    let lines = (0..200_000_u64).map(|number| format!("{} {}\n", number * number % 8191, number));
    fs::write(folder.path().join("file"), lines.collect::<String>()).unwrap();
    let workers = Workers::new(2, 16 << 20).unwrap();
    let tree = Tree::open(folder.path()).unwrap();
    let diff = Diff::new(&tree, None, &workers).unwrap();
    let times = Times::kept();
    let size = |level, estimate| {
        let mut layer = Layer::whole(&diff);
        layer.estimate = estimate;
        let level = Compression::Zstd { level };
        let packer = Packer::new(&tree, &diff, &times, &workers, level);
        packer.compress(&layer, &mut std::io::sink()).unwrap().size
    };
    let (usual, large) = (256 << 20, (256 << 20) + 1);
    assert_eq!(size(1, large), size(2, usual));
    assert!(size(1, large) < size(1, usual));
    // Another level is what somebody has asked for.
    for level in [2, 3] {
        assert_eq!(size(level, large), size(level, usual));
    }
}
