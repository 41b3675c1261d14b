//! The rig: starts the real things that the tests need, on a fresh Debian with only Rust and git, as root.
//!
//! `rig exec [--classic] -- COMMAND…` makes everything ready, runs COMMAND, removes what it started and exits with
//! COMMAND's code. `rig clean` removes all that the rig keeps on disk (place.rs says where). COMMAND's environment has
//!
//! - `DOCKER_HOST`: an Engine that is there already (`DOCKER_HOST` or the default socket), else the rig's own, with the
//!   containerd image store; `RIG_CLASSIC_DOCKER_HOST`, with `--classic`: a second one with the classic image store;
//! - `DOCKER_CONFIG`: an empty directory, so that no login and no builder of the user's gets into a test, nor one of a
//!   test into theirs;
//! - `RIG_BUILDX`, `RIG_DOCKER`: paths of the buildx and docker binaries;
//! - `RIG_REGISTRY`: `127.0.0.1:PORT` of a registry that holds the base images of images.rs; `RIG_REGISTRY_LOG`: its
//!   access log, a line for each request.
//!
//! `exec` is two processes. The *keeper* (`keep`, keeper.rs) starts everything as its own children, in a PID and mount
//! namespace of its own; it stops them when its standard input ends, which happens however `exec` dies. When the keeper
//! itself dies, the kernel ends everything in its namespace.
#![expect(
    clippy::print_stderr,
    reason = "the rig's own words go to stderr; stdout is the command's"
)]

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

const USAGE: &str = "usage: rig exec [--classic] -- COMMAND [ARGUMENT…] | rig clean";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["exec", "--", command @ ..] if !command.is_empty() => exec::exec(false, command),
        ["exec", "--classic", "--", command @ ..] if !command.is_empty() => {
            exec::exec(true, command)
        }
        ["keep"] => keeper::keep(false).map(|()| ExitCode::SUCCESS),
        ["keep", "--classic"] => keeper::keep(true).map(|()| ExitCode::SUCCESS),
        ["clean"] => place::clean().map(|()| ExitCode::SUCCESS),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("rig: {error:#}");
        ExitCode::from(3)
    })
}
