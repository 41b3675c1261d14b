//! A `run:` step behind the action: what a job does with the outputs.

use std::process::Command;

use super::{Ended, Runner};
use crate::rig::variable;

impl Runner {
    /// Runs lines as `bash -e` does (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell>),
    /// in the workspace and with `env:`, whose expressions know the outputs of a step named `push`. Returns what it prints.
    pub(crate) fn script(&self, push: &Ended, env: &[(&str, &str)], lines: &str) -> String {
        let output = Command::new("bash")
            .args(["-e", "-c", lines])
            .current_dir(self.workspace())
            .env("DOCKER", variable("RIG_DOCKER"))
            .envs(env.iter().map(|(name, text)| (name, evaluated(text, push))))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The text with `${{ steps.push.outputs.NAME }}` replaced. As on GitHub an output that is not there is empty.
fn evaluated(text: &str, push: &Ended) -> String {
    let mut pieces = text.split("${{ steps.push.outputs.");
    let mut evaluated = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(" }}").expect("the end of an expression");
        let output = push.values.outputs.get(name);
        evaluated.push_str(output.map_or("", String::as_str));
        evaluated.push_str(rest);
    }
    assert!(
        !evaluated.contains("${{"),
        "the stand-in knows no such expression: {text}"
    );
    evaluated
}
