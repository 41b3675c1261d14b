//! A registry that accepts a request and never answers.
//!
//! BuildKit's HTTP client waits for an answer without end, and so does a build. Silence counts only while nothing but requests to registries
//! is under way: a step of the Dockerfile, the compression of layers and unpacking may be silent for hours.
//!
//! A BuildKit that reads a cache from such a registry begins no other step of any build, as its scheduler waits, too: there is a limit for
//! builds of which nothing runs.

use std::fmt;
use std::time::Duration;

use super::cache_step;
use super::progress::Step;

/// Limits for silence; none for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For requests that are answered at once, and for downloads, whose bytes are counted.
    pub request: Option<Duration>,
    /// For uploads of layers: BuildKit names their start and end, nothing in between
    /// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/util/push/push.go#L131>).
    pub upload: Option<Duration>,
}

impl Patience {
    /// The limit that the input sets, in seconds, 0 for none; else ten minutes, and two hours for uploads: 50 GB at 7 MB/s.
    pub(crate) fn of(seconds: Option<u64>) -> Self {
        let limits = |request, upload| Self {
            request: Some(Duration::from_secs(request)),
            upload: Some(Duration::from_secs(upload)),
        };
        match seconds {
            Some(0) => Self {
                request: None,
                upload: None,
            },
            Some(seconds) => limits(seconds, seconds),
            None => limits(600, 7200),
        }
    }

    /// For a build of which nothing runs. It may wait for other builds of a BuildKit with `max-parallelism`.
    fn idle(self) -> Option<Duration> {
        self.upload.map(|limit| limit.max(SHORTEST_IDLE))
    }

    fn limit(self, work: Work) -> Option<Duration> {
        match work {
            Work::Request => self.request,
            Work::Upload => self.upload,
            Work::Other => None,
        }
    }
}

/// A build of which nothing runs is given so much time, whatever the input says: BuildKit has work between steps.
const SHORTEST_IDLE: Duration = Duration::from_secs(60);

/// What has been silent for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    /// The work that waits, in BuildKit's words. None: nothing runs.
    pub what: Option<String>,
    pub limit: Duration,
    /// Whether only caches are written, without which the image is complete.
    pub is_of_cache: bool,
}

impl fmt::Display for Silence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.limit.as_secs();
        match &self.what {
            Some(what) => write!(
                formatter,
                "a registry accepted a request and has been silent for {seconds} s: {what}"
            ),
            None => write!(formatter, "BuildKit has begun no step for {seconds} s"),
        }
    }
}

impl Silence {
    pub(super) fn hint(&self) -> &'static str {
        match self.what {
            Some(_) => {
                "the connection is open, but no answer comes: look at the registry, and at proxies and firewalls between BuildKit and it \
                 that drop packets; then run the job again. `silence-timeout` sets the limit"
            }
            None => {
                "BuildKit begins nothing while it reads another build's cache from a registry that does not answer: end that build, or \
                 restart the builder, and run the job again. `silence-timeout` sets the limit"
            }
        }
    }
}

/// Work of BuildKit, in the order of the time that its silence may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Request,
    Upload,
    Other,
}

/// Whether these running steps have been silent for too long.
pub(super) fn find<'a>(
    running: impl Iterator<Item = &'a Step>,
    silent: Duration,
    patience: Patience,
) -> Option<Silence> {
    let mut longest = None;
    let mut is_of_cache = true;
    for step in running {
        let (work, what) = work(step);
        is_of_cache &= cache_step::is_export(&step.name) || is_token(&step.name);
        if longest.as_ref().is_none_or(|(longest, _)| work > *longest) {
            longest = Some((work, what));
        }
    }
    let (work, what) = longest?;
    let limit = patience.limit(work)?;
    (silent >= limit).then_some(Silence {
        what: Some(what),
        limit,
        is_of_cache,
    })
}

/// Whether a build of which nothing runs has been silent for too long.
pub(super) fn find_idle<'a>(
    mut running: impl Iterator<Item = &'a Step>,
    silent: Duration,
    patience: Patience,
) -> Option<Silence> {
    let limit = patience.idle()?;
    (running.next().is_none() && silent >= limit).then_some(Silence {
        what: None,
        limit,
        is_of_cache: false,
    })
}

/// The slowest work in a step, and its name.
fn work(step: &Step) -> (Work, String) {
    let name = step.name.as_str();
    let is_request = is_token(name)
        || name.contains("] load metadata for ")
        || [
            "importing cache manifest from ",
            "resolve image config for ",
        ]
        .iter()
        .any(|start| name.starts_with(start));
    // One part spans the export of a cache, with the others inside.
    let is_span = |id: &&str| id.starts_with("preparing build cache for export");
    let parts = step.parts().filter(|id| !is_span(id));
    let slowest = parts.map(|id| (part(id), id)).max_by_key(|(work, _)| *work);
    match slowest {
        Some((Work::Other, _)) => (Work::Other, name.to_owned()),
        Some((work, id)) => (work, format!("{name}: {id}")),
        None if is_request => (Work::Request, name.to_owned()),
        // `pushing REF with docker` and `merging manifest list REF`, of buildx itself
        // (<https://github.com/docker/buildx/blob/461836ba0fcb3e847dab6045a726889faa150bdb/build/build.go#L757>).
        None if name.starts_with("pushing ") || name.starts_with("merging manifest list ") => {
            (Work::Upload, name.to_owned())
        }
        None => (Work::Other, name.to_owned()),
    }
}

/// `[auth] team/app:pull,push token for registry`.
fn is_token(step: &str) -> bool {
    step.starts_with("[auth] ")
}

/// Names of parts: <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/util/push/push.go#L131-L141>,
/// `util/pull/pullprogress/progress.go`, `source/containerimage/pull.go`, `cache/remotecache/export.go`.
fn part(id: &str) -> Work {
    let starts = |starts: &[&str]| starts.iter().any(|start| id.starts_with(start));
    if starts(&["pushing layers", "writing layer "]) {
        Work::Upload
    } else if starts(&[
        "pushing manifest",
        "writing config ",
        "writing cache ",
        "writing manifest",
        "inferred cache manifest type",
        "resolve ",
        "sha256:",
    ]) {
        Work::Request
    } else {
        Work::Other
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use jiff::Timestamp;

    use super::*;
    use crate::buildx::progress::Progress;
    use crate::buildx::rawjson::{SolveStatus, Vertex, VertexStatus};

    /// A step that runs, and the parts of it that do.
    type Running<'a> = (&'a str, &'a [&'a str]);

    fn progress(steps: &[Running<'_>]) -> Progress {
        let mut progress = Progress::default();
        for (name, parts) in steps {
            let statuses = parts.iter().map(|id| VertexStatus {
                id: (*id).to_owned(),
                vertex: (*name).to_owned(),
                started: Some(Timestamp::UNIX_EPOCH),
                ..VertexStatus::default()
            });
            let status = SolveStatus {
                vertexes: vec![Vertex {
                    digest: (*name).to_owned(),
                    name: (*name).to_owned(),
                    started: Some(Timestamp::UNIX_EPOCH),
                    ..Vertex::default()
                }],
                statuses: statuses.collect(),
                ..SolveStatus::default()
            };
            progress.show(&status, |_| ());
        }
        progress
    }

    /// The limit that the silence of these steps has.
    fn limit(steps: &[Running<'_>]) -> Option<u64> {
        let progress = progress(steps);
        let found = find(progress.running(), Duration::MAX, Patience::of(None));
        found.map(|silence| silence.limit.as_secs())
    }

    #[test]
    fn only_requests_to_registries_may_not_be_silent() {
        const AUTH: Running<'_> = ("[auth] team/app:pull token for r.example", &[]);
        const RUN: Running<'_> = ("[2/2] RUN sleep 7200", &[]);
        let push = |part: &'static [&'static str]| ("exporting to image", part);
        let cases: &[(&[Running<'_>], Option<u64>)] = &[
            (&[], None),
            (&[RUN], None),
            (&[("[internal] load build context", &[])], None),
            (&[("[internal] load git source https://x/a.git", &[])], None),
            (
                &[("[internal] load metadata for r.example/a:1", &[])],
                Some(600),
            ),
            (
                &[("[linux/arm64 internal] load metadata for a:1", &[]), AUTH],
                Some(600),
            ),
            (
                &[("resolve image config for docker-image://a:1", &[])],
                Some(600),
            ),
            (
                &[("importing cache manifest from r.example/a:c", &[])],
                Some(600),
            ),
            (
                &[("[1/2] FROM a@sha256:ab", &["resolve a@sha256:ab"])],
                Some(600),
            ),
            (&[("[1/2] FROM a@sha256:ab", &["sha256:ab"])], Some(600)),
            (
                &[(
                    "[1/2] FROM a@sha256:ab",
                    &["sha256:ab", "extracting sha256:cd"],
                )],
                None,
            ),
            (&[("[1/2] FROM a@sha256:ab", &[])], None),
            (&[("[2/2] RUN make", &["sha256:ab"])], Some(600)),
            (&[push(&["exporting layers"])], None),
            (&[push(&[])], None),
            (&[push(&["pushing layers"])], Some(7200)),
            (&[push(&["pushing layers"]), AUTH], Some(7200)),
            (&[push(&["pushing layers"]), RUN], None),
            (
                &[push(&["pushing manifest for r.example/a:1@sha256:ab"])],
                Some(600),
            ),
            (
                &[(
                    "exporting cache to registry",
                    &["preparing build cache for export"],
                )],
                None,
            ),
            (
                &[(
                    "exporting cache to registry",
                    &[
                        "preparing build cache for export",
                        "writing layer sha256:ab",
                    ],
                )],
                Some(7200),
            ),
            (
                &[(
                    "exporting cache to registry",
                    &["writing cache image manifest sha256:ab"],
                )],
                Some(600),
            ),
            (&[("pushing r.example/a:1 with docker", &[])], Some(7200)),
            (&[("importing to docker", &["sending tarball"])], None),
        ];
        for (steps, expected) in cases {
            assert_eq!(limit(steps), *expected, "{steps:?}");
        }
    }

    #[test]
    fn the_limit_is_what_the_input_says() {
        let progress = progress(&[("exporting to image", &["pushing layers"])]);
        for (seconds, silent, ends) in [
            (Some(5), 4, false),
            (Some(5), 5, true),
            (Some(0), u64::MAX, false),
            (None, 7199, false),
            (None, 7200, true),
        ] {
            let silent = Duration::from_secs(silent);
            let found = find(progress.running(), silent, Patience::of(seconds));
            assert_eq!(found.is_some(), ends, "{seconds:?} {silent:?}");
        }
    }

    #[test]
    fn a_build_of_which_nothing_runs_does_not_wait_for_ever() {
        let running = progress(&[("[2/2] RUN sleep 7200", &[])]);
        let nothing = progress(&[]);
        for (progress, seconds, silent, ends) in [
            (&nothing, None, 7199, false),
            (&nothing, None, 7200, true),
            (&nothing, Some(4), 59, false),
            (&nothing, Some(4), 60, true),
            (&nothing, Some(100), 100, true),
            (&nothing, Some(0), u64::MAX, false),
            (&running, None, u64::MAX, false),
        ] {
            let silent = Duration::from_secs(silent);
            let found = find_idle(progress.running(), silent, Patience::of(seconds));
            assert_eq!(found.is_some(), ends, "{seconds:?} {silent:?}");
        }
        let found = find_idle(nothing.running(), Duration::MAX, Patience::of(None)).unwrap();
        assert_eq!(found.to_string(), "BuildKit has begun no step for 7200 s");
        assert!(found.hint().contains("restart the builder"));
    }

    /// BuildKit repeats the state of a download several times a second.
    #[test]
    fn only_what_is_new_breaks_a_silence() {
        let name = "[1/2] FROM a@sha256:ab";
        let mut progress = progress(&[(name, &["sha256:ab"])]);
        let mut status = |current| {
            let begun = Instant::now();
            std::thread::sleep(Duration::from_millis(2));
            let part = VertexStatus {
                id: "sha256:ab".to_owned(),
                vertex: name.to_owned(),
                current,
                started: Some(Timestamp::UNIX_EPOCH),
                ..VertexStatus::default()
            };
            let status = SolveStatus {
                statuses: vec![part],
                ..SolveStatus::default()
            };
            progress.show(&status, |_| ());
            let now = Instant::now();
            progress.silent(now) < now - begun
        };
        assert!(!status(0));
        assert!(status(1));
        assert!(!status(1));
        assert!(status(2));
    }

    #[test]
    fn a_cache_alone_is_told_from_an_image() {
        let cache: Running<'_> = ("exporting cache to registry", &["writing layer sha256:ab"]);
        let image: Running<'_> = ("exporting to image", &["pushing layers"]);
        let of_cache = |steps: &[Running<'_>]| {
            let progress = progress(steps);
            let found = find(progress.running(), Duration::MAX, Patience::of(None));
            found.unwrap().is_of_cache
        };
        assert!(of_cache(&[cache]));
        assert!(!of_cache(&[cache, image]));
    }
}
