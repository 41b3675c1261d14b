//! Load: many runs at once and many in a row, all on one builder with a name. `make load` runs this; tests/e2e/load has the same on
//! an Engine.

use std::process::Command;

use super::manifest;
use crate::cluster::Cluster;
use crate::load::job::{self, Job};
use crate::load::machine::{self, Server};
use crate::load::many::{Crowd, InARow, Sample, THREADS, publish, runs};
use crate::load::table::{Bound, growing};

const AT_ONCE: usize = 50;
const IN_A_ROW: usize = 100;
/// So many different images are built in a row.
const IMAGES: usize = 10;

const PAGE: &str = "../../docs/load.md";

const BUILDER: &str = "shared";

const OBJECTS: &str = "all objects of ours in the cluster";

/// A cluster, and a folder that all runs have for their files.
struct Shared {
    cluster: Cluster,
}

impl Shared {
    fn new() -> Self {
        let cluster = Cluster::stand_in();
        for name in ["home", "tmp", "files"] {
            std::fs::create_dir(cluster.file(name)).unwrap();
        }
        cluster.step();
        Self { cluster }
    }

    fn command(&self, content: usize, tag: &str) -> Command {
        let context = self.cluster.file(&format!("context-{content}"));
        let context = context.display().to_string();
        let mut command = self.cluster.command(&[
            ("builder", BUILDER),
            ("cache", "none"),
            ("accelerate", "on"),
            ("context", &context),
            ("tags", tag),
        ]);
        command
            .env("HOME", self.cluster.file("home"))
            .env("TMPDIR", self.cluster.file("tmp"))
            .env("FAST_ECR_PUSH_STEP", self.cluster.file("step"));
        command
    }

    /// Builds and pushes an image with a file of this content.
    fn run(&self, content: usize, tag: &str) -> Job {
        let context = self.cluster.file(&format!("context-{content}"));
        if !context.exists() {
            std::fs::create_dir(&context).unwrap();
            let dockerfile = format!("FROM {}\nCOPY content /content\n", self.cluster.base());
            std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
            let text = format!("{content}\n").repeat(1000);
            std::fs::write(context.join("content"), text).unwrap();
        }
        let image = self.cluster.tag("app").replace(":1", &format!(":{tag}"));
        let files = self.cluster.file("files").join(tag);
        let job = job::run(&files, || self.command(content, &image));
        assert_eq!(job.output("builder"), BUILDER, "{}", job.log);
        assert!(job.is_by_engine(), "{}", job.log);
        assert_eq!(digest(&image), job.output("digest"), "{}", job.log);
        job
    }

    fn sample(&self) -> Sample {
        let stand_in = Server(self.cluster.stand_in_pid());
        let of_engine = crate::cluster::variable("DOCKER_HOST").replace("unix://", "");
        let of_engine = of_engine.rsplit_once('/').unwrap().0;
        let engine = Server::find("dockerd", of_engine);
        let objects = self.cluster.objects();
        let names = objects.names();
        let count = |kind: &str| names.iter().filter(|name| name.starts_with(kind)).count() as f64;
        let files = ["home", "temp", "tmp", "files"];
        let files = files.map(|name| machine::below(&self.cluster.file(name)).len());
        let processes = machine::started_with(&self.cluster.file("home"));
        vec![
            (
                "files in the home and in temporary folders",
                Bound::Same,
                files.iter().sum::<usize>() as f64,
            ),
            ("processes of runs", Bound::Same, processes.len() as f64),
            ("Deployments", Bound::Same, count("deployments/")),
            ("pods", Bound::Same, count("pods/")),
            (OBJECTS, Bound::Same, names.len() as f64),
            (
                "descriptors of the API (streams to pods)",
                Bound::Level,
                stand_in.descriptors() as f64,
            ),
            (
                "descriptors of BuildKit",
                Bound::Level,
                engine.descriptors() as f64,
            ),
            (THREADS, Bound::Level, engine.threads() as f64),
        ]
    }

    /// The builder was made once, and lives until somebody deletes it.
    fn stop(self) {
        assert_eq!(self.cluster.calls("delete deployments"), 0);
        self.cluster.objects().delete_builder(BUILDER);
        assert_eq!(self.cluster.stop(), [""; 0]);
    }
}

/// That of an image's manifest, as the registry says it.
fn digest(image: &str) -> String {
    let answer = manifest("HEAD", image);
    let lines = answer.lines().map(str::to_ascii_lowercase);
    let mut digests =
        lines.filter_map(|line| Some(line.strip_prefix("docker-content-digest: ")?.to_owned()));
    digests
        .next()
        .unwrap_or_else(|| panic!("no {image}: {answer}"))
}

#[test]
#[ignore = "takes minutes: `make load`"]
fn runs_at_once_share_one_builder_with_a_name_and_none_removes_it() {
    let shared = Shared::new();
    // None has made the builder yet: all want to.
    let crowd = Crowd::run(
        runs(AT_ONCE),
        |index| shared.run(index, &index.to_string()),
        || shared.sample(),
    );
    publish(PAGE, "cluster-at-once", &crowd.table());
    let mut more = crowd.growing();
    // The builder is there afterwards.
    more.retain(|row| {
        !["Deployments", "pods", OBJECTS]
            .iter()
            .any(|name| row.starts_with(name))
    });
    assert_eq!(more, [""; 0]);
    let names = shared.cluster.objects().names();
    assert_eq!(names.len(), 2, "a Deployment and its pod: {names:?}");
    shared.stop();
}

#[test]
#[ignore = "takes minutes: `make load`"]
fn runs_in_a_row_on_one_builder_with_a_name_leave_nothing_that_grows() {
    let shared = Shared::new();
    let row = InARow::run(
        runs(IN_A_ROW),
        |index| shared.run(1000 + index % IMAGES, &format!("row-{index}")),
        || shared.sample(),
    );
    publish(PAGE, "cluster-in-a-row", &row.table());
    assert_eq!(growing(&row.rows), [""; 0]);
    shared.stop();
}
