//! On real BuildKit: the image of `cfg` has the configuration of the real image, and its first layers are the base's.
//!
//! Needs the rig: `rig exec -- cargo test --package fast-ecr-push-dockerfile --test buildkit`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, starts buildx, and reads the rig's variables"
)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use dockerfile::{Build, Dockerfile, Entry, History};
use serde_json::Value;

/// A Dockerfile in which `@BASE@` is the rig's busybox.
#[derive(Default)]
struct Case {
    name: &'static str,
    text: &'static str,
    target: Option<&'static str>,
    args: &'static [(&'static str, &'static str)],
    contexts: &'static [(&'static str, &'static str)],
}

const CASES: &[Case] = &[
    Case {
        name: "env",
        text: "ARG VERSION=1.2.3\nFROM @BASE@\nARG VERSION\nARG FLAVOR=plain\nENV A=${VERSION%.*} B=\"$FLAVOR x\" C='$A'\nENV D $A and more\nRUN true\nENV A=${A:+set} PATH=/app:$PATH\n",
        args: &[("FLAVOR", "given")],
        target: None,
        contexts: &[],
    },
    Case {
        name: "workdir",
        text: "FROM @BASE@\nWORKDIR /srv\nRUN touch x\nENV P=deep\nWORKDIR a/$P\nCOPY file .\nWORKDIR ../b\nCMD pwd\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "workdir-of-a-new-user",
        text: "FROM @BASE@\nRUN echo app:x:1000:1000::/:/bin/sh >> /etc/passwd\nUSER app\nWORKDIR /home/app\nCMD [\"id\"]\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "workdir-of-a-user-by-variable",
        text: "FROM @BASE@\nARG WHO=app\nRUN echo app:x:1000:1000::/:/bin/sh >> /etc/passwd\nUSER ${WHO}\nENV WHO=other\nWORKDIR /w\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "several-users",
        text: "FROM @BASE@\nUSER nobody\nWORKDIR /a\nUSER 1000:1000\nWORKDIR /b\nUSER root\nRUN echo z:x:7:7::/:/bin/sh >> /etc/passwd\nUSER z\nWORKDIR /c\nUSER 5\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "shell-form",
        text: "FROM @BASE@\nSHELL [\"/bin/ash\", \"-e\", \"-c\"]\nRUN true\nCMD echo \"$HOME\" && exec sleep 1\nENTRYPOINT exec top -b\nHEALTHCHECK --interval=5s --retries=2 CMD wget -q localhost || exit 1\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "entrypoint-resets-cmd",
        text: "FROM @BASE@\nENTRYPOINT [\"/bin/true\", \"a b\"]\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "chain",
        text: "FROM @BASE@ AS one\nENV A=1\nLABEL stage=one\nARG INNER=kept\nRUN true\nFROM one AS unused\nENV A=9\nFROM one AS Two\nENV B=$A$INNER\nWORKDIR /two\nFROM two\nLABEL b=$B\nCMD [\"x\"]\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "copy-from-and-target",
        text: "FROM @BASE@ AS tools\nRUN echo t > /t\nENV TOOLS=1\nFROM @BASE@ AS app\nCOPY --from=tools /t /t\nENV APP=1\nEXPOSE 80\nFROM app AS test\nRUN false\nENV TEST=1\n",
        target: Some("APP"),
        args: &[],
        contexts: &[],
    },
    Case {
        name: "here-documents",
        text: "FROM @BASE@\nRUN cat <<EOF > /z\nENV A=1\nUSER nobody\nEOF\nCOPY <<one <<\"two\" /d/\nFROM scratch\none\n$X \\\ntwo\nENV B=2\nRUN cat <<-X > /y && cat /y\n\tWORKDIR /nowhere\n\tX\nLABEL c=3\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "backtick",
        text: "# escape=`\nFROM @BASE@\nENV A=a\\b `\n  B=\"`\"c`\"\"\nRUN true `\n  && true\nLABEL d=e` f\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "comments-and-continuations",
        text: "FROM @BASE@\n\n# comment\nLABEL a=1 \\\n  # inside\n  b=\"two words\" \\\n\n  c='x\\\ny'\nrun true \\\n# end\n  ; true\nenv Z 1 \\\n 2\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "ports-volumes-signals",
        text: "FROM @BASE@\nARG PORT=8080\nEXPOSE $PORT 443/udp 9000-9002\nVOLUME /v /w\nVOLUME [\"/j 1\", \"/j2\"]\nSTOPSIGNAL SIGQUIT\nRUN true\nHEALTHCHECK NONE\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "onbuild",
        text: "FROM @BASE@\nONBUILD RUN echo $A \\\n  && true\nONBUILD COPY <<EOF /x\n  body\nEOF\nRUN true\nENV A=1\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "maintainer",
        text: "FROM @BASE@\nMAINTAINER Some One <one@example.com>\nRUN true\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "scratch",
        text: "FROM @BASE@ AS build\nRUN echo 1 > /program\nFROM scratch\nCOPY --from=build /program /program\nENV A=$PATH\nUSER 65532:65532\nENTRYPOINT [\"/program\"]\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "base-by-argument",
        text: "ARG REGISTRY\nARG NAME=${REGISTRY:-nowhere.invalid}/rig/busybox\nARG TAG\nFROM ${NAME}:${TAG:-latest} AS base\nRUN true\nFROM base\nARG TAG\nLABEL tag=\"$TAG\" name=$NAME\n",
        target: None,
        args: &[("REGISTRY", "@REGISTRY@")],
        contexts: &[],
    },
    Case {
        name: "automatic-arguments",
        text: "FROM --platform=$TARGETPLATFORM @BASE@ AS final\nARG TARGETPLATFORM\nARG TARGETARCH\nARG BUILDOS\nARG TARGETSTAGE\nLABEL p=$TARGETPLATFORM a=$TARGETARCH o=$BUILDOS s=$TARGETSTAGE v=-$TARGETVARIANT-\nRUN true\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "only-a-base",
        text: "FROM @BASE@\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "workdir-that-is-there",
        text: "FROM @BASE@\nWORKDIR /\nWORKDIR tmp\nADD file /added\nWORKDIR /\n",
        target: None,
        args: &[],
        contexts: &[],
    },
    Case {
        name: "context-for-a-stage",
        text: "FROM nowhere.invalid/x AS base\nENV LOST=1\nRUN false\nFROM base\nENV KEPT=1\nRUN true\n",
        target: None,
        args: &[],
        contexts: &[("base", "docker-image://@BASE@")],
    },
    Case {
        name: "context-for-an-image",
        text: "FROM golang:latest\nENV KEPT=1\nCOPY --chmod=600 --link file /etc/file\n",
        target: None,
        args: &[],
        contexts: &[("golang", "docker-image://@BASE@")],
    },
    Case {
        name: "windows-line-ends",
        text: "FROM @BASE@\r\nENV A=1 \\\r\n  B=2\r\nCOPY <<EOF /x\r\ntrue\r\nEOF\r\nLABEL c=\"3\"\r\n",
        target: None,
        args: &[],
        contexts: &[],
    },
];

#[test]
fn the_configuration_is_that_of_the_real_image() {
    let folder = tempfile::tempdir().unwrap();
    for case in CASES {
        check(case, folder.path());
    }
}

fn check(case: &Case, folder: &Path) {
    let name = case.name;
    let base = format!("{}/rig/busybox:latest", registry());
    let fill = |text: &str| {
        text.replace("@BASE@", &base)
            .replace("@REGISTRY@", &registry())
    };
    let text = fill(case.text);
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), fill(value)))
            .collect()
    };
    let build = Build {
        target: case.target.map(str::to_owned),
        args: pairs(case.args),
        contexts: pairs(case.contexts),
        platform: None,
        builder: None,
    };
    let file = Dockerfile::read(text.as_bytes()).unwrap();
    let build = Build {
        // The machine's own, which BuildKit takes, too.
        platform: name.starts_with("automatic").then(own_platform),
        ..build
    };
    let graph = file.resolve(&build).unwrap();
    let configuration = graph.configuration().unwrap();

    let full = Image::built(name, "full", &text, &build, folder);
    let cfg = Image::built(name, "cfg", &configuration.cfg, &build, folder);
    let whole = Build {
        target: None,
        ..build.clone()
    };

    for key in ["config", "architecture", "variant", "os", "author"] {
        assert_eq!(
            cfg.config[key], full.config[key],
            "{name}: {key}\n{}",
            configuration.cfg
        );
    }
    let base = match &configuration.base {
        Some(text) => Image::built(name, "base", text, &whole, folder).layers,
        None => Vec::new(),
    };
    let base_layers = configuration.base_layers(cfg.layers.len(), &cfg.short_history());
    assert_eq!(base_layers, Some(base.len()), "{name}");
    assert_eq!(cfg.layers[..base.len()], base, "{name}");
    assert_eq!(full.layers[..base.len()], base, "{name}");

    let own = configuration.own_history(&cfg.short_history()).unwrap();
    let before = own.start;
    let mut ours = cfg.history()[own].iter();
    let mut theirs = full.history()[before..].iter();
    for entry in &configuration.entries {
        match entry {
            Entry::Kept => {
                let (ours, theirs) = (ours.next().unwrap(), theirs.next().unwrap());
                assert_eq!(ours["created_by"], theirs["created_by"], "{name}");
                assert_eq!(ours["empty_layer"], theirs["empty_layer"], "{name}");
            }
            Entry::Removed(removed) => {
                let entry = theirs.next().unwrap();
                let created_by = entry["created_by"].as_str().unwrap();
                assert!(
                    created_by.starts_with(removed.keyword),
                    "{name}: {created_by}"
                );
                assert_ne!(entry["empty_layer"], true, "{name}: {created_by}");
            }
        }
    }
    assert_eq!(ours.next(), None, "{name}");
    assert!(
        theirs.all(|entry| entry["comment"] == "buildkit.exporter.image.v0"),
        "{name}"
    );
}

fn own_platform() -> dockerfile::Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    dockerfile::Platform::parse(&format!("linux/{architecture}")).unwrap()
}

/// An image in the registry.
struct Image {
    layers: Vec<String>,
    config: Value,
}

impl Image {
    /// Builds and pushes.
    fn built(case: &str, tag: &str, text: &str, build: &Build, folder: &Path) -> Self {
        let context = folder.join("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("file"), "content\n").unwrap();
        let dockerfile = folder.join(format!("{case}.{tag}.Dockerfile"));
        std::fs::write(&dockerfile, text).unwrap();
        let repository = format!("dockerfile/{case}");
        let name = format!("{}/{repository}:{tag}", registry());
        let mut command = Command::new(variable("RIG_BUILDX"));
        command
            .args(["build", "--progress=plain", "--provenance=false"])
            .arg(format!(
                "--output=type=image,name={name},push=true,oci-mediatypes=true"
            ))
            .arg("--file")
            .arg(&dockerfile);
        if let Some(target) = &build.target {
            command.args(["--target", target]);
        }
        for (key, value) in &build.args {
            command.arg("--build-arg").arg(format!("{key}={value}"));
        }
        for (key, value) in &build.contexts {
            command.arg("--build-context").arg(format!("{key}={value}"));
        }
        let output = command.arg(&context).output().unwrap();
        assert!(
            output.status.success(),
            "{case} {tag}:\n{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let removed = Command::new(variable("RIG_DOCKER"))
            .args(["image", "rm", "--force", &name])
            .output()
            .unwrap();
        assert!(
            removed.status.success(),
            "{}",
            String::from_utf8_lossy(&removed.stderr)
        );
        let mut manifest = get(&format!("/v2/{repository}/manifests/{tag}"));
        if let Some(manifests) = manifest["manifests"].as_array() {
            let digest = manifests[0]["digest"].as_str().unwrap();
            manifest = get(&format!("/v2/{repository}/manifests/{digest}"));
        }
        // An image without layers has `null` there.
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let digest = manifest["config"]["digest"].as_str().unwrap();
        Self {
            layers: layers
                .map(|layer| layer["digest"].as_str().unwrap().to_owned())
                .collect(),
            config: get(&format!("/v2/{repository}/blobs/{digest}")),
        }
    }

    fn history(&self) -> &[Value] {
        self.config["history"].as_array().map_or(&[], Vec::as_slice)
    }

    fn short_history(&self) -> Vec<History> {
        let entries = self.history().iter();
        entries
            .map(|entry| History {
                comment: entry["comment"].as_str().unwrap_or_default().to_owned(),
                empty: entry["empty_layer"] == true,
            })
            .collect()
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: this test runs on the rig"))
}

fn registry() -> String {
    variable("RIG_REGISTRY")
}

fn get(path: &str) -> Value {
    let host = registry();
    let mut stream = TcpStream::connect(&host).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/vnd.oci.image.manifest.v1+json, \
         application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.split(' ').nth(1) == Some("200"), "{path}: {answer}");
    serde_json::from_str(body).unwrap()
}
