//! Untrusted text, through every exit: log and annotations, summary, comment, outputs, state, timings.
//!
//! Each text of [`TEXTS`] comes from all sources of a run at once: the pull request, branch and tag, the workflow, the Dockerfile and its
//! stages, steps, their output and errors, build checks, layers, registries, GitHub, a cluster and its kubeconfig, inputs. It begins with
//! `evil` and ends with `qed`, so that a reader of the exit can tell whether anything between the two broke out. The texts that the push
//! engine's step sends have their own test in `tests/e2e/untrusted.rs`.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex::Regex;
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::ecr::{self, Ecr, HOST};
use crate::github::{self, GitHub, comments};
use crate::http::{Request, send};
use crate::ran::Ran;
use crate::runner::{GITHUB_TOKEN, Runner, fixture};

const TEXTS: &[(&str, &str)] = &[
    ("a command", "::error::evil qed"),
    ("an old command", "##[error]evil qed"),
    ("an old command in a line", "evil ##[add-mask]evil qed"),
    (
        "an output by command",
        "  ::set-output name=digest::evil qed",
    ),
    ("no more commands", "::stop-commands::evil qed"),
    (
        "a command on a line of its own",
        "evil\n::add-mask::evil\r::add-mask::evil\r\n##[add-mask]evil qed",
    ),
    (
        "a command behind odd spaces",
        "\u{85}\u{2028}\u{3000}::add-mask::evil qed",
    ),
    (
        "a command behind what nobody sees",
        ":\u{200b}:add-mask::evil \u{202e}#\u{2066}#[error]evil qed",
    ),
    (
        "another output",
        "evil\nfast_ecr_push_end\nimage=evil\ndigest<<E\nfast_ecr_push_end_\nqed",
    ),
    ("cells", "evil | x | y \\| z | qed"),
    ("a table", "evil\n| --- | --- |\n| evil | qed |"),
    ("code", "evil ` `` ``` x```` qed"),
    ("a fence", "evil\n```\nx\n~~~~\nqed"),
    ("an image", "![evil](https://evil.example/x.png) qed"),
    ("a link", "[evil](https://evil.example) [x][evil] qed"),
    (
        "an element",
        "<img src=x onerror=evil></summary></details> qed",
    ),
    ("a comment", "<!-- evil --> x --> qed"),
    ("emphasis", "**evil** _x_ ~~x~~ $x$ [^1] qed"),
    ("a heading", "# evil qed"),
    ("a rule", "=== evil\n===\n---\nqed"),
    ("a list", "- [ ] evil\n1. x qed"),
    ("a mention", "@evil closes #1 o/r#2 GH-3 qed"),
    ("a bar", "evil :crit, done, 0, 1\n    section x qed"),
    (
        "Mermaid's words",
        "click evil href \"x\" %%{init: {}}%% ; section qed",
    ),
    (
        "colours",
        "\u{1b}[2J\u{1b}[31mevil\u{1b}]8;;x\u{7}\u{9b}1m qed",
    ),
    ("NUL", "evil\0 \u{8} qed"),
    (
        "another direction",
        "evil\u{202e}x\u{2066}y\u{61c}\u{200f} qed",
    ),
    (
        "what nobody sees",
        "evil\u{200b}\u{feff}\u{e0041}\u{ad} qed",
    ),
    ("bytes that are no text", "evil\u{fffd}\u{fffd} qed"),
];

/// Longer lines have no place in a summary (bytes).
const LONGEST_LINE: usize = 8 * 1024;

/// Nor in the log: names and errors of BuildKit's are cut before (bytes).
const LONGEST_LOG_LINE: usize = 70 * 1024;

/// What the log may say to the runner.
const COMMANDS: &[&str] = &["group", "endgroup", "notice", "warning", "error", "debug"];

#[test]
fn no_text_breaks_out_of_a_run_that_goes_well_or_fails() {
    each(|name, text| {
        for code in [0, 1] {
            let list = "GET /issues/7/comments?per_page=100&page=1".to_owned();
            let made = "POST /issues/7/comments".to_owned();
            let answers = vec![(list, comments(&[])), (made, comments(&[(2, text)]))];
            let github = GitHub::start(GITHUB_TOKEN, answers);
            let runner = built(text, code)
                .variable("GITHUB_API_URL", github.url())
                .variable("GITHUB_REF", "refs/pull/7/merge")
                .input("compare-with", "none")
                .input("comment", "true")
                .input("timings-file", "timings.json")
                // So that steps take long enough for tables and chart.
                .buildx("pace", "");
            let running = runner.start();
            let path = running.runner.path("workspace/timings.json");
            let mut timings = String::new();
            let look = || timings = fs::read_to_string(path).unwrap_or_default();
            let ran = running.finish_and(look).exits(code);
            let name = format!("{name}, exit code {code}");
            holds(&name, &ran);
            let timings: Value = serde_json::from_str(&timings).expect(&name);
            assert_eq!(timings["schema"], 1, "{name}");
            let asked = github.asked();
            let written = asked.iter().find(|asked| asked.path.starts_with("POST "));
            let body: Value = serde_json::from_str(&written.expect(&name).body).unwrap();
            markdown(&format!("{name}, comment"), body["body"].as_str().unwrap());
        }
    });
}

#[test]
fn no_text_breaks_out_of_the_names_of_branches_and_tags_or_what_services_refuse() {
    each(|name, text| {
        for kind in ["heads", "tags"] {
            let refused = github::Answer::refusal(403, text);
            let github = GitHub::start(GITHUB_TOKEN, vec![("GET ".to_owned(), refused)]);
            let runner = built(text, 0)
                .variable("GITHUB_API_URL", github.url())
                .variable("GITHUB_REF", format!("refs/{kind}/{}", variable(text)))
                .variable("GITHUB_EVENT_NAME", "push")
                .input("registry", "registry.test")
                .input("repository", "team/app")
                .input("tags", "type=ref,event=branch\ntype=ref,event=tag\nx")
                .buildx("imagetools.stderr", text)
                .buildx("imagetools.exit", "1");
            holds(&format!("{name}, {kind}"), &runner.run().exits(0));
        }
        let ecr = Ecr::answering(&[ecr::Answer::Error(
            "AccessDeniedException",
            text.to_owned().leak(),
        )]);
        let runner = ecr
            .serve(built(text, 0))
            .input("tags", &format!("{HOST}/a:1"));
        holds(&format!("{name}, ECR"), &runner.run().exits(3));
        let runner = Runner::new()
            .input("driver", "kubernetes")
            .input("kubeconfig", &kubeconfig(text, &cluster(text)));
        // Some texts are no YAML, and then nobody is asked.
        let ran = runner.run();
        assert!(matches!(ran.code, Some(2 | 3)), "{name}: {}", ran.log);
        holds(&format!("{name}, cluster"), &ran);
    });
}

#[test]
fn no_text_breaks_out_of_the_error_of_an_input() {
    each(|name, text| {
        let names = [
            "driver",
            "tags",
            "platforms",
            "target",
            "file",
            "build-args",
            "compression",
            "cache-to",
            "outputs",
            "timeout",
        ];
        let text = variable(text);
        let runner = names
            .iter()
            .fold(Runner::new(), |runner, input| runner.input(input, &text));
        holds(name, &runner.run().exits(2));
    });
}

/// Checks with each text, on a few threads: a run waits most of the time.
fn each(check: impl Fn(&str, &str) + Sync) {
    let long = format!("evil {} qed", "x".repeat(1 << 20));
    let texts: Vec<(&str, &str)> = TEXTS
        .iter()
        .copied()
        .chain([("a megabyte", &*long)])
        .collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some((name, text)) = texts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(name, text);
                }
            });
        }
    });
}

/// As much of a text as fits into a variable.
fn variable(text: &str) -> String {
    let text = text.replace('\0', "");
    let end = text.floor_char_boundary(20_000);
    text.get(..end).unwrap().to_owned()
}

/// A run in which all that strangers name is the text.
fn built(text: &str, code: i32) -> Runner {
    let shown = variable(text);
    let file = format!("Dockerfile {shown}").replace(['/', '\r', '\n'], " ");
    let file = file.get(..file.floor_char_boundary(200)).unwrap();
    let of_check = json!([{
        "short": STANDARD.encode(text), "detail": [STANDARD.encode(text)], "url": text,
        "sourceInfo": {"filename": file}, "range": [{"start": {"line": 1}, "end": {"line": 1}}],
    }]);
    let answer = |name: &str| -> Value {
        let path = fixture(&format!("answers/buildx-0.29.1-{name}.json"));
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let mut metadata = answer("metadata");
    metadata["buildx.build.warnings"] = of_check;
    metadata["image.name"] = text.into();
    let mut image = answer("image");
    for step in image["history"].as_array_mut().unwrap() {
        step["created_by"] = format!("RUN {text}").into();
    }
    let event = json!({
        "repository": {"default_branch": text},
        "pull_request": {
            "number": 7, "title": text, "body": text, "user": {"login": text}, "base": {"ref": text},
            "head": {"ref": text, "label": text, "repo": {"full_name": text}},
        },
    });
    let runner = Runner::new();
    let event_path = runner.path("temp/event.json");
    let runner = runner
        .file("temp/event.json", &event.to_string())
        .file(&format!("workspace/{file}"), "FROM scratch\n")
        .variable("GITHUB_EVENT_PATH", event_path)
        .variable("GITHUB_EVENT_NAME", "pull_request")
        .variable("RUNNER_DEBUG", "1")
        .input("file", file)
        .input("cache", "registry")
        .input("labels", &quoted("title", &shown))
        .input("annotations", &quoted("title", &shown))
        .input("build-args", &quoted("NAME", &shown))
        .buildx("metadata", &metadata.to_string())
        .buildx("image", &image.to_string())
        .stream(&stream(text, code));
    [
        "GITHUB_ACTOR",
        "GITHUB_BASE_REF",
        "GITHUB_HEAD_REF",
        "GITHUB_JOB",
        "GITHUB_REF_NAME",
        "GITHUB_WORKFLOW",
        "RUNNER_NAME",
    ]
    .iter()
    .fold(runner, |runner, name| runner.variable(name, &shown))
}

/// An entry of a list, as CSV.
fn quoted(name: &str, text: &str) -> String {
    format!("\"{name}={}\"", text.replace('"', "\"\""))
}

/// What buildx prints: two steps of which the second may fail, a cache that cannot be read, and what else it says.
fn stream(text: &str, code: i32) -> String {
    let at = |tenths: u32| format!("2026-11-23T18:41:00.{tenths}00Z");
    let digest = |number: u32| format!("sha256:{number:064}");
    let step = |number: u32, name: String, started: u32, ended: Option<u32>, error: &str| {
        json!({"vertexes": [{
            "digest": digest(number), "name": name, "started": at(started), "completed": ended.map(at), "error": error,
        }]})
    };
    let first = format!("[{text} 1/2] RUN {text}");
    let second = format!("[linux/amd64 {text} 2/2] COPY {text} /");
    let cache = format!("importing cache manifest from {text}");
    let error = if code == 0 { "" } else { text };
    // Bytes that are no text, where the text has what stands for them.
    let data = text.as_bytes().to_vec();
    let data = String::from_utf8(data)
        .unwrap()
        .split('\u{fffd}')
        .map(str::as_bytes)
        .collect::<Vec<_>>()
        .join(&0xff);
    let data = STANDARD.encode([data.as_slice(), b"\n"].concat());
    let mut lines = vec![
        (0, step(3, cache, 0, Some(1), text)),
        (0, step(1, first.clone(), 0, None, "")),
        (
            0,
            json!({"logs": [{"vertex": digest(1), "stream": 1, "data": data, "timestamp": at(1)}]}),
        ),
        (
            0,
            json!({"statuses": [{"id": text, "name": text, "vertex": digest(1), "started": at(0), "completed": at(2)}]}),
        ),
        (
            0,
            json!({"warnings": [{"vertex": digest(1), "short": STANDARD.encode(text), "detail": [STANDARD.encode(text)], "url": text}]}),
        ),
        (2, step(1, first, 0, Some(2), "")),
        (2, step(2, second.clone(), 2, None, "")),
        (
            2,
            json!({"logs": [{"vertex": digest(2), "stream": 2, "data": data, "timestamp": at(3)}]}),
        ),
        (4, step(2, second, 2, Some(4), error)),
    ]
    .into_iter()
    .map(|(tenths, line)| (tenths, line.to_string()))
    .collect::<Vec<_>>();
    let said = text.replace('\0', "");
    lines.extend(said.split('\n').map(|line| (4, line.to_owned())));
    if code != 0 {
        let error = format!(
            "ERROR: failed to build: failed to solve: {}",
            said.replace('\n', " ")
        );
        lines.push((4, error));
    }
    lines.push((4, format!("exit {code}")));
    let mut stream = "1795459260.0\tstart\n".to_owned();
    for (tenths, line) in lines {
        stream += &format!("1795459260.{tenths}\t{line}\n");
    }
    stream
}

/// A cluster that refuses everything in these words.
fn cluster(text: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": text, "reason": "Forbidden", "details": {"name": text, "kind": text}, "code": 403,
    });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            Request::read(&mut stream);
            send(
                stream,
                "403 Forbidden",
                "application/json",
                &status.to_string(),
            );
        }
    });
    address
}

fn kubeconfig(text: &str, server: &str) -> String {
    let text = variable(text);
    let authority = Authority::of("127.0.0.1");
    json!({
        "clusters": [{"name": text, "cluster": {
            "server": format!("https://{}", authority.before(server)),
            "certificate-authority-data": STANDARD.encode(&authority.certificate),
        }}],
        "users": [{"name": text, "user": {"token": "0123456789"}}],
        "contexts": [{"name": text, "context": {"cluster": text, "user": text}}],
        "current-context": text,
    })
    .to_string()
}

/// Looks at every exit.
#[track_caller]
fn holds(name: &str, ran: &Ran) {
    log(name, &ran.log);
    log(name, &ran.stderr);
    // `Ran` refuses a name that comes twice.
    let declared = include_str!("../../action.yml");
    for output in ran.outputs.keys() {
        assert!(
            declared.contains(&format!("\n  {output}:\n")),
            "{name}: {output}"
        );
    }
    for state in ran.state.keys() {
        assert!(!state.contains("evil"), "{name}: {state}");
    }
    if let Some(digest) = ran.outputs.get("digest") {
        let hexadecimal = digest.strip_prefix("sha256:").expect(name);
        assert_eq!(hexadecimal.len(), 64, "{name}: {digest}");
    }
    if let Some(timings) = ran.outputs.get("timings") {
        assert!(timings.len() <= 64 * 1024, "{name}");
        serde_json::from_str::<Value>(timings).expect(name);
    }
    markdown(name, &ran.summary);
}

/// Whether a person sees the character, or it says how the rest is to be shown.
fn is_odd(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(character, '\u{ad}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Reads the log as the runner does: lines end in CR, LF or both, commands stand behind leading space, or anywhere in the old form.
#[track_caller]
fn log(name: &str, log: &str) {
    let mut errors = 0;
    for line in log.split(['\r', '\n']) {
        if let Some(secret) = line.strip_prefix("::add-mask::") {
            // A secret is hidden as it is. The only one with the text is the kubeconfig.
            let is_ours = !secret.contains("evil") || secret.starts_with("{\"clusters\"");
            assert!(is_ours, "{name}: {line:?}");
            continue;
        }
        assert!(
            line.len() <= LONGEST_LOG_LINE,
            "{name}: {} bytes",
            line.len()
        );
        assert!(!line.contains(is_odd), "{name}: {line:?}");
        assert!(!line.contains("##["), "{name}: {line:?}");
        let Some((command, _)) = line
            .trim_start()
            .strip_prefix("::")
            .and_then(|rest| rest.split_once("::"))
        else {
            continue;
        };
        let (verb, properties) = command.split_once(' ').unwrap_or((command, ""));
        assert!(COMMANDS.contains(&verb), "{name}: {line:?}");
        for property in properties.split(',').filter(|text| !text.is_empty()) {
            let (property, _) = property.split_once('=').expect(name);
            assert!(
                ["file", "line", "title"].contains(&property),
                "{name}: {line:?}"
            );
        }
        errors += usize::from(verb == "error");
    }
    assert!(errors <= 1, "{name}: {log}");
}

/// Reads a summary or comment as GitHub does: the text may be code, or plain, and is whole or cut.
#[track_caller]
fn markdown(name: &str, markdown: &str) {
    for line in markdown.split('\n') {
        assert!(line.len() <= LONGEST_LINE, "{name}: {} bytes", line.len());
        assert!(!line.contains(is_odd), "{name}: {line:?}");
    }
    let bar = Regex::new("^    [^:;#%`<>\"{}\\[\\],]+ :(active, |done, |crit, )?[0-9]+, [0-9]+$")
        .unwrap();
    let section = Regex::new("^    section [^:;#%`<>\"{}\\[\\],]+$").unwrap();
    let mut text = String::new();
    let mut emphasis = 0;
    let mut is_quoted = false;
    let mut chart = None;
    for event in Parser::new_ext(markdown, Options::all() - Options::ENABLE_SMART_PUNCTUATION) {
        match &event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                assert!(
                    ["text", "mermaid"].contains(&&**language),
                    "{name}: {markdown}"
                );
                chart = (&**language == "mermaid").then(String::new);
            }
            Event::End(TagEnd::CodeBlock) => {
                text.clear();
                let chart = chart.take().unwrap_or_default().replace("[TIME]", "1");
                for line in chart
                    .lines()
                    .skip_while(|line| *line != "    axisFormat %s s")
                    .skip(1)
                {
                    let is_ours = bar.is_match(line)
                        || section.is_match(line)
                        || line == "    tickInterval 1second";
                    assert!(is_ours, "{name}: {line}");
                }
            }
            Event::Text(piece) => match &mut chart {
                Some(chart) => chart.push_str(piece),
                None => {
                    assert!(emphasis == 0 || !piece.contains("evil"), "{name}: {piece}");
                    text.push_str(piece);
                }
            },
            // The lines of an error are lines of a quotation.
            Event::SoftBreak | Event::HardBreak if is_quoted => text.push(' '),
            Event::SoftBreak | Event::HardBreak => plain(name, &std::mem::take(&mut text)),
            Event::Code(code) => whole(name, code),
            Event::Html(html) | Event::InlineHtml(html) => {
                let html = html.trim();
                let marker = html
                    .strip_prefix("<!-- fast-ecr-push ")
                    .and_then(|rest| rest.strip_suffix(" -->"));
                let is_ours = html == "</details>"
                    || html.starts_with("<details><summary>")
                        && html.ends_with("</summary>")
                        && !html.contains("evil")
                    || marker.is_some_and(|marker| !marker.contains(['<', '>', '-']));
                assert!(is_ours || html.is_empty(), "{name}: {html}");
            }
            Event::Start(Tag::BlockQuote(None)) => is_quoted = true,
            Event::End(TagEnd::BlockQuote(None)) => is_quoted = false,
            Event::Start(Tag::Emphasis | Tag::Strong) => emphasis += 1,
            Event::End(TagEnd::Emphasis | TagEnd::Strong) => emphasis -= 1,
            Event::Start(
                Tag::Paragraph
                | Tag::Heading { .. }
                | Tag::List(None)
                | Tag::Item
                | Tag::Table(_)
                | Tag::TableHead
                | Tag::TableRow
                | Tag::TableCell
                | Tag::HtmlBlock,
            ) => {}
            Event::End(_) => plain(name, &std::mem::take(&mut text)),
            odd => panic!("{name}: {odd:?} in\n{markdown}"),
        }
    }
}

/// A piece of text that is shown as one has all of the text, or says that it was cut.
#[track_caller]
fn whole(name: &str, piece: &str) {
    let is_cut = piece.ends_with('…') || piece.contains("xxxxxxxx");
    let (start, end) = (piece.rfind("evil"), piece.rfind("qed"));
    let is_whole = match (start, end) {
        (None, None) => true,
        (Some(start), Some(end)) => start < end,
        _ => false,
    };
    assert!(is_whole || is_cut, "{name}: {piece:?}");
}

/// The same of text outside of code, which also notifies nobody.
#[track_caller]
fn plain(name: &str, piece: &str) {
    whole(name, piece);
    for reference in ["@evil", "#1", "#2", "GH-3"] {
        assert!(!piece.contains(reference), "{name}: {piece:?}");
    }
}
