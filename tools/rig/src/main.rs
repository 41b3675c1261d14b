//! The rig: starts the real things that the tests need, on a fresh Debian with only Rust and git, as root.
//!
//! `rig exec [--aws] [--classic] -- COMMAND…` makes everything ready, runs COMMAND, removes what it started and exits with
//! COMMAND's code. `rig clean` removes all that the rig keeps on disk (place.rs says where). COMMAND's environment has
//!
//! - `DOCKER_HOST`: an Engine that is there already (`DOCKER_HOST` or the default socket), else the rig's own, with the
//!   containerd image store; `RIG_CLASSIC_DOCKER_HOST`, with `--classic`: a second one with the classic image store;
//! - `DOCKER_CONFIG`: an empty directory, so that no login and no builder of the user's gets into a test, nor one of a
//!   test into theirs;
//! - `RIG_BUILDX`, `RIG_DOCKER`: paths of the buildx and docker binaries;
//! - `RIG_REGISTRY`: `127.0.0.1:PORT` of a registry that holds the base images of images.rs; `RIG_REGISTRY_LOG`: its
//!   access log, a line for each request;
//! - with `--aws` (aws.rs), which always starts an Engine of its own: `RIG_AWS`, the address of the stand-in for Amazon's
//!   API (testkit/aws, whose library tests speak to it with), `AWS_ENDPOINT_URL`, the same; `RIG_AWS_CA`, the authority of
//!   its certificates; `RIG_AWS_LOG`, the directory of `requests.jsonl` and `calls.jsonl`; `RIG_AWS_HOSTS`, the hosts file
//!   with ECR's names, which COMMAND has in the place of `/etc/hosts`; `ACTIONS_ID_TOKEN_REQUEST_URL` and `…_TOKEN`, the
//!   issuer of tokens of account 123456789012, whose access key is `AKIA0000123456789012`.
//!
//! `exec` is two processes. The *keeper* (`keep`, keeper.rs) starts everything as its own children, in a PID and mount
//! namespace of its own; it stops them when its standard input ends, which happens however `exec` dies. When the keeper
//! itself dies, the kernel ends everything in its namespace.
#![expect(
    clippy::print_stderr,
    reason = "the rig's own words go to stderr; stdout is the command's"
)]

mod aws;
mod engine;
mod exec;
mod images;
mod keeper;
mod layers;
mod network;
mod packages;
mod place;
mod process;
mod registry;

use std::process::ExitCode;

const USAGE: &str = "usage: rig exec [--aws] [--classic] -- COMMAND [ARGUMENT…] | rig clean";

/// What is to be started beside Engine and registry.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    /// An Engine with the classic image store.
    classic: bool,
    /// Amazon's side.
    aws: bool,
}

impl Wanted {
    /// Takes the flags off the words; none where one is unknown.
    fn parse(flags: &[&str]) -> Option<Self> {
        let mut wanted = Self::default();
        for flag in flags {
            match *flag {
                "--classic" => wanted.classic = true,
                "--aws" => wanted.aws = true,
                _ => return None,
            }
        }
        Some(wanted)
    }

    fn flags(self) -> impl Iterator<Item = &'static str> {
        let flags = [(self.classic, "--classic"), (self.aws, "--aws")];
        flags
            .into_iter()
            .filter_map(|(wanted, flag)| wanted.then_some(flag))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["exec", rest @ ..] => {
            let end = rest.iter().position(|word| *word == "--");
            let parts =
                end.and_then(|end| Some((Wanted::parse(rest.get(..end)?)?, rest.get(end + 1..)?)));
            match parts {
                Some((wanted, command)) if !command.is_empty() => exec::exec(wanted, command),
                _ => return usage(),
            }
        }
        ["keep", flags @ ..] => match Wanted::parse(flags) {
            Some(wanted) => keeper::keep(wanted).map(|()| ExitCode::SUCCESS),
            None => return usage(),
        },
        ["clean"] => place::clean().map(|()| ExitCode::SUCCESS),
        _ => return usage(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("rig: {error:#}");
        ExitCode::from(3)
    })
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
