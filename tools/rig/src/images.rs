//! The base images in the rig's registry; no image can be pulled in a closed network, and none need be.
//!
//! - `rig/busybox`: Debian's static busybox with its links;
//! - `rig/python:3.11`: a minimal Debian with Python and pip that behaves as `python:slim` does;
//! - `rig/buildkit`: what buildx's docker-container driver boots, with dockerd's BuildKit inside
//!   (src/bin/buildkit-stand-in.rs).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::layers::{Layer, Storage, digest};
use crate::packages::{self, Packages};
use crate::process::{command, join, run};

/// The machine's trusted certificates: build containers reach the package registries as the machine does.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes what isn't there yet and tags all of it.
pub(crate) fn make(storage: &Storage<'_>, packages: &Packages) -> Result<()> {
    std::thread::scope(|scope| {
        let python = scope.spawn(|| python(storage));
        let small = busybox(storage, packages).and_then(|busybox| {
            storage.image("rig/busybox", "latest", &[&busybox], &json!({ "Env": [PATH], "Cmd": ["sh"] }))?;
            let (engine, stand_in) = buildkit(storage, packages)?;
            let config = json!({ "Env": [PATH], "Entrypoint": ["buildkitd"], "Volumes": { "/var/lib/buildkit": {} } });
            storage.image("rig/buildkit", "latest", &[&busybox, &engine, &stand_in], &config)
        });
        let python = join(python)?;
        small?;
        let config = json!({ "Env": [PATH, "LANG=C.UTF-8"], "Cmd": ["python3"] });
        storage.image("rig/python", "3.11", &[&python], &config)
    })
}

fn busybox(storage: &Storage<'_>, packages: &Packages) -> Result<Layer> {
    storage.layer("busybox", &packages.versions, |directory| {
        let root = directory.join("root");
        for directory in ["bin", "etc", "root", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(directory))?;
        }
        let busybox = packages.root.join("bin/busybox");
        fs::copy(&busybox, root.join("bin/busybox"))?;
        for applet in run(&mut command!(&busybox, "--list"))?
            .lines()
            .filter(|applet| *applet != "busybox")
        {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        )?;
        fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
        run(&mut command!("chmod", "1777", root.join("tmp")))?;
        pack(&root)
    })
}

fn python(storage: &Storage<'_>) -> Result<Layer> {
    let settings = fs::read_to_string("/etc/pip.conf")
        .unwrap_or_else(|_| format!("[global]\ncert = {CERTIFICATES}\n"));
    let recipe = format!(
        "1 {} {settings}",
        digest(Path::new(CERTIFICATES)).unwrap_or_default()
    );
    storage.layer("python", &recipe, |directory| {
        let (mirror, release) = packages::mirror_and_release()?;
        let pip = directory.join("pip.conf");
        fs::write(&pip, &settings)?;
        // As in python:slim: pip may install for the whole system, no manuals; and merged /usr without perl.
        let customize = format!(
            "rm -rf $1/usr/lib/python3*/EXTERNALLY-MANAGED $1/usr/share/doc/* $1/usr/share/man/* $1/usr/share/locale/*
            cp {CERTIFICATES} $1{CERTIFICATES}; cp '{}' $1/etc/pip.conf",
            pip.display()
        );
        let temporary = directory.join("tmp");
        fs::create_dir(&temporary)?;
        // In memory where that is possible; the mount is the keeper's own and goes with it.
        let _ = run(&mut command!("mount", "-t", "tmpfs", "rig", &temporary));
        run(command!("mmdebstrap", "--variant=apt", "--dpkgopt=force-unsafe-io")
            .arg("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr")
            .arg("--include=usr-is-merged,ca-certificates,python3,python3-pip,python3-venv,python-is-python3")
            .arg(format!("--customize-hook={customize}"))
            .arg(release)
            .arg(directory.join("layer.tar"))
            .arg(mirror)
            .env("TMPDIR", &temporary))?;
        let _ = run(&mut command!("umount", &temporary));
        Ok(())
    })
}

/// The Engine with the libraries that it loads, and the stand-in's two commands.
fn buildkit(storage: &Storage<'_>, packages: &Packages) -> Result<(Layer, Layer)> {
    let stand_in = std::env::current_exe()?.with_file_name("buildkit-stand-in");
    let recipe = format!(
        "{}{}",
        packages.versions,
        digest(Path::new("/usr/sbin/runc"))?
    );
    let engine = storage.layer("buildkit-engine", &recipe, |directory| {
        let root = directory.join("root");
        let programs = [
            "usr/bin/containerd",
            "usr/bin/containerd-shim-runc-v2",
            "usr/sbin/dockerd",
        ];
        let mut libraries = libraries(&stand_in)?;
        for (from, name) in programs
            .map(|program| (packages.root.join(program), program))
            .into_iter()
            .chain([
                ("/usr/sbin/runc".into(), "usr/bin/runc"),
                (CERTIFICATES.into(), "etc/ssl/certs/ca-certificates.crt"),
            ])
        {
            copy(&from, &root.join(name))?;
            libraries.extend(self::libraries(&from)?);
        }
        for library in &libraries {
            copy(
                Path::new(library),
                &root.join(library.trim_start_matches('/')),
            )?;
        }
        pack(&root)
    })?;
    let recipe = digest(&stand_in)
        .context("the binary `buildkit-stand-in` is built with `rig`: cargo build -p rig")?;
    let stand_in = storage.layer("buildkit-stand-in", &recipe, |directory| {
        let root = directory.join("root");
        copy(&stand_in, &root.join("usr/bin/buildkitd"))?;
        std::os::unix::fs::symlink("buildkitd", root.join("usr/bin/buildctl"))?;
        pack(&root)
    })?;
    Ok((engine, stand_in))
}

/// What the dynamic loader would load for this program; nothing for a static one or a file that is no program.
fn libraries(program: &Path) -> Result<BTreeSet<String>> {
    let listing = run(&mut command!("ldd", program)).unwrap_or_default();
    Ok(listing
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file has a directory")?)?;
    fs::copy(from, to).with_context(|| format!("copying `{}`", from.display()))?;
    Ok(())
}

/// Packs a directory into `layer.tar` beside it, so that the same files give the same digest.
fn pack(root: &Path) -> Result<()> {
    let same = [
        "--sort=name",
        "--mtime=@1735689600",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ];
    let tar = root.with_file_name("layer.tar");
    run(command!("tar", "--create")
        .args(same)
        .arg("--file")
        .arg(tar)
        .arg("--directory")
        .arg(root)
        .arg("."))
    .map(drop)
}
