//! The environment's HTTP proxy: handed on to a builder in a container of its own, and what it is not for.
//!
//! In: a plan and the environment. Out: the plan with driver options `env.HTTPS_PROXY=…`. Our own clients and buildx
//! read the variables themselves; the Engine's BuildKit has the settings of the Engine
//! (<https://docs.docker.com/engine/daemon/proxy/>), and RUN steps those of the build
//! (<https://docs.docker.com/build/building/variables/#proxy-arguments>): both are not ours to set.
//! Pods of a cluster are in another network than this machine: what they need stands in `driver-opts`.
//!
//! What `NO_PROXY` means differs between us and buildx: [`rules`] says Go's in our clients' words ([`crate::network::no_proxy`]).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use crate::network::no_proxy::in_hypers_words;
use crate::plan::{Driver, Plan};
use crate::runner::env::{Env, GIVEN_NO_PROXY};

/// Each is known in capitals and in small letters.
const PROXIES: [(&str, &str); 2] = [("HTTP_PROXY", "http_proxy"), ("HTTPS_PROXY", "https_proxy")];
const NO_PROXY: (&str, &str) = ("NO_PROXY", "no_proxy");
/// Known to hyper, not to Go.
const ALL: (&str, &str) = ("ALL_PROXY", "all_proxy");

fn get<'a>(env: &'a Env, (name, small): (&str, &str)) -> Option<&'a str> {
    env.get(name).or_else(|| env.get(small))
}

/// Adds the options that the user has not given. What holds a password is none of them ([`secret_options`]).
pub(crate) fn hand_on(plan: &mut Plan, env: &Env) {
    let options = options(plan, env).into_iter();
    let plain = options.filter(|(_, value)| userinfo(value).is_none());
    let plain: Vec<_> = plain.collect();
    plan.builder.options.extend(plain);
}

/// The options that must not stand on a command line.
pub(crate) fn secret_options(plan: &Plan, env: &Env) -> Vec<(String, SecretString)> {
    let options = options(plan, env).into_iter();
    let secret = options.filter(|(_, value)| userinfo(value).is_some());
    secret.map(|(name, value)| (name, value.into())).collect()
}

/// The variables as options of the builder, but for those that it has.
fn options(plan: &Plan, env: &Env) -> Vec<(String, String)> {
    let builder = &plan.builder;
    if builder.driver != Driver::DockerContainer {
        return Vec::new();
    }
    let is_given = |name: &str| {
        let mut options = builder.options.iter();
        options.any(|(option, _)| {
            let variable = option.strip_prefix("env.");
            variable.is_some_and(|variable| variable.eq_ignore_ascii_case(name))
        })
    };
    let given_rules = env.get(GIVEN_NO_PROXY).map(str::to_owned);
    let values = PROXIES
        .map(|names| (names.0, get(env, names).map(str::to_owned)))
        .into_iter()
        // Ours, if they are written anew, are not for Go.
        .chain([(
            NO_PROXY.0,
            if env.has(GIVEN_NO_PROXY) {
                given_rules
            } else {
                get(env, NO_PROXY).map(str::to_owned)
            },
        )]);
    values
        .filter(|(name, _)| !is_given(name))
        .filter_map(|(name, value)| Some((format!("env.{name}"), value?)))
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
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::Inputs;
    use crate::inputs::driver_options::DriverOption;
    use crate::network::no_proxy::THIS_MACHINE;
    use crate::plan::Place;

    fn plan(given: &[(&str, &str)], env: &Env) -> Plan {
        let given = given.iter().map(|(name, value)| DriverOption {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        });
        let inputs = Inputs {
            push: Some(false),
            driver_opts: given.collect(),
            ..Inputs::default()
        };
        let facts = Facts::example(ImageStore::Classic);
        let mut plan = Plan::new(&inputs, None, &facts, &Place::at("/run".as_ref())).unwrap();
        hand_on(&mut plan, env);
        plan
    }

    #[test]
    fn a_builder_gets_the_proxy_unless_it_was_given_one_and_passwords_apart() {
        let env = Env::from([
            ("https_proxy", "http://proxy.example.com:3128"),
            ("HTTP_PROXY", "http://user:hush@proxy.example.com:3128"),
            ("NO_PROXY", "10.0.0.0/8"),
        ]);
        let plan = plan(&[("env.no_proxy", "example.com")], &env);
        let names: Vec<&str> = plan
            .builder
            .options
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["env.no_proxy", "env.HTTPS_PROXY"]);
        let secret = secret_options(&plan, &env);
        assert_eq!(secret[0].0, "env.HTTP_PROXY");
        assert_eq!(
            secret[0].1.expose_secret(),
            "http://user:hush@proxy.example.com:3128"
        );
        assert_eq!(secret.len(), 1);
        assert!(secret_options(&plan, &Env::default()).is_empty());
    }

    #[test]
    fn a_builder_gets_what_the_user_said_and_not_our_words_for_it() {
        let env = Env::from([
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("NO_PROXY", "ours"),
            (GIVEN_NO_PROXY, "*.given"),
        ]);
        let options = plan(&[], &env).builder.options;
        assert_eq!(
            options[1],
            ("env.NO_PROXY".to_owned(), "*.given".to_owned())
        );
        let env = env.with([(GIVEN_NO_PROXY.to_owned(), String::new())]);
        assert_eq!(plan(&[], &env).builder.options.len(), 1);
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
