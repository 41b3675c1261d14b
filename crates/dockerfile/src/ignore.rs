//! `.dockerignore`: which files of a context are not part of it.
//!
//! Follows <https://github.com/moby/patternmatcher>. Crates for `.gitignore` read other rules: there, a name without a slash
//! matches in every folder, and a file of an ignored folder cannot be taken back.

use crate::pattern::Pattern;
use crate::unsupported::{Reason, Unsupported};

/// BuildKit reads no longer lines.
const LONGEST: usize = 65_535;

/// The patterns of an ignore file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// `!`: takes files back.
    exception: bool,
    pattern: Pattern,
}

/// The names under which an ignore file is looked for, the first that is there counts: beside the Dockerfile, then at the
/// top of the context.
#[must_use]
pub fn ignore_file_beside(dockerfile: &str) -> String {
    format!("{dockerfile}.dockerignore")
}

/// The ignore file at the top of the context.
pub const IGNORE_FILE: &str = ".dockerignore";

impl Ignore {
    /// The ignore file that counts, of those that are there.
    ///
    /// An empty file beside the Dockerfile hides the context's from some versions of BuildKit only.
    pub fn choose(beside: Option<&[u8]>, context: Option<&[u8]>) -> Result<Self, Unsupported> {
        match (beside, context) {
            (Some([]), Some([_, ..])) => {
                Err(Reason::Ambiguous("the ignore file beside the Dockerfile is empty").whole())
            }
            (Some(file), _) | (None, Some(file)) => Self::read(file),
            (None, None) => Ok(Self::default()),
        }
    }

    /// Reads an ignore file. Errors have its lines.
    pub fn read(bytes: &[u8]) -> Result<Self, Unsupported> {
        let text = std::str::from_utf8(bytes).map_err(|_| Reason::NotUtf8.whole())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let at = |reason: Reason| reason.at(index + 1);
            if line.len() > LONGEST {
                return Err(at(Reason::Limit("the line is longer than 65,535 bytes")));
            }
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (exception, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, line),
            };
            if pattern.is_empty() {
                return Err(at(Reason::syntax("`!` alone takes nothing back")));
            }
            let cleaned = clean(pattern);
            if exception && cleaned == "/" {
                return Err(at(Reason::syntax("`!/` takes nothing back")));
            }
            let cleaned = match cleaned.strip_prefix('/') {
                Some(relative) if !relative.is_empty() => relative.to_owned(),
                _ => cleaned,
            };
            // BuildKit cleans again, with the `!`, and would take a second `!` for its own.
            let marked = format!("!{cleaned}");
            if cleaned.starts_with('!')
                || cleaned.trim() != cleaned
                || (exception && clean(&marked) != marked)
            {
                return Err(at(Reason::Ambiguous(
                    "a pattern begins with `!` or `!..`, or ends with a space",
                )));
            }
            rules.push(Rule {
                exception,
                pattern: Pattern::read(&cleaned).map_err(at)?,
            });
        }
        Ok(Self { rules })
    }

    /// Whether a file or folder is left out, by its path in the context: parted by `/`, without `./`.
    ///
    /// A folder that is left out may hold files that are not; it is part of the context where one is.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            if rule.exception == excluded && parents(path).any(|path| rule.pattern.matches(path)) {
                excluded = !rule.exception;
            }
        }
        excluded
    }

    /// Whether anything below a folder that is left out may still be part of the context.
    #[must_use]
    pub fn may_take_back(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }
}

/// A path and the folders that it is in.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    let folders = path
        .match_indices('/')
        .filter_map(|(index, _)| path.get(..index));
    std::iter::once(path).chain(folders)
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_beside_the_dockerfile_goes_before_the_contexts() {
        let excludes = |beside: Option<&str>, context: Option<&str>| {
            let ignore = Ignore::choose(beside.map(str::as_bytes), context.map(str::as_bytes))?;
            Ok::<_, Unsupported>((ignore.excludes("a"), ignore.excludes("b")))
        };
        assert_eq!(
            ignore_file_beside("build/app.Dockerfile"),
            "build/app.Dockerfile.dockerignore"
        );
        assert_eq!(excludes(Some("a"), Some("b")), Ok((true, false)));
        assert_eq!(excludes(None, Some("b")), Ok((false, true)));
        assert_eq!(excludes(None, None), Ok((false, false)));
        assert_eq!(excludes(Some(""), Some("")), Ok((false, false)));
        assert!(matches!(
            excludes(Some(""), Some("b")),
            Err(Unsupported {
                line: None,
                reason: Reason::Ambiguous(_)
            })
        ));
    }

    #[test]
    fn a_file_may_be_taken_back_from_a_folder() {
        let ignore = Ignore::read(b"# comment\n*\n!src\nsrc/**/*.tmp\n!src/keep.tmp\n").unwrap();
        for (path, excluded) in [
            ("a", true),
            ("a/b", true),
            ("src", false),
            ("src/a", false),
            ("src/a/b.tmp", true),
            ("src/b.tmp", true),
            ("src/keep.tmp", false),
            ("src/keep.tmp/x", false),
        ] {
            assert_eq!(ignore.excludes(path), excluded, "{path}");
        }
        assert!(ignore.may_take_back());
    }

    #[test]
    fn errors_have_their_lines() {
        for (text, line) in [("a\n!\n", 2), ("\n\n[a", 3), ("a\n\n\n!/\n", 4)] {
            assert_eq!(
                Ignore::read(text.as_bytes()).unwrap_err().line,
                Some(line),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_its_length_and_the_paths() {
        let pattern = "**/a*".repeat(2_000);
        let ignore = Ignore::read(pattern.as_bytes()).unwrap();
        assert!(!ignore.excludes(&"a".repeat(500)));
    }
}
