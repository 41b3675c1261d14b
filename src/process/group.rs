//! A child and what it started, as one: signalled together, and not left behind.

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};

/// The process group of a child: itself and what it started. It is killed where nobody waits for the
/// child to end any more.
pub(super) struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Group {
    pub(super) fn of(child: &tokio::process::Child) -> Self {
        Self(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        )
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails only when nobody of the group is left.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Fetches the ends of the group's processes whose parent has ended: as PID 1 of a container we
    /// have become their parent, and nobody else would.
    pub(super) fn reap(&self) {
        if let Some(group) = self.0 {
            while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
        }
    }

    /// It has ended; what is left of it is what it wanted to leave.
    pub(super) fn release(&mut self) {
        self.0 = None;
    }
}
