//! What goes into each step of a build, for keys that say whether it changed.

use std::collections::BTreeMap;

use crate::environment::Environment;
use crate::graph::{Graph, Node, Origin};
use crate::instruction::{Command, Files, Instruction, Kind};
use crate::lines::{Heredoc, Lines};
use crate::mount::{Mount, MountType};
use crate::unsupported::{Reason, Unsupported};
use crate::word::Lookup;

/// What BuildKit gives to an environment without it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A `FROM`, or an instruction of a stage.
///
/// A step's result is a function of the step before it, of `content`, of what `arguments` have as values, and of what the
/// `sources` hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The stage's place in the file.
    pub stage: usize,
    /// Where the instruction is.
    pub lines: Lines,
    /// What the instruction says, in one form: comments, continuations, letter case of the instruction, and spaces that mean
    /// nothing do not change it. Variables are as they are written. Parts have their lengths, so that no two instructions are
    /// the same text.
    pub content: String,
    /// Of `ARG`: the values of its arguments where they do not follow from the steps before.
    pub arguments: Vec<(String, Value)>,
    /// What is read beside the stage itself.
    pub sources: Vec<Source>,
}

/// Where an argument has its value from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// It is given to the build.
    Given(String),
    /// It has that of the global `ARG`, or an automatic one.
    Global(String),
    /// It has its default, which is in the step's content, or none.
    Default,
}

/// What a step reads beside the stage that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path or pattern in the build's context.
    Context(String),
    /// A path or pattern in another stage, an image or a named context; for a base, `/`.
    Files {
        /// Where.
        origin: Origin,
        /// Which.
        path: String,
    },
    /// A file from the network.
    Http {
        /// Where it is.
        url: String,
        /// What it has to be; without one, it may be anything.
        checksum: Option<String>,
    },
    /// A Git repository.
    Git {
        /// Where it is.
        url: String,
        /// The commit that it has to be; without one, it may be anything.
        checksum: Option<String>,
    },
    /// A secret, by its name. What it is cannot be known.
    Secret(String),
    /// An SSH agent.
    Ssh,
    /// A folder that outlives builds, by the mount's id or, without one, its target. It does not change what a step gives, if the step
    /// keeps to the rules of such folders.
    Cache(String),
}

impl Graph<'_> {
    /// The steps of all needed stages, in the order of the file.
    ///
    /// `environments` has the variables of images and contexts, as their configuration has them. They are needed only where a
    /// source or a mount is named with one that the Dockerfile does not set.
    pub fn steps(
        &self,
        environments: &BTreeMap<Origin, Vec<(String, String)>>,
    ) -> Result<Vec<Step>, Unsupported> {
        let mut steps = Vec::new();
        let mut after: BTreeMap<usize, Environment> = BTreeMap::new();
        for node in &self.nodes {
            self.check_own_triggers(node)?;
            let environment = match &node.base {
                Origin::Stage(stage) => after.get(stage).cloned().unwrap_or_else(Environment::open),
                Origin::Scratch => with_path(Environment::closed()),
                outer => environments
                    .get(outer)
                    .map_or_else(Environment::open, |variables| {
                        let mut environment = with_path(Environment::closed());
                        for (name, value) in variables {
                            environment.set(name, Lookup::Set(value.clone()));
                        }
                        environment
                    }),
            };
            let mut walk = Walk {
                graph: self,
                node,
                environment,
            };
            steps.extend(walk.from());
            if !node.replaced {
                let stage = self.stage(node);
                for (index, instruction) in stage
                    .iter()
                    .flat_map(|stage| &stage.instructions)
                    .enumerate()
                {
                    steps.push(walk.step(index, instruction)?);
                }
            }
            after.insert(node.stage, walk.environment);
        }
        Ok(steps)
    }
}

pub(crate) fn with_path(mut environment: Environment) -> Environment {
    environment.set("PATH", Lookup::Set(PATH.to_owned()));
    environment
}

pub(crate) struct Walk<'g> {
    pub graph: &'g Graph<'g>,
    pub node: &'g Node,
    pub environment: Environment,
}

impl Walk<'_> {
    fn from(&self) -> Option<Step> {
        let stage = self.graph.stage(self.node)?;
        let mut content = Content::of("FROM");
        content.option(
            "platform",
            self.node
                .platform
                .as_ref()
                .map(ToString::to_string)
                .as_ref(),
        );
        Some(Step {
            stage: self.node.stage,
            lines: stage.lines,
            content: content.0,
            arguments: Vec::new(),
            sources: vec![Source::Files {
                origin: self.node.base.clone(),
                path: "/".to_owned(),
            }],
        })
    }

    fn step(&mut self, index: usize, instruction: &Instruction) -> Result<Step, Unsupported> {
        let line = instruction.lines.first;
        let mut step = Step {
            stage: self.node.stage,
            lines: instruction.lines,
            content: content(&instruction.kind, &instruction.heredocs),
            arguments: Vec::new(),
            sources: Vec::new(),
        };
        step.arguments = self.variables(instruction)?;
        match &instruction.kind {
            Kind::Add(add) => {
                let checksum = match &add.checksum {
                    Some(word) => Some(self.expand(word, line)?).filter(|text| !text.is_empty()),
                    None => None,
                };
                for path in &add.files.paths {
                    let path = self.expand(path, line)?;
                    step.sources.push(added(path, checksum.as_ref()));
                }
            }
            Kind::Copy(copy) => {
                let origin = self.input(index, 0);
                for path in &copy.files.paths {
                    let path = self.expand(path, line)?;
                    step.sources.push(files(origin.clone(), path));
                }
            }
            Kind::Run(run) => {
                let mut named = 0;
                for fields in &run.mounts {
                    let origin = fields.from.as_ref().and_then(|_| {
                        named += 1;
                        self.input(index, named - 1)
                    });
                    let mount = Mount::evaluate(fields, |word| self.expand(word, line))?;
                    let mount = mount.map_err(|reason| reason.at(line))?;
                    step.sources.extend(mounted(&mount, origin));
                }
            }
            _ => {}
        }
        Ok(step)
    }

    /// What `ARG` and `ENV` do to the environment, and where arguments have their values from.
    pub(crate) fn variables(
        &mut self,
        instruction: &Instruction,
    ) -> Result<Vec<(String, Value)>, Unsupported> {
        let line = instruction.lines.first;
        let mut arguments = Vec::new();
        match &instruction.kind {
            Kind::Arg(args) => {
                for arg in args {
                    let value = self.argument(arg.name.as_str(), arg.default.as_deref(), line)?;
                    arguments.push((arg.name.clone(), value));
                }
            }
            Kind::Env(pairs) => {
                let before = self.environment.clone();
                let escape = self.graph.file.escape;
                for (name, value) in pairs {
                    let name = before.expand(name, escape, line)?.text;
                    let value = before.value(value, escape, line)?;
                    self.environment.set(&name, value);
                }
            }
            _ => {}
        }
        Ok(arguments)
    }

    /// The origin of an instruction's input.
    fn input(&self, index: usize, number: usize) -> Option<Origin> {
        let inputs = self.node.inputs.iter();
        inputs
            .filter(|input| input.index == index)
            .nth(number)
            .map(|input| input.origin.clone())
    }

    pub(crate) fn expand(&self, word: &str, line: usize) -> Result<String, Unsupported> {
        let escape = self.graph.file.escape;
        Ok(self.environment.expand(word, escape, line)?.text)
    }

    fn argument(
        &mut self,
        name: &str,
        default: Option<&str>,
        line: usize,
    ) -> Result<Value, Unsupported> {
        let (value, lookup) = match (self.graph.build.args.get(name), default) {
            (Some(given), _) => (Value::Given(given.clone()), Lookup::Set(given.clone())),
            (None, Some(word)) => {
                let lookup = self.environment.value(word, self.graph.file.escape, line)?;
                (Value::Default, lookup)
            }
            (None, None) => match self.graph.globals.get(name) {
                Lookup::Set(global) => (Value::Global(global.clone()), Lookup::Set(global)),
                Lookup::Unset => return Ok(Value::Default),
                Lookup::Unknown => {
                    return Err(Reason::Unknown {
                        word: format!("ARG {name}"),
                        variable: name.to_owned(),
                    }
                    .at(line));
                }
            },
        };
        // The frontend keeps these to itself.
        if !matches!(
            name,
            "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE"
        ) {
            self.environment.set(name, lookup);
        }
        Ok(value)
    }
}

/// A source of `ADD`.
fn added(path: String, checksum: Option<&String>) -> Source {
    let lower = path.to_ascii_lowercase();
    let has_scheme = |schemes: &[&str]| schemes.iter().any(|scheme| lower.starts_with(scheme));
    let bare = lower.split(['?', '#']).next().unwrap_or_default();
    let is_http = has_scheme(&["http://", "https://"]);
    if has_scheme(&["git://", "ssh://"]) || is_scp(&path) || (is_http && bare.ends_with(".git")) {
        return Source::Git {
            url: path,
            checksum: checksum.cloned(),
        };
    }
    if is_http {
        return Source::Http {
            url: path,
            checksum: checksum.cloned(),
        };
    }
    Source::Context(path)
}

/// `git@github.com:owner/name`.
fn is_scp(path: &str) -> bool {
    let word = |text: &str, more: char| {
        !text.is_empty()
            && text
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || char == '-' || char == more)
    };
    path.split_once('@').is_some_and(|(user, rest)| {
        word(user, '_')
            && rest
                .split_once(':')
                .is_some_and(|(host, _)| word(host, '.'))
    })
}

fn files(origin: Option<Origin>, path: String) -> Source {
    match origin {
        Some(origin) => Source::Files { origin, path },
        None => Source::Context(path),
    }
}

fn mounted(mount: &Mount, origin: Option<Origin>) -> Vec<Source> {
    let path = mount.source.clone().unwrap_or_else(|| "/".to_owned());
    match mount.kind {
        MountType::Bind => vec![files(origin, path)],
        MountType::Cache => {
            let id = mount.id.clone().or_else(|| mount.target.clone());
            let start = origin.map(|origin| Source::Files { origin, path });
            start
                .into_iter()
                .chain([Source::Cache(id.unwrap_or_default())])
                .collect()
        }
        MountType::Secret => {
            let name = mount.secret().unwrap_or_default();
            vec![Source::Secret(name.to_owned())]
        }
        MountType::Ssh => vec![Source::Ssh],
        MountType::Tmpfs => Vec::new(),
    }
}

/// Texts with their lengths.
struct Content(String);

impl Content {
    fn of(keyword: &str) -> Self {
        let mut content = Self(String::new());
        content.text(keyword);
        content
    }

    fn text(&mut self, text: &str) {
        self.0.push_str(&format!("{}:{text}", text.len()));
    }

    fn texts<T: AsRef<str>>(&mut self, name: &str, texts: &[T]) {
        self.text(name);
        self.text(&texts.len().to_string());
        for text in texts {
            self.text(text.as_ref());
        }
    }

    fn option(&mut self, name: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.texts(name, &[value]);
        }
    }

    fn flag(&mut self, name: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.texts(name, &[value.to_string()]);
        }
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Exec(words) => self.texts("exec", words),
            Command::Shell(text) => self.texts("shell", text.as_slice()),
        }
    }

    fn files(&mut self, files: &Files) {
        self.texts("paths", &files.paths);
        for document in &files.documents {
            let expand = document.expand.to_string();
            self.texts("document", &[&document.name, &expand, &document.content]);
        }
        self.texts("to", &[&files.to]);
    }
}

fn content(kind: &Kind, heredocs: &[Heredoc]) -> String {
    let mut content = Content::of(kind.keyword());
    match kind {
        Kind::Add(add) => {
            content.files(&add.files);
            content.option("chown", add.chown.as_ref());
            content.option("chmod", add.chmod.as_ref());
            content.flag("link", Some(add.link));
            content.option("checksum", add.checksum.as_ref());
            content.flag("keep-git-dir", add.keep_git_dir);
            content.flag("unpack", add.unpack);
            content.texts("exclude", &add.exclude);
        }
        Kind::Copy(copy) => {
            content.files(&copy.files);
            content.option("from", copy.from.as_ref());
            content.option("chown", copy.chown.as_ref());
            content.option("chmod", copy.chmod.as_ref());
            content.flag("link", Some(copy.link));
            content.flag("parents", Some(copy.parents));
            content.texts("exclude", &copy.exclude);
        }
        Kind::Run(run) => {
            content.command(&run.command);
            let mounts: Vec<&str> = run.mounts.iter().map(|mount| mount.text.as_str()).collect();
            content.texts("mounts", &mounts);
            content.option("network", run.network.as_ref());
            content.option("security", run.security.as_ref());
            content.texts("devices", &run.devices);
            for heredoc in heredocs {
                let chomp = heredoc.chomp.to_string();
                content.texts("document", &[&heredoc.name, &chomp, &heredoc.body]);
            }
        }
        Kind::Arg(args) => {
            for arg in args {
                content.text(&arg.name);
                content.texts("default", arg.default.as_slice());
            }
        }
        Kind::Cmd(command) | Kind::Entrypoint(command) => content.command(command),
        Kind::Env(pairs) | Kind::Label(pairs) => {
            for (name, value) in pairs {
                content.texts("pair", &[name, value]);
            }
        }
        Kind::Healthcheck(check) => {
            if let Some(command) = &check.command {
                content.command(command);
            }
            for (name, value) in &check.options {
                content.texts("option", &[*name, value]);
            }
        }
        Kind::Expose(words) | Kind::Shell(words) | Kind::Volume(words) => {
            content.texts("words", words);
        }
        Kind::Maintainer(text)
        | Kind::Onbuild(text)
        | Kind::Stopsignal(text)
        | Kind::User(text)
        | Kind::Workdir(text) => content.text(text),
    }
    content.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Dockerfile;
    use crate::graph::{Build, Image};

    fn build() -> Build {
        Build {
            args: BTreeMap::from([("GIVEN".to_owned(), "value".to_owned())]),
            ..Build::default()
        }
    }

    fn steps(text: &str) -> Result<Vec<Step>, Unsupported> {
        let file = Dockerfile::read(text.as_bytes()).unwrap();
        let build = build();
        file.resolve(&build)?.steps(&BTreeMap::new())
    }

    /// The sources of the last step.
    fn sources(text: &str) -> Vec<Source> {
        let text = format!("FROM scratch AS one\nFROM scratch\nARG GIVEN\nENV E=e\n{text}\n");
        steps(&text).unwrap().pop().unwrap().sources
    }

    #[test]
    fn names_what_a_step_reads() {
        let context = |path: &str| Source::Context(path.to_owned());
        let http = |url: &str, checksum: Option<&str>| Source::Http {
            url: url.to_owned(),
            checksum: checksum.map(str::to_owned),
        };
        let git = |url: &str| Source::Git {
            url: url.to_owned(),
            checksum: None,
        };
        let one = |path: &str| Source::Files {
            origin: Origin::Stage(0),
            path: path.to_owned(),
        };
        for (text, wanted) in [
            (
                "COPY a b/*.c $E/${GIVEN} /to",
                vec![context("a"), context("b/*.c"), context("e/value")],
            ),
            ("COPY --from=one /a /b", vec![one("/a")]),
            ("COPY <<F /x\na\nF", vec![]),
            (
                "ADD a.tar https://h/x?y https://h/z.git#v1 /d/",
                vec![
                    context("a.tar"),
                    http("https://h/x?y", None),
                    git("https://h/z.git#v1"),
                ],
            ),
            (
                "ADD --checksum=sha256:$E HTTP://h/$GIVEN /d/",
                vec![http("HTTP://h/value", Some("sha256:e"))],
            ),
            (
                "ADD git@h.org:a/b ssh://h/c git://h/d /d/",
                vec![git("git@h.org:a/b"), git("ssh://h/c"), git("git://h/d")],
            ),
            (
                "ADD github.com/a/b a@b /d/",
                vec![context("github.com/a/b"), context("a@b")],
            ),
            ("RUN --mount=type=bind,target=/src x", vec![context("/")]),
            (
                "RUN --mount=source=a,target=/src --mount=from=one,src=/b,dst=/c x",
                vec![context("a"), one("/b")],
            ),
            (
                "RUN --mount=type=secret,id=$GIVEN,env=T --mount=type=secret,target=/run/s x",
                vec![
                    Source::Secret("value".to_owned()),
                    Source::Secret("s".to_owned()),
                ],
            ),
            (
                "RUN --mount=type=ssh --mount=type=tmpfs,target=/t x",
                vec![Source::Ssh],
            ),
            (
                "RUN --mount=type=cache,target=/c --mount=type=cache,id=i,from=one,source=/w,target=/c x",
                vec![
                    Source::Cache("/c".to_owned()),
                    one("/w"),
                    Source::Cache("i".to_owned()),
                ],
            ),
            ("RUN echo a", vec![]),
        ] {
            assert_eq!(sources(text), wanted, "{text}");
        }
    }

    #[test]
    fn arguments_have_their_values() {
        let text = "ARG GLOBAL=g\nARG GIVEN=x\nFROM scratch\nARG GLOBAL\nARG GIVEN=y OWN=$GIVEN\nARG NOTHING\n";
        let steps = steps(text).unwrap();
        let given = |step: usize| steps[step].arguments.clone();
        assert_eq!(
            given(1),
            [("GLOBAL".to_owned(), Value::Global("g".to_owned()))]
        );
        assert_eq!(
            given(2),
            [
                ("GIVEN".to_owned(), Value::Given("value".to_owned())),
                ("OWN".to_owned(), Value::Default)
            ]
        );
        assert_eq!(given(3), [("NOTHING".to_owned(), Value::Default)]);
    }

    #[test]
    fn a_bases_variables_are_not_guessed() {
        let text = "FROM a AS x\nENV KNOWN=1\nFROM x\nCOPY $KNOWN $HOME /x\n";
        let unknown = Reason::Unknown {
            word: "$HOME".to_owned(),
            variable: "HOME".to_owned(),
        };
        assert_eq!(steps(text), Err(unknown.at(4)));
        let file = Dockerfile::read(text.as_bytes()).unwrap();
        let build = build();
        let graph = file.resolve(&build).unwrap();
        let base = Origin::Image(Image {
            reference: "docker.io/library/a:latest".to_owned(),
            platform: None,
        });
        let variables = BTreeMap::from([(base, vec![("HOME".to_owned(), "/h".to_owned())])]);
        let last = graph.steps(&variables).unwrap().pop().unwrap();
        let paths = ["1", "/h"].map(|path| Source::Context(path.to_owned()));
        assert_eq!(last.sources, paths);
    }

    #[test]
    fn an_argument_that_only_the_builder_knows_is_not_guessed() {
        let error = steps("FROM scratch\nARG TARGETARCH\n").unwrap_err();
        assert!(matches!(error.reason, Reason::Unknown { .. }), "{error}");
    }

    #[test]
    fn content_is_the_same_for_what_means_the_same_and_no_other() {
        let content = |text: &str| {
            let steps = steps(&format!("FROM scratch AS one\nFROM scratch\n{text}\n")).unwrap();
            steps.last().unwrap().content.clone()
        };
        for (one, other) in [
            ("COPY a b", "copy   a\tb  "),
            ("COPY a b", "COPY [\"a\",\"b\"]"),
            ("RUN x", "RUN \\\n# c\nx"),
            ("ENV A=1", "ENV A 1"),
            (
                "COPY --link --from=one a b",
                "COPY --from=one --link=true a b",
            ),
        ] {
            assert_eq!(content(one), content(other), "{one}");
        }
        for (one, other) in [
            ("RUN x", "RUN [\"x\"]"),
            ("RUN x  y", "RUN x y"),
            ("COPY a b c", "COPY [\"a b\",\"c\"]"),
            ("COPY a b", "ADD a b"),
            ("COPY a b", "COPY --link a b"),
            ("COPY a b", "COPY --chmod=1 a b"),
            ("RUN <<E\na\nE", "RUN <<E\nb\nE"),
            ("RUN x", "RUN --network=none x"),
            ("ENV A=1 B=2", "ENV A=\"1 B=2\""),
            ("ARG A", "ARG A="),
            ("USER a", "WORKDIR a"),
        ] {
            assert_ne!(content(one), content(other), "{one}");
        }
    }
}
