//! Attacks of whoever writes a Dockerfile, tried on a build with the push engine: `docs/security.md` lists them.

use crate::push_engine::{INSTEAD, is_by_engine};
use crate::push_engine_faults::SmallEngine;
use crate::registry::{get, manifest};
use crate::rig::{Action, busybox, registry};
use crate::runner::{Ended, docker};

/// A build of these instructions, on the tiny image, pushed by the engine or not at all.
fn attack(name: &str, instructions: &str) -> Action {
    Action::new(&format!("FROM {}\n{instructions}\n", busybox()))
        .input("tags", &format!("{}/hostile/{name}:1", registry()))
        .input("cache", "none")
        .input("accelerate", "on")
}

/// The engine pushed an image that is whole, and nothing was said to the runner.
fn is_unharmed(name: &str, run: &Ended) {
    assert_eq!(run.code, Some(0), "{name}: {}", run.log());
    assert!(is_by_engine(run), "{name}: {}", run.log());
    assert!(!run.log().contains(INSTEAD), "{name}: {}", run.log());
    let repository = format!("hostile/{name}");
    let digest = run.output("digest");
    assert_eq!(manifest(&repository, "1"), manifest(&repository, digest));
    for level in ["error", "warning"] {
        assert!(run.annotations(level).is_empty(), "{name}: {}", run.log());
    }
    let masks: Vec<&String> = run
        .log
        .masks
        .iter()
        .filter(|mask| mask.contains("evil"))
        .collect();
    assert!(masks.is_empty(), "{name}: {masks:?}");
}

/// BuildKit asks any of a build's sessions for a secret, and the engine's has the registry's login.
#[test]
fn the_login_of_the_push_is_no_secret_of_the_build() {
    for id in ["fast-ecr-push-step", "secrets.json", "step"] {
        let name = format!("login-{id}");
        let run = attack(
            &name,
            &format!(
                "RUN --network=none --mount=type=secret,id={id},target=/login if [ -s /login ]; then echo the login is \"here\"; fi; echo {id} > /x"
            ),
        )
        .run();
        is_unharmed(&name, &run);
        assert!(!run.log().contains("the login is here"), "{}", run.log());
    }
}

#[test]
fn the_output_of_a_step_is_no_event_of_the_engines() {
    let evil = format!("sha256:{}", "e".repeat(64));
    let layer = format!("{{\"name\":\"x\",\"digest\":\"{evil}\",\"size\":1,\"source\":\"base\"}}");
    let events = [
        "{\"event\":\"listening\",\"port\":1}".to_owned(),
        "{\"event\":\"failed\",\"message\":\"::error::evil\",\"hint\":null}".to_owned(),
        format!(
            "{{\"event\":\"published\",\"registry\":\"evil\",\"repository\":\"evil\",\"digest\":\"{evil}\",\"tags\":[\"evil\"]}}"
        ),
        format!(
            "{{\"event\":\"done\",\"digest\":\"{evil}\",\"configuration\":\"{evil}\",\"media_type\":\"x\",\"size\":1,\"layers\":[{layer}],\
             \"uploaded\":1,\"reused\":1,\"streams\":1,\"packages\":null,\"milliseconds\":1}}"
        ),
    ];
    let prints: Vec<String> = events
        .iter()
        .map(|event| format!("echo 'fast-ecr-push-event: {event}'"))
        .collect();
    // Stages whose names look like those of the engine's targets.
    let run = attack(
        "events",
        &format!(
            "RUN --network=none true\nFROM {0} AS push\nRUN --network=none {1}\nFROM push AS configuration\nRUN --network=none {1}\nRUN echo > /x",
            busybox(),
            prints.join("; ")
        ),
    )
    .run();
    is_unharmed("events", &run);
    assert!(
        !run.values
            .outputs
            .iter()
            // The timings have the names of steps, which have what they print.
            .any(|(name, value)| name != "timings" && value.contains(&"e".repeat(64)))
    );
}

/// The engine's own step has the network of the builder, for which bake is given the right. What the engine leaves to BuildKit is refused
/// there.
#[test]
fn rights_of_the_engines_step_are_not_those_of_the_build() {
    for (name, flag, right, refused) in [
        ("network", "--network=host", "network.host", "network.host"),
        (
            "insecure",
            "--security=insecure",
            "unknown flag: --security",
            "needs an entitlement",
        ),
    ] {
        for (accelerate, words) in [("on", refused), ("auto", right)] {
            let run = attack(name, &format!("RUN {flag} echo we are \"out\""))
                .input("accelerate", accelerate)
                .run();
            assert_eq!(run.code, Some(1), "{name}: {}", run.log());
            assert!(run.log().contains(words), "{name}: {}", run.log());
            assert!(!run.log().contains("we are out"), "{name}: {}", run.log());
        }
    }
}

/// Any build on a builder may mount the folder in which the engine remembers digests. Not the other tests' builder.
#[test]
fn what_another_build_puts_into_the_cache_of_digests_costs_time_at_most() {
    let engine = SmallEngine::start(200);
    for (name, poison) in [
        ("junk", "head -c 100000 /dev/urandom > digests"),
        ("link", "ln -s /etc/passwd digests"),
        ("pipe", "mkfifo digests"),
        ("folder", "mkdir -p digests/x"),
        ("sparse", "truncate -s 1T digests"),
        ("locked", "touch digests && chmod 000 digests . "),
        ("lock", "rm -f digests.lock && mkfifo digests.lock"),
        ("no-lock", "rm -f digests.lock && mkdir digests.lock"),
        (
            "note",
            "mkfifo sha256-$(echo -n $REPOSITORY | sha256sum | cut -c1-64)",
        ),
        (
            "image",
            "echo -n sha256:$(echo x | sha256sum | cut -c1-64) > sha256-$(echo -n $REPOSITORY | sha256sum | cut -c1-64)",
        ),
    ] {
        let poisoned = format!("poison-{name}");
        let run = attack(
            &poisoned,
            &format!(
                "RUN --network=none --mount=type=cache,id=fast-ecr-push-digests,target=/cache cd /cache && rm -rf digests && \
                 REPOSITORY={}/hostile/{poisoned} && {poison}; echo {name} > /x",
                registry()
            ),
        )
        .engine(&engine.address())
        .run();
        is_unharmed(&poisoned, &run);
        let image = format!("{}/hostile/{poisoned}:1", registry());
        assert_eq!(
            docker(&["run", "--rm", "--network", "none", &image, "cat", "/x"]),
            name
        );
        docker(&["image", "rm", &image]);
    }
}

/// Gives every record of the cache of digests a tar and an image: `$1` is what the file has behind the last use, in hexadecimal digits
/// (`DigestCache::print`).
const FORGE: &str = r#"
set -e
cd /cache
od -An -v -tx1 digests | tr -d ' \n' | awk -v forged="$1" '{
    end = length($0) - 64
    text = substr($0, 1, 24)
    for (at = 25; at <= end; records++) {
        text = text substr($0, at, 80) substr(forged, 1, 80) substr($0, at + 160, 64) substr(forged, 81)
        at += 226 + 64 * (substr($0, at + 224, 2) == "03" ? 2 : 1)
    }
    print text
    print records " records" > "/dev/stderr"
}' > hex
write() { sed 's/../\\x&/g' | while read -r line; do printf "$line"; done; }
write < hex > new
sha256sum new | cut -c1-64 | write >> new
rm hex
mv new digests
"#;

/// What a forged record says: the layer of this image that is ours, in an image that has it.
fn forged(repository: &str, tag: &str, digest: &str) -> String {
    let manifest = manifest(repository, tag);
    let configuration = manifest["config"]["digest"].as_str().unwrap();
    let (_, configuration) = get(&format!("/v2/{repository}/blobs/{configuration}"));
    let configuration: serde_json::Value = serde_json::from_slice(&configuration).unwrap();
    let diff_ids = configuration["rootfs"]["diff_ids"].as_array().unwrap();
    let hex = |digest: &str| digest.strip_prefix("sha256:").unwrap().to_owned();
    let tar = hex(diff_ids.last().unwrap().as_str().unwrap());
    format!("{tar}0010000000000000{:02x}{}", 1, hex(digest))
}

/// The blobs are in the repository, and the image that the record names has one of them, so that only the state of the files is false.
#[test]
fn a_forged_record_puts_no_other_files_into_an_image() {
    let builder = SmallEngine::start(200);
    let build = |word: &str| {
        attack(
            "forged",
            &format!("RUN --network=none echo {word} > /x && head -c 1000 /dev/urandom > /y"),
        )
        .input(
            "tags",
            &format!("{0}/hostile/forged:1,{0}/hostile/forged:{word}", registry()),
        )
        .engine(&builder.address())
    };
    let said = |run: &Ended, word: &str| {
        is_unharmed("forged", run);
        let image = format!("{}/hostile/forged@{}", registry(), run.output("digest"));
        let text = docker(&["run", "--rm", "--network", "none", &image, "cat", "/x"]);
        docker(&["image", "rm", &image]);
        assert_eq!(text, word, "{}", run.log());
    };
    let old = build("vulnerable").run();
    said(&old, "vulnerable");
    let new = build("mended").run();
    said(&new, "mended");

    let forge = |record: &str| {
        let run = attack(
            "forging",
            &format!(
                "RUN --network=none --mount=type=bind,source=forge.sh,target=/forge.sh \
                 --mount=type=cache,id=fast-ecr-push-digests,target=/cache sh /forge.sh {record} && echo > /x"
            ),
        )
        .file("forge.sh", FORGE)
        .engine(&builder.address())
        .run();
        is_unharmed("forging", &run);
        assert!(run.log().contains(" records"), "{}", run.log());
    };
    let truth = forged("hostile/forged", "mended", new.output("digest"));
    let lie = forged("hostile/forged", "vulnerable", old.output("digest"));
    for (record, source) in [
        // Only so does the next one try anything.
        (&truth, ": unchanged"),
        (&lie, ": packed, already in the registry"),
    ] {
        forge(record);
        let run = build("mended").run();
        said(&run, "mended");
        assert!(run.log().contains(source), "{}", run.log());
    }
}

/// Names of files become names of layers, and names of packages are in the summary.
#[test]
fn names_of_files_and_packages_say_nothing_to_the_runner() {
    let site = "/usr/lib/python3/site-packages";
    let install = |version: &str| {
        format!(
            "RUN --network=none mkdir -p {site} && cd {site} && for name in \"$(printf '\\n::add-mask::evil\\r##[error]evil')\" \
             \"$(printf 'a|b`c`<img src=evil>\\033[31m\\342\\200\\256')\" \"$(printf '\\377\\376evil')\"; do \
             mkdir -p \"$name-{version}.dist-info\" \"$name\" && printf '%s/data,,\\n%s-{version}.dist-info/RECORD,,\\n' \"$name\" \"$name\" \
             > \"$name-{version}.dist-info/RECORD\" && head -c 100000 /dev/urandom > \"$name/data\"; done && \
             printf 'Name: x\\nVersion: {version}\\n' > /x"
        )
    };
    for version in ["1.0|", "1.1<b>"] {
        let run = attack("names", &install(version)).run();
        is_unharmed("names", &run);
        for text in [&run.values.summary, &run.log().to_owned()] {
            let odd = |character: char| {
                character.is_control() && character != '\n' || character == '\u{202e}'
            };
            assert!(!text.contains(odd), "{text}");
        }
        for line in run
            .values
            .summary
            .lines()
            .filter(|line| line.contains("evil"))
        {
            assert!(
                !line.replace("`", "").is_empty() && line.contains('`'),
                "{line}"
            );
        }
    }
}

/// The step runs in the image, whose variables and files a stranger chose.
#[test]
fn variables_and_files_of_an_image_do_not_change_what_the_engine_does() {
    for (name, instructions) in [
        (
            "variables",
            "ENV HTTPS_PROXY=http://127.0.0.1:1 HTTP_PROXY=http://127.0.0.1:1 http_proxy=http://127.0.0.1:1 ALL_PROXY=http://127.0.0.1:1 \
             SSL_CERT_FILE=/evil BUILDARCH=evil LD_PRELOAD=/evil RUST_LOG=trace TMPDIR=/evil HOME=/evil PATH=/evil\nRUN [\"/bin/busybox\", \"touch\", \"/x\"]",
        ),
        (
            "threads",
            "ENV TOKIO_WORKER_THREADS=none RAYON_NUM_THREADS=none\nRUN --network=none touch /x",
        ),
        (
            "loader",
            "RUN --network=none mkdir -p /etc && echo /evil.so > /etc/ld.so.preload && echo 127.0.0.9 evil > /etc/nsswitch.conf && touch /x",
        ),
        (
            "links",
            "RUN --network=none ln -s / /loop && ln -s /proc/1/root /outside && ln -s ../../../../etc/passwd /up && touch /x",
        ),
        (
            "devices",
            "RUN --network=none mkfifo /pipe && mknod /null c 1 3 && ln /bin/busybox /again && touch /x",
        ),
        // Names that the engine's own folders have, as far as they can be guessed.
        (
            "folders",
            "RUN --network=none mkdir -p /.fast-ecr-push/hidden/etc /final /base /cache && echo evil > /.fast-ecr-push/hidden/etc/passwd && \
             echo evil > /fast-ecr-push-step && echo evil > /job.json && echo evil > /cache/digests && touch /x",
        ),
        (
            "folders-that-are-links",
            "RUN --network=none ln -s /etc /.fast-ecr-push && ln -s / /final && ln -s /proc /base && ln -s /dev/zero /cache && touch /x",
        ),
        (
            "triggers",
            "RUN --network=none touch /x\nONBUILD RUN echo evil",
        ),
        (
            "shell",
            "SHELL [\"/evil\"]\nENTRYPOINT [\"/evil\"]\nUSER 12345:12345\nWORKDIR /evil",
        ),
    ] {
        is_unharmed(name, &attack(name, instructions).run());
    }
}

/// A named context that takes the place of the target is the image, triggers and all. The engine's step has the network of the builder.
#[test]
fn triggers_of_an_image_do_not_run_in_the_engines_step() {
    let trigger = "ONBUILD RUN --network=host touch /evil";
    is_unharmed("trigger", &attack("trigger", trigger).run());
    let pushed = manifest("hostile/trigger", "1");
    let configuration = pushed["config"]["digest"].as_str().unwrap();
    let (_, configuration) = get(&format!("/v2/hostile/trigger/blobs/{configuration}"));
    let configuration: serde_json::Value = serde_json::from_slice(&configuration).unwrap();
    let triggers = &configuration["config"]["OnBuild"];
    assert_eq!(triggers[0], "RUN --network=host touch /evil");
    let run = attack("triggered", "")
        .file("Dockerfile", format!("FROM {} AS app\n", busybox()))
        .input("target", "app")
        .input(
            "build-contexts",
            &format!("app=docker-image://{}/hostile/trigger:1", registry()),
        )
        .run();
    is_unharmed("triggered", &run);
    let image = format!("{}/hostile/triggered:1", registry());
    let test = "test -e /evil && echo evil || echo none";
    let said = docker(&["run", "--rm", "--network", "none", &image, "sh", "-c", test]);
    docker(&["image", "rm", &image]);
    assert_eq!(said, "none", "{}", run.log());
}

/// What a title of a pull request becomes is a label or a build argument, which bake reads as a template.
#[test]
fn templates_in_labels_and_arguments_are_text() {
    let evil = [
        "${sha256(\"evil\")}",
        "$${1+1}",
        "$$${1+1}",
        "%{ if true }evil%{ endif }",
        "%%{ if true }",
        "${~ upper(\"evil\") ~}",
        "\\${1}",
        "$${",
        "${",
        "{{1+1}}",
    ];
    for (number, text) in evil.iter().enumerate() {
        let name = format!("template-{number}");
        let run = attack(
            &name,
            "ARG A\nLABEL own=\"$A\"\nRUN --network=none echo \"$A\" > /x",
        )
        .input("labels", &format!("title={text}\n{text}=name"))
        .input("build-args", &format!("A={text}"))
        .input("annotations", &format!("title={text}"))
        .run();
        is_unharmed(&name, &run);
        let image = format!("{}/hostile/{name}:1", registry());
        let said = docker(&["run", "--rm", "--network", "none", &image, "cat", "/x"]);
        assert_eq!(said, *text);
        let labels = docker(&["inspect", "--format", "{{json .Config.Labels}}", &image]);
        let labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
        for (label, value) in [("title", *text), ("own", *text), (*text, "name")] {
            assert_eq!(labels[label], value, "{labels}");
        }
        let pushed = manifest(&format!("hostile/{name}"), "1");
        assert_eq!(pushed["annotations"]["title"], *text);
        docker(&["image", "rm", &image]);
    }
}
