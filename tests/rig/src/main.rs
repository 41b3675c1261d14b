//! The rig: starts the real things that the tests need, on a fresh Debian with only Rust and git, as root.
//!
//! `rig exec [--classic] -- COMMAND…` makes everything ready, runs COMMAND with `DOCKER_HOST`, `RIG_REGISTRY` and the
//! like in its environment (README.md lists them), removes what it started and exits with COMMAND's code.
//! `rig clean` removes all that the rig keeps on disk.
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
