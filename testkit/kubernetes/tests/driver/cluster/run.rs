//! What a run of the action left.

pub(crate) struct Run {
    pub code: Option<i32>,
    pub log: String,
    pub outputs: String,
    /// The job summary.
    pub summary: String,
}

impl Run {
    pub(crate) fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{}", self.log);
    }

    pub(crate) fn output(&self, name: &str) -> String {
        let line = self
            .outputs
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no output `{name}`: {}", self.outputs))
            .to_owned()
    }

    /// Whether the log says of a step that it came from the cache.
    pub(crate) fn has_cached(&self, step: &str) -> bool {
        let mut lines = self.log.lines();
        let line = lines.find(|line| line.starts_with('#') && line.contains(step));
        let number = line.and_then(|line| line.split(' ').next());
        let number = number.unwrap_or_else(|| panic!("no step `{step}`: {}", self.log));
        self.log
            .lines()
            .any(|line| line == format!("{number} cached"))
    }

    /// The builder's part of the time.
    pub(crate) fn seconds(&self, output: &str) -> f64 {
        self.output(output).parse().unwrap()
    }
}
