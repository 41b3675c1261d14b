//! The API: routes to the store, rights, faults, and a record of every call.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, UPGRADE, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::answer::{self, Body, Refusal};
use crate::route::Route;
use crate::script::{Fault, Script};
use crate::store::{Change, Key, Store, in_seconds};
use crate::{auth, controller, exec, protobuf, restart, valid};

/// The longest body that is read.
const BODY: usize = 1 << 20;

/// The cluster and what it is asked.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub store: Arc<Store>,
    pub folder: PathBuf,
    /// Sockets of Docker Engines, which pods take in turn.
    pub buildkits: Vec<PathBuf>,
    pub next_buildkit: AtomicUsize,
    /// Calls that a fault happened to, by call and code.
    faults: Mutex<BTreeMap<(String, Option<u16>), usize>>,
    started: Timestamp,
    /// Changes when the API server stops: no connection outlives it.
    pub stops: watch::Sender<()>,
}

impl Cluster {
    pub(crate) fn new(folder: PathBuf, buildkits: Vec<PathBuf>) -> Self {
        Self {
            store: Arc::new(Store::new()),
            folder,
            buildkits,
            next_buildkit: AtomicUsize::new(0),
            faults: Mutex::default(),
            started: Timestamp::now(),
            stops: watch::Sender::default(),
        }
    }

    /// Adds a line to a file of the folder.
    pub(crate) fn note(&self, file: &str, line: &str) {
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.folder.join(file));
        if let Ok(mut file) = file {
            // Who reads the record finds out that a line is missing.
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }

    /// A call that nobody may make: the run fails in the end.
    pub(crate) fn strike(&self, text: &str) {
        self.note("strikes", text);
    }

    /// Answers a request, or cuts its connection.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> io::Result<Response<Body>> {
        let seconds = Timestamp::now().duration_since(self.started).as_secs_f64();
        let agent = header(&request, USER_AGENT.as_str());
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let route = Route::parse(&method, &path, &query);
        let call = route.as_ref().map_or_else(Clone::clone, Route::call);
        let name = route
            .as_ref()
            .map_or(String::new(), |route| route.name.clone());
        let response = match route {
            Err(text) => {
                self.strike(&text);
                Err(Refusal::new(
                    404,
                    "NotFound",
                    "no such call in the stand-in",
                ))
            }
            Ok(route) => self.serve(request, route).await,
        };
        let response = match response {
            Err(refusal) if refusal.code == Fault::CUT => {
                return Err(io::Error::other("cut by script"));
            }
            response => response.unwrap_or_else(|refusal| refusal.response()),
        };
        let record = json!({
            "seconds": (seconds * 1000.0).round() / 1000.0, "call": call, "name": name,
            "query": query, "agent": agent, "code": response.status().as_u16(),
        });
        self.note("requests.jsonl", &record.to_string());
        Ok(response)
    }

    async fn serve(
        self: &Arc<Self>,
        request: Request<Incoming>,
        route: Route,
    ) -> Result<Response<Body>, Refusal> {
        let script = Script::read(&self.folder.join("script.json")).map_err(|error| {
            self.strike(&format!("{error:#}"));
            Refusal::new(500, "InternalError", "the script can't be read")
        })?;
        let token = header(&request, AUTHORIZATION.as_str());
        if let Err(text) = auth::check(&token, Timestamp::now(), script.token_seconds) {
            self.note("unauthorized", &text);
            return Err(Refusal::new(401, "Unauthorized", "Unauthorized"));
        }
        let call = route.call();
        let fault = self.fault(&script, &call);
        let response = match fault.and_then(|fault| fault.code) {
            Some(_) if fault.is_some_and(|fault| fault.forbidden) => Err(forbidden(&route)),
            Some(code) => Err(Refusal::new(code, "InternalError", "a fault by script")),
            None => self.perform(request, &route, &script).await,
        };
        if let Some(takes) = fault.and_then(|fault| fault.restart_ms) {
            restart::ask(&self.folder, Duration::from_millis(takes));
            // The connection ends with the server.
            std::future::pending::<()>().await;
        }
        if let Some(fault) = fault.filter(|fault| fault.late_ms > 0) {
            self.note("late.jsonl", &json!({ "call": call }).to_string());
            tokio::time::sleep(Duration::from_millis(fault.late_ms)).await;
        }
        response
    }

    async fn perform(
        self: &Arc<Self>,
        request: Request<Incoming>,
        route: &Route,
        script: &Script,
    ) -> Result<Response<Body>, Refusal> {
        let call = route.call();
        if script.denied.contains(&call) {
            return Err(forbidden(route));
        }
        if call == "create pods/exec" {
            return self.exec(request, route, script);
        }
        let content_type = header(&request, CONTENT_TYPE.as_str());
        let body = Limited::new(request.into_body(), BODY).collect().await;
        let body = body
            .map_err(|error| Refusal::new(413, "TooLarge", &error.to_string()))?
            .to_bytes();
        match route.verb {
            "list" => Ok(self.list(route)),
            "watch" => Ok(self.watch(route)),
            "get" if route.value("previous") == Some("true") => Ok(answer::text(
                "buildkitd: the last line before the restart\n",
            )),
            "get" if route.resource == "pods/log" => Ok(answer::text(
                "time=\"2026-01-02T03:04:05Z\" level=warning msg=\"using host network as the default\"\n\
                 buildkitd: failed to create worker: overlayfs is not supported\n",
            )),
            "get" => self
                .store
                .get(&key(route))
                .map(|object| answer::json(200, &object))
                .ok_or_else(|| not_found(route)),
            "create" => self.create(route, &content_type, &body, script),
            "update" => {
                let replaced = self.store.update(&key(route), |_| {});
                replaced
                    .map(|object| answer::json(200, &object))
                    .ok_or_else(|| not_found(route))
            }
            "patch" => {
                if content_type != "application/merge-patch+json" {
                    self.strike(&format!("patch of type `{content_type}`"));
                }
                let patch = self.json(&body)?;
                let patched = self
                    .store
                    .update(&key(route), |object| merge(object, &patch));
                patched
                    .map(|object| answer::json(200, &object))
                    .ok_or_else(|| not_found(route))
            }
            _ => {
                let removed = self.store.remove(&key(route));
                let removed = removed.ok_or_else(|| not_found(route))?;
                controller::collect(&self.store, &route.namespace, &removed["metadata"]["uid"]);
                Ok(answer::json(
                    200,
                    &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }),
                ))
            }
        }
    }

    fn fault<'a>(&self, script: &'a Script, call: &str) -> Option<&'a Fault> {
        let mut answered = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in script.faults.iter().filter(|fault| fault.call == call) {
            let count = answered
                .entry((fault.call.clone(), fault.code))
                .or_default();
            if *count < fault.times {
                *count += 1;
                return Some(fault);
            }
        }
        None
    }

    fn json(&self, body: &[u8]) -> Result<Value, Refusal> {
        serde_json::from_slice(body).map_err(|error| {
            self.strike(&format!("a body that is not JSON: {error}"));
            Refusal::new(400, "BadRequest", &error.to_string())
        })
    }

    fn create(
        &self,
        route: &Route,
        content_type: &str,
        body: &[u8],
        script: &Script,
    ) -> Result<Response<Body>, Refusal> {
        if route.resource == "selfsubjectaccessreviews" {
            return self.review(body, script);
        }
        let object = if content_type == "application/vnd.kubernetes.protobuf" {
            let read = protobuf::read(body).ok_or_else(|| {
                self.strike("a protobuf body that can't be read");
                Refusal::new(400, "BadRequest", "can't read the body")
            });
            match (read?, route.resource.as_str()) {
                (read, "configmaps") => json!({ "metadata": { "name": read.name } }),
                (read, resource) => protobuf::workload(resource, &read),
            }
        } else {
            self.json(body)?
        };
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if let Err(reason) = valid::check(&route.resource, &object) {
            let text = format!("{} \"{name}\" is invalid: {reason}", route.resource);
            return Err(Refusal::new(422, "Invalid", &text));
        }
        if !script.namespaces.contains(&route.namespace) {
            let text = format!("namespaces \"{}\" not found", route.namespace);
            return Err(Refusal::new(404, "NotFound", &text));
        }
        let key = Key::new(&route.resource, &route.namespace, &name);
        let Some(object) = self
            .store
            .create_at(&key, object, in_seconds(script.seconds_ahead))
        else {
            let text = format!("{} \"{name}\" already exists", route.resource);
            return Err(Refusal::new(409, "AlreadyExists", &text));
        };
        if matches!(route.resource.as_str(), "deployments" | "statefulsets") {
            self.note("workloads.jsonl", &object.to_string());
            controller::start(&self.store, &key, &object, script);
        }
        Ok(answer::json(201, &object))
    }

    fn review(&self, body: &[u8], script: &Script) -> Result<Response<Body>, Refusal> {
        let mut review = self.json(body)?;
        let asked = &review["spec"]["resourceAttributes"];
        let part = |name: &str| asked[name].as_str().unwrap_or_default();
        let call = match part("subresource") {
            "" => format!("{} {}", part("verb"), part("resource")),
            sub => format!("{} {}/{sub}", part("verb"), part("resource")),
        };
        let allowed = !script.denied.contains(&call);
        review["status"] = json!({ "allowed": allowed });
        Ok(answer::json(201, &review))
    }

    fn list(&self, route: &Route) -> Response<Body> {
        let version = self.store.version();
        let items: Vec<Value> = self
            .store
            .list(&route.resource, &route.namespace)
            .into_iter()
            .filter(|(_, object)| selected(route, object))
            .map(|(_, object)| object)
            .collect();
        let kind = match route.resource.as_str() {
            "deployments" => "DeploymentList",
            "statefulsets" => "StatefulSetList",
            "configmaps" => "ConfigMapList",
            "persistentvolumeclaims" => "PersistentVolumeClaimList",
            "events" => "EventList",
            _ => "PodList",
        };
        let group = if route.resource.ends_with("ments") || route.resource.ends_with("sets") {
            "apps/v1"
        } else {
            "v1"
        };
        answer::json(
            200,
            &json!({
                "kind": kind, "apiVersion": group,
                "metadata": { "resourceVersion": version.to_string() }, "items": items,
            }),
        )
    }

    fn watch(self: &Arc<Self>, route: &Route) -> Response<Body> {
        let from = route
            .value("resourceVersion")
            .and_then(|version| version.parse().ok())
            .unwrap_or(0);
        let seconds = route
            .value("timeoutSeconds")
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(290);
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        let cluster = Arc::clone(self);
        let route = route.clone();
        tokio::spawn(async move {
            let follow = follow(&cluster.store, &route, from, &sender);
            let _ = tokio::time::timeout(Duration::from_secs(seconds), follow).await;
        });
        answer::lines(receiver)
    }

    /// Which BuildKit a pod is: that of its volume, so that a pod finds what one before it left there.
    fn turn(&self, pod: &Key, object: &Value) -> usize {
        let volumes = object["spec"]["volumes"].as_array().into_iter().flatten();
        let claim = volumes
            .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
            .map(|name| Key::new("persistentvolumeclaims", &pod.namespace, name))
            .find(|claim| self.store.get(claim).is_some());
        let holder = claim.as_ref().unwrap_or(pod);
        let mark = |object: &Value| {
            let turn = object["metadata"]["annotations"]["stand-in/buildkit"].as_str();
            turn.and_then(|turn| turn.parse().ok())
        };
        if let Some(turn) = self.store.get(holder).as_ref().and_then(mark) {
            return turn;
        }
        let turn = self.next_buildkit.fetch_add(1, Ordering::Relaxed);
        self.store.update(holder, |object| {
            object["metadata"]["annotations"]["stand-in/buildkit"] = json!(turn.to_string());
        });
        turn
    }

    fn exec(
        self: &Arc<Self>,
        request: Request<Incoming>,
        route: &Route,
        script: &Script,
    ) -> Result<Response<Body>, Refusal> {
        let pod = Key::new("pods", &route.namespace, &route.name);
        let object = self.store.get(&pod).ok_or_else(|| not_found(route))?;
        let container = object["spec"]["containers"][0]["name"]
            .as_str()
            .unwrap_or_default();
        if let Err(text) = exec::check(route, request.headers(), container) {
            self.strike(&text);
            return Err(Refusal::new(400, "BadRequest", &text));
        }
        let turn = self.turn(&pod, &object);
        let index = turn % self.buildkits.len().max(1);
        let Some(buildkit) = self.buildkits.get(index).cloned() else {
            return Err(Refusal::new(500, "InternalError", "no BuildKit was given"));
        };
        let cluster = Arc::clone(self);
        let trouble = exec::Trouble {
            cut_after: script.cut_exec_after_ms.map(Duration::from_millis),
            silent_after: script.silent_exec_after_ms.map(Duration::from_millis),
        };
        let mut stops = self.stops.subscribe();
        tokio::spawn(async move {
            let bridged = async {
                let upgraded = hyper::upgrade::on(request).await.context("upgrading")?;
                exec::bridge(upgraded, &buildkit, &cluster.store, &pod, trouble).await
            };
            let bridged = tokio::select! {
                bridged = bridged => Some(bridged),
                _ = stops.changed() => None,
            };
            let record = match bridged {
                None => json!({ "pod": pod.name, "stopped": true }),
                Some(Ok((up, down))) => json!({ "pod": pod.name, "up": up, "down": down }),
                Some(Err(error)) => {
                    cluster.strike(&format!("exec: {error:#}"));
                    json!({ "pod": pod.name, "error": format!("{error:#}") })
                }
            };
            cluster.note("execs.jsonl", &record.to_string());
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "SPDY/3.1")
            .header("X-Stream-Protocol-Version", exec::PROTOCOL)
            .body(answer::full(Bytes::new()));
        response.map_err(|error| Refusal::new(500, "InternalError", &error.to_string()))
    }
}

async fn follow(
    store: &Store,
    route: &Route,
    mut from: u64,
    sender: &tokio::sync::mpsc::Sender<Bytes>,
) {
    let mut latest: watch::Receiver<u64> = store.latest();
    loop {
        latest.borrow_and_update();
        for Change {
            version,
            kind,
            key,
            object,
        } in store.since(from)
        {
            from = version;
            if key.resource != route.resource
                || key.namespace != route.namespace
                || !selected(route, &object)
            {
                continue;
            }
            let line = json!({ "type": kind, "object": object });
            if sender.send(Bytes::from(format!("{line}\n"))).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = latest.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
    }
}

fn forbidden(route: &Route) -> Refusal {
    let text = format!(
        "{} is forbidden: User \"builder\" cannot {} resource \"{}\" in API group \"\" in the namespace \"{}\"",
        route.resource, route.verb, route.resource, route.namespace
    );
    Refusal::new(403, "Forbidden", &text)
}

fn not_found(route: &Route) -> Refusal {
    let text = format!("{} \"{}\" not found", route.resource, route.name);
    Refusal::new(404, "NotFound", &text)
}

fn key(route: &Route) -> Key {
    Key::new(&route.resource, &route.namespace, &route.name)
}

fn header(request: &Request<Incoming>, name: &str) -> String {
    let value = request.headers().get(name);
    value
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default()
}

/// Whether label and field selectors, all of the form `name=value`, fit an object.
fn selected(route: &Route, object: &Value) -> bool {
    let fits = |selector: Option<&str>, value: &dyn Fn(&str) -> Option<String>| {
        selector
            .unwrap_or_default()
            .split(',')
            .filter(|part| !part.is_empty())
            .all(|part| match part.split_once('=') {
                Some((name, wanted)) => {
                    value(name).as_deref() == Some(wanted.trim_start_matches('='))
                }
                None => value(part).is_some(),
            })
    };
    let labels = &object["metadata"]["labels"];
    fits(route.value("labelSelector"), &|name| {
        labels[name].as_str().map(str::to_owned)
    }) && fits(route.value("fieldSelector"), &|name| {
        let mut value = object;
        for part in name.split('.') {
            value = &value[part];
        }
        value.as_str().map(str::to_owned)
    })
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, change) in changes {
        if change.is_null() {
            if let Some(object) = target.as_object_mut() {
                object.remove(name);
            }
        } else {
            merge(&mut target[name], change);
        }
    }
}
