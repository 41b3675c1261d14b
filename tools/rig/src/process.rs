//! Child processes: commands that run to their end, daemons that are waited for and stopped, and the clock on both.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// A command with its arguments in one line: `command!("ip", "link", "show")`.
macro_rules! command {
    ($program:expr $(, $argument:expr)* $(,)?) => {{
        #[allow(unused_mut, clippy::allow_attributes, reason = "a command without arguments is not changed")]
        let mut command = std::process::Command::new($program);
        $( command.arg($argument); )*
        command
    }};
}
pub(crate) use command;

/// Runs the command to its end and returns its standard output. An error carries the last lines of its standard error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting `{program}`"))?;
    if !output.status.success() {
        bail!(
            "`{program}` failed ({}):\n{}",
            output.status,
            last_lines(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Does the work and says on standard error how long it took.
pub(crate) fn timed<T>(stage: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = work().with_context(|| stage.to_owned())?;
    eprintln!("rig: {stage}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(result)
}

/// The thread's result; that it panicked is an error too.
pub(crate) fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

/// A child that serves until it is stopped; its standard error is in the log file.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Daemon {
    /// Starts the command with both its outputs appended to files: standard output to `output`, standard error to `log`.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        output: &Path,
        log: &Path,
    ) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(append(output)?)
            .stderr(append(log)?)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log: log.to_owned(),
        })
    }

    /// Waits until `ready` says so. Fails when the daemon ends first or a minute has passed.
    pub(crate) fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ready() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let state = ended.map_or("is not ready after 60 s".to_owned(), |status| {
                    format!("ended ({status})")
                });
                let log = std::fs::read(&self.log).unwrap_or_default();
                bail!("{} {state}:\n{}", self.name, last_lines(&log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks the daemon to end, and gives it 15 seconds.
    pub(crate) fn stop(mut self) -> Result<()> {
        terminate(&self.child)?;
        let deadline = Instant::now() + Duration::from_secs(15);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("{} had to be killed", self.name);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Sends SIGTERM. By the shell's own `kill`: the program is not on every machine.
pub(crate) fn terminate(child: &Child) -> Result<()> {
    let id = child.id().to_string();
    run(&mut command!("sh", "-c", "kill -TERM \"$1\"", "sh", id)).map(drop)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both do nothing when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening `{}`", path.display()))
}

/// A port of the loopback address that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Whether an HTTP server answers `GET path` with 200 on this connection.
pub(crate) fn answers(connection: std::io::Result<impl Read + Write>, path: &str) -> bool {
    let Ok(mut connection) = connection else {
        return false;
    };
    let mut status = [0; "HTTP/1.0 200".len()];
    write!(connection, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").is_ok()
        && connection.read_exact(&mut status).is_ok()
        && status.ends_with(b" 200")
}

fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(12)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_tells_its_last_lines() {
        let error =
            run(&mut command!("sh", "-c", "seq 1 20 >&2; exit 3")).expect_err("it exits with 3");
        let text = error.to_string();
        assert!(
            text.starts_with("`sh` failed (exit status: 3):\n9\n") && text.ends_with("\n20"),
            "{text}"
        );
    }

    #[test]
    fn only_status_200_is_an_answer() {
        for (reply, expected) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.1 404 Not Found\r\n", false),
            ("", false),
        ] {
            let (mut server, client) =
                std::os::unix::net::UnixStream::pair().expect("a socket pair");
            server
                .write_all(reply.as_bytes())
                .expect("room in the socket");
            server
                .shutdown(std::net::Shutdown::Write)
                .expect("an open socket");
            assert_eq!(answers(Ok(client), "/_ping"), expected, "{reply}");
        }
    }
}
