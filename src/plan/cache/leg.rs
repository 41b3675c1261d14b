//! What distinguishes this build from the other legs of its matrix, for the names of caches.
//!
//! In: inputs, context. Out: [`Part`]s, in a fixed order; none for the usual single build (`Dockerfile` in the repository's root, no
//! `target`, no `platforms`).
//!
//! Build arguments count only where they come from the matrix. An argument that changes with every run, such as a commit or a date, would
//! give every run a new name and hence an empty cache. Arguments that are the same in all legs need no part.

use std::path::{Component, Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use image::ImageRef;
use sha2::Sha256;

use super::Situation;
use crate::inputs::build::BuildArg;
use crate::inputs::output_spec::OutputSpec;
use crate::plan::Context;
use crate::runner::mounts::WORKSPACE;

/// Default name of a Dockerfile.
const DOCKERFILE: &str = "Dockerfile";

/// One thing that distinguishes a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// For people who read the name.
    pub shown: String,
    /// What the name's hash is made of.
    pub whole: String,
}

impl Part {
    fn plain(text: &str) -> Self {
        Self {
            shown: text.to_owned(),
            whole: text.to_owned(),
        }
    }

    fn of(kind: &str, shown: &str, text: &str) -> Self {
        Self {
            shown: shown.to_owned(),
            whole: format!("{kind}={text}"),
        }
    }
}

/// The parts of this build: `target`, `platforms`, `file`, `context`, build arguments.
pub(super) fn parts(situation: &Situation<'_>) -> Vec<Part> {
    let inputs = situation.inputs;
    let mut parts: Vec<Part> = inputs.target.iter().map(|name| Part::plain(name)).collect();
    let mut platforms: Vec<&str> = inputs.platforms.iter().map(|name| &**name).collect();
    platforms.sort_unstable();
    parts.extend(platforms.into_iter().map(Part::plain));
    parts.extend(file(inputs.file.as_deref(), situation.context));
    parts.extend(context(situation.context));
    parts.extend(arguments(situation));
    parts
}

/// The parts as names had them before files, contexts and build arguments counted, and platforms only in a push by digest. Caches under
/// these names are still read.
pub(super) fn former_parts(situation: &Situation<'_>) -> Vec<Part> {
    let inputs = situation.inputs;
    let mut parts: Vec<Part> = inputs.target.iter().map(|name| Part::plain(name)).collect();
    if situation.outputs.iter().any(OutputSpec::is_by_digest) {
        parts.extend(inputs.platforms.iter().map(|name| Part::plain(name)));
    }
    parts
}

/// The Dockerfile, unless it is the context's `Dockerfile`.
fn file(given: Option<&str>, context: &Context) -> Option<Part> {
    let given = given?;
    if given.starts_with("http://") || given.starts_with("https://") {
        return Some(Part::of("file", "file", &without_secrets(given)));
    }
    let file = relative(given);
    let default = match context {
        // Relative to the working directory.
        Context::Folder { path, .. } => {
            relative(&path.to_string_lossy()).map(|path| path.join(DOCKERFILE))
        }
        // Relative to the context.
        Context::ThisCommit { .. } | Context::Remote { .. } => Some(DOCKERFILE.into()),
    };
    let default = default.unwrap_or_else(|| DOCKERFILE.into());
    let file = file.filter(|file| *file != default)?;
    let file = file.to_string_lossy();
    Some(Part::of("file", &file, &file))
}

/// The context's folder, or its address; none for the root of the repository.
fn context(context: &Context) -> Option<Part> {
    let folder = match context {
        Context::Folder { path, .. } => relative(&path.to_string_lossy()),
        Context::ThisCommit { url } => {
            let (_, fragment) = url.split_once('#').unwrap_or_default();
            fragment
                .split_once(':')
                .and_then(|(_, folder)| relative(folder))
        }
        Context::Remote { url } => {
            return Some(Part::of("context", "context", &without_secrets(url)));
        }
    };
    let folder = folder?;
    let folder = folder.to_string_lossy();
    Some(Part::of("context", &folder, &folder))
}

/// A path without `.`, and relative to the workspace where it is in it; none for the workspace itself.
fn relative(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let path = path.strip_prefix(WORKSPACE).unwrap_or(path);
    let components = path.components();
    let path: PathBuf = components
        .filter(|component| *component != Component::CurDir)
        .collect();
    (!path.as_os_str().is_empty()).then_some(path)
}

/// An address without what may be secret (user, query) or changes with every run (a Git ref).
fn without_secrets(url: &str) -> String {
    let (address, fragment) = url.split_once('#').unwrap_or((url, ""));
    let address = address.split('?').next().unwrap_or_default();
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let host_end = rest.find(['/', ':']).unwrap_or(rest.len());
    let user_end = rest
        .find('/')
        .and_then(|end| rest.get(..end)?.rfind('@'))
        .or_else(|| rest.get(..host_end)?.rfind('@'))
        .filter(|_| scheme != "docker-image");
    let rest = user_end.and_then(|at| rest.get(at + 1..)).unwrap_or(rest);
    let folder = fragment.split_once(':').map_or("", |(_, folder)| folder);
    match folder {
        "" => rest.to_owned(),
        folder => format!("{rest}:{folder}"),
    }
}

/// The matrix' values in build arguments, by a keyed hash: a tag is read by more people than a workflow. The key is the repositories of
/// the workflow and of the image, so that equal values of two repositories have different hashes. It is no secret, and the hash alone
/// would not hide a value that can be guessed; but a matrix' values are in the names of its jobs anyway, and no other value is hashed.
fn arguments(situation: &Situation<'_>) -> Option<Part> {
    let Situation {
        inputs,
        run,
        references,
        ..
    } = situation;
    let values = &inputs.matrix.as_ref()?.0;
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for argument in &inputs.build_args {
        let BuildArg { name, value } = argument;
        let Some(text) = value else { continue };
        let found = values.iter().filter(|value| holds(text, value));
        pairs.extend(found.map(|value| (name.as_str(), value.as_str())));
    }
    if pairs.is_empty() {
        return None;
    }
    pairs.sort_unstable();
    pairs.dedup();
    let workflow = run.map_or("", |run| run.repository.as_str());
    let image = references.first().map(ImageRef::name).unwrap_or_default();
    // A key of any length does.
    let mut hash =
        Hmac::<Sha256>::new_from_slice(format!("{workflow}\n{image}").as_bytes()).ok()?;
    for text in pairs.into_iter().flat_map(<[&str; 2]>::from) {
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    let hash = hash.finalize().into_bytes();
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Part::of("arguments", "args", &hash))
}

/// Whether an argument is the matrix' value, or holds it between separators, as `node:20-slim` does `20`. Dates hold many small numbers
/// and change with every run, so only a whole date counts.
fn holds(argument: &str, value: &str) -> bool {
    if argument == value {
        return true;
    }
    if value.is_empty() || has_date(argument) {
        return false;
    }
    let is_word = |at: usize| {
        let separates = |character: Option<char>| {
            character.is_none_or(|character| !character.is_alphanumeric())
        };
        let before = argument.get(..at).and_then(|text| text.chars().next_back());
        let after = argument.get(at + value.len()..);
        separates(before) && separates(after.and_then(|text| text.chars().next()))
    };
    argument.match_indices(value).any(|(at, _)| is_word(at))
}

/// Whether a text holds something like `2026-11-30`.
fn has_date(text: &str) -> bool {
    text.as_bytes().windows(10).any(|bytes| {
        bytes.iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &str) -> Context {
        Context::Folder {
            path: path.into(),
            dockerfile: Path::new(path).join("Dockerfile"),
        }
    }

    fn commit(folder: &str) -> Context {
        Context::ThisCommit {
            url: format!("https://github.com/octo/app.git#0123abc{folder}"),
        }
    }

    fn remote(url: &str) -> Context {
        Context::Remote {
            url: url.to_owned(),
        }
    }

    #[test]
    fn the_usual_dockerfile_and_context_have_no_part() {
        let cases = [
            (None, folder(".")),
            (None, folder("./")),
            (None, folder("/github/workspace")),
            (None, commit("")),
            (Some("Dockerfile"), folder(".")),
            (Some("./Dockerfile"), commit("")),
            (Some("/github/workspace/Dockerfile"), folder(".")),
        ];
        for (given, place) in cases {
            assert_eq!(file(given, &place), None, "{given:?} {place:?}");
            assert_eq!(context(&place), None, "{place:?}");
        }
        let of_a_folder = file(Some("app/Dockerfile"), &folder("./app/"));
        assert_eq!(of_a_folder, None);
    }

    /// However a path is written, it is one name; no name has a user, a password or a Git ref.
    #[test]
    fn one_place_has_one_part() {
        let files = [
            (Some("docker/api.Dockerfile"), folder(".")),
            (Some("./docker//api.Dockerfile"), folder(".")),
            (
                Some("/github/workspace/docker/api.Dockerfile"),
                folder("app"),
            ),
            (Some("docker/api.Dockerfile"), commit("")),
        ];
        for (given, place) in files {
            let part = file(given, &place).unwrap();
            assert_eq!(part.whole, "file=docker/api.Dockerfile", "{given:?}");
        }
        let folders = [folder("app"), folder("./app/"), commit(":app")];
        for place in folders {
            assert_eq!(context(&place).unwrap().whole, "context=app", "{place:?}");
        }
        let addresses = [
            "https://user:hush@example.com/a/b.git#0123abc:app",
            "https://example.com/a/b.git?token=hush#main:app",
            "git://hush@example.com/a/b.git#v1:app",
        ];
        for url in addresses {
            let part = context(&remote(url)).unwrap();
            assert_eq!(part.whole, "context=example.com/a/b.git:app", "{url}");
            assert_eq!(part.shown, "context");
        }
        for (url, expected) in [
            ("git@github.com:a/b.git#main", "github.com:a/b.git"),
            ("https://hush@example.com", "example.com"),
            ("docker-image://alpine@sha256:ab", "alpine@sha256:ab"),
            ("https://example.com/a@b/c", "example.com/a@b/c"),
            ("https://u:p@ss@example.com/a", "example.com/a"),
        ] {
            assert_eq!(without_secrets(url), expected);
        }
    }

    #[test]
    fn an_argument_holds_a_value_between_separators() {
        let cases = [
            ("3.12", "3.12", true),
            ("node:20-slim", "20", true),
            ("python:3.12", "3.1", false),
            ("a20b", "20", false),
            ("0120abc", "20", false),
            ("x", "", false),
            ("2026-11-20T10:20:30Z", "20", false),
            ("2026-11-20", "2026-11-20", true),
            ("größe", "gr", false),
        ];
        for (argument, value, expected) in cases {
            assert_eq!(holds(argument, value), expected, "{argument} {value}");
        }
    }
}
