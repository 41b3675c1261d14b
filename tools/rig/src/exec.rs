//! `rig exec`: starts the keeper, runs the command, ends the keeper.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{command, terminate, timed};
use crate::{Wanted, aws, place};

const POLL: Duration = Duration::from_millis(20);
/// How long a command may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(20);

/// Runs its arguments with the hosts file that it is given first (as `$0`).
const WITH_HOSTS: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";

/// Runs the command on a rig and returns its exit code (128 and the signal's number if a signal ended it).
pub(crate) fn exec(wanted: Wanted, words: &[&str]) -> Result<ExitCode> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let mut keeper = start_keeper(wanted)?;
    let result = match timed("ready", || environment(&mut keeper, &interrupted)) {
        Ok(environment) => run_command(words, &environment, &interrupted).map(exit_code),
        Err(error) => Err(error),
    };
    drop(keeper.stdin.take());
    let stopped = keeper.wait().context("waiting for the keeper")?;
    place::sweep_leftovers(&place::cache()?);
    let code = result?;
    if !stopped.success() {
        bail!("the rig did not stop cleanly ({stopped})");
    }
    Ok(code)
}

/// In a process group of its own, so that Ctrl-C reaches the command but none of the rig's own processes.
fn start_keeper(wanted: Wanted) -> Result<Child> {
    let binary = std::env::current_exe()?;
    command!(
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount",
        "--propagation",
        "slave",
        "--mount-proc"
    )
    .arg(binary)
    .arg("keep")
    .args(wanted.flags())
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .process_group(0)
    .spawn()
    .context("starting the keeper with `unshare`")
}

fn environment(keeper: &mut Child, interrupted: &AtomicBool) -> Result<Vec<(String, String)>> {
    let output = BufReader::new(keeper.stdout.take().context("the keeper has no output")?);
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        output
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let mut environment = Vec::new();
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => match line.split_once('=') {
                Some((name, value)) => environment.push((name.to_owned(), value.to_owned())),
                None => return Ok(environment),
            },
            Err(RecvTimeoutError::Timeout) if interrupted.load(Ordering::Relaxed) => {
                bail!("interrupted")
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the rig did not start (run it as root)"),
        }
    }
}

/// The command gets SIGTERM when we are interrupted, and also when we are killed.
fn run_command(
    words: &[&str],
    environment: &[(String, String)],
    interrupted: &AtomicBool,
) -> Result<ExitStatus> {
    let variables = environment.iter().map(|(name, value)| (name, value));
    let mut start = command!("setpriv", "--pdeathsig", "TERM");
    if let Some((_, hosts)) = environment.iter().find(|(name, _)| name == aws::HOSTS) {
        // All of these become the next one, none is a parent: the signal reaches the command.
        start
            .args([
                "unshare",
                "--mount",
                "--propagation",
                "slave",
                "--",
                "sh",
                "-c",
                WITH_HOSTS,
            ])
            .arg(hosts);
    }
    let mut child = start
        .args(words)
        .envs(variables)
        .spawn()
        .context("starting the command with `setpriv`")?;
    let mut end = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match end {
            None if interrupted.load(Ordering::Relaxed) => {
                let _ = terminate(&child);
                end = Some(Instant::now() + GRACE);
            }
            Some(end) if Instant::now() > end => child.kill()?,
            _ => {}
        }
        std::thread::sleep(POLL);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
