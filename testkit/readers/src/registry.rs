//! What a registry answers: the uploader asks a server on loopback that sends any bytes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use image::Digest;
use sha2::{Digest as _, Sha256};
use upload::{Blob, Credentials, Proxies, RegistrySettings, Settings, Timing, Uploader};

use crate::previous::{Kept, Previous};
use crate::{SEPARATOR, memory};

/// The answers to come, the next one last.
static ANSWERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

struct Server {
    address: String,
    uploader: Uploader,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
        let wait = Duration::from_millis(1);
        let timing = Timing {
            connect: Duration::from_millis(50),
            silence: Duration::from_millis(50),
            answer: Duration::from_millis(50),
            tries: 2,
            first_wait: wait,
            longest_wait: wait,
            longest_retry_after: wait,
            blob_lag: wait,
            ..Timing::default()
        };
        // Wherever an answer leads to, the way goes through this server.
        let proxy = Some(format!("http://{address}").into());
        let proxies = Proxies {
            http: proxy.clone(),
            https: proxy,
            no_proxy: String::new(),
        };
        let settings = Settings {
            proxies,
            timing,
            ..Settings::default()
        };
        let uploader = Uploader::start(&settings).unwrap();
        Server { address, uploader }
    })
}

/// The server's; it has nothing while no answers are scripted.
pub(crate) fn address() -> &'static str {
    &server().address
}

/// Reads a request and sends the next answer, or that nothing is there.
fn answer(mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let lower = line.to_ascii_lowercase();
        if let Some(given) = lower.strip_prefix("content-length:") {
            length = given.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let _ = reader.take(length).read_to_end(&mut Vec::new());
    let next = ANSWERS.lock().unwrap().pop();
    // Says that it closes the connection: the uploader would ask on it again, fail, and wait for its next try.
    let nothing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = stream.write_all(next.as_deref().unwrap_or(nothing));
}

/// The bytes are answers, between separators, to all that is asked of a registry. What is taken for a manifest or a blob is the one that
/// was asked for, and all of it ends.
pub(crate) fn registry(bytes: &[u8]) {
    let Server { address, uploader } = server();
    let answers: Vec<Vec<u8>> = bytes
        .split(|byte| *byte == SEPARATOR as u8)
        .map(<[u8]>::to_vec)
        .collect();
    let script = || {
        let mut answers = answers.clone();
        answers.reverse();
        *ANSWERS.lock().unwrap() = answers;
    };
    let mut settings = RegistrySettings::new(address);
    settings.credentials = Credentials::Basic {
        user: "AWS".to_owned(),
        password: "password".to_owned().into(),
    };
    let registry = uploader.registry(settings).unwrap();
    let repository = registry.repository("team/app");
    script();
    if let Ok(Some(fetched)) = repository.manifest("latest").wait() {
        assert_eq!(fetched.digest, digest(&fetched.bytes));
    }
    script();
    let wanted = digest(b"{}");
    if let Ok(Some(blob)) = repository.blob(&wanted).wait() {
        assert_eq!(&blob[..], b"{}");
    }
    script();
    let _ = repository.push(Blob::bytes(b"{}".as_slice().into())).wait();
    script();
    let _ = repository.obtain(&wanted, &["team/base".to_owned()]).wait();
    let note = memory().join("no-note");
    for platform in [None, Some("linux/arm64")] {
        script();
        let previous = Previous::read(&repository, &["latest".to_owned()], platform, &note);
        assert!(previous.is_known() || previous == Previous::default());
        if let Some(annotation) = previous.kept.annotation() {
            let again: Kept = serde_json::from_str(&annotation).unwrap();
            assert_eq!(again, previous.kept);
        }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}
