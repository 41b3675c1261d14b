//! Docker Engines: the one that is already there, or our own, with private socket, data root and execution root.

use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::packages::Packages;
use crate::place::Slot;
use crate::process::{Daemon, answers, command};

/// A running Engine of ours.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) daemon: Daemon,
    /// `unix:///…`, as `DOCKER_HOST` has it.
    pub(crate) address: String,
}

/// The address of an Engine that is there already. `DOCKER_HOST`, where it is set, must answer.
pub(crate) fn existing() -> Result<Option<String>> {
    match std::env::var("DOCKER_HOST") {
        Ok(address) if !address.is_empty() => {
            let answers = match address.split_once("://") {
                Some(("unix", socket)) => answers(UnixStream::connect(socket), "/_ping"),
                Some(("tcp", host)) => TcpStream::connect(host).is_ok(),
                _ => true,
            };
            if !answers {
                bail!(
                    "no Docker Engine answers at `{address}`: unset DOCKER_HOST to have the rig start one"
                );
            }
            Ok(Some(address))
        }
        _ => {
            let socket = "/var/run/docker.sock";
            Ok(answers(UnixStream::connect(socket), "/_ping").then(|| format!("unix://{socket}")))
        }
    }
}

/// Starts an Engine. With a bridge its build containers reach the network over that; without, only those that use the
/// host's network do. `containerd_store` chooses the image store; `variables` are what else it gets.
pub(crate) fn start(
    name: &str,
    slot: &Slot,
    packages: &Packages,
    bridge: Option<&str>,
    containerd_store: bool,
    variables: &[(&'static str, String)],
) -> Result<Engine> {
    let directory: PathBuf = slot.sockets.join(name);
    let (socket, data) = (directory.join("docker.sock"), slot.data.join(name));
    fs::create_dir_all(&directory)?;
    fs::create_dir_all(&data)?;
    let address = format!("unix://{}", socket.display());
    let configuration = directory.join("daemon.json");
    let text = configure(
        slot.number,
        &address,
        &directory,
        &data,
        bridge,
        containerd_store,
    );
    fs::write(&configuration, text.to_string())?;
    let log = slot.data.join(format!("{name}.log"));
    let mut dockerd = command!(
        packages.root.join("usr/sbin/dockerd"),
        "--config-file",
        configuration
    );
    dockerd
        .env("PATH", packages.path())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .env_remove("DOCKER_HOST");
    let mut daemon = Daemon::start(&format!("dockerd ({name})"), &mut dockerd, &log, &log)?;
    daemon.wait_until(|| answers(UnixStream::connect(&socket), "/_ping"))?;
    Ok(Engine { daemon, address })
}

/// <https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file>
fn configure(
    slot: u8,
    address: &str,
    directory: &Path,
    data: &Path,
    bridge: Option<&str>,
    containerd_store: bool,
) -> Value {
    json!({
        "hosts": [address],
        "group": "root",
        "pidfile": directory.join("docker.pid"),
        "exec-root": directory.join("exec"),
        "data-root": data,
        "bridge": bridge.unwrap_or("none"),
        "iptables": false,
        "ip6tables": false,
        "ip-masq": false,
        "cgroup-parent": format!("/rig-{slot}"),
        "log-level": "warn",
        "shutdown-timeout": 2,
        "features": { "containerd-snapshotter": containerd_store },
        // What a test built stays until the rig ends, however full the disk is.
        "builder": { "gc": { "enabled": false }, "entitlements": { "network-host": true, "security-insecure": true } },
    })
}
