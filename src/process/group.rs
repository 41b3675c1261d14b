//! A child's process group, which is signalled as a whole.

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};

/// The process group of a child. It is killed when this value is dropped.
pub(super) struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Group {
    pub(super) fn of(child: &tokio::process::Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails only if the group has ended.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Reaps the group's orphans: as PID 1 of a container we are their parent.
    pub(super) fn reap(&self) {
        if let Some(group) = self.0 {
            while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
        }
    }

    /// Keeps what the child left running on purpose.
    pub(super) fn release(&mut self) {
        self.0 = None;
    }
}
