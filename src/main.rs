//! `fast-ecr-push`: builds a container image and gets it into Amazon ECR, showing where every
//! second went.
//!
//! Data goes one way, and [`run`] alone knows the order:
//!
//! ```text
//! env ─> inputs ─> plan ─> credentials ─> builder ─> build ─> push ──┐
//!                    ↑                                └─> timings ───┴─> report
//!                  facts
//! ```
//!
//! - [`cli`], [`inputs`]: what was typed, checked field by field; [`metadata`]: docker/metadata-action's rules
//! - [`facts`]: what this machine has; [`plan`]: what will be done, pure
//! - [`aws`], [`credentials`], [`registry`], [`builder`], [`buildx`]: the work, each through [`process`];
//!   [`acceleration`]: the push engine, seen from here
//! - [`unchanged`]: an image of the same inputs, found instead of built
//! - [`timings`]: where the time went, pure; [`report`]: outputs, summary, timings file
//! - [`history`]: earlier runs, asked of GitHub; [`compare`](mod@compare): timings files of several runs, joined
//! - [`runner`]: the machine around, and GitHub's formats; [`network`]: proxies and certificates
//!
//! BuildKit's words: a *vertex* is a step of the build graph, a *status* a piece of work inside of
//! it, a *builder* a named BuildKit that buildx knows, a *driver* the way to it.
// `make fuzz` compiles the unit tests with libFuzzer's `main`.
#![cfg_attr(fuzzing, no_main)]

mod acceleration;
#[cfg(test)]
#[path = "../tests/any_bytes/mod.rs"]
mod any_bytes;
mod aws;
mod builder;
mod buildx;
mod cli;
mod compare;
mod credentials;
#[cfg(test)]
#[path = "../tests/tables/documents.rs"]
mod documents;
mod facts;
mod history;
mod inputs;
mod metadata;
mod network;
#[cfg(test)]
#[path = "../tests/tables/other_actions.rs"]
mod other_actions;
mod plan;
mod process;
mod registry;
mod report;
mod run;
mod runner;
mod timings;
mod unchanged;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use aws::eks;
use cli::Command;
use compare::Format;
use credentials::{HELPER_PROGRAM, helper};
use network::{certificates, proxy};
use run::{Run, post};
use runner::env::Env;
use runner::redact::Redactor;
use runner::{log, mounts};

fn main() -> ExitCode {
    start().unwrap_or_else(|error| {
        print(&format!("error: {error:#}"));
        ExitCode::from(3)
    })
}

fn start() -> anyhow::Result<ExitCode> {
    let started = Timestamp::now();
    let env = mounts::translated(Env::from_process(), inputs::holding_paths());
    if let Err(error) = restart(&env) {
        // Before there is a log; whoever misses certificates or a proxy will want to know.
        print(&format!(
            "could not apply NODE_EXTRA_CA_CERTS or NO_PROXY: {error}"
        ));
    }
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start")?;
    Ok(runtime.block_on(dispatch(&arguments, env, started)))
}

async fn dispatch(arguments: &[String], env: Env, started: Timestamp) -> ExitCode {
    // Docker calls credential helpers by name: the same binary under another one.
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| name == HELPER_PROGRAM) {
        return helper::run(arguments.get(1..).unwrap_or_default(), &env).await;
    }
    let command = match cli::parse(arguments) {
        Ok(_) if name.is_some_and(|name| name == post::PROGRAM) => Command::Post,
        Ok(command) => command,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // The text is for people; one who can't be reached can't be told.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    if let Command::Credential(verb) = &command {
        return helper::run(verb, &env).await;
    }
    if let Command::EksToken(request) = &command {
        return eks::run(request, &env).await;
    }
    if let Command::Compare { files, format } = &command {
        // Standard output is the table's alone.
        log::install(&Env::default(), log::Stream::Error);
        return compared(files, *format);
    }
    let stream = match command {
        Command::Plan { .. } => log::Stream::Error,
        _ => log::Stream::Output,
    };
    log::install(&env, stream);
    let run = Run {
        env,
        stream,
        started,
        cancel: cancelled_by_signals(),
        redactor: Redactor::default(),
    };
    match command {
        Command::Run(flags) => run.action(&flags).await,
        Command::Plan { flags, facts } => run.plan(&flags, &facts).await,
        Command::Post => {
            post::run(&run.env, &run.cancel).await;
            ExitCode::SUCCESS
        }
        Command::Credential(_) | Command::EksToken(_) | Command::Compare { .. } => {
            ExitCode::SUCCESS
        }
    }
}

fn compared(files: &[String], format: Format) -> ExitCode {
    let comparison = compare::compare(files, format);
    for words in &comparison.left_out {
        tracing::warn!("left out: {words}");
    }
    match comparison.text {
        Ok(text) => {
            print(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Starts this program anew with variables as libraries are to find them, which read them by themselves; a process can't change
/// its own safely: certificates that it and all that it starts shall trust, and whom to ask without a proxy. Returns only where
/// there is nothing to change, or when it failed.
fn restart(env: &Env) -> io::Result<()> {
    let mut variables = Vec::new();
    if let Some(certificates) = certificates::bundle(env) {
        let path = process::in_memory(certificates::FILE, certificates.as_bytes())?;
        variables.push((certificates::FILE, path));
    }
    if let Some((ours, given)) = proxy::rules(env) {
        variables.push(("NO_PROXY", ours.into()));
        variables.push((runner::env::GIVEN_NO_PROXY, given.into()));
    }
    if variables.is_empty() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let program = std::env::current_exe()?;
    process::replace_self(&program, &name, arguments, variables)
}

/// A token that is cancelled by SIGINT and SIGTERM. As PID 1 of a container we get only signals
/// that have a handler (<https://docs.docker.com/reference/cli/docker/container/run/#init>).
fn cancelled_by_signals() -> CancellationToken {
    let cancel = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        if let Ok(mut signals) = signal(kind) {
            let cancel = cancel.clone();
            tokio::spawn(async move {
                signals.recv().await;
                cancel.cancel();
            });
        }
    }
    cancel
}

/// Prints a line on standard output. A reader that went away must not stop the run.
fn print(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}
