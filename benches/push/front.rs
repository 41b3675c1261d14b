//! A front before a registry that lets each connection carry only so much, and all together only so much, as Amazon ECR does:
//! 24 to 28 MB/s a connection, some 250 MB/s in all
//! (<https://github.com/clowdhaus/ocync/blob/main/docs/src/content/performance.md>). Both ways.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bytes per second of a connection.
const EACH: f64 = 26e6;
/// Bytes per second of all.
const ALL: f64 = 250e6;
/// Bytes that are let through at a time.
const STEP: usize = 64 * 1024;
/// A rate may save up so much time.
const BURST: Duration = Duration::from_millis(20);

struct Rate {
    per_second: f64,
    free: Mutex<Instant>,
}

impl Rate {
    fn new(per_second: f64) -> Arc<Self> {
        Arc::new(Self {
            per_second,
            free: Mutex::new(Instant::now()),
        })
    }

    /// When so many bytes may have gone.
    fn pass(&self, bytes: usize) -> Instant {
        let mut free = self.free.lock().unwrap();
        let earliest = Instant::now().checked_sub(BURST).unwrap_or(*free);
        *free = (*free).max(earliest) + Duration::from_secs_f64(bytes as f64 / self.per_second);
        *free
    }
}

/// Starts a front for as long as the program runs; its address.
pub(super) fn start(upstream: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // By another name than the registry: of the same host BuildKit would mount what was pushed to the registry before.
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let upstream = upstream.to_owned();
    std::thread::spawn(move || {
        let all = [Rate::new(ALL), Rate::new(ALL)];
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&upstream).unwrap());
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let ways = [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ];
            for ((from, to), all) in ways.into_iter().zip(&all) {
                let all = Arc::clone(all);
                std::thread::spawn(move || carry(from, to, &all));
            }
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, all: &Rate) {
    let each = Rate::new(EACH);
    let mut buffer = vec![0; STEP];
    while let Ok(length) = from.read(&mut buffer) {
        let until = each.pass(length).max(all.pass(length));
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        if length == 0 || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Either may be gone.
    let _ = to.shutdown(Shutdown::Write);
}
