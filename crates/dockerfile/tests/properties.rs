//! What holds for any bytes, and for any Dockerfile made of parts that are hard to read.

use std::collections::BTreeMap;

use dockerfile::{Build, Dockerfile, Ignore, Platform};
use proptest::prelude::*;

/// Parts of Dockerfiles that mean something to a reader.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "FROM ",
        "from ",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "ARG ",
        "USER ",
        "WORKDIR ",
        "LABEL ",
        "CMD ",
        "SHELL ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "EXPOSE ",
        "VOLUME ",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "\\\n",
        "\\",
        "`",
        "# ",
        "# escape=`\n",
        "# syntax=x\n",
        "<<EOF",
        "EOF\n",
        "<<-",
        "\t",
        " ",
        "$A",
        "${A:-b}",
        "${A#*}",
        "${A/x/y}",
        "${",
        "}",
        "\"",
        "'",
        "[\"a\"]",
        "[",
        "--from=x ",
        "--mount=",
        "type=secret,id=",
        "--platform=",
        "A=1",
        "a",
        "x",
        "scratch",
        " AS x",
        "0",
        "/",
        "..",
        "é",
        "\u{feff}",
        "\u{a0}",
        "\0",
        "=",
        ",",
    ])
}

fn dockerfile() -> impl Strategy<Value = String> {
    prop::collection::vec(part(), 0..40).prop_map(|parts| parts.concat())
}

/// A Dockerfile that is read, more often than not.
fn sound() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "ENV A=$B B=\"$A\"",
        "ENV A b c",
        "ARG A",
        "ARG B=${A:-x}",
        "RUN x",
        "RUN <<E\nUSER y\nE",
        "COPY a b",
        "COPY <<E /x\nE",
        "USER app",
        "USER $A",
        "USER ${A:-b}",
        "USER 1",
        "USER \"q\"",
        "WORKDIR /a",
        "WORKDIR b",
        "LABEL a=b \\\n # c\n c=d",
        "CMD a $A",
        "ONBUILD RUN <<E\nx\nE",
        "FROM s AS s",
        "FROM s",
        "FROM scratch",
        "FROM i:$A AS s",
        "COPY --from=s a b",
        "# c",
        "",
    ]);
    let lines = prop::collection::vec(line, 0..14);
    (prop::bool::ANY, prop::bool::ANY, lines).prop_map(|(escape, global, lines)| {
        let head = if escape { "# escape=`\n" } else { "" };
        let global = if global { "ARG A=1\n" } else { "" };
        let body = lines.join("\n");
        let body = if escape {
            body.replace('\\', "`")
        } else {
            body
        };
        format!("{head}{global}FROM i AS s\n{body}\n")
    })
}

fn build() -> Build {
    Build {
        args: BTreeMap::from([("A".to_owned(), "given".to_owned())]),
        platform: Platform::parse("linux/arm64").ok(),
        ..Build::default()
    }
}

/// Everything that can be asked of bytes.
fn all(bytes: &[u8]) {
    let _ = Ignore::read(bytes).map(|ignore| ignore.excludes("a/b"));
    let Ok(file) = Dockerfile::read(bytes) else {
        return;
    };
    let build = build();
    if let Ok(graph) = file.resolve(&build) {
        let _ = graph.configuration();
        let _ = graph.steps(&BTreeMap::new());
        let _ = (
            graph.images(),
            graph.contexts(),
            graph.used_args(),
            graph.chain(),
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn never_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
    }

    #[test]
    fn never_panics_on_parts(text in dockerfile()) {
        all(format!("FROM a\n{text}").as_bytes());
        all(text.as_bytes());
    }

    #[test]
    fn the_configurations_configuration_is_itself(text in sound()) {
        let build = build();
        let file = Dockerfile::read(text.as_bytes()).unwrap();
        let Ok(graph) = file.resolve(&build) else { return Ok(()) };
        let Ok(first) = graph.configuration() else { return Ok(()) };
        let again = Dockerfile::read(first.cfg.as_bytes()).unwrap();
        let second = again.resolve(&build).unwrap().configuration().unwrap();
        prop_assert_eq!(&first.cfg, &second.cfg);
        prop_assert_eq!(&first.base, &second.base);
    }

    #[test]
    fn line_ends_do_not_matter(text in sound()) {
        let unix = Dockerfile::read(text.as_bytes()).unwrap();
        let windows = Dockerfile::read(text.replace('\n', "\r\n").as_bytes()).unwrap();
        prop_assert_eq!(unix.globals, windows.globals);
        for (unix, windows) in unix.stages.iter().zip(&windows.stages) {
            prop_assert_eq!(&unix.text, &windows.text);
            for (unix, windows) in unix.instructions.iter().zip(&windows.instructions) {
                prop_assert_eq!(&unix.text, &windows.text);
                prop_assert_eq!(unix.lines, windows.lines);
            }
        }
    }

    #[test]
    fn comments_do_not_change_steps(text in sound()) {
        let build = build();
        let file = Dockerfile::read(text.as_bytes()).unwrap();
        let at = text.find("FROM").unwrap();
        let (head, rest) = text.split_at(at);
        let commented = format!("{head}\n# comment\n\n{rest}");
        let other = Dockerfile::read(commented.as_bytes()).unwrap();
        let contents = |file: &Dockerfile| {
            let steps = file.resolve(&build).and_then(|graph| graph.steps(&BTreeMap::new()));
            steps.map(|steps| steps.into_iter().map(|step| (step.content, step.arguments, step.sources)).collect::<Vec<_>>())
                .map_err(|error| error.reason)
        };
        prop_assert_eq!(contents(&file), contents(&other));
    }
}
