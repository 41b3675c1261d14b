//! `buildkitd.toml`, the configuration of BuildKit's daemon, from `buildkitd-config-inline`.
//!
//! In: the input's text. Out: the daemon's configuration: the text, plus settings that make it faster, unless the text has them.
//! The text has to be TOML; the daemon knows its own keys (<https://docs.docker.com/build/buildkit/toml-configuration/>), and ignores others.

use std::path::Path;

use toml::{Table, Value};

use super::Diagnostics;
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

/// BuildKit's cache may fill a volume except for what a build needs. Percentages are of the disk with its folder.
const BY_VOLUME: &[(&str, &str)] = &[
    ("reservedSpace", "10%"),
    ("maxUsedSpace", "80%"),
    ("minFreeSpace", "15%"),
];

/// Parallel connections to a registry; BuildKit's default is 4. docs/cache.md has measurements.
/// BuildKit before 0.31 ignores it
/// (<https://github.com/moby/buildkit/commit/ac1f99224c9ee2664d64c9184aa29deb27a6a942>).
const CONNECTIONS: i64 = 16;

/// A registry's name that can't exist (RFC 2606). buildx copies the certificates that the configuration names for a registry into
/// the container, below `certs` and the registry's name
/// (<https://github.com/docker/buildx/blob/461836ba0/util/confutil/container.go>), and no others.
const CERTIFICATES_REGISTRY: &str = "fast-ecr-push.invalid";

/// Where buildx puts them. BuildKit, a Go program, trusts the files of a directory that `SSL_CERT_DIR` names as well as its own.
pub(super) const CERTIFICATES: &str = "/etc/buildkit/certs/fast-ecr-push.invalid";

/// The lines that make buildx copy a file of certificates into the container.
pub(super) fn trust(file: &Path) -> String {
    // A JSON string is a TOML string.
    let path = serde_json::Value::from(file.to_string_lossy());
    format!("\n[registry.\"{CERTIFICATES_REGISTRY}\"]\n  ca = [{path}]\n")
}

/// The text as it was given, if it is TOML.
pub(super) fn given<'a>(inputs: &'a Inputs, diagnostics: &mut Diagnostics) -> Option<&'a str> {
    let text = inputs
        .buildkitd_config_inline
        .as_ref()
        .map(|text| text.0.as_str())?;
    if let Err(error) = text.parse::<Table>() {
        let said = error.message();
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.matches('\n').count() + 1);
        let given = text.lines().nth(line - 1).unwrap_or_default();
        diagnostics.wrong(
            "buildkitd-config-inline",
            given,
            format!("TOML (line {line}: {said})"),
        );
        return None;
    }
    Some(text)
}

/// The configuration of a daemon of ours: the text, with more connections unless it sets their number.
pub(super) fn faster(text: Option<&str>) -> String {
    let mut table = read(text);
    more_connections(&mut table);
    table.to_string()
}

/// The configuration of a daemon with a volume: garbage collection by the volume's size, unless the text configures it.
pub(super) fn for_volume(text: Option<&str>) -> String {
    let mut table = read(text);
    let worker = entry(&mut table, "worker").and_then(|worker| entry(worker, "oci"));
    if let Some(worker) = worker
        && !CLEANING.iter().any(|name| worker.contains_key(*name))
    {
        worker.insert("gc".to_owned(), Value::Boolean(true));
        for (name, share) in BY_VOLUME {
            worker.insert((*name).to_owned(), Value::String((*share).to_owned()));
        }
    }
    more_connections(&mut table);
    table.to_string()
}

fn more_connections(table: &mut Table) {
    if let Some(system) = entry(table, "system") {
        let number = system.entry("maxRegistryConcurrency");
        number.or_insert(Value::Integer(CONNECTIONS));
    }
}

/// What [`given`] has looked at.
fn read(text: Option<&str>) -> Table {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
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
        // Nothing but the connections is added.
        let own = "[worker.oci]\ngc = false\n";
        assert_eq!(for_volume(Some(own)), faster(Some(own)));
        assert!(for_volume(Some(own)).ends_with(own));
    }

    #[test]
    fn a_daemon_has_more_connections_to_a_registry_unless_a_number_is_given() {
        let number = |text: Option<&str>| {
            let table: Table = faster(text).parse().unwrap();
            table["system"]["maxRegistryConcurrency"].as_integer()
        };
        assert_eq!(number(None), Some(CONNECTIONS));
        assert_eq!(
            number(Some("[system]\nplatformsCacheMaxAge = '1h'")),
            Some(CONNECTIONS)
        );
        assert_eq!(
            number(Some("[system]\nmaxRegistryConcurrency = 4")),
            Some(4)
        );
        // What the daemon itself will complain of stays as it is.
        assert_eq!(faster(Some("system = 1")), "system = 1\n");
    }
}
