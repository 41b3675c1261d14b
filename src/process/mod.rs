//! Child processes: a command as a value, and the only place that starts one.
//!
//! In: a [`Command`]. Out: its output, or its lines while it runs. A child gets its own process group, so that the terminal's Ctrl-C
//! reaches us alone and we decide how it ends; when we are cancelled it gets SIGTERM, a grace period, then SIGKILL, its whole group.

mod group;
mod lines;
mod ongoing;
mod replace;
mod shell;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::runner::env::{lent, restored, withheld};
use group::Group;
use lines::Lines;
pub(crate) use ongoing::Ongoing;
pub(crate) use replace::{in_memory, replace_self};
pub(crate) use shell::shell_line;

/// How long a cancelled child may take to exit. The runner kills us 10 s after its first signal (`ProcessInvoker.cs`), and the
/// report must be written before.
const GRACE: Duration = Duration::from_secs(4);

/// A program with its arguments and the variables that differ from our environment.
/// Secrets are never among the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub program: OsString,
    pub args: Vec<OsString>,
    pub env: BTreeMap<String, OsString>,
    /// Whether the arguments may contain secrets.
    pub hides_args: bool,
}

#[derive(Debug, Error)]
pub(crate) enum ProcessError {
    #[error("could not start `{program}`")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("could not read the output of `{program}`")]
    Read {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("`{command}` failed with {status}{}", last_lines(stderr))]
    Failed {
        command: String,
        status: ExitStatus,
        stderr: String,
    },
    #[error("`{program}` was stopped because the run was cancelled")]
    Cancelled { program: String },
}

impl Command {
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            hides_args: false,
        }
    }

    /// Appends arguments that are not shown.
    pub(crate) fn secret_args(self, args: Vec<String>) -> Self {
        Self {
            hides_args: true,
            ..self.args(args)
        }
    }

    pub(crate) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Runs to the end and returns standard output.
    pub(crate) async fn output(&self, cancel: &CancellationToken) -> Result<String, ProcessError> {
        self.output_of(None, cancel).await
    }

    /// The same for a program that waits for its standard input.
    pub(crate) async fn output_of(
        &self,
        input: Option<Input>,
        cancel: &CancellationToken,
    ) -> Result<String, ProcessError> {
        let mut out = String::new();
        let mut err = String::new();
        let collect = |event: Event<'_>| {
            let (text, line) = match event {
                Event::Stdout(line) => (&mut out, line),
                Event::Stderr(line) => (&mut err, line),
                Event::Second => return,
            };
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        };
        let status = self.run(input, cancel, collect).await?;
        if status.success() {
            return Ok(out);
        }
        Err(ProcessError::Failed {
            command: self.to_string(),
            status,
            stderr: err,
        })
    }

    /// Runs to the end. `on_event` gets each line of both streams, without its line break, and a tick every second. Memory use is
    /// constant. A bad exit code is not an error.
    pub(crate) async fn stream(
        &self,
        cancel: &CancellationToken,
        on_event: impl FnMut(Event<'_>),
    ) -> Result<ExitStatus, ProcessError> {
        self.run(None, cancel, on_event).await
    }

    async fn run(
        &self,
        input: Option<Input>,
        cancel: &CancellationToken,
        mut on_event: impl FnMut(Event<'_>),
    ) -> Result<ExitStatus, ProcessError> {
        let program = || self.program.to_string_lossy().into_owned();
        let read_error = |source| ProcessError::Read {
            program: program(),
            source,
        };
        let mut child = self.spawn(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })?;
        let mut group = Group::of(&child);
        let mut given = pin!(give(input, child.stdin.take()));
        let mut is_given = false;
        let mut stdout = Lines::new(child.stdout.take());
        let mut stderr = Lines::new(child.stderr.take());
        let mut deadline: Option<Instant> = None;
        let mut status = None;
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        // A cancelled child must not block on a full pipe, so its output is still read.
        while stdout.open() || stderr.open() || status.is_none() {
            let grace = deadline.unwrap_or_else(Instant::now);
            tokio::select! {
                done = stdout.fill(), if stdout.open() => {
                    if done.map_err(read_error)? { on_event(Event::Stdout(stdout.line())); }
                }
                done = stderr.fill(), if stderr.open() => {
                    if done.map_err(read_error)? { on_event(Event::Stderr(stderr.line())); }
                }
                // A child that does not read has its own reason, and an exit code.
                () = &mut given, if !is_given => is_given = true,
                ended = child.wait(), if status.is_none() => {
                    status = Some(ended.map_err(read_error)?);
                }
                () = cancel.cancelled(), if deadline.is_none() => {
                    group.signal(Signal::TERM);
                    deadline = Some(Instant::now() + GRACE);
                }
                _ = seconds.tick() => on_event(Event::Second),
                () = tokio::time::sleep_until(grace), if deadline.is_some() => {
                    group.signal(Signal::KILL);
                    break;
                }
            }
        }
        if deadline.is_some() {
            // Processes that closed their output and still run.
            group.signal(Signal::KILL);
        }
        group.reap();
        group.release();
        match status {
            Some(status) if deadline.is_none() => Ok(status),
            _ => Err(ProcessError::Cancelled { program: program() }),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that starts processes"
    )]
    fn spawn(&self, input: Stdio) -> Result<tokio::process::Child, ProcessError> {
        tracing::debug!("running {self}");
        let mut command = tokio::process::Command::new(&self.program);
        for name in withheld() {
            command.env_remove(name);
        }
        command
            .args(&self.args)
            .envs(restored())
            .envs(&self.env)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ProcessError::Start {
                program: self.program.to_string_lossy().into_owned(),
                source,
            })
    }
}

/// What a program gets as its standard input, once it is known. Nothing if the sender is dropped.
pub(crate) type Input = oneshot::Receiver<Vec<u8>>;

async fn give(input: Option<Input>, stdin: Option<ChildStdin>) {
    if let (Some(input), Some(mut stdin)) = (input, stdin)
        && let Ok(text) = input.await
    {
        let _ = stdin.write_all(&text).await;
    }
}

/// What happens while a child runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A line of standard output.
    Stdout(&'a [u8]),
    /// A line of standard error.
    Stderr(&'a [u8]),
    /// A second has passed.
    Second,
}

/// The command as a line for a shell, with the names of the variables it sets and of build
/// arguments but not their values: they may be secret.
impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in self.env.keys() {
            write!(formatter, "{name}=… ")?;
        }
        if self.hides_args {
            return write!(formatter, "{} …", self.program.to_string_lossy());
        }
        let words = std::iter::once(&self.program).chain(&self.args);
        formatter.write_str(&shell_line(words.map(|word| word.to_string_lossy())))
    }
}

fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    match lines.as_slice() {
        [] => String::new(),
        [.., last] => format!(": {}", last.trim()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, WaitOptions, waitpgid};

    use super::*;

    fn shell(script: &str) -> Command {
        Command::new("/bin/sh").args(["-c", script])
    }

    async fn is_gone(pid: i32) {
        // Gone, or a zombie whose new parent has not fetched it yet; a moment after the signal.
        let stat = format!("/proc/{pid}/stat");
        let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        for _ in 0..200 {
            if !alive() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the child's child is still running");
    }

    #[tokio::test]
    async fn hands_over_both_streams_line_by_line() {
        let mut seen = Vec::new();
        let status = shell("printf 'a\\r\\nb'; printf 'c\\n\\nd' >&2; exit 3")
            .stream(&CancellationToken::new(), |event| match event {
                Event::Stdout(line) => {
                    seen.push(("out", String::from_utf8_lossy(line).into_owned()));
                }
                Event::Stderr(line) => {
                    seen.push(("err", String::from_utf8_lossy(line).into_owned()));
                }
                Event::Second => {}
            })
            .await
            .unwrap();
        assert_eq!(status.code(), Some(3));
        let of = |wanted| -> Vec<&str> {
            seen.iter()
                .filter(|(source, _)| *source == wanted)
                .map(|(_, line)| line.as_str())
                .collect()
        };
        assert_eq!(of("out"), ["a", "b"]);
        assert_eq!(of("err"), ["c", "", "d"]);
    }

    #[tokio::test]
    async fn a_failure_names_the_command_and_its_last_word() {
        let error = shell("echo first >&2; echo 'no such builder' >&2; exit 1")
            .output(&CancellationToken::new())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("`/bin/sh -c 'echo first"), "{error}");
        assert!(
            error.ends_with("exit status: 1: no such builder"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_program_waits_for_its_input_and_reads_to_its_end() {
        let (sender, input) = oneshot::channel();
        let command = shell("cat; echo end");
        let never = CancellationToken::new();
        let (output, ()) = tokio::join!(command.output_of(Some(input), &never), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            sender.send(b"a\nb\n".to_vec()).unwrap();
        });
        assert_eq!(output.unwrap(), "a\nb\nend\n");
        let (sender, input) = oneshot::channel();
        drop(sender);
        let output = command.output_of(Some(input), &never).await;
        assert_eq!(output.unwrap(), "end\n");
    }

    #[tokio::test]
    async fn a_program_may_end_before_its_input_comes() {
        let (_sender, input) = oneshot::channel();
        let (command, never) = (shell("exit 3"), CancellationToken::new());
        let ended = command.output_of(Some(input), &never).await;
        assert!(matches!(ended, Err(ProcessError::Failed { .. })));
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Command::new("/nowhere/buildx")
            .output(&CancellationToken::new())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "could not start `/nowhere/buildx`");
    }

    #[tokio::test]
    async fn cancelling_ends_the_child_and_its_children() {
        let cancel = CancellationToken::new();
        let inside = cancel.clone();
        let mut pids = Vec::new();
        let result = shell("sleep 60 & echo $!; wait")
            .stream(&cancel, |event| {
                if let Event::Stdout(line) = event {
                    pids.push(String::from_utf8_lossy(line).parse::<i32>().unwrap());
                    inside.cancel();
                }
            })
            .await;
        assert!(matches!(result, Err(ProcessError::Cancelled { .. })));
        is_gone(pids[0]).await;
    }

    #[tokio::test]
    async fn nothing_goes_on_that_nobody_waits_for() {
        let mut pids = Vec::new();
        let never = CancellationToken::new();
        let command = shell("sleep 60 & echo $!; wait");
        let stream = command.stream(&never, |event| {
            if let Event::Stdout(line) = event {
                pids.push(String::from_utf8_lossy(line).parse::<i32>().unwrap());
            }
        });
        let waited = tokio::time::timeout(Duration::from_millis(500), stream).await;
        waited.unwrap_err();
        is_gone(pids[0]).await;
    }

    #[tokio::test]
    async fn the_ends_of_orphans_are_fetched_where_we_become_their_parent() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let mut group = None;
        shell("echo $$; (true &); (sleep 0.1 &); sleep 0.3")
            .stream(&CancellationToken::new(), |event| {
                if let Event::Stdout(line) = event {
                    group = Pid::from_raw(String::from_utf8_lossy(line).parse().unwrap());
                }
            })
            .await
            .unwrap();
        let left = waitpgid(group.unwrap(), WaitOptions::NOHANG);
        assert_eq!(left.unwrap_err(), rustix::io::Errno::CHILD);
    }

    #[test]
    fn prints_as_a_shell_line_without_the_values_of_variables() {
        let mut command = Command::new("buildx").args([
            "build",
            "--label",
            "a b='c'",
            "",
            "--build-arg",
            "A=hidden",
            "--build-arg",
            "B",
            "--driver-opt",
            "env.TOKEN=hidden",
            "--driver-opt",
            "\"env.LIST=hidden,hidden\"",
            "--driver-opt",
            "network=host",
        ]);
        command.env.insert("TOKEN".into(), "hidden".into());
        assert_eq!(
            command.to_string(),
            r"TOKEN=… buildx build --label 'a b='\''c'\''' '' --build-arg A=… --build-arg B --driver-opt env.TOKEN=… --driver-opt env.LIST=… --driver-opt network=host"
        );
    }
}
