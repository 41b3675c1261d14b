//! What a step leaves for others: outputs, summary, timings file.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, chown};

use crate::runner::{Runner, TAG, recorded};

const DIGEST: &str = "sha256:";

#[test]
fn a_push_has_all_outputs() {
    let ran = Runner::new().input("labels", "a=b").run().exits(0);
    let names: Vec<&str> = ran.outputs.keys().map(String::as_str).collect();
    let mut declared: Vec<String> = Vec::new();
    let action = include_str!("../../action.yml");
    let (_, rest) = action.split_once("\noutputs:\n").unwrap();
    let (outputs, _) = rest.split_once("\nruns:\n").unwrap();
    for line in outputs.lines() {
        if let Some(name) = line
            .strip_prefix("  ")
            .filter(|name| !name.starts_with(' '))
        {
            declared.push(name.trim_end_matches(':').to_owned());
        }
    }
    // Those of the push engine, which this machine does not have.
    declared.retain(|name| !["pushed-bytes", "reused-bytes"].contains(&name.as_str()));
    declared.sort();
    assert_eq!(names, declared);
    let digest = &ran.outputs["digest"];
    assert!(digest.starts_with(DIGEST) && digest.len() == 71, "{digest}");
    assert_eq!(
        ran.outputs["image"],
        format!("registry.test/team/app@{digest}")
    );
    assert_eq!(ran.outputs["tags"], TAG);
    assert_eq!(ran.outputs["registry"], "registry.test");
    assert_eq!(ran.outputs["driver"], "docker");
    assert_eq!(ran.outputs["builder"], "default");
    // Config and three layers of the recorded manifest.
    let manifest: serde_json::Value = serde_json::from_str(include_str!(
        "../fixtures/answers/buildx-0.29.1-manifest.json"
    ))
    .unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let sizes = layers.iter().chain([&manifest["config"]]);
    let bytes: u64 = sizes.map(|blob| blob["size"].as_u64().unwrap()).sum();
    assert_eq!(ran.outputs["image-bytes"], bytes.to_string());
    assert!(
        ran.summary
            .starts_with(&format!("### Pushed `{TAG}` in [TIME]")),
        "{}",
        ran.summary
    );
    assert!(
        ran.summary.contains("head -c 3000000 /dev/urandom"),
        "{}",
        ran.summary
    );
}

/// With attestations an image for one platform is an index, too, but of one platform buildx prints the configuration itself.
#[test]
fn layers_of_an_index_with_one_platform_are_told_by_their_steps() {
    let answer = include_str!("../fixtures/answers/buildx-0.29.1-manifest.json");
    let hex = ["a".repeat(64), "b".repeat(64)];
    let entry = |hex: &str, os: &str, architecture: &str| {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{hex}"),
            "size": 500,
            "platform": { "os": os, "architecture": architecture },
        })
    };
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry(&hex[0], "linux", "amd64"), entry(&hex[1], "unknown", "unknown")],
    });
    let ran = Runner::new()
        .input("provenance", "mode=max")
        .buildx("manifest", &index.to_string())
        .buildx(&format!("manifest.{}", hex[0]), answer)
        .run()
        .exits(0);
    assert!(
        ran.summary.contains("| `RUN head -c 3000000 /dev/urandom"),
        "{}",
        ran.summary
    );
}

/// buildx's own pace, so that its clock and ours tell of the same time.
#[test]
fn the_outputs_of_the_phases_add_up_to_the_total() {
    for (case, code) in [("cached-push", 0), ("failing-run", 1)] {
        let ran = Runner::new()
            .stream(&recorded(case))
            .buildx("pace", "")
            .input("timings-file", "timings.json")
            .run()
            .exits(code);
        let milliseconds = |text: &str| -> i64 {
            let (seconds, rest) = text.split_once('.').unwrap();
            assert_eq!(rest.len(), 3, "{text}");
            seconds.parse::<i64>().unwrap() * 1000 + rest.parse::<i64>().unwrap()
        };
        let mut phases: BTreeMap<&str, i64> = ran
            .outputs
            .iter()
            .filter_map(|(name, value)| Some((name.strip_suffix("-seconds")?, milliseconds(value))))
            .collect();
        let total = phases.remove("total").unwrap();
        let timings: serde_json::Value = serde_json::from_str(&ran.outputs["timings"]).unwrap();
        let image = &timings["images"][0];
        let sum = phases.values().sum::<i64>();
        assert_eq!(sum, total, "{case}: {phases:?} {}", image["phases"]);
        assert_eq!(image["total_ms"].as_i64(), Some(total), "{case}");
        if case == "failing-run" {
            // The step sleeps for a second.
            assert!((1000..1500).contains(&phases["build"]), "{phases:?}");
        }
    }
}

#[test]
fn values_can_not_break_out_of_their_output() {
    let hostile =
        "x\nfast_ecr_push_end\ndigest<<E\nsha256:evil\nE\nfast_ecr_push_end_\n::add-mask::y";
    let metadata = serde_json::json!({
        "containerimage.digest": format!("sha256:{}\nimage=evil", "a".repeat(64)),
        "containerimage.config.digest": hostile,
        "image.name": hostile,
        "fast_ecr_push_end\nevil=1": [hostile, {"a": "b"}],
    });
    let ran = Runner::new()
        .buildx("metadata", &metadata.to_string())
        .buildx("iidfile", hostile)
        .run()
        .exits(0);
    let read: serde_json::Value = serde_json::from_str(&ran.outputs["metadata"]).unwrap();
    assert_eq!(read, metadata);
    assert_eq!(ran.outputs["imageid"], hostile);
    assert!(!ran.outputs.contains_key("digest"), "that is no digest");
    assert!(
        !ran.outputs.contains_key("evil"),
        "{:?}",
        ran.outputs.keys()
    );
    assert!(!ran.outputs.contains_key("image"));
}

#[test]
fn names_in_a_summary_are_text_and_no_markup() {
    let mut stream = recorded("failing-run");
    stream = stream.replace(
        "[2/2] RUN sleep 1; echo almost there; exit 3",
        "[2/2] RUN `a` | <img src=x> </code> **b**",
    );
    // At its own pace, so that the step took long enough for the table of the slowest.
    let ran = Runner::new()
        .stream(&stream)
        .buildx("pace", "")
        .run()
        .exits(1);
    let code = "``[2/2] RUN `a` \\| <img src=x> </code> **b**``";
    // Outside of tables a backslash before the pipe would be shown.
    let line = code.replace('\\', "");
    let cache = format!("the first step that ran was {line}");
    for shown in [code, &cache] {
        assert!(ran.summary.contains(shown), "{shown}: {}", ran.summary);
    }
    let outside = ran.summary.replace(code, "").replace(&line, "");
    for markup in ["<img", "</code>", "**b**"] {
        assert!(!outside.contains(markup), "{markup}: {}", ran.summary);
    }
}

#[test]
fn the_timings_file_belongs_to_the_owner_of_its_folder() {
    for (case, code) in [("cached-push", 0), ("failing-run", 1)] {
        let runner = Runner::new()
            .stream(&recorded(case))
            .input("timings-file", "timings.json");
        let workspace = runner.path("workspace");
        let root = std::fs::metadata(&workspace).unwrap().uid() == 0;
        if root {
            chown(&workspace, Some(1001), Some(1001)).unwrap();
        }
        let running = runner.start();
        let owner = std::fs::metadata(&workspace).unwrap();
        let path = running.runner.path("workspace/timings.json");
        // The folder goes with the runner: look before.
        let ran = running.finish_and(|| {
            let file = std::fs::metadata(&path).unwrap();
            assert_eq!(
                (file.uid(), file.gid()),
                (owner.uid(), owner.gid()),
                "{case}"
            );
            let text = std::fs::read_to_string(&path).unwrap();
            let timings: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(timings["schema"], 1);
            assert!(
                !timings["images"][0]["timeline"]
                    .as_array()
                    .unwrap()
                    .is_empty(),
                "{case}"
            );
        });
        ran.exits(code);
    }
}

#[test]
fn a_summary_that_is_not_wanted_is_not_written() {
    let ran = Runner::new().input("summary", "false").run().exits(0);
    assert_eq!(ran.summary, "");
    assert!(ran.outputs.contains_key("digest"));
}

#[test]
fn what_other_outputs_make_is_no_image() {
    let ran = Runner::new()
        .input("outputs", "type=local,dest=out")
        .buildx("metadata", "{}")
        .run()
        .exits(0);
    assert_eq!(ran.verbs(), ["version", "build"]);
    assert!(!ran.outputs.contains_key("digest") && !ran.outputs.contains_key("imageid"));
    assert!(ran.summary.starts_with("### Built "), "{}", ran.summary);
}

/// A long build must not fill the memory: what is kept is bounded by the steps, not by the lines.
#[test]
fn memory_stays_flat_over_a_long_log() {
    let peak = |lines: usize| -> u64 {
        let mut stream = "0\tstart\n".to_owned();
        let vertex = r#"{"vertexes":[{"digest":"sha256:1","name":"[1/1] RUN make","started":"2026-11-23T18:41:00Z"}]}"#;
        stream += &format!("0\t{vertex}\n");
        for number in 0..lines {
            use base64::Engine as _;
            let data = base64::engine::general_purpose::STANDARD.encode(format!(
                "compiling part {number} of a rather large program\n"
            ));
            let second = number / 1000 % 60;
            stream += &format!(
                "0\t{{\"logs\":[{{\"vertex\":\"sha256:1\",\"stream\":1,\"data\":\"{data}\",\"timestamp\":\"2026-11-23T18:41:{second:02}Z\"}}]}}\n"
            );
        }
        let mut running = Runner::new()
            .stream(&(stream + "0\texit 0\n"))
            .buildx("build.hold", "")
            .start();
        running.wait_until_held();
        let last = format!("compiling part {} of", lines - 1);
        running.wait_until("the last line", |runner| {
            std::fs::read_to_string(runner.path("stdout")).is_ok_and(|log| log.contains(&last))
        });
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        std::fs::write(running.runner.path("buildx/go"), "").unwrap();
        running.finish().exits(0);
        kilobytes
    };
    let (short, long) = (peak(1_000), peak(100_000));
    assert!(
        long * 10 <= short * 13,
        "{short} KiB after 1,000 lines, {long} KiB after 100,000"
    );
}
