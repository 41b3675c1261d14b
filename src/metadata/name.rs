//! Makes a tag of any text: what a tag may not hold becomes `-`.
//!
//! <https://github.com/docker/metadata-action#image-name-and-tag-sanitization>; the grammar is
//! [`image::is_tag`]'s, which docker/metadata-action leaves to the registry.

use std::fmt;

/// The longest tag a registry takes, in characters.
const LONGEST: usize = 128;

/// What had to be done beyond replacing characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repair {
    /// The tag began with `.` or `-`.
    Start { given: String, tag: String },
    /// The tag was too long.
    Length { given: String, tag: String },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { given, tag } => {
                write!(f, "`{given}` begins with `.` or `-`, the tag is `{tag}`")
            }
            Self::Length { given, tag } => write!(
                f,
                "`{given}` is longer than {LONGEST} characters, the tag is `{tag}`"
            ),
        }
    }
}

/// The tag that a text gives, or nothing where no character of it may stand in a tag.
pub(crate) fn valid(text: &str) -> Option<(String, Option<Repair>)> {
    let mut sanitized = String::with_capacity(text.len());
    let mut replacing = false;
    for c in text.chars() {
        let fits = c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if fits {
            sanitized.push(c);
        } else if !replacing {
            sanitized.push('-');
        }
        replacing = !fits;
    }
    let tag = sanitized.trim_start_matches(['.', '-']);
    if tag.is_empty() {
        return None;
    }
    let given = || text.to_owned();
    if tag.len() > LONGEST {
        // Two long names must not become one tag.
        let hash = format!("-{:016x}", fnv1a(&sanitized));
        let mut tag: String = tag.chars().take(LONGEST - hash.len()).collect();
        tag.push_str(&hash);
        let repair = Repair::Length {
            given: given(),
            tag: tag.clone(),
        };
        return Some((tag, Some(repair)));
    }
    let repair = (tag.len() < sanitized.len()).then(|| Repair::Start {
        given: given(),
        tag: tag.to_owned(),
    });
    Some((tag.to_owned(), repair))
}

/// The 64-bit FNV-1a hash: <https://datatracker.ietf.org/doc/html/rfc9923>.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use image::is_tag;

    #[test]
    fn replaces_what_a_tag_may_not_hold() {
        for (text, expected) in [
            ("my/branch", Some("my-branch")),
            ("my/feature#1245", Some("my-feature-1245")),
            ("a b//c", Some("a-b-c")),
            ("a/-/b", Some("a---b")),
            ("v1.2_3-x", Some("v1.2_3-x")),
            ("日本-x", Some("x")),
            (".x", Some("x")),
            ("日本", None),
            ("", None),
        ] {
            let tag = valid(text).map(|(tag, _)| tag);
            assert_eq!(tag.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn keeps_long_names_apart() {
        let long = "x".repeat(200);
        let (one, repair) = valid(&format!("{long}a")).unwrap();
        let (other, _) = valid(&format!("{long}b")).unwrap();
        assert_ne!(one, other);
        assert_eq!(one.len(), LONGEST);
        assert!(repair.unwrap().to_string().contains("longer than 128"));
        assert_eq!(
            valid(&"x".repeat(LONGEST)),
            Some(("x".repeat(LONGEST), None))
        );
        // A published value: https://datatracker.ietf.org/doc/html/rfc9923#appendix-C
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    proptest! {
        #[test]
        fn gives_a_tag_or_nothing(text in "(\\PC|[a-z./-]){0,200}") {
            if let Some((tag, _)) = valid(&text) {
                prop_assert!(is_tag(&tag), "{tag}");
                prop_assert_eq!(valid(&tag), Some((tag, None)));
            }
        }
    }
}
