//! Real images, pushed with the push engine and without it, are the same image: same tree, same configuration.

mod changes;
mod times;
pub(crate) mod tree;
mod unpackers;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::registry::{get, manifest};
use crate::rig::{Action, registry, variable};
use crate::runner::docker;
use tree::{Difference, Tree, compare, has_a_time_for_a_reason};
use unpackers::{Containerd, by_docker};

/// The tree of an image.
type Unpack<'a> = &'a dyn Fn(&str) -> Tree;

/// An image that is built once and pushed twice.
struct Image {
    name: &'static str,
    base: &'static str,
    /// Behind `FROM`.
    dockerfile: &'static str,
    /// Fills the context.
    context: fn(&Path),
    /// More inputs.
    inputs: &'static [(&'static str, &'static str)],
    /// What a container prints with this command.
    says: (&'static [&'static str], &'static str),
    /// Whether a `RUN` links to a file of an earlier layer, see [`compare`].
    links_differ: bool,
    /// Whether a `RUN` undoes what an earlier one did, see [`compare`].
    times_differ: bool,
}

const PLAIN: Image = Image {
    name: "",
    base: "rig/python:3.11",
    dockerfile: "",
    context: |_| {},
    inputs: &[],
    says: (&["true"], ""),
    links_differ: false,
    times_differ: false,
};

impl Image {
    fn tag(&self, by: &str) -> String {
        format!("{}/trees/{}:{by}", registry(), self.name)
    }

    fn from(&self) -> String {
        format!("FROM {}/{}\n", registry(), self.base)
    }

    fn push(&self) {
        let dockerfile = format!("{}{}", self.from(), self.dockerfile);
        let mut action = Action::new(&dockerfile)
            .input("cache", "none")
            .input("allow", "network.host")
            .input("layer-times", "keep");
        (self.context)(&action.workspace());
        for (name, value) in self.inputs {
            action = action.input(name, value);
        }
        for (by, accelerate) in [("engine", "on"), ("plain", "off")] {
            action = action
                .input("tags", &self.tag(by))
                .input("accelerate", accelerate);
            let run = action.run().succeeded();
            let by_engine = run.values.outputs.contains_key("pushed-bytes");
            assert_eq!(by_engine, by == "engine", "{}", run.log());
        }
    }

    /// Pushes both, compares them, and prints a row of the table.
    fn is_the_same(&self) {
        let started = Instant::now();
        self.push();
        let [ours, theirs] = ["engine", "plain"].map(|by| self.tag(by));
        let base = format!("{}/{}", registry(), self.base);
        let containerd = Containerd::start();
        let hosts = [variable("DOCKER_HOST"), variable("RIG_CLASSIC_DOCKER_HOST")];
        let unpackers: [(&str, Unpack<'_>); 3] = [
            ("Docker with containerd's store", &|image| {
                by_docker(&hosts[0], image)
            }),
            ("Docker with the classic store", &|image| {
                by_docker(&hosts[1], image)
            }),
            ("containerd", &|image| containerd.tree(image)),
        ];
        let mut found: Vec<(&str, usize, Difference)> = Vec::new();
        for (by, unpack) in unpackers {
            let trees = [&ours, &theirs].map(|image| unpack(image));
            let difference = compare(&trees[0], &trees[1]);
            assert!(
                difference.names.is_empty(),
                "{} unpacked by {by}: {:#?}",
                self.name,
                difference.names
            );
            assert_eq!(
                (difference.links > 0, !difference.times.is_empty()),
                (self.links_differ, self.times_differ),
                "{} unpacked by {by}: {difference:#?}",
                self.name,
            );
            if !difference.times.is_empty() {
                let base = unpack(&base);
                for directory in &difference.times {
                    assert!(
                        has_a_time_for_a_reason(&trees[0], &base, directory),
                        "{} unpacked by {by}: {}",
                        self.name,
                        String::from_utf8_lossy(directory)
                    );
                }
            }
            found.push((by, trees[0].len(), difference));
        }
        for host in &hosts {
            self.runs(host, &ours);
        }
        self.has_the_same_configuration();
        for (host, image) in hosts.iter().flat_map(|it| [(it, &ours), (it, &theirs)]) {
            docker(&["--host", host, "image", "rm", image]);
        }
        self.print(&found, started);
    }

    fn print(&self, found: &[(&str, usize, Difference)], started: Instant) {
        let size = |by: &str| {
            let manifest = manifest(&format!("trees/{}", self.name), by);
            let layers = manifest["layers"].as_array().unwrap().clone();
            let bytes: u64 = layers.iter().map(|it| it["size"].as_u64().unwrap()).sum();
            format!("{} layers, {:.1} MB", layers.len(), bytes as f64 / 1e6)
        };
        let differ: Vec<String> = found
            .iter()
            .map(|(by, names, it)| format!("{by}: {} of {names} differ", it.names.len()))
            .collect();
        println!(
            "| {} | {} | {} | {} | {} links | {} times | {:.0} s |",
            self.name,
            size("engine"),
            size("plain"),
            differ.join(", "),
            found[0].2.links,
            found[0].2.times.len(),
            started.elapsed().as_secs_f64()
        );
    }

    fn runs(&self, host: &str, image: &str) {
        let (command, expected) = self.says;
        let run = ["--host", host, "run", "--rm", "--network", "none", image];
        let said = docker(&[&run, command].concat());
        assert!(said.contains(expected), "{}: {said}", self.name);
        let history = docker(&[
            "--host",
            host,
            "history",
            "--no-trunc",
            "--format",
            "{{.CreatedBy}}\t{{.Comment}}",
            image,
        ]);
        for line in history.lines() {
            let (made, comment) = line.split_once('\t').unwrap();
            assert!(!made.is_empty() || comment.is_empty(), "{history}");
        }
        for word in ["RUN", "COPY"]
            .into_iter()
            .filter(|it| self.dockerfile.contains(it))
        {
            assert!(history.contains(word), "{history}");
        }
    }

    /// Everything of the configuration but what is about layers, and when it was made.
    fn has_the_same_configuration(&self) {
        let [ours, theirs] = ["engine", "plain"].map(|by| {
            let repository = format!("trees/{}", self.name);
            let manifest = manifest(&repository, by);
            let digest = manifest["config"]["digest"].as_str().unwrap();
            let (status, text) = get(&format!("/v2/{repository}/blobs/{digest}"));
            assert_eq!(status, 200);
            let mut configuration: Value = serde_json::from_slice(&text).unwrap();
            let layers = manifest["layers"].as_array().unwrap().len();
            let history = configuration["history"].as_array().unwrap();
            let with_layer = history.iter().filter(|it| it["empty_layer"] != true);
            assert_eq!(with_layer.count(), layers);
            let diff_ids = configuration["rootfs"]["diff_ids"].as_array().unwrap();
            assert_eq!(diff_ids.len(), layers);
            for about_layers in ["rootfs", "history", "created"] {
                configuration
                    .as_object_mut()
                    .unwrap()
                    .remove(about_layers)
                    .unwrap();
            }
            configuration
        });
        assert_eq!(ours, theirs, "{}", self.name);
    }

    /// BuildKit builds from the engine's image, and the engine pushes that, too.
    fn is_a_base(&self) {
        let dockerfile = format!(
            "FROM {}\nUSER root\nRUN --network=none echo more > /more-files\n",
            self.tag("engine")
        );
        for accelerate in ["on", "off"] {
            Action::new(&dockerfile)
                .input("cache", "none")
                .input("tags", &self.tag(&format!("from-{accelerate}")))
                .input("accelerate", accelerate)
                .run()
                .succeeded();
        }
    }
}

#[test]
#[ignore = "takes minutes; `make trees` runs it"]
fn debian_with_removed_and_replaced_packages_users_and_volumes() {
    Image {
        name: "debian",
        dockerfile: include_str!("debian.steps"),
        says: (
            &["sh", "-c", "id -un; sudo -V | head -1; getent passwd app"],
            "Sudo version",
        ),
        links_differ: true,
        times_differ: true,
        ..PLAIN
    }
    .is_the_same();
}

#[test]
fn names_attributes_and_kinds_of_all_sorts() {
    let image = Image {
        name: "odd",
        dockerfile: include_str!("odd.steps"),
        says: (&["cat", "/odd/line\nfeed"], "line feed"),
        links_differ: true,
        ..PLAIN
    };
    image.is_the_same();
    image.is_a_base();
}

/// The step runs in such an image, and sees other directories there.
#[test]
fn directories_that_buildkit_mounts_something_on_keep_their_attributes() {
    let base = "trees/mounted-base:latest";
    let action = Action::new(&format!(
        "FROM {}/rig/busybox:latest AS tools\nFROM scratch\nCOPY --from=tools /bin /bin\nCOPY root /\n",
        registry()
    ));
    for (directory, mode) in [
        ("dev", 0o750),
        ("etc", 0o755),
        ("proc", 0o555),
        ("sys", 0o555),
    ] {
        let directory = action.workspace().join("root").join(directory);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("of-the-base"), "x").unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
    }
    let action = action.input("cache", "none").input("accelerate", "off");
    let action = action.input("tags", &format!("{}/{base}", registry()));
    action.run().succeeded();
    Image {
        name: "mounted",
        base,
        dockerfile: "RUN [\"/bin/busybox\", \"sh\", \"-c\", \"busybox chmod 711 /etc && busybox chown 5:6 /etc && echo x > /etc/more\"]\n\
            COPY <<EOF /etc/hosts\n192.0.2.1 hidden\nEOF\nCOPY <<EOF /app/file\ntext\nEOF\n",
        says: (&["/bin/busybox", "cat", "/app/file"], "text"),
        ..PLAIN
    }
    .is_the_same();
}

#[test]
fn an_image_from_scratch_gets_no_directory_that_only_runtimes_make() {
    Image {
        name: "scratch",
        base: "rig/busybox:latest",
        dockerfile: "FROM scratch\nCOPY --from=0 /bin/busybox /bin/true\nCOPY <<EOF /opt/app/file\ntext\nEOF\nCMD [\"true\"]\n",
        says: (&["/bin/true"], ""),
        ..PLAIN
    }
    .is_the_same();
}

#[test]
#[ignore = "takes minutes; `make trees` runs it"]
fn python_packages_with_bytecode_and_large_libraries() {
    Image {
        name: "python",
        dockerfile: include_str!("python.steps"),
        says: (
            &[
                "/usr/bin/python3",
                "-c",
                "import numpy, requests; print(numpy.ones(3).sum())",
            ],
            "3.0",
        ),
        ..PLAIN
    }
    .is_the_same();
}

#[test]
fn a_conda_environment_linked_from_its_packages() {
    Image {
        name: "conda",
        dockerfile: include_str!("conda.steps"),
        says: (
            &[
                "/opt/conda/bin/python",
                "-c",
                "import yaml, idna; print(yaml.__name__)",
            ],
            "yaml",
        ),
        inputs: &[("compression", "gzip")],
        ..PLAIN
    }
    .is_the_same();
}

#[test]
fn node_packages_of_npm() {
    Image {
        name: "node",
        base: "rig/busybox:latest",
        dockerfile: "WORKDIR /app\nCOPY package.json .\nCOPY node_modules node_modules\nRUN --network=none rm -r \
                     node_modules/express/lib && ln -s ../cookie/index.js node_modules/.bin/cookie\nCMD [\"ls\"]\n",
        context: |folder| {
            fs::write(folder.join("package.json"), r#"{"name": "app", "private": true}"#).unwrap();
            let npm = Command::new("npm")
                .args(["install", "--ignore-scripts", "--silent", "express@4.21.2", "eslint@8.57.1"])
                .current_dir(folder)
                .output()
                .expect("npm, which `make report` installs");
            assert!(npm.status.success(), "{}", String::from_utf8_lossy(&npm.stderr));
        },
        says: (&["ls", "node_modules/.bin"], "eslint"),
        ..PLAIN
    }
    .is_the_same();
}
