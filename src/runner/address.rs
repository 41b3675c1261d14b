//! Addresses in texts, without what gives rights to whoever has them.
//!
//! The query of an upload's location (`_state` of the distribution registry), of a presigned request (`X-Amz-Signature`, `sig`) or of a login
//! (`token`) is as good as a login, and errors of BuildKit and of HTTP clients quote it. In: any text. Out: the text with `***` for each value of a query
//! that may be such a capability: all that are as long as one, but for the few that registries are asked with, and shorter ones by their name.

use std::borrow::Cow;

/// What is shown instead of a secret.
pub(super) const MASK: &str = "***";

/// Shorter values (bytes) say which page or version it is: nobody could rely on such a capability.
const SHORTEST: usize = 16;

/// Names whose values nobody needs to hide: of the registry's API (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints>),
/// of its tokens (<https://distribution.github.io/distribution/spec/auth/token/>), of Git contexts
/// (<https://docs.docker.com/build/concepts/context/#url-queries>) and of GitHub's API.
const HARMLESS: [&str; 17] = [
    "digest",
    "mount",
    "from",
    "ns",
    "artifacttype",
    "last",
    "n",
    "scope",
    "service",
    "account",
    "ref",
    "branch",
    "tag",
    "commit",
    "checksum",
    "subdir",
    "status",
];

/// Parts of names whose values are hidden however short they are.
const TELLING: [&str; 9] = [
    "auth",
    "credential",
    "key",
    "password",
    "secret",
    "sig",
    "state",
    "token",
    "x-amz-",
];

/// The text without them.
pub(crate) fn without_capabilities(text: &str) -> Cow<'_, str> {
    if !text.contains('?') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive(ends_address) {
        let Some((before, query)) = part.split_once('?') else {
            shown.push_str(part);
            continue;
        };
        shown.push_str(before);
        shown.push('?');
        let is_address = before.contains("://");
        // JSON has `&` as `\u0026`.
        let parameters = query.split_inclusive(['&', '?', ';', '#', '\\']);
        for (at, parameter) in parameters.enumerate() {
            let (start, rest) = match parameter.find('=') {
                Some(end) => parameter.split_at(end + 1),
                None if is_address && at == 0 => ("", parameter),
                None => (parameter, ""),
            };
            let value =
                rest.trim_end_matches(|last| ends_address(last) || "&?;#\\:,.)]}".contains(last));
            let after = rest.strip_prefix(value).unwrap_or_default();
            let name = start.trim_end_matches('=');
            let is_hidden = is_capability(name, value);
            for piece in [start, if is_hidden { MASK } else { value }, after] {
                shown.push_str(piece);
            }
        }
    }
    Cow::Owned(shown)
}

fn is_capability(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if HARMLESS.contains(&name.as_str()) || value.is_empty() {
        return false;
    }
    value.len() >= SHORTEST || TELLING.iter().any(|part| name.contains(part))
}

fn ends_address(character: char) -> bool {
    character.is_whitespace() || character.is_control() || "\"'`<>|".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn capabilities_are_hidden_and_the_rest_of_an_address_is_not() {
        let state = "REJDEy5qmsu1aY2eyJOYW1lIjoiYXBwIn0%3D";
        let cases = [
            (
                format!("failed to do request: Put \"https://r.example:5000/v2/app/blobs/uploads/7?_state={state}&digest=sha256%3A{}\": EOF", "a".repeat(64)),
                format!("failed to do request: Put \"https://r.example:5000/v2/app/blobs/uploads/7?_state=***&digest=sha256%3A{}\": EOF", "a".repeat(64)),
            ),
            (
                format!("unexpected status from PUT request to https://r.example/v2/app/blobs/uploads/7?digest=sha256:12&_state={state}: 500 Internal"),
                "unexpected status from PUT request to https://r.example/v2/app/blobs/uploads/7?digest=sha256:12&_state=***: 500 Internal".to_owned(),
            ),
            (
                "Get https://b.s3.amazonaws.com/x?X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&x-amz-signature=ab, then".to_owned(),
                "Get https://b.s3.amazonaws.com/x?X-Amz-Date=***&X-Amz-Expires=***&x-amz-signature=***, then".to_owned(),
            ),
            (
                r#"{"url":"https://a.example/x?se=2026\u0026sig=Zm9v"} (/v2/x?token=abc)"#.to_owned(),
                r#"{"url":"https://a.example/x?se=2026\u0026sig=***"} (/v2/x?token=***)"#.to_owned(),
            ),
            (
                "<https://a.example/x?a=1&amp;code=0123456789abcdef0>".to_owned(),
                "<https://a.example/x?a=1&amp;code=***>".to_owned(),
            ),
            (
                "https://h.example/?0123456789abcdef0123 https://h.example/?a#b=0123456789abcdef".to_owned(),
                "https://h.example/?*** https://h.example/?a#b=***".to_owned(),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(without_capabilities(&text), expected);
        }
        for text in [
            "https://auth.example/token?scope=repository%3Aa-long-name%2Fapp%3Apull%2Cpush&service=registry.example.com",
            "POST https://r.example/v2/app/blobs/uploads/?mount=sha256:0123456789abcdef&from=library/a-very-long-name",
            "https://github.com/o/r.git?ref=refs/heads/a-long-branch-name&subdir=services/a-long-name#frag",
            "https://api.github.com/repos/o/r/actions/runs?branch=a-long-branch-name&per_page=100&page=1",
            "is it? yes; what?a-question-without-an-answer https://r.example/x?v=1.2.3&y",
            "a?b=c",
            "?",
            "?=&=",
            "",
        ] {
            assert_eq!(without_capabilities(text), text);
        }
    }

    proptest! {
        #[test]
        fn no_long_value_is_left_and_nothing_else_changes(
            before in "[a-z:/ ?]{0,20}",
            pairs in prop::collection::vec(("[a-z_]{0,8}", "[A-Za-z0-9%+/_-]{16,40}"), 1..5),
            after in "[ \"'>]\\PC{0,20}",
        ) {
            let pairs: Vec<_> = pairs.into_iter().filter(|(name, _)| !HARMLESS.contains(&name.as_str())).collect();
            let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let text = format!("{before}?{}{after}", query.join("&"));
            let shown = without_capabilities(&text);
            for (_, value) in &pairs {
                prop_assert!(!shown.contains(value), "{shown}");
            }
        }

        #[test]
        fn a_text_that_was_shown_once_stays_as_it_is(text in "([a-z]{0,20}|[?&=#;\" ]|://){0,30}") {
            let shown = without_capabilities(&text).into_owned();
            prop_assert_eq!(without_capabilities(&shown), shown.as_str());
        }
    }
}
