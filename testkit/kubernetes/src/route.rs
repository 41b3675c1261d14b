//! What a request asks for: verb, resource, names, query; and which of them are allowed at all.

use std::collections::BTreeMap;

use hyper::Method;

/// The calls that buildx's driver and fast-ecr-push may make. Anything else is a failure.
const CALLS: &[&str] = &[
    "create deployments",
    "get deployments",
    "list deployments",
    "watch deployments",
    "patch deployments",
    "delete deployments",
    "create statefulsets",
    "get statefulsets",
    "list statefulsets",
    "watch statefulsets",
    "patch statefulsets",
    "delete statefulsets",
    "create configmaps",
    "get configmaps",
    "list configmaps",
    "update configmaps",
    "patch configmaps",
    "delete configmaps",
    "create persistentvolumeclaims",
    "get persistentvolumeclaims",
    "list persistentvolumeclaims",
    "patch persistentvolumeclaims",
    "delete persistentvolumeclaims",
    "get pods",
    "list pods",
    "watch pods",
    // By tests, to see what becomes of a build.
    "delete pods",
    "get pods/log",
    "create pods/exec",
    "list events",
    "watch events",
    "create selfsubjectaccessreviews",
];

/// Query parameters by the call's verb.
const LIST: &[&str] = &[
    "labelSelector",
    "fieldSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
];
const WATCH: &[&str] = &[
    "watch",
    "timeoutSeconds",
    "labelSelector",
    "fieldSelector",
    "allowWatchBookmarks",
    "resourceVersion",
];
const LOG: &[&str] = &["container", "tailLines", "limitBytes", "previous"];
const EXEC: &[&str] = &["command", "container", "stdin", "stdout", "stderr"];
const WRITE: &[&str] = &["fieldManager"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub verb: &'static str,
    /// Plural, with a subresource after a slash.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub query: BTreeMap<String, Vec<String>>,
}

impl Route {
    /// Reads method, path and query.
    ///
    /// # Errors
    /// With what is not allowed about it.
    pub(crate) fn parse(method: &Method, path: &str, query: &str) -> Result<Self, String> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let (namespace, resource, name) = match parts.as_slice() {
            ["api", "v1", "namespaces", namespace, rest @ ..]
            | ["apis", "apps", "v1", "namespaces", namespace, rest @ ..] => match rest {
                [resource] => (*namespace, (*resource).to_owned(), ""),
                [resource, name] => (*namespace, (*resource).to_owned(), *name),
                [resource, name, sub] => (*namespace, format!("{resource}/{sub}"), *name),
                _ => return Err(format!("unknown path `{path}`")),
            },
            ["apis", "authorization.k8s.io", "v1", resource] => ("", (*resource).to_owned(), ""),
            _ => return Err(format!("unknown path `{path}`")),
        };
        let apps = path.starts_with("/apis/apps/");
        let is_app = matches!(resource.as_str(), "deployments" | "statefulsets");
        if apps != is_app {
            return Err(format!("resource in the wrong group: `{path}`"));
        }
        let query = parse_query(query);
        let verb = match (method, name.is_empty()) {
            (&Method::GET, true) if query.contains_key("watch") => "watch",
            (&Method::GET, true) => "list",
            (&Method::GET, false) => "get",
            (&Method::POST, _) => "create",
            (&Method::PUT, false) => "update",
            (&Method::PATCH, false) => "patch",
            (&Method::DELETE, false) => "delete",
            _ => return Err(format!("{method} on `{path}`")),
        };
        let call = format!("{verb} {resource}");
        if !CALLS.contains(&call.as_str()) {
            return Err(format!("call `{call}`"));
        }
        let allowed = match (verb, resource.as_str()) {
            ("list", _) => LIST,
            ("watch", _) => WATCH,
            (_, "pods/log") => LOG,
            (_, "pods/exec") => EXEC,
            ("create" | "patch" | "update", _) => WRITE,
            _ => &[],
        };
        if let Some(key) = query.keys().find(|key| !allowed.contains(&key.as_str())) {
            return Err(format!("query parameter `{key}` of `{call}`"));
        }
        Ok(Self {
            verb,
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            query,
        })
    }

    /// The first value of a query parameter.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.query.get(key)?.first().map(String::as_str)
    }

    /// As `list pods`.
    pub(crate) fn call(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }
}

/// Empty parts are dropped: some clients begin queries with `?&`.
fn parse_query(query: &str) -> BTreeMap<String, Vec<String>> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        values
            .entry(key.to_owned())
            .or_default()
            .push(decoded(value));
    }
    values
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let pair = [
                    rest.next().unwrap_or_default(),
                    rest.next().unwrap_or_default(),
                ];
                let hex = std::str::from_utf8(&pair).unwrap_or_default();
                bytes.push(u8::from_str_radix(hex, 16).unwrap_or(b'?'));
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_buildx_and_kube_ask() {
        let route = Route::parse(
            &Method::GET,
            "/api/v1/namespaces/buildx/pods",
            "&labelSelector=app%3Dpre0",
        )
        .unwrap();
        assert_eq!(route.call(), "list pods");
        assert_eq!(route.value("labelSelector"), Some("app=pre0"));
        let route = Route::parse(
            &Method::POST,
            "/api/v1/namespaces/buildx/pods/p/exec",
            "command=buildctl&command=dial-stdio",
        )
        .unwrap();
        assert_eq!(route.call(), "create pods/exec");
        assert_eq!(route.query["command"], ["buildctl", "dial-stdio"]);
    }

    #[test]
    fn anything_else_is_refused() {
        for (method, path, query) in [
            (Method::GET, "/version", ""),
            (Method::GET, "/api", ""),
            (Method::GET, "/api/v1/namespaces/a/secrets", ""),
            (Method::GET, "/api/v1/namespaces/a/deployments", ""),
            (Method::DELETE, "/api/v1/namespaces/a/pods", ""),
            (Method::GET, "/api/v1/namespaces/a/pods", "watching=1"),
            (Method::GET, "/api/v1/pods", ""),
        ] {
            assert!(Route::parse(&method, path, query).is_err(), "{path}");
        }
    }
}
