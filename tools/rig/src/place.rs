//! Where a rig is on this machine: its cache directory, and a slot of its own for everything that can't be shared.
//!
//! The cache (`target/rig` beside the binary's profile directory, or `RIG_DIR`) holds unpacked packages and base images.
//! Several rigs may run at once, from any directory: each claims a slot, a number that gives it its bridge, its subnet,
//! `/run/rig-N` for sockets (whose paths may have 108 bytes at most) and `run/N` in the cache for data that goes away.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::network;
use crate::process::{command, run};

const SLOTS: u8 = 50;

/// The directory that outlives a run.
pub(crate) fn cache() -> Result<PathBuf> {
    let directory = match std::env::var_os("RIG_DIR") {
        Some(directory) => std::path::absolute(directory)?,
        None => {
            let binary = std::env::current_exe().context("finding the rig's own binary")?;
            let target = binary
                .ancestors()
                .nth(2)
                .context("the rig's binary is not in target/PROFILE")?;
            target.join("rig")
        }
    };
    fs::create_dir_all(&directory)
        .with_context(|| format!("creating `{}`", directory.display()))?;
    Ok(directory)
}

/// A claimed slot; free again when its process ends.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: u8,
    /// `/run/rig-N`: sockets and the Engines' run-time state.
    pub(crate) sockets: PathBuf,
    /// `run/N` in the cache: the Engines' and the registry's data.
    pub(crate) data: PathBuf,
    _claim: UnixListener,
}

impl Slot {
    fn new(cache: &Path, number: u8, claim: UnixListener) -> Self {
        let sockets = PathBuf::from(format!("/run/rig-{number}"));
        let data = cache.join(format!("run/{number}"));
        Self {
            number,
            sockets,
            data,
            _claim: claim,
        }
    }

    /// Claims the first free slot and removes what a killed rig may have left there.
    pub(crate) fn claim(cache: &Path) -> Result<Self> {
        let Some((number, claim)) = (1..=SLOTS).find_map(|number| Some((number, lock(number)?)))
        else {
            bail!("{SLOTS} rigs run on this machine already");
        };
        let slot = Self::new(cache, number, claim);
        slot.sweep();
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&slot.sockets)
            .context("creating the directory for sockets")?;
        fs::create_dir_all(&slot.data).context("creating the directory for data")?;
        Ok(slot)
    }

    /// Removes everything of this slot; what isn't there is no error.
    pub(crate) fn sweep(&self) {
        network::remove(self.number);
        remove_cgroups(&format!("rig-{}", self.number));
        for directory in [&self.sockets, &self.data] {
            unmount_below(directory);
            let _ = fs::remove_dir_all(directory);
        }
        if let Some(runs) = self.data.parent() {
            let _ = fs::remove_dir(runs);
        }
    }
}

/// An abstract socket is a lock that leaves no file and that the kernel frees with its process.
fn lock(number: u8) -> Option<UnixListener> {
    let address = SocketAddr::from_abstract_name(format!("fast-ecr-push-rig-{number}")).ok()?;
    UnixListener::bind_addr(&address).ok()
}

/// Control groups have no owner that would remove them: version 2 has one tree, version 1 one for each controller.
fn remove_cgroups(name: &str) {
    fn remove(group: &Path) {
        let entries = fs::read_dir(group).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .for_each(|entry| remove(&entry.path()));
        let _ = fs::remove_dir(group);
    }
    let root = Path::new("/sys/fs/cgroup");
    remove(&root.join(name));
    fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .for_each(|tree| remove(&tree.path().join(name)));
}

fn unmount_below(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with(directory)) {
        let _ = run(&mut command!("umount", "--lazy", point));
    }
}

/// Removes what killed rigs left behind: of any rig what is outside its cache, and the data in this one.
pub(crate) fn sweep_leftovers(cache: &Path) {
    for number in 1..=SLOTS {
        let Some(claim) = lock(number) else { continue };
        let slot = Slot::new(cache, number, claim);
        if slot.sockets.exists() || slot.data.exists() {
            slot.sweep();
        }
    }
}

/// Removes all that rigs with this cache ever made on disk.
pub(crate) fn clean() -> Result<()> {
    let cache = cache()?;
    sweep_leftovers(&cache);
    if cache.join("run").exists() {
        bail!("a rig still runs: end it first");
    }
    fs::remove_dir_all(&cache).with_context(|| format!("removing `{}`", cache.display()))
}
