//! The default Git context, as GitHub knows it: the id of its tree, and its Dockerfile. Nothing is cloned.
//!
//! A tree's id is a hash of everything below it; submodules are in it by their commits. Calls:
//! <https://docs.github.com/rest/git/commits>, `…/trees`, `…/blobs`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Reason;
use crate::aws::error_chain;
use crate::runner::USER_AGENT;
use crate::runner::env::Env;

/// Time limit of a request; GitHub answers within a second.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest accepted answer (bytes): a folder of tens of thousands of entries.
const LONGEST: usize = 16 << 20;

/// How deep a folder may be in the repository.
const DEEPEST: usize = 64;

/// Files by which Git changes others when it checks them out, of this folder and of those above.
const ATTRIBUTES: &str = ".gitattributes";

/// Where the commit can be asked for.
#[derive(Debug, Clone)]
pub(crate) struct GitHub {
    api: String,
    /// `owner/name`.
    repository: String,
    token: Option<SecretString>,
}

/// A folder of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    /// What identifies its files.
    pub name: String,
    pub dockerfile: Vec<u8>,
}

#[derive(Deserialize)]
struct Commit {
    tree: Reference,
}

#[derive(Deserialize)]
struct Reference {
    sha: String,
}

#[derive(Deserialize)]
struct Listing {
    tree: Vec<Entry>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
}

#[derive(Deserialize)]
struct Blob {
    content: String,
    encoding: String,
}

impl GitHub {
    /// Of the environment of a workflow run; `None` outside of one.
    pub(crate) fn of(env: &Env, token: Option<&SecretString>) -> Option<Self> {
        let api = env
            .get("GITHUB_API_URL")
            .unwrap_or("https://api.github.com");
        Some(Self {
            api: api.trim_end_matches('/').to_owned(),
            repository: env.get("GITHUB_REPOSITORY")?.to_owned(),
            token: token.cloned(),
        })
    }

    /// The folder and the Dockerfile of a context, `https://…#COMMIT[:FOLDER]`.
    ///
    /// # Errors
    /// What GitHub does not tell.
    pub(super) async fn tree(&self, url: &str, dockerfile: &str) -> Result<Tree, Reason> {
        let (commit, folder) = commit_and_folder(url)?;
        let commit: Commit = self.get(&format!("git/commits/{commit}")).await?;
        let mut tree = commit.tree.sha;
        let mut attributes = Vec::new();
        let mut listing = self.listing(&tree).await?;
        for part in parts(folder)? {
            attributes.extend(entry(&listing, ATTRIBUTES).map(|entry| entry.sha.clone()));
            let next = below(&listing, part);
            let next = next.ok_or_else(|| format!("the commit has no folder `{folder}`"))?;
            tree.clone_from(&next.sha);
            listing = self.listing(&tree).await?;
        }
        let attributes = attributes.join(" ");
        let missing = || format!("the commit has no file `{dockerfile}`");
        let mut path = parts(dockerfile)?;
        let file = path.pop().ok_or_else(missing)?;
        for part in path {
            let next = below(&listing, part).ok_or_else(missing)?;
            listing = self.listing(&next.sha).await?;
        }
        let file = regular(&listing, file).ok_or_else(missing)?;
        let blob: Blob = self.get(&format!("git/blobs/{}", file.sha)).await?;
        Ok(Tree {
            name: format!("git tree {tree} {attributes}"),
            dockerfile: blob.content()?,
        })
    }

    async fn listing(&self, tree: &str) -> Result<Vec<Entry>, Reason> {
        let listing: Listing = self.get(&format!("git/trees/{tree}")).await?;
        listing.entries()
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Reason> {
        let failed = |error: reqwest::Error| {
            let error = error_chain(&error.without_url());
            format!("GitHub can't be asked for the commit: {error}")
        };
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .timeout(TIMEOUT)
            .build();
        let url = format!("{}/repos/{}/{path}", self.api, self.repository);
        let mut request = client.map_err(failed)?.get(url);
        request = request.header(ACCEPT, "application/vnd.github+json");
        if let Some(token) = &self.token {
            let header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            let mut header = header.map_err(|_| "`github-token` is not a token".to_owned())?;
            header.set_sensitive(true);
            request = request.header(AUTHORIZATION, header);
        }
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(format!(
                "GitHub answered {status} to the question for the commit; the job needs `permissions: contents: read`"
            ));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                return Err("GitHub's answer about the commit is too long".to_owned());
            }
        }
        read(&body)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reason> {
    serde_json::from_slice(body)
        .map_err(|error| format!("GitHub's answer about the commit can't be read: {error}"))
}

impl Listing {
    fn entries(self) -> Result<Vec<Entry>, Reason> {
        if self.truncated {
            return Err("a folder of the commit has more entries than GitHub lists".to_owned());
        }
        Ok(self.tree)
    }
}

impl Blob {
    fn content(self) -> Result<Vec<u8>, Reason> {
        let content: String = self.content.split_ascii_whitespace().collect();
        let content = STANDARD.decode(content).ok();
        let content = content.filter(|_| self.encoding == "base64");
        content.ok_or_else(|| "GitHub's answer has no Dockerfile".to_owned())
    }
}

fn below<'a>(listing: &'a [Entry], name: &str) -> Option<&'a Entry> {
    entry(listing, name).filter(|entry| entry.kind == "tree")
}

/// A file that is no link, which has another mode.
fn regular<'a>(listing: &'a [Entry], name: &str) -> Option<&'a Entry> {
    entry(listing, name).filter(|entry| entry.kind == "blob" && entry.mode.starts_with("100"))
}

fn entry<'a>(listing: &'a [Entry], name: &str) -> Option<&'a Entry> {
    listing.iter().find(|entry| entry.path == name)
}

/// A path's parts; `..` leads out of what the id is of.
fn parts(path: &str) -> Result<Vec<&str>, Reason> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") || parts.len() > DEEPEST {
        return Err(format!("`{path}` is no path below the context"));
    }
    Ok(parts)
}

fn commit_and_folder(url: &str) -> Result<(&str, &str), Reason> {
    let (address, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (commit, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
    let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    // A query may say anything: a ref, a folder, whether submodules are fetched.
    if !is_commit || address.contains('?') {
        return Err("the context is not a commit".to_owned());
    }
    Ok((commit, folder))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// An address, and what GitHub answers about a commit, a folder and a file: no link is followed, and no path leads out.
    pub(in crate::unchanged) fn check(address: &str, answers: [&str; 3]) {
        if let Ok((commit, folder)) = commit_and_folder(address) {
            assert!(commit.bytes().all(|byte| byte.is_ascii_hexdigit()));
            for part in parts(folder).into_iter().flatten() {
                assert!(!["", ".", ".."].contains(&part) && !part.contains('/'));
            }
        }
        let [commit, listing, blob] = answers.map(str::as_bytes);
        let _ = read::<Commit>(commit).map(|commit| commit.tree.sha);
        if let Ok(listing) = read::<Listing>(listing).and_then(Listing::entries) {
            for name in ["Dockerfile", "sub", ATTRIBUTES] {
                let (file, folder) = (regular(&listing, name), below(&listing, name));
                assert!(file.is_none() || folder.is_none());
                assert!(file.is_none_or(|file| file.path == name && file.mode != "120000"));
            }
        }
        if let Ok(blob) = read::<Blob>(blob) {
            let _ = blob.content();
        }
    }

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// Answers as GitHub does about one commit: a Dockerfile, attributes, a folder with another Dockerfile, a submodule, a link.
    fn server() -> GitHub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                let rest: Vec<String> = lines
                    .map(Result::unwrap)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let is_authorized = rest
                    .iter()
                    .any(|line| line.eq_ignore_ascii_case("authorization: Bearer hush"));
                let path = first.split(' ').nth(1).unwrap();
                let path = path.strip_prefix("/repos/octo/app/git/").unwrap();
                let body = match path.split_once('/').unwrap() {
                    ("commits", COMMIT) => r#"{"tree":{"sha":"root"}}"#,
                    ("trees", "root") => {
                        r#"{"tree":[{"path":"Dockerfile","mode":"100644","type":"blob","sha":"file"},
                        {"path":".gitattributes","mode":"100644","type":"blob","sha":"rules"},
                        {"path":"link","mode":"120000","type":"blob","sha":"file"},
                        {"path":"module","mode":"160000","type":"commit","sha":"other"},
                        {"path":"sub","mode":"040000","type":"tree","sha":"below"}]}"#
                    }
                    ("trees", "below") => {
                        r#"{"tree":[{"path":"Dockerfile","mode":"100644","type":"blob","sha":"file"}]}"#
                    }
                    ("blobs", "file") => {
                        r#"{"content":"RlJPTSBz\nY3JhdGNoCg==\n","encoding":"base64"}"#
                    }
                    _ => "",
                };
                let status = match body {
                    _ if !is_authorized => "401 Unauthorized",
                    "" => "404 Not Found",
                    _ => "200 OK",
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        GitHub {
            api,
            repository: "octo/app".to_owned(),
            token: Some("hush".into()),
        }
    }

    #[tokio::test]
    async fn a_commit_is_its_tree_and_its_dockerfile() {
        let github = server();
        let url = |folder: &str| format!("https://github.com/octo/app.git#{COMMIT}{folder}");
        let whole = github.tree(&url(""), "Dockerfile").await.unwrap();
        assert_eq!(whole.name, "git tree root ");
        assert_eq!(whole.dockerfile, b"FROM scratch\n");
        let below = github.tree(&url(":./sub/"), "./Dockerfile").await.unwrap();
        // The rules above a folder count for its files.
        assert_eq!(below.name, "git tree below rules");
        assert!(github.tree(&url(""), "sub/Dockerfile").await.is_ok());
        for (folder, file, words) in [
            (":gone", "Dockerfile", "no folder `gone`"),
            (":module", "Dockerfile", "no folder `module`"),
            (":../up", "Dockerfile", "no path below"),
            ("", "gone", "no file `gone`"),
            ("", "link", "no file `link`"),
            ("", "../Dockerfile", "no path below"),
        ] {
            let error = github.tree(&url(folder), file).await.unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        for url in [
            "https://github.com/octo/app.git#refs/heads/main",
            "https://github.com/octo/app.git",
            "https://github.com/octo/app.git#0123abc",
        ] {
            let error = github.tree(url, "Dockerfile").await.unwrap_err();
            assert_eq!(error, "the context is not a commit");
        }
        let stranger = GitHub {
            token: None,
            ..github
        };
        let error = stranger.tree(&url(""), "Dockerfile").await.unwrap_err();
        assert!(error.contains("401"), "{error}");
    }
}
