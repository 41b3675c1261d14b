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

    /// The builder's part of the time.
    pub(crate) fn seconds(&self, output: &str) -> f64 {
        self.output(output).parse().unwrap()
    }
}
