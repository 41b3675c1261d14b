//! `buildkitd` and `buildctl` of the rig's `rig/buildkit` image: a stand-in for `moby/buildkit`, where that can't be had.
//!
//! dockerd contains BuildKit and serves its gRPC API on its socket after `POST /grpc` with `Upgrade: h2c`
//! (<https://docs.docker.com/reference/api/engine/>). So `buildkitd` starts a private dockerd, and `buildctl dial-stdio`
//! connects standard input and output to it, which is all that buildx's docker-container driver asks for
//! (<https://github.com/docker/buildx/blob/master/driver/docker-container/driver.go>). RUN steps must use the host's
//! network: the dockerd has no bridge.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these programs speak to buildx by their output"
)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const SOCKET: &str = "/run/dockerd.sock";

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["--version"] => {
            let name = program.rsplit('/').next().unwrap_or_default();
            println!("{name} github.com/moby/buildkit v0.0.0-dockerd stand-in");
            Ok(())
        }
        ["dial-stdio"] => dial_stdio(),
        ["debug", "workers"] => connect().map(drop),
        _ if program.ends_with("buildkitd") => serve(&arguments),
        _ => Err(anyhow::anyhow!("unsupported arguments {words:?}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes dockerd. What buildkitd's flags allow, it allows; insecure registries and private authorities are taken over
/// from buildkitd.toml.
fn serve(flags: &[String]) -> Result<()> {
    let toml = std::fs::read_to_string("/etc/buildkit/buildkitd.toml").unwrap_or_default();
    std::fs::write("/etc/dockerd.json", configure(flags, &toml).to_string())
        .context("writing the configuration")?;
    for (host, authority) in authorities(&toml) {
        let folder = Path::new("/etc/docker/certs.d").join(host);
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::copy(authority, folder.join("ca.crt")))
            .with_context(|| format!("copying `{authority}`, the authority of {host}"))?;
    }
    Err(Command::new("dockerd")
        .args(["--config-file", "/etc/dockerd.json"])
        .exec())
    .context("starting dockerd")
}

fn configure(flags: &[String], toml: &str) -> Value {
    let allows = |entitlement: &str| flags.iter().any(|flag| flag.ends_with(entitlement));
    json!({
        "hosts": [format!("unix://{SOCKET}")],
        "group": "root",
        "pidfile": "/run/dockerd.pid",
        "exec-root": "/run/dockerd",
        "data-root": "/var/lib/buildkit",
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
        "userland-proxy": false,
        "log-level": "warn",
        "features": { "containerd-snapshotter": true },
        "insecure-registries": insecure_registries(toml),
        "builder": {
            "gc": { "enabled": false },
            "entitlements": {
                "network-host": allows("network.host"),
                "security-insecure": allows("security.insecure"),
            },
        },
    })
}

/// The hosts of the `[registry."host"]` tables that have `http = true` or `insecure = true`.
fn insecure_registries(toml: &str) -> Vec<&str> {
    let mut host = None;
    let mut hosts = Vec::new();
    for line in toml.lines().map(str::trim) {
        if line.starts_with('[') {
            host = line
                .strip_prefix("[registry.")
                .and_then(|rest| rest.strip_suffix(']'));
        } else if matches!(line.split_once('='), Some((key, value))
            if matches!(key.trim(), "http" | "insecure") && value.trim() == "true")
        {
            hosts.extend(host.take().map(|host| host.trim_matches(['"', '\''])));
        }
    }
    hosts
}

/// Hosts, and the first file of their `ca = ["…"]`, where buildx has put it
/// (<https://docs.docker.com/build/buildkit/configure/#setting-registry-certificates>).
fn authorities(toml: &str) -> Vec<(&str, &str)> {
    let mut host = "";
    let mut found = Vec::new();
    for line in toml.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("[registry.") {
            host = rest.trim_end_matches(']').trim_matches(['"', '\'']);
        } else if let Some(("ca", value)) =
            line.split_once('=').map(|(key, value)| (key.trim(), value))
            && let Some(file) = value.split(['"', '\'']).nth(1)
        {
            found.push((host, file));
        }
    }
    found
}

/// A connection that speaks BuildKit's gRPC.
fn connect() -> Result<UnixStream> {
    let mut socket =
        UnixStream::connect(SOCKET).with_context(|| format!("connecting to `{SOCKET}`"))?;
    socket.write_all(
        b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    )?;
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") && reply.len() < 4096 {
        let mut byte = [0];
        socket
            .read_exact(&mut byte)
            .context("reading dockerd's answer")?;
        reply.extend(byte);
    }
    if !reply.starts_with(b"HTTP/1.1 101 ") {
        bail!(
            "dockerd did not switch protocols: {}",
            String::from_utf8_lossy(&reply)
        );
    }
    Ok(socket)
}

fn dial_stdio() -> Result<()> {
    let mut from_daemon = connect()?;
    let mut to_daemon = from_daemon.try_clone()?;
    thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut to_daemon);
        to_daemon.shutdown(Shutdown::Write)
    });
    // Standard output as a file: nothing may wait in a line buffer.
    let mut output = std::fs::File::options().write(true).open("/proc/self/fd/1");
    let mut locked = std::io::stdout().lock();
    let output: &mut dyn Write = match &mut output {
        Ok(file) => file,
        Err(_) => &mut locked,
    };
    std::io::copy(&mut from_daemon, output)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_insecure_registries_from_the_configuration() {
        let toml = "debug = true\n[registry.\"a:5000\"]\n  http = true\n  insecure = true\n[registry.'b']\n  mirrors = [\"c\"]\n\
                    [worker.oci]\n  insecure = true\n";
        assert_eq!(insecure_registries(toml), ["a:5000"]);
    }

    #[test]
    fn takes_private_authorities_from_the_configuration() {
        let toml = "[registry.\"a.example\"]\n  ca = [\"/etc/buildkit/certs/a.example/ca.pem\"]\n[registry.b]\n  http = true\n";
        assert_eq!(
            authorities(toml),
            [("a.example", "/etc/buildkit/certs/a.example/ca.pem")]
        );
    }

    #[test]
    fn allows_what_the_flags_allow() {
        let flags = ["--allow-insecure-entitlement=network.host".to_owned()];
        let entitlements = configure(&flags, "")["builder"]["entitlements"].clone();
        assert_eq!(
            entitlements,
            json!({ "network-host": true, "security-insecure": false })
        );
    }
}
