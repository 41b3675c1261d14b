//! The HTTP proxy of the environment.
//!
//! In: the environment. Out: variables for builders ([`variables`]), secrets to mask, and `NO_PROXY` for our own clients. Our clients and
//! buildx read the variables themselves. They read `NO_PROXY` differently: [`rules`] translates it
//! ([`crate::network::no_proxy`]).

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use crate::network::no_proxy::for_hyper;
use crate::runner::env::{Env, GIVEN_NO_PROXY};

const PROXIES: [&str; 2] = ["HTTP_PROXY", "HTTPS_PROXY"];
const NO_PROXY: &str = "NO_PROXY";
/// hyper reads it, Go does not.
const ALL: &str = "ALL_PROXY";

/// A variable of the proxy, in upper case or else in lower case.
pub(crate) fn get<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    env.get(name)
        .or_else(|| env.get(&name.to_ascii_lowercase()))
}

/// A proxy's address with its scheme.
pub(crate) fn url(address: &str) -> String {
    if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    }
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
    let proxies = PROXIES.map(|name| (name, get(env, name)));
    let values = proxies.into_iter().chain([(NO_PROXY, rules)]);
    values
        .filter_map(|(name, value)| {
            let value = value?.to_owned();
            let has_password = userinfo(&value).next().is_some();
            Some(Variable {
                name,
                value,
                has_password,
            })
        })
        .collect()
}

/// User and password of a proxy's address, encoded: up to the last `@`, as Go reads it, and up to the first, as hyper does.
fn userinfo(address: &str) -> impl Iterator<Item = &str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    [authority.rsplit_once('@'), authority.split_once('@')]
        .into_iter()
        .flatten()
        .map(|(user, _)| user)
        .filter(|user| !user.is_empty())
}

/// The passwords in the proxies' addresses, in each form in which they are sent.
pub(crate) fn secrets(env: &Env) -> Vec<SecretString> {
    let names = PROXIES.into_iter().chain([ALL]);
    // Both, in case they differ.
    let names = names.flat_map(|name| [name.to_owned(), name.to_ascii_lowercase()]);
    let mut secrets: BTreeSet<String> = BTreeSet::new();
    let addresses = names.filter_map(|name| env.get(&name));
    for user in addresses.flat_map(userinfo) {
        let plain = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        // A token has no user, and may have an encoded colon.
        let (password, colon) = match user.split_once(':') {
            Some((_, password)) => (password, ""),
            None => (user, ":"),
        };
        let sent = STANDARD.encode(plain(user) + colon);
        secrets.extend([password.to_owned(), plain(password), sent]);
    }
    secrets.remove("");
    secrets.into_iter().map(SecretString::from).collect()
}

/// `NO_PROXY` for our own clients, and the user's; `None` without a proxy, or if it is translated already.
pub(crate) fn rules(env: &Env) -> Option<(String, String)> {
    let mut proxies = PROXIES.into_iter().chain([ALL]);
    if env.has(GIVEN_NO_PROXY) || !proxies.any(|name| get(env, name).is_some()) {
        return None;
    }
    let given = get(env, NO_PROXY).unwrap_or_default();
    Some((for_hyper(given), given.to_owned()))
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
            ("http://token@proxy:3128", &["dG9rZW46", "token"]),
            (
                "http://to%3Aken@proxy",
                &["dG86a2VuOg==", "to%3Aken", "to:ken"],
            ),
            (
                "http://user:hu@sh@proxy",
                &["dXNlcjpodQ==", "dXNlcjpodUBzaA==", "hu", "hu@sh"],
            ),
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
    fn rules_of_go_are_said_for_hyper() {
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
