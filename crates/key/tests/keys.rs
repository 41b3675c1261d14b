//! What of a build is in its key, and what each step's key includes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use dockerfile::{Build, Dockerfile, Ignore, Platform};
use key::{Content, Folder, Image, Key, Limits, PlatformBuild, Progress, Sources, Unknown};
use proptest::prelude::*;

/// A build, and what it reads.
#[derive(Clone)]
struct Case {
    text: String,
    files: BTreeMap<String, String>,
    args: Vec<(String, String)>,
    digest: String,
    platforms: Vec<&'static str>,
    settings: BTreeMap<String, Vec<String>>,
    secrets: BTreeSet<String>,
    has_ssh: bool,
    whole_context: bool,
    all_arguments: bool,
}

impl Case {
    fn new(text: &str) -> Self {
        let files = [("a", "1"), ("b", "2")];
        Self {
            text: text.to_owned(),
            files: files
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .into(),
            args: Vec::new(),
            digest: "sha256:1".to_owned(),
            platforms: vec!["linux/amd64"],
            settings: BTreeMap::new(),
            secrets: BTreeSet::new(),
            has_ssh: false,
            whole_context: false,
            all_arguments: false,
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut case = self.clone();
        change(&mut case);
        case
    }

    fn key(&self) -> Result<Key, Unknown> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in &self.files {
            fs::write(folder.path().join(path), text).unwrap();
        }
        let context = Folder::read(
            folder.path(),
            &Ignore::default(),
            Limits::default(),
            &Progress::default(),
        );
        let context = Content::Folder(Arc::new(context.unwrap()));
        let file = Dockerfile::read(self.text.as_bytes()).unwrap();
        let builds: Vec<Build> = self
            .platforms
            .iter()
            .map(|platform| Build {
                args: self.args.iter().cloned().collect(),
                contexts: BTreeMap::from([("other".to_owned(), "elsewhere".to_owned())]),
                platform: Platform::parse(platform).ok(),
                ..Build::default()
            })
            .collect();
        let graphs: Vec<_> = builds
            .iter()
            .map(|build| file.resolve(build).unwrap())
            .collect();
        let steps: Vec<_> = graphs
            .iter()
            .map(|graph| graph.steps(&BTreeMap::new()).unwrap())
            .collect();
        let platforms: Vec<PlatformBuild<'_>> = graphs
            .iter()
            .zip(&steps)
            .zip(&self.platforms)
            .map(|((graph, steps), platform)| PlatformBuild {
                platform,
                graph,
                steps,
            })
            .collect();
        let images = BTreeMap::from([("docker.io/library/base:1".to_owned(), self.digest.clone())]);
        let contexts = BTreeMap::from([("other".to_owned(), Content::Named("tree".to_owned()))]);
        let sources = Sources {
            context: &context,
            contexts: &contexts,
            images: &images,
            secrets: &self.secrets,
            has_ssh: self.has_ssh,
        };
        Image {
            dockerfile: self.text.as_bytes(),
            ignore: None,
            settings: &self.settings,
            platforms: &platforms,
            sources: &sources,
            whole_context: self.whole_context,
            all_arguments: self.all_arguments,
        }
        .key()
    }
}

fn argument(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn what_goes_in_changes_the_key_and_nothing_else_does() {
    let plain = Case::new("FROM base:1\nARG A\nARG B=2\nCOPY a /\nRUN make $A\n")
        .with(|case| case.args = vec![argument("A", "1"), argument("C", "3")]);
    let key = plain.key().unwrap();
    let same = [
        ("again", plain.clone()),
        (
            "arguments in another order",
            plain.with(|case| case.args.reverse()),
        ),
        (
            "an argument that nothing uses",
            plain.with(|case| case.args[1].1 = "4".to_owned()),
        ),
        (
            "a file that nothing copies",
            plain.with(|case| _ = case.files.insert("b".to_owned(), "3".to_owned())),
        ),
    ];
    for (name, case) in same {
        assert_eq!(key.hash, case.key().unwrap().hash, "{name}");
    }
    let other = [
        (
            "an argument",
            plain.with(|case| case.args[0].1 = "2".to_owned()),
        ),
        (
            "an argument that has a default",
            plain.with(|case| case.args.push(argument("B", "3"))),
        ),
        (
            "an argument's default, given",
            plain.with(|case| case.args.push(argument("B", "2"))),
        ),
        (
            "a file",
            plain.with(|case| _ = case.files.insert("a".to_owned(), "2".to_owned())),
        ),
        (
            "a base",
            plain.with(|case| case.digest = "sha256:2".to_owned()),
        ),
        (
            "a platform",
            plain.with(|case| case.platforms = vec!["linux/arm64"]),
        ),
        (
            "one more platform",
            plain.with(|case| case.platforms.push("linux/arm64")),
        ),
        (
            "a setting",
            plain.with(|case| {
                let values = vec!["none".to_owned()];
                case.settings.insert("network".to_owned(), values);
            }),
        ),
        (
            "a comment",
            plain.with(|case| case.text.push_str("# words\n")),
        ),
        (
            "an argument of the frontend",
            plain.with(|case| case.args.push(argument("SOURCE_DATE_EPOCH", "1"))),
        ),
        (
            "all of the context",
            plain.with(|case| case.whole_context = true),
        ),
        (
            "all arguments",
            plain.with(|case| case.all_arguments = true),
        ),
    ];
    for (name, case) in other {
        assert_ne!(key.hash, case.key().unwrap().hash, "{name}");
    }
}

#[test]
fn a_file_that_nothing_copies_counts_where_all_of_the_context_does() {
    let plain = Case::new("FROM base:1\nCOPY a /\n").with(|case| case.whole_context = true);
    let other = plain.with(|case| _ = case.files.insert("b".to_owned(), "3".to_owned()));
    let (plain, other) = (plain.key().unwrap(), other.key().unwrap());
    assert_ne!(plain.hash, other.hash);
    assert_eq!(other.changed(&plain.parts), ["context"]);
}

#[test]
fn what_nobody_can_know_is_named_with_its_line() {
    for (text, expected) in [
        (
            "ADD https://a.example/x /",
            Some("line 2 adds a file from the network"),
        ),
        (
            "ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://a.example/x /",
            None,
        ),
        (
            "ADD https://a.example/x.git /",
            Some("line 2 adds a Git repository"),
        ),
        (
            "RUN --mount=type=secret,id=given cat",
            Some("line 2 reads the secret `given`"),
        ),
        ("RUN --mount=type=secret,id=not-given cat", None),
        ("RUN --mount=type=ssh cat", Some("line 2 uses SSH")),
        ("RUN --mount=type=cache,target=/c cat", None),
        (
            "COPY --from=unknown:1 / /",
            Some("the digest of `docker.io/library/unknown:1` is not known"),
        ),
        ("COPY --from=other / /", None),
    ] {
        let case = Case::new(&format!("FROM base:1\n{text}\n")).with(|case| {
            case.secrets.insert("given".to_owned());
            case.has_ssh = true;
        });
        match (case.key(), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                assert!(error.to_string().starts_with(expected), "{error}");
            }
            (other, _) => panic!("{text}: {other:?}"),
        }
    }
    // Without SSH, nothing can be reached.
    assert!(
        Case::new("FROM base:1\nRUN --mount=type=ssh cat\n")
            .key()
            .is_ok()
    );
}

#[test]
fn a_step_that_is_not_needed_may_read_anything() {
    let text = "FROM base:1 AS unused\nADD https://a.example/x /\nFROM base:1\nRUN true\n";
    assert!(Case::new(text).key().is_ok());
}

#[test]
fn a_change_is_named_and_values_of_arguments_are_in_no_part() {
    let plain = Case::new("FROM base:1\nARG TOKEN\nCOPY a /\nCOPY b /\n")
        .with(|case| case.args = vec![argument("TOKEN", "hush")]);
    let before = plain.key().unwrap();
    let changed = |change: fn(&mut Case)| plain.with(change).key().unwrap().changed(&before.parts);
    assert_eq!(changed(|_| {}), Vec::<String>::new());
    assert_eq!(
        changed(|case| _ = case.files.insert("b".to_owned(), "3".to_owned())),
        ["files b"]
    );
    assert_eq!(
        changed(|case| case.digest = "sha256:2".to_owned()),
        ["image docker.io/library/base:1"]
    );
    assert_eq!(
        changed(|case| case.platforms.push("linux/arm64")),
        ["platforms"]
    );
    assert_eq!(
        changed(|case| {
            case.settings.insert("network".to_owned(), Vec::new());
        }),
        ["network"]
    );
    let other = plain.with(|case| case.args[0].1 = "other".to_owned());
    let other = other.key().unwrap();
    assert_ne!(before.hash, other.hash);
    assert_eq!(before.parts, other.parts);
}

/// The keys of the only platform's steps, by line.
fn steps(case: &Case) -> BTreeMap<usize, key::Hash> {
    let key = case.key().unwrap();
    let steps = key.steps[0].1.iter();
    steps.map(|step| (step.line, step.key)).collect()
}

#[test]
fn a_stage_has_the_keys_of_stages_that_it_copies_from() {
    let text = "FROM base:1 AS one\nCOPY a /\nFROM scratch AS two\nCOPY b /\nFROM scratch\nCOPY --from=one / /\nCOPY --from=two / /\n";
    let before = steps(&Case::new(text));
    let after =
        steps(&Case::new(text).with(|case| _ = case.files.insert("b".to_owned(), "3".to_owned())));
    let changed: Vec<usize> = before
        .iter()
        .filter(|(line, key)| after[*line] != **key)
        .map(|(line, _)| *line)
        .collect();
    assert_eq!(changed, [4, 7]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Another instruction changes its key and those of all that follow, and none before.
    #[test]
    fn each_key_includes_the_one_before(
        commands in prop::collection::vec("[ab]{1,3}", 1..6),
        place in any::<prop::sample::Index>(),
    ) {
        let place = place.index(commands.len());
        let text = |commands: &[String]| {
            let runs: Vec<String> = commands.iter().map(|command| format!("RUN {command}\n")).collect();
            format!("FROM base:1\n{}", runs.concat())
        };
        let before = steps(&Case::new(&text(&commands)));
        let mut other = commands;
        other[place].push('c');
        let after = steps(&Case::new(&text(&other)));
        for (line, key) in &before {
            prop_assert_eq!(*key == after[line], *line < place + 2, "line {}", line);
        }
    }
}
