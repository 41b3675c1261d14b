//! A front that lets each connection send only so much, and all together only so much, as Amazon ECR does:
//! `front ADDRESS UPSTREAM MB_PER_CONNECTION MB_IN_TOTAL`. Answers are not slowed down.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are let through at a time.
const STEP: usize = 64 * 1024;
/// A rate may save up so much time.
const BURST: Duration = Duration::from_millis(20);

struct Rate {
    per_second: f64,
    free: Mutex<Instant>,
}

impl Rate {
    fn new(megabytes: &str) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            per_second: megabytes.parse::<f64>()? * 1e6,
            free: Mutex::new(Instant::now()),
        })
    }

    /// When so many bytes may have gone.
    fn pass(&self, bytes: usize) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = Instant::now().checked_sub(BURST).unwrap_or(*free);
        *free = (*free).max(earliest) + Duration::from_secs_f64(bytes as f64 / self.per_second);
        *free
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, upstream, each, all] = arguments.as_slice() else {
        return Err("front ADDRESS UPSTREAM MB_PER_CONNECTION MB_IN_TOTAL".into());
    };
    let all = Arc::new(Rate::new(all)?);
    for client in TcpListener::bind(address)?.incoming() {
        let (client, server) = (client?, TcpStream::connect(upstream)?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (each, all) = (Rate::new(each)?, Arc::clone(&all));
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let mut buffer = vec![0; STEP];
            while let Ok(length) = from.read(&mut buffer) {
                let until = each.pass(length).max(all.pass(length));
                thread::sleep(until.saturating_duration_since(Instant::now()));
                let bytes = buffer.get(..length).unwrap_or_default();
                if length == 0 || to.write_all(bytes).is_err() {
                    break;
                }
            }
            // Either may be gone.
            let _ = to.shutdown(Shutdown::Write);
        });
        let (mut from, mut to) = (server, client);
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
