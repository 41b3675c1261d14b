//! Several registries at once: every kind of Amazon's, and others.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ecr::{Answer, Ecr, HOST};
use crate::network;
use crate::ran::Ran;
use crate::runner::Runner;

const PASSWORD: &str = "ecr-canary-password-0123456789";
const NOT_FOUND: &str = "credentials not found in native keychain";

fn tagged(runner: Runner) -> Runner {
    runner.input("tags", &format!("{HOST}/team/app:1"))
}

/// A run whose buildx asks for these logins: what it is told, a line each, and Docker's configuration.
fn logins(runner: Runner, hosts: &[&str]) -> (Ran, Vec<String>, String) {
    let running = runner.buildx("login", &hosts.join("\n")).start();
    let folder = running.runner.path("buildx");
    let (mut answers, mut config) = (String::new(), String::new());
    let ran = running.finish_and(|| {
        answers = fs::read_to_string(folder.join("login.answer")).unwrap();
        config = fs::read_to_string(folder.join("config.json")).unwrap();
    });
    let answers = answers.lines().filter(|line| *line != "exit 1");
    (ran.exits(0), answers.map(str::to_owned).collect(), config)
}

/// User and password of an answer.
fn user(answer: &str) -> (String, String) {
    let answer: serde_json::Value = serde_json::from_str(answer).expect(answer);
    let field = |name: &str| answer[name].as_str().unwrap().to_owned();
    (field("Username"), field("Secret"))
}

#[test]
fn a_hosts_token_is_asked_of_the_api_of_its_region_partition_and_kind() {
    let cases = [
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "api.ecr.eu-west-1.amazonaws.com",
        ),
        (
            "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
            "api.ecr-fips.us-east-1.amazonaws.com",
        ),
        (
            "123456789012.dkr-ecr.eu-west-1.on.aws",
            "ecr.eu-west-1.api.aws",
        ),
        (
            "123456789012.dkr-ecr-fips.us-east-1.on.aws",
            "ecr-fips.us-east-1.api.aws",
        ),
        (
            "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
            "api.ecr.us-gov-west-1.amazonaws.com",
        ),
        (
            "123456789012.dkr.ecr-fips.us-gov-east-1.amazonaws.com",
            "api.ecr-fips.us-gov-east-1.amazonaws.com",
        ),
        (
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "api.ecr.cn-north-1.amazonaws.com.cn",
        ),
        (
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            "ecr.cn-north-1.api.amazonwebservices.com.cn",
        ),
        (
            "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
            "api.ecr.eusc-de-east-1.amazonaws.eu",
        ),
        (
            "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov",
            "api.ecr.us-iso-east-1.c2s.ic.gov",
        ),
        (
            "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
            "api.ecr.us-isob-east-1.sc2s.sgov.gov",
        ),
        (
            "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
            "api.ecr.eu-isoe-west-1.cloud.adc-e.uk",
        ),
        (
            "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
            "api.ecr.us-isof-south-1.csp.hci.ic.gov",
        ),
        ("public.ecr.aws", "api.ecr-public.us-east-1.amazonaws.com"),
        (
            "ecr-public.aws.com",
            "api.ecr-public.us-east-1.amazonaws.com",
        ),
    ];
    for (host, api) in cases {
        let (address, asked) = network::proxy();
        let ran = Runner::bare()
            .called("docker-credential-fast-ecr-push")
            .arguments(&["get"])
            .stdin(host)
            .variable("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .variable("AWS_SECRET_ACCESS_KEY", "example")
            .variable("AWS_REGION", "ap-south-2")
            .variable("AWS_MAX_ATTEMPTS", "1")
            .variable("HTTPS_PROXY", &address)
            .run()
            .exits(1);
        let expected = format!("CONNECT {api}:443 HTTP/1.1");
        assert_eq!(*asked.lock().unwrap(), [expected], "{host}: {}", ran.log);
    }
}

#[test]
fn more_registries_are_logged_in_to_at_the_start_each_in_its_region() {
    let ecr = Ecr::answering(&[Answer::Token(PASSWORD, 720)]);
    let other = "210987654321.dkr.ecr.us-east-2.amazonaws.com";
    let account = "012345678901.dkr.ecr.eu-west-1.amazonaws.com";
    let runner = tagged(ecr.serve(Runner::new())).input(
        "registries",
        &format!("012345678901,{other}\npublic.ecr.aws"),
    );
    let (_, answers, config) = logins(runner, &[HOST, account, other, "public.ecr.aws"]);
    for answer in &answers {
        assert_eq!(user(answer), ("AWS".to_owned(), PASSWORD.to_owned()));
    }
    assert_eq!(answers.len(), 4);
    let mut signed = ecr.signed();
    signed.sort();
    let expected = ["eu-west-1", "eu-west-1", "us-east-1", "us-east-2"];
    assert_eq!(
        signed,
        expected.map(|region| format!("AKIDEXAMPLE {region}"))
    );
    for host in [HOST, account, other, "public.ecr.aws"] {
        assert!(
            config.contains(&format!("\"{host}\":\"fast-ecr-push\"")),
            "{config}"
        );
    }
}

#[test]
fn the_registry_that_fails_is_named() {
    let denied = Answer::Error("AccessDeniedException", "not authorized");
    for (registries, words, hint) in [
        (
            "012345678901",
            "could not get an ECR token for `012345678901.dkr.ecr.eu-west-1.amazonaws.com`: AccessDeniedException: not authorized",
            "`ecr:GetAuthorizationToken`",
        ),
        (
            "public.ecr.aws",
            "could not get an ECR token for `public.ecr.aws`: AccessDeniedException: not authorized",
            "hint: the role needs `ecr-public:GetAuthorizationToken` and `sts:GetServiceBearerToken` on `*`",
        ),
    ] {
        let ecr = Ecr::answering(std::slice::from_ref(&denied));
        let ran = ecr
            .serve(Runner::new())
            .input("registries", registries)
            .run()
            .exits(3);
        ran.says(words).says(hint);
        assert!(!ran.verbs().contains(&"build"), "{:?}", ran.calls);
    }
}

#[test]
fn the_public_gallery_is_read_by_anybody() {
    // Without credentials, and with some that are not let in.
    let ecr = Ecr::answering(&[Answer::Error("AccessDeniedException", "no")]);
    let without = Runner::new().variable("AWS_REGION", "eu-west-1");
    for runner in [without, ecr.serve(Runner::new())] {
        let (_, answers, _) = logins(runner, &["public.ecr.aws", "https://public.ecr.aws"]);
        assert_eq!(answers, [NOT_FOUND, NOT_FOUND]);
    }
    let ecr = Ecr::answering(&[Answer::Token(PASSWORD, 720)]);
    let (ran, answers, _) = logins(
        ecr.serve(Runner::new())
            .input("tags", "public.ecr.aws/alias/app:1"),
        &["public.ecr.aws"],
    );
    assert_eq!(user(&answers[0]).1, PASSWORD);
    assert_eq!(
        ecr.requests(),
        ["SpencerFrontendService.GetAuthorizationToken"]
    );
    assert_eq!(ran.outputs["registry"], "public.ecr.aws");
}

#[test]
fn other_registries_get_the_logins_that_are_given() {
    const SECRET: &str = "auth-canary-0123456789";
    let ecr = Ecr::answering(&[Answer::Token(PASSWORD, 720)]);
    let keyed = "210987654321.dkr.ecr.us-east-2.amazonaws.com";
    let auth = format!(
        "- username: octo\n  password: {SECRET}-hub\n\
         - {{registry: ghcr.io, username: octo, password: {SECRET}-ghcr}}\n\
         - {{registry: registry.test, username: octo, password: {SECRET}-scope, scope: team/app@push}}\n\
         - {{registry: {keyed}, username: AKIDOTHER, password: {SECRET}-aws}}\n"
    );
    let runner = tagged(ecr.serve(Runner::new()))
        .input("registry-auth", &auth)
        .variable("RUNNER_DEBUG", "1");
    let scoped = runner.path("buildx/scopes/registry.test/team/app@push/config.json");
    let hosts = [
        "https://index.docker.io/v1/",
        "ghcr.io",
        keyed,
        "registry.test",
        "quay.io",
    ];
    let running = runner.buildx("login", &hosts.join("\n")).start();
    let folder = running.runner.path("buildx");
    let (mut answers, mut config, mut scope) = (String::new(), String::new(), String::new());
    let ran = running.finish_and(|| {
        answers = fs::read_to_string(folder.join("login.answer")).unwrap();
        config = fs::read_to_string(folder.join("config.json")).unwrap();
        scope = fs::read_to_string(scoped).unwrap();
    });
    let ran = ran.exits(0);
    let answers: Vec<&str> = answers.lines().filter(|line| *line != "exit 1").collect();
    let octo = |password: &str| ("octo".to_owned(), format!("{SECRET}-{password}"));
    assert_eq!(user(answers[0]), octo("hub"));
    assert_eq!(user(answers[1]), octo("ghcr"));
    assert_eq!(user(answers[2]), ("AWS".to_owned(), PASSWORD.to_owned()));
    assert_eq!(answers[3..], [NOT_FOUND, NOT_FOUND]);
    let mut signed = ecr.signed();
    signed.sort();
    assert_eq!(signed, ["AKIDEXAMPLE eu-west-1", "AKIDOTHER us-east-2"]);
    assert!(
        !config.contains(SECRET) && !config.contains("auths\":"),
        "{config}"
    );
    let basic = STANDARD.encode(format!("octo:{SECRET}-scope"));
    assert_eq!(
        scope,
        format!(r#"{{"auths":{{"registry.test":{{"auth":"{basic}"}}}}}}"#)
    );
    let shown: Vec<&str> = ran
        .everything
        .lines()
        .filter(|line| line.contains(SECRET) && !line.starts_with("::add-mask::"))
        .collect();
    assert_eq!(shown, [""; 0]);
    assert!(!ran.environments.contains(SECRET));
    // Names are no secret.
    assert!(!ran.log.contains("::add-mask::octo\n"));
}
