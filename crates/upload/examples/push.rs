//! Measures uploads: `push HOST STREAMS BLOBS MIB PRODUCERS [MEMORY_MIB]`.
//!
//! Threads write blobs of random bytes, as fast as uploads take them. With 0 producers the blobs are in memory.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use upload::{
    Blob, Event, How, Memory, Observer, RegistrySettings, Repository, Settings, Streams, Uploader,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, numbers @ ..] = arguments.as_slice() else {
        return Err("push HOST STREAMS BLOBS MIB PRODUCERS [MEMORY_MIB]".into());
    };
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|number| number.parse())
        .collect::<Result<_, _>>()?;
    let [streams, blobs, mebibytes, producers, rest @ ..] = numbers.as_slice() else {
        return Err("four numbers or five".into());
    };
    let memory = Memory::new(rest.first().unwrap_or(&128) << 20, 48 << 20);
    let settings = Settings {
        observer: Observer::new(|event| match event {
            Event::Blob {
                how: How::Uploaded, ..
            } => {}
            event => println!("{event:?}"),
        }),
        ..Settings::default()
    };
    let uploader = Uploader::start(&settings)?;
    let mut given = RegistrySettings::new(host);
    given.streams = Streams {
        start: *streams,
        most: 24.max(*streams),
    };
    let registry = uploader.registry(given)?;
    let repository = registry.repository("bench/upload");
    let seed = std::time::UNIX_EPOCH.elapsed()?.as_nanos() as u64;
    let begun = Instant::now();
    let size = mebibytes << 20;
    if *producers == 0 {
        let contents = (0..*blobs).map(|number| {
            let mut content = vec![0; size];
            fill(&mut content, seed + number as u64);
            Blob::bytes(content.into())
        });
        let contents: Vec<Blob> = contents.collect();
        let begun = Instant::now();
        let pending: Vec<_> = contents
            .into_iter()
            .map(|blob| repository.push(blob))
            .collect();
        for one in pending {
            one.wait()?;
        }
        return report(begun, blobs * size, &registry.progress());
    }
    let next = Arc::new(AtomicU8::new(0));
    let threads: Vec<_> = (0..*producers)
        .map(|_| {
            let (next, memory, repository) =
                (Arc::clone(&next), memory.clone(), repository.clone());
            let blobs = *blobs;
            std::thread::spawn(move || produce(&next, blobs, size, seed, &memory, &repository))
        })
        .collect();
    for thread in threads {
        let result = thread.join().map_err(|_| "a producer panicked")?;
        result.map_err(|error| error.to_string())?;
    }
    report(begun, blobs * size, &registry.progress())
}

/// Writes blob after blob. An upload may last beyond its writing.
fn produce(
    next: &AtomicU8,
    blobs: usize,
    size: usize,
    seed: u64,
    memory: &Memory,
    repository: &Repository,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut pending = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if usize::from(number) >= blobs {
            break;
        }
        let (mut writer, blob) = Blob::written(memory);
        pending.push(repository.push(blob));
        let mut content = vec![0; 1 << 20];
        fill(&mut content, seed + u64::from(number));
        for _ in 0..size >> 20 {
            writer.write_all(&content)?;
        }
        writer.finish()?;
    }
    for one in pending {
        one.wait()?;
    }
    Ok(())
}

fn fill(content: &mut [u8], seed: u64) {
    // Far apart, for seeds that are not.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in content.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for (byte, random) in word.iter_mut().zip(state.to_le_bytes()) {
            *byte = random;
        }
    }
}

fn report(begun: Instant, bytes: usize, progress: &upload::Progress) -> Result<(), Box<dyn Error>> {
    let took = begun.elapsed();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let ticks: Vec<u64> = stat
        .split(' ')
        .skip(13)
        .take(2)
        .flat_map(str::parse)
        .collect();
    let cpu = Duration::from_millis(ticks.iter().sum::<u64>() * 10);
    println!(
        "{:.2} s, {:.0} MB/s, CPU {:.2} s, limit {}, wasted {}, {}",
        took.as_secs_f64(),
        bytes as f64 / 1e6 / took.as_secs_f64(),
        cpu.as_secs_f64(),
        progress.limit,
        progress.wasted,
        peak.unwrap_or_default(),
    );
    Ok(())
}
