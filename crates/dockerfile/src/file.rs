//! A Dockerfile, read.

use crate::directives;
use crate::instruction::{Arg, Instruction, Kind, Parts, Statement};
use crate::lines::{Lines, Reader};
use crate::unsupported::{Reason, Unsupported};

/// A Dockerfile as BuildKit's frontend reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The `syntax` directive.
    pub syntax: Option<Syntax>,
    /// What escapes a character and continues a line: a backslash or a backtick.
    pub escape: char,
    /// `ARG` before the first `FROM`.
    pub globals: Vec<Global>,
    /// In the order of the file; at least one.
    pub stages: Vec<Stage>,
}

/// The `syntax` directive: the image that reads the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// Its line.
    pub line: usize,
    /// The image.
    pub image: String,
    /// The whole value, with what the image gets as its command line.
    pub value: String,
}

/// An `ARG` before the first `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Where it is.
    pub lines: Lines,
    /// Its line, continuations joined.
    pub text: String,
    /// What it declares.
    pub args: Vec<Arg>,
}

/// A stage: `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Where its `FROM` is.
    pub lines: Lines,
    /// Its `FROM`, continuations joined.
    pub text: String,
    /// Its name, in lower case.
    pub name: Option<String>,
    /// The image or stage it is based on, variables as they are written.
    pub base: String,
    /// `--platform`, variables as they are written.
    pub platform: Option<String>,
    /// The instructions after `FROM`.
    pub instructions: Vec<Instruction>,
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// What BuildKit refuses is refused here, too; so is what newer frontends may understand.
    pub fn read(bytes: &[u8]) -> Result<Self, Unsupported> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            Reason::NotUtf8.at(line)
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let syntax = directives::syntax(text).map(|(line, value)| Syntax {
            line,
            image: value.split(' ').next().unwrap_or_default().to_owned(),
            value: value.to_owned(),
        });
        let mut reader = Reader::new(text);
        let mut globals = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        while let Some(mut logical) = reader.next()? {
            let first = logical.lines.first;
            let at = |reason: Reason| reason.at(first);
            let escape = reader.escape;
            let heredocs = if logical.text.contains("<<")
                && Parts::of(&logical.text, escape)
                    .and_then(|parts| parts.may_have_heredocs(escape))
                    .map_err(at)?
            {
                reader.heredocs(&mut logical)?
            } else {
                Vec::new()
            };
            let (lines, text) = (logical.lines, logical.text);
            let parts = Parts::of(&text, escape).map_err(at)?;
            let kind = match parts.statement(&text, &heredocs, escape).map_err(at)? {
                Statement::From(from) => {
                    stages.push(Stage {
                        lines,
                        text,
                        name: from.name,
                        base: from.base,
                        platform: from.platform,
                        instructions: Vec::new(),
                    });
                    continue;
                }
                Statement::Other(kind) => kind,
            };
            match (stages.last_mut(), kind) {
                (Some(stage), kind) => stage.instructions.push(Instruction {
                    lines,
                    text,
                    heredocs,
                    kind,
                }),
                (None, Kind::Arg(args)) => globals.push(Global { lines, text, args }),
                (None, _) => {
                    return Err(
                        Reason::syntax("an instruction other than ARG is before FROM").at(first),
                    );
                }
            }
        }
        if stages.is_empty() {
            return Err(Reason::syntax("there is no FROM").whole());
        }
        Ok(Self {
            syntax,
            escape: reader.escape,
            globals,
            stages,
        })
    }
}
