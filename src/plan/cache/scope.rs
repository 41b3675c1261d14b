//! What caches are called: one tag for each line of development.
//!
//! The default branch's cache has the plain name; a branch's has its own behind it, made safe. A tag
//! has at most 128 of letters, digits, `_`, `.` and `-`, a branch nearly anything
//! (<https://git-scm.com/docs/git-check-ref-format>): a name that had to be changed ends with eight
//! digits of its hash, so that no two branches share a cache.

use sha2::{Digest as _, Sha256};

use super::leg::Part;
use crate::runner::origin::{Line, Origin};

/// What the tags of caches begin with. No image has such a tag.
pub(crate) const CACHE_TAGS: &str = "buildcache";

/// Longest tag, in bytes.
const LONGEST: usize = 128;

/// Digits of the hash.
const DIGITS: usize = 8;

/// The tags to import, the nearest first, and the one to export.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scopes {
    pub own: Option<String>,
    pub imports: Vec<String>,
}

impl Scopes {
    /// Imports what earlier versions wrote, whose names had these parts.
    pub(super) fn import_former(
        &mut self,
        prefix: &str,
        origin: Option<&Origin>,
        former_parts: &[Part],
    ) {
        for tag in scopes(prefix, origin, former_parts).imports {
            if !self.imports.contains(&tag) {
                self.imports.push(tag);
            }
        }
    }
}

/// The scope of a leg in GitHub's cache service, which keeps branches apart by itself.
pub(super) fn service_scope(image: Option<&str>, parts: &[Part]) -> String {
    let words = image
        .into_iter()
        .chain(parts.iter().map(|part| part.shown.as_str()));
    let shown = words.collect::<Vec<_>>().join("-");
    // The parts of today that names of today do not show as they are.
    if parts.iter().all(|part| part.shown == part.whole) {
        return shown;
    }
    format!("{shown}-{}", hash(whole(parts, None).as_bytes()))
}

/// The tags of a run's caches. A run that belongs to no line exports none.
pub(super) fn scopes(prefix: &str, origin: Option<&Origin>, parts: &[Part]) -> Scopes {
    let plain = tag(prefix, None, parts);
    let Some(origin) = origin else {
        // Outside of a workflow there are no branches to tell apart.
        return Scopes {
            own: Some(plain.clone()),
            imports: vec![plain],
        };
    };
    let of_branch = |name: &String| {
        let is_default = Some(name) == origin.default_branch.as_ref();
        tag(prefix, (!is_default).then_some(name.as_str()), parts)
    };
    let own = match &origin.line {
        Line::Branch(name) => Some(of_branch(name)),
        // No branch's tag has a dot here.
        Line::Tags => Some(tag(&format!("{prefix}.tags"), None, parts)),
        Line::Queue => Some(tag(&format!("{prefix}.queue"), None, parts)),
        Line::Unknown => None,
    };
    let mut imports: Vec<String> = own.clone().into_iter().collect();
    for tag in origin.base.iter().map(of_branch).chain([plain]) {
        if !imports.contains(&tag) {
            imports.push(tag);
        }
    }
    Scopes { own, imports }
}

pub(super) fn tag(prefix: &str, branch: Option<&str>, parts: &[Part]) -> String {
    if parts.is_empty() {
        return match branch {
            None => prefix.to_owned(),
            Some(branch) => safe(prefix, branch, branch.as_bytes()),
        };
    }
    let words = parts.iter().map(|part| part.shown.as_str());
    let words: Vec<&str> = words.chain(branch).collect();
    format!(
        "{}-{}",
        cut(&format!("{prefix}-{}", plain(&words.join(".")))),
        hash(whole(parts, branch).as_bytes())
    )
}

/// Everything that distinguishes a cache. No branch has a line end.
fn whole(parts: &[Part], branch: Option<&str>) -> String {
    let words = parts.iter().map(|part| part.whole.as_str());
    words.chain(branch).collect::<Vec<_>>().join("\n")
}

/// The prefix and a name behind it, with the hash where the name itself would not do.
fn safe(prefix: &str, name: &str, whole: &[u8]) -> String {
    let tag = format!("{prefix}-{}", plain(name));
    if plain(name) == name && tag.len() <= LONGEST && !looks_hashed(name) {
        return tag;
    }
    format!("{}-{}", cut(&tag), hash(whole))
}

fn plain(name: &str) -> String {
    let kept = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    name.chars()
        .map(|character| if kept(character) { character } else { '-' })
        .collect()
}

/// Leaves room for the hash. The text is ASCII by now.
fn cut(text: &str) -> &str {
    text.get(..LONGEST - DIGITS - 1).unwrap_or(text)
}

/// Whether a name ends as those do that were changed.
fn looks_hashed(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, end)| {
        end.len() == DIGITS && end.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .take(DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::is_tag;
    use proptest::prelude::*;

    const PREFIX: &str = "buildcache";

    fn origin(line: Line, base: Option<&str>) -> Origin {
        Origin {
            line,
            base: base.map(str::to_owned),
            default_branch: Some("main".to_owned()),
            untrusted: None,
        }
    }

    fn branch(name: &str) -> Line {
        Line::Branch(name.to_owned())
    }

    #[test]
    fn a_branch_falls_back_to_its_base_and_the_default_branch() {
        let cases: [(_, _, Option<&str>, &[&str]); 7] = [
            (branch("main"), None, Some("buildcache"), &["buildcache"]),
            (
                branch("fix"),
                None,
                Some("buildcache-fix"),
                &["buildcache-fix", "buildcache"],
            ),
            (
                branch("fix"),
                Some("release-1"),
                Some("buildcache-fix"),
                &["buildcache-fix", "buildcache-release-1", "buildcache"],
            ),
            (
                branch("fix"),
                Some("main"),
                Some("buildcache-fix"),
                &["buildcache-fix", "buildcache"],
            ),
            (
                Line::Tags,
                None,
                Some("buildcache.tags"),
                &["buildcache.tags", "buildcache"],
            ),
            (
                Line::Queue,
                Some("main"),
                Some("buildcache.queue"),
                &["buildcache.queue", "buildcache"],
            ),
            (Line::Unknown, Some("main"), None, &["buildcache"]),
        ];
        for (line, base, own, imports) in cases {
            let found = scopes(PREFIX, Some(&origin(line.clone(), base)), &[]);
            assert_eq!(found.own.as_deref(), own, "{line:?}");
            assert_eq!(found.imports, imports, "{line:?}");
        }
        assert_eq!(scopes(PREFIX, None, &[]).imports, ["buildcache"]);
    }

    #[test]
    fn names_that_no_tag_can_have_get_a_hash() {
        let cases = [
            ("fix", "buildcache-fix"),
            ("v1.2_x", "buildcache-v1.2_x"),
            ("feature/x", "buildcache-feature-x-217d2bf5"),
            ("feature-x", "buildcache-feature-x"),
            // It could be the name of another branch, changed.
            ("feature-x-217d2bf5", "buildcache-feature-x-217d2bf5-"),
            ("größe", "buildcache-gr--e-"),
        ];
        for (name, start) in cases {
            let found = tag(PREFIX, Some(name), &[]);
            assert!(
                found.starts_with(start) && is_tag(&found),
                "{name}: {found}"
            );
        }
        let long = tag(PREFIX, Some(&"x".repeat(300)), &[]);
        assert_eq!(long.len(), LONGEST);
    }

    #[test]
    fn stages_and_platforms_have_caches_of_their_own() {
        let parts = |words: &[&str]| -> Vec<Part> {
            let parts = words.iter().map(|word| Part {
                shown: (*word).to_owned(),
                whole: (*word).to_owned(),
            });
            parts.collect()
        };
        let test = tag(PREFIX, None, &parts(&["test"]));
        assert!(test.starts_with("buildcache-test-"), "{test}");
        let others = [
            tag(PREFIX, Some("test"), &[]),
            tag(PREFIX, Some("fix"), &parts(&["test"])),
            tag(PREFIX, None, &parts(&["test", "linux/arm64"])),
            tag(PREFIX, None, &parts(&["test.linux/arm64"])),
        ];
        for (index, one) in others.iter().enumerate() {
            assert_ne!(one, &test);
            assert!(
                others.iter().skip(index + 1).all(|other| other != one),
                "{one}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_branch_has_a_tag_and_it_alone(one in "\\PC{1,200}", other in "\\PC{1,200}") {
            let (first, second) = (tag(PREFIX, Some(&one), &[]), tag(PREFIX, Some(&other), &[]));
            prop_assert!(is_tag(&first), "{}", first);
            prop_assert_eq!(one == other, first == second);
        }

        #[test]
        fn branches_that_differ_little_differ(name in "[a-z/._-]{1,20}", other in "[a-z/._-]{1,20}") {
            let same = tag(PREFIX, Some(&name), &[]) == tag(PREFIX, Some(&other), &[]);
            prop_assert_eq!(name == other, same);
        }
    }
}
