//! How a persistent builder differs from the plan. Pure.

use serde_json::Value;

use super::MADE;
use crate::plan;

/// The differences between a persistent workload as it was created and the wanted one; none if this action did not create it.
pub(in crate::builder::kubernetes) fn differences(
    found: &Value,
    wanted: &Value,
) -> Option<Vec<String>> {
    let made = found["metadata"]["annotations"][MADE].as_str()?;
    let made: Value = serde_json::from_str(made).ok()?;
    let mut differences = Vec::new();
    compare("kind", &found["kind"], &wanted["kind"], &mut differences);
    if differences.is_empty() {
        compare("", &made, &wanted["spec"], &mut differences);
    }
    Some(differences)
}

/// The differences of an existing claim. The class counts only if one is wanted: the cluster has a default.
pub(in crate::builder::kubernetes) fn claim_differences(
    found: &Value,
    wanted: &Value,
) -> Vec<String> {
    let (found, wanted) = (&found["spec"], &wanted["spec"]);
    let mut differences = Vec::new();
    let size = "resources.requests.storage";
    let storage = |claim: &'_ Value| claim["resources"]["requests"]["storage"].clone();
    let (there, asked) = (storage(found), storage(wanted));
    let bytes = |size: &Value| size.as_str().and_then(plan::amount);
    // The server may use another unit.
    if bytes(&there) != bytes(&asked) {
        compare(size, &there, &asked, &mut differences);
    }
    let class = "storageClassName";
    if !wanted[class].is_null() {
        compare(class, &found[class], &wanted[class], &mut differences);
    }
    differences
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_differs_in_size_and_class_where_one_is_asked_for() {
        let claim = |size: &str, class: Option<&str>| {
            let mut claim = json!({ "spec": { "resources": { "requests": { "storage": size } } } });
            if let Some(class) = class {
                claim["spec"]["storageClassName"] = json!(class);
            }
            claim
        };
        for (there, asked, expected) in [
            (claim("10Gi", Some("gp3")), claim("10Gi", None), &[][..]),
            (claim("1Gi", None), claim("1024Mi", None), &[]),
            (
                claim("10Gi", Some("gp2")),
                claim("20Gi", Some("gp3")),
                &[
                    "`resources.requests.storage` is \"10Gi\", not \"20Gi\"",
                    "`storageClassName` is \"gp2\", not \"gp3\"",
                ],
            ),
        ] {
            assert_eq!(claim_differences(&there, &asked), expected);
        }
    }
}
