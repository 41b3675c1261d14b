//! A forward proxy as a company has one: tunnels (`CONNECT`, RFC 9110 9.3.6) and plain requests in absolute form, for those
//! who show a password where it wants one. It notes what it was asked.
//!
//! Used by the end-to-end tests, too.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A request as it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whose: the address it came from.
    pub from: String,
    /// The request's first two words, as `CONNECT host:443` or `GET http://host/path`.
    pub line: String,
    /// Whether it was let through.
    pub allowed: bool,
}

struct Settings {
    /// User and password, `user:password`.
    login: Option<String>,
    /// Where hosts really are: `host:port` as it is asked for, and the address to go to.
    places: BTreeMap<String, String>,
}

/// The proxy, which works as long as the test's process lives.
pub(crate) struct Proxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    /// Listens at an address of this machine.
    pub(crate) fn at(here: &str, login: Option<&str>, places: &[(&str, String)]) -> Self {
        let listener = TcpListener::bind((here, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let places = places
            .iter()
            .map(|(host, place)| ((*host).to_owned(), place.clone()));
        let settings = Arc::new(Settings {
            login: login.map(|login| format!("Basic {}", STANDARD.encode(login))),
            places: places.collect(),
        });
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (settings, notes) = (Arc::clone(&settings), Arc::clone(&notes));
                // Who went away needs no answer.
                thread::spawn(move || serve(client?, &settings, &notes));
            }
            io::Result::Ok(())
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The requests' first words.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn serve(mut client: TcpStream, settings: &Settings, notes: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let from = client.peer_addr()?.ip().to_string();
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let first = head.first().cloned().unwrap_or_default();
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, _] = words.as_slice() else {
        return Ok(());
    };
    let shown = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization")
            .then_some(value)
    });
    let allowed = settings.login.is_none() || shown == settings.login.as_deref();
    notes.lock().unwrap().push(Asked {
        from,
        line: format!("{method} {target}"),
        allowed,
    });
    if !allowed {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(refusal.as_bytes());
    }
    let place = |host: &str| {
        settings
            .places
            .get(host)
            .cloned()
            .unwrap_or_else(|| host.to_owned())
    };
    let mut server;
    if *method == "CONNECT" {
        let Ok(connected) = TcpStream::connect(place(target)) else {
            return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        };
        server = connected;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        let Some((host, path)) = target.strip_prefix("http://").and_then(|rest| {
            let slash = rest.find('/')?;
            Some(rest.split_at(slash))
        }) else {
            return client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        };
        let host = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        server = TcpStream::connect(place(&host))?;
        let others = head.iter().skip(1).filter(|line| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("proxy-") && !line.starts_with("connection:")
        });
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        for line in others {
            request.push_str(line);
            request.push_str("\r\n");
        }
        request.push_str("Connection: close\r\n\r\n");
        server.write_all(request.as_bytes())?;
    }
    let mut up = server.try_clone()?;
    thread::spawn(move || {
        io::copy(&mut reader, &mut up)?;
        up.shutdown(Shutdown::Write)
    });
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Write)
}
