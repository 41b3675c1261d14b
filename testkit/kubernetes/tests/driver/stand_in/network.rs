//! A company's network: authorities and proxies of its own; and one that falls silent.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::POD;
use super::between::Between;
use super::long::is_cut;
use crate::authority::Authority;
use crate::cluster::Cluster;

/// Not loopback, whose registries need no certificate.
fn gateway() -> String {
    let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
    let docker = std::env::var("RIG_DOCKER").unwrap();
    let inspect = Command::new(docker)
        .args(["network", "inspect", "bridge", "--format", format])
        .output();
    let gateway = String::from_utf8(inspect.unwrap().stdout).unwrap();
    gateway.trim().to_owned()
}

#[test]
fn pods_trust_the_authorities_that_this_machine_trusts() {
    let gateway = gateway();
    let authority = Authority::of(&gateway);
    let private = authority.before(&std::env::var("RIG_REGISTRY").unwrap());
    let name = "fast-ecr-push-trust";
    let cluster = Cluster::stand_in();
    let certificate = cluster.file("company.pem");
    std::fs::write(&certificate, &authority.certificate).unwrap();
    let certificate = certificate.display().to_string();
    let variables = [("NODE_EXTRA_CA_CERTS", certificate.as_str())];
    let proxy = "env.HTTPS_PROXY=http://proxy.example:3128";
    let inputs = [("builder", name), ("driver-opts", proxy)];
    cluster.run_with(&inputs, &variables).succeeded();
    let pod = cluster.record("workloads")[0]["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    let env: Vec<(String, String)> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| {
            let text = |name: &str| variable[name].as_str().unwrap().to_owned();
            (text("name"), text("value"))
        })
        .collect();
    let named = |name: &str| {
        let mut env = env.iter();
        env.find(|(other, _)| other == name).unwrap().1.clone()
    };
    assert_eq!(named("HTTPS_PROXY"), "http://proxy.example:3128");
    let mounts = container["volumeMounts"].as_array().unwrap().iter();
    let mut mounts = mounts.filter(|mount| mount["name"] == "certificates");
    let mount = mounts.next().unwrap()["mountPath"].as_str().unwrap();
    let objects = cluster.objects();
    let text = objects.config(name, "certificates.pem");
    // The pod's image has those of public authorities.
    assert_eq!(text.trim(), authority.certificate.trim());

    // What a kubelet makes of it, but for the place of the folder.
    let folder = cluster.file("mounted");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("certificates.pem"), text).unwrap();
    let folders = named("SSL_CERT_DIR").replace(mount, &folder.display().to_string());
    assert!(folders.starts_with("/etc/ssl/certs:"), "{folders}");
    let trusting = [("SSL_CERT_DIR".to_owned(), folders)];
    for (env, pushed) in [(&trusting[..], true), (&[], false)] {
        let cluster = Cluster::with_variables(env);
        cluster.dockerfile("COPY Dockerfile /\n");
        let tag = format!("{private}/kubernetes/private:1");
        let run = cluster.run_with(&[("tags", &tag), ("cache", "none")], &variables);
        if pushed {
            run.succeeded();
        } else {
            assert_eq!(run.code, Some(1), "{}", run.log);
            let words = "certificate signed by unknown authority";
            assert!(run.log.contains(words), "{}", run.log);
        }
        assert_eq!(cluster.stop(), [""; 0]);
    }
    objects.delete_builder(name);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn certificates_are_left_out_where_they_can_not_be_handed_on_and_that_is_said() {
    let authority = Authority::of("192.0.2.1");
    let denied = json!({ "denied": ["create configmaps"] });
    let refused = json!({ "faults": [{ "call": "create deployments", "code": 422, "times": 1 }] });
    for (script, words) in [
        (&denied, "this identity may not create configmaps"),
        (
            &refused,
            "using buildx's own, without this machine's certificates",
        ),
    ] {
        let cluster = Cluster::stand_in();
        cluster.script(&script.to_string());
        let certificate = cluster.file("company.pem");
        std::fs::write(&certificate, &authority.certificate).unwrap();
        let certificate = certificate.display().to_string();
        let run = cluster.run_with(&[], &[("NODE_EXTRA_CA_CERTS", &certificate)]);
        run.succeeded();
        assert!(run.log.contains(words), "{}", run.log);
        let pod = &cluster.record("workloads")[0]["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["env"], Value::Null);
        assert_eq!(cluster.stop(), [""; 0]);
    }
}

/// The stand-in's port.
fn port(cluster: &Cluster) -> u16 {
    let kubeconfig = cluster.kubeconfig("kubeconfig");
    let (_, rest) = kubeconfig.split_once("https://127.0.0.1:").unwrap();
    rest.lines().next().unwrap().parse().unwrap()
}

/// A kubeconfig whose server has a name that nobody but the proxy knows.
fn beyond_a_proxy(cluster: &Cluster) -> String {
    let here = format!("https://127.0.0.1:{}", port(cluster));
    let there = format!("https://cluster.invalid:{}", port(cluster));
    let named = format!("{there}\n    tls-server-name: 127.0.0.1");
    cluster.kubeconfig("kubeconfig").replace(&here, &named)
}

#[test]
fn behind_a_proxy_all_goes_through_it_and_is_counted() {
    let cluster = Cluster::stand_in();
    let proxy = Between::proxy();
    let kubeconfig = beyond_a_proxy(&cluster);
    let address = format!("http://builder:p%40ss@127.0.0.1:{}", proxy.port);
    let own = kubeconfig.replace(
        "    tls-server-name",
        &format!("    proxy-url: {address}\n    tls-server-name"),
    );
    let none = "http://127.0.0.1:1";
    for (kubeconfig, variable) in [(&kubeconfig, address.as_str()), (&own, none)] {
        let before = proxy.asked().len();
        let run = cluster.run_with(
            &[("kubeconfig", kubeconfig)],
            &[("HTTPS_PROXY", variable), ("NO_PROXY", "127.0.0.1")],
        );
        run.succeeded();
        assert!(run.log.contains("over the Kubernetes API: "), "{}", run.log);
        let asked = proxy.asked();
        // Our calls, buildx's, its exec.
        assert!(asked.len() > before + 2, "{asked:?}");
        for head in asked {
            let connect = format!("CONNECT cluster.invalid:{} HTTP/1.1\r\n", port(&cluster));
            assert!(head.starts_with(&connect), "{head}");
            // builder:p@ss
            let authorization = "proxy-authorization: basic ynvpbgrlcjpwqhnz";
            assert!(head.to_lowercase().contains(authorization), "{head}");
        }
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

/// As without one, whatever the buildx.
#[test]
fn a_stream_that_is_cut_behind_a_proxy_ends_the_build_within_ten_seconds() {
    let cluster = Cluster::stand_in();
    let proxy = Between::proxy();
    let address = format!("http://127.0.0.1:{}", proxy.port);
    is_cut(&cluster, || {
        cluster.run_with(
            &[
                ("kubeconfig", &beyond_a_proxy(&cluster)),
                ("build-args", "SECONDS=60"),
            ],
            &[("HTTPS_PROXY", &address)],
        )
    });
    assert_eq!(cluster.stop(), [""; 0]);
}

/// Runs a build of a minute and disturbs it in the middle. Returns how long it took until that was
/// said, and until the run had ended.
fn disturbed(
    cluster: &Cluster,
    disturb: impl FnOnce(),
    inputs: &[(&str, &str)],
    env: &[(&str, &str)],
    words: &str,
) -> [Duration; 2] {
    let log = cluster.file("silent.log");
    let read = || std::fs::read_to_string(&log).unwrap();
    let mut child = cluster
        .command(inputs)
        .env("INPUT_BUILD-ARGS", "SECONDS=60")
        .envs(env.iter().copied())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut wait_for = |words: &str, longest: u64| {
        let begun = Instant::now();
        while !read().contains(words) {
            let late = begun.elapsed() > Duration::from_secs(longest);
            let ended = child.try_wait().unwrap().is_some();
            assert!(
                !late && (!ended || read().contains(words)),
                "no `{words}`: {}",
                read()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for("RUN echo", 30);
    std::thread::sleep(Duration::from_secs(2));
    let begun = Instant::now();
    disturb();
    wait_for(words, 60);
    let said = begun.elapsed();
    let status = child.wait().unwrap();
    let ended = begun.elapsed();
    assert_eq!(status.code(), Some(3), "{}", read());
    assert!(read().contains("error: the builder"), "{}", read());
    assert!(read().contains("hint: "), "{}", read());
    [said, ended]
}

#[test]
fn a_network_that_falls_silent_is_said_within_ten_seconds_and_ends_the_build() {
    let cluster = Cluster::stand_in();
    let network = Between::network(port(&cluster));
    let here = format!("127.0.0.1:{}", port(&cluster));
    let kubeconfig = cluster.kubeconfig("kubeconfig");
    let kubeconfig = kubeconfig.replace(&here, &format!("127.0.0.1:{}", network.port));
    let words =
        "was lost during the build: neither the builder nor the Kubernetes API answers any more";
    let inputs = [("kubeconfig", kubeconfig.as_str())];
    let [said, ended] = disturbed(&cluster, || network.fall_silent(), &inputs, &[], words);
    assert!(said < Duration::from_secs(10), "{said:?}");
    assert!(ended < Duration::from_secs(30), "{ended:?}");
    // Nobody could tell the cluster; a later run removes it.
    cluster.stop();
}

#[test]
fn an_api_server_that_restarts_ends_the_build_and_the_builder_is_removed() {
    let cluster = Cluster::stand_in();
    let network = Between::network(port(&cluster));
    let here = format!("127.0.0.1:{}", port(&cluster));
    let kubeconfig = cluster.kubeconfig("kubeconfig");
    let kubeconfig = kubeconfig.replace(&here, &format!("127.0.0.1:{}", network.port));
    let inputs = [("kubeconfig", kubeconfig.as_str())];
    let takes = Duration::from_secs(4);
    let restart = || network.restart(takes);
    let [_, ended] = disturbed(&cluster, restart, &inputs, &[], "was lost during the build");
    assert!(ended < takes + Duration::from_secs(30), "{ended:?}");
    assert_eq!(cluster.stop(), [""; 0]);
}

/// Stops the API server, looks whether it is gone, and comes back when it listens again.
fn restart(cluster: &Cluster, takes: Duration) {
    let connects = || TcpStream::connect(("127.0.0.1", port(cluster))).is_ok();
    let begun = Instant::now();
    cluster.restart(takes);
    assert!(!connects());
    while !connects() {
        let longest = takes + Duration::from_secs(5);
        assert!(begun.elapsed() < longest, "it does not come back");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() >= takes);
}

#[test]
fn an_api_server_that_stops_during_the_build_ends_it_and_the_builder_is_removed_when_it_is_back() {
    let cluster = Cluster::stand_in();
    let takes = Duration::from_secs(4);
    let stop = || restart(&cluster, takes);
    let [_, ended] = disturbed(&cluster, stop, &[], &[], "was lost during the build");
    assert!(ended < takes + Duration::from_secs(30), "{ended:?}");
    // The next run finds a cluster that works.
    cluster.run(&[]).succeeded();
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn an_api_server_that_stops_while_pods_boot_delays_the_build() {
    for (ready_ms, takes) in [(6000, 3), (1500, 4)] {
        let cluster = Cluster::stand_in();
        cluster.script(&json!({ "ready_ms": ready_ms }).to_string());
        let begun = Instant::now();
        let takes = Duration::from_secs(takes);
        std::thread::scope(|scope| {
            let run = scope.spawn(|| cluster.run(&[]));
            while cluster.calls("watch pods") == 0 {
                assert!(begun.elapsed() < Duration::from_secs(30), "no pod boots");
                std::thread::sleep(Duration::from_millis(20));
            }
            let before = cluster.calls("list pods");
            restart(&cluster, takes);
            let run = run.join().unwrap();
            run.succeeded();
            assert!(cluster.calls("list pods") > before, "{}", run.log);
        });
        let longest = Duration::from_millis(ready_ms) + takes + Duration::from_secs(30);
        assert!(begun.elapsed() < longest, "{:?}", begun.elapsed());
        assert_eq!(cluster.stop(), [""; 0]);
    }
}

/// What it made is removed when the server is back.
#[test]
fn an_api_server_that_stays_away_while_pods_boot_is_an_error_within_the_builders_time() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"ready_ms":20000}"#);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| cluster.run(&[("driver-opts", "timeout=8s")]));
        while cluster.calls("watch pods") == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "no pod boots");
            std::thread::sleep(Duration::from_millis(20));
        }
        restart(&cluster, Duration::from_secs(12));
        let run = run.join().unwrap();
        assert_eq!(run.code, Some(3), "{}", run.log);
        assert!(run.log.contains("error: the builder"), "{}", run.log);
        assert!(run.log.contains("hint: "), "{}", run.log);
    });
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(cluster.stop(), [""; 0]);
}

/// The server ends after it has created a workload, and before; it answers neither, and nothing listens for a while.
fn ends_at(call: &str, is_done: bool, takes: Duration) -> String {
    let mut fault = json!({ "call": call, "times": 1, "restart_ms": takes.as_millis() as u64 });
    if !is_done {
        fault["code"] = 0.into();
    }
    json!({ "faults": [fault] }).to_string()
}

#[test]
fn an_api_server_that_ends_while_it_creates_a_builder_delays_the_build() {
    let config = ("buildkitd-config-inline", "debug = true");
    for (call, is_done) in [
        ("create deployments", true),
        ("create deployments", false),
        ("create configmaps", true),
        ("create configmaps", false),
    ] {
        let cluster = Cluster::stand_in();
        let takes = Duration::from_secs(3);
        cluster.script(&ends_at(call, is_done, takes));
        let begun = Instant::now();
        let run = cluster.run(&[config]);
        run.succeeded();
        assert!(begun.elapsed() > takes, "{call} {is_done}: {}", run.log);
        assert!(
            run.log.contains("trying again for up to 30 s"),
            "{}",
            run.log
        );
        assert_eq!(cluster.record("workloads").len(), 1, "{call} {is_done}");
        assert_eq!(cluster.stop(), [""; 0], "{call} {is_done}");
    }
}

/// Its configuration belongs to it, though the run did not hear that it made the workload.
#[test]
fn an_api_server_that_ends_while_it_creates_a_builder_that_stays_leaves_it_whole() {
    let name = "fast-ecr-push-restart";
    let claim = "persistent-volume-claim.requests.storage=1Gi";
    let pods = "persistent-volume-claim.requests.storage=1Gi\nreplicas=2";
    for (call, options) in [
        ("get deployments", claim),
        ("create persistentvolumeclaims", claim),
        ("create deployments", claim),
        ("create statefulsets", pods),
    ] {
        let cluster = Cluster::stand_in();
        if options == pods && !cluster.has_buildx_since((0, 34)) {
            assert_eq!(cluster.stop(), [""; 0]);
            continue;
        }
        cluster.script(&ends_at(call, true, Duration::from_secs(3)));
        let inputs = [
            ("builder", name),
            ("driver-opts", options),
            ("buildkitd-config-inline", "debug = true"),
        ];
        for _ in 0..2 {
            cluster.run(&inputs).succeeded();
        }
        let objects = cluster.objects();
        let config = objects.config(name, "buildkitd.toml");
        assert!(config.contains("debug = true"), "{config}");
        assert_eq!(cluster.record("workloads").len(), 1, "{call}");
        objects.delete_builder(name);
        assert_eq!(cluster.stop(), [""; 0], "{call}");
    }
}

#[test]
fn an_api_server_that_ends_for_long_while_it_creates_a_builder_is_an_error_and_nothing_is_left() {
    for is_done in [true, false] {
        let cluster = Cluster::stand_in();
        cluster.script(&ends_at(
            "create deployments",
            is_done,
            Duration::from_secs(10),
        ));
        let begun = Instant::now();
        let run = cluster.run(&[("driver-opts", "timeout=4s")]);
        assert_eq!(run.code, Some(3), "{}", run.log);
        let words = "error: could not reach the Kubernetes API";
        assert!(run.log.contains(words), "{}", run.log);
        assert!(run.log.contains("hint: "), "{}", run.log);
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(cluster.record("workloads").len(), usize::from(is_done));
        assert_eq!(cluster.stop(), [""; 0]);
    }
}

/// The pod is still said to run: it takes a cluster its time to find out.
#[test]
fn a_node_that_falls_silent_ends_the_build() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"silent_exec_after_ms":3000}"#);
    let begun = Instant::now();
    let run = cluster.run(&[("build-args", "SECONDS=90")]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    let words = "was lost during the build: the builder does not answer any more, but the Kubernetes API does";
    assert!(run.log.contains(words), "{}", run.log);
    let took = begun.elapsed();
    // A ping after 5 s at most, of which no answer came for 30 s.
    assert!(took < POD + Duration::from_secs(3 + 5 + 30 + 7), "{took:?}");
    assert_eq!(cluster.stop(), [""; 0]);
}
