//! The HTTP proxy of the environment.
//!
//! In: the environment. Out: variables for builders ([`variables`]), secrets to mask, and `NO_PROXY` for our own clients. Our clients and
//! buildx read the variables themselves. They read `NO_PROXY` differently: [`rules`] translates it
//! ([`crate::network::no_proxy`]).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use crate::network::no_proxy::in_hypers_words;
use crate::runner::env::{Env, GIVEN_NO_PROXY};

/// Each is known in capitals and in small letters.
const PROXIES: [(&str, &str); 2] = [("HTTP_PROXY", "http_proxy"), ("HTTPS_PROXY", "https_proxy")];
const NO_PROXY: (&str, &str) = ("NO_PROXY", "no_proxy");
/// Known to hyper, not to Go.
const ALL: (&str, &str) = ("ALL_PROXY", "all_proxy");

fn get<'a>(env: &'a Env, (name, small): (&str, &str)) -> Option<&'a str> {
    env.get(name).or_else(|| env.get(small))
}

/// A variable of the proxy, as Go programs read it.
#[derive(Clone)]
pub(crate) struct Variable {
    pub name: &'static str,
    pub value: String,
    /// Whether the value must not be shown.
    pub has_password: bool,
}

/// Without the value.
impl fmt::Debug for Variable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// The variables that are set. `NO_PROXY` is as the user gave it, not as [`rules`] rewrote it.
pub(crate) fn variables(env: &Env) -> Vec<Variable> {
    let rules = if env.has(GIVEN_NO_PROXY) {
        env.get(GIVEN_NO_PROXY)
    } else {
        get(env, NO_PROXY)
    };
    let proxies = PROXIES.map(|names| (names.0, get(env, names)));
    let values = proxies.into_iter().chain([(NO_PROXY.0, rules)]);
    values
        .filter_map(|(name, value)| {
            let value = value?.to_owned();
            let has_password = userinfo(&value).is_some();
            Some(Variable {
                name,
                value,
                has_password,
            })
        })
        .collect()
}

/// User and password of a proxy's address, as they stand there.
fn userinfo(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    authority
        .rsplit_once('@')
        .map(|(user, _)| user)
        .filter(|user| !user.is_empty())
}

/// What must not be shown of the proxies' addresses: passwords, in each form that they are sent in.
pub(crate) fn secrets(env: &Env) -> Vec<SecretString> {
    let mut secrets: Vec<String> = Vec::new();
    for names in PROXIES.into_iter().chain([ALL]) {
        // Both, in case they differ.
        for user in [names.0, names.1]
            .into_iter()
            .filter_map(|name| userinfo(env.get(name)?))
        {
            let plain = decoded(user);
            // A token may stand alone.
            let hidden = |text: &str| match text.split_once(':') {
                Some((_, password)) => password.to_owned(),
                None => text.to_owned(),
            };
            secrets.extend([hidden(user), hidden(&plain), STANDARD.encode(&plain)]);
        }
    }
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort();
    secrets.dedup();
    secrets.into_iter().map(SecretString::from).collect()
}

/// `%40` is an `@`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let pair = others
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let value = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (first, value) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = others.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `NO_PROXY` for our own clients where there is a proxy, with what the user has given; `None` where it is as it should be.
pub(crate) fn rules(env: &Env) -> Option<(String, String)> {
    let mut proxies = PROXIES.into_iter().chain([ALL]);
    if env.has(GIVEN_NO_PROXY) || !proxies.any(|names| get(env, names).is_some()) {
        return None;
    }
    let given = get(env, NO_PROXY).unwrap_or_default();
    Some((in_hypers_words(given), given.to_owned()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::network::no_proxy::THIS_MACHINE;

    #[test]
    fn variables_are_read_in_both_spellings_and_passwords_are_found() {
        let env = Env::from([
            ("https_proxy", "http://proxy.example.com:3128"),
            ("HTTP_PROXY", "http://user:hush@proxy.example.com:3128"),
            ("NO_PROXY", "10.0.0.0/8"),
        ]);
        let found = variables(&env);
        let found: Vec<_> = found
            .iter()
            .map(|variable| {
                (
                    variable.name,
                    variable.value.as_str(),
                    variable.has_password,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                (
                    "HTTP_PROXY",
                    "http://user:hush@proxy.example.com:3128",
                    true
                ),
                ("HTTPS_PROXY", "http://proxy.example.com:3128", false),
                ("NO_PROXY", "10.0.0.0/8", false),
            ]
        );
        assert!(!format!("{:?}", variables(&env)).contains("hush"));
    }

    #[test]
    fn builders_get_no_proxy_as_the_user_gave_it() {
        let env = Env::from([
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("NO_PROXY", "ours"),
            (GIVEN_NO_PROXY, "*.given"),
        ]);
        assert_eq!(variables(&env)[1].value, "*.given");
        let env = env.with([(GIVEN_NO_PROXY.to_owned(), String::new())]);
        assert_eq!(variables(&env).len(), 1);
    }

    #[test]
    fn passwords_are_hidden_in_each_form_that_they_take() {
        for (address, expected) in [
            ("http://user:hush@proxy:3128", &["dXNlcjpodXNo", "hush"][..]),
            ("user:hush@proxy", &["dXNlcjpodXNo", "hush"]),
            (
                "http://user:h%40sh@proxy/",
                &["dXNlcjpoQHNo", "h%40sh", "h@sh"],
            ),
            ("http://token@proxy:3128", &["dG9rZW4=", "token"]),
            ("http://user:@proxy:3128", &["dXNlcjo="]),
            ("http://proxy:3128/a@b", &[]),
            ("http://@proxy:3128", &[]),
        ] {
            let env = Env::from([("HTTPS_PROXY", address), ("http_proxy", address)]);
            let found = secrets(&env);
            let found: Vec<&str> = found.iter().map(ExposeSecret::expose_secret).collect();
            assert_eq!(found, expected, "{address}");
        }
    }

    #[test]
    fn rules_of_go_are_said_in_hypers_words() {
        for (given, expected) in [
            ("", ""),
            (
                "example.com, .corp ,10.0.0.0/8,192.0.2.1,::1",
                "example.com,.corp,10.0.0.0/8,192.0.2.1,::1,",
            ),
            ("*.example.com", ".example.com,"),
            ("*", "*,0.0.0.0/0,::/0,"),
            (
                "example.com:443,192.0.2.1:8080,[2001:db8::1]:80",
                "example.com,192.0.2.1,2001:db8::1,",
            ),
            (",,", ""),
        ] {
            let env = Env::from([("HTTPS_PROXY", "http://proxy:3128"), ("no_proxy", given)]);
            let (ours, original) = rules(&env).unwrap();
            assert_eq!(ours, format!("{expected}{THIS_MACHINE}"));
            assert_eq!(original, given);
        }
        let none = Env::from([("NO_PROXY", "*.example.com")]);
        assert_eq!(rules(&none), None);
        let done = Env::from([("HTTPS_PROXY", "http://proxy:3128"), (GIVEN_NO_PROXY, "")]);
        assert_eq!(rules(&done), None);
    }
}
