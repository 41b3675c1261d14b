//! The environment's HTTP proxy, handed on to a builder in a container of its own.
//!
//! In: a plan and the environment. Out: the plan with driver options `env.HTTPS_PROXY=…`. Our own clients and buildx
//! read the variables themselves; the Engine's BuildKit has the settings of the Engine
//! (<https://docs.docker.com/engine/daemon/proxy/>), and RUN steps those of the build
//! (<https://docs.docker.com/build/building/variables/#proxy-arguments>): both are not ours to set.
//! Pods of a cluster are in another network than this machine: what they need stands in `driver-opts`.

use crate::env::Env;
use crate::plan::{Driver, Plan};

/// Each is known in capitals and in small letters.
const VARIABLES: &[(&str, &str)] = &[
    ("HTTP_PROXY", "http_proxy"),
    ("HTTPS_PROXY", "https_proxy"),
    ("NO_PROXY", "no_proxy"),
];

/// Adds the options that the user has not given.
pub(crate) fn hand_on(plan: &mut Plan, env: &Env) {
    if plan.builder.driver != Driver::DockerContainer {
        return;
    }
    let (options, withheld) = options(&plan.builder.options, env);
    plan.builder.options.extend(options);
    plan.warnings.extend(withheld.into_iter().map(|name| {
        format!("the builder gets no `{name}`: it holds a password, which must not stand on a command line")
    }));
}

/// The options to add, and the names of variables that hold passwords.
fn options(given: &[(String, String)], env: &Env) -> (Vec<(String, String)>, Vec<&'static str>) {
    let (mut options, mut withheld) = (Vec::new(), Vec::new());
    for (name, small) in VARIABLES {
        let is_given = |(option, _): &(String, String)| {
            option
                .strip_prefix("env.")
                .is_some_and(|option| option.eq_ignore_ascii_case(name))
        };
        match env.get(name).or_else(|| env.get(small)) {
            _ if given.iter().any(is_given) => {}
            Some(value) if value.contains('@') => withheld.push(*name),
            Some(value) => options.push((format!("env.{name}"), value.to_owned())),
            None => {}
        }
    }
    (options, withheld)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_gets_the_proxy_unless_it_was_given_one_or_it_is_secret() {
        let env = Env::from([
            ("https_proxy", "http://proxy.example.com:3128"),
            ("HTTP_PROXY", "http://user:hush@proxy.example.com:3128"),
            ("NO_PROXY", "10.0.0.0/8"),
        ]);
        let given = [("env.no_proxy".to_owned(), "example.com".to_owned())];
        let (added, withheld) = options(&given, &env);
        let expected = (
            "env.HTTPS_PROXY".to_owned(),
            "http://proxy.example.com:3128".to_owned(),
        );
        assert_eq!((added, withheld), (vec![expected], vec!["HTTP_PROXY"]));
        assert_eq!(options(&given, &Env::default()), (vec![], vec![]));
    }
}
