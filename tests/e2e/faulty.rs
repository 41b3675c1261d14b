//! The rig's registry behind a front that breaks chosen requests.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::registry::{digests, manifest};
use crate::rig::registry;

/// First byte of a TLS greeting.
const TLS: u8 = 0x16;

/// The token that the front's own token service gives.
const TOKEN: &str = "token-of-the-front";

/// A digest that nothing has.
const OTHER_DIGEST: &str =
    "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// An answer is huge with so many bytes more than it should have.
const HUGE: u64 = 256 << 20;

/// What happens to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// This status, and nothing of it reaches the registry.
    Status(u16),
    /// This status with further lines of its head, each ended, and a body. Nothing reaches the registry.
    Answer(u16, &'static str, &'static str),
    /// 401 with the front's challenge, as for a token that has expired.
    Challenge,
    /// The connection is reset before anything reaches the registry.
    Reset,
    /// The connection is reset after so many bytes of the request's body.
    ResetAfter(u64),
    /// The registry gets the request, and the connection is reset after so many bytes of the answer.
    ResetAnswer(u64),
    /// The request's body is taken at so many bytes per second.
    Slow(u64),
    /// The answer comes at so many bytes per second.
    SlowAnswer(u64),
    /// No answer, and nothing reaches the registry.
    Silent,
    /// The answer names another digest, and its body is not the one asked for.
    OtherDigest,
    /// The answer does not end where it should.
    Huge,
    /// The request is sent to another host, which does what the registry does.
    Redirect,
}

/// Matches the digest of any layer of the rig's base image in a rule's words. `sha256:` then matches only the digests of other blobs.
pub(crate) const BASE_LAYER: &str = "BASE-LAYER";

/// Which requests: their heads hold all of `words`; so many of them, then no more.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub words: &'static [&'static str],
    pub times: usize,
    pub fault: Fault,
}

/// The front, which works as long as the test's process lives.
#[derive(Debug)]
pub(crate) struct Front {
    /// Host and port.
    pub address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rule: Rule,
    address: String,
    /// Where redirects lead.
    other: String,
    /// Whether requests need the token of the front's own token service.
    is_guarded: bool,
    upstream: String,
    base_layers: Vec<String>,
    left: Mutex<usize>,
    /// Words of the request that is still to come before anything is broken.
    waits_for: Mutex<&'static [&'static str]>,
    /// How often the other host was given credentials.
    given_away: Mutex<usize>,
}

impl Front {
    pub(crate) fn new(rule: Rule) -> Self {
        Self::start(rule, &[], false)
    }

    /// One that wants a token for each request, and gives it to everybody at `/token`. It breaks nothing before a request whose head
    /// holds all of `after`.
    pub(crate) fn with_tokens(rule: Rule, after: &'static [&'static str]) -> Self {
        Self::start(rule, after, true)
    }

    fn start(rule: Rule, after: &'static [&'static str], is_guarded: bool) -> Self {
        let [(here, address), (there, other)] = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            (listener, address)
        });
        let shared = Arc::new(Shared {
            left: Mutex::new(rule.times),
            waits_for: Mutex::new(after),
            rule,
            address: address.clone(),
            other,
            is_guarded,
            upstream: registry(),
            base_layers: digests(&manifest("rig/busybox", "latest")),
            given_away: Mutex::default(),
        });
        for (listener, is_other) in [(here, false), (there, true)] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for client in listener.incoming() {
                    let shared = Arc::clone(&shared);
                    // Who went away needs no answer.
                    thread::spawn(move || serve(client?, &shared, is_other));
                }
                io::Result::Ok(())
            });
        }
        Self { address, shared }
    }

    /// Requests that the rule would still break.
    pub(crate) fn left(&self) -> usize {
        *self.shared.left.lock().unwrap()
    }

    /// How often the host that redirects lead to was given credentials.
    pub(crate) fn given_away(&self) -> usize {
        *self.shared.given_away.lock().unwrap()
    }
}

fn serve(mut client: TcpStream, shared: &Shared, is_other: bool) -> io::Result<()> {
    let mut first = [0];
    client.peek(&mut first)?;
    if first == [TLS] {
        // BuildKit then talks HTTP, as with the rig's registry.
        return client.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    }
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        // One request for each connection.
        if !line.to_ascii_lowercase().starts_with("connection:") {
            head.push_str(&line);
        }
    }
    head.push_str("Connection: close\r\n\r\n");
    let first = head.lines().next().unwrap_or_default().to_owned();
    let path = first.split(' ').nth(1).unwrap_or_default();
    let is_token = path.starts_with("/token");
    let is_let_in = head.to_ascii_lowercase().contains("\nauthorization:");
    *shared.given_away.lock().unwrap() += usize::from(is_other && is_let_in);
    if shared.is_guarded && !is_other && !is_let_in && !is_token {
        return answer(client, reader, 401, &challenge(shared, path), "");
    }
    let rule = &shared.rule;
    let breaks = {
        let layers = shared.base_layers.iter();
        let head = layers.fold(head.clone(), |head, layer| head.replace(layer, BASE_LAYER));
        let has = |words: &[&str]| words.iter().all(|word| head.contains(word));
        let mut waits_for = shared.waits_for.lock().unwrap();
        let waited = waits_for.is_empty();
        if has(&waits_for) {
            *waits_for = &[];
        }
        let mut left = shared.left.lock().unwrap();
        let breaks = !is_other && waited && *left > 0 && has(rule.words);
        *left -= usize::from(breaks);
        breaks
    };
    let fault = breaks.then_some(rule.fault);
    match fault {
        Some(Fault::Status(status)) => return answer(client, reader, status, "", ""),
        Some(Fault::Answer(status, lines, body)) => {
            return answer(client, reader, status, lines, body);
        }
        Some(Fault::Challenge) => {
            return answer(client, reader, 401, &challenge(shared, path), "");
        }
        Some(Fault::Redirect) => {
            let lines = format!("Location: http://{}{path}\r\n", shared.other);
            return answer(client, reader, 307, &lines, "");
        }
        Some(Fault::Silent) => {
            io::copy(&mut reader, &mut io::sink())?;
            return Ok(());
        }
        Some(Fault::Reset) => return reset(&client),
        _ => {}
    }
    if is_token {
        let body = format!("{{\"token\":\"{TOKEN}\",\"expires_in\":300}}");
        return respond(client, fault, &first, |client| {
            let length = body.len();
            write!(
                client,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        });
    }
    let mut server = TcpStream::connect(&shared.upstream)?;
    server.write_all(head.as_bytes())?;
    if let Some(Fault::ResetAfter(bytes)) = fault {
        io::copy(&mut reader.take(bytes), &mut server)?;
        server.shutdown(Shutdown::Both)?;
        return reset(&client);
    }
    let mut answers = server.try_clone()?;
    let to = client.try_clone()?;
    let back = thread::spawn(move || {
        respond(to, fault, &first, |client| {
            io::copy(&mut answers, client).map(drop)
        })
    });
    match fault {
        Some(Fault::Slow(pace)) => copy_slowly(&mut reader, &mut server, pace)?,
        _ => drop(io::copy(&mut reader, &mut server)),
    }
    let _ = back.join();
    Ok(())
}

/// What a client without a good token is told.
fn challenge(shared: &Shared, path: &str) -> String {
    let repository = path.strip_prefix("/v2/").and_then(|rest| {
        let (name, _) = rest
            .split_once("/blobs/")
            .or_else(|| rest.split_once("/manifests/"))?;
        Some(name)
    });
    let scope = repository.map_or_else(String::new, |name| {
        format!(",scope=\"repository:{name}:pull,push\"")
    });
    format!(
        "WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"front\"{scope}\r\n",
        shared.address
    )
}

/// Answers in the registry's place.
fn answer(
    mut client: TcpStream,
    mut reader: BufReader<TcpStream>,
    status: u16,
    lines: &str,
    body: &str,
) -> io::Result<()> {
    let reason = match status {
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Fault",
    };
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status} {reason}\r\n{lines}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    // A reset would take the answer away from one who still sends.
    client.shutdown(Shutdown::Write)?;
    io::copy(&mut reader, &mut io::sink())?;
    Ok(())
}

/// Ends a connection as a machine does that has lost it: what is on its way is gone.
fn reset(client: &TcpStream) -> io::Result<()> {
    set_socket_linger(client, Some(Duration::ZERO))?;
    // Who still reads from it lets go of it.
    client.shutdown(Shutdown::Read)
}

/// Passes the registry's answer on, unless it is broken.
fn respond(
    mut client: TcpStream,
    fault: Option<Fault>,
    first: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut whole = Vec::new();
    match fault {
        Some(Fault::ResetAnswer(_) | Fault::SlowAnswer(_) | Fault::OtherDigest | Fault::Huge) => {
            write(&mut whole)?;
        }
        _ => {
            let written = write(&mut client);
            let _ = client.shutdown(Shutdown::Both);
            return written;
        }
    }
    let end = whole.windows(4).position(|four| four == b"\r\n\r\n");
    let body = whole.split_off(end.map_or(whole.len(), |end| end + 4));
    let head = String::from_utf8_lossy(&whole).into_owned();
    match fault {
        Some(Fault::ResetAnswer(0)) => return reset(&client),
        Some(Fault::ResetAnswer(bytes)) => {
            client.write_all(head.as_bytes())?;
            client.write_all(&body[..body.len().min(usize::try_from(bytes).unwrap())])?;
            // Time for what was sent, which the reset would take away.
            thread::sleep(Duration::from_millis(100));
            return reset(&client);
        }
        Some(Fault::SlowAnswer(pace)) => {
            let whole = [head.as_bytes(), &body].concat();
            copy_slowly(&mut whole.as_slice(), &mut client, pace)?;
        }
        Some(Fault::OtherDigest) => client.write_all(&with_other_digest(&head, body, first))?,
        Some(Fault::Huge) => {
            client.write_all(without(&head, "content-length:").as_bytes())?;
            client.write_all(&body)?;
            let spaces = [b' '; 1 << 16];
            for _ in 0..HUGE / (1 << 16) {
                client.write_all(&spaces)?;
            }
        }
        _ => {}
    }
    let _ = client.shutdown(Shutdown::Both);
    Ok(())
}

/// A head without the lines that begin so, in lower case.
fn without(head: &str, start: &str) -> String {
    let lines = head.split_inclusive("\r\n");
    lines
        .filter(|line| !line.to_ascii_lowercase().starts_with(start))
        .collect()
}

/// An answer about something else than was asked for.
fn with_other_digest(head: &str, mut body: Vec<u8>, first: &str) -> Vec<u8> {
    let digest = format!("Docker-Content-Digest: {OTHER_DIGEST}\r\n");
    if first.starts_with("HEAD ") {
        return format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{digest}\r\n").into_bytes();
    }
    let head = without(head, "docker-content-digest:");
    let head = head.replacen("\r\n", &format!("\r\n{digest}"), 1);
    // JSON that says the same in other bytes.
    if let Some(last) = body.last_mut() {
        *last = b' ';
    }
    [head.into_bytes(), body].concat()
}

fn copy_slowly(from: &mut impl Read, to: &mut impl Write, pace: u64) -> io::Result<()> {
    // Ten pieces a second.
    let mut buffer = vec![0; usize::try_from(pace / 10).unwrap().clamp(1, 4096)];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
        thread::sleep(Duration::from_micros(read as u64 * 1_000_000 / pace));
    }
}
