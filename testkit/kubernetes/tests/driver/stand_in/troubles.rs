//! Problems with inputs, rights and pods.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;

/// A kubeconfig of one context, with a user or a cluster of one's own.
fn kubeconfig(server: &str, more: &str, user: &str) -> String {
    format!(
        "{{current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
         clusters: [{{name: c, cluster: {{server: '{server}'{more}}}}}], users: [{{name: u, user: {{{user}}}}}]}}"
    )
}

fn yaml_bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        text += &format!(
            "a{level}: &a{level} [{}]\n",
            [alias.as_str(); 10].join(", ")
        );
    }
    text
}

#[test]
fn every_bad_input_has_its_own_error_and_hint_within_ten_seconds() {
    let cluster = Cluster::stand_in();
    let good = cluster.kubeconfig("kubeconfig");
    let nobody = kubeconfig("https://127.0.0.1:1", "", "token: t");
    let no_context = good.replace("current-context: stand-in", "");
    let command = kubeconfig("https://k.example", "", "exec: {command: /opt/login}");
    let file = kubeconfig(
        "https://k.example",
        ", certificate-authority: ca.crt",
        "token: t",
    );
    let stranger = good.replace("stand-in-token", "another-token");
    let bomb = yaml_bomb();
    let flatten = "kubectl config view --raw --flatten --minify";
    for (kubeconfig, script, code, words, hint) in [
        (
            "a: [b",
            "{}",
            2,
            "the kubeconfig is not valid YAML",
            flatten,
        ),
        (&bomb, "{}", 2, "the kubeconfig is not valid YAML", flatten),
        (
            &no_context,
            "{}",
            2,
            "has no current context",
            "`kube-context` to one of: stand-in",
        ),
        (
            &command,
            "{}",
            2,
            "runs the command `/opt/login`",
            "`allow-exec: true`",
        ),
        (
            &file,
            "{}",
            2,
            "names a file as `certificate-authority`",
            flatten,
        ),
        (
            &nobody,
            "{}",
            3,
            "could not reach the Kubernetes API at https://127.0.0.1:1",
            "is the address right",
        ),
        (
            &stranger,
            "{}",
            3,
            "refuses the credentials (401)",
            "aws eks create-access-entry",
        ),
        (
            &good,
            r#"{"denied":["create pods/exec"]}"#,
            3,
            "lacks rights in the namespace `buildx`: create pods/exec",
            "kind: Role",
        ),
        (
            &good,
            r#"{"faults":[{"call":"create deployments","code":403,"times":1}]}"#,
            3,
            "could not create a Deployment in the namespace `buildx`: a fault by script (403)",
            "an admission policy of the cluster refuses it",
        ),
        (
            &good,
            r#"{"namespaces":["default"]}"#,
            3,
            "namespaces \"buildx\" not found",
            "kubectl create namespace",
        ),
        (
            &good,
            r#"{"trouble":"quota"}"#,
            3,
            "exceeded quota: builders",
            "raise the namespace's ResourceQuota",
        ),
        (
            &good,
            r#"{"trouble":"unschedulable"}"#,
            3,
            "was not ready within 3 s: no node takes its pod: 0/5 nodes are available: 2 node(s) had",
            "lower `requests` in `driver-opts`, or add nodes",
        ),
        (
            &good,
            r#"{"trouble":"never-ready"}"#,
            3,
            "its container `buildkitd` runs and is not ready",
            "raise `builder-timeout`",
        ),
        (
            &good,
            r#"{"trouble":"crash-loop"}"#,
            3,
            "BuildKit exits as soon as it starts (exit code 1)",
            "its log above says why",
        ),
    ] {
        cluster.script(script);
        let begun = Instant::now();
        let run = cluster.run(&[("kubeconfig", kubeconfig), ("builder-timeout", "3")]);
        let case = format!("{script} {words}: {}", run.log);
        assert_eq!(run.code, Some(code), "{case}");
        assert!(run.log.contains(words), "{case}");
        assert!(run.log.contains(hint), "{case}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{case}");
    }
    // The user's own file, as on a laptop.
    let own = cluster.file("own");
    std::fs::write(&own, &file).unwrap();
    let own = own.display().to_string();
    for (path, words, hint) in [
        (
            own.as_str(),
            "ca.crt` as `certificate-authority`, which does not exist",
            "up to date",
        ),
        (
            "/nowhere",
            "could not read the kubeconfig `/nowhere`",
            "correct the path in KUBECONFIG",
        ),
    ] {
        let run = cluster.run_with(&[("kubeconfig", "")], &[("KUBECONFIG", path)]);
        assert!(matches!(run.code, Some(2 | 3)), "{}", run.log);
        assert!(
            run.log.contains(words) && run.log.contains(hint),
            "{}",
            run.log
        );
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_server_that_is_not_verified_gets_a_warning_and_is_used() {
    let cluster = Cluster::stand_in();
    let trusting = cluster.kubeconfig("kubeconfig");
    let authority = trusting
        .lines()
        .find(|line| line.contains("certificate-authority-data"));
    let trusting = trusting.replace(authority.unwrap(), "    insecure-skip-tls-verify: true");
    let run = cluster.run(&[("kubeconfig", &trusting)]);
    run.succeeded();
    let words = "the kubeconfig sets `insecure-skip-tls-verify` for https://127.0.0.1";
    assert!(run.log.contains(words), "{}", run.log);
    assert!(
        run.log.contains("`certificate-authority-data`"),
        "{}",
        run.log
    );
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn an_image_that_cannot_be_pulled_is_reported_at_once() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"trouble":"image-pull"}"#);
    let run = cluster.run(&[("builder-timeout", "3")]);
    assert_eq!(run.code, Some(3));
    for line in [
        "builder not ready yet: the image `moby/buildkit:buildx-stable-1` cannot be pulled",
        "event Failed: Failed to pull image",
        "buildkitd: buildkitd: failed to create worker",
    ] {
        assert!(run.log.contains(line), "{line}: {}", run.log);
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

/// Problems before a pod's container starts, which no state of the container shows.
#[test]
fn what_holds_a_pod_is_reported_within_ten_seconds() {
    let cluster = Cluster::stand_in();
    let qemu = ("driver-opts", "qemu.install=true");
    let volume = (
        "driver-opts",
        "persistent-volume-claim.requests.storage=1Gi",
    );
    for (trouble, input, text, hint) in [
        (
            "provision",
            volume,
            "its volume cannot be created: failed to provision volume with StorageClass",
            "on EKS the EBS CSI driver needs an IAM role",
        ),
        (
            "sandbox",
            ("retries", "0"),
            "its node has no free pod IP: Failed to create pod sandbox",
            "enable prefix delegation of the VPC CNI",
        ),
        (
            "attach",
            ("retries", "0"),
            "its volume cannot be attached: AttachVolume.Attach failed",
            "may the EBS CSI driver attach it?",
        ),
        (
            "init-image-pull",
            qemu,
            "of its container `qemu` cannot be pulled: failed to pull",
            "`driver-opts: qemu.image=…` names another one",
        ),
    ] {
        cluster.script(&format!(r#"{{"trouble":"{trouble}"}}"#));
        let run = cluster.run(&[("builder-timeout", "5"), input]);
        assert_eq!(run.code, Some(3), "{}", run.log);
        // Reported during the boot, and by the error at its end.
        assert_eq!(run.log.matches(text).count(), 2, "{text}: {}", run.log);
        assert!(run.log.contains(hint), "{hint}: {}", run.log);
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_missing_architecture_is_named() {
    let cluster = Cluster::stand_in();
    let run = cluster.run(&[
        ("platforms", "linux/amd64,linux/riscv64"),
        ("builder-timeout", "3"),
    ]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    let hint = "is there a node of the architecture `riscv64`? Add one, or emulate it";
    assert!(run.log.contains(hint), "{}", run.log);
    assert!(!run.log.contains("nodeselector=…"), "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_healthy_boot_reports_no_problem() {
    let cluster = Cluster::stand_in();
    let run = cluster.run(&[]);
    run.succeeded();
    assert!(!run.log.contains("not ready yet"), "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn every_call_of_ours_names_its_client_and_every_object_its_manager() {
    let cluster = Cluster::stand_in();
    cluster.run(&[]).succeeded();
    let requests = cluster.record("requests");
    let agent = format!("fast-ecr-push/{}", env!("CARGO_PKG_VERSION"));
    let is_ours = |request: &&serde_json::Value| request["agent"] == agent.as_str();
    let ours: Vec<_> = requests.iter().filter(is_ours).collect();
    for call in [
        "create selfsubjectaccessreviews",
        "list pods",
        "delete deployments",
    ] {
        assert!(
            ours.iter().any(|request| request["call"] == call),
            "{call}: {requests:?}"
        );
    }
    // The others are buildx's.
    let agents = requests
        .iter()
        .map(|request| request["agent"].as_str().unwrap());
    assert!(
        agents.clone().all(|agent| !agent.is_empty()),
        "{requests:?}"
    );
    let creation = ours
        .iter()
        .find(|request| request["call"] == "create deployments");
    let query = creation.unwrap()["query"].as_str().unwrap();
    assert!(query.contains("fieldManager=fast-ecr-push"), "{query}");
    assert_eq!(cluster.stop(), [""; 0]);
}

/// An API server that was restarted answers 403 until it has read its roles.
#[test]
fn a_right_that_was_granted_at_the_start_is_asked_for_again() {
    let cluster = Cluster::stand_in();
    let forbidden = |call: &str| {
        format!(r#"{{"faults":[{{"call":"{call}","code":403,"forbidden":true,"times":3}}]}}"#)
    };
    for call in ["create deployments", "list pods", "delete deployments"] {
        cluster.script(&forbidden(call));
        let run = cluster.run(&[]);
        run.succeeded();
        assert!(!run.log.contains("could not remove"), "{call}: {}", run.log);
    }
    let state = cluster.run_and_kill(&[]);
    cluster.script(&forbidden("get deployments"));
    let post = cluster.post(&state);
    assert!(post.contains("removed the builder"), "{post}");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn buildxs_own_rights_are_enough() {
    let cluster = Cluster::stand_in();
    cluster.script(
        r#"{"scheduled_ms":200,"pulled_ms":2500,"ready_ms":2500,"denied":["watch pods","list events","get pods/log","patch deployments","list deployments"]}"#,
    );
    let run = cluster.run(&[]);
    run.succeeded();
    assert!(run.log.contains("builder scheduled on"));
    assert_eq!(cluster.calls("watch pods"), 1);
    let seconds = run.seconds("builder-seconds");
    // Once a second, and some at the beginning and for buildx.
    let lists = u32::try_from(cluster.calls("list pods")).unwrap();
    assert!(f64::from(lists) < seconds + 8.0, "{lists} in {seconds} s");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn calls_are_repeated_after_transient_errors() {
    let cluster = Cluster::stand_in();
    cluster.script(
        r#"{"faults":[{"call":"list pods","code":503,"times":2},{"call":"watch pods","code":410,"times":1},
            {"call":"get deployments","code":500,"times":1}]}"#,
    );
    cluster.run(&[]).succeeded();
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn with_auto_this_machine_takes_over() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"trouble":"quota"}"#);
    let run = cluster.run(&[("driver", "auto")]);
    run.succeeded();
    assert_eq!(run.output("driver"), "docker");
    assert!(
        run.log
            .contains("the cluster can't build, this machine does")
    );
    assert!(run.log.contains("exceeded quota"));
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_command_for_credentials_runs_once_and_its_failure_is_named() {
    let cluster = Cluster::stand_in();
    let runs = cluster.file("runs");
    let credential = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"stand-in-token"}}"#;
    let script = format!(
        "case \"$(cat /proc/$PPID/comm)\" in fast-ecr-push) echo x >> '{}';; esac\n\
         test -z \"$INPUT_TAGS\" || exit 9\ntest -n \"$AWS_SECRET_ACCESS_KEY\" || exit 8\n\
         echo 'a word of the command' >&2\necho '{credential}'",
        runs.display()
    );
    let kubeconfig = cluster.with_command(&script);
    let inputs = [("kubeconfig", kubeconfig.as_str()), ("allow-exec", "true")];
    let run = cluster.run(&inputs);
    run.succeeded();
    assert!(run.log.contains("a word of the command"), "{}", run.log);
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "x\n");
    let kubeconfig = cluster.with_command("echo 'the session has ended' >&2\nexit 3");
    let run = cluster.run(&[("kubeconfig", &kubeconfig), ("allow-exec", "true")]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    let command = cluster.file("plugin").display().to_string();
    let words =
        format!("the command `{command}` failed with exit status: 3: the session has ended");
    assert!(run.log.contains(&words), "{}", run.log);
    let hint = "hint: the kubeconfig runs it: does it work on this machine";
    assert!(run.log.contains(hint), "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_volume_that_may_not_be_looked_at_is_used() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"denied":["get persistentvolumeclaims"]}"#);
    let name = "fast-ecr-push-test";
    for size in ["1Gi", "2Gi"] {
        let volume = format!("persistent-volume-claim.requests.storage={size}");
        let run = cluster.run(&[("builder", name), ("driver-opts", &volume)]);
        run.succeeded();
        assert!(!run.log.contains("persistentvolumeclaims"), "{}", run.log);
    }
    cluster.objects().delete_builder(name);
    assert_eq!(cluster.stop(), [""; 0]);
}
