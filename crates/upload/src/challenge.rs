//! What a registry asks for with a 401: the `WWW-Authenticate` header.
//!
//! Grammar: <https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1>. Registries ask for `Basic`, or for a `Bearer`
//! token of a token service: <https://distribution.github.io/distribution/spec/auth/token/>.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One challenge that we can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer(TokenService),
}

/// Where tokens are to be had, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenService {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
}

impl Challenge {
    /// The first challenge of these headers that we can answer, a token before a password.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        let texts = values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
        let mut basic = false;
        for (scheme, parameters) in texts.flat_map(parse) {
            let find = |wanted: &str| {
                let mut parameters = parameters.iter();
                let found = parameters.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = find("realm")
            {
                return Some(Self::Bearer(TokenService {
                    realm,
                    service: find("service"),
                    scope: find("scope"),
                }));
            }
            basic |= scheme.eq_ignore_ascii_case("basic");
        }
        basic.then_some(Self::Basic)
    }
}

/// Schemes with their parameters, as far as the text keeps to the grammar.
fn parse(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut challenges: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = Rest(text);
    loop {
        rest.skip(|c| c == ',' || c.is_ascii_whitespace());
        let word = rest.token();
        if word.is_empty() {
            return challenges;
        }
        let spaces = rest.skip(|c| c.is_ascii_whitespace());
        if rest.take('=') {
            rest.skip(|c| c.is_ascii_whitespace());
            let value = rest.value();
            match (challenges.last_mut(), value) {
                (Some((_, parameters)), Some(value)) => parameters.push((word.to_owned(), value)),
                _ => return challenges,
            }
        } else if spaces || rest.0.is_empty() || rest.0.starts_with(',') {
            challenges.push((word.to_owned(), Vec::new()));
        } else {
            return challenges;
        }
    }
}

struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, what: impl Fn(char) -> bool) -> bool {
        let after = self.0.trim_start_matches(what);
        let skipped = after.len() < self.0.len();
        self.0 = after;
        skipped
    }

    fn take(&mut self, what: char) -> bool {
        let after = self.0.strip_prefix(what);
        self.0 = after.unwrap_or(self.0);
        after.is_some()
    }

    /// <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2>
    fn token(&mut self) -> &'a str {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        token
    }

    /// A token or a quoted string; `None` where the quotes do not end.
    fn value(&mut self) -> Option<String> {
        if !self.take('"') {
            return Some(self.token().to_owned());
        }
        let mut value = String::new();
        let mut characters = self.0.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(characters.next()?),
                other => value.push(other),
            }
        }
        self.0 = characters.as_str();
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn challenge(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        Challenge::of(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer(TokenService {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }))
    }

    #[test]
    fn reads_what_registries_send() {
        let cases: &[(&str, Option<Challenge>)] = &[
            (
                "Basic realm=\"https://1.dkr.ecr.eu-west-1.amazonaws.com/\",service=\"ecr.amazonaws.com\"",
                Some(Challenge::Basic),
            ),
            (
                "Bearer realm=\"https://public.ecr.aws/token/\",service=\"public.ecr.aws\",scope=\"aws\"",
                bearer(
                    "https://public.ecr.aws/token/",
                    Some("public.ecr.aws"),
                    Some("aws"),
                ),
            ),
            (
                "Bearer realm=\"https://auth.docker.io/token\", service=\"registry.docker.io\", scope=\"repository:a/b:pull,push\", error=\"invalid_token\"",
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull,push"),
                ),
            ),
            (
                "bearer REALM = \"https://a/\\\"b\\\"\" ,, service=plain",
                bearer("https://a/\"b\"", Some("plain"), None),
            ),
            ("Negotiate, Basic realm=\"a\"", Some(Challenge::Basic)),
            (
                "Basic realm=\"a\", Bearer realm=\"https://b/\"",
                bearer("https://b/", None, None),
            ),
            ("Bearer service=\"no realm\"", None),
            ("Bearer realm=\"no end", None),
            ("Negotiate", None),
            ("", None),
            ("=", None),
        ];
        for (text, expected) in cases {
            assert_eq!(challenge(&[text]), *expected, "{text}");
        }
        assert_eq!(
            challenge(&["Basic realm=a", "Bearer realm=\"https://b/\""]),
            bearer("https://b/", None, None)
        );
        assert_eq!(challenge(&[]), None);
    }

    proptest! {
        #[test]
        fn any_quoted_value_comes_back(realm in "[ -~]{0,40}", service in "[ -~]{0,40}") {
            let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!(
                "Bearer realm=\"{}\",service=\"{}\"", quoted(&realm), quoted(&service)
            );
            prop_assert_eq!(challenge(&[&text]), bearer(&realm, Some(&service), None));
        }

        #[test]
        fn any_text_is_read_to_its_end(text in "\\PC{0,200}") {
            parse(&text);
        }
    }
}
