//! A company's network: authorities and proxies of its own.

use std::process::Command;

use serde_json::{Value, json};

use crate::authority::Authority;
use crate::cluster::Cluster;

/// Not loopback, whose registries need no certificate.
fn gateway() -> String {
    let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
    let docker = std::env::var("RIG_DOCKER").unwrap();
    let inspect = Command::new(docker)
        .args(["network", "inspect", "bridge", "--format", format])
        .output();
    let gateway = String::from_utf8(inspect.unwrap().stdout).unwrap();
    gateway.trim().to_owned()
}

#[test]
fn pods_trust_the_authorities_that_this_machine_trusts() {
    let gateway = gateway();
    let authority = Authority::of(&gateway);
    let private = authority.before(&std::env::var("RIG_REGISTRY").unwrap());
    let name = "fast-ecr-push-trust";
    let cluster = Cluster::stand_in();
    let certificate = cluster.file("company.pem");
    std::fs::write(&certificate, &authority.certificate).unwrap();
    let certificate = certificate.display().to_string();
    let variables = [("NODE_EXTRA_CA_CERTS", certificate.as_str())];
    let proxy = "env.HTTPS_PROXY=http://proxy.example:3128";
    let inputs = [("builder", name), ("driver-opts", proxy)];
    cluster.run_with(&inputs, &variables).succeeded();
    let pod = cluster.record("workloads")[0]["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    let env: Vec<(String, String)> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| {
            let text = |name: &str| variable[name].as_str().unwrap().to_owned();
            (text("name"), text("value"))
        })
        .collect();
    let named = |name: &str| {
        let mut env = env.iter();
        env.find(|(other, _)| other == name).unwrap().1.clone()
    };
    assert_eq!(named("HTTPS_PROXY"), "http://proxy.example:3128");
    let mounts = container["volumeMounts"].as_array().unwrap().iter();
    let mut mounts = mounts.filter(|mount| mount["name"] == "certificates");
    let mount = mounts.next().unwrap()["mountPath"].as_str().unwrap();
    let objects = cluster.objects();
    let text = objects.config(name, "certificates.pem");
    assert!(text.trim().ends_with(authority.certificate.trim()));

    // What a kubelet makes of it, but for the place of the folder.
    let folder = cluster.file("mounted");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("certificates.pem"), text).unwrap();
    let folders = named("SSL_CERT_DIR").replace(mount, &folder.display().to_string());
    assert!(folders.starts_with("/etc/ssl/certs:"), "{folders}");
    let trusting = [("SSL_CERT_DIR".to_owned(), folders)];
    for (env, pushed) in [(&trusting[..], true), (&[], false)] {
        let cluster = Cluster::with_variables(env);
        cluster.dockerfile("COPY Dockerfile /\n");
        let tag = format!("{private}/kubernetes/private:1");
        let run = cluster.run_with(&[("tags", &tag), ("cache", "none")], &variables);
        if pushed {
            run.succeeded();
        } else {
            assert_eq!(run.code, Some(1), "{}", run.log);
            let words = "certificate signed by unknown authority";
            assert!(run.log.contains(words), "{}", run.log);
        }
        assert_eq!(cluster.stop(), [""; 0]);
    }
    objects.delete_builder(name);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn certificates_are_left_out_where_they_can_not_be_handed_on_and_that_is_said() {
    let authority = Authority::of("192.0.2.1");
    let denied = json!({ "denied": ["create configmaps"] });
    let refused = json!({ "faults": [{ "call": "create deployments", "code": 422, "times": 1 }] });
    for (script, words) in [
        (&denied, "this identity may not create configmaps"),
        (
            &refused,
            "buildx's own is used, without the certificates that this machine trusts",
        ),
    ] {
        let cluster = Cluster::stand_in();
        cluster.script(&script.to_string());
        let certificate = cluster.file("company.pem");
        std::fs::write(&certificate, &authority.certificate).unwrap();
        let certificate = certificate.display().to_string();
        let run = cluster.run_with(&[], &[("NODE_EXTRA_CA_CERTS", &certificate)]);
        run.succeeded();
        assert!(run.log.contains(words), "{}", run.log);
        let pod = &cluster.record("workloads")[0]["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["env"], Value::Null);
        assert_eq!(cluster.stop(), [""; 0]);
    }
}
