//! The cluster's objects, their versions and the stream of changes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

/// Where an object is: resource (plural), namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub(crate) fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// A change, as a watch tells it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub version: u64,
    pub kind: &'static str,
    pub key: Key,
    pub object: Value,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<Key, Value>,
    changes: Vec<Change>,
    version: u64,
}

#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    latest: watch::Sender<u64>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            // Versions of a real cluster are big numbers, too.
            version: 1000,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
            latest: watch::Sender::new(1000),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells when something changes.
    pub(crate) fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Value> {
        self.lock().objects.get(key).cloned()
    }

    pub(crate) fn list(&self, resource: &str, namespace: &str) -> Vec<(Key, Value)> {
        self.lock()
            .objects
            .iter()
            .filter(|(key, _)| key.resource == resource && key.namespace == namespace)
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect()
    }

    /// All objects but events.
    pub(crate) fn names(&self) -> Vec<String> {
        let inner = self.lock();
        let keys = inner.objects.keys().filter(|key| key.resource != "events");
        keys.map(|key| format!("{}/{}/{}", key.resource, key.namespace, key.name))
            .collect()
    }

    pub(crate) fn since(&self, version: u64) -> Vec<Change> {
        let inner = self.lock();
        let from = inner
            .changes
            .partition_point(|change| change.version <= version);
        inner.changes.get(from..).unwrap_or_default().to_vec()
    }

    /// Creates an object; none when there is one of that name.
    pub(crate) fn create(&self, key: &Key, object: Value) -> Option<Value> {
        self.create_at(key, object, now())
    }

    /// Creates an object that says to have been created at that time.
    pub(crate) fn create_at(&self, key: &Key, mut object: Value, time: String) -> Option<Value> {
        let mut inner = self.lock();
        if inner.objects.contains_key(key) {
            return None;
        }
        let uid = format!("00000000-0000-4000-8000-{:012x}", inner.version + 1);
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(key.name);
        metadata["namespace"] = json!(key.namespace);
        metadata["uid"] = json!(uid);
        metadata["creationTimestamp"] = Value::String(time);
        Some(inner.put(key, object, "ADDED", &self.latest))
    }

    /// Changes an object; none when there is none.
    pub(crate) fn update(&self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let mut inner = self.lock();
        let mut object = inner.objects.get(key)?.clone();
        change(&mut object);
        Some(inner.put(key, object, "MODIFIED", &self.latest))
    }

    pub(crate) fn remove(&self, key: &Key) -> Option<Value> {
        let mut inner = self.lock();
        let object = inner.objects.get(key)?.clone();
        let object = inner.put(key, object, "DELETED", &self.latest);
        inner.objects.remove(key);
        Some(object)
    }
}

impl Inner {
    fn put(
        &mut self,
        key: &Key,
        mut object: Value,
        kind: &'static str,
        latest: &watch::Sender<u64>,
    ) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(key.clone(), object.clone());
        self.changes.push(Change {
            version: self.version,
            kind,
            key: key.clone(),
            object: object.clone(),
        });
        latest.send_replace(self.version);
        object
    }
}

/// The time as Kubernetes writes it: whole seconds.
pub(crate) fn now() -> String {
    in_seconds(0)
}

/// The time so many seconds from now.
pub(crate) fn in_seconds(seconds: i64) -> String {
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
