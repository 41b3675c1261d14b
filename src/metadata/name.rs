//! Turns any text into a valid tag: characters that a tag cannot hold become `-`.
//!
//! <https://github.com/docker/metadata-action#image-name-and-tag-sanitization>. The grammar is [`image::is_tag`]'s;
//! docker/metadata-action leaves that check to the registry.

/// The longest tag (characters).
const MAX_LENGTH: usize = 128;

/// A change to a tag beyond replaced characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` {fault}, the tag is `{tag}`")]
pub(crate) struct Repair {
    given: String,
    fault: &'static str,
    tag: String,
}

/// The tag that a text gives; `None` when no character of it may start a tag.
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
    let mut tag = sanitized.trim_start_matches(['.', '-']).to_owned();
    if tag.is_empty() {
        return None;
    }
    let fault = if tag.len() > MAX_LENGTH {
        // Two long names must not give the same tag.
        let hash = format!("-{:016x}", fnv1a(&sanitized));
        tag.truncate(MAX_LENGTH - hash.len());
        tag.push_str(&hash);
        Some("is longer than 128 characters")
    } else {
        (tag.len() < sanitized.len()).then_some("begins with `.` or `-`")
    };
    let repair = fault.map(|fault| Repair {
        given: text.to_owned(),
        fault,
        tag: tag.clone(),
    });
    Some((tag, repair))
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
        assert_eq!(one.len(), MAX_LENGTH);
        assert!(repair.unwrap().to_string().contains("longer than 128"));
        assert_eq!(
            valid(&"x".repeat(MAX_LENGTH)),
            Some(("x".repeat(MAX_LENGTH), None))
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
