//! A company's network with a proxy: buildx in the action's container and BuildKit in one of its own go through it, and know
//! whom it is not for.

use std::collections::BTreeSet;

use crate::authority::Authority;
use crate::proxy::{Asked, Proxy};
use crate::registry::manifest;
use crate::rig::{busybox, container_options, registry};
use crate::runner::{Ended, Runner, docker};

const PASSWORD: &str = "canary-password";

/// This machine's address on the Engine's network, which our containers reach.
fn gateway() -> String {
    let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
    docker(&["network", "inspect", "bridge", "--format", format])
}

/// A registry of TLS that is none of loopback's, which needs no proxy: `host:port`.
struct Company {
    gateway: String,
    authority: Authority,
    registry: String,
    proxy: Proxy,
}

impl Company {
    fn new() -> Self {
        let gateway = gateway();
        let authority = Authority::of(&gateway);
        Self {
            registry: authority.before(&registry()),
            proxy: Proxy::at(&gateway, Some(&format!("user:{PASSWORD}")), &[]),
            authority,
            gateway,
        }
    }

    fn run(&self, name: &str, no_proxy: &str) -> Ended {
        let runner = Runner::new().file("Dockerfile", format!("FROM {}\nCOPY . .\n", busybox()));
        let certificate = runner.temp().join("company.pem");
        std::fs::write(&certificate, &self.authority.certificate).unwrap();
        runner
            .variable("SSL_CERT_FILE", certificate.to_str().unwrap())
            .variable(
                "HTTPS_PROXY",
                &format!("http://user:{PASSWORD}@{}", self.proxy.address),
            )
            .variable("NO_PROXY", no_proxy)
            .variable("RUNNER_DEBUG", "1")
            .step()
            .input("context", ".")
            .input("driver", "docker-container")
            .input("driver-opts", &container_options())
            .input("tags", &format!("{}/{name}:1", self.registry))
            .run()
            .succeeded()
    }
}

#[test]
fn builder_and_buildx_push_and_read_through_a_proxy_that_wants_a_password() {
    let company = Company::new();
    let run = company.run("proxies/through", "192.0.2.0/24");
    manifest("proxies/through", run.output("digest"));
    // Read back by buildx in the action's container.
    assert!(run.number("image-bytes") > 0.0, "{}", run.log());
    let asked = company.proxy.asked();
    let line = format!("CONNECT {}", company.registry);
    let of_registry: Vec<&Asked> = asked.iter().filter(|asked| asked.line == line).collect();
    assert!(of_registry.iter().all(|asked| asked.allowed), "{asked:?}");
    // The builder is on this machine's own network, buildx in the action's container.
    let sources: BTreeSet<&str> = of_registry
        .iter()
        .map(|asked| asked.from.as_str())
        .collect();
    assert_eq!(sources.len(), 2, "{of_registry:?}");
    assert!(!run.log().contains(PASSWORD), "{}", run.log());
    assert!(!run.values.summary.contains(PASSWORD));
    assert!(run.log.masks.contains(&PASSWORD.to_owned()));
    for text in run.values.outputs.values() {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn hosts_that_need_no_proxy_are_reached_directly_by_builder_and_buildx() {
    let company = Company::new();
    let network = format!("{}/16", company.gateway);
    for (index, rule) in [network, "*".to_owned()].iter().enumerate() {
        let run = company.run(&format!("proxies/direct-{index}"), rule);
        manifest(&format!("proxies/direct-{index}"), run.output("digest"));
        assert!(run.number("image-bytes") > 0.0, "{rule}: {}", run.log());
        let mut lines = company.proxy.lines().into_iter();
        let through = lines.find(|line| line.contains(&company.registry));
        assert_eq!(through, None, "{rule}");
    }
}

/// Docker's own setting (<https://docs.docker.com/engine/cli/proxy/>): arguments of every build.
#[test]
fn steps_get_the_proxy_of_dockers_configuration_as_build_arguments() {
    let config = serde_json::json!({ "proxies": { "default": {
        "httpsProxy": "http://proxy.test:3128", "noProxy": "*.corp",
    }}});
    let dockerfile = format!(
        "FROM {}\nRUN --network=none echo \"through $HTTPS_PROXY but for $no_proxy\"\n",
        busybox()
    );
    let run = Runner::new()
        .file("Dockerfile", dockerfile)
        .at_home(".docker/config.json", &config.to_string())
        .step()
        .input("context", ".")
        .input("cache", "none")
        .input("tags", &format!("{}/proxies/arguments:1", registry()))
        .run()
        .succeeded();
    let words = "through http://proxy.test:3128 but for *.corp";
    assert!(run.log().contains(words), "{}", run.log());
}
