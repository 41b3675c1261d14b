//! A company's network: a registry whose certificate a private authority has signed.

use crate::authority::Authority;
use crate::registry::manifest;
use crate::rig::{busybox, container_options, registry};
use crate::runner::{Runner, docker};

#[test]
fn a_builder_in_a_container_pushes_to_a_registry_of_a_private_authority() {
    // Not loopback, whose registries need no certificate; our container, too, can reach it.
    let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
    let gateway = docker(&["network", "inspect", "bridge", "--format", format]);
    let authority = Authority::of(&gateway);
    let private = authority.before(&registry());
    for (driver, variable, pushed) in [
        ("docker-container", Some("SSL_CERT_FILE"), true),
        ("docker-container", None, false),
        // The Engine trusts what its machine does.
        ("docker", Some("SSL_CERT_FILE"), false),
    ] {
        let mut runner =
            Runner::new().file("Dockerfile", format!("FROM {}\nCOPY . .\n", busybox()));
        let certificate = runner.temp().join("company.pem");
        std::fs::write(&certificate, &authority.certificate).unwrap();
        if let Some(variable) = variable {
            runner = runner.variable(variable, certificate.to_str().unwrap());
        }
        let run = runner
            .step()
            .input("context", ".")
            .input("driver", driver)
            .input("driver-opts", &container_options())
            .input("tags", &format!("{private}/network/private:1"))
            .run();
        let case = format!("{driver}, {variable:?}: {}", run.log());
        if pushed {
            assert_eq!(run.code, Some(0), "{case}");
            manifest("network/private", run.output("digest"));
            // Read back by buildx in the action's container.
            assert!(run.number("image-bytes") > 0.0, "{case}");
        } else {
            assert_eq!(run.code, Some(1), "{case}");
            for words in [
                "certificate signed by unknown authority",
                "hint: BuildKit does not trust the certificate of this host",
            ] {
                assert!(run.log().contains(words), "{case}");
            }
        }
    }
}
