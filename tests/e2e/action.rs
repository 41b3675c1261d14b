//! The built image, started as the runner starts it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::registry::manifest;
use crate::rig::{busybox, registry, variable};
use crate::runner::{Runner, below, docker};

/// From the start of the CLI to our first line. It takes 0.3 s on an idle machine; tests run beside others.
const FIRST_LINE: Duration = Duration::from_secs(5);

#[test]
fn a_step_pushes_to_a_registry_on_localhost_and_later_steps_read_its_outputs() {
    // As in a job with services, whose registry's port is on the host's loopback; and after a checkout.
    let network = format!("e2e-job-{}", std::process::id());
    docker(&["network", "create", &network]);
    let runner = Runner::new()
        .network(&network)
        .file(".git/HEAD", "ref: refs/heads/main\n")
        .file("Dockerfile", format!("FROM {}\nCOPY . /app\n", busybox()));
    let tag = format!("{}/action/app:1", registry());
    let run = runner
        .step()
        .input("context", ".")
        .input("tags", &tag)
        .input("timings-file", "timings.json")
        .run()
        .succeeded();
    manifest("action/app", run.output("digest"));
    assert_eq!(run.output("tags"), tag);
    let printed = runner.script(
        &run,
        &[
            ("IMAGE", "${{ steps.push.outputs.image }}"),
            ("TIMINGS", "${{ steps.push.outputs.timings }}"),
        ],
        "$DOCKER run --rm \"$IMAGE\" head -n 1 /app/Dockerfile\n[[ $TIMINGS == '{'* ]] && cat timings.json",
    );
    let (first, timings) = printed.split_once('\n').unwrap();
    assert_eq!(first, format!("FROM {}", busybox()));
    assert!(timings.starts_with('{'), "{timings}");
    assert_eq!(
        run.output("image"),
        format!("{}/action/app@{}", registry(), run.output("digest"))
    );
    assert!(
        run.values.summary.starts_with("### Pushed "),
        "{}",
        run.values.summary
    );
    assert!(
        run.log.groups.contains(&"Build".to_owned()),
        "{:?}",
        run.log.groups
    );
    // That there is no cache yet is a notice.
    for level in ["warning", "error"] {
        assert!(run.annotations(level).is_empty(), "{}", run.log());
    }
    assert!(
        run.log.masks.contains(&"token-of-the-job".to_owned()),
        "{:?}",
        run.log.masks
    );
    assert!(run.first_line.unwrap() < FIRST_LINE, "{:?}", run.first_line);
    assert_eq!(runner.leftovers(), Vec::<std::path::PathBuf>::new());
    assert_eq!(runner.containers(), "");
    docker(&["network", "rm", &network]);
    for path in below(&runner.workspace()) {
        assert_eq!(path.metadata().unwrap().uid(), 1001, "{}", path.display());
    }
}

/// Answers everything with 403, as Amazon ECR does where a role lacks rights.
fn forbidding_registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            while request
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ = stream.write_all(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    address
}

/// Debian's registry again, which lets nobody in: 401 with a challenge.
fn locked_registry(folder: &Path) -> (Child, String) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = format!("127.0.0.1:{port}");
    let configuration = folder.join("registry.yml");
    // It makes the file of users, with a user that nobody knows.
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{root}/data\"}}}}\n\
         auth: {{htpasswd: {{realm: rig, path: \"{root}/users\"}}}}\nhttp: {{addr: \"{address}\"}}\n",
        root = folder.display()
    );
    std::fs::write(&configuration, text).unwrap();
    let program = Path::new(&variable("RIG_DOCKER")).with_file_name("docker-registry");
    let child = Command::new(program)
        .arg("serve")
        .arg(configuration)
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while TcpStream::connect(&address).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    (child, address)
}

#[test]
fn what_a_registry_refuses_is_explained_to_forks_and_to_dependabot() {
    let folder = tempfile::tempdir().unwrap();
    let (mut locked, unauthorized) = locked_registry(folder.path());
    let forbidden = forbidding_registry();
    let fork = r#"{"pull_request":{"head":{"repo":{"full_name":"eve/app"}}}}"#;
    let own = r#"{"pull_request":{"head":{"repo":{"full_name":"octo/app"}}}}"#;
    // Each waits for its next try most of the time.
    thread::scope(|scope| {
        for (registry, event, actor, words) in [
            (
                &unauthorized,
                fork,
                "eve",
                Some("comes from the fork `eve/app`"),
            ),
            (
                &forbidden,
                own,
                "dependabot[bot]",
                Some("Dependabot started this run"),
            ),
            (&unauthorized, own, "octocat", None),
        ] {
            scope.spawn(move || is_refused(registry, event, actor, words));
        }
    });
    locked.kill().unwrap();
    locked.wait().unwrap();
}

/// Pushes to a registry that refuses; `words` explain why the run may not.
fn is_refused(registry: &str, event: &str, actor: &str, words: Option<&str>) {
    let run = Runner::new()
        .file("Dockerfile", format!("FROM {}\nCOPY . .\n", busybox()))
        .event("pull_request", event)
        .variable("GITHUB_ACTOR", actor)
        .step()
        .input("context", ".")
        .input("tags", &format!("{registry}/refused/app:1"))
        .run();
    assert_eq!(run.code, Some(1), "{}", run.log());
    let errors = run.annotations("error");
    let [error] = errors.as_slice() else {
        panic!("{}", run.log());
    };
    let message = &error.message;
    match words {
        Some(words) => assert!(message.contains(words), "{message}"),
        None => assert!(!message.contains("so that"), "{message}"),
    }
    assert!(message.contains("hint: "), "{message}");
}

#[test]
fn certificates_that_only_the_runner_has_are_named() {
    let runner = Runner::new()
        .file("Dockerfile", "FROM scratch\n")
        .variable("SSL_CERT_FILE", "/etc/ssl/company.pem");
    let run = runner
        .step()
        .input("context", ".")
        .input("push", "false")
        .run();
    assert_eq!(run.code, Some(2), "{}", run.log());
    let message = &run.log.annotations[0].message;
    assert!(
        message.contains("variable `SSL_CERT_FILE`: `/etc/ssl/company.pem` given"),
        "{message}"
    );
}
