//! Secret variables that buildx gets because something in the plan reads them.
//!
//! Out: names out of [`SECRETS`]; children get no other secret variable. Who reads what:
//! [`type=s3`](https://docs.docker.com/build/cache/backends/s3/),
//! [`type=gha`](https://docs.docker.com/build/cache/backends/gha/), secrets and build arguments by name.

use std::collections::BTreeSet;

use super::ImagePlan;
use crate::credentials::kubeconfig::Access;
use crate::inputs::cache::Backend;
use crate::runner::env::{CONTAINER_TOKEN, SECRETS};

/// The names.
pub(super) fn choose(image: &ImagePlan, access: Option<&Access>) -> BTreeSet<String> {
    let uses = |backend| {
        let mut caches = image.cache_from.iter().chain(&image.cache_to);
        caches.any(|cache| cache.backend == backend)
    };
    // A command in the kubeconfig may ask anyone for the cluster's credentials.
    let foreign = access.is_some_and(Access::runs_a_foreign_command);
    let is_wanted = |name: &str| {
        let by_kind = match name {
            "ACTIONS_RUNTIME_TOKEN" => uses(Backend::Gha),
            // AWS's libraries get a file instead; a command may know only the variable.
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN" | CONTAINER_TOKEN => foreign,
            _ => foreign || uses(Backend::S3),
        };
        image.reads(name) || by_kind
    };
    let names = SECRETS.iter().filter(|name| is_wanted(name));
    names.map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::{Inputs, RawInputs};
    use crate::plan::{Plan, RunDir};

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
            let dir = RunDir::at("/tmp/fast-ecr-push-x".as_ref());
            let plan = Plan::new(&inputs, None, &facts, &dir).unwrap();
            let names: Vec<&str> = plan.secret_variables.iter().map(String::as_str).collect();
            assert_eq!(names, expected, "{name}: {text}");
        }
    }
}
