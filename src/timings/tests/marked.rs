//! Recorded builds compared with phases marked by hand.
//!
//! The marks were read off the streams' own timestamps, seconds since `start`; they leave out gaps of a few milliseconds inside a phase.

use super::recording::{self, Recording};
use crate::timings::Phase;
use crate::timings::Phase::{
    Build, Builder, CacheExport, CacheImport, Context, Export, Pull, Push, Waiting,
};

/// Phases and their segments, marked by hand.
type Marks = &'static [(Phase, f64, f64)];

#[rustfmt::skip]
pub(super) const MARKED: [(&str, f64, Marks); 17] = [
    ("cached-push", 0.376, &[
        (Context, 0.090, 0.097), (Pull, 0.101, 0.117), (Context, 0.118, 0.127), (Pull, 0.132, 0.150),
        (Context, 0.150, 0.159), (Export, 0.166, 0.208), (Push, 0.208, 0.295), (Export, 0.360, 0.366),
    ]),
    ("cold-push", 4.389, &[
        (Context, 0.097, 0.115), (Pull, 0.121, 0.138), (Context, 0.139, 0.152), (Pull, 0.157, 0.823),
        (Build, 0.824, 3.029), (Export, 3.032, 3.542), (Push, 3.542, 4.287), (Export, 4.362, 4.373),
    ]),
    ("container-boot", 7.800, &[
        (Builder, 0.063, 2.232), (Context, 2.329, 2.348), (Pull, 2.353, 2.384), (Context, 2.385, 2.412),
        (Pull, 2.424, 3.616), (Build, 3.618, 5.915), (Export, 5.919, 6.730), (Push, 6.730, 7.721),
        (Export, 7.775, 7.784),
    ]),
    ("container-load", 5.163, &[
        (Context, 0.151, 0.160), (Pull, 0.163, 0.183), (Context, 0.184, 0.193), (Pull, 0.197, 0.212),
        (Context, 0.212, 0.218), (Export, 0.222, 5.116), (Export, 5.140, 5.148),
    ]),
    ("directory", 0.516, &[
        (Context, 0.084, 0.089), (Pull, 0.091, 0.105), (Context, 0.106, 0.109), (Pull, 0.112, 0.122),
        (Context, 0.123, 0.126), (Export, 0.129, 0.476), (Export, 0.499, 0.506),
    ]),
    ("failing-run", 1.296, &[
        (Context, 0.093, 0.103), (Pull, 0.108, 0.154), (Context, 0.155, 0.158), (Pull, 0.163, 0.187),
        (Build, 0.189, 1.259),
    ]),
    ("git-context", 5.175, &[
        (Context, 0.067, 1.602), (Pull, 1.605, 1.620), (Pull, 1.622, 1.974), (Build, 1.977, 4.200),
        (Export, 4.202, 4.598), (Push, 4.598, 5.108), (Export, 5.157, 5.165),
    ]),
    ("inline-cache-export", 4.649, &[
        (Context, 0.073, 0.081), (Pull, 0.083, 0.095), (Context, 0.096, 0.104), (Pull, 0.107, 0.749),
        (Build, 0.751, 2.925), (Export, 2.928, 3.529), (Push, 3.529, 4.566), (Export, 4.616, 4.629),
    ]),
    // The cached step's layers are fetched from 0.394 on, when COPY needs them.
    ("inline-cache-import", 2.615, &[
        (Context, 0.107, 0.120), (Pull, 0.124, 0.137), (Context, 0.138, 0.148), (CacheImport, 0.153, 0.154),
        (Pull, 0.154, 0.173), (CacheImport, 0.173, 0.195), (Context, 0.196, 0.393), (Pull, 0.394, 1.233),
        (Build, 1.234, 1.992), (Export, 1.995, 2.289), (Push, 2.289, 2.505), (Export, 2.590, 2.603),
    ]),
    ("load", 3.403, &[
        (Context, 0.093, 0.103), (Pull, 0.106, 0.122), (Context, 0.122, 0.131), (Pull, 0.135, 0.624),
        (Build, 0.626, 2.709), (Export, 2.711, 3.329), (Export, 3.386, 3.393),
    ]),
    ("parallel-stages", 4.005, &[
        (Context, 0.091, 0.106), (Pull, 0.112, 0.160), (Context, 0.161, 0.169), (Pull, 0.173, 0.299),
        (Build, 0.301, 2.612), (Build, 2.635, 3.260), (Export, 3.263, 3.626), (Push, 3.626, 3.944),
        (Export, 3.984, 3.992),
    ]),
    ("registry-cache-export", 4.088, &[
        (Context, 0.061, 0.073), (Pull, 0.076, 0.088), (Context, 0.089, 0.098), (Pull, 0.104, 0.636),
        (Build, 0.637, 2.749), (Export, 2.752, 3.261), (Push, 3.261, 3.906), (CacheExport, 3.908, 4.002),
        (Export, 4.061, 4.070),
    ]),
    ("registry-cache-import", 2.263, &[
        (Context, 0.096, 0.106), (Pull, 0.109, 0.120), (Context, 0.121, 0.131), (Pull, 0.136, 0.165),
        (Context, 0.165, 0.320), (Pull, 0.322, 0.905), (Build, 0.907, 1.595), (Export, 1.598, 1.882),
        (Push, 1.882, 2.089), (CacheExport, 2.091, 2.191), (Export, 2.244, 2.253),
    ]),
    ("three-tags", 4.086, &[
        (Context, 0.069, 0.080), (Pull, 0.084, 0.098), (Context, 0.099, 0.109), (Pull, 0.112, 0.602),
        (Build, 0.603, 2.687), (Export, 2.690, 3.222), (Push, 3.222, 4.012), (Export, 4.068, 4.075),
    ]),
    ("two-platforms", 1.611, &[
        (Context, 0.073, 0.083), (Pull, 0.086, 0.115), (Context, 0.116, 0.124), (Pull, 0.131, 0.264),
        (Build, 0.266, 1.367), (Export, 1.369, 1.450), (Push, 1.450, 1.537), (Export, 1.597, 1.598),
    ]),
    ("warnings", 1.399, &[
        (Context, 0.067, 0.070), (Pull, 0.073, 0.101), (Context, 0.102, 0.104), (Pull, 0.107, 0.118),
        (Build, 0.119, 1.232), (Export, 1.235, 1.286), (Push, 1.286, 1.342), (Export, 1.384, 1.389),
    ]),
    ("zstd", 4.087, &[
        (Context, 0.074, 0.088), (Pull, 0.093, 0.115), (Context, 0.116, 0.137), (Pull, 0.146, 0.708),
        (Build, 0.710, 2.832), (Export, 2.834, 3.326), (Push, 3.326, 4.008), (Export, 4.067, 4.076),
    ]),
];

#[test]
fn phases_of_recorded_builds_are_those_marked_by_hand() {
    for (name, total, marks) in MARKED {
        let build = Recording::open(name).timings();
        assert!(
            (build.total.as_secs_f64() - total).abs() < 0.002,
            "{name}: {:?}",
            build.total
        );
        for phase in Phase::ALL.iter().copied() {
            let of_phase = marks.iter().filter(|(marked, ..)| *marked == phase);
            let mut expected: f64 = of_phase.map(|(_, from, to)| to - from).sum();
            if phase == Waiting {
                expected = total - marks.iter().map(|(_, from, to)| to - from).sum::<f64>();
            }
            let found = build.phase(phase).partition.as_secs_f64();
            assert!(
                (found - expected).abs() < 0.025,
                "{name}: {phase:?} took {found}, marked {expected:.3}"
            );
        }
        assert!(
            build.phase(Phase::Other).union * 50 < build.total,
            "{name}: more than 2 % unclassified"
        );
    }
}

#[test]
fn every_recording_is_marked() {
    let recorded: Vec<String> = recording::all().into_iter().map(|(name, _)| name).collect();
    let marked = MARKED.map(|(name, ..)| format!("buildx-0.29.1-engine-28.5.2-{name}"));
    assert_eq!(recorded, marked);
}

#[test]
fn unions_hold_what_the_partition_gives_to_others() {
    let cases = [
        ("cold-push", Context, 0.018 + 0.013 + 0.239),
        ("container-boot", Context, 0.019 + 0.027 + 1.079),
        ("inline-cache-import", CacheImport, 0.042),
        ("registry-cache-import", CacheImport, 0.025),
    ];
    for (name, phase, expected) in cases {
        let found = Recording::open(name)
            .timings()
            .phase(phase)
            .union
            .as_secs_f64();
        assert!(
            (found - expected).abs() < 0.010,
            "{name}: {phase:?} ran {found}, marked {expected:.3}"
        );
    }
}
