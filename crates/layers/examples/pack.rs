//! Packs a tree as the engine does and says how fast: `cargo run --release --example pack -- IMAGE [BASE] [--gzip LEVEL]`.
//!
//! `--zstd LEVEL` and `--threads N`, too. Blobs are thrown away. Run twice: the first run reads from the disk.

#![expect(clippy::print_stdout, reason = "the result of a measurement")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use layers::{Compression, Diff, LayerState, Limits, Owners, Packer, Plan, Times, Tree, Workers};

fn main() -> Result<(), Box<dyn Error>> {
    let mut trees = Vec::new();
    let mut compression = Compression::Zstd { level: 1 };
    let mut threads = std::thread::available_parallelism()?.get();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a number"));
        match argument.as_str() {
            "--zstd" => {
                let level = value()?.parse()?;
                compression = Compression::Zstd { level };
            }
            "--gzip" => {
                let level = value()?.parse()?;
                compression = Compression::Gzip { level };
            }
            "--threads" => threads = value()?.parse()?,
            _ => trees.push(PathBuf::from(argument)),
        }
    }
    let image = trees.first().ok_or("which tree?")?;

    let start = Instant::now();
    let workers = Workers::new(threads, 128 << 20)?;
    let image = Tree::open(image)?;
    let base = trees.get(1).map(|base| Tree::open(base)).transpose()?;
    let diff = Diff::new(&image, base.as_ref(), &workers)?;
    let times = Times::kept();
    let compared = start.elapsed().as_secs_f64();
    let owners = Owners::read(&image, &diff, &workers)?;
    let plan = Plan::new(&diff, &owners, 5, None, Limits::default());
    let planned = start.elapsed().as_secs_f64();
    for layer in &plan.layers {
        LayerState::new(&diff, &times, layer);
    }
    let hashed = start.elapsed().as_secs_f64();

    let packer = Packer::new(&image, &diff, &times, &workers, compression);
    let layers = Mutex::new(plan.largest_first().into_iter());
    let packed = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(4) {
            scope.spawn(|| {
                let next = || layers.lock().ok()?.next();
                while let Some(layer) = next() {
                    let began = start.elapsed().as_secs_f64();
                    let blob = packer.compress(layer, &mut std::io::sink());
                    let ended = start.elapsed().as_secs_f64();
                    match (blob, packed.lock(), failed.lock()) {
                        (Ok(blob), Ok(mut packed), _) => packed.push((layer, blob, began, ended)),
                        (Err(error), _, Ok(mut failed)) => *failed = Some(error),
                        _ => {}
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    let done = start.elapsed().as_secs_f64();

    let packed = packed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let tars: u64 = packed.iter().map(|(_, blob, ..)| blob.tar.size).sum();
    let blobs: u64 = packed.iter().map(|(_, blob, ..)| blob.size).sum();
    for (layer, blob, began, ended) in &packed {
        println!(
            "{:>6.1} MB of {:>6.1} (estimated {:>6.1}), {began:>6.2} to {ended:>6.2} s: {}",
            mb(blob.size),
            mb(blob.tar.size),
            mb(layer.estimate),
            layer.name
        );
    }
    println!(
        "{} entries, {} removed; compared in {compared:.2} s, planned in {:.2} s, fingerprints in {:.2} s",
        diff.entries.len(),
        diff.removed.len(),
        planned - compared,
        hashed - planned
    );
    println!(
        "{compression:?}, {threads} threads: {} layers, {:.0} MB to {:.0} MB in {:.2} s: {:.0} MB/s",
        packed.len(),
        mb(tars),
        mb(blobs),
        done - hashed,
        mb(tars) / (done - hashed)
    );
    Ok(())
}

/// Megabytes, for people.
#[expect(clippy::cast_precision_loss, reason = "printed with one digit")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
