//! One cell of the matrix: a run of the action before a registry of which one request is broken.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::requests::{Build, Lasting, Pusher, Request, Trouble};
use crate::faulty::{Fault, Front, Rule};
use crate::registry::{get, manifest};
use crate::rig::container_options;
use crate::runner::{Ended, Runner, docker};

/// What the log says where BuildKit takes over from the engine.
const INSTEAD: &str = "BuildKit pushes the image itself";

/// Seconds after which a registry counts as silent, in the cells that are about silence.
const SILENCE: u64 = 4;

/// No run may take longer.
const LONGEST: Duration = Duration::from_secs(180);

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// The image is there, as it would be without the fault.
    Recovered,
    /// The same, and BuildKit pushed it since the engine could not.
    PlainPush,
    /// The image is there, and a warning says that its cache is not.
    NoCache,
    /// One error, with its cause and what to do about it.
    Error(String),
    Untested(String),
    /// What must not be.
    Wrong(String),
}

/// A cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub pusher: Pusher,
    pub request: &'static Request,
    pub trouble: Trouble,
    pub lasting: Lasting,
}

/// What a cell's run gave, and how long it took.
#[derive(Debug)]
pub(super) struct Result {
    pub verdict: Verdict,
    pub took: Duration,
}

/// The images that are pushed where nothing is broken.
#[derive(Debug)]
pub(super) struct Unbroken {
    of_engine: String,
    of_buildkit: String,
}

/// A rule that breaks nothing.
const NO_RULE: Rule = Rule {
    words: &[],
    times: 0,
    fault: Fault::Reset,
};

impl Unbroken {
    pub(super) fn push() -> Self {
        let [of_engine, of_buildkit] = Pusher::ALL.map(|pusher| {
            let front = Front::with_tokens(NO_RULE, &[]);
            let run = Run::new(&front, pusher, Build::Cached);
            let ended = run.start(&[]).succeeded();
            assert_eq!(is_by_engine(&ended), pusher == Pusher::Engine);
            ended.output("digest").to_owned()
        });
        Self {
            of_engine,
            of_buildkit,
        }
    }
}

impl Cell {
    pub(super) fn name(self) -> String {
        let trouble = self.trouble.name();
        format!(
            "{:?}, {}, {trouble}, {:?}",
            self.pusher, self.request.name, self.lasting
        )
    }

    /// Runs it.
    pub(super) fn run(self, unbroken: &Unbroken) -> Result {
        let begun = Instant::now();
        let verdict = match self.trouble.fault(self.request) {
            Ok(fault) => self.verdict(fault, unbroken),
            Err(reason) => Verdict::Untested(reason.to_owned()),
        };
        Result {
            verdict,
            took: begun.elapsed(),
        }
    }

    fn verdict(self, fault: Fault, unbroken: &Unbroken) -> Verdict {
        let request = self.request;
        let rule = Rule {
            words: request.words,
            times: self.lasting.times(),
            fault,
        };
        let front = Front::with_tokens(rule, request.after);
        let run = Run::new(&front, self.pusher, request.build);
        let silence = SILENCE.to_string();
        let mut inputs = Vec::new();
        if self.trouble == Trouble::Silence {
            inputs.push(("silence-timeout", silence.as_str()));
        }
        if self.lasting == Lasting::Always {
            inputs.push(("retries", "0"));
        }
        let begun = Instant::now();
        let ended = run.start(&inputs);
        let took = begun.elapsed();
        let mut wrong = run.left_behind(&ended);
        if took > LONGEST {
            wrong.push(format!("took {} s", took.as_secs()));
        }
        if front.given_away() > 0 {
            wrong.push("gave credentials to another host".to_owned());
        }
        let verdict = if ended.code == Some(0) {
            self.success(&run, &ended, &front, unbroken)
        } else {
            self.error(&run, &ended)
        };
        match (verdict, wrong.is_empty()) {
            (Ok(verdict), true) => verdict,
            (Ok(_), false) => Verdict::Wrong(wrong.join("; ")),
            (Err(reason), _) => Verdict::Wrong([reason, wrong.join("; ")].join("; ")),
        }
        .logged(self, &ended)
    }

    fn success(
        self,
        run: &Run,
        ended: &Ended,
        front: &Front,
        unbroken: &Unbroken,
    ) -> std::result::Result<Verdict, String> {
        if front.left() == self.lasting.times() {
            return Ok(Verdict::Untested(
                "the run sends no such request".to_owned(),
            ));
        }
        let by_engine = is_by_engine(ended);
        let digest = ended.output("digest");
        check_image(&run.repository, "1", Some(digest))?;
        let expected = match self.request.build {
            Build::New(_) => {
                let other = Front::with_tokens(NO_RULE, &[]);
                let again = run.again(&other).start(&[]);
                again.output("digest").to_owned()
            }
            // Each builder has made it at another time.
            Build::Pulled | Build::PulledWithCache => digest.to_owned(),
            Build::Cached | Build::WithCache if by_engine => unbroken.of_engine.clone(),
            Build::Cached | Build::WithCache => unbroken.of_buildkit.clone(),
        };
        if digest != expected && (by_engine || self.pusher == Pusher::BuildKit) {
            return Err(format!("pushed {digest}, without the fault {expected}"));
        }
        if !ended.annotations("error").is_empty() {
            return Err("an error of a run that went well".to_owned());
        }
        if self.pusher == Pusher::Engine && !by_engine {
            return match ended.log().matches(INSTEAD).count() {
                1 => Ok(Verdict::PlainPush),
                other => Err(format!(
                    "BuildKit pushed, and the log says so {other} times"
                )),
            };
        }
        if matches!(
            self.request.build,
            Build::WithCache | Build::PulledWithCache
        ) {
            let warnings = ended.annotations("warning");
            if warnings
                .iter()
                .any(|warning| warning.message.contains("cache"))
            {
                return Ok(Verdict::NoCache);
            }
        }
        Ok(Verdict::Recovered)
    }

    fn error(self, run: &Run, ended: &Ended) -> std::result::Result<Verdict, String> {
        let (status, _) = get(&format!("/v2/{}/manifests/1", run.repository));
        if status != 404 {
            check_image(&run.repository, "1", None)?;
        }
        let errors = ended.annotations("error");
        let [error] = errors.as_slice() else {
            return Err(format!("{} errors", errors.len()));
        };
        let message = &error.message;
        if !self
            .trouble
            .causes()
            .iter()
            .any(|cause| message.contains(cause))
        {
            return Err(format!("no cause in: {message}"));
        }
        if !message.contains("hint: ") {
            return Err(format!("no remedy in: {message}"));
        }
        Ok(Verdict::Error(run.short(message)))
    }
}

impl Verdict {
    /// Itself; shows the run of one that must not be, or that was not what the cell is about.
    fn logged(self, cell: Cell, ended: &Ended) -> Self {
        if matches!(self, Self::Wrong(_) | Self::Untested(_)) {
            println!("{}: {self:?}\n{}\n", cell.name(), ended.log());
        }
        self
    }
}

fn is_by_engine(run: &Ended) -> bool {
    run.values.outputs.contains_key("pushed-bytes")
}

/// The image that a tag names is there, whole: each part has its digest.
fn check_image(
    repository: &str,
    tag: &str,
    digest: Option<&str>,
) -> std::result::Result<(), String> {
    let (status, bytes) = get(&format!("/v2/{repository}/manifests/{tag}"));
    if status != 200 {
        return Err(format!("the tag's manifest is {status}"));
    }
    let found = digest_of(&bytes);
    if digest.is_some_and(|digest| digest != found) {
        return Err(format!("the tag names {found}"));
    }
    let manifest = manifest(repository, tag);
    let layers = manifest["layers"].as_array().unwrap();
    for part in layers.iter().chain([&manifest["config"]]) {
        let digest = part["digest"].as_str().unwrap();
        let (status, bytes) = get(&format!("/v2/{repository}/blobs/{digest}"));
        if status != 200 || digest != digest_of(&bytes) {
            return Err(format!(
                "the tag's image is not complete: {digest} is {status}"
            ));
        }
    }
    Ok(())
}

fn digest_of(bytes: &[u8]) -> String {
    ::image::Digest::sha256(Sha256::digest(bytes).into()).to_string()
}

/// A job with one step before a front.
struct Run {
    runner: Runner,
    pusher: Pusher,
    build: Build,
    front: String,
    repository: String,
}

impl Run {
    fn new(front: &Front, pusher: Pusher, build: Build) -> Self {
        let content = match build {
            Build::New(bytes) => random(bytes),
            _ => vec![b'x'; 2000],
        };
        Self {
            runner: Self::runner(front).file("content", content),
            pusher,
            build,
            front: front.address.clone(),
            repository: Self::repository(),
        }
    }

    fn runner(front: &Front) -> Runner {
        // buildx fetches BuildKit's tokens, so that the step has to be where the front is.
        Runner::new().network("host").file(
            "Dockerfile",
            format!(
                "FROM {}/rig/busybox:latest\nCOPY content /content\n",
                front.address
            ),
        )
    }

    fn repository() -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        format!("faults/{}-{number}", std::process::id())
    }

    /// The same build, before another front.
    fn again(&self, front: &Front) -> Self {
        let content = std::fs::read(self.runner.workspace().join("content")).unwrap();
        Self {
            runner: Self::runner(front).file("content", content),
            front: front.address.clone(),
            repository: Self::repository(),
            ..*self
        }
    }

    fn start(&self, inputs: &[(&str, &str)]) -> Ended {
        let tag = format!("{}/{}:1", self.front, self.repository);
        let cache = format!("{}/{}", self.front, self.cache());
        let accelerate = match self.pusher {
            Pusher::Engine => "auto",
            Pusher::BuildKit => "off",
        };
        let mut step = self
            .runner
            .step()
            .input("context", ".")
            .input("tags", &tag)
            .input("accelerate", accelerate);
        step = match self.build {
            Build::WithCache | Build::PulledWithCache => {
                step.input("cache", "registry").input("cache-ref", &cache)
            }
            Build::Cached | Build::New(_) | Build::Pulled => step.input("cache", "none"),
        };
        if self.is_pulled() {
            let image = container_options();
            step = step
                .input("driver", "docker-container")
                .input("driver-opts", &image);
        }
        let inputs = inputs.iter();
        inputs
            .fold(step, |step, (name, value)| step.input(name, value))
            .run()
    }

    /// The repository of its cache.
    fn cache(&self) -> String {
        self.repository.replace("faults", "cache")
    }

    /// Whether it has a builder of its own.
    fn is_pulled(&self) -> bool {
        matches!(self.build, Build::Pulled | Build::PulledWithCache)
    }

    /// What a run must not leave.
    fn left_behind(&self, ended: &Ended) -> Vec<String> {
        let files = self.runner.leftovers();
        let mut containers = self.runner.containers();
        if self.is_pulled() {
            let filter = format!("name={}", ended.output("builder"));
            containers += &docker(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]);
        }
        let files = files.iter().map(|path| format!("left {}", path.display()));
        let containers = containers
            .lines()
            .map(|name| format!("left the container {name}"));
        files.chain(containers).collect()
    }

    /// An error's first line, without what is of this run alone.
    fn short(&self, message: &str) -> String {
        let line = message.lines().next().unwrap_or_default();
        let line = line
            .replace(&self.front, "HOST")
            .replace(&self.repository, "REPOSITORY")
            .replace(&self.repository.replace('/', "%2F"), "REPOSITORY")
            .replace(&self.cache(), "CACHE");
        let digest = regex::Regex::new("sha256:[0-9a-f]{64}").unwrap();
        let port = regex::Regex::new(r"127\.0\.0\.[12]:\d+").unwrap();
        let upload = regex::Regex::new(r"uploads/[^\s\x22`]*").unwrap();
        let line = digest.replace_all(&line, "DIGEST");
        let line = port.replace_all(&line, "HOST");
        let line = upload.replace_all(&line, "uploads/UPLOAD");
        // Which blob is first is by chance, and so is whether BuildKit tries a mount before it, and remembers the line.
        let by_chance =
            regex::Regex::new(r"pushing with mount from [^\s:]+: | \(Dockerfile:\d+\)$").unwrap();
        let line = by_chance.replace_all(&line, "");
        let blob = regex::Regex::new(r"\b(config|layer)-DIGEST").unwrap();
        let line = blob.replace_all(&line, "BLOB");
        // Which of them it is depends on what was on its way.
        let reset = regex::Regex::new(
            r"(\w+ tcp HOST->HOST: )*((read|write): )?(connection reset by peer|broken pipe|use of closed network connection|(unexpected )?EOF)",
        )
        .unwrap();
        reset.replace_all(&line, "CONNECTION RESET").into_owned()
    }
}

/// Bytes that do not compress.
fn random(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    let mut source = std::fs::File::open("/dev/urandom").unwrap();
    std::io::Read::read_exact(&mut source, &mut content).unwrap();
    content
}
