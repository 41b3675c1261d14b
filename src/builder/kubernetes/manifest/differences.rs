//! How a builder that was kept differs from what is asked for: pure.

use serde_json::Value;

use super::MADE;

/// What a kept workload was made of differs in, as `path: there, not wanted`. None where it is not
/// of our making, so that nobody can tell.
pub(in crate::builder::kubernetes) fn differences(
    found: &Value,
    wanted: &Value,
) -> Option<Vec<String>> {
    let made = found["metadata"]["annotations"][MADE].as_str()?;
    let made: Value = serde_json::from_str(made).ok()?;
    let mut differences = Vec::new();
    if found["kind"] != wanted["kind"] {
        compare("kind", &found["kind"], &wanted["kind"], &mut differences);
        return Some(differences);
    }
    compare("", &made, &wanted["spec"], &mut differences);
    Some(differences)
}

fn compare(path: &str, there: &Value, wanted: &Value, into: &mut Vec<String>) {
    match (there, wanted) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<&String> =
                one.keys().chain(other.keys()).collect();
            for name in names {
                let path = format!("{path}.{name}");
                compare(&path, &there[name], &wanted[name], into);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (there, wanted)) in one.iter().zip(other).enumerate() {
                compare(&format!("{path}[{index}]"), there, wanted, into);
            }
        }
        _ if there == wanted => {}
        _ => into.push(format!(
            "`{}` is {there}, not {wanted}",
            path.trim_start_matches('.')
        )),
    }
}
