//! Why a Dockerfile is left to BuildKit alone.

/// A Dockerfile, or a build of it, that this crate does not understand well enough. BuildKit may still build it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", self.place())]
pub struct Unsupported {
    /// The line of the Dockerfile, from 1; none if the reason is not a line's.
    pub line: Option<usize>,
    /// What it is.
    pub reason: Reason,
}

impl Unsupported {
    fn place(&self) -> String {
        self.line
            .map_or_else(String::new, |line| format!("line {line}: "))
    }
}

/// Longer words (bytes) are no instructions.
const LONGEST_INSTRUCTION: usize = 20;

fn unknown_instruction(word: &str) -> String {
    let is_like_one =
        word.len() <= LONGEST_INSTRUCTION && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_like_one {
        format!("unknown instruction `{word}`")
    } else {
        "it begins with no instruction".to_owned()
    }
}

/// What is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// BuildKit refuses it, too.
    #[error("{0}")]
    Syntax(String),
    /// An instruction of a newer frontend, a typing error, or another file than a Dockerfile, perhaps behind a link: nothing of that
    /// may be shown.
    #[error("{}", unknown_instruction(.0))]
    Instruction(String),
    /// `ONBUILD` with an instruction that is not understood.
    #[error("in ONBUILD: {0}")]
    Trigger(Box<Reason>),
    /// A flag of a newer frontend, or a typing error.
    #[error("unknown flag `--{flag}` of {instruction}")]
    Flag {
        /// The instruction, in upper case.
        instruction: &'static str,
        /// The flag's name without its dashes.
        flag: String,
    },
    /// Text that is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The `syntax` line, or `BUILDKIT_SYNTAX`, names something else than Docker's frontend from 1.4 on.
    #[error("the frontend `{0}` is not docker/dockerfile 1.4 or newer under a tag that says so")]
    Frontend(String),
    /// The target is not in the Dockerfile.
    #[error("no stage is named `{0}`")]
    Target(String),
    /// A value depends on something that is not known here.
    #[error("`{word}` needs the value of `{variable}`, which is not known before the build")]
    Unknown {
        /// The word as it is written.
        word: String,
        /// The variable's name.
        variable: String,
    },
    /// `FROM` with an empty name.
    #[error("the name of the base image, `{0}`, is empty")]
    NoBase(String),
    /// An image's name that is none.
    #[error("`{0}` is not the name of an image")]
    Image(String),
    /// A platform that is none, or one that only the builder can complete.
    #[error("`{0}` is not a platform of the form os/architecture[/variant]")]
    Platform(String),
    /// A stage uses itself or a later one.
    #[error("stage `{0}` is used before it is defined")]
    Order(String),
    /// `RUN --security=insecure` or `RUN --device`, which need rights of their own.
    #[error("RUN with `{0}` needs an entitlement")]
    Entitlement(&'static str),
    /// Instructions of a base that run in the stage based on it.
    #[error("the base `{0}` has ONBUILD instructions")]
    Onbuild(String),
    /// Something longer or deeper than any Dockerfile written by hand.
    #[error("{0}")]
    Limit(&'static str),
    /// BuildKit's behaviour differs between versions.
    #[error("{0}")]
    Ambiguous(&'static str),
}

impl Reason {
    /// At a line.
    pub(crate) fn at(self, line: usize) -> Unsupported {
        Unsupported {
            line: Some(line),
            reason: self,
        }
    }

    /// Of the file or the build as a whole.
    pub(crate) fn whole(self) -> Unsupported {
        Unsupported {
            line: None,
            reason: self,
        }
    }

    /// What BuildKit refuses, too.
    pub(crate) fn syntax(text: impl Into<String>) -> Self {
        Self::Syntax(text.into())
    }
}
