//! Paths of the runner's, as a workflow writes them, in a container that sees only some of them.

use std::os::unix::fs::MetadataExt as _;

use crate::rig::{busybox, registry};
use crate::runner::{Runner, below};

fn runner() -> Runner {
    Runner::new().file("Dockerfile", format!("FROM {}\nCOPY . /app\n", busybox()))
}

#[test]
fn a_cache_in_the_runners_tmp_is_refused_with_the_folders_that_are_visible() {
    for (input, text, path) in [
        ("cache-to", "type=local,dest=/tmp/cache", "/tmp/cache"),
        ("cache-from", "type=local,src=/tmp/cache", "/tmp/cache"),
        ("outputs", "type=local,dest=../out", "../out"),
        ("timings-file", "/tmp/timings.json", "/tmp/timings.json"),
    ] {
        let run = runner()
            .step()
            .input("context", ".")
            .input("tags", &format!("{}/paths/refused:1", registry()))
            .input(input, text)
            .run();
        assert_eq!(run.code, Some(2), "{}", run.log());
        let expected = format!(
            "input `{input}`: `{path}` given, expected a path below one of the visible folders \
             `/github/workspace`, `/github/runner_temp`, `/github/home`"
        );
        assert!(
            run.log.annotations[0].message.contains(&expected),
            "{}",
            run.log()
        );
        assert!(run.log().contains("hint: "), "{}", run.log());
    }
}

#[test]
fn the_runners_own_paths_work_inside_of_lists_and_files_are_its_users() {
    let runner = runner();
    let cache = runner.temp().join("cache");
    let out = runner.workspace().join("out/tree");
    let run = runner
        .step()
        .input("context", runner.workspace().to_str().unwrap())
        .input("push", "false")
        .input("outputs", &format!("type=local,dest={}", out.display()))
        .input(
            "cache-to",
            &format!("type=local,dest={},mode=max", cache.display()),
        )
        .run()
        .succeeded();
    assert!(out.join("app/Dockerfile").is_file(), "{}", run.log());
    assert!(cache.join("index.json").is_file(), "{}", run.log());
    for path in below(&runner.workspace()).iter().chain(&below(&cache)) {
        let owner = path.symlink_metadata().unwrap().uid();
        assert_eq!(owner, 1001, "{}", path.display());
    }
}
