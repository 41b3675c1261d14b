//! `buildkitd.toml`, the configuration of BuildKit's daemon, from `buildkitd-config-inline`.
//!
//! In: the input's text. Out: what is written for the daemon. Only whether it is TOML is looked at:
//! the daemon knows its own keys
//! (<https://docs.docker.com/build/buildkit/toml-configuration/>).

use toml::{Table, Value};

use super::Remarks;
use crate::inputs::Inputs;

/// Settings that say what BuildKit's cache may take.
const CLEANING: &[&str] = &[
    "gc",
    "gckeepstorage",
    "gcpolicy",
    "reservedSpace",
    "maxUsedSpace",
    "minFreeSpace",
];

/// BuildKit's cache may fill a volume but for what a build needs. Shares are of the disk that its
/// folder is on.
const BY_VOLUME: &[(&str, &str)] = &[
    ("reservedSpace", "10%"),
    ("maxUsedSpace", "80%"),
    ("minFreeSpace", "15%"),
];

/// The text as it was given, if it is TOML.
pub(super) fn given<'a>(inputs: &'a Inputs, remarks: &mut Remarks) -> Option<&'a str> {
    let text = inputs.buildkitd_config_inline.as_deref()?;
    if let Err(error) = text.parse::<Table>() {
        let said = error.message();
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.matches('\n').count() + 1);
        let given = text.lines().nth(line - 1).unwrap_or_default();
        remarks.wrong(
            "buildkitd-config-inline",
            given,
            format!("TOML (line {line}: {said})"),
        );
        return None;
    }
    Some(text)
}

/// The configuration of a daemon whose folder is a volume of its own: cleaned by the volume's size,
/// unless the text says how it is to be cleaned.
pub(super) fn for_volume(text: Option<&str>) -> String {
    let mut table: Table = text.and_then(|text| text.parse().ok()).unwrap_or_default();
    let worker = entry(&mut table, "worker").and_then(|worker| entry(worker, "oci"));
    match worker {
        Some(worker) if !CLEANING.iter().any(|name| worker.contains_key(*name)) => {
            worker.insert("gc".to_owned(), Value::Boolean(true));
            for (name, share) in BY_VOLUME {
                worker.insert((*name).to_owned(), Value::String((*share).to_owned()));
            }
            table.to_string()
        }
        _ => text.unwrap_or_default().to_owned(),
    }
}

fn entry<'a>(table: &'a mut Table, name: &str) -> Option<&'a mut Table> {
    let table = table
        .entry(name)
        .or_insert_with(|| Value::Table(Table::new()));
    table.as_table_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_cleaned_by_its_size_unless_told_otherwise() {
        let read = |text: Option<&str>| for_volume(text).parse::<Table>().unwrap();
        let alone = read(None);
        assert_eq!(alone["worker"]["oci"]["maxUsedSpace"].as_str(), Some("80%"));
        let mirrors = "[registry.\"docker.io\"]\nmirrors = [\"m.example\"]\n[worker.oci]\nmax-parallelism = 4\n";
        let both = read(Some(mirrors));
        assert_eq!(both["worker"]["oci"]["gc"].as_bool(), Some(true));
        assert_eq!(
            both["worker"]["oci"]["max-parallelism"].as_integer(),
            Some(4)
        );
        assert_eq!(
            both["registry"]["docker.io"]["mirrors"][0].as_str(),
            Some("m.example")
        );
        let own = "[worker.oci]\ngc = false\n";
        assert_eq!(for_volume(Some(own)), own);
    }
}
