use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use secrecy::SecretString;
use semver::Version;

use super::*;
use crate::plan::Hidden;

fn plan(node: Node) -> KubernetesPlan {
    KubernetesPlan {
        server: "https://k".to_owned(),
        context: "c".to_owned(),
        restriction: None,
        namespace: "buildx".to_owned(),
        timeout_seconds: 300,
        fallback: false,
        kept: false,
        replace: false,
        nodes: vec![node],
        buildx: Version::new(0, 37, 1),
        run: Some("https://github.com/octo/app/actions/runs/7".to_owned()),
        kubeconfig: Hidden(SecretString::from("")),
    }
}

fn node() -> Node {
    Node {
        name: "fast-ecr-push-x1".to_owned(),
        image: "moby/buildkit:1".to_owned(),
        replicas: 1,
        ..Node::default()
    }
}

fn stateful() -> Node {
    Node {
        workload: Workload::StatefulSet,
        replicas: 2,
        storage: Some("100Gi".to_owned()),
        storage_class: Some("gp3".to_owned()),
        config: Some("debug = true".to_owned()),
        certificates: Some("PEM".to_owned()),
        ..node()
    }
}

fn made(node: Node) -> Value {
    let plan = plan(node);
    workload(&plan, &plan.nodes[0], Some(Timestamp::UNIX_EPOCH))
}

/// All that differs from a small node, so that every part of the manifest is there.
fn everything() -> Node {
    let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    Node {
        rootless: true,
        requests: [
            ("cpu", "2".to_owned()),
            ("ephemeral-storage", "9Gi".to_owned()),
        ]
        .into(),
        limits: [("memory", "7Gi".to_owned())].into(),
        scheduler: Some("s".to_owned()),
        service_account: Some("builder".to_owned()),
        node_selector: pair("kubernetes.io/arch", "arm64"),
        annotations: pair("karpenter.sh/do-not-disrupt", "30m"),
        labels: pair("team", "ci"),
        tolerations: vec![crate::plan::Toleration {
            key: Some("build".to_owned()),
            toleration_seconds: Some(5),
            ..crate::plan::Toleration::default()
        }],
        env: pair("A", "b"),
        qemu: Some("binfmt".to_owned()),
        memory_volume: Some("4Gi".to_owned()),
        buildkitd_flags: vec!["--debug".to_owned()],
        config: Some("debug = true".to_owned()),
        ..node()
    }
}

#[test]
fn is_what_the_driver_looks_for() {
    for node in [node(), everything()] {
        let made = made(node);
        assert_eq!(made["metadata"]["name"], "fast-ecr-push-x1");
        assert_eq!(
            made["spec"]["selector"]["matchLabels"],
            json!({ "app": "fast-ecr-push-x1" })
        );
        let template = &made["spec"]["template"];
        assert_eq!(template["metadata"]["labels"]["app"], "fast-ecr-push-x1");
        assert_eq!(template["spec"]["containers"][0]["name"], "buildkitd");
    }
}

#[test]
fn every_field_is_one_of_kubernetes() {
    for node in [node(), everything()] {
        let made = made(node);
        let typed: Deployment = serde_json::from_value(made.clone()).unwrap();
        let mut again = serde_json::to_value(typed).unwrap();
        // An empty volume is left out by the types.
        let volume = &made["spec"]["template"]["spec"]["volumes"];
        again["spec"]["template"]["spec"]["volumes"] = volume.clone();
        assert_eq!(again, made);
    }
}

#[test]
fn every_field_of_a_stateful_set_is_one_of_kubernetes() {
    let mut plan = plan(stateful());
    plan.kept = true;
    let wanted = workload(&plan, &plan.nodes[0], None);
    let typed: StatefulSet = serde_json::from_value(wanted.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), wanted);
}

#[test]
fn a_stateful_set_is_what_the_driver_looks_for_with_a_claim_for_each_pod() {
    let mut plan = plan(stateful());
    plan.kept = true;
    let node = &plan.nodes[0];
    let wanted = workload(&plan, node, None);
    assert_eq!(wanted["kind"], "StatefulSet");
    let spec = &wanted["spec"];
    assert_eq!(spec["serviceName"], "buildkitd");
    assert_eq!(spec["podManagementPolicy"], "Parallel");
    assert_eq!(spec["strategy"], Value::Null);
    let claim_of_pods = &spec["volumeClaimTemplates"][0];
    assert_eq!(claim_of_pods["metadata"]["name"], "buildkitd");
    assert_eq!(claim_of_pods["spec"]["storageClassName"], "gp3");
    let pod = &spec["template"]["spec"];
    let mount = &pod["containers"][0]["volumeMounts"][0];
    assert_eq!(
        *mount,
        json!({ "name": "buildkitd", "mountPath": "/var/lib/buildkit" })
    );
    assert_eq!(claim(&plan, node), None);
    let config = config(node, "u1").unwrap();
    assert_eq!(
        config["metadata"]["ownerReferences"][0]["kind"],
        "StatefulSet"
    );
    // Another kind is another builder: no part of it is worth naming.
    let one = Node {
        workload: Workload::Deployment,
        replicas: 1,
        ..node.clone()
    };
    let one = workload(&plan, &one, None);
    assert_eq!(
        differences(&wanted, &one).unwrap(),
        ["`kind` is \"StatefulSet\", not \"Deployment\""]
    );
}

#[test]
fn the_volume_of_a_builder_of_one_run_goes_with_its_pod() {
    let rootless = Node {
        rootless: true,
        storage: Some("9Gi".to_owned()),
        ..node()
    };
    let plan = plan(rootless);
    let node = &plan.nodes[0];
    let made = workload(&plan, node, Some(Timestamp::UNIX_EPOCH));
    let typed: Deployment = serde_json::from_value(made.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), made);
    let pod = &made["spec"]["template"]["spec"];
    let template = &pod["volumes"][0]["ephemeral"]["volumeClaimTemplate"];
    assert_eq!(template["spec"]["resources"]["requests"]["storage"], "9Gi");
    assert_eq!(pod["securityContext"]["fsGroup"], 1000);
    assert_eq!(claim(&plan, node), None);
}

#[test]
fn options_are_put_where_they_belong() {
    let made = made(everything());
    let pod = &made["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        container["resources"]["requests"]["ephemeral-storage"],
        "9Gi"
    );
    assert_eq!(container["resources"]["limits"], json!({ "memory": "7Gi" }));
    assert_eq!(
        container["args"],
        json!(["--debug", "--oci-worker-no-process-sandbox"])
    );
    assert_eq!(container["securityContext"]["privileged"], Value::Null);
    assert_eq!(
        container["volumeMounts"][0]["mountPath"],
        pod::ROOTLESS_ROOT
    );
    assert_eq!(pod["volumes"][0]["emptyDir"]["sizeLimit"], "4Gi");
    assert_eq!(pod["serviceAccountName"], "builder");
    assert_eq!(
        pod["tolerations"],
        json!([{ "key": "build", "tolerationSeconds": 5 }])
    );
    let annotations = &made["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations[DO_NOT_DISRUPT], "30m");
    assert_eq!(annotations[HEARTBEAT], Value::Null);
}

#[test]
fn certificates_are_trusted_beside_those_of_the_image() {
    let mut plan = plan(Node {
        certificates: Some("PEM".to_owned()),
        env: [("HTTPS_PROXY".to_owned(), "http://p:1".to_owned())].into(),
        ..node()
    });
    let made = workload(&plan, &plan.nodes[0], Some(Timestamp::UNIX_EPOCH));
    let pod = &made["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        container["env"],
        json!([
            { "name": "HTTPS_PROXY", "value": "http://p:1" },
            { "name": "SSL_CERT_DIR", "value": "/etc/ssl/certs:/etc/ssl/fast-ecr-push" },
        ])
    );
    assert_eq!(
        container["volumeMounts"][1]["mountPath"],
        "/etc/ssl/fast-ecr-push"
    );
    assert_eq!(
        pod["volumes"][1]["configMap"],
        json!({
            "name": "fast-ecr-push-x1-config",
            "items": [{ "key": "certificates.pem", "path": "certificates.pem" }],
        })
    );
    let config = config(&plan.nodes[0], "u1").unwrap();
    assert_eq!(config["data"], json!({ "certificates.pem": "PEM" }));
    // Those of a builder that is kept are compared.
    plan.kept = true;
    let before = workload(&plan, &plan.nodes[0], None);
    plan.nodes[0].certificates = Some("RENEWED".to_owned());
    let after = workload(&plan, &plan.nodes[0], None);
    let differences = differences(&before, &after).unwrap();
    assert!(
        differences[0].contains("fast-ecr-push/certificates"),
        "{differences:?}"
    );
}

#[test]
fn a_builder_of_a_run_says_so() {
    let made = made(node());
    let metadata = &made["metadata"];
    assert_eq!(metadata["labels"][MANAGED.0], MANAGED.1);
    assert_eq!(metadata["labels"][LIFETIME.0], LIFETIME.1);
    assert_eq!(metadata["annotations"][HEARTBEAT], "1970-01-01T00:00:00Z");
    let pod = &made["spec"]["template"];
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    assert_eq!(pod["metadata"]["annotations"][DO_NOT_DISRUPT], "true");
}

#[test]
fn a_builder_that_is_kept_has_its_volume_and_knows_what_it_was_made_of() {
    let node = Node {
        storage: Some("100Gi".to_owned()),
        storage_class: Some("gp3".to_owned()),
        ..node()
    };
    let mut plan = plan(node);
    plan.kept = true;
    let node = &plan.nodes[0];
    let wanted = workload(&plan, node, None);
    assert_eq!(wanted["metadata"]["labels"][LIFETIME.0], "kept");
    assert_eq!(wanted["spec"]["strategy"]["type"], "Recreate");
    let volume = &wanted["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(
        volume["persistentVolumeClaim"]["claimName"],
        "fast-ecr-push-x1-data"
    );
    let claim = claim(&plan, node).unwrap();
    assert_eq!(claim["spec"]["storageClassName"], "gp3");
    // The server adds its defaults to the specification; they don't count.
    let mut found = wanted.clone();
    found["spec"]["progressDeadlineSeconds"] = json!(600);
    assert_eq!(differences(&found, &wanted), Some(Vec::new()));
    let other = Node {
        limits: [("cpu", "4".to_owned())].into(),
        ..node.clone()
    };
    let wanted = workload(&plan, &other, None);
    assert_eq!(
        differences(&found, &wanted).unwrap(),
        ["`template.spec.containers[0].resources.limits.cpu` is null, not \"4\""]
    );
    assert_eq!(differences(&json!({}), &wanted), None);
}
