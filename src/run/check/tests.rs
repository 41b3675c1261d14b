use super::*;
use crate::facts::{Facts, ImageStore};
use crate::inputs::{Inputs, RawInputs};
use crate::plan::RunDir;

/// The error for these inputs beside a context that is there.
fn error(env: &Env, pairs: &[(&'static str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch").unwrap();
    let mut given = RawInputs::default();
    given.set("context", folder.path().display().to_string());
    given.set("tags", "r.example/a:1".to_owned());
    for (name, text) in pairs {
        given.set(name, (*text).to_owned());
    }
    let inputs = Inputs::parse(&given).unwrap();
    let facts = Facts::example(ImageStore::Containerd);
    let plan = Plan::new(&inputs, None, &facts, &RunDir::at(folder.path())).unwrap();
    match files(&plan, env) {
        Ok(()) => String::new(),
        Err(error) => format!("{error}\n{}", error.hint().unwrap_or_default()),
    }
}

#[test]
fn what_is_missing_is_named_before_anything_starts() {
    let runner = Env::from([
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_WORKSPACE", "/github/workspace"),
        ("SSH_AUTH_SOCK", "/nowhere/agent"),
    ]);
    let cases: &[(&str, (&'static str, &str), &str)] = &[
        (
            "a named context",
            ("build-contexts", "src=/nowhere/src"),
            "input `build-contexts`: `/nowhere/src` given, expected a folder below one of the visible folders `/github/workspace`",
        ),
        (
            "a secret's file, which may be the secret itself",
            ("secret-files", "TOKEN=hunter2"),
            "input `secret-files`: no file for the secret `TOKEN`, expected the path of a file below",
        ),
        (
            "a secret's variable",
            ("secret-envs", "TOKEN=HUNTER2"),
            "input `secret-envs`: no value for the secret `TOKEN`, expected a variable that is set",
        ),
        (
            "an agent that is not mounted",
            ("ssh", "default"),
            "input `ssh`: `default` given, expected an SSH agent at SSH_AUTH_SOCK",
        ),
        (
            "a key",
            ("ssh", "default=/nowhere/key"),
            "input `ssh`: `/nowhere/key` given, expected the path of a socket or key",
        ),
    ];
    for (name, pair, expected) in cases {
        let text = error(&runner, &[*pair]);
        assert!(text.starts_with(expected), "{name}: {text}");
        assert!(!text.to_lowercase().contains("hunter2"), "{name}: {text}");
    }
}

#[test]
fn what_is_there_passes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let env = Env::from([("TOKEN", "x"), ("SSH_AUTH_SOCK", &*file.to_string_lossy())]);
    let pairs = [
        ("secret-envs", "A=TOKEN".to_owned()),
        ("secret-files", format!("B={}", file.display())),
        ("ssh", format!("default,key={}", file.display())),
        (
            "build-contexts",
            format!(
                "a={}\nb=docker-image://x\nc=target:y",
                folder.path().display()
            ),
        ),
    ];
    let pairs: Vec<(&'static str, &str)> = pairs
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    assert_eq!(error(&env, &pairs), "");
}

/// buildx takes a `dockerfile` where there is no `Dockerfile`, and fetches one by its address
/// (<https://github.com/docker/buildx/blob/461836ba0/build/opt.go>, `handleLowercaseDockerfile`).
#[test]
fn a_dockerfile_may_be_in_small_letters_or_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let file = format!("{path}/Dockerfile");
    let missing = error(&Env::default(), &[("context", &path)]);
    assert!(missing.starts_with(&format!("input `file`: `{file}` given")));
    let elsewhere = ("file", "https://example.com/Dockerfile");
    assert_eq!(error(&Env::default(), &[("context", &path), elsewhere]), "");
    std::fs::write(folder.path().join("dockerfile"), "FROM scratch").unwrap();
    for pairs in [
        &[("context", path.as_str())][..],
        &[("context", &path), ("file", &file)],
    ] {
        assert_eq!(error(&Env::default(), pairs), "", "{pairs:?}");
    }
    let other = format!("{path}/Dockerfile.prod");
    let missing = error(&Env::default(), &[("context", &path), ("file", &other)]);
    assert!(missing.starts_with("input `file`: "), "{missing}");
}

#[test]
fn a_secret_larger_than_buildkit_takes_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(LARGEST_SECRET as u64 + 1).unwrap();
    let item = format!("A={}", file.path().display());
    let text = error(&Env::default(), &[("secret-files", &item)]);
    assert!(
        text.contains("too large a file for the secret `A`"),
        "{text}"
    );
}
