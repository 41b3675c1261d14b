//! The machine's network: proxies, private authorities, and where the Engine is.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::authority::Authority;
use crate::ecr::{Answer, Ecr, HOST};
use crate::engine::Store;
use crate::runner::Runner;

/// A proxy that refuses everything: its address, and the first lines of what it was asked.
pub(crate) fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            seen.lock().unwrap().push(line.trim().to_owned());
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (address, asked)
}

#[test]
fn aws_is_asked_through_the_environments_proxy() {
    let (address, asked) = proxy();
    let ecr = Ecr::answering(&[Answer::Silence]);
    let ran = ecr
        .serve(Runner::new())
        .without("AWS_ENDPOINT_URL_ECR")
        .variable("HTTPS_PROXY", &address)
        .input("tags", &format!("{HOST}/team/app:1"))
        .run()
        .exits(3);
    ran.says("could not get an ECR token");
    let asked = asked.lock().unwrap();
    let ecr = "CONNECT api.ecr.eu-west-1.amazonaws.com:443 HTTP/1.1";
    assert!(asked.iter().any(|line| line == ecr), "{asked:?}");
    // Earlier runs are asked of GitHub meanwhile, the same way.
    let github = "CONNECT api.github.com:443 HTTP/1.1";
    assert!(
        asked.iter().all(|line| line == ecr || line == github),
        "{asked:?}"
    );
}

#[test]
fn hosts_that_need_no_proxy_are_asked_directly() {
    let (address, asked) = proxy();
    let ecr = Ecr::answering(&[Answer::Token("password-0123456789", 720)]);
    ecr.serve(Runner::new())
        .variable("HTTP_PROXY", &address)
        .variable("NO_PROXY", "127.0.0.1")
        .input("tags", &format!("{HOST}/team/app:1"))
        .run()
        .exits(0);
    assert_eq!(ecr.requests().len(), 1);
    assert_eq!(*asked.lock().unwrap(), [""; 0]);
}

/// A GitHub that has nothing to tell: its address, and the number of its answers.
fn github() -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            *seen.lock().unwrap() += 1;
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
            );
        }
    });
    (address, asked)
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named_and_only_then() {
    let authority = Authority::of("localhost");
    for (variable, trusted) in [
        (None, false),
        (Some("SSL_CERT_FILE"), true),
        (Some("SSL_CERT_DIR"), true),
        (Some("NODE_EXTRA_CA_CERTS"), true),
    ] {
        let ecr = Ecr::answering(&[Answer::Token("password-0123456789", 720)]);
        let (github, asked) = github();
        let mut runner = ecr
            .serve(Runner::new())
            .file("temp/certificates/company.pem", &authority.certificate)
            .variable(
                "AWS_ENDPOINT_URL_ECR",
                format!("https://{}", authority.before(&ecr.address)),
            )
            .variable(
                "GITHUB_API_URL",
                format!("https://{}", authority.before(&github)),
            )
            .input("tags", &format!("{HOST}/team/app:1"));
        if let Some(variable) = variable {
            let path = match variable {
                "SSL_CERT_DIR" => "temp/certificates",
                _ => "temp/certificates/company.pem",
            };
            let path = runner.path(path);
            runner = runner.variable(variable, path);
        }
        let ran = runner.run().exits(if trusted { 0 } else { 3 });
        assert_eq!(ecr.requests().len(), usize::from(trusted), "{variable:?}");
        assert_eq!(
            *asked.lock().unwrap() > 0,
            trusted,
            "{variable:?}: {}",
            ran.log
        );
        // What buildx gets, which reads the variables itself.
        let inherited = ran
            .build_environment
            .contains("SSL_CERT_FILE=/proc/self/fd/");
        assert_eq!(
            inherited,
            variable == Some("NODE_EXTRA_CA_CERTS"),
            "{}",
            ran.build_environment
        );
    }
}

#[test]
fn a_builder_in_a_container_gets_the_certificates_that_are_named() {
    let certificate = "-----BEGIN CERTIFICATE-----\nY29tcGFueQ==\n-----END CERTIFICATE-----\n";
    let runner = Runner::new().engine(Store::Classic).file(
        "temp/company.pem",
        &format!("{certificate}-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n"),
    );
    let path = runner.path("temp/company.pem");
    let ran = runner
        .variable("NODE_EXTRA_CA_CERTS", path)
        .input("buildkitd-config-inline", "debug = true")
        .run()
        .exits(0);
    let create = ran
        .calls
        .iter()
        .find(|call| call.starts_with("create "))
        .unwrap();
    assert!(
        create.contains("--driver-opt env.SSL_CERT_DIR=/etc/buildkit/certs/fast-ecr-push.invalid"),
        "{create}"
    );
    let config = &ran.buildkitd_config;
    assert!(
        config.starts_with("debug = true\n\n[system]\n")
            && config.contains("\n[registry.\"fast-ecr-push.invalid\"]\n  ca = [\""),
        "{config}"
    );
    // The system's are in it, too, as the file is one for all who read it.
    assert!(
        ran.certificates.ends_with(certificate),
        "{}",
        ran.certificates
    );
    assert!(!ran.everything.contains("hush"));
}

#[test]
fn certificates_that_are_not_there_are_refused_or_told_of() {
    let ran = Runner::new()
        .variable("SSL_CERT_FILE", "/nowhere/company.pem")
        .run()
        .exits(2);
    ran.says("variable `SSL_CERT_FILE`: `/nowhere/company.pem` given, expected a file with certificates in PEM form below");
    assert_eq!(ran.calls, [""; 0]);
    let ran = Runner::new()
        .variable("NODE_EXTRA_CA_CERTS", "/nowhere/company.pem")
        .run()
        .exits(0);
    let warning = &ran.annotations("warning")[0];
    assert!(
        warning.contains("`NODE_EXTRA_CA_CERTS`: `/nowhere/company.pem` is not used"),
        "{warning}"
    );
}

/// A folder with the certificate under the name that Docker gives it.
fn docker_certificates(authority: &Authority, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("ca.pem"), &authority.certificate).unwrap();
}

/// A Docker context of this name, current on the machine.
fn context(runner: Runner, name: &str, host: &str) -> Runner {
    let config = serde_json::json!({ "currentContext": name });
    let meta = serde_json::json!({
        "Name": name, "Metadata": {}, "Endpoints": { "docker": { "Host": host, "SkipTLSVerify": false } },
    });
    runner
        .file("home/.docker/config.json", &config.to_string())
        .file(
            "home/.docker/contexts/meta/0a1b/meta.json",
            &meta.to_string(),
        )
        .without("DOCKER_HOST")
}

#[test]
fn the_engine_of_the_users_docker_context_builds() {
    let runner = Runner::new();
    let engine = runner.engine_host().to_owned();
    let ran = context(runner, "desktop", &engine).run().exits(0);
    let path = engine.rsplit('/').next().unwrap();
    let expected = format!("DOCKER_HOST=unix://[ROOT]/{path}\n");
    assert!(
        ran.build_environment.contains(&expected),
        "{}",
        ran.build_environment
    );
    assert_eq!(ran.outputs["driver"], "docker");

    let ran = context(Runner::new(), "remote", "ssh://build.test")
        .run()
        .exits(3);
    ran.says("could not reach the Docker Engine at `ssh://build.test`: only unix:// and tcp:// addresses are supported");
    let ran = context(Runner::new(), "desktop", "unix:///nowhere.sock")
        .variable("DOCKER_CONTEXT", "other")
        .run()
        .exits(3);
    ran.says("the Docker context `other` was not found");
}

#[test]
fn an_engine_behind_tls_is_asked_with_the_certificates_that_are_named() {
    let authority = Authority::of("localhost");
    let runner = Runner::new();
    let host = format!("tcp://{}", authority.before(runner.engine_host()));
    let runner = context(runner, "remote", &host);
    let certificates = runner.path("home/.docker/contexts/tls/0a1b/docker");
    docker_certificates(&authority, &certificates);
    let ran = runner.run().exits(0);
    for variable in [
        format!("DOCKER_HOST={host}\n"),
        "DOCKER_TLS_VERIFY=1\n".to_owned(),
        "DOCKER_CERT_PATH=[ROOT]/home/.docker/contexts/tls/0a1b/docker\n".to_owned(),
    ] {
        assert!(
            ran.build_environment.contains(&variable),
            "{}",
            ran.build_environment
        );
    }

    let stranger = Authority::of("localhost");
    let runner = Runner::new();
    let host = format!("tcp://{}", stranger.before(runner.engine_host()));
    let certificates = runner.path("certificates");
    docker_certificates(&authority, &certificates);
    runner
        .variable("DOCKER_HOST", host)
        .variable("DOCKER_TLS_VERIFY", "1")
        .variable("DOCKER_CERT_PATH", certificates)
        .run()
        .exits(3)
        .says("could not reach the Docker Engine at `tcp://localhost:");
}
