//! Debian packages: small tools are installed; the Engine, its clients and the registry are only unpacked into the cache.
//!
//! The release's own Docker is too old for the containerd image store, so the Engine comes from Debian unstable: its
//! packages need no newer libc than the release has. They are fetched with a source list and state of our own, so that
//! the machine's apt never sees unstable, and unpacked without their maintainer scripts, so that no service starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::process::{command, join, run, timed};

/// Programs that must be on the machine, and the packages that bring them.
const TOOLS: [(&str, &str); 4] = [
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("mmdebstrap", "mmdebstrap"),
];
const UNSTABLE: [&str; 5] = [
    "docker.io",
    "docker-cli",
    "docker-buildx",
    "containerd",
    "tini-static",
];
const RELEASE: [&str; 2] = ["docker-registry", "busybox-static"];

/// The unpacked packages.
#[derive(Clone, Debug)]
pub(crate) struct Packages {
    /// Holds `usr/bin` and so on.
    pub(crate) root: PathBuf,
    /// Names and versions, one a line.
    pub(crate) versions: String,
}

impl Packages {
    pub(crate) fn buildx(&self) -> PathBuf {
        self.root
            .join("usr/libexec/docker/cli-plugins/docker-buildx")
    }

    pub(crate) fn docker(&self) -> PathBuf {
        self.root.join("usr/bin/docker")
    }

    /// A search path with the unpacked programs before the machine's.
    pub(crate) fn path(&self) -> String {
        let (root, path) = (
            self.root.display(),
            std::env::var("PATH").unwrap_or_default(),
        );
        format!("{root}/usr/bin:{root}/usr/sbin:{path}:/usr/local/sbin:/usr/sbin:/sbin")
    }
}

/// Makes sure that tools and packages are there; what an earlier run brought is kept.
pub(crate) fn prepare(cache: &Path, installing: &Mutex<()>) -> Result<Packages> {
    let (root, stamp) = (cache.join("packages"), cache.join("packages.txt"));
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() && stamp.exists() {
        return Ok(Packages {
            versions: fs::read_to_string(&stamp)?,
            root,
        });
    }
    let debian = debian()?;
    std::thread::scope(|scope| {
        let tools = (!missing.is_empty()).then(|| {
            scope.spawn(|| {
                let _guard = installing.lock();
                timed(&format!("install {missing:?}"), || install(&missing))
            })
        });
        if !stamp.exists() {
            let versions = timed("fetch and unpack packages", || {
                unpack(&debian, cache, &root)
            })?;
            fs::write(&stamp, versions)?;
        }
        tools.map_or(Ok(()), join)
    })?;
    Ok(Packages {
        versions: fs::read_to_string(&stamp)?,
        root,
    })
}

/// Installs packages of the machine's own release. The caller holds the lock.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let install = || {
        run(apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages))
    };
    if install().is_err() {
        // The lists may be older than the mirror.
        run(apt_get().arg("update"))?;
        install()?;
    }
    Ok(())
}

fn is_installed(program: &str) -> bool {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .any(|directory| Path::new(directory).join(program).is_file())
}

fn apt_get() -> Command {
    let mut command = command!(
        "apt-get",
        "--option",
        "DPkg::Lock::Timeout=300",
        "--quiet=2"
    );
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Where a release of Debian comes from.
struct Debian {
    mirror: String,
    release: String,
}

/// The machine's own source of its own release.
fn debian() -> Result<Debian> {
    if let Some(debian) = configured()? {
        return Ok(debian);
    }
    run(apt_get().arg("update"))?;
    configured()?
        .context("apt knows no Debian release here: the rig can make its own Engine on Debian only")
}

/// What apt has lists of; nothing before the first `apt-get update`.
fn configured() -> Result<Option<Debian>> {
    let targets = run(&mut command!(
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    ))?;
    // The plain suite: not `bookworm-updates`, not `bookworm-security`.
    Ok(targets.lines().find_map(
        |line| match line.split(' ').collect::<Vec<_>>().as_slice() {
            [mirror, release, "main"] if !release.contains('-') => Some(Debian {
                mirror: (*mirror).to_owned(),
                release: (*release).to_owned(),
            }),
            _ => None,
        },
    ))
}

/// The mirror of the base image's release, and its name. What the image is made from is what the machine is made from.
pub(crate) fn mirror_and_release() -> Result<(String, String)> {
    debian().map(|debian| (debian.mirror, debian.release))
}

/// Fetches the packages and unpacks them into `root`; returns their names and versions.
fn unpack(debian: &Debian, cache: &Path, root: &Path) -> Result<String> {
    let Debian { mirror, release } = debian;
    let apt = cache.join("apt");
    let _ = fs::remove_dir_all(root);
    for directory in ["lists/partial", "archives/partial", "debs"] {
        fs::create_dir_all(apt.join(directory))?;
    }
    let sources = ["sid", release]
        .map(|suite| format!("deb {mirror} {suite} main\n"))
        .concat();
    fs::write(apt.join("sources.list"), sources)?;
    let own_apt = || {
        let mut command = apt_get();
        let directory = apt.display();
        for option in [
            format!("Dir::Etc::SourceList={directory}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={directory}/lists"),
            format!("Dir::Cache={directory}"),
            "Acquire::Languages=none".to_owned(),
            // The unprivileged user of apt need not be able to enter this directory.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("--option").arg(option);
        }
        command
    };
    run(own_apt().arg("update"))?;
    let wanted = UNSTABLE.map(|name| format!("{name}/sid")).into_iter();
    let wanted = wanted.chain(RELEASE.map(|name| format!("{name}/{release}")));
    run(own_apt()
        .arg("download")
        .args(wanted)
        .current_dir(apt.join("debs")))?;
    let versions = unpack_all(&apt.join("debs"), root)?;
    check(root)?;
    fs::remove_dir_all(&apt)?;
    Ok(versions)
}

/// Unpacks every package of a directory into `root`; their names and versions are the file names.
fn unpack_all(directory: &Path, root: &Path) -> Result<String> {
    let mut files = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    std::thread::scope(|scope| {
        let unpack = |file| move || run(&mut command!("dpkg-deb", "--extract", file, root));
        let threads: Vec<_> = files.iter().map(|file| scope.spawn(unpack(file))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| join(thread).map(drop))
    })?;
    let names = files.iter().filter_map(|file| file.file_stem());
    Ok(names
        .map(|name| format!("{}\n", name.to_string_lossy()))
        .collect())
}

/// A package from unstable may one day need more than the release has: better said here than by a dead Engine.
fn check(root: &Path) -> Result<()> {
    for program in ["usr/sbin/dockerd", "usr/bin/containerd", "usr/bin/docker"] {
        if let Err(error) = run(command!(root.join(program)).arg("--version")) {
            bail!("`{program}` from Debian unstable does not run on this release: {error:#}");
        }
    }
    Ok(())
}
