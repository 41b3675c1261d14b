//! The machine that runs the action, so that times of different machines are not mixed up.
//!
//! In: the environment and `/proc/meminfo`. Out: a [`Runner`].
//! Variables: <https://docs.github.com/actions/reference/workflows-and-actions/variables>.

use std::fs;

use crate::runner::env::Env;
use crate::timings::schema::Runner;

pub(super) fn read(env: &Env) -> Runner {
    let memory = fs::read_to_string("/proc/meminfo").ok();
    Runner {
        cores: std::thread::available_parallelism().ok().map(usize::from),
        memory_bytes: memory.as_deref().and_then(total_memory),
        architecture: std::env::consts::ARCH.to_owned(),
        environment: env.get("RUNNER_ENVIRONMENT").map(str::to_owned),
    }
}

/// `MemTotal:       24605736 kB`, in units of 1024 bytes
/// (<https://docs.kernel.org/filesystems/proc.html#meminfo>).
fn total_memory(meminfo: &str) -> Option<u64> {
    let mut lines = meminfo.lines();
    let total = lines.find_map(|line| line.strip_prefix("MemTotal:"))?;
    let number: u64 = total.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_units_of_1024_bytes() {
        let cases = [
            ("MemTotal:       2 kB\nMemFree: 1 kB\n", Some(2048)),
            ("MemFree: 1 kB\n", None),
            ("MemTotal: much\n", None),
            ("MemTotal: 99999999999999999999 kB\n", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(total_memory(text), bytes, "{text}");
        }
    }

    #[test]
    fn this_machine_has_cores_and_an_environment() {
        let runner = read(&Env::from([("RUNNER_ENVIRONMENT", "self-hosted")]));
        assert!(runner.cores.is_some_and(|cores| cores > 0));
        assert_eq!(runner.environment.as_deref(), Some("self-hosted"));
        assert_eq!(read(&Env::default()).environment, None);
    }
}
