//! How a registry is told who pushes: Basic, or a token of its token service.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>. Amazon ECR asks for Basic
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>), ECR Public and most others for tokens.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use crate::challenge::{Challenge, TokenService};
use crate::error::Cause;

/// What a registry may be told. Printing shows no password.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    #[default]
    Anonymous,
    /// User and password; of Amazon ECR `AWS` and the authorization token's second half.
    Basic {
        user: String,
        password: SecretString,
    },
}

impl Credentials {
    /// `Basic …`, never shown.
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        let Self::Basic { user, password } = self else {
            return None;
        };
        let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        sensitive(&format!("Basic {pair}"))
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Life of a token that does not say it: 60 s in the specification.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// A token is renewed so long before its end.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);

/// Of credentials.
pub(crate) const REFUSED: &str = "it refuses those that were given";

/// What is known of how a registry wants to be told.
#[derive(Debug)]
pub(crate) struct Known {
    scheme: Option<Challenge>,
    /// By scope.
    tokens: HashMap<String, Token>,
}

#[derive(Debug, Clone)]
struct Token {
    header: HeaderValue,
    until: Instant,
}

/// What to do before a request.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send it so.
    Send(Option<HeaderValue>),
    /// Ask for a token first.
    Fetch(TokenService),
}

impl Known {
    /// Nothing, but of Amazon ECR, which saves a request.
    pub(crate) fn new(is_ecr: bool) -> Self {
        Self {
            scheme: is_ecr.then_some(Challenge::Basic),
            tokens: HashMap::new(),
        }
    }

    /// `refused` is what the registry has just answered 401 to.
    pub(crate) fn step(
        &self,
        credentials: &Credentials,
        scope: &str,
        refused: Option<&HeaderValue>,
    ) -> Step {
        match &self.scheme {
            None => Step::Send(None),
            Some(Challenge::Basic) => Step::Send(credentials.basic()),
            Some(Challenge::Bearer(service)) => match self.tokens.get(scope) {
                Some(token) if token.until > Instant::now() && Some(&token.header) != refused => {
                    Step::Send(Some(token.header.clone()))
                }
                _ => Step::Fetch(service.clone()),
            },
        }
    }

    /// Takes up the challenge of a 401.
    ///
    /// # Errors
    /// When nothing that we could say would be another.
    pub(crate) fn challenged(
        &mut self,
        headers: &HeaderMap,
        credentials: &Credentials,
        refused: Option<&HeaderValue>,
    ) -> Result<(), Cause> {
        let unauthorized = |text: &str| Err(Cause::Unauthorized(text.to_owned()));
        match Challenge::of(headers) {
            None => unauthorized("it does not say in which way, expected `Basic` or `Bearer`"),
            Some(Challenge::Basic) => {
                let basic = credentials.basic();
                if basic.is_none() {
                    return unauthorized("none were given");
                }
                if basic.as_ref() == refused {
                    return unauthorized(REFUSED);
                }
                self.scheme = Some(Challenge::Basic);
                Ok(())
            }
            Some(bearer) => {
                self.scheme = Some(bearer);
                Ok(())
            }
        }
    }

    /// A token, even one near its end.
    pub(crate) fn token(&self, scope: &str) -> Option<HeaderValue> {
        self.tokens.get(scope).map(|token| token.header.clone())
    }

    /// Takes up a token service's answer.
    pub(crate) fn keep(&mut self, scope: &str, answer: &[u8]) -> Result<(), Cause> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let malformed = || Cause::Malformed("no `token` in it".to_owned());
        let answer: Answer = serde_json::from_slice(answer).map_err(|_| malformed())?;
        let token = answer.token.filter(|token| !token.is_empty());
        let token = token.or(answer.access_token).ok_or_else(malformed)?;
        let header = sensitive(&format!("Bearer {token}")).ok_or_else(malformed)?;
        let life = answer.expires_in.map_or(TOKEN_LIFE, Duration::from_secs);
        // No sum of seconds from outside may overflow.
        let life = life.min(Duration::from_secs(86400));
        let until = Instant::now() + life.saturating_sub(TOKEN_MARGIN);
        self.tokens
            .insert(scope.to_owned(), Token { header, until });
        Ok(())
    }
}

/// The address to ask for a token for these scopes, space-separated.
pub(crate) fn token_address(service: &TokenService, scopes: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(name) = &service.service {
        query.append_pair("service", name);
    }
    for scope in scopes.split(' ') {
        query.append_pair("scope", scope);
    }
    // Of ECR Public `aws`. The challenge of a request names that request's own, which is less than ours.
    if let Some(scope) = &service.scope
        && !scope.is_empty()
        && !scope.starts_with("repository:")
    {
        query.append_pair("scope", scope);
    }
    let mark = if service.realm.contains('?') {
        '&'
    } else {
        '?'
    };
    format!("{}{mark}{}", service.realm, query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(realm: &str, scope: Option<&str>) -> TokenService {
        TokenService {
            realm: realm.to_owned(),
            service: Some("the registry".to_owned()),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn asks_for_our_scopes_and_for_that_of_a_registry_as_a_whole() {
        for (scope, realm, expected) in [
            (
                Some("aws"),
                "https://public.ecr.aws/token/",
                "https://public.ecr.aws/token/?service=the+registry&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=aws",
            ),
            (
                Some("repository:a/b:pull"),
                "https://auth/?account=1",
                "https://auth/?account=1&service=the+registry&scope=repository%3Aa%2Fb%3Apull%2Cpush",
            ),
        ] {
            let service = service(realm, scope);
            assert_eq!(
                token_address(&service, "repository:a/b:pull,push"),
                expected
            );
        }
    }

    #[test]
    fn passwords_and_tokens_are_not_shown() {
        let credentials = Credentials::Basic {
            user: "AWS".to_owned(),
            password: "hush".into(),
        };
        let mut known = Known::new(false);
        known.keep("s", br#"{"access_token":"hush"}"#).unwrap();
        let shown = format!("{credentials:?} {:?} {known:?}", credentials.basic());
        assert!(
            !shown.contains("hush") && !shown.contains("aHVz"),
            "{shown}"
        );
        assert_eq!(credentials.basic().unwrap(), "Basic QVdTOmh1c2g=");
    }

    #[test]
    fn reads_tokens_of_every_form_and_no_others() {
        for (answer, is_good) in [
            (r#"{"token":"a"}"#, true),
            (r#"{"token":"a","expires_in":18446744073709551615}"#, true),
            (r#"{"token":"","access_token":"a","expires_in":300}"#, true),
            (r#"{"token":"a\nb"}"#, false),
            (r#"{"token":""}"#, false),
            (r#"{}"#, false),
            ("<html>", false),
        ] {
            let result = Known::new(false).keep("s", answer.as_bytes());
            assert_eq!(result.is_ok(), is_good, "{answer}");
        }
    }
}
