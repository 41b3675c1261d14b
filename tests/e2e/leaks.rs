//! Secrets on a real builder: every one that a run can be given, in every kind of run, and every place where it must not be found.
//! `tests/action/canaries.rs` has those that AWS and GitHub give, and the comment on a pull request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_stand_in::Account;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::push_engine::is_by_engine;
use crate::registry::{get, manifest};
use crate::rig::{busybox, container_options, registry};
use crate::runner::{Ended, Runner, Step, docker};

/// Where a secret is given, and the secret. Each has signs that base64 and URLs write otherwise.
const CANARIES: &[(&str, &str)] = &[
    ("secrets", "canary+of/secrets=0123"),
    ("secret-envs", "canary+of/secret-envs=0123"),
    ("secret-files", "canary+of/secret-files=0123"),
    ("registry-auth", "canary+of/registry-auth=0123"),
    ("kubeconfig", "canary+of/kubeconfig=0123"),
    ("aws-access-key-id", "AKIACANARYOFTHEINPUT"),
    ("aws-secret-access-key", "canary+of/aws-secret=0123"),
    ("aws-session-token", "canary+of/aws-session=0123"),
    ("AWS_ACCESS_KEY_ID", "AKIACANARYVARIABLE"),
    ("AWS_SECRET_ACCESS_KEY", "canary+of/aws-variable=0123"),
    ("AWS_SESSION_TOKEN", "canary+of/aws-token=0123"),
    ("ACTIONS_RUNTIME_TOKEN", "canary+of/runtime=0123"),
    ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary+of/oidc=0123"),
    ("github-token", "canary+of/github=0123"),
    ("HTTPS_PROXY", "canary-of-proxy-0123"),
];

fn canary(name: &str) -> &'static str {
    CANARIES.iter().find(|(other, _)| *other == name).unwrap().1
}

/// The canary as it is, in the URL of a request, and in base64 behind any text.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
    ];
    for (before, skip) in [(0, 0), (1, 2), (2, 3)] {
        let text = [vec![b'.'; before], secret.as_bytes().to_vec()].concat();
        // The last characters may have bits of what follows.
        let whole = text.len() * 8 / 6;
        for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
            forms.push(encoded.get(skip..whole).unwrap().to_owned());
        }
    }
    forms
}

/// A private key for `ssh`.
fn ssh_key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(&path)
            .status()
            .expect("ssh-keygen is there");
        assert!(made.success());
        fs::read_to_string(path).unwrap()
    })
}

/// An agent that has the key, at a socket in the workspace.
struct Agent(Child);

impl Agent {
    const SOCKET: &str = "agent.sock";

    fn start(runner: &Runner) -> Self {
        let folder = runner.workspace();
        // The path of a socket may have 108 bytes.
        let agent = Command::new("ssh-agent")
            .args(["-D", "-a", Self::SOCKET])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent is there");
        while !folder.join(Self::SOCKET).exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let added = Command::new("ssh-add")
            .args(["-q", "key"])
            .current_dir(&folder)
            .env("SSH_AUTH_SOCK", Self::SOCKET)
            .status()
            .unwrap();
        assert!(added.success());
        Self(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn all_forms() -> Vec<(&'static str, String)> {
    let each = |(name, secret): &(&'static str, &str)| {
        let name = *name;
        forms(secret).into_iter().map(move |form| (name, form))
    };
    // The first two lines of the content have nothing but the public half.
    let key = ssh_key().lines().filter(|line| !line.starts_with('-'));
    let key = key.skip(2).map(|line| ("ssh", line.to_owned()));
    CANARIES.iter().flat_map(each).chain(key).collect()
}

/// The one search.
#[track_caller]
fn search(place: &str, text: &str) {
    for (name, form) in all_forms() {
        let line = text.lines().find(|line| line.contains(&form));
        assert_eq!(line, None, "{place}: {name} as {form}");
    }
}

/// A kind of run: its name, its instructions, its inputs, its exit code.
struct Kind {
    name: &'static str,
    end: &'static str,
    inputs: &'static [(&'static str, &'static str)],
    code: i32,
}

/// Builds that the push engine pushes.
const ENGINE: &str = "engine";
const PLATFORMS: &str = "platforms";

/// A build that reads no secret, which is what `skip-unchanged` takes. The second one finds what the first has built.
const MISS: &str = "miss";
const HIT: &str = "hit";
const UNCHANGED: &[(&str, &str)] = &[("skip-unchanged", "true"), ("accelerate", "off")];

const ENDLESS: &str = "RUN --network=none echo begun; sleep 600";

const KINDS: &[Kind] = &[
    Kind {
        name: ENGINE,
        end: "",
        inputs: &[("accelerate", "on")],
        code: 0,
    },
    Kind {
        name: PLATFORMS,
        end: "",
        inputs: &[
            ("accelerate", "on"),
            ("platforms", "linux/amd64,linux/amd64/v2"),
        ],
        code: 0,
    },
    Kind {
        name: "buildkit",
        end: "",
        inputs: &[("accelerate", "off"), ("provenance", "mode=max")],
        code: 0,
    },
    Kind {
        name: "container",
        end: "",
        inputs: &[("driver", "docker-container"), ("cache", "registry")],
        code: 0,
    },
    Kind {
        name: MISS,
        end: "",
        inputs: UNCHANGED,
        code: 0,
    },
    Kind {
        name: HIT,
        end: "",
        inputs: UNCHANGED,
        code: 0,
    },
    Kind {
        name: "failing",
        end: "RUN --network=none false",
        inputs: &[],
        code: 1,
    },
    Kind {
        name: "refused",
        end: "",
        inputs: &[("accelerate", "off"), ("tags", "127.0.0.1:1/refused/app:1")],
        code: 1,
    },
    Kind {
        name: "cancelled",
        end: ENDLESS,
        inputs: &[],
        code: 130,
    },
    Kind {
        name: "killed",
        end: ENDLESS,
        inputs: &[],
        code: 137,
    },
];

/// A job with every secret. Its build uses those of the build, and keeps none.
fn job(dockerfile: &str) -> Runner {
    let mut runner = Runner::new()
        .file("Dockerfile", dockerfile)
        .file("secret.txt", canary("secret-files"))
        .file("key", ssh_key())
        .file(".dockerignore", "secret.txt\nkey\nagent.sock\n")
        .variable("SECRET_ENV", canary("secret-envs"))
        .variable("RUNNER_DEBUG", "1")
        .variable("ACTIONS_RESULTS_URL", "http://127.0.0.1:1/")
        .variable("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:1/")
        .variable(
            "HTTPS_PROXY",
            &format!("http://user:{}@127.0.0.1:1", canary("HTTPS_PROXY")),
        )
        .variable("NO_PROXY", "*");
    for (name, secret) in CANARIES {
        if name.starts_with("AWS_") || name.starts_with("ACTIONS_") {
            runner = runner.variable(name, secret);
        }
    }
    // ssh-add takes no key that others may read.
    let key = runner.workspace().join("key");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    runner
}

fn step<'a>(runner: &'a Runner, tag: &str, is_in_account: bool) -> Step<'a> {
    let auth = format!(
        "- {{registry: ghcr.io, username: octo, password: {}}}\n- {{registry: \"{}\", username: u, password: {}}}",
        canary("registry-auth"),
        registry(),
        canary("registry-auth"),
    );
    let kubeconfig = format!(
        "{{clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1'}}}}], current-context: x, \
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{token: {}}}}}]}}",
        canary("kubeconfig")
    );
    let mut step = runner
        .step()
        .input("context", ".")
        .input("driver", "docker")
        .input("driver-opts", &container_options())
        .input("tags", tag)
        .input("cache", "none")
        .input("registry-auth", &auth)
        .input("kubeconfig", &kubeconfig)
        .input("secrets", &format!("a={}", canary("secrets")))
        .input("secret-envs", "b=SECRET_ENV")
        .input("secret-files", "c=secret.txt")
        .input("ssh", &format!("default=key,other={}", Agent::SOCKET))
        .input("timings-file", "timings.json")
        .input("github-token", canary("github-token"));
    // An account has keys of its own.
    if !is_in_account {
        for name in [
            "aws-access-key-id",
            "aws-secret-access-key",
            "aws-session-token",
        ] {
            step = step.input(name, canary(name));
        }
    }
    step
}

/// What programs may have in their environment: `--secret env=` names a variable of buildx, whose helpers have it, too, and a proxy is
/// one of all that starts a builder.
const GIVEN: [&str; 2] = ["secret-envs", "HTTPS_PROXY"];

/// What processes have in their arguments and environments while something happens. Not those that the runner itself gives secrets to: the
/// CLI that starts the action, and the action.
struct Watch {
    found: BTreeMap<String, BTreeSet<String>>,
}

impl Watch {
    fn during<T>(act: impl FnOnce() -> T) -> (T, Self) {
        let over = AtomicBool::new(false);
        let forms = all_forms();
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
                while !over.load(Ordering::Relaxed) {
                    for process in fs::read_dir("/proc").unwrap().flatten() {
                        Self::look(&process.path(), &forms, &mut found);
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                found
            });
            let done = act();
            over.store(true, Ordering::Relaxed);
            let found = watch.join().unwrap();
            (done, Self { found })
        })
    }

    fn look(
        process: &Path,
        forms: &[(&str, String)],
        found: &mut BTreeMap<String, BTreeSet<String>>,
    ) {
        let read = |name: &str| {
            let bytes = fs::read(process.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', "\n")
        };
        let (arguments, variables) = (read("cmdline"), read("environ"));
        if arguments.is_empty() || read("cmdline") != arguments {
            // It becomes another program.
            return;
        }
        let mut words = arguments.lines();
        let program = words.next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        let word = words.next().unwrap_or_default();
        let by_the_runner = matches!((program, word), ("docker", "run"))
            || program.starts_with("fast-ecr-push") && matches!(word, "" | "post");
        let seen = found.entry(format!("{program} {word}")).or_default();
        for (name, form) in forms {
            if arguments.contains(form)
                || variables.contains(form) && !by_the_runner && !GIVEN.contains(name)
            {
                seen.insert((*name).to_owned());
            }
        }
    }

    #[track_caller]
    fn found_nothing(&self, name: &str, programs: &[&str]) {
        for (process, secrets) in &self.found {
            assert!(secrets.is_empty(), "{name}: {process}: {secrets:?}");
        }
        for program in programs {
            let mut seen = self.found.keys();
            assert!(
                seen.any(|process| process.starts_with(program)),
                "{name}: {program} was never seen: {:?}",
                self.found.keys()
            );
        }
    }
}

/// What a run left with the runner.
#[track_caller]
fn left_with_the_runner(name: &str, runner: &Runner, ended: &[&Ended]) {
    for ended in ended {
        search(&format!("{name}: log"), &ended.log.raw.join("\n"));
        search(&format!("{name}: summary"), &ended.values.summary);
        for values in [&ended.values.outputs, &ended.values.state] {
            for (value, text) in values {
                search(&format!("{name}: {value}"), text);
            }
        }
    }
    let timings = fs::read_to_string(runner.workspace().join("timings.json"));
    search(&format!("{name}: timings"), &timings.unwrap_or_default());
    assert_eq!(runner.leftovers(), Vec::<PathBuf>::new(), "{name}");
}

/// Manifests, indexes, configurations and annotations of all tags, and the files of the image.
fn pushed(repository: &str) {
    let (status, list) = get(&format!("/v2/{repository}/tags/list"));
    assert_eq!(status, 200, "{repository}");
    let list: Value = serde_json::from_slice(&list).unwrap();
    for tag in list["tags"].as_array().unwrap() {
        let tag = tag.as_str().unwrap();
        let mut references = vec![tag.to_owned()];
        while let Some(reference) = references.pop() {
            let found = manifest(repository, &reference);
            search(&format!("{repository}:{reference}"), &found.to_string());
            let children = found["manifests"].as_array().into_iter().flatten();
            references.extend(children.map(|child| child["digest"].as_str().unwrap().to_owned()));
            // Attestations are layers of JSON.
            let layers = found["layers"].as_array().into_iter().flatten();
            let layers =
                layers.filter(|layer| layer["mediaType"].as_str().unwrap().contains("json"));
            for blob in layers
                .chain([&found["config"]])
                .filter_map(|blob| blob["digest"].as_str())
            {
                let (status, text) = get(&format!("/v2/{repository}/blobs/{blob}"));
                assert_eq!(status, 200, "{repository}@{blob}");
                search(
                    &format!("{repository}@{blob}"),
                    &String::from_utf8_lossy(&text),
                );
            }
        }
    }
}

/// Where the builds that may be skipped push to.
const IN_ACCOUNT: &str = "leaks/unchanged";

/// Its manifests, with the key of the build.
fn pushed_to(account: &Account) {
    let named = |ids: &Value| json!({ "repositoryName": IN_ACCOUNT, "imageIds": ids });
    let (_, list) = account.ecr("ListImages", &json!({ "repositoryName": IN_ACCOUNT }));
    let (_, images) = account.ecr("BatchGetImage", &named(&list["imageIds"]));
    let images = images.to_string();
    assert!(images.contains("fast-ecr-push/key"), "{images}");
    search(IN_ACCOUNT, &images);
}

/// The Engine's disk: layers, caches and mounts of its BuildKit, containers, volumes of other builders, logs. A proxy is in the
/// environment of a builder's container, which the Engine notes.
fn on_the_disk(root: &str) {
    let forms = all_forms().into_iter();
    let forms = forms.filter(|(name, _)| *name != "HTTPS_PROXY");
    let forms: Vec<String> = forms.map(|(_, form)| form).collect();
    let folder = tempfile::tempdir().unwrap();
    let patterns = folder.path().join("patterns");
    fs::write(&patterns, forms.join("\n")).unwrap();
    let grep = |place: &Path| {
        let found = Command::new("grep")
            .args([
                "--recursive",
                "--text",
                "--fixed-strings",
                "--files-with-matches",
                "--devices=skip",
                // The Engine notes the environments of containers here, also that of the action's own.
                "--exclude=meta.db",
                "--file",
            ])
            .arg(&patterns)
            .arg(place)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&found.stdout).into_owned()
    };
    // It finds what is there.
    let other = folder.path().join("other");
    fs::write(&other, format!("\0{}\0", forms.last().unwrap())).unwrap();
    assert!(grep(&other).contains("other"));
    assert_eq!(grep(Path::new(root)), "");
}

#[test]
#[ignore = "reads the Engine's whole disk and all processes, so that it has to be alone: `cargo test --test e2e leaks -- --ignored`"]
fn no_secret_is_left_by_any_kind_of_run_where_it_was_built() {
    let root = docker(&["info", "--format", "{{.DockerRootDir}}"]);
    let account = Account::new();
    account.repository(IN_ACCOUNT).create();
    for kind in KINDS {
        let name = kind.name;
        let is_unchanged = [MISS, HIT].contains(&name);
        let with_secrets = format!(
            "FROM {}\nRUN --network=none --mount=type=secret,id=a --mount=type=secret,id=b --mount=type=secret,id=c \
             cat /run/secrets/a /run/secrets/b /run/secrets/c | wc -c > /{name}\n\
             RUN --network=none --mount=type=secret,id=a,env=SECRET test -n \"$SECRET\" && echo {name} > /again\n\
             RUN --network=none --mount=type=ssh --mount=type=ssh,id=other,target=/other test -S \"$SSH_AUTH_SOCK\" -a -S /other\n{}\n",
            busybox(),
            kind.end
        );
        // The registry of the rig can't be asked for keys from a container.
        let (runner, host) = if is_unchanged {
            let runner = job("FROM scratch\nCOPY .dockerignore /file\n");
            (runner.with_keys_of(&account), account.host())
        } else {
            (job(&with_secrets), registry())
        };
        let _agent = Agent::start(&runner);
        let repository = if is_unchanged {
            IN_ACCOUNT.to_owned()
        } else {
            format!("leaks/{name}")
        };
        let image = format!("{host}/{repository}:1");
        let mut step = step(&runner, &image, is_unchanged);
        for (input, value) in kind.inputs {
            step = step.input(input, value);
        }
        step = match name {
            "cancelled" => step.cancelled_at(" begun", 1, Duration::from_millis(100)),
            "killed" => step.killed_at(" begun", || true),
            _ => step,
        };
        let ((main, post), watch) = Watch::during(|| step.main_and_post());
        assert_eq!(main.code, Some(kind.code), "{name}: {}", main.log());
        assert_eq!(
            is_by_engine(&main),
            [ENGINE, PLATFORMS].contains(&name),
            "{name}: {}",
            main.log()
        );
        left_with_the_runner(name, &runner, &[&main, &post]);
        let is_hit = main.values.outputs.get("unchanged").map(String::as_str) == Some("true");
        assert_eq!(is_hit, name == HIT, "{name}: {}", main.log());
        let programs: &[&str] = match name {
            ENGINE | PLATFORMS => &["buildx", "fast-ecr-push-step"],
            HIT => &[],
            _ => &["buildx"],
        };
        watch.found_nothing(name, programs);
        if is_unchanged {
            pushed_to(&account);
        } else if kind.code == 0 {
            pushed(&repository);
            let kept = docker(&[
                "run",
                "--rm",
                "--network",
                "none",
                &image,
                "cat",
                &format!("/{name}"),
            ]);
            let lengths = ["secrets", "secret-envs", "secret-files"].map(|name| canary(name).len());
            assert_eq!(
                kept,
                lengths.iter().sum::<usize>().to_string(),
                "the build had them"
            );
            // Unpacks all layers onto the disk that is searched below.
            let container = docker(&["create", &image, "true"]);
            on_the_disk(&root);
            docker(&["rm", &container]);
            docker(&["image", "rm", &image]);
        }
    }
    on_the_disk(&root);
}
