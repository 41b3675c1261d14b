//! `examples/eks`: Terraform and plain YAML say the same, and what they name fits together.

use std::collections::BTreeSet;

use serde_json::Value;

const ROLE: &str = include_str!("../../examples/eks/role.yaml");
const BINDING: &str = include_str!("../../examples/eks/binding.yaml");
const NODES: &str = include_str!("../../examples/eks/nodepool.yaml");
const STACK: &str = include_str!("../../examples/eks/aws.yaml");
const AWS: &str = include_str!("../../examples/eks/main.tf");
const CLUSTER: &str = include_str!("../../examples/eks/cluster.tf");

fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n");
    documents
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect()
}

/// Actions of IAM that a text names, as `ecr:PutImage`.
fn actions(text: &str) -> BTreeSet<&str> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || character == ':'))
        .filter(|word| {
            ["ecr:", "eks:", "sts:"]
                .iter()
                .any(|service| word.starts_with(service))
        })
        .filter(|word| word.as_bytes().get(4).is_some_and(u8::is_ascii_uppercase))
        .collect()
}

#[test]
fn terraform_and_cloudformation_grant_the_same() {
    assert_eq!(actions(AWS), actions(STACK));
    assert!(actions(AWS).contains("ecr:PutImage") && actions(AWS).len() > 10);
    let stack = &documents(STACK)[0];
    let group = &stack["Resources"]["Entry"]["Properties"]["KubernetesGroups"][0];
    let group = group.as_str().unwrap();
    assert!(AWS.contains(&format!("kubernetes_groups = [\"{group}\"]")));
}

#[test]
fn the_binding_gives_the_role_to_the_access_entrys_group() {
    let role = &documents(ROLE)[0];
    let [namespace, binding] = documents(BINDING).try_into().unwrap();
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    assert_eq!(
        binding["metadata"]["namespace"],
        namespace["metadata"]["name"]
    );
    let group = binding["subjects"][0]["name"].as_str().unwrap();
    assert!(AWS.contains(&format!("kubernetes_groups = [\"{group}\"]")));
    // What it may do to what: no more than is made use of.
    let rules: Vec<String> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| format!("{} {}", rule["verbs"], rule["resources"]))
        .collect();
    assert!(
        rules
            .iter()
            .all(|rule| !rule.contains('*') && !rule.contains("secrets")),
        "{rules:?}"
    );
}

#[test]
fn terraform_applies_every_file_of_the_clusters() {
    for name in ["binding.yaml", "role.yaml", "nodepool.yaml"] {
        assert!(CLUSTER.contains(name), "{name}");
    }
    let [pool, class] = documents(NODES).try_into().unwrap();
    let reference = &pool["spec"]["template"]["spec"]["nodeClassRef"]["name"];
    assert_eq!(*reference, class["metadata"]["name"]);
    assert_eq!(class["spec"]["instanceStorePolicy"], "RAID0");
}
