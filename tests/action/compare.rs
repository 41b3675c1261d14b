//! `compare`, from the command line.

use rustix::process::Signal;

use crate::runner::{Runner, recorded};

/// A timings file of a build that took so many seconds.
fn timings(driver: &str, seconds: u64) -> String {
    let ran = Runner::new().run().exits(0);
    let mut timings: serde_json::Value = serde_json::from_str(&ran.outputs["timings"]).unwrap();
    let image = &mut timings["images"][0];
    image["driver"] = driver.into();
    image["total_ms"] = (seconds * 1_000).into();
    for (_, phase) in image["phases"].as_object_mut().unwrap() {
        phase["partition_ms"] = 0.into();
    }
    image["phases"]["build"]["partition_ms"] = (seconds * 1_000).into();
    timings.to_string()
}

/// Four ways, one of them three times.
fn four_ways() -> Runner {
    Runner::bare()
        .file("workspace/hosted/a.json", &timings("docker-container", 400))
        .file("workspace/hosted/b.json", &timings("kubernetes", 300))
        .file("workspace/eks/1.json", &timings("docker-container", 90))
        .file("workspace/eks/2.json", &timings("docker-container", 110))
        .file("workspace/eks/3.json", &timings("docker-container", 100))
        .file("workspace/eks/4.json", &timings("kubernetes", 40))
}

#[test]
fn runners_and_drivers_stand_beside_each_other() {
    let table = "\
| Runner | Driver | Total | Of slowest | Build |
| :-- | :-- | --: | --: | --: |
| hosted | docker-container | 6 m 40 s | 100 % | 6 m 40 s |
| hosted | kubernetes | 5 m 00 s | 75 % | 5 m 00 s |
| EKS | docker-container | 1 m 40 s (1 m 30 s to 1 m 50 s, 3 runs) | 25 % | 1 m 40 s |
| EKS | kubernetes | 40.0 s | 10 % | 40.0 s |

Medians over the runs, separately for each phase.
";
    let ran = four_ways()
        .arguments(&["compare", "hosted=hosted", "EKS=eks"])
        .run()
        .exits(0);
    assert!(ran.everything.starts_with(table), "{}", ran.everything);
    assert_eq!(ran.stderr, "");
}

#[test]
fn the_same_as_csv_and_json() {
    let ran = four_ways()
        .arguments(&["compare", "--format", "csv", "hosted=hosted", "EKS=eks"])
        .run()
        .exits(0);
    assert_eq!(
        ran.log,
        "runner,driver,runs,total_ms,fastest_ms,slowest_ms,percent_of_slowest,build_ms\n\
         hosted,docker-container,1,400000,400000,400000,100,400000\n\
         hosted,kubernetes,1,300000,300000,300000,75,300000\n\
         EKS,docker-container,3,100000,90000,110000,25,100000\n\
         EKS,kubernetes,1,40000,40000,40000,10,40000\n"
    );
    let ran = four_ways()
        .arguments(&["compare", "--format", "json", "hosted=hosted", "EKS=eks"])
        .run()
        .exits(0);
    let json: serde_json::Value = serde_json::from_str(&ran.log).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), 4);
    assert_eq!(json["rows"][2]["phases_ms"]["build"], 100_000);
}

#[test]
fn a_build_that_did_not_end_well_is_told_and_left_out() {
    let failing = || Runner::new().stream(&recorded("failing-run"));
    let failed = failing().run().exits(1).outputs["timings"].clone();
    let mut running = failing().buildx("build.hold", "").start();
    running.wait_until_held();
    running.signal(Signal::INT);
    let cancelled = running.finish().exits(130).outputs["timings"].clone();
    let ran = Runner::bare()
        .file("workspace/good.json", &timings("docker", 70))
        .file("workspace/failed.json", &failed)
        .file("workspace/cancelled.json", &cancelled)
        .arguments(&["compare", "failed.json", "good.json", "cancelled.json"])
        .run()
        .exits(0);
    assert_eq!(ran.log.lines().count(), 3, "{}", ran.log);
    for words in [
        "left out: `failed.json` is of a failed build",
        "left out: `cancelled.json` is of a cancelled build",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    let ran = Runner::bare()
        .file("workspace/failed.json", &failed)
        .arguments(&["compare", "failed.json"])
        .run()
        .exits(2);
    assert!(ran.stderr.contains("is of a failed build"));
}

#[test]
fn images_that_differ_have_rows_of_their_own() {
    let api = timings("docker", 70);
    let web = timings("docker", 30).replace("registry.test/team/app@", "registry.test/team/web@");
    assert_ne!(api, web);
    let files = || {
        Runner::bare()
            .file("workspace/a/api.json", &api)
            .file("workspace/a/web.json", &web)
    };
    let ran = files().arguments(&["compare", "EKS=a"]).run().exits(0);
    let table = "\
| Runner | Driver | Image | Total | Of slowest | Build |
| :-- | :-- | :-- | --: | --: | --: |
| EKS | docker | registry.test/team/app | 1 m 10 s | 100 % | 1 m 10 s |
| EKS | docker | registry.test/team/web | 30.0 s | 100 % | 30.0 s |
";
    assert!(ran.everything.starts_with(table), "{}", ran.everything);
    let ran = files()
        .arguments(&["compare", "--format", "csv", "EKS=a"])
        .run()
        .exits(0);
    assert!(
        ran.log.starts_with("runner,driver,image,runs,"),
        "{}",
        ran.log
    );
}

#[test]
fn files_that_are_not_timings_are_reported_and_left_out() {
    let good = timings("docker", 70);
    let later = good.replace("\"schema\":1", "\"schema\":7");
    assert_ne!(good, later);
    let arguments = [
        "compare",
        "good.json",
        "later.json",
        "text.json",
        "cut.json",
        "gone.json",
    ];
    let files = Runner::bare()
        .file("workspace/later.json", &later)
        .file("workspace/text.json", "It took long.")
        .file("workspace/cut.json", good.split_at(good.len() / 2).0);
    let ran = files
        .file("workspace/good.json", &good)
        .arguments(&arguments)
        .run()
        .exits(0);
    assert!(
        ran.everything.contains("| docker | 1 m 10 s |"),
        "{}",
        ran.log
    );
    for words in [
        "left out: `later.json` has schema version 7, this program reads version 1",
        "left out: `text.json` is not a timings file: expected value",
        "left out: `cut.json` is not a timings file: EOF while parsing",
        "left out: could not read `gone.json`: No such file",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    let ran = Runner::bare()
        .file("workspace/text.json", "It took long.")
        .arguments(&["compare", "text.json"])
        .run()
        .exits(2);
    assert_eq!(ran.log, "");
    assert!(
        ran.stderr
            .contains("none of the given files is a timings file"),
        "{}",
        ran.stderr
    );
}
