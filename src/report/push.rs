//! What was sent, and what a node fetches to start the image.

use protocol::{PackageChange, PackageState};

use super::outcome::Image;
use super::part::Part;
use super::tables::code;
use crate::acceleration::speed;
use crate::registry::pushed::Layer;
use crate::timings::units;

/// Layers that containerd fetches at a time by default
/// (<https://github.com/containerd/containerd/blob/main/docs/cri/config.md>, `max_concurrent_downloads`).
const DOWNLOADS: u64 = 3;

/// What one connection to Amazon ECR carries (bytes per second): 24 to 28 MB/s are reported.
const CONNECTION: u64 = 26_000_000;

/// Images below this size are there in a second or two (bytes).
const LARGE: u64 = 200_000_000;

/// The part; empty where nothing was pushed.
pub(super) fn part(image: &Image<'_>) -> Part {
    let mut text = String::new();
    if let Some(engine) = image.built.and_then(|built| built.engine.as_ref()) {
        text.push_str(&format!(
            "\nPush engine: {} layers, {} sent, {} were in the registry already",
            engine.layers.len(),
            units::bytes(engine.uploaded),
            units::bytes(engine.reused)
        ));
        if let Some(speed) = speed(engine) {
            text.push_str(&format!(
                "; up to {} uploads at a time, {}/s",
                engine.streams,
                units::bytes(speed)
            ));
        }
        text.push_str(".\n");
    }
    if let Some(pushed) = image.pushed() {
        text.push_str(&pull(&pushed.layers));
    }
    Part::text(text)
}

/// Packages that are not as they were in the image before, the largest first.
pub(super) fn packages(image: &Image<'_>) -> Part {
    let engine = image.built.and_then(|built| built.engine.as_ref());
    let changes = engine.and_then(|engine| engine.packages.as_deref());
    let mut changes: Vec<&PackageChange> = changes.unwrap_or_default().iter().collect();
    changes.sort_by_key(|change| {
        let state = change.after.as_ref().or(change.before.as_ref());
        std::cmp::Reverse(state.map_or(0, |state| state.size))
    });
    let title = match changes.len() {
        protocol::MOST_PACKAGES.. => "More than 100 packages changed".to_owned(),
        1 => "1 package changed".to_owned(),
        number => format!("{number} packages changed"),
    };
    let rows: Vec<String> = changes.into_iter().map(package_row).collect();
    if rows.is_empty() {
        return Part::default();
    }
    let head = "| Package | Before | Now |\n| :-- | :-- | :-- |\n";
    Part::folded(&title, head, rows)
}

fn package_row(change: &PackageChange) -> String {
    let state = |state: &Option<PackageState>| match state {
        None => "–".to_owned(),
        Some(PackageState { size, version }) => {
            let size = units::bytes(*size).replace(' ', "\u{a0}");
            let version = version.as_ref();
            version.map_or(size.clone(), |version| {
                format!("{} ({size})", code(version))
            })
        }
    };
    format!(
        "| {} | {} | {} |\n",
        code(&change.name),
        state(&change.before),
        state(&change.after)
    )
}

/// What a node without any of the layers has to do.
fn pull(layers: &[Layer]) -> String {
    let sizes = || layers.iter().map(|layer| layer.size);
    let total = sizes().fold(0, u64::saturating_add);
    let several = layers.iter().any(|layer| layer.platform.is_some());
    let Some(largest) = sizes().max().filter(|_| total >= LARGE && !several) else {
        return String::new();
    };
    let seconds = (largest / CONNECTION).max(total / (CONNECTION * DOWNLOADS));
    format!(
        "\nA node without any of these layers fetches {} in {} layers, the largest {}: about {seconds} s, if it fetches {DOWNLOADS} \
         at a time, as containerd does by default, at {}/s each.\n",
        units::bytes(total),
        layers.len(),
        units::bytes(largest),
        units::bytes(CONNECTION)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(sizes: &[u64]) -> Vec<Layer> {
        let layer = |size: &u64| Layer {
            digest: "sha256:a".to_owned(),
            size: *size,
            created_by: None,
            platform: None,
        };
        sizes.iter().map(layer).collect()
    }

    #[test]
    fn a_package_has_its_versions_and_sizes() {
        let state = |version: Option<&str>| PackageState {
            size: 2_000_000,
            version: version.map(str::to_owned),
        };
        let change = PackageChange {
            name: "pip/torch|".to_owned(),
            before: Some(state(Some("2.1"))),
            after: Some(state(None)),
        };
        let row = package_row(&change);
        assert_eq!(
            row,
            "| `pip/torch\\|` | `2.1` (2.0\u{a0}MB) | 2.0\u{a0}MB |\n"
        );
        let removed = PackageChange {
            after: None,
            ..change
        };
        assert!(package_row(&removed).ends_with("| – |\n"));
    }

    #[test]
    fn even_layers_are_fetched_at_the_same_time() {
        let large = pull(&layers(&[2_600_000_000]));
        assert!(large.contains("about 100 s"), "{large}");
        let even = pull(&layers(&[130_000_000; 20]));
        assert!(
            even.contains("in 20 layers") && even.contains("about 33 s"),
            "{even}"
        );
        assert_eq!(pull(&layers(&[1_000_000])), "");
        assert_eq!(pull(&[]), "");
    }
}
