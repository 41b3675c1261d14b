//! What stands between this machine and the cluster: a proxy, or a network that may fall silent.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A listener that passes on to this machine.
pub(crate) struct Between {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Where to, for a piece of network; a proxy is told by each client.
    port: Option<u16>,
    /// Heads of the requests to a proxy.
    asked: Mutex<Vec<String>>,
    silent: AtomicBool,
    /// Whether it closes what it is asked for.
    refuses: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Between {
    /// A proxy that takes every name for this machine's.
    pub(crate) fn proxy() -> Self {
        Self::new(None)
    }

    /// A piece of network before a port.
    pub(crate) fn network(port: u16) -> Self {
        Self::new(Some(port))
    }

    fn new(port: Option<u16>) -> Self {
        let shared = Arc::new(Shared {
            port,
            ..Shared::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&serve);
                thread::spawn(move || shared.serve(stream.unwrap()));
            }
        });
        Self { port, shared }
    }

    /// What a proxy was asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Closes all connections, and each new one for a while, as a server does that restarts.
    pub(crate) fn restart(&self, takes: Duration) {
        self.shared.refuses.store(true, Ordering::Relaxed);
        for stream in self.shared.open.lock().unwrap().drain(..) {
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        thread::sleep(takes);
        self.shared.refuses.store(false, Ordering::Relaxed);
    }

    /// From now on everything vanishes, and nothing ends.
    pub(crate) fn fall_silent(&self) {
        self.shared.silent.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn serve(self: Arc<Self>, mut client: TcpStream) -> io::Result<()> {
        let port = match self.port {
            Some(port) => port,
            None => self.connect(&mut client)?,
        };
        if self.refuses.load(Ordering::Relaxed) {
            return Ok(());
        }
        let server = TcpStream::connect(("127.0.0.1", port))?;
        let both = [client.try_clone()?, server.try_clone()?];
        self.open.lock().unwrap().extend(both);
        if self.port.is_none() {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        }
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        let shared = Arc::clone(&self);
        let up = thread::spawn(move || shared.copy(from, to));
        self.copy(server, client);
        let _ = up.join();
        Ok(())
    }

    /// The port of a CONNECT.
    fn connect(&self, client: &mut TcpStream) -> io::Result<u16> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let authority = head.split(' ').nth(1).unwrap().to_owned();
        self.asked.lock().unwrap().push(head);
        Ok(authority.rsplit(':').next().unwrap().parse().unwrap())
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer);
            while self.silent.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_secs(1));
            }
            match read {
                Ok(count) if count > 0 && to.write_all(&buffer[..count]).is_ok() => {}
                _ => break,
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
