//! A company's proxy before the world: who goes through it, whom it is not for, and its password.

use crate::authority::Authority;
use crate::ecr::{Answer, Ecr, HOST};
use crate::engine::Store;
use crate::proxy::Proxy;
use crate::ran::Ran;
use crate::runner::Runner;

const API: &str = "api.ecr.eu-west-1.amazonaws.com";
/// With a character that an address can't hold as it is.
const PASSWORD: &str = "canary@password";
const IN_AN_ADDRESS: &str = "canary%40password";

fn ecr() -> Ecr {
    Ecr::answering(&[Answer::Token("password-0123456789", 720)])
}

/// The password stands nowhere, in none of its forms, but where it is hidden.
fn is_hidden(ran: &Ran) {
    for secret in [PASSWORD, IN_AN_ADDRESS, "dXNlcjpjYW5hcnlAcGFzc3dvcmQ="] {
        let mask = format!("::add-mask::{}", secret.replace('%', "%25"));
        let mut lines = ran.log.lines();
        assert!(lines.any(|line| line == mask), "no {mask} in {}", ran.log);
        let shown = ran.everything.lines();
        let shown = shown.filter(|line| line.contains(secret) && *line != mask);
        assert_eq!(shown.collect::<Vec<_>>(), [""; 0]);
    }
}

#[test]
fn aws_and_github_are_asked_through_a_proxy_that_wants_a_password() {
    let ecr = ecr();
    let (aws, github) = (Authority::of(API), Authority::of("api.github.com"));
    let before = |authority: &Authority, address: &str| {
        format!("127.0.0.1:{}", authority.listening_at("127.0.0.1", address))
    };
    let proxy = Proxy::at(
        "127.0.0.1",
        Some(&format!("user:{PASSWORD}")),
        &[
            (
                "api.ecr.eu-west-1.amazonaws.com:443",
                before(&aws, &ecr.address),
            ),
            // It has nothing to tell.
            ("api.github.com:443", before(&github, &ecr.address)),
        ],
    );
    let runner = ecr.serve(Runner::new()).file(
        "temp/company.pem",
        &format!("{}{}", aws.certificate, github.certificate),
    );
    let certificates = runner.path("temp/company.pem");
    let ran = runner
        .without("AWS_ENDPOINT_URL_ECR")
        .variable("SSL_CERT_FILE", certificates)
        .variable(
            "HTTPS_PROXY",
            format!("http://user:{IN_AN_ADDRESS}@{}", proxy.address),
        )
        .variable("GITHUB_API_URL", "https://api.github.com")
        .variable("RUNNER_DEBUG", "1")
        .input("tags", &format!("{HOST}/team/app:1"))
        .run()
        .exits(0);
    assert_eq!(ecr.requests().len(), 1, "{}", ran.log);
    let asked = proxy.asked();
    for host in [API, "api.github.com"] {
        let line = format!("CONNECT {host}:443");
        assert!(
            asked
                .iter()
                .any(|asked| asked.line == line && asked.allowed),
            "{asked:?}"
        );
    }
    assert!(asked.iter().all(|asked| asked.allowed), "{asked:?}");
    is_hidden(&ran);
}

#[test]
fn http_proxy_alone_is_used_for_aws() {
    let ecr = ecr();
    let aws = Authority::of(API);
    let port = aws.listening_at("127.0.0.1", &ecr.address);
    let proxy = Proxy::at(
        "127.0.0.1",
        Some(&format!("user:{PASSWORD}")),
        &[(
            "api.ecr.eu-west-1.amazonaws.com:443",
            format!("127.0.0.1:{port}"),
        )],
    );
    let runner = ecr
        .serve(Runner::new())
        .file("temp/company.pem", &aws.certificate);
    let certificates = runner.path("temp/company.pem");
    let ran = runner
        .without("AWS_ENDPOINT_URL_ECR")
        .without("GITHUB_ACTIONS")
        .variable("SSL_CERT_FILE", certificates)
        .variable(
            "HTTP_PROXY",
            format!("http://user:{IN_AN_ADDRESS}@{}", proxy.address),
        )
        .input("tags", &format!("{HOST}/team/app:1"))
        .run()
        .exits(0);
    assert_eq!(ecr.requests().len(), 1, "{}", ran.log);
    let line = format!("CONNECT {API}:443");
    let mut asked = proxy.asked().into_iter();
    assert!(asked.any(|asked| asked.line == line && asked.allowed));
    assert!(!ran.everything.contains("canary@"), "{}", ran.log);
}

#[test]
fn a_proxy_that_takes_no_password_is_said_without_it() {
    let ecr = ecr();
    let proxy = Proxy::at("127.0.0.1", Some("user:other"), &[]);
    let ran = ecr
        .serve(Runner::new())
        .without("AWS_ENDPOINT_URL_ECR")
        .without("GITHUB_ACTIONS")
        .variable(
            "HTTPS_PROXY",
            format!("http://user:{IN_AN_ADDRESS}@{}", proxy.address),
        )
        .input("tags", &format!("{HOST}/team/app:1"))
        .run()
        .exits(3);
    assert!(
        ran.stderr.contains("could not get an ECR token"),
        "{}",
        ran.stderr
    );
    assert!(proxy.asked().iter().all(|asked| !asked.allowed));
    assert!(!ran.everything.contains("canary"), "{}", ran.log);
}

/// An address of this machine that Go does not take for this machine's.
const ELSEWHERE: &str = "0.0.0.0";

#[test]
fn whom_the_proxy_is_not_for_is_asked_directly_as_go_has_it() {
    let rules: [(&str, bool); 9] = [
        ("", true),
        ("0.0.0.0", false),
        ("192.0.2.1, 0.0.0.0", false),
        ("0.0.0.0/8", false),
        ("192.0.2.0/24", true),
        ("0.0.0.0:PORT", false),
        ("*", false),
        ("0.0.0", true),
        ("example.com", true),
    ];
    for (rule, through) in rules {
        let ecr = ecr();
        let (_, port) = ecr.address.rsplit_once(':').unwrap();
        let proxy = Proxy::at("127.0.0.1", None, &[]);
        let ran = ecr
            .serve(Runner::new())
            .variable("AWS_ENDPOINT_URL_ECR", format!("http://{ELSEWHERE}:{port}"))
            .variable("HTTP_PROXY", format!("http://{}", proxy.address))
            .variable("NO_PROXY", rule.replace("PORT", port))
            .input("tags", &format!("{HOST}/team/app:1"))
            .run()
            .exits(0);
        assert_eq!(ecr.requests().len(), 1, "{rule}");
        let lines = proxy.lines();
        assert_eq!(!lines.is_empty(), through, "{rule}: {lines:?}");
        // buildx reads the rules as they were given.
        let given = format!("NO_PROXY={}", rule.replace("PORT", port));
        let children = &ran.environments;
        assert!(children.lines().any(|line| line == given), "{children}");
        assert!(!children.contains("FAST_ECR_PUSH_NO_PROXY"), "{children}");
    }
}

#[test]
fn names_that_the_proxy_is_not_for_are_not_asked_of_it() {
    let rules: [(&str, bool); 7] = [
        (API, false),
        ("amazonaws.com", false),
        (".amazonaws.com", false),
        ("*.amazonaws.com", false),
        ("api.ecr.eu-west-1.amazonaws.com:443", false),
        ("amazon.com", true),
        ("ws.com", true),
    ];
    std::thread::scope(|scope| {
        for (rule, through) in rules {
            scope.spawn(move || {
                let proxy = Proxy::at("127.0.0.1", Some("nobody"), &[]);
                let ecr = ecr();
                // Nobody answers under the name here.
                ecr.serve(Runner::new())
                    .without("AWS_ENDPOINT_URL_ECR")
                    .variable("HTTPS_PROXY", format!("http://{}", proxy.address))
                    .variable("NO_PROXY", rule)
                    .input("tags", &format!("{HOST}/team/app:1"))
                    .run()
                    .exits(3);
                let lines = proxy.lines();
                let asked = lines.iter().any(|line| line.contains(API));
                assert_eq!(asked, through, "{rule}: {lines:?}");
            });
        }
    });
}

#[test]
fn this_machine_is_never_asked_through_a_proxy() {
    let ecr = ecr();
    let proxy = Proxy::at("127.0.0.1", None, &[]);
    let ran = ecr
        .serve(Runner::new())
        .variable("HTTP_PROXY", format!("http://{}", proxy.address))
        .input("tags", &format!("{HOST}/team/app:1"))
        .run()
        .exits(0);
    assert_eq!(ecr.requests().len(), 1);
    assert_eq!(proxy.lines(), [""; 0]);
    let mut children = ran.environments.lines();
    assert!(children.all(|line| !line.starts_with("NO_PROXY=") || line == "NO_PROXY="));
}

#[test]
fn a_builder_in_a_container_gets_the_proxy_and_its_password_on_no_command_line() {
    let with_password = format!("http://user:{IN_AN_ADDRESS}@proxy.test:3128");
    let ran = Runner::new()
        .engine(Store::Classic)
        .variable("https_proxy", "http://proxy.test:3128")
        .variable("HTTP_PROXY", &with_password)
        .variable("NO_PROXY", "*.corp")
        .run()
        .exits(0);
    let create = &ran.calls[1];
    for option in [
        "env.HTTPS_PROXY=http://proxy.test:3128",
        "'env.NO_PROXY=*.corp'",
    ] {
        assert!(
            create.contains(&format!("--driver-opt {option}")),
            "{create}"
        );
    }
    assert!(!create.contains("--bootstrap"), "{create}");
    assert_eq!(ran.calls[2], "inspect --bootstrap fast-ecr-push-[ID]");
    let booted: serde_json::Value = serde_json::from_str(&ran.booted).unwrap();
    assert_eq!(
        booted["Nodes"][0]["DriverOpts"]["env.HTTP_PROXY"],
        with_password
    );
    is_hidden(&ran);
    assert_eq!(ran.annotations("warning"), [""; 0]);
    ran.removed_its_builder();
}
