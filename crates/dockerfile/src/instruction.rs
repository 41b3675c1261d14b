//! Instructions, typed.

use crate::arguments::{Form, SPACES, form, pairs, quoted, spaced};
use crate::flags::{Flags, Takes, split};
use crate::lines::{Heredoc, Lines};
use crate::mount::MountFields;
use crate::unsupported::Reason;

/// An instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Where it is, its here-documents included.
    pub lines: Lines,
    /// Its line, continuations joined and comments left out, without here-documents.
    pub text: String,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
    /// What it is.
    pub kind: Kind,
}

/// What an instruction is. Words are as they are written: no variable is replaced, and quotes that BuildKit takes off later
/// are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ADD`.
    Add(Add),
    /// `ARG`.
    Arg(Vec<Arg>),
    /// `CMD`.
    Cmd(Command),
    /// `COPY`.
    Copy(Copy),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `ENV`.
    Env(Vec<(String, String)>),
    /// `EXPOSE`.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`.
    Label(Vec<(String, String)>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: the text of the instruction that runs later.
    Onbuild(String),
    /// `RUN`.
    Run(Run),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    Stopsignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

impl Kind {
    /// The instruction's name, in upper case.
    #[must_use]
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// A build argument that is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// Its default.
    pub default: Option<String>,
}

/// A command line in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A JSON array: program and arguments.
    Exec(Vec<String>),
    /// A line for the shell. None at all is legal.
    Shell(Option<String>),
}

/// Sources and destination of `ADD` and `COPY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Paths, patterns and, of `ADD`, URLs.
    pub paths: Vec<String>,
    /// Here-documents, as files.
    pub documents: Vec<Document>,
    /// Where they go.
    pub to: String,
}

/// A here-document that becomes a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The file's name.
    pub name: String,
    /// Variables in it are replaced.
    pub expand: bool,
    /// The file.
    pub content: String,
}

/// `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// What goes where.
    pub files: Files,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`.
    pub unpack: Option<bool>,
    /// `--exclude`.
    pub exclude: Vec<String>,
}

/// `COPY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What goes where.
    pub files: Files,
    /// `--from`: a stage, an image or a named context.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
}

/// `RUN`. Its here-documents are the instruction's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What runs.
    pub command: Command,
    /// `--mount`.
    pub mounts: Vec<MountFields>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
    /// `--security`: `sandbox` or `insecure`.
    pub security: Option<String>,
    /// `--device`.
    pub devices: Vec<String>,
}

/// `HEALTHCHECK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// The command; none with `NONE`.
    pub command: Option<Command>,
    /// `--interval` and its like, as they are written.
    pub options: Vec<(&'static str, String)>,
}

/// `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct From {
    pub(crate) base: String,
    pub(crate) name: Option<String>,
    pub(crate) platform: Option<String>,
}

/// A line of a Dockerfile.
#[derive(Debug)]
pub(crate) enum Statement {
    From(From),
    Other(Kind),
}

/// An instruction's line, its parts apart.
#[derive(Debug)]
pub(crate) struct Parts<'l> {
    keyword: &'l str,
    flags: Vec<String>,
    arguments: &'l str,
}

impl<'l> Parts<'l> {
    pub(crate) fn of(line: &'l str, escape: char) -> Result<Self, Reason> {
        let line = line.trim();
        let (keyword, rest) = line.split_once(SPACES).unwrap_or((line, ""));
        let (flags, arguments) = split(rest.trim_start_matches(SPACES), escape)?;
        Ok(Self {
            keyword,
            flags,
            arguments: arguments.trim(),
        })
    }

    /// `ADD`, `COPY` and `RUN` outside JSON may have here-documents, also below `ONBUILD`.
    pub(crate) fn may_have_heredocs(&self, escape: char) -> Result<bool, Reason> {
        if self.keyword.eq_ignore_ascii_case("ONBUILD") {
            let inner = Parts::of(self.arguments, escape)?;
            return Ok(!inner.keyword.eq_ignore_ascii_case("ONBUILD")
                && inner.may_have_heredocs(escape)?);
        }
        let able = ["ADD", "COPY", "RUN"]
            .iter()
            .any(|able| self.keyword.eq_ignore_ascii_case(able));
        Ok(able && matches!(form(self.arguments)?, Form::Text(_)))
    }

    /// The instruction, typed.
    pub(crate) fn statement(
        &self,
        line: &str,
        heredocs: &[Heredoc],
        escape: char,
    ) -> Result<Statement, Reason> {
        let keyword = self.keyword.to_ascii_uppercase();
        let text = self.arguments;
        let kind = match keyword.as_str() {
            "FROM" => return self.from().map(Statement::From),
            "ADD" => self.add(heredocs)?,
            "ARG" => Kind::Arg(args(text, escape)?),
            "CMD" => {
                self.no_flags("CMD")?;
                Kind::Cmd(command(text)?)
            }
            "COPY" => self.copy(heredocs)?,
            "ENTRYPOINT" => {
                self.no_flags("ENTRYPOINT")?;
                Kind::Entrypoint(command(text)?)
            }
            "ENV" => {
                self.no_flags("ENV")?;
                Kind::Env(pairs(text, escape, "ENV")?)
            }
            "EXPOSE" => {
                self.no_flags("EXPOSE")?;
                let mut ports = at_least(1, spaced(text), "EXPOSE")?;
                ports.sort();
                Kind::Expose(ports)
            }
            "HEALTHCHECK" => self.healthcheck()?,
            "LABEL" => {
                self.no_flags("LABEL")?;
                Kind::Label(pairs(text, escape, "LABEL")?)
            }
            "MAINTAINER" => {
                self.no_flags("MAINTAINER")?;
                Kind::Maintainer(one(text, "MAINTAINER")?)
            }
            "ONBUILD" => self.onbuild(line, heredocs, escape)?,
            "RUN" => self.run()?,
            "SHELL" => {
                self.no_flags("SHELL")?;
                match form(text)? {
                    Form::Json(words) => Kind::Shell(at_least(1, words, "SHELL")?),
                    Form::Text(_) => return Err(Reason::syntax("SHELL needs a JSON array")),
                }
            }
            // BuildKit does not look at its flags.
            "STOPSIGNAL" => Kind::Stopsignal(one(text, "STOPSIGNAL")?),
            "USER" => {
                self.no_flags("USER")?;
                Kind::User(one(text, "USER")?)
            }
            "VOLUME" => {
                self.no_flags("VOLUME")?;
                let volumes: Vec<String> = words(text)?
                    .into_iter()
                    .map(|volume| volume.trim().to_owned())
                    .collect();
                if volumes.iter().any(String::is_empty) {
                    return Err(Reason::syntax("VOLUME has an empty path"));
                }
                Kind::Volume(at_least(1, volumes, "VOLUME")?)
            }
            "WORKDIR" => {
                self.no_flags("WORKDIR")?;
                Kind::Workdir(one(text, "WORKDIR")?)
            }
            _ => return Err(Reason::Instruction(self.keyword.to_owned())),
        };
        Ok(Statement::Other(kind))
    }

    fn no_flags(&self, instruction: &'static str) -> Result<(), Reason> {
        Flags::read(instruction, &self.flags, &[]).map(|_| ())
    }

    fn from(&self) -> Result<From, Reason> {
        let flags = Flags::read("FROM", &self.flags, &[("platform", Takes::Text)])?;
        let words = spaced(self.arguments);
        let (base, name) = match words.as_slice() {
            [base] => (base, None),
            [base, word, name] if word.eq_ignore_ascii_case("as") => (base, Some(name)),
            _ => {
                return Err(Reason::syntax(
                    "FROM needs an image and, after `AS`, a name",
                ));
            }
        };
        let name = name.map(|name| name.to_ascii_lowercase());
        if let Some(name) = &name
            && !is_stage_name(name)
        {
            return Err(Reason::syntax(format!("`{name}` is not a name of a stage")));
        }
        Ok(From {
            base: base.clone(),
            name,
            platform: flags.text("platform").filter(|text| !text.is_empty()),
        })
    }

    fn add(&self, heredocs: &[Heredoc]) -> Result<Kind, Reason> {
        const KNOWN: [(&str, Takes); 7] = [
            ("chown", Takes::Text),
            ("chmod", Takes::Text),
            ("link", Takes::Bool),
            ("keep-git-dir", Takes::Bool),
            ("checksum", Takes::Text),
            ("unpack", Takes::Bool),
            ("exclude", Takes::Texts),
        ];
        let flags = Flags::read("ADD", &self.flags, &KNOWN)?;
        Ok(Kind::Add(Add {
            files: files(self.arguments, heredocs, "ADD")?,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.bool("link").unwrap_or(false),
            checksum: flags.text("checksum"),
            keep_git_dir: flags.bool("keep-git-dir"),
            unpack: flags.bool("unpack"),
            exclude: flags.texts("exclude"),
        }))
    }

    fn copy(&self, heredocs: &[Heredoc]) -> Result<Kind, Reason> {
        const KNOWN: [(&str, Takes); 6] = [
            ("chown", Takes::Text),
            ("from", Takes::Text),
            ("chmod", Takes::Text),
            ("link", Takes::Bool),
            ("exclude", Takes::Texts),
            ("parents", Takes::Bool),
        ];
        let flags = Flags::read("COPY", &self.flags, &KNOWN)?;
        Ok(Kind::Copy(Copy {
            files: files(self.arguments, heredocs, "COPY")?,
            from: flags.text("from").filter(|from| !from.is_empty()),
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.bool("link").unwrap_or(false),
            parents: flags.bool("parents").unwrap_or(false),
            exclude: flags.texts("exclude"),
        }))
    }

    fn run(&self) -> Result<Kind, Reason> {
        const KNOWN: [(&str, Takes); 4] = [
            ("mount", Takes::Texts),
            ("network", Takes::Text),
            ("security", Takes::Text),
            ("device", Takes::Texts),
        ];
        let flags = Flags::read("RUN", &self.flags, &KNOWN)?;
        let one_of = |name: &str, values: &[&str]| match flags.text(name) {
            Some(value) if !values.contains(&value.as_str()) => Err(Reason::syntax(format!(
                "`{value}` is no value of RUN --{name}"
            ))),
            value => Ok(value),
        };
        Ok(Kind::Run(Run {
            command: command(self.arguments)?,
            mounts: flags
                .texts("mount")
                .iter()
                .map(|text| MountFields::read(text))
                .collect::<Result<_, _>>()?,
            network: one_of("network", &["default", "none", "host"])?,
            security: one_of("security", &["sandbox", "insecure"])?,
            devices: flags.texts("device"),
        }))
    }

    fn healthcheck(&self) -> Result<Kind, Reason> {
        const KNOWN: [(&str, Takes); 5] = [
            ("interval", Takes::Text),
            ("timeout", Takes::Text),
            ("start-period", Takes::Text),
            ("start-interval", Takes::Text),
            ("retries", Takes::Text),
        ];
        let parted = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];
        let (word, rest) = self
            .arguments
            .split_once(parted)
            .unwrap_or((self.arguments, ""));
        let rest = rest.trim_start_matches(parted);
        match word.to_ascii_uppercase().as_str() {
            // BuildKit does not look at its flags.
            "NONE" if rest.is_empty() => Ok(Kind::Healthcheck(Healthcheck {
                command: None,
                options: Vec::new(),
            })),
            "CMD" => {
                let flags = Flags::read("HEALTHCHECK", &self.flags, &KNOWN)?;
                let command = command(rest)?;
                if matches!(&command, Command::Shell(None))
                    || matches!(&command, Command::Exec(words) if words.is_empty())
                {
                    return Err(Reason::syntax("HEALTHCHECK CMD has no command"));
                }
                Ok(Kind::Healthcheck(Healthcheck {
                    command: Some(command),
                    options: KNOWN
                        .iter()
                        .filter_map(|(name, _)| Some((*name, flags.text(name)?)))
                        .collect(),
                }))
            }
            _ => Err(Reason::syntax(
                "HEALTHCHECK needs CMD and a command, or NONE alone",
            )),
        }
    }

    fn onbuild(&self, line: &str, heredocs: &[Heredoc], escape: char) -> Result<Kind, Reason> {
        self.no_flags("ONBUILD")?;
        let inner = Parts::of(self.arguments, escape)?;
        let keyword = inner.keyword.to_ascii_uppercase();
        if ["ONBUILD", "MAINTAINER", "FROM"].contains(&keyword.as_str()) {
            return Err(Reason::syntax(format!("{keyword} may not be in ONBUILD")));
        }
        // BuildKit looks at it only when it runs.
        inner
            .statement(self.arguments, heredocs, escape)
            .map_err(|reason| Reason::Trigger(Box::new(reason)))?;
        // `ONBUILD` is ASCII: what is left begins at a character.
        let text = line.trim_start();
        let mut text = text
            .get("ONBUILD".len()..)
            .unwrap_or_default()
            .trim_start_matches(['\t', '\n', '\x0c', '\r', ' '])
            .to_owned();
        for heredoc in heredocs {
            text.push('\n');
            text.push_str(&heredoc.body);
            text.push_str(&heredoc.name);
        }
        Ok(Kind::Onbuild(text))
    }
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|char: char| char.is_ascii_lowercase())
        && name.chars().all(|char| {
            char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '-' | '_' | '.')
        })
}

fn command(text: &str) -> Result<Command, Reason> {
    Ok(match form(text)? {
        Form::Json(words) => Command::Exec(words),
        Form::Text("") => Command::Shell(None),
        Form::Text(text) => Command::Shell(Some(text.to_owned())),
    })
}

fn words(text: &str) -> Result<Vec<String>, Reason> {
    Ok(match form(text)? {
        Form::Json(words) => words,
        Form::Text(text) => spaced(text),
    })
}

fn one(text: &str, instruction: &str) -> Result<String, Reason> {
    if text.is_empty() {
        return Err(Reason::syntax(format!("{instruction} has no argument")));
    }
    Ok(text.to_owned())
}

fn at_least(count: usize, words: Vec<String>, instruction: &str) -> Result<Vec<String>, Reason> {
    if words.len() < count {
        let why = format!("{instruction} has fewer than {count} arguments");
        return Err(Reason::Syntax(why));
    }
    Ok(words)
}

fn args(text: &str, escape: char) -> Result<Vec<Arg>, Reason> {
    at_least(1, quoted(text, escape), "ARG")?
        .into_iter()
        .map(|word| {
            let (name, default) = match word.split_once('=') {
                Some(("", _)) => return Err(Reason::syntax("ARG has an empty name")),
                Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
                None => (word, None),
            };
            Ok(Arg { name, default })
        })
        .collect()
}

fn files(text: &str, heredocs: &[Heredoc], instruction: &str) -> Result<Files, Reason> {
    let announced = |word: &str| Heredoc::announced(word).ok().flatten();
    let mut words = at_least(2, words(text)?, instruction)?;
    let to = words.pop().unwrap_or_default();
    if announced(&to).is_some() {
        let why = format!("a here-document is no destination of {instruction}");
        return Err(Reason::Syntax(why));
    }
    let mut files = Files {
        paths: Vec::new(),
        documents: Vec::new(),
        to,
    };
    for word in words {
        let Some(heredoc) = announced(&word) else {
            files.paths.push(word);
            continue;
        };
        // Of several with one name, BuildKit takes the last body for all.
        let body = heredocs.iter().rfind(|with| with.name == heredoc.name);
        let content = Heredoc {
            body: body.map(|with| with.body.clone()).unwrap_or_default(),
            ..heredoc
        };
        files.documents.push(Document {
            name: content.name.clone(),
            expand: content.expand,
            content: content.content(),
        });
    }
    Ok(files)
}
