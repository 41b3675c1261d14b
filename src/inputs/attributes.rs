//! One CSV record, which is how buildx reads attributes: `type=image,"name=a,b"`.
//!
//! Source: <https://github.com/docker/buildx/tree/461836ba0/util/buildflags>, `csvvalue.Fields`.

/// The record's fields; `None` when there are none, several records, or an open quote.
pub(crate) fn split(text: &str) -> Option<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let record = records.next()?.ok()?;
    if records.next().is_some() {
        return None;
    }
    Some(record.iter().map(str::to_owned).collect())
}

/// The record of these fields, quoted where it has to be.
pub(crate) fn join<S: AsRef<str>>(fields: impl IntoIterator<Item = S>) -> String {
    let quoted: Vec<String> = fields
        .into_iter()
        .map(|field| {
            let field = field.as_ref();
            if field.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.to_owned()
            }
        })
        .collect();
    quoted.join(",")
}

/// Go's `strconv.ParseBool`, with which buildx and docker's actions read attributes.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_joined_is_split_again(fields in prop::collection::vec("[a-z=,\" \n\r]{1,8}", 1..4)) {
            prop_assert_eq!(split(&join(&fields)), Some(fields));
        }

        #[test]
        fn survives_any_text(text in ".{0,60}") {
            let _ = split(&text);
        }
    }
}
