//! Proxies: who goes through them, and who is told of them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

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

#[test]
fn a_builder_in_a_container_is_told_of_the_proxy_but_of_no_password() {
    let ran = Runner::new()
        .engine(Store::Classic)
        .variable("https_proxy", "http://proxy.test:3128")
        .variable("HTTP_PROXY", "http://user:canary-password@proxy.test:3128")
        .run()
        .exits(0);
    let create = ran
        .calls
        .iter()
        .find(|call| call.starts_with("create "))
        .unwrap();
    assert!(
        create.contains("--driver-opt env.HTTPS_PROXY=http://proxy.test:3128"),
        "{create}"
    );
    assert!(!create.contains("HTTP_PROXY=http://user"), "{create}");
    assert!(
        ran.annotations("warning")[0].contains("the builder gets no `HTTP_PROXY`"),
        "{}",
        ran.log
    );
    assert!(!ran.everything.contains("canary-password"));
}
