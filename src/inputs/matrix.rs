//! The values of the job's matrix, which the runner evaluates for the default of the input: `${{ toJSON(matrix) }}`
//! (`input-default-context` in <https://github.com/actions/runner/blob/main/src/Runner.Worker/action_yaml.json>).

use serde_json::Value as Json;

use super::value::{Expected, Form, Single};

/// All numbers, texts and booleans of a matrix' entry, as expressions print them; none without a matrix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matrix(pub Vec<String>);

impl Single for Matrix {
    const FORM: Form = Form::Block;

    fn parse(text: &str) -> Result<Self, Expected> {
        match serde_json::from_str(text) {
            Ok(entry @ (Json::Object(_) | Json::Null)) => {
                let mut values = Vec::new();
                collect(&entry, &mut values);
                Ok(Self(values))
            }
            _ => Err("a JSON object, as `${{ toJSON(matrix) }}` is one".into()),
        }
    }
}

fn collect(value: &Json, values: &mut Vec<String>) {
    match value {
        Json::Object(fields) => fields.values().for_each(|value| collect(value, values)),
        Json::Array(items) => items.iter().for_each(|value| collect(value, values)),
        Json::String(text) => values.push(text.clone()),
        Json::Number(_) | Json::Bool(_) => values.push(value.to_string()),
        Json::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_all_its_values() {
        let values = |text: &str| Matrix::parse(text).unwrap().0;
        let entry = r#"{"python": 3.12, "os": {"name": "x", "old": true}, "tags": ["a", 1, null]}"#;
        assert_eq!(values(entry), ["x", "true", "3.12", "a", "1"]);
        assert!(values("null").is_empty());
        assert!(values("{}").is_empty());
        for text in ["[1]", "3.12", "a", "{"] {
            assert!(Matrix::parse(text).is_err(), "{text}");
        }
    }
}
