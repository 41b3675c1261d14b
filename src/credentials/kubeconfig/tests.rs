use super::*;

const STATIC: &str = "apiVersion: v1
kind: Config
current-context: one
clusters:
- name: c
  cluster:
    server: https://k8s.example
    certificate-authority-data: Y2E=
contexts:
- name: one
  context: {cluster: c, user: u, namespace: buildx}
- name: two
  context: {cluster: c, user: v}
users:
- name: u
  user:
    token: hidden-token
- name: v
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: aws
      args: [--region, eu-west-1, eks, get-token, --cluster-name, builders]
      env:
      - {name: AWS_PROFILE, value: ci}
";

fn terms<'a>() -> Terms<'a> {
    Terms {
        context: None,
        allow_exec: false,
        may_name_files: false,
        program: Path::new("/fast-ecr-push"),
    }
}

fn read(text: &str) -> Result<Access, KubeconfigError> {
    Access::read(text, &terms())
}

fn user(access: &Access) -> AuthInfo {
    access.user.clone()
}

#[test]
fn takes_the_current_context_plain_and_in_base64() {
    let wrapped = STANDARD.encode(STATIC);
    let (first, second) = wrapped.split_at(76);
    for text in [STATIC, &wrapped, &format!("{first}\n{second}\n")] {
        let access = read(text).unwrap();
        assert_eq!(access.context, "one");
        assert_eq!(access.server, "https://k8s.example");
        assert_eq!(access.namespace.as_deref(), Some("buildx"));
        assert_eq!(access.secrets(), ["hidden-token"]);
        assert!(access.warnings.is_empty());
    }
}

#[test]
fn awss_command_becomes_our_own_and_keeps_its_variables() {
    let mut terms = terms();
    terms.context = Some("two");
    let access = Access::read(STATIC, &terms).unwrap();
    let exec = user(&access).exec.unwrap();
    assert_eq!(exec.command.as_deref(), Some("/fast-ecr-push"));
    let arguments = exec.args.unwrap().join(" ");
    assert_eq!(
        arguments,
        "eks-token --cluster builders --region eu-west-1 --profile ci"
    );
    assert_eq!(exec.env.unwrap()[0]["value"], "ci");
    assert!(!access.runs_a_foreign_command());
    // The processes that buildx starts find the run's session.
    let text = access.to_file("x", Path::new("/run/tokens"));
    let written: Kubeconfig = serde_json::from_str(text.expose_secret()).unwrap();
    let written = written.auth_infos[0].auth_info.clone().unwrap();
    let variable = &written.exec.unwrap().env.unwrap()[1];
    assert_eq!(variable["name"], "FAST_ECR_PUSH_TOKENS");
    assert_eq!(variable["value"], "/run/tokens");
    assert_eq!(exec.interactive_mode, Some(ExecInteractiveMode::Never));
}

#[test]
fn what_is_written_is_read_again_as_the_same() {
    let access = read(STATIC).unwrap();
    let text = access.to_file("ci", Path::new("/run/tokens"));
    let again: Kubeconfig = serde_json::from_str(text.expose_secret()).unwrap();
    let context = again.contexts[0].context.as_ref().unwrap();
    assert_eq!(context.namespace.as_deref(), Some("ci"));
    assert_eq!(again.current_context.as_deref(), Some(NAME));
    assert_eq!(again.contexts.len(), 1);
    let yaml: Kubeconfig = serde_saphyr::from_str(text.expose_secret()).unwrap();
    assert_eq!(
        yaml.clusters[0].cluster.as_ref().unwrap().server.as_deref(),
        Some("https://k8s.example")
    );
}

#[test]
fn every_unusable_kubeconfig_has_an_error_and_a_hint() {
    let changed = |from: &str, to: &str| STATIC.replace(from, to);
    let bomb = {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            text += &format!(
                "a{level}: &a{level} [{}]\n",
                [alias.as_str(); 10].join(", ")
            );
        }
        text + STATIC
    };
    let deep = format!("apiVersion: {}", "[".repeat(100_000));
    for (name, text, words) in [
        ("no YAML", "a: [b".to_owned(), "not valid YAML"),
        ("a list", "- a: b".to_owned(), "not valid YAML"),
        ("a bomb", bomb, "not valid YAML"),
        ("deep", deep, "not valid YAML"),
        (
            "nothing but letters",
            "hidden-secret".to_owned(),
            "neither YAML nor base64",
        ),
        (
            "too long",
            format!("a: {}", "x".repeat(read::MAX_LENGTH)),
            "longer than 1 MiB",
        ),
        (
            "no current context",
            changed("current-context: one", ""),
            "no current context",
        ),
        (
            "another context",
            changed("current-context: one", "current-context: x"),
            "no context `x`",
        ),
        (
            "no cluster",
            changed("cluster: c, user: u", "cluster: d, user: u"),
            "names the cluster `d`",
        ),
        (
            "no user",
            changed("cluster: c, user: u", "cluster: c, user: w"),
            "names the user `w`",
        ),
        (
            "http",
            changed("https://", "http://"),
            "`server` is `http://k8s.example`, not an `https://`",
        ),
        ("bad authority", changed("Y2E=", "\"???\""), "is not base64"),
        (
            "a file",
            changed(
                "certificate-authority-data: Y2E=",
                "certificate-authority: ca.crt",
            ),
            "names a file as `certificate-authority`",
        ),
        (
            "a token file",
            changed("token: hidden-token", "tokenFile: /run/t"),
            "as `tokenFile`",
        ),
        (
            "a command",
            changed("token: hidden-token", "exec: {command: /bin/evil}"),
            "runs the command `/bin/evil`",
        ),
        (
            "an argument",
            changed(
                "token: hidden-token",
                "exec: {command: aws, args: [eks, get-token, --x]}",
            ),
            "runs `aws` with `--x`",
        ),
        (
            "a provider",
            changed("token: hidden-token", "auth-provider: {name: gcp}"),
            "the auth provider `gcp`",
        ),
    ] {
        let error = read(&text).expect_err(name);
        let shown = error.to_string();
        assert!(shown.contains(words), "{name}: {shown}");
        assert!(!shown.contains("hidden"), "{name}: {shown}");
        assert!(!error.hint().is_empty(), "{name}");
    }
}

#[test]
fn the_hint_lists_the_contexts() {
    let error = read(&STATIC.replace("current-context: one", "")).unwrap_err();
    assert_eq!(
        error.hint(),
        "set the input `kube-context` to one of: one, two"
    );
}

#[test]
fn an_unverified_server_gives_a_warning() {
    let text = STATIC.replace(
        "certificate-authority-data: Y2E=",
        "insecure-skip-tls-verify: true",
    );
    let access = read(&text).unwrap();
    assert!(access.warnings[0].contains("`insecure-skip-tls-verify` for https://k8s.example"));
}

#[test]
fn the_users_own_file_may_name_files_and_allowed_commands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let text = STATIC.replace("token: hidden-token", "tokenFile: t");
    let mut terms = terms();
    terms.may_name_files = true;
    let read = |text: String, terms: &Terms<'_>| Access::merge(&[(path.clone(), text)], terms);
    let error = read(text.clone(), &terms).unwrap_err();
    assert!(matches!(error, KubeconfigError::NoFile { .. }));
    std::fs::write(folder.path().join("t"), "x").unwrap();
    let access = read(text, &terms).unwrap();
    let expected = folder.path().join("t").to_string_lossy().into_owned();
    assert_eq!(user(&access).token_file, Some(expected));
    terms.allow_exec = true;
    let beside = folder.path().join("bin/plugin");
    // One without a slash is looked for in PATH.
    for (command, expected) in [
        ("plugin", Path::new("plugin")),
        ("bin/plugin", beside.as_path()),
    ] {
        let text = STATIC.replace(
            "token: hidden-token",
            &format!("exec: {{command: {command}}}"),
        );
        let exec = user(&read(text, &terms).unwrap()).exec.unwrap();
        assert_eq!(exec.command.as_deref().map(Path::new), Some(expected));
    }
}

#[test]
fn a_cluster_by_name_gets_our_tokens() {
    let request = TokenRequest {
        cluster: "builders".to_owned(),
        region: Some("eu-west-1".to_owned()),
        ..TokenRequest::default()
    };
    let access = Access::eks(
        "https://x.eks.amazonaws.com/",
        "Y2E=",
        &request,
        Path::new("/p"),
    )
    .unwrap();
    assert_eq!(access.server, "https://x.eks.amazonaws.com");
    assert_eq!(
        user(&access).exec.unwrap().args.unwrap().join(" "),
        "eks-token --cluster builders --region eu-west-1"
    );
}

#[test]
fn a_pod_uses_its_service_account() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("ca.crt", "ca"), ("token", "t"), ("namespace", "ci\n")] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let access = Access::in_cluster(folder.path(), "fd00::1", "443", Path::new("/p")).unwrap();
    assert_eq!(access.server, "https://[fd00::1]:443");
    assert_eq!(access.namespace.as_deref(), Some("ci"));
}
