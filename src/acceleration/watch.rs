//! What the step does, as lines of the log and as times of the report.

use jiff::{SignedDuration, Timestamp};
use protocol::{Event, Layer, LayerSource, PackageState, Summary};

use crate::buildx::progress::one_line;
use crate::timings::units::{bytes, duration};
use crate::timings::{Phase, Stage};

/// How often a line says how far the push is.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// Follows a step.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    listening: Option<Timestamp>,
    /// When bytes were first sent.
    sending: Option<Timestamp>,
    /// When the last layer was there.
    layers: Option<Timestamp>,
    done: Option<Timestamp>,
    said: Option<Timestamp>,
}

impl Watch {
    /// Takes in an event that arrived then; the line for it, if it is worth one.
    pub(crate) fn see(&mut self, event: &Event, now: Timestamp) -> Option<String> {
        match event {
            Event::Listening { .. } => {
                self.listening = Some(now);
                None
            }
            Event::Compared {
                changed,
                removed,
                bytes: size,
                milliseconds,
            } => {
                let time = duration(std::time::Duration::from_millis(*milliseconds));
                Some(format!(
                    "{changed} files differ from the base image ({}), {removed} are removed; compared in {time}",
                    bytes(*size)
                ))
            }
            Event::Progress {
                packed,
                total,
                uploaded,
                streams,
            } => {
                if *uploaded > 0 {
                    self.sending.get_or_insert(now);
                }
                let last = *self.said.get_or_insert(now);
                if now.duration_since(last) < PAUSE {
                    return None;
                }
                self.said = Some(now);
                Some(format!(
                    "packed {} of {}, sent {}, {streams} uploads at the moment",
                    bytes((*packed).min(*total)),
                    bytes(*total),
                    bytes(*uploaded)
                ))
            }
            Event::Layer(layer) => {
                self.layers = Some(now);
                if layer.source == LayerSource::Uploaded {
                    self.sending.get_or_insert(now);
                }
                Some(layer_line(layer))
            }
            Event::Published(published) => Some(format!(
                "{}/{}: {}",
                one_line(&published.registry),
                one_line(&published.repository),
                match published.tags.len() {
                    0 => published.digest.to_string(),
                    _ => one_line(&published.tags.join(", ")),
                }
            )),
            Event::Done(summary) => {
                self.done = Some(now);
                Some(summary_line(summary) + &packages_line(summary))
            }
            Event::Failed { .. } => None,
        }
    }

    /// The push as parts of the run: layers are packed and sent at the same time.
    pub(crate) fn stages(&self) -> Vec<Stage> {
        let (Some(started), Some(done)) = (self.listening, self.done) else {
            return Vec::new();
        };
        let layers = self.layers.unwrap_or(done);
        let sending = self.sending.unwrap_or(layers);
        let stage = |name: &str, phase, started, ended| Stage {
            name: name.to_owned(),
            phase,
            started,
            ended,
        };
        vec![
            stage("compare and pack", Phase::Export, started, layers),
            stage("send layers and tags", Phase::Push, sending, done),
        ]
    }
}

fn layer_line(layer: &Layer) -> String {
    let what = match layer.source {
        LayerSource::Base => "is the base image's",
        LayerSource::Uploaded => "sent",
        LayerSource::Present => "packed, already in the registry",
        LayerSource::Unchanged => "unchanged",
    };
    format!(
        "layer {} ({}): {what}",
        one_line(&layer.name),
        bytes(layer.size)
    )
}

/// `12 layers in 17.2 s: 1.3 GB sent, 20 MB were there; 14 uploads at a time, 81.2 MB/s`.
fn summary_line(summary: &Summary) -> String {
    let time = std::time::Duration::from_millis(summary.milliseconds);
    let mut line = format!(
        "{} layers in {}: {} sent, {} were there",
        summary.layers.len(),
        duration(time),
        bytes(summary.uploaded),
        bytes(summary.reused)
    );
    if let Some(speed) = speed(summary) {
        line.push_str(&format!(
            "; up to {} uploads at a time, {}/s",
            summary.streams,
            bytes(speed)
        ));
    }
    line
}

/// Packages that a line names.
const NAMED: usize = 8;

/// A second line, if packages have changed: `packages: pip/torch 2.1 → 2.2, pip/extra 1.0 new, pip/old removed`.
fn packages_line(summary: &Summary) -> String {
    let changes = summary.packages.as_deref().unwrap_or_default();
    let words = changes.iter().take(NAMED).map(|change| {
        let version = |state: &Option<PackageState>| {
            let version = state.as_ref().and_then(|state| state.version.as_deref());
            version
                .map(|version| format!(" {version}"))
                .unwrap_or_default()
        };
        let (before, after) = (version(&change.before), version(&change.after));
        let what = match (&change.before, &change.after) {
            (None, _) => format!("{after} new"),
            (_, None) => " removed".to_owned(),
            _ if before == after => format!("{after} changed"),
            _ => format!("{before} →{after}"),
        };
        format!("{}{what}", change.name)
    });
    let words: Vec<String> = words.collect();
    let more = match changes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if words.is_empty() {
        return String::new();
    }
    format!("\npackages: {}{more}", one_line(&words.join(", ")))
}

/// Bytes a second, of a push that sent anything.
pub(crate) fn speed(summary: &Summary) -> Option<u64> {
    let speed = summary
        .uploaded
        .saturating_mul(1000)
        .checked_div(summary.milliseconds)?;
    (speed > 0).then_some(speed)
}

#[cfg(test)]
mod tests {
    use protocol::PackageChange;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    fn package(version: &str) -> PackageState {
        PackageState {
            size: 1,
            version: Some(version.to_owned()),
        }
    }

    fn progress(uploaded: u64) -> Event {
        Event::Progress {
            packed: 9,
            total: 8,
            uploaded,
            streams: 2,
        }
    }

    #[test]
    fn packing_and_sending_overlap() {
        let digest = image::Digest::sha256([1; 32]);
        let layer = Layer {
            name: "python: a\u{1b}[31m\nb".to_owned(),
            digest: digest.clone(),
            size: 5,
            source: LayerSource::Uploaded,
        };
        let mut watch = Watch::default();
        assert_eq!(watch.see(&Event::Listening { port: 1 }, at(1000)), None);
        assert_eq!(watch.see(&progress(0), at(1500)), None);
        assert_eq!(watch.see(&progress(3), at(2000)), None);
        let line = watch.see(&progress(3), at(6500)).unwrap();
        assert_eq!(line, "packed 8 B of 8 B, sent 3 B, 2 uploads at the moment");
        assert_eq!(watch.see(&progress(3), at(7000)), None);
        let line = watch.see(&Event::Layer(layer.clone()), at(8000)).unwrap();
        assert!(!line.contains('\u{1b}') && !line.contains('\n'), "{line}");
        let summary = Summary {
            digest: digest.clone(),
            configuration: Some(digest),
            media_type: String::new(),
            size: 1,
            layers: vec![layer],
            uploaded: 5,
            reused: 0,
            streams: 2,
            packages: Some(vec![
                PackageChange {
                    name: "pip/a\u{1b}[31m".to_owned(),
                    before: Some(package("1.0")),
                    after: Some(package("1.1")),
                },
                PackageChange {
                    name: "pip/b".to_owned(),
                    before: None,
                    after: Some(package("2.0")),
                },
            ]),
            milliseconds: 500,
        };
        let line = watch.see(&Event::Done(summary), at(9000)).unwrap();
        assert_eq!(
            line,
            "1 layers in 0.5 s: 5 B sent, 0 B were there; up to 2 uploads at a time, 10 B/s\n\
             packages: pip/a 1.0 → 1.1, pip/b 2.0 new"
        );
        let stages: Vec<(Phase, i64, i64)> = watch
            .stages()
            .iter()
            .map(|stage| {
                let (started, ended) = (stage.started, stage.ended);
                (
                    stage.phase,
                    started.as_millisecond(),
                    ended.as_millisecond(),
                )
            })
            .collect();
        assert_eq!(
            stages,
            [(Phase::Export, 1000, 8000), (Phase::Push, 2000, 9000)]
        );
    }

    #[test]
    fn a_step_that_did_not_end_has_no_times() {
        let mut watch = Watch::default();
        watch.see(&Event::Listening { port: 1 }, at(1000));
        assert_eq!(watch.stages(), []);
    }
}
