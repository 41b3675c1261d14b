//! The little that is read of buildx's own protobuf bodies: which object it wants to create.
//!
//! A body is `k8s\0` and a `runtime.Unknown`, whose field 2 is the object; every object has its
//! metadata in field 1 and a Deployment its spec in field 2
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>).

use serde_json::{Value, json};

/// Name and number of replicas.
pub(crate) fn read(body: &[u8]) -> Option<(String, u64)> {
    let unknown = body.strip_prefix(b"k8s\0")?;
    let object = message(unknown, 2)?;
    let name = message(message(object, 1)?, 1)?;
    let replicas = message(object, 2).and_then(|spec| match find(spec, 1)? {
        Field::Number(replicas) => Some(replicas),
        Field::Bytes(_) => None,
    });
    Some((
        String::from_utf8(name.to_vec()).ok()?,
        replicas.unwrap_or(1),
    ))
}

/// What buildx's own manifest amounts to here. Its probe has the defaults of Kubernetes.
pub(crate) fn deployment(name: &str, replicas: u64) -> Value {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "labels": labels, "annotations": { "stand-in/made-by": "buildx" } },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "buildkitd", "image": "moby/buildkit:buildx-stable-1" }] },
            },
        },
    })
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
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (head, tail) = bytes.split_at_checked(length)?;
                bytes = tail;
                Field::Bytes(head)
            }
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(field);
        }
    }
    None
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
    fn finds_name_and_replicas() {
        let body = b"k8s\0\x0a\x02xx\x12\x0a\x0a\x04\x0a\x02b0\x12\x02\x08\x03";
        assert_eq!(read(body), Some(("b0".to_owned(), 3)));
        assert_eq!(read(b"{}"), None);
        assert_eq!(read(b"k8s\0\x12\xff\xff\xff\xff"), None);
    }
}
