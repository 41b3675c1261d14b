//! The rig's registry behind a front that breaks chosen requests.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::rig::registry;

/// First byte of a TLS greeting.
const TLS: u8 = 0x16;

/// What happens to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// This status, and nothing of it reaches the registry.
    Status(u16),
    /// The connection ends after so many bytes of the body.
    ResetAfter(u64),
    /// The body is taken at so many bytes per second.
    Slow(u64),
}

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
    left: Arc<Mutex<usize>>,
}

impl Front {
    pub(crate) fn new(rule: Rule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let left = Arc::new(Mutex::new(rule.times));
        let counted = Arc::clone(&left);
        let upstream = registry();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (rule, left, upstream) = (rule.clone(), Arc::clone(&left), upstream.clone());
                // Who went away needs no answer.
                thread::spawn(move || serve(client?, &rule, &left, &upstream));
            }
            io::Result::Ok(())
        });
        Self {
            address,
            left: counted,
        }
    }

    /// Requests that the rule would still break.
    pub(crate) fn left(&self) -> usize {
        *self.left.lock().unwrap()
    }
}

fn serve(
    mut client: TcpStream,
    rule: &Rule,
    left: &Mutex<usize>,
    upstream: &str,
) -> io::Result<()> {
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
    let breaks = {
        let mut left = left.lock().unwrap();
        let breaks = *left > 0 && rule.words.iter().all(|word| head.contains(word));
        *left -= usize::from(breaks);
        breaks
    };
    let mut most = u64::MAX;
    match rule.fault {
        Fault::Status(status) if breaks => {
            let answer = format!(
                "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            client.write_all(answer.as_bytes())?;
            // A reset would take the answer away from one who still sends.
            client.shutdown(Shutdown::Write)?;
            io::copy(&mut reader, &mut io::sink())?;
            return Ok(());
        }
        Fault::ResetAfter(bytes) if breaks => most = bytes,
        _ => {}
    }
    let pace = match rule.fault {
        Fault::Slow(pace) if breaks => Some(pace),
        _ => None,
    };
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(head.as_bytes())?;
    let mut answers = server.try_clone()?;
    let mut to = client.try_clone()?;
    let back = thread::spawn(move || {
        let copied = io::copy(&mut answers, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        copied
    });
    match pace {
        Some(pace) => copy_slowly(&mut reader, &mut server, pace)?,
        None => drop(io::copy(&mut reader.take(most), &mut server)?),
    }
    if most < u64::MAX {
        let _ = server.shutdown(Shutdown::Both);
        return client.shutdown(Shutdown::Both);
    }
    let _ = back.join();
    Ok(())
}

fn copy_slowly(from: &mut impl Read, to: &mut impl Write, pace: u64) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
        thread::sleep(Duration::from_micros(read as u64 * 1_000_000 / pace));
    }
}
