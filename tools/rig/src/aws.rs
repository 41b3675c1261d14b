//! Amazon's side: the stand-in (testkit/aws) on the slot's bridge, the real registry and moto behind it.
//!
//! ECR's host names are real ones, so who is to find the stand-in under them needs a hosts file that says so: the keeper
//! and the command each have a mount namespace of their own with that file in the place of `/etc/hosts`, and nobody else
//! on the machine sees it. Containers on the host's network get a copy of it from the Engine; other containers need
//! `--add-host`, and reach the bridge's address as well. The Engine trusts the stand-in's authority by `SSL_CERT_DIR`.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::packages;
use crate::place::Slot;
use crate::process::{Daemon, answers, command, free_port, run, timed};

const REQUIREMENTS: &str = include_str!("../moto.txt");

/// As in testkit/aws: of the API, the OIDC issuer, the control endpoint.
const PORT: u16 = 4566;

/// The account of who has none of its own, as in testkit/aws.
const ACCOUNT: &str = "123456789012";

/// A stand-in that answers, and moto.
#[derive(Debug)]
pub(crate) struct Aws {
    pub(crate) daemons: [Daemon; 2],
    /// For the command.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// Makes sure that moto and Amazon's command line are there, in a virtual environment in the cache.
pub(crate) fn prepare(cache: &Path, installing: &Mutex<()>) -> Result<PathBuf> {
    let (environment, stamp) = (cache.join("moto"), cache.join("moto.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(environment);
    }
    timed("install moto and the AWS CLI", || {
        let mut python = "python3";
        if run(&mut command!(python, "-c", "import ensurepip, venv")).is_err() {
            let _guard = installing.lock();
            packages::install(&["python3-venv"])?;
            python = "/usr/bin/python3";
        }
        let _ = fs::remove_dir_all(&environment);
        run(&mut command!(python, "-m", "venv", &environment))?;
        let requirements = cache.join("moto.wanted.txt");
        fs::write(&requirements, REQUIREMENTS)?;
        let pip = [
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
        ];
        run(command!(environment.join("bin/pip"))
            .args(pip)
            .arg("--require-hashes")
            .arg("--requirement")
            .arg(&requirements))?;
        fs::rename(requirements, stamp)?;
        Ok(environment)
    })
}

/// Starts moto and the stand-in before a registry, whose address may be nobody's yet. The slot's bridge must be there.
pub(crate) fn start(slot: &Slot, moto: &Path, registry: &str, address: &str) -> Result<Aws> {
    let folder = folder(&slot.data);
    fs::create_dir_all(&folder)?;
    let behind = format!("127.0.0.1:{}", free_port()?);
    let port = behind.trim_start_matches("127.0.0.1:");
    let log = folder.join("moto.log");
    let mut serve = command!(
        moto.join("bin/moto_server"),
        "--host",
        "127.0.0.1",
        "--port",
        port
    );
    // What it sends goes to itself.
    serve.env_remove("AWS_ENDPOINT_URL");
    let mut server = Daemon::start("moto", &mut serve, &log, &log)?;
    let binary = std::env::current_exe()?.with_file_name("aws-stand-in");
    let log = folder.join("aws-stand-in.log");
    let mut serve = command!(&binary, &folder, address, registry, &behind);
    let mut stand_in =
        Daemon::start("the AWS stand-in", &mut serve, &log, &log).with_context(|| {
            format!(
                "`{}` is built with the workspace: cargo build --workspace",
                binary.display()
            )
        })?;
    let plain = format!("{address}:{PORT}");
    stand_in.wait_until(|| answers(TcpStream::connect(&plain), "/rig/ready"))?;
    server.wait_until(|| answers(TcpStream::connect(&behind), "/moto-api/"))?;
    let hosts = folder.join("hosts");
    run(&mut command!("mount", "--bind", &hosts, "/etc/hosts"))?;
    let authority = folder.join("ca/ca.pem");
    let environment = vec![
        ("RIG_AWS", format!("http://{plain}")),
        ("RIG_AWS_CA", authority.display().to_string()),
        (HOSTS, hosts.display().to_string()),
        ("RIG_AWS_LOG", folder.display().to_string()),
        ("RIG_AWS_CLI", moto.join("bin/aws").display().to_string()),
        ("AWS_ENDPOINT_URL", format!("http://{plain}")),
        (
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            format!("http://{plain}/oidc/{ACCOUNT}?api-version=2.0"),
        ),
        (
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            format!("request-token-of-{ACCOUNT}"),
        ),
    ];
    Ok(Aws {
        daemons: [stand_in, server],
        environment,
    })
}

/// The variable with the hosts file's path.
pub(crate) const HOSTS: &str = "RIG_AWS_HOSTS";

/// The stand-in's own, in a slot's data.
fn folder(data: &Path) -> PathBuf {
    data.join("aws")
}

/// What an Engine needs to trust the stand-in, and to go there without a proxy. Go reads the directory beside the
/// machine's own bundle, at the first connection (<https://pkg.go.dev/crypto/x509#SystemCertPool>).
pub(crate) fn engine_variables(data: &Path) -> [(&'static str, String); 3] {
    let [upper, lower] = ["NO_PROXY", "no_proxy"].map(|name| {
        let given = std::env::var(name).unwrap_or_default();
        let hosts = ".amazonaws.com,.amazonaws.com.cn,.on.aws,public.ecr.aws";
        (name, format!("{given},{hosts}"))
    });
    let authority = folder(data).join("ca").display().to_string();
    [upper, lower, ("SSL_CERT_DIR", authority)]
}
