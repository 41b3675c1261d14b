//! The cache on builders whose disk is new: each run starts a BuildKit of its own with a data root
//! of its own, and the registry's access log tells what moved.

use serde_json::{Value, json};

use crate::registry::{digests, manifest};
use crate::rig::{Action, busybox, container_options, registry};
use crate::runner::Ended;
use crate::traffic;

/// A run on an empty builder.
fn empty(dockerfile: &str) -> Action {
    let options = container_options();
    Action::new(dockerfile)
        .input("driver", "docker-container")
        .input("driver-opts", &options)
        .input("network", "none")
}

/// An image whose history names every layer, as those of other registries do.
fn base(repository: &str) -> String {
    let name = format!("{}/{repository}:base", registry());
    Action::new(&format!("FROM {}\nRUN true > /base\n", busybox()))
        .input("tags", &name)
        .input("cache", "none")
        .run()
        .succeeded();
    name
}

/// A tool from another stage, dependencies, and code on top of them.
fn linked(base: &str) -> String {
    format!(
        "FROM {base} AS build\nRUN head -c 2000000 /dev/urandom > /tool\n\
         FROM {base}\nRUN head -c 3000000 /dev/urandom > /dependencies\n\
         COPY --link --from=build /tool /tool\nCOPY --link code /code\n"
    )
}

/// What the runner tells of an event.
fn on(action: Action, event: &str, git_ref: &str, payload: &Value) -> Action {
    action
        .event(event, &payload.to_string())
        .variable("GITHUB_REF", git_ref)
}

fn default_branch() -> Value {
    json!({"repository": {"default_branch": "main"}})
}

fn change(action: &Action, code: &str) {
    std::fs::write(action.workspace().join("code"), code).unwrap();
}

/// The layers of the image that a run pushed.
fn layers(repository: &str, run: &Ended) -> Vec<String> {
    digests(&manifest(repository, run.output("digest")))
}

/// Whether a step of this kind ran.
fn ran(run: &Ended, words: &str) -> bool {
    let of = |line: &String| {
        line.strip_prefix('#')?
            .split_once(' ')
            .map(|(number, _)| number.to_owned())
    };
    let lines = &run.log.lines;
    let number = lines.iter().find(|line| line.contains(words)).and_then(of);
    let cached = number.map(|number| format!("#{number} cached"));
    cached.is_none_or(|cached| !lines.contains(&cached))
}

/// What is said of caches, with its level.
fn annotations(run: &Ended) -> Vec<(&str, &str)> {
    let all = run.log.annotations.iter();
    all.map(|annotation| (annotation.level.as_str(), annotation.message.as_str()))
        .filter(|(_, message)| message.contains("cache"))
        .collect()
}

#[test]
fn a_code_change_on_an_empty_builder_moves_nothing_but_the_code() {
    let repository = "cache/linked";
    let tag = format!("{}/{repository}:1", registry());
    let action = empty(&linked(&base(repository)))
        .input("tags", &tag)
        .file("code", "one");
    let (traffic, first) = traffic::during(|| action.run().succeeded());
    let before = layers(repository, &first);
    // Base, dependencies, tool, code.
    let dependencies = &before[before.len() - 3];
    assert!(traffic.uploaded(repository).contains(dependencies));
    change(&action, "two");
    let (traffic, second) = traffic::during(|| action.run().succeeded());

    let after = layers(repository, &second);
    let (code, rest) = after.split_last().unwrap();
    // Not built: the same layers, of random bytes.
    assert_eq!(before[..rest.len()], *rest);
    assert!(rest.contains(dependencies) && !before.contains(code));
    let elsewhere = traffic.all_uploaded();
    assert!(
        elsewhere.iter().all(|(_, layer)| layer != dependencies),
        "{elsewhere:?}"
    );
    let (down, up) = (traffic.downloaded(repository), traffic.uploaded(repository));
    for layer in rest {
        assert!(
            !down.contains(layer) && !up.contains(layer),
            "{layer}: {traffic:?}"
        );
    }
    // The code, the image's configuration and the cache's.
    assert!(up.contains(code) && up.len() == 3, "{up:?}");
    for step in ["> /dependencies", "> /tool", "COPY --link --from=build"] {
        assert!(!ran(&second, step), "{step}: {}", second.log());
    }
    let name = format!("{}/{repository}:buildcache", registry());
    for words in [
        "\nCache (registry): the first step that ran was `",
        &format!("read from `{name}` in "),
        &format!("written to `{name}` in "),
    ] {
        assert!(
            second.values.summary.contains(words),
            "{words}: {}",
            second.values.summary
        );
    }
}

#[test]
fn a_run_that_changes_nothing_uploads_nothing() {
    let repository = "cache/unchanged";
    let tags = [1, 2]
        .map(|tag| format!("{}/{repository}:{tag}", registry()))
        .join("\n");
    let dockerfile = linked(&base(repository));
    for (name, action) in [
        ("an empty builder", empty(&dockerfile)),
        ("the Engine's own disk", Action::new(&dockerfile)),
    ] {
        let action = action.input("tags", &tags).file("code", "same");
        let first = action.run().succeeded();
        // What is read from the registry has other annotations in the cache's manifest, once.
        action.run().succeeded();
        let (traffic, second) = traffic::during(|| action.run().succeeded());
        assert_eq!(first.output("digest"), second.output("digest"), "{name}");
        assert_eq!(traffic.uploaded(repository), [""; 0], "{name}");
        assert_eq!(traffic.written(repository), [""; 0], "{name}");
        let digests = layers(repository, &second);
        let down = traffic.downloaded(repository);
        assert!(
            digests.iter().all(|layer| !down.contains(layer)),
            "{name}: {down:?}"
        );
    }
}

#[test]
fn the_inline_cache_of_the_four_jobs_needs_no_upload_of_its_own() {
    let repository = "cache/inline";
    let tag = |tag: &str| format!("{}/{repository}:{tag}", registry());
    let dockerfile = linked(&base(repository));
    let run = |commit: &str, code: &str| {
        let tags = format!("{}\n{}", tag(&format!("gha-{commit}")), tag("gha-cache"));
        on(
            empty(&dockerfile),
            "push",
            "refs/heads/main",
            &default_branch(),
        )
        .variable("GITHUB_SHA", commit)
        .input("cache", "inline")
        .input("tags", &tags)
        .file("code", code)
        .run()
        .succeeded()
    };
    let first = run("1111111111111111111111111111111111111111", "one");
    let (traffic, second) =
        traffic::during(|| run("2222222222222222222222222222222222222222", "two"));
    let before = layers(repository, &first);
    let up = traffic.uploaded(repository);
    assert!(
        before.iter().take(3).all(|layer| !up.contains(layer)),
        "{up:?}"
    );
    // The code and the image's configuration, which is the cache.
    assert_eq!(up.len(), 2, "{up:?}");
    assert!(!ran(&second, "> /dependencies"), "{}", second.log());
    assert!(
        second
            .values
            .summary
            .contains("Cache (inline): the first step that ran was `"),
        "{}",
        second.values.summary
    );
    assert_eq!(
        manifest(repository, "gha-cache"),
        manifest(repository, "gha-2222222222222222222222222222222222222222")
    );
}

#[test]
fn a_branch_begins_with_the_default_branchs_cache_and_a_fork_writes_none() {
    let repository = "cache/branches";
    let dockerfile = linked(&base(repository));
    let tag = format!("{}/{repository}:1", registry());
    let action = || empty(&dockerfile).input("tags", &tag).file("code", "one");
    on(action(), "push", "refs/heads/main", &default_branch())
        .run()
        .succeeded();

    let branch = on(action(), "push", "refs/heads/feature/x", &default_branch());
    change(&branch, "two");
    let (traffic, run) = traffic::during(|| branch.run().succeeded());
    assert!(!ran(&run, "> /dependencies"), "{}", run.log());
    let written = traffic.written(repository);
    let own = written
        .iter()
        .find(|name| name.starts_with("buildcache-feature-x-"));
    assert!(
        own.is_some() && !written.contains(&"buildcache".to_owned()),
        "{written:?}"
    );
    // That it had none of its own is no news.
    assert_eq!(annotations(&run), [], "{}", run.log());
    assert!(run.log().contains("does not exist yet"), "{}", run.log());

    let fork = json!({
        "repository": {"default_branch": "main"},
        "pull_request": {"head": {"ref": "x", "repo": {"full_name": "eve/app"}}, "base": {"ref": "main"}},
    });
    let fork = on(action(), "pull_request", "refs/pull/7/merge", &fork);
    change(&fork, "three");
    let (traffic, run) = traffic::during(|| fork.run().succeeded());
    assert!(!ran(&run, "> /dependencies"), "{}", run.log());
    let written = traffic.written(repository);
    assert!(
        written.iter().all(|name| !name.starts_with("buildcache")),
        "{written:?}"
    );
    assert!(
        run.log().contains(
            "the cache is read and not written: this pull request comes from the fork `eve/app`"
        ),
        "{}",
        run.log()
    );
}

#[test]
fn caches_that_can_not_be_read_or_written_fail_no_push() {
    let dockerfile = format!("FROM {}\nCOPY code /code\n", busybox());
    // Nothing listens there.
    let away = "127.0.0.1:1/cache/away";
    let run = Action::new(&dockerfile)
        .file("code", "away")
        .input("tags", &format!("{}/cache/unwritten:1", registry()))
        .input("cache", "registry")
        .input("cache-ref", away)
        .run()
        .succeeded();
    manifest("cache/unwritten", run.output("digest"));
    let [(notice, unread), (warning, unwritten)] = annotations(&run)[..] else {
        panic!("{}", run.log());
    };
    assert_eq!((notice, warning), ("notice", "warning"));
    let words = "no cache was read; `127.0.0.1:1/cache/away:buildcache`: ";
    assert!(unread.contains(words), "{unread}");
    assert!(
        unwritten.contains("the cache could not be written"),
        "{unwritten}"
    );
    assert!(
        run.values.summary.contains("not written after "),
        "{}",
        run.values.summary
    );

    // A first build: nothing is wrong, and a line tells of all that is not there.
    let first = on(
        Action::new(&dockerfile),
        "push",
        "refs/heads/fix",
        &default_branch(),
    )
    .file("code", "first")
    .input("tags", &format!("{}/cache/first:1", registry()))
    .run()
    .succeeded();
    assert_eq!(annotations(&first), [], "{}", first.log());
    for words in [
        "no cache was read; `",
        "cache/first:buildcache`, `",
        "do not exist yet",
    ] {
        assert!(first.log().contains(words), "{words}: {}", first.log());
    }
}

#[test]
fn the_cache_is_compressed_as_the_image_and_no_layer_goes_up_twice() {
    for (compression, media) in [("zstd", "tar+zstd"), ("gzip", "tar+gzip")] {
        let repository = format!("cache/{compression}");
        let dockerfile = linked(&base(&repository));
        let action = empty(&dockerfile)
            .input("tags", &format!("{}/{repository}:1", registry()))
            .input("compression", compression)
            .file("code", "one");
        let (traffic, run) = traffic::during(|| action.run().succeeded());
        let image = layers(&repository, &run);
        let cache = manifest(&repository, "buildcache");
        let base = digests(&manifest(&repository, "base"));
        for layer in cache["layers"].as_array().unwrap() {
            let digest = layer["digest"].as_str().unwrap().to_owned();
            let made_here = !base.contains(&digest);
            assert!(
                !made_here || layer["mediaType"].as_str().unwrap().ends_with(media),
                "{layer}"
            );
        }
        let cached = digests(&cache);
        assert!(
            image.iter().all(|layer| cached.contains(layer)),
            "{cached:?}"
        );
        let mut up = traffic.uploaded(&repository);
        let count = up.len();
        up.sort();
        up.dedup();
        assert_eq!(up.len(), count, "{up:?}");
    }
}

#[test]
fn the_registrys_cache_has_the_steps_of_all_stages() {
    let runs = [("max", false), ("min", true)];
    for (mode, again) in runs {
        let repository = format!("cache/mode-{mode}");
        let dockerfile = format!(
            "FROM {0} AS build\nRUN head -c 500000 /dev/urandom > /dependencies\nCOPY code /code\n\
             RUN cat /dependencies /code > /app\nFROM {0}\nCOPY --link --from=build /app /app\n",
            base(&repository)
        );
        let action = empty(&dockerfile)
            .input("tags", &format!("{}/{repository}:1", registry()))
            .input("cache-mode", mode)
            .file("code", "one");
        action.run().succeeded();
        change(&action, "two");
        let run = action.run().succeeded();
        assert_eq!(ran(&run, "> /dependencies"), again, "{mode}: {}", run.log());
    }
}
