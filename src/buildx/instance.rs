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
        for (name, value) in options {
            known[name] = value.0.expose_secret().into();
        }
    }
    fs::write(&path, instance.to_string())
}

fn path(tool: &Tool, builder: &str) -> PathBuf {
    let folder = tool.env.get("BUILDX_CONFIG").map(PathBuf::from);
    folder.unwrap_or_default().join("instances").join(builder)
}
