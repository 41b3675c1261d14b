//! AWS credentials: OpenID Connect, keys, chains of roles; who gets them, and what refusals say.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use jiff::{SignedDuration, Timestamp};

use crate::ecr::{self, Ecr, HOST};
use crate::http::{self, Request};
use crate::ran::Ran;
use crate::runner::Runner;
use crate::sts::{Answer, BEARER, KEY, ROLE, SIGNATURE, Sts, TOKEN, parameter};

const PASSWORD: &str = "ecr-canary-password-0123456789";

fn tagged(runner: Runner) -> Runner {
    runner.input("tags", &format!("{HOST}/team/app:1"))
}

fn ecr() -> Ecr {
    Ecr::answering(&[ecr::Answer::Token(PASSWORD, 720)])
}

/// Runs a build with a base image in another region: the helper asks for that one, as the same identity.
fn with_a_base_image_elsewhere(runner: Runner) -> Ran {
    let running = runner
        .buildx("login", "210987654321.dkr.ecr.us-east-2.amazonaws.com")
        .start();
    let path = running.runner.path("buildx/login.answer");
    let mut said = String::new();
    let ran = running.finish_and(|| said = std::fs::read_to_string(&path).unwrap());
    let ran = ran.exits(0);
    assert!(said.contains(PASSWORD), "{said}");
    ran
}

#[test]
fn a_role_is_assumed_with_githubs_token_once_for_the_whole_run() {
    let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
    let runner = sts
        .serve(ecr.serve(Runner::new()))
        .input("repository", "team/app")
        .input("tags", "1")
        .input("role-session-name", "ci-1")
        .input("role-duration-seconds", "7200")
        .input("audience", "sts.amazonaws.com.cn/a b");
    let ran = with_a_base_image_elsewhere(runner);
    assert_eq!(sts.asked(), ["token", "AssumeRoleWithWebIdentity"]);
    let requests = sts.requests();
    assert!(
        requests[0]
            .line
            .starts_with("GET /token?api-version=2.0&audience=sts.amazonaws.com.cn%2Fa+b HTTP/1.1"),
        "{}",
        requests[0].line
    );
    assert_eq!(
        requests[0].header("authorization"),
        format!("bearer {BEARER}")
    );
    for (name, value) in [
        ("RoleArn", ROLE),
        ("RoleSessionName", "ci-1"),
        ("DurationSeconds", "7200"),
    ] {
        assert_eq!(parameter(&requests[1], name), value);
    }
    assert!(parameter(&requests[1], "WebIdentityToken").ends_with(&format!("{SIGNATURE}-0")));
    assert_eq!(requests[1].signed(), "");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        requests[0].header("user-agent"),
        format!("fast-ecr-push/{version}")
    );
    // The SDK's form for an application's name.
    let agent = requests[1].header("user-agent");
    let application = format!("app/fast-ecr-push-{version}");
    assert!(agent.contains(&application), "{agent}");
    assert_eq!(
        ecr.signed(),
        [format!("{KEY} eu-west-1"), format!("{KEY} us-east-2")]
    );
    ran.says("AWS: arn:aws:sts::123456789012:assumed-role/deploy/GitHubActions, until ");
}

#[test]
fn a_session_that_ends_in_mid_build_is_renewed_by_the_helper() {
    let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
    let url = format!("{}/token?api-version=2.0", sts.address);
    let settings = serde_json::json!({
        "region": null, "profile": null, "allowed_accounts": [], "on_runner": true,
        "source": {"Role": {
            "name": ROLE, "session_name": "ci", "seconds": 900, "external_id": null,
            "with": {"GitHub": {"url": url, "token": BEARER, "audience": "sts.amazonaws.com"}},
            "lacks_token": false,
        }},
    });
    // Less than five minutes are left of the run's session.
    let soon = Timestamp::now() + SignedDuration::from_mins(4);
    let session = serde_json::json!({
        "keys": {"id": "ASIAOLD", "secret": "old", "token": "old"},
        "expires": soon.to_string(), "arn": "arn:aws:sts::123456789012:assumed-role/deploy/ci",
    });
    let runner = Runner::bare()
        .called("docker-credential-fast-ecr-push")
        .arguments(&["get"])
        .stdin(HOST)
        .file("tokens/aws-settings.json", &settings.to_string())
        .file("tokens/aws-credentials.json", &session.to_string());
    let tokens = runner.path("tokens");
    let runner = ecr
        .serve(runner)
        .variable("AWS_ENDPOINT_URL_STS", &sts.address)
        .variable("FAST_ECR_PUSH_TOKENS", &tokens)
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY");
    let running = runner.start();
    let mut left = String::new();
    let ran = running.finish_and(|| {
        left = std::fs::read_to_string(tokens.join("aws-credentials.json")).unwrap();
    });
    let ran = ran.exits(0);
    assert!(ran.log.contains(PASSWORD), "{}", ran.log);
    assert_eq!(sts.asked(), ["token", "AssumeRoleWithWebIdentity"]);
    assert_eq!(ecr.signed(), [format!("{KEY} eu-west-1")]);
    // The next one need not assume the role.
    assert!(left.contains(TOKEN), "{left}");
}

#[test]
fn what_may_pass_is_tried_again_with_a_new_token() {
    for passing in [
        Answer::Error(400, "IDPCommunicationError", "try again"),
        Answer::Error(400, "ExpiredTokenException", "Token expired"),
        Answer::Error(
            400,
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
        ),
        Answer::Error(400, "Throttling", "Rate exceeded"),
        Answer::Error(503, "ServiceUnavailable", "busy"),
        Answer::Cut,
    ] {
        let (sts, ecr) = (Sts::answering(&[passing.clone(), Answer::Keys(60)]), ecr());
        let ran = sts.serve(tagged(ecr.serve(Runner::new()))).run().exits(0);
        let pair = ["token", "AssumeRoleWithWebIdentity"];
        assert_eq!(sts.asked(), [pair, pair].concat(), "{passing:?}");
        ran.says(": trying again in ");
    }
    let issuer = [Answer::Error(500, "", "oops"), Answer::Cut, Answer::Keys(0)];
    let (sts, ecr) = (Sts::with_issuer(&[Answer::Keys(60)], &issuer), ecr());
    sts.serve(tagged(ecr.serve(Runner::new()))).run().exits(0);
    assert_eq!(sts.asked().len(), 4);
}

#[test]
fn a_refusal_is_final_and_says_what_the_trust_policy_has_to_hold() {
    let cases = [
        (
            Answer::Error(
                403,
                "AccessDenied",
                "Not authorized to perform sts:AssumeRoleWithWebIdentity",
            ),
            "this run's `sub` is `repo:octo/app:ref:refs/heads/main`, its `aud` `sts.amazonaws.com`",
        ),
        (
            Answer::Error(
                400,
                "InvalidIdentityToken",
                "No OpenIDConnect provider found in your account for https://x",
            ),
            "the account 123456789012 needs an IAM identity provider",
        ),
        (
            Answer::Error(400, "InvalidIdentityToken", "Incorrect token audience"),
            "add the input `audience` to the audiences",
        ),
    ];
    for (answer, hint) in cases {
        let (sts, ecr) = (Sts::answering(&[answer]), ecr());
        let ran = sts.serve(tagged(ecr.serve(Runner::new()))).run().exits(3);
        ran.says(&format!("could not get an ECR token for `{HOST}`"))
            .says(&format!("caused by: could not assume the role `{ROLE}`: "))
            .says(hint);
        assert_eq!(sts.asked().len(), 2, "{}", ran.log);
        assert!(ecr.requests().is_empty());
    }
}

#[test]
fn keys_are_taken_from_inputs_before_the_environment() {
    let ecr = ecr();
    tagged(ecr.serve(Runner::new()))
        .input("aws-access-key-id", "AKIDINPUT")
        .input("aws-secret-access-key", "input-secret")
        .input("aws-region", "eu-central-1")
        .run()
        .exits(0);
    // The registry's region, whatever the inputs' is.
    assert_eq!(ecr.signed(), ["AKIDINPUT eu-west-1"]);
}

#[test]
fn a_role_is_assumed_with_keys_or_a_role_where_that_is_asked_for() {
    let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
    sts.serve(tagged(ecr.serve(Runner::new())))
        .variable("AWS_ACCESS_KEY_ID", "ASIAFIRST")
        .variable("AWS_SECRET_ACCESS_KEY", "first")
        .variable("AWS_SESSION_TOKEN", "first-token")
        .input("role-chaining", "true")
        .input("role-external-id", "x-1")
        .run()
        .exits(0);
    assert_eq!(sts.asked(), ["AssumeRole"]);
    let request = &sts.requests()[0];
    assert_eq!(request.signed(), "ASIAFIRST eu-west-1");
    assert_eq!(parameter(request, "ExternalId"), "x-1");
    assert_eq!(ecr.signed(), [format!("{KEY} eu-west-1")]);
}

#[test]
fn a_file_with_a_token_is_read_for_each_session() {
    let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
    let runner = sts
        .serve(tagged(ecr.serve(Runner::new())))
        .file("temp/web-token", "file-canary-token\n");
    let path = runner.path("temp/web-token").to_string_lossy().into_owned();
    runner
        .input("web-identity-token-file", &path)
        .run()
        .exits(0);
    assert_eq!(sts.asked(), ["AssumeRoleWithWebIdentity"]);
    assert_eq!(
        parameter(&sts.requests()[0], "WebIdentityToken"),
        "file-canary-token"
    );
    let ran = sts
        .serve(tagged(ecr.serve(Runner::new())))
        .input("web-identity-token-file", "/nowhere/token")
        .run()
        .exits(3);
    ran.says("could not read the token file `/nowhere/token`");
}

#[test]
fn a_token_file_that_is_a_symbolic_link_is_refused() {
    let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
    let runner = sts
        .serve(tagged(ecr.serve(Runner::new())))
        .file("temp/web-token", "file-canary-token\n");
    let link = runner.path("temp/link");
    std::os::unix::fs::symlink(runner.path("temp/web-token"), &link).unwrap();
    let ran = runner
        .input("web-identity-token-file", &link.to_string_lossy())
        .run()
        .exits(3);
    ran.says("temp/link`: it is a symbolic link")
        .says("hint: set `web-identity-token-file` to a regular file");
    assert!(sts.asked().is_empty());
}

#[test]
fn a_missing_profile_is_named() {
    let ecr = ecr();
    let runner = tagged(ecr.serve(Runner::new()))
        .file("temp/config", "[profile other]\nregion = eu-west-1\n");
    let config = runner.path("temp/config");
    let ran = runner
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .variable("AWS_CONFIG_FILE", config)
        .input("aws-profile", "dev")
        .run()
        .exits(3);
    ran.says("caused by: the AWS profile `dev` does not exist or has no credentials")
        .says("hint: correct `aws-profile`");
    assert!(ecr.requests().is_empty());
}

/// What a kubeconfig's `aws eks get-token --profile dev` becomes.
#[test]
fn a_missing_profile_of_a_kubeconfig_is_named() {
    let runner = || {
        let runner = Runner::new().file("temp/config", "[profile other]\nregion = eu-west-1\n");
        let config = runner.path("temp/config");
        runner.variable("AWS_CONFIG_FILE", config).arguments(&[
            "eks-token",
            "--cluster",
            "builders",
            "--region",
            "eu-west-1",
            "--profile",
            "dev",
        ])
    };
    // Keys of the environment win.
    let keys = runner()
        .variable("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .variable("AWS_SECRET_ACCESS_KEY", "key-canary");
    keys.run().exits(0).says("ExecCredential");
    let ran = runner().run().exits(1);
    let words = "could not make a token for the cluster `builders`: the AWS profile `dev`, which the kubeconfig names, does not exist \
         or has no credentials, and there are no others (remove the profile from the kubeconfig's `exec` entry";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
}

#[test]
fn credentials_of_an_account_that_is_not_allowed_are_not_used() {
    let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
    for (allowed, code) in [("123456789012", 0), ("210987654321", 3)] {
        let ran = tagged(ecr.serve(Runner::new()))
            .variable("AWS_ENDPOINT_URL_STS", &sts.address)
            .input("allowed-account-ids", allowed)
            .run()
            .exits(code);
        if code != 0 {
            ran.says("caused by: the AWS credentials belong to the account 123456789012, which is not in `allowed-account-ids`: 210987654321");
        }
    }
    assert_eq!(sts.asked(), ["GetCallerIdentity", "GetCallerIdentity"]);
    assert_eq!(ecr.requests().len(), 1);
    // A role says its account by itself, before anything is asked.
    let ran = sts
        .serve(tagged(ecr.serve(Runner::new())))
        .input("allowed-account-ids", "210987654321")
        .run()
        .exits(2);
    ran.says("expected a role in one of `allowed-account-ids`")
        .started_nothing();
}

#[test]
fn a_cache_in_s3_gets_the_roles_keys_and_nothing_else_does() {
    let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
    for (cache, expected) in [
        ("type=s3,region=eu-west-1,bucket=b,name=n", true),
        ("type=registry,ref=registry.test/app:cache", false),
    ] {
        let ran = sts
            .serve(tagged(ecr.serve(Runner::new())))
            .variable("ACTIONS_RUNTIME_TOKEN", "runtime-canary")
            .input("cache-from", cache)
            .run()
            .exits(0);
        let environment = &ran.environments;
        assert_eq!(environment.contains(TOKEN), expected, "{environment}");
        assert!(!environment.contains(BEARER), "{environment}");
        assert!(!environment.contains("runtime-canary"), "{environment}");
    }
    let ran = Runner::new()
        .variable("ACTIONS_RUNTIME_TOKEN", "runtime-canary")
        .input("cache-to", "type=gha")
        .run()
        .exits(0);
    assert!(ran.environments.contains("runtime-canary"));
}

/// An agent that hands out keys to who shows the token, as in a container of ECS: its address, and the tokens it saw.
fn agent() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/keys", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shown = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let token = Request::read(&mut stream)
                .header("authorization")
                .to_owned();
            shown.lock().unwrap().push(token);
            let keys = serde_json::json!({
                "AccessKeyId": KEY, "SecretAccessKey": "agents-secret", "Token": "agents-token",
                "Expiration": (Timestamp::now() + SignedDuration::from_hours(1)).to_string(),
            });
            http::send(stream, "200 OK", "application/json", &keys.to_string());
        }
    });
    (address, seen)
}

#[test]
fn an_agents_keys_are_found_by_the_helper_though_no_child_gets_the_token_for_them() {
    const AGENTS: &str = "agent-canary-0123456789";
    let (ecr, (address, seen)) = (ecr(), agent());
    let runner = tagged(ecr.serve(Runner::new()))
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", &address)
        .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", AGENTS)
        .variable("RUNNER_DEBUG", "1");
    let ran = with_a_base_image_elsewhere(runner);
    assert_eq!(*seen.lock().unwrap(), [AGENTS, AGENTS]);
    assert!(!ran.environments.contains(AGENTS));
    assert!(!ran.everything.contains(AGENTS));
}
