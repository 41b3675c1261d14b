//! One CSV record, which is how buildx reads attributes: `type=image,"name=a,b"`.
//!
//! Source: <https://github.com/docker/buildx/tree/461836ba0/util/buildflags>, `csvvalue.Fields`.

use crate::list;

/// The record's fields; `None` when there are none, several records, or an open quote.
pub fn split(text: &str) -> Option<Vec<String>> {
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

/// Driver options of one text, several with commas between, read as buildx reads `--driver-opt`
/// (<https://github.com/docker/buildx/blob/461836ba0/builder/builder.go>, `csvToMap`): one whose
/// value has commas stands in quotes.
///
/// # Errors
/// What is expected instead.
pub fn driver_options(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    const EXPECTED: &str = "`name=value`, several of them with commas between; one with commas in \
                            its value stands in quotes, as `\"env.no_proxy=localhost,127.0.0.1\"`";
    let fields = list::fields(text).map_err(|_| EXPECTED)?;
    let pairs = fields.iter().map(|field| pair(field).ok_or(EXPECTED));
    pairs.collect()
}

/// `name=value`, without the blanks around them.
pub fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), value.trim().to_owned()))
}

/// The record of these fields, quoted where it has to be.
pub fn join<S: AsRef<str>>(fields: impl IntoIterator<Item = S>) -> String {
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
pub fn boolean(text: &str) -> Option<bool> {
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

    #[test]
    fn driver_options_are_read_as_buildx_reads_them() {
        for (text, expected) in [
            ("image=a:b", &[("image", "a:b")][..]),
            ("env.A=", &[("env.A", "")]),
            (
                "namespace=buildx,replicas=1,requests.cpu=2",
                &[
                    ("namespace", "buildx"),
                    ("replicas", "1"),
                    ("requests.cpu", "2"),
                ],
            ),
            (
                "\"env.no_proxy=localhost,127.0.0.1,.mydomain\"",
                &[("env.no_proxy", "localhost,127.0.0.1,.mydomain")],
            ),
            (
                "\"tolerations=key=a,operator=Exists\",replicas=2",
                &[("tolerations", "key=a,operator=Exists"), ("replicas", "2")],
            ),
            ("\"env.A=\"\"x\"\"\"", &[("env.A", "\"x\"")]),
        ] {
            let pairs = driver_options(text).unwrap();
            let pairs: Vec<(&str, &str)> = pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            assert_eq!(pairs, expected, "{text}");
        }
        for text in [
            "env.A=\"x,y\"",
            "env.A=\"x\"",
            "env.no_proxy=localhost,127.0.0.1",
            "\"env.A=x",
            "\"env.A=x\"y",
            "image",
            "=x",
            "image=a:b,",
        ] {
            let expected = driver_options(text).unwrap_err();
            assert!(expected.starts_with("`name=value`, several"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_driver_option_is_read_again(name in "[a-z.]{1,8}", value in "([a-z=,\"]{0,8}[a-z])?") {
            let option = join([format!("{name}={value}")]);
            prop_assert_eq!(driver_options(&option), Ok(vec![(name, value)]));
        }

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
