//! The little that is read of buildx's own protobuf bodies: which object it wants to create.
//!
//! A body is `k8s\0` and a `runtime.Unknown`, whose field 2 is the object; every object has its
//! metadata in field 1 and a workload its spec in field 2, the first of which is its replicas
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>).

use serde_json::{Map, Value, json};

/// What is read of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub name: String,
    pub labels: Map<String, Value>,
    pub annotations: Map<String, Value>,
    pub replicas: u64,
}

/// Reads a body.
pub(crate) fn read(body: &[u8]) -> Option<Read> {
    let unknown = body.strip_prefix(b"k8s\0")?;
    let object = message(unknown, 2)?;
    let metadata = message(object, 1)?;
    let replicas = message(object, 2).and_then(|spec| match find(spec, 1)? {
        Field::Number(replicas) => Some(replicas),
        Field::Bytes(_) => None,
    });
    Some(Read {
        name: text(message(metadata, 1)?)?,
        // Numbers of ObjectMeta's fields:
        // https://github.com/kubernetes/apimachinery/blob/v0.36.0/pkg/apis/meta/v1/generated.proto
        labels: map(metadata, 11)?,
        annotations: map(metadata, 12)?,
        replicas: replicas.unwrap_or(1),
    })
}

/// What buildx's own manifest amounts to here. Its probe has the defaults of Kubernetes.
pub(crate) fn workload(resource: &str, read: &Read) -> Value {
    let (mut labels, mut annotations) = (read.labels.clone(), read.annotations.clone());
    labels.insert("app".to_owned(), json!(read.name));
    annotations.insert("stand-in/made-by".to_owned(), json!("buildx"));
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": read.name, "labels": labels, "annotations": annotations },
        "spec": {
            "replicas": read.replicas, "selector": { "matchLabels": { "app": read.name } },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "buildkitd", "image": "moby/buildkit:buildx-stable-1" }] },
            },
        },
    });
    if resource == "statefulsets" {
        object["kind"] = json!("StatefulSet");
        object["spec"]["serviceName"] = json!("buildkitd");
        object["spec"]["podManagementPolicy"] = json!("Parallel");
        object["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "buildkitd" }, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
        }}]);
    }
    object
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// A map of text: a message with key and value for each entry.
fn map(message_of: &[u8], number: u64) -> Option<Map<String, Value>> {
    let mut rest = message_of;
    let mut entries = Map::new();
    while !rest.is_empty() {
        let (at, field) = next(&mut rest)?;
        if let (true, Field::Bytes(entry)) = (at == number, field) {
            let value = message(entry, 2).unwrap_or_default();
            entries.insert(text(message(entry, 1)?)?, Value::String(text(value)?));
        }
    }
    Some(entries)
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn message(bytes: &[u8], number: u64) -> Option<&[u8]> {
    match find(bytes, number)? {
        Field::Bytes(bytes) => Some(bytes),
        Field::Number(_) => None,
    }
}

fn find(mut bytes: &[u8], wanted: u64) -> Option<Field<'_>> {
    while !bytes.is_empty() {
        let (number, field) = next(&mut bytes)?;
        if number == wanted {
            return Some(field);
        }
    }
    None
}

fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = varint(bytes)?;
    let field = match tag & 7 {
        0 => Field::Number(varint(bytes)?),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            let (head, tail) = bytes.split_at_checked(length)?;
            *bytes = tail;
            Field::Bytes(head)
        }
        _ => return None,
    };
    Some((tag >> 3, field))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_name_labels_and_replicas() {
        let body = b"k8s\0\x0a\x02xx\x12\x14\x0a\x0e\x0a\x02b0\x5a\x08\x0a\x03app\x12\x01b\x12\x02\x08\x03";
        let found = read(body).unwrap();
        assert_eq!((found.name.as_str(), found.replicas), ("b0", 3));
        assert_eq!(found.labels["app"], "b");
        assert!(found.annotations.is_empty());
        assert_eq!(read(b"{}"), None);
        assert_eq!(read(b"k8s\0\x12\xff\xff\xff\xff"), None);
    }
}
