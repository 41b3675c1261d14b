//! Debian's `docker-registry` on loopback, with a copy of the storage that holds the base images.
//!
//! Deleting is on. The access log has one line a request in Apache's combined format, status and bytes included.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::packages::Packages;
use crate::process::{Daemon, answers, command, run};

/// A running registry.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) daemon: Daemon,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    pub(crate) access_log: PathBuf,
}

/// Copies the storage that holds the base images into `data`. The registry changes its files in place, so they can't
/// be links.
pub(crate) fn copy_storage(base: &Path, data: &Path) -> Result<()> {
    run(&mut command!(
        "cp",
        "--archive",
        base,
        data.join("registry")
    ))
    .context("copying the base images")
    .map(drop)
}

/// Starts a registry on the storage in `data`, listening at `address`.
pub(crate) fn start(packages: &Packages, data: &Path, address: &str) -> Result<Registry> {
    let storage = data.join("registry");
    let configuration = data.join("registry.yml");
    fs::write(
        &configuration,
        format!(
            "version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: \"{address}\"}}
",
            json_string(&storage)
        ),
    )?;
    let (access_log, log) = (data.join("registry-access.log"), data.join("registry.log"));
    let mut serve = command!(
        packages.root.join("usr/bin/docker-registry"),
        "serve",
        configuration
    );
    serve.env("OTEL_TRACES_EXPORTER", "none");
    let mut daemon = Daemon::start("the registry", &mut serve, &access_log, &log)?;
    daemon.wait_until(|| answers(TcpStream::connect(address), "/v2/"))?;
    // Our own request is none of the tests'.
    File::options().write(true).open(&access_log)?.set_len(0)?;
    Ok(Registry {
        daemon,
        address: address.to_owned(),
        access_log,
    })
}

/// A JSON string is a YAML string.
fn json_string(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}
