//! Registries to log in to: those that tags name, and more of Amazon's.
//!
//! In: the inputs `registries` and `registry-auth`, and the region. Out: hosts. Logins to other registries are given as they are.

use image::{EcrRegistry, Registry};

use super::{Diagnostics, ImagePlan, Plan, PushPlan};
use crate::facts::Facts;
use crate::inputs::Inputs;

/// The hosts, each once, in the order of the inputs.
pub(super) fn choose(
    inputs: &Inputs,
    image: &ImagePlan,
    facts: &Facts,
    diagnostics: &mut Diagnostics,
) -> Vec<String> {
    let of_tags = || {
        let pushed = image.push.iter().flat_map(|push| &push.names);
        let mut names = image.tags.iter().chain(pushed);
        names.find_map(|name| match name.registry() {
            Registry::Ecr(registry) => Some(registry.region),
            _ => None,
        })
    };
    let region = inputs
        .aws_region
        .clone()
        .or_else(|| facts.region.clone())
        .or_else(of_tags);
    let mut hosts = Vec::new();
    for given in &inputs.registries {
        if given.contains('.') {
            hosts.push(given.clone());
            continue;
        }
        let known = region.as_deref();
        match known.and_then(|region| EcrRegistry::new(given, region)) {
            Some(registry) => hosts.push(registry.host),
            None => diagnostics.wrong(
                "registries",
                given,
                "`aws-region` or AWS_REGION for an account id, or a host",
            ),
        }
    }
    let by_keys = inputs.registry_auth.iter().filter(|login| login.is_ecr);
    hosts.extend(by_keys.map(|login| login.registry.host().to_owned()));
    let mut once: Vec<String> = Vec::new();
    for host in hosts {
        if !once.contains(&host) {
            once.push(host);
        }
    }
    once
}

impl Plan {
    /// The registries to log in to, each once: those that tags name, then those of the inputs.
    pub(crate) fn logins(&self) -> Vec<Registry> {
        let pushes = self.images.iter().filter_map(|image| image.push.as_ref());
        let more = self
            .more_logins
            .iter()
            .map(|host| Registry::from_host(host));
        let mut registries = Vec::new();
        for registry in pushes.flat_map(PushPlan::registries).chain(more) {
            if !registries.contains(&registry) {
                registries.push(registry);
            }
        }
        registries
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::{Inputs, RawInputs};
    use crate::plan::{Plan, RunDir};

    fn logins(pairs: &[(&'static str, &str)], region: Option<&str>) -> Result<Vec<String>, String> {
        let mut given = RawInputs::default();
        given.set("tags", "r.test/a:1".to_owned());
        for (name, text) in pairs {
            given.set(name, (*text).to_owned());
        }
        let inputs = Inputs::parse(&given).unwrap();
        let mut facts = Facts::example(ImageStore::Containerd);
        facts.region = region.map(str::to_owned);
        let place = RunDir::at("/tmp/fast-ecr-push-x".as_ref());
        match Plan::new(&inputs, None, &facts, &place) {
            Ok(plan) => Ok(plan
                .logins()
                .iter()
                .map(|registry| registry.host().to_owned())
                .collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn accounts_are_those_of_the_same_region_and_hosts_stand_for_themselves() {
        let other = "210987654321.dkr.ecr.cn-north-1.amazonaws.com.cn";
        let ids = "012345678901,public.ecr.aws";
        for (pairs, region, expected) in [
            (
                &[("registries", ids), ("aws-region", "eu-west-1")][..],
                Some("us-east-1"),
                &[
                    "r.test",
                    "012345678901.dkr.ecr.eu-west-1.amazonaws.com",
                    "public.ecr.aws",
                ][..],
            ),
            (
                &[("registries", "012345678901")],
                Some("cn-north-1"),
                &["r.test", "012345678901.dkr.ecr.cn-north-1.amazonaws.com.cn"],
            ),
            (
                &[
                    ("registries", "012345678901"),
                    (
                        "tags",
                        "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com/a:1",
                    ),
                ],
                None,
                &[
                    "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
                    "012345678901.dkr.ecr.us-gov-west-1.amazonaws.com",
                ],
            ),
            (
                &[
                    ("registries", other),
                    (
                        "registry-auth",
                        "- {registry: 210987654321.dkr.ecr.cn-north-1.amazonaws.com.cn}\n\
                         - {registry: ghcr.io, username: a, password: b}",
                    ),
                ],
                None,
                &["r.test", other],
            ),
        ] {
            assert_eq!(logins(pairs, region).unwrap(), expected);
        }
    }

    #[test]
    fn an_account_without_any_region_is_refused() {
        let error = logins(&[("registries", "012345678901")], None).unwrap_err();
        assert!(
            error.starts_with("input `registries`: `012345678901` given, expected `aws-region`"),
            "{error}"
        );
    }
}
