//! A registry in memory, over real connections, that does wrong what it is told to.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use upload::Descriptor;

/// A request that a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    HeadBlob,
    GetBlob,
    Begin,
    Mount,
    Patch,
    PutBlob,
    PutManifest,
    GetManifest,
    Token,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers this, without doing anything. Headers end in CRLF.
    Answer(u16, String, String),
    /// Answers this before the body is read, and reads no more.
    AnswerEarly(u16),
    /// Ends the connection before the body is read.
    ResetBefore,
    /// Ends the connection in the middle of the body.
    ResetDuring,
    /// Does what is asked, and ends the connection instead of an answer.
    ResetAfter,
    /// Reads so many bytes per second.
    SlowBody(u64),
    /// Reads nothing of the body, and stays.
    UnreadBody,
    /// Does nothing, and answers nothing.
    Silence,
    /// Sends half of an answer's body, and stays.
    HalfAnswer,
    /// Does what is asked, and names another digest.
    WrongDigest,
    /// Keeps the body without its last byte.
    LostByte,
    /// A body of so many bytes.
    LargeAnswer(u16, usize),
    /// Headers without an end.
    LargeHead,
    /// Not HTTP.
    Garbage,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Option<At>,
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) proxy_authorization: Option<String>,
    pub(crate) is_chunked: bool,
    pub(crate) body: usize,
    pub(crate) status: u16,
    pub(crate) connection: u64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) blobs: HashMap<(String, String), Vec<u8>>,
    pub(crate) manifests: HashMap<(String, String), (String, Vec<u8>)>,
    pub(crate) seen: Vec<Seen>,
    /// Blobs that manifests are refused for, so many times.
    pub(crate) lag: u32,
    /// Header that every request of `/v2/` must have.
    pub(crate) wants: HashSet<String>,
    pub(crate) challenge: String,
    /// Tokens that the token service gives, the last first.
    pub(crate) tokens: Vec<String>,
    pub(crate) is_relative: bool,
    /// Where uploads are sent on to.
    pub(crate) elsewhere: Option<String>,
    pub(crate) mounts: bool,
    uploads: HashMap<u64, Vec<u8>>,
    faults: Vec<Fault>,
    last_upload: u64,
    connections: u64,
}

#[derive(Debug)]
struct Fault {
    at: At,
    /// So many requests go well before.
    skip: u32,
    times: u32,
    does: Does,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            address,
            state: Arc::default(),
        };
        let accepting = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let server = accepting.clone();
                let number = {
                    let mut state = server.state();
                    state.connections += 1;
                    state.connections
                };
                thread::spawn(move || {
                    // A client that goes away is what is tested.
                    let _ = stream.and_then(|stream| server.serve(stream, number));
                });
            }
        });
        server
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn fault(&self, at: At, times: u32, does: Does) {
        self.later_fault(at, 0, times, does);
    }

    pub(crate) fn later_fault(&self, at: At, skip: u32, times: u32, does: Does) {
        let fault = Fault {
            at,
            skip,
            times,
            does,
        };
        self.state().faults.push(fault);
    }

    pub(crate) fn add_blob(&self, repository: &str, content: &[u8]) {
        let digest = Descriptor::of(content).digest.to_string();
        let key = (repository.to_owned(), digest);
        self.state().blobs.insert(key, content.to_vec());
    }

    pub(crate) fn seen(&self, at: At) -> Vec<Seen> {
        let state = self.state();
        let seen = state.seen.iter().filter(|seen| seen.at == Some(at));
        seen.cloned().collect()
    }

    fn serve(&self, stream: TcpStream, connection: u64) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        loop {
            let Some(request) = Request::read(&mut reader)? else {
                return Ok(());
            };
            let at = request.at();
            let index = self.log(&request, at, connection);
            let does = self.next_fault(at);
            let body = match does {
                Some(Does::ResetBefore) => return Ok(()),
                Some(Does::UnreadBody | Does::Silence) => {
                    thread::sleep(Duration::from_secs(20));
                    return Ok(());
                }
                Some(Does::AnswerEarly(status)) => {
                    write!(writer, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")?;
                    thread::sleep(Duration::from_millis(200));
                    return Ok(());
                }
                Some(Does::ResetDuring) => {
                    let mut some = vec![0; 1000];
                    let _ = reader.read(&mut some)?;
                    return Ok(());
                }
                Some(Does::SlowBody(rate)) => request.body(&mut reader, Some(rate))?,
                _ => request.body(&mut reader, None)?,
            };
            self.state().seen[index].body = body.len();
            let (status, headers, mut answer) = match &does {
                Some(Does::Answer(status, headers, text)) => {
                    (*status, headers.clone(), text.clone().into_bytes())
                }
                Some(Does::LargeAnswer(status, length)) => {
                    (*status, String::new(), vec![b'x'; *length])
                }
                Some(Does::LostByte) => {
                    let (kept, _) = body.split_at(body.len().saturating_sub(1));
                    self.answer(&request, at, kept)
                }
                _ => self.answer(&request, at, &body),
            };
            self.state().seen[index].status = status;
            match does {
                Some(Does::ResetAfter) => return Ok(()),
                Some(Does::Garbage) => {
                    writer.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")?;
                    return Ok(());
                }
                Some(Does::LargeHead) => {
                    write!(writer, "HTTP/1.1 200 X\r\n")?;
                    for number in 0..200_000 {
                        write!(writer, "X-{number}: {}\r\n", "x".repeat(100))?;
                    }
                    return Ok(());
                }
                _ => {}
            }
            let headers = match does {
                Some(Does::WrongDigest) => {
                    let digest = Descriptor::of(b"another").digest;
                    let rest = headers.split_inclusive("\r\n");
                    let rest: String = rest
                        .filter(|line| !line.starts_with("Docker-Content-Digest"))
                        .collect();
                    format!("{rest}Docker-Content-Digest: {digest}\r\n")
                }
                _ => headers,
            };
            let length = answer.len();
            let has_length = headers.to_ascii_lowercase().contains("content-length:");
            let length = if has_length {
                String::new()
            } else {
                format!("Content-Length: {length}\r\n")
            };
            write!(writer, "HTTP/1.1 {status} X\r\n{headers}{length}\r\n")?;
            if matches!(does, Some(Does::HalfAnswer)) {
                answer.truncate(answer.len() / 2);
            }
            if request.method != "HEAD" {
                writer.write_all(&answer)?;
            }
            if matches!(does, Some(Does::HalfAnswer)) {
                thread::sleep(Duration::from_secs(20));
                return Ok(());
            }
        }
    }

    fn log(&self, request: &Request, at: Option<At>, connection: u64) -> usize {
        let mut state = self.state();
        state.seen.push(Seen {
            at,
            line: format!("{} {}", request.method, request.target),
            authorization: request.header("authorization"),
            proxy_authorization: request.header("proxy-authorization"),
            is_chunked: request.header("transfer-encoding").is_some(),
            body: 0,
            status: 0,
            connection,
        });
        state.seen.len() - 1
    }

    fn next_fault(&self, at: Option<At>) -> Option<Does> {
        let mut state = self.state();
        let mut faults = state.faults.iter_mut();
        let fault = faults.find(|fault| Some(fault.at) == at && fault.times > 0)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        Some(fault.does.clone())
    }

    fn answer(&self, request: &Request, at: Option<At>, body: &[u8]) -> (u16, String, Vec<u8>) {
        let agent = request.header("user-agent").unwrap_or_default();
        if !agent.starts_with("fast-ecr-push/") {
            return (
                400,
                String::new(),
                b"the client does not name itself".to_vec(),
            );
        }
        let mut state = self.state();
        if at == Some(At::Token) {
            let token = state.tokens.pop().unwrap_or_default();
            let text = format!("{{\"token\":\"{token}\",\"expires_in\":300}}");
            return (200, String::new(), text.into_bytes());
        }
        let given = request.header("authorization").unwrap_or_default();
        if !state.challenge.is_empty() && !state.wants.contains(&given) {
            let header = format!("WWW-Authenticate: {}\r\n", state.challenge);
            return (401, header, Vec::new());
        }
        let not_found = |code: &str| {
            let text = format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"no\"}}]}}");
            (404, String::new(), text.into_bytes())
        };
        let (path, repository) = (request.path(), request.repository());
        let last = path.rsplit('/').next().unwrap_or_default().to_owned();
        match at {
            Some(At::HeadBlob | At::GetBlob) => match state.blobs.get(&(repository, last)) {
                Some(blob) => {
                    let length = format!("Content-Length: {}\r\n", blob.len());
                    (200, length, blob.clone())
                }
                None => not_found("BLOB_UNKNOWN"),
            },
            Some(At::Mount) => {
                let (digest, from) = (request.parameter("mount"), request.parameter("from"));
                let blob = state.blobs.get(&(from, digest.clone())).cloned();
                match blob.filter(|_| state.mounts) {
                    Some(blob) => {
                        state.blobs.insert((repository, digest), blob);
                        (201, String::new(), Vec::new())
                    }
                    None => (
                        202,
                        begin(&mut state, &request.path(), self.address),
                        Vec::new(),
                    ),
                }
            }
            Some(At::Begin) => (
                202,
                begin(&mut state, &request.path(), self.address),
                Vec::new(),
            ),
            Some(At::Patch) => {
                let number = last.parse().unwrap_or_default();
                let Some(upload) = state.uploads.get_mut(&number) else {
                    return not_found("BLOB_UPLOAD_UNKNOWN");
                };
                upload.extend(body);
                (202, location(&state, &path, self.address), Vec::new())
            }
            Some(At::PutBlob) => {
                let number = last.parse().unwrap_or_default();
                let Some(mut upload) = state.uploads.remove(&number) else {
                    return not_found("BLOB_UPLOAD_UNKNOWN");
                };
                upload.extend(body);
                let digest = Descriptor::of(&upload).digest.to_string();
                if request.parameter("digest") != digest {
                    let text =
                        "{\"errors\":[{\"code\":\"DIGEST_INVALID\",\"message\":\"other bytes\"}]}";
                    return (400, String::new(), text.into());
                }
                state.blobs.insert((repository, digest.clone()), upload);
                (
                    201,
                    format!("Docker-Content-Digest: {digest}\r\n"),
                    Vec::new(),
                )
            }
            Some(At::PutManifest) => {
                if state.lag > 0 {
                    state.lag -= 1;
                    let text = "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"blob unknown\"}]}";
                    return (400, String::new(), text.into());
                }
                let digest = Descriptor::of(body).digest.to_string();
                let kind = request.header("content-type").unwrap_or_default();
                for reference in [digest.clone(), last] {
                    let key = (repository.clone(), reference);
                    state.manifests.insert(key, (kind.clone(), body.to_vec()));
                }
                (
                    201,
                    format!("Docker-Content-Digest: {digest}\r\n"),
                    Vec::new(),
                )
            }
            Some(At::GetManifest) => match state.manifests.get(&(repository, last)) {
                Some((kind, bytes)) => (200, format!("Content-Type: {kind}\r\n"), bytes.clone()),
                None => not_found("MANIFEST_UNKNOWN"),
            },
            _ => not_found("UNSUPPORTED"),
        }
    }
}

fn begin(state: &mut State, path: &str, address: SocketAddr) -> String {
    state.last_upload += 1;
    let number = state.last_upload;
    state.uploads.insert(number, Vec::new());
    location(state, &format!("{path}{number}"), address)
}

fn location(state: &State, path: &str, address: SocketAddr) -> String {
    let host = match &state.elsewhere {
        Some(host) => format!("http://{host}"),
        None if state.is_relative => String::new(),
        None => format!("http://{address}"),
    };
    format!("Location: {host}{path}?_state=secret%3D\r\n")
}

struct Request {
    method: String,
    target: String,
    headers: HashMap<String, String>,
}

impl Request {
    fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        Ok(Some(Self {
            method,
            target,
            headers,
        }))
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).cloned()
    }

    /// Without the host that a proxy is given.
    fn path(&self) -> String {
        let target = match self.target.strip_prefix("http://") {
            Some(rest) => rest.split_at(rest.find('/').unwrap()).1,
            None => &self.target,
        };
        target.split('?').next().unwrap().to_owned()
    }

    fn parameter(&self, name: &str) -> String {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| *key == name);
        found.map_or_else(String::new, |(_, value)| value.to_owned())
    }

    fn repository(&self) -> String {
        let path = self.path();
        let rest = path.strip_prefix("/v2/").unwrap_or_default();
        let end = rest.find("/blobs/").or(rest.find("/manifests/"));
        rest.split_at(end.unwrap_or(rest.len())).0.to_owned()
    }

    fn at(&self) -> Option<At> {
        let path = self.path();
        let is_upload = path.contains("/blobs/uploads/");
        Some(match self.method.as_str() {
            "GET" if path == "/token" => At::Token,
            "HEAD" if path.contains("/blobs/") => At::HeadBlob,
            "GET" if path.contains("/blobs/") => At::GetBlob,
            "POST" if is_upload && !self.parameter("mount").is_empty() => At::Mount,
            "POST" if is_upload => At::Begin,
            "PATCH" if is_upload => At::Patch,
            "PUT" if is_upload => At::PutBlob,
            "PUT" if path.contains("/manifests/") => At::PutManifest,
            "GET" | "HEAD" if path.contains("/manifests/") => At::GetManifest,
            _ => return None,
        })
    }

    fn body(&self, reader: &mut BufReader<TcpStream>, rate: Option<u64>) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.headers.contains_key("transfer-encoding") {
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
                read_some(reader, length, rate, &mut body)?;
                reader.read_line(&mut String::new())?;
                if length == 0 {
                    return Ok(body);
                }
            }
        }
        let length = self.header("content-length");
        let length = length.map_or(0, |length| length.parse().unwrap());
        read_some(reader, length, rate, &mut body)?;
        Ok(body)
    }
}

fn read_some(
    reader: &mut BufReader<TcpStream>,
    length: usize,
    rate: Option<u64>,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let mut buffer = vec![0; left.min(10_000)];
        reader.read_exact(&mut buffer)?;
        left -= buffer.len();
        body.extend(&buffer);
        if let Some(rate) = rate {
            thread::sleep(Duration::from_millis(buffer.len() as u64 * 1000 / rate));
        }
    }
    Ok(())
}
