//! Secret variables that buildx gets all the same, because something of the plan reads them there.
//!
//! In: inputs and what was settled. Out: names out of [`SECRETS`]; every other secret variable is kept
//! from all child processes. Who reads what:
//! [`type=s3`](https://docs.docker.com/build/cache/backends/s3/),
//! [`type=gha`](https://docs.docker.com/build/cache/backends/gha/), secrets and build arguments by name.

use std::collections::BTreeSet;

use super::{ImagePlan, SecretSource};
use crate::credentials::kubeconfig::Access;
use crate::inputs::Inputs;
use crate::inputs::cache::Backend;
use crate::runner::env::{CONTAINER_TOKEN, SECRETS};

/// The names to hand on.
pub(super) fn choose(
    inputs: &Inputs,
    image: &ImagePlan,
    access: Option<&Access>,
) -> BTreeSet<String> {
    let asks_for = |backend| {
        let mut caches = image.cache_from.iter().chain(&image.cache_to);
        caches.any(|cache| cache.backend == backend)
    };
    // A command of the user's own may ask anybody for the cluster's credentials.
    let foreign = access.is_some_and(Access::runs_a_foreign_command);
    let wants = |name: &str| {
        let by_name =
            image.secrets.iter().any(
                |secret| matches!(&secret.source, SecretSource::Variable(other) if other == name),
            ) || inputs
                .build_args
                .iter()
                .any(|argument| argument.value.is_none() && argument.name == name);
        let by_kind = match name {
            "ACTIONS_RUNTIME_TOKEN" => asks_for(Backend::Gha),
            // AWS's libraries get a file instead; a command may know the variable only.
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN" | CONTAINER_TOKEN => foreign,
            _ => foreign || asks_for(Backend::S3),
        };
        by_name || by_kind
    };
    SECRETS
        .iter()
        .filter(|name| wants(name))
        .map(|name| (*name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::{Inputs, RawInputs};
    use crate::plan::{Place, Plan};

    #[test]
    fn only_what_reads_a_secret_variable_gets_it() {
        let keys = [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        ];
        let runtime = ["ACTIONS_RUNTIME_TOKEN"];
        for (name, text, expected) in [
            ("cache-to", "type=registry,ref=r.test/a:cache", &[][..]),
            (
                "cache-to",
                "type=s3,region=eu-west-1,bucket=b,name=n",
                &keys,
            ),
            ("cache-from", "bucket=b,\"type=s3\"", &keys),
            ("cache-from", "type=gha", &runtime),
            ("cache-from", "Type=gha", &runtime),
            ("cache-to", "\"type=gha\",mode=max", &runtime),
            ("cache-from", "r.test/gha:s3", &[]),
            ("build-args", "ACTIONS_RUNTIME_TOKEN", &runtime),
            ("build-args", "ACTIONS_RUNTIME_TOKEN=x", &[]),
            (
                "secret-envs",
                "aws=AWS_SECRET_ACCESS_KEY",
                &["AWS_SECRET_ACCESS_KEY"],
            ),
        ] {
            let mut given = RawInputs::default();
            for (name, text) in [
                ("tags", "r.test/a:1"),
                ("driver", "docker-container"),
                (name, text),
            ] {
                given.set(name, text.to_owned());
            }
            let inputs = Inputs::parse(&given).unwrap();
            let facts = Facts::example(ImageStore::Containerd);
            let place = Place::at("/tmp/fast-ecr-push-x".as_ref());
            let plan = Plan::new(&inputs, None, &facts, &place).unwrap();
            let names: Vec<&str> = plan.handed_on.iter().map(String::as_str).collect();
            assert_eq!(names, expected, "{name}: {text}");
        }
    }
}
