//! The order of the Dockerfile's steps.

use super::{Advice, Facts, matters};
use crate::runner::markdown::code;
use crate::timings::{Phase, Step, command, units};

/// Commands that install dependencies, and so rarely need all files of the context.
const INSTALLERS: &str = "pip install, pip3 install, uv sync, uv pip install, poetry install, pipenv install, pipenv sync, \
                          conda env, conda install, npm ci, npm install, yarn install, pnpm install, bundle install, \
                          composer install, go mod download, cargo fetch, dependency:go-offline, dependency:resolve, \
                          dotnet restore, apt-get install, apk add, dnf install, yum install";

/// A step that installs dependencies after the whole context was copied runs again whenever any file changes.
pub(super) fn dependencies_behind_the_whole_context(facts: &Facts<'_>) -> Option<Advice> {
    let ran = |step: &&Step| step.phase == Phase::Build && !step.cached;
    let steps: Vec<&Step> = facts.timings.steps.iter().filter(ran).collect();
    let mut found: Option<(&Step, &Step)> = None;
    for (index, step) in steps.iter().enumerate() {
        let Some(install) = installer(&step.name) else {
            continue;
        };
        let same =
            |other: &&&Step| (&other.stage, &other.platform) == (&step.stage, &step.platform);
        let mut before = steps.iter().take(index).rev().filter(same);
        let Some(copy) = before.clone().find(|other| copies_everything(&other.name)) else {
            continue;
        };
        // The second of two installs adds the project itself.
        let twice = before.any(|other| installer(&other.name) == Some(install));
        if !twice && found.is_none_or(|(_, longest)| longest.duration < step.duration) {
            found = Some((copy, step));
        }
    }
    let (copy, step) = found.filter(|(_, step)| matters(step.duration, facts))?;
    Some(Advice {
        text: format!(
            "{} took {} and runs again whenever any file changes, because it comes after {}: copy only the files that declare the \
             dependencies before it, the rest after it.",
            code(command(&step.name)),
            units::duration(step.duration),
            code(command(&copy.name))
        ),
        concerns: step.duration,
    })
}

fn installer(name: &str) -> Option<&'static str> {
    let run = command(name).strip_prefix("RUN ")?;
    let own = [" -e .", " install .", " --editable ."];
    if own.iter().any(|part| run.contains(part)) {
        return None;
    }
    INSTALLERS.split(", ").find(|install| run.contains(install))
}

/// `COPY . …` and `ADD . …` from the context, with any flags but `--from`.
fn copies_everything(name: &str) -> bool {
    let command = command(name);
    let command = command.strip_prefix("LINK ").unwrap_or(command);
    let mut words = command.split_whitespace();
    if !matches!(words.next(), Some("COPY" | "ADD")) {
        return false;
    }
    let (flags, rest): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with("--"));
    !flags.iter().any(|flag| flag.starts_with("--from"))
        && matches!(rest.first(), Some(&("." | "./" | "*")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_copies_of_the_whole_context() {
        let cases = [
            ("[3/5] COPY . .", true),
            ("[app 3/5] COPY --chown=1:1 ./ /app", true),
            ("[3/5] LINK COPY --link . /app", true),
            ("[3/5] ADD . /app", true),
            ("[3/5] COPY --from=build . /app", false),
            ("[3/5] COPY requirements.txt .", false),
            ("[3/5] RUN cp . x", false),
            ("", false),
        ];
        for (name, expected) in cases {
            assert_eq!(copies_everything(name), expected, "{name}");
        }
    }

    #[test]
    fn knows_installers_of_dependencies() {
        let cases = [
            ("[3/5] RUN pip install -r requirements.txt", true),
            ("[3/5] RUN --mount=type=cache,target=/root npm ci", true),
            ("[3/5] RUN pip install -e .", false),
            ("[3/5] RUN pip install .", false),
            ("[3/5] RUN make install", false),
            ("[3/5] COPY npm ci", false),
        ];
        for (name, expected) in cases {
            assert_eq!(installer(name).is_some(), expected, "{name}");
        }
    }
}
