//! Instance files, in which buildx remembers its builders: `NodeGroup` in
//! <https://github.com/docker/buildx/blob/461836ba0/store/nodegroup.go>.

use std::fs;
use std::io;
use std::path::PathBuf;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Tool;
use crate::plan::Hidden;

/// Makes buildx forget a builder. The post step takes the file as a sign that there is one to remove.
pub(crate) fn remove_instance(tool: &Tool, builder: &str) {
    // The file goes with the run's folder in any case.
    let _ = fs::remove_file(path(tool, builder));
}

/// Adds secret driver options to a builder. On a command line every process could read them.
pub(crate) fn add_options(
    tool: &Tool,
    builder: &str,
    options: &[(String, Hidden)],
) -> io::Result<()> {
    let path = path(tool, builder);
    let mut instance: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let nodes = instance.get_mut("Nodes").and_then(Value::as_array_mut);
    for node in nodes.into_iter().flatten().filter_map(Value::as_object_mut) {
        let known = node.entry("DriverOpts").or_insert(Value::Null);
        if known.is_null() {
            *known = json!({});
        }
        let known = known.as_object_mut();
        let known = known.ok_or_else(|| io::Error::other("`DriverOpts` is no object"))?;
        for (name, value) in options {
            known.insert(name.clone(), value.0.expose_secret().into());
        }
    }
    fs::write(&path, instance.to_string())
}

fn path(tool: &Tool, builder: &str) -> PathBuf {
    let folder = tool.env.get("BUILDX_CONFIG").map(PathBuf::from);
    folder.unwrap_or_default().join("instances").join(builder)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn options_are_added_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("instances")).unwrap();
        let tool = Tool {
            program: PathBuf::new(),
            env: [("BUILDX_CONFIG".to_owned(), folder.path().into())].into(),
        };
        let options = [("env.A".to_owned(), Hidden(SecretString::from("b")))];
        for (nodes, expected) in [
            (json!([{}]), Some(json!([{"DriverOpts": {"env.A": "b"}}]))),
            (
                json!([{"DriverOpts": null}, {"DriverOpts": {"c": "d"}}]),
                Some(
                    json!([{"DriverOpts": {"env.A": "b"}}, {"DriverOpts": {"c": "d", "env.A": "b"}}]),
                ),
            ),
            (json!([{"DriverOpts": []}]), None),
            (json!([{"DriverOpts": "c"}]), None),
            (json!([{"DriverOpts": 1}]), None),
            (json!("none"), Some(json!("none"))),
        ] {
            let path = path(&tool, "a");
            fs::write(&path, json!({ "Nodes": nodes }).to_string()).unwrap();
            let added = add_options(&tool, "a", &options).ok();
            let read: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            assert_eq!(added.map(|()| read["Nodes"].clone()), expected, "{nodes}");
        }
    }
}
