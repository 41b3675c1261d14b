//! Which builds the push engine pushes: image stores, base images, contexts.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faulty::{Fault, Front, Rule};
use crate::push_engine::{INSTEAD, by_engine, is_by_engine, rule};
use crate::registry::{get, manifest};
use crate::rig::{Action, Classic, busybox, container_options, registry};
use crate::runner::{Ended, Runner, docker};

/// A build with each kind of entry in its history.
const REST: &str = "ENV A=1\nWORKDIR /srv/x\nCOPY file /srv/x/\n\
    RUN --network=none head -c 1000000 /dev/urandom > random && rm /bin/vi\nWORKDIR /srv/y\nUSER 1000\nCMD [\"cat\", \"/srv/x/file\"]\n";

/// Names and values.
type Inputs<'a> = &'a [(&'a str, &'a str)];

fn action(dockerfile: &str, repository: &str) -> Action {
    Action::new(dockerfile)
        .file("file", "from the context\n")
        .input("tags", &format!("{}/{repository}:1", registry()))
        .input("labels", "com.example.a=b")
        .input("cache", "none")
}

/// What the first Engine says about an image of the rig's registry. It is gone again then.
fn configuration(repository: &str, digest: &str) -> Value {
    let image = format!("{}/{repository}@{digest}", registry());
    docker(&["pull", "--quiet", &image]);
    let text = docker(&["inspect", &image]);
    let mut all: Value = serde_json::from_str(&text).unwrap();
    let config = all[0]["Config"].take();
    docker(&["image", "rm", &image]);
    config
}

fn layers(repository: &str, digest: &str) -> Vec<Value> {
    let manifest = manifest(repository, digest);
    manifest["layers"].as_array().unwrap().clone()
}

/// A front that breaks nothing: the rig's registry under another address.
fn elsewhere() -> Front {
    Front::new(Rule {
        words: &["nothing"],
        times: 0,
        fault: Fault::Status(500),
    })
}

/// A front to which an image of this Dockerfile goes for a minute, so that a run can be stopped in its push.
fn slow() -> (Front, String) {
    let front = Front::new(rule(
        &["fast-ecr-push/", "PATCH /v2/"],
        1000,
        Fault::Slow(256 << 10),
    ));
    let dockerfile = format!(
        "FROM {}\nRUN --network=none head -c 16000000 /dev/urandom > /random\n",
        busybox()
    );
    (front, dockerfile)
}

/// Names of the Engine's images that the push left behind.
fn left(classic: &Classic) -> String {
    classic.docker(&["images", "--quiet", "127.0.0.1:*/fast-ecr-push/*/*"])
}

#[test]
fn the_engines_classic_store_gives_an_image_on_the_base_images_own_layers() {
    let classic = Classic::alone();
    let dockerfile = format!("FROM {}\n{REST}", busybox());
    let action = action(&dockerfile, "builds/classic")
        .engine(&classic.host)
        .input("driver", "docker");
    let first = by_engine(&action);
    assert!(
        !first.log().contains("gzip instead of zstd"),
        "{}",
        first.log()
    );
    let digest = first.output("digest").to_owned();
    let own = layers("builds/classic", &digest);
    let base = layers("rig/busybox", "latest");
    assert_eq!(own[0]["digest"], base[0]["digest"]);
    assert!(own[1]["mediaType"].as_str().unwrap().ends_with("tar+zstd"));
    let image = format!("{}/builds/classic@{digest}", registry());
    assert_eq!(docker(&["run", "--rm", &image]), "from the context");
    assert_eq!(
        docker(&[
            "run",
            "--rm",
            &image,
            "sh",
            "-c",
            "ls -d /srv/y /bin/vi || pwd"
        ])
        .trim(),
        "/srv/y\n/srv/y"
    );
    assert_eq!(left(&classic), "");

    let second = by_engine(&action);
    assert_eq!(second.output("digest"), digest);
    assert_eq!(second.number("pushed-bytes"), 0.0, "{}", second.log());
    // BuildKit takes a base image that the Engine has as it is there, which is another base for its cache.
    classic.docker(&["pull", "--quiet", &busybox()]);
    let third = by_engine(&action);
    let own = layers("builds/classic", third.output("digest"));
    assert_eq!(own[0]["digest"], base[0]["digest"]);
    classic.docker(&["image", "rm", &busybox()]);

    let plain = action.input("accelerate", "off").run().succeeded();
    assert!(!is_by_engine(&plain), "{}", plain.log());
    assert_eq!(
        configuration("builds/classic", &digest),
        configuration("builds/classic", plain.output("digest"))
    );
    assert_eq!(left(&classic), "");
}

#[test]
fn an_image_of_the_classic_store_that_is_in_no_registry_is_pushed_by_the_engine_itself() {
    let classic = Classic::alone();
    let made = action(
        &format!("FROM {}\nRUN --network=none touch /a\n", busybox()),
        "x",
    )
    .engine(&classic.host)
    .input("driver", "docker")
    .input("tags", "builds-local:1")
    .input("load", "true")
    .run();
    made.succeeded();
    let run = action(
        "FROM builds-local:1\nRUN --network=none touch /b\n",
        "builds/local",
    )
    .engine(&classic.host)
    .input("driver", "docker")
    .run()
    .succeeded();
    assert!(!is_by_engine(&run));
    assert!(
        run.log().contains("in the Engine's classic store only"),
        "{}",
        run.log()
    );
    manifest("builds/local", "1");
    classic.docker(&["image", "rm", "builds-local:1"]);
    assert_eq!(left(&classic), "");
}

#[test]
fn the_classic_store_is_left_as_it_was_when_the_push_fails_or_is_cancelled() {
    let classic = Classic::alone();
    let front = Front::new(rule(
        &["fast-ecr-push/", "POST /v2/"],
        1000,
        Fault::Status(403),
    ));
    let dockerfile = format!("FROM {}\n{REST}", busybox());
    let run = action(&dockerfile, "builds/refused")
        .engine(&classic.host)
        .input("driver", "docker")
        .input("tags", &format!("{}/builds/refused:1", front.address))
        .run()
        .succeeded();
    assert!(run.log().contains(INSTEAD), "{}", run.log());
    assert!(!is_by_engine(&run));
    assert_eq!(left(&classic), "");

    let (front, large) = slow();
    let runner = Runner::new()
        .file("Dockerfile", large)
        .engine(&classic.host);
    let run = runner
        .step()
        .input("context", ".")
        .input("cache", "none")
        .input("driver", "docker")
        .input("tags", &format!("{}/builds/cancelled:1", front.address))
        .cancelled_at("differ from the base image", 1, Duration::from_millis(300))
        .run();
    assert_eq!(run.code, Some(130), "{}", run.log());
    let (status, _) = get("/v2/builds/cancelled/manifests/1");
    assert_eq!(status, 404);
    assert_eq!(left(&classic), "");
}

#[test]
fn a_run_that_is_killed_leaves_its_image_in_the_classic_store_to_the_post_step() {
    let classic = Classic::alone();
    let (front, dockerfile) = slow();
    let runner = Runner::new()
        .file("Dockerfile", dockerfile)
        .engine(&classic.host);
    let host = classic.host.clone();
    let is_there = move || {
        let name = "127.0.0.1:*/fast-ecr-push/*/*";
        !docker(&["--host", &host, "images", "--quiet", name]).is_empty()
    };
    let (main, post) = runner
        .step()
        .input("context", ".")
        .input("cache", "none")
        .input("driver", "docker")
        .input("tags", &format!("{}/builds/killed:1", front.address))
        .killed_at("differ from the base image", is_there)
        .main_and_post();
    assert_ne!(main.code, Some(0), "{}", main.log());
    assert_eq!(post.code, Some(0), "{}", post.log());
    assert_eq!(left(&classic), "", "{}", post.log());
    assert_eq!(runner.leftovers(), Vec::<std::path::PathBuf>::new());
    let (status, _) = get("/v2/builds/killed/manifests/1");
    assert_eq!(status, 404);
}

#[test]
fn an_image_from_scratch_has_its_own_layers_alone() {
    let dockerfile = format!(
        "FROM {} AS tools\nFROM scratch\nENV A=1\nWORKDIR /srv\nCOPY --from=tools /bin/busybox /bin/cat\n\
         COPY file .\nCMD [\"/bin/cat\", \"file\"]\n",
        busybox()
    );
    let classic = Classic::alone();
    let container = container_options();
    let on_classic = [("driver", "docker")];
    let in_container = [
        ("driver", "docker-container"),
        ("driver-opts", container.as_str()),
    ];
    let cases: [(&str, Option<&Classic>, Inputs<'_>); 4] = [
        ("engine", None, &[]),
        ("platform", None, &[("platforms", "linux/amd64")]),
        ("classic", Some(&classic), &on_classic),
        ("container", None, &in_container),
    ];
    for (name, store, inputs) in cases {
        let repository = format!("builds/scratch-{name}");
        let mut action = action(&dockerfile, &repository).input("accelerate", "on");
        if let Some(store) = store {
            action = action.engine(&store.host);
        }
        for (input, value) in inputs {
            action = action.input(input, value);
        }
        let run = by_engine(&action);
        let image = format!("{}/{repository}@{}", registry(), run.output("digest"));
        assert_eq!(docker(&["run", "--rm", &image]), "from the context");
        let plain = action.input("accelerate", "off").run().succeeded();
        assert_eq!(
            configuration(&repository, run.output("digest")),
            configuration(&repository, plain.output("digest")),
            "{name}"
        );
    }
    assert_eq!(left(&classic), "");
    assert_eq!(
        classic.docker(&["images", "--quiet", "127.0.0.1:*/fast-ecr-push/*"]),
        ""
    );
}

#[test]
fn layers_of_a_base_image_in_another_registry_are_copied() {
    let classic = Classic::alone();
    let dockerfile = format!("FROM {}\n{REST}", busybox());
    for (name, store) in [("engine", None), ("classic", Some(&classic))] {
        let front = elsewhere();
        let repository = format!("builds/elsewhere-{name}");
        let mut action = action(&dockerfile, &repository)
            .input("driver", "docker")
            .input("accelerate", "on")
            .input("tags", &format!("{}/{repository}:1", front.address));
        if let Some(store) = store {
            action = action.engine(&store.host);
        }
        let run = by_engine(&action);
        let own = layers(&repository, run.output("digest"));
        let base = layers("rig/busybox", "latest");
        assert_eq!(own[0]["digest"], base[0]["digest"], "{name}");
        let sent = run.number("pushed-bytes");
        let size = base[0]["size"].as_f64().unwrap();
        assert!(sent > size + 1_000_000.0, "{name}: {sent}");
        let image = format!("{}/{repository}:1", registry());
        assert_eq!(docker(&["run", "--rm", &image]), "from the context");
    }
}

/// A repository that BuildKit can fetch from, as long as the value lives.
struct GitServer {
    url: String,
    server: std::process::Child,
    _folder: tempfile::TempDir,
}

impl GitServer {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("app");
        for (name, content) in files {
            let path = work.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let git = |arguments: &[&str]| {
            let output = Command::new("git")
                .arg("-C")
                .arg(&work)
                .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
                .args(arguments)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message=a"]);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let port = port.unwrap().port();
        // Itself, since `git daemon` starts it as a child, which would live on.
        let programs = Command::new("git").arg("--exec-path").output().unwrap();
        let programs = String::from_utf8(programs.stdout).unwrap();
        let server = Command::new(format!("{}/git-daemon", programs.trim()))
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", folder.path().display()))
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "no git daemon");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self {
            url: format!("git://127.0.0.1:{port}/app/.git"),
            server,
            _folder: folder,
        }
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

fn cat(repository: &str, run: &Ended, path: &str) -> String {
    let image = format!("{}/{repository}@{}", registry(), run.output("digest"));
    docker(&["run", "--rm", "--entrypoint", "cat", &image, path])
}

#[test]
fn a_git_context_is_pushed_by_the_engine_with_the_dockerfile_from_there() {
    let dockerfile = format!("FROM {}\nCOPY . /app\nENV A=1\n", busybox());
    let server = GitServer::with(&[
        ("sub/build/Dockerfile", &dockerfile),
        ("sub/file", "from git\n"),
    ]);
    let action = action("FROM nowhere\n", "builds/git")
        .input("context", &format!("{}#main:sub", server.url))
        .input("file", "build/Dockerfile")
        .input("accelerate", "on");
    let run = by_engine(&action);
    assert_eq!(cat("builds/git", &run, "/app/file"), "from git");
    let plain = action.input("accelerate", "off").run().succeeded();
    assert_eq!(
        configuration("builds/git", run.output("digest")),
        configuration("builds/git", plain.output("digest"))
    );
}

#[test]
fn contexts_with_names_targets_secrets_and_keys_reach_the_build() {
    let dockerfile = "FROM start AS base\nCOPY --from=other made /made\n\
        RUN --network=none --mount=type=secret,id=word cat /run/secrets/word > /length\n\
        RUN --network=none --mount=type=ssh test -S \"$SSH_AUTH_SOCK\" && touch /key\n\
        FROM base AS wanted\nLABEL wanted=1\nFROM base AS last\nRUN false\n";
    let key = tempfile::tempdir().unwrap();
    let path = key.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let action = action(dockerfile, "builds/inputs")
        .file("other/made", "elsewhere\n")
        .file("key", std::fs::read(&path).unwrap())
        .input(
            "build-contexts",
            &format!("start=docker-image://{}\nother=other", busybox()),
        )
        .input("target", "wanted")
        .input("secrets", "word=hush-hush")
        .input("ssh", "default=key")
        .input("accelerate", "on");
    std::fs::set_permissions(
        action.workspace().join("key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let run = by_engine(&action);
    assert_eq!(cat("builds/inputs", &run, "/made"), "elsewhere");
    assert_eq!(cat("builds/inputs", &run, "/length"), "hush-hush");
    assert_eq!(cat("builds/inputs", &run, "/key"), "");
    let labels = &configuration("builds/inputs", run.output("digest"))["Labels"];
    assert_eq!(labels["wanted"], "1");
    assert_eq!(
        layers("builds/inputs", run.output("digest"))[0]["digest"],
        layers("rig/busybox", "latest")[0]["digest"]
    );
}
