//! The step inside real BuildKit: the image that it pushes has the tree and the configuration of BuildKit's own.
//!
//! Needs the rig and a static binary: `make e2e` builds it and says where it is in `STEP`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts programs and reads the variables of the rig; a panic is its failure"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use protocol::{
    Base, Compression, Destination, Event, Job, LayerSource, LayerTimes, RECEIVER_HOST,
    RemovedInstruction, Summary, VERSION, configuration_repository,
};
use serde_json::{Value, json};

const STEP: &str = "FROM scratch\nCOPY fast-ecr-push-step job.json /program/\nRUN --network=host \
    --mount=type=bind,from=final,target=/final --mount=type=bind,from=base,target=/base \
    --mount=type=cache,id=fast-ecr-push-digests,target=/cache [\"/program/fast-ecr-push-step\"]\n";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `make e2e` runs this test"))
}

/// An image that is built once and pushed by BuildKit and by the step.
struct Case {
    name: &'static str,
    base: &'static str,
    /// Behind `FROM`.
    dockerfile: &'static str,
    /// Without what makes layers.
    configuration: &'static str,
    removed: &'static [(&'static str, usize)],
}

impl Case {
    fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let from = format!("FROM {}/{}\n", variable("RIG_REGISTRY"), self.base);
        let app = folder.path().join("app");
        fs::create_dir_all(&app).unwrap();
        fs::write(app.join("Dockerfile"), format!("{from}{}", self.dockerfile)).unwrap();
        fs::write(app.join("file"), "from the context\n").unwrap();
        let step = folder.path().join("step");
        fs::create_dir(&step).unwrap();
        fs::write(step.join("Dockerfile"), STEP).unwrap();
        fs::copy(variable("STEP"), step.join("fast-ecr-push-step")).unwrap();
        folder
    }

    fn user(&self) -> Value {
        json!({
            "context": "app",
            "output": ["type=cacheonly"],
            "entitlements": ["network.host"],
            "attest": ["type=provenance,disabled=true"],
        })
    }

    fn cfg(&self, output: &str) -> Value {
        let from = format!("FROM {}/{}\n", variable("RIG_REGISTRY"), self.base);
        json!({
            "context": "app",
            "dockerfile-inline": format!("{from}{}", self.configuration),
            "output": [output],
            "attest": ["type=provenance,disabled=true"],
        })
    }

    /// Pushes with the step. The events, in order.
    fn push(&self, folder: &Path, tag: &str, compression: Compression) -> Vec<Event> {
        let (events, problems) = self.try_to_push(folder, tag, compression, |port| port);
        assert_eq!(problems, "");
        events
    }

    /// Pushes with the step, whose port BuildKit reaches at another one. The events, in order, and what buildx said if it failed.
    fn try_to_push(
        &self,
        folder: &Path,
        tag: &str,
        compression: Compression,
        way: impl Fn(u16) -> u16,
    ) -> (Vec<Event>, String) {
        let nonce = format!("{:?}", std::time::SystemTime::now());
        let nonce: String = nonce.chars().filter(char::is_ascii_digit).collect();
        let job = Job {
            version: VERSION,
            nonce: nonce.clone(),
            destinations: vec![Destination {
                registry: variable("RIG_REGISTRY"),
                repository: format!("step/{}", self.name),
                tags: vec![tag.to_owned()],
                is_plain: true,
                mount_from: Vec::new(),
            }],
            compression,
            base: Base::Configuration,
            platform: None,
            kept: self
                .configuration
                .lines()
                .filter(|line| !line.trim().is_empty())
                .count(),
            times: LayerTimes::Keep,
            previous: Vec::new(),
            answer_within: None,
            removed: self
                .removed
                .iter()
                .map(|(text, followed_by)| RemovedInstruction {
                    text: (*text).to_owned(),
                    followed_by: *followed_by,
                })
                .collect(),
            annotations: vec![("com.example.tag".to_owned(), tag.to_owned())],
            threads: None,
            memory: None,
        };
        let step = folder.join("step/job.json");
        fs::write(step, serde_json::to_vec(&job).unwrap()).unwrap();
        let export = json!({
            "context": "step",
            "contexts": {"final": "target:user", "base": "target:cfg"},
            "output": ["type=cacheonly"],
            "entitlements": ["network.host"],
            "attest": ["type=provenance,disabled=true"],
        });
        let all = json!({"target": {"user": self.user(), "cfg": self.cfg("type=cacheonly"), "export": export}});
        fs::write(folder.join("export.json"), all.to_string()).unwrap();

        let mut export = bake(folder, "export.json", "export")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(export.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                sender.send(line).ok();
            }
        });
        let mut log = Vec::new();
        let mut events = Vec::new();
        let mut problems = String::new();
        while let Ok(line) = lines.recv_timeout(Duration::from_secs(180)) {
            // `#12 0.345 fast-ecr-push-event: …`
            if let Some(at) = line.find("fast-ecr-push-event: ")
                && let Some(event) = protocol::parse(line.get(at..).unwrap()).unwrap()
            {
                if let Event::Listening { port } = event {
                    let output = format!(
                        "type=image,name={RECEIVER_HOST}:{}/{}:latest,push=true,oci-mediatypes=true,store=false,registry.insecure=true",
                        way(port),
                        configuration_repository(&nonce)
                    );
                    let one = json!({"target": {"cfg": self.cfg(&output)}});
                    fs::write(folder.join("configuration.json"), one.to_string()).unwrap();
                    let pushed = bake(folder, "configuration.json", "cfg").output().unwrap();
                    if !pushed.status.success() {
                        problems += &String::from_utf8_lossy(&pushed.stderr);
                    }
                }
                events.push(event);
            }
            log.push(line);
        }
        reader.join().unwrap();
        let ended = export.wait().unwrap();
        if !ended.success() {
            problems += &log.join("\n");
        }
        (events, problems)
    }

    /// Pushes with BuildKit itself.
    fn push_plainly(&self, folder: &Path) {
        let name = format!("{}/plain/{}:1", variable("RIG_REGISTRY"), self.name);
        let mut target = self.user();
        target["output"] = json!([format!(
            "type=image,name={name},push=true,oci-mediatypes=true,store=false"
        )]);
        let plain = json!({"target": {"user": target}});
        fs::write(folder.join("plain.json"), plain.to_string()).unwrap();
        let pushed = bake(folder, "plain.json", "user").output().unwrap();
        let said = String::from_utf8_lossy(&pushed.stderr).into_owned();
        assert!(pushed.status.success(), "{said}");
    }
}

fn bake(folder: &Path, file: &str, target: &str) -> Command {
    let mut command = Command::new(variable("RIG_BUILDX"));
    command
        .args(["bake", "--allow", "network.host", "--allow"])
        .arg(format!("fs.read={}", folder.display()))
        .args(["--progress", "plain", "-f", file, target])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn docker(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(variable("RIG_DOCKER"))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {arguments:?}: {said}");
    output.stdout
}

/// Everything about a path that an image keeps: type, mode, owner, size, link, time, content, attributes.
type Tree = BTreeMap<Vec<u8>, String>;

/// What Docker makes of the image: its tree, without what Docker itself puts into a container.
fn tree(image: &str) -> Tree {
    docker(&["pull", "--quiet", image]);
    let id = String::from_utf8(docker(&["create", image, "none"])).unwrap();
    let archive = docker(&["export", id.trim()]);
    docker(&["rm", id.trim()]);
    let mut tree = Tree::new();
    let mut links = Vec::new();
    let mut archive = tar::Archive::new(archive.as_slice());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path_bytes().into_owned();
        let own: [&[u8]; 6] = [
            b".dockerenv",
            b"etc/",
            b"etc/hostname",
            b"etc/hosts",
            b"etc/mtab",
            b"etc/resolv.conf",
        ];
        if own.contains(&path.as_slice()) || path.starts_with(b"dev/") {
            continue;
        }
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        let mut extensions: Vec<String> = Vec::new();
        if let Some(pairs) = entry.pax_extensions().unwrap() {
            for pair in pairs {
                let pair = pair.unwrap();
                let key = pair.key().unwrap_or_default().to_owned();
                if key.starts_with("SCHILY") || key == "mtime" {
                    extensions.push(format!("{key}={:?}", pair.value_bytes()));
                }
            }
        }
        let header = entry.header();
        let said = format!(
            "{:?} {:o} {}:{} {} {:?} {} {:x} {extensions:?}",
            header.entry_type(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            content.len(),
            entry.link_name_bytes(),
            header.mtime().unwrap(),
            crc32fast::hash(&content),
        );
        let said = match entry.link_name_bytes() {
            Some(target) if header.entry_type().is_hard_link() => {
                links.push((path.clone(), target.into_owned()));
                continue;
            }
            _ => said,
        };
        tree.insert(path, said);
    }
    // BuildKit loses a link to a file of an earlier layer and writes a copy; the content is what counts.
    for (path, target) in links {
        let said = tree[&target].clone();
        tree.insert(path, said);
    }
    assert!(tree.len() > 10);
    tree
}

fn summary(events: &[Event]) -> &Summary {
    match events.last() {
        Some(Event::Done(summary)) => summary,
        other => panic!("{other:?}"),
    }
}

fn config(image: &str) -> Value {
    let all: Value = serde_json::from_slice(&docker(&["inspect", image])).unwrap();
    all[0]["Config"].clone()
}

/// Of builds that pull a base image for the first time at the same time, BuildKit forgets one, and runs again what was built on it: its
/// files have other times then.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn compare(case: &Case, compression: Compression) {
    let _alone = ONE_AT_A_TIME.lock();
    let folder = case.folder();
    let registry = variable("RIG_REGISTRY");
    let events = case.push(folder.path(), "1", compression);
    case.push_plainly(folder.path());
    let ours = format!("{registry}/step/{}:1", case.name);
    let theirs = format!("{registry}/plain/{}:1", case.name);
    let (our_tree, their_tree) = (tree(&ours), tree(&theirs));
    let differ: Vec<String> = our_tree
        .keys()
        .chain(their_tree.keys())
        .filter(|path| our_tree.get(*path) != their_tree.get(*path))
        .map(|path| {
            let name = String::from_utf8_lossy(path);
            format!(
                "{name}: {:?} instead of {:?}",
                our_tree.get(path),
                their_tree.get(path)
            )
        })
        .collect();
    assert!(differ.is_empty(), "{}: {differ:#?}", case.name);
    assert_eq!(config(&ours), config(&theirs), "{}", case.name);
    let layers = &summary(&events).layers;
    assert!(
        layers
            .iter()
            .any(|layer| layer.source == LayerSource::Uploaded)
    );

    // Once more: nothing is packed, nothing is sent, and the digest is the same but for the annotation.
    let again = case.push(folder.path(), "1", compression);
    assert_eq!(summary(&again).digest, summary(&events).digest);
    let again = &summary(&again).layers;
    assert!(
        again
            .iter()
            .all(|layer| matches!(layer.source, LayerSource::Base | LayerSource::Unchanged)),
        "{again:?}"
    );
    docker(&["image", "rm", &ours, &theirs]);
}

/// A port where TLS greetings are answered with HTTP, and everything else leads to the other port.
fn without_encryption(port: u16) -> u16 {
    let listener = TcpListener::bind((RECEIVER_HOST, 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut first = [0; 4096];
            let read = client.read(&mut first).unwrap();
            if first[0] == 0x16 {
                client
                    .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    .unwrap();
                continue;
            }
            let mut step = TcpStream::connect((RECEIVER_HOST, port)).unwrap();
            step.write_all(first.get(..read).unwrap()).unwrap();
            // The step ends the connection.
            let _ = std::io::copy(&mut step, &mut client);
        }
    });
    own
}

#[test]
fn a_push_is_over_when_buildkit_names_the_repository_without_encryption() {
    let case = Case {
        name: "open",
        base: "rig/busybox:latest",
        dockerfile: "RUN --network=none echo a > /file",
        configuration: "",
        removed: &[],
    };
    let _alone = ONE_AT_A_TIME.lock();
    let folder = case.folder();
    let (events, problems) = case.try_to_push(folder.path(), "1", ZSTD, without_encryption);
    assert_ne!(problems, "");
    let last = events.last();
    assert!(
        matches!(last, Some(Event::Failed { message, .. }) if message.contains("without encryption")),
        "{events:?}: {problems}"
    );
}

const ZSTD: Compression = Compression::Zstd { level: 1 };

#[test]
fn an_image_of_links_modes_and_removed_files_is_buildkits_own() {
    compare(
        &Case {
            name: "links",
            base: "rig/busybox:latest",
            dockerfile: "ENV A=1\nWORKDIR /srv/x\nCOPY file /srv/x/\nRUN --network=none echo hi > hi && ln hi hi2 && ln -s hi \
                 sym && ln -s /nowhere/at/all dangling && mkfifo fifo && chmod 4755 hi && chmod 2770 . && mkdir -p /opt/a/b/c && touch \
                 '/opt/a/b/odd  name ü' && chown -R 1000:1000 /opt/a && rm /bin/vi && rm -rf /root && \
                 touch -d @1000000000 /opt/old && touch /bin/.hidden && mkdir /bin/vi && touch /bin/vi/now-a-directory\n\
                 RUN --network=none rm -rf /opt/a/b/c && rm hi2 && ln hi hi3 && touch /tmp/gone && rm /tmp/gone\nUSER 1000\nCMD [\"id\"]\n",
            configuration: "ENV A=1\nWORKDIR /srv/x\nUSER 1000\nCMD [\"id\"]\n",
            removed: &[("COPY file /srv/x/", 2), ("RUN ln", 2), ("RUN rm", 2)],
        },
        ZSTD,
    );
}

#[test]
fn gzip_layers_are_read_by_docker_too() {
    compare(
        &Case {
            name: "gzip",
            base: "rig/busybox:latest",
            dockerfile: "RUN --network=none mkdir -p /a/node_modules/x /a/node_modules/@s/y && for n in $(seq 300); do \
                 head -c 20000 /dev/urandom > /a/node_modules/x/$n; ln -s ../x/$n /a/node_modules/@s/$n; done\n",
            configuration: "",
            removed: &[],
        },
        Compression::Gzip { level: 1 },
    );
}

#[test]
fn an_image_with_python_packages_is_buildkits_own() {
    compare(
        &Case {
            name: "python",
            base: "rig/python:3.11",
            dockerfile: "RUN --network=host pip install --no-cache-dir requests==2.32.3 numpy==1.26.4\nRUN --network=none rm -rf \
                 /usr/lib/python3.11/idlelib /usr/bin/pip && mv /usr/lib/python3.11/sqlite3 /usr/lib/python3.11/sqlite4\n",
            configuration: "",
            removed: &[("RUN pip install", 0)],
        },
        ZSTD,
    );
}
