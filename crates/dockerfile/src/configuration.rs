//! The Dockerfile of a target's configuration: the same target without its files.

use std::ops::Range;

use crate::graph::{Graph, Node, Origin};
use crate::instruction::{Instruction, Kind};
use crate::unsupported::{Reason, Unsupported};

/// Longer lines are not read by BuildKit.
const LONGEST: usize = 65_000;

/// Two Dockerfiles made from one: built with the same target, arguments, platform and named contexts, `cfg` has the image's
/// configuration, and `base` the tree and the layers that the image starts from.
///
/// `cfg` is the chain of stages that the target is based on, without `RUN`, `COPY` and `ADD`. `WORKDIR` stays, since it sets the
/// working directory, but it also makes a directory, in a layer of its own, even where the directory is there already. So
/// `cfg`'s tree and layers are not the base's: [`Configuration::base_layers`] says how many layers are. A `USER` who is made by
/// a `RUN` is unknown in `cfg`; BuildKit makes the directory as user 0 then. What the tree gets in the real build is in the
/// target's own tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The Dockerfile whose image has the configuration.
    pub cfg: String,
    /// The Dockerfile of the base alone; none if the base is `scratch`.
    pub base: Option<String>,
    /// What the base is.
    pub origin: Origin,
    /// What becomes of the chain's instructions, in their order. `ONBUILD` has no entry, as in an image's history.
    pub entries: Vec<Entry>,
}

/// An instruction, and whether `cfg`'s history has an entry for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `cfg`'s next entry of history.
    Kept,
    /// Not in `cfg`: an instruction that makes a layer.
    Removed(Removed),
}

/// An instruction that makes a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// `RUN`, `COPY` or `ADD`.
    pub keyword: &'static str,
    /// The instruction on one line, variables as they are written, here-documents left out.
    pub text: String,
    /// Its first line in the Dockerfile.
    pub line: usize,
}

/// An entry of an image's history, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// `comment`: who made the entry.
    pub comment: String,
    /// `empty_layer`.
    pub empty: bool,
}

/// The comment of entries that BuildKit adds at the end for layers without any, as of a base whose history is too short.
const FILLER: &str = "buildkit.exporter.image.v0";

impl Configuration {
    /// Which entries of `cfg`'s history are those of [`Configuration::entries`] that are in it; before them are the base's. None
    /// if the history is not that of `cfg`.
    #[must_use]
    pub fn own_history(&self, history: &[History]) -> Option<Range<usize>> {
        let own = self
            .entries
            .iter()
            .filter(|entry| !matches!(entry, Entry::Removed(_)))
            .count();
        let end = history
            .iter()
            .rposition(|entry| entry.comment != FILLER)
            .map_or(0, |last| last + 1);
        Some(end.checked_sub(own)?..end)
    }

    /// How many of the layers of `cfg`'s image are the base's: those that `WORKDIR` made come after them.
    #[must_use]
    pub fn base_layers(&self, layers: usize, history: &[History]) -> Option<usize> {
        let own = history.get(self.own_history(history)?)?;
        layers.checked_sub(own.iter().filter(|entry| !entry.empty).count())
    }
}

impl Graph<'_> {
    /// The Dockerfiles of configuration and base.
    pub fn configuration(&self) -> Result<Configuration, Unsupported> {
        let chain = self.chain();
        let Some(root) = chain.first() else {
            return Err(Reason::syntax("there is no FROM").whole());
        };
        let mut writer = Writer {
            text: self.head()?,
            entries: Vec::new(),
        };
        let base = match root.base {
            Origin::Scratch => None,
            _ => {
                let mut base = writer.text.clone();
                base.push_str(&self.from(root)?);
                Some(base)
            }
        };
        self.write_chain(&chain, &mut writer)?;
        Ok(Configuration {
            cfg: writer.text,
            base,
            origin: root.base.clone(),
            entries: writer.entries,
        })
    }

    /// Directives and global arguments.
    fn head(&self) -> Result<String, Unsupported> {
        let mut head = String::new();
        if let Some(syntax) = &self.file.syntax {
            head.push_str(&format!("# syntax={}\n", syntax.value));
        }
        if self.file.escape != '\\' {
            head.push_str(&format!("# escape={}\n", self.file.escape));
        }
        // The target's own build gives the warnings, and fails if it is told to.
        head.push_str("# check=skip=all\n");
        for global in &self.file.globals {
            head.push_str(&line(&global.text, global.lines.first)?);
        }
        Ok(head)
    }

    fn from(&self, node: &Node) -> Result<String, Unsupported> {
        self.stage(node).map_or_else(
            || Ok(String::new()),
            |stage| line(&stage.text, stage.lines.first),
        )
    }

    fn write_chain(&self, chain: &[&Node], writer: &mut Writer) -> Result<(), Unsupported> {
        for node in chain {
            self.check_own_triggers(node)?;
            writer.text.push_str(&self.from(node)?);
            let stage = self.stage(node).filter(|_| !node.replaced);
            for instruction in stage.iter().flat_map(|stage| &stage.instructions) {
                match &instruction.kind {
                    Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) => {
                        writer.entries.push(Entry::Removed(Removed {
                            keyword: instruction.kind.keyword(),
                            text: instruction.text.trim().to_owned(),
                            line: instruction.lines.first,
                        }));
                    }
                    _ => writer.keep(instruction)?,
                }
            }
        }
        Ok(())
    }
}

struct Writer {
    text: String,
    entries: Vec<Entry>,
}

impl Writer {
    fn keep(&mut self, instruction: &Instruction) -> Result<(), Unsupported> {
        let first = instruction.lines.first;
        self.text.push_str(&line(&instruction.text, first)?);
        for heredoc in &instruction.heredocs {
            self.text.push_str(&heredoc.body);
            self.text.push_str(&heredoc.name);
            self.text.push('\n');
        }
        if !matches!(instruction.kind, Kind::Onbuild(_)) {
            self.entries.push(Entry::Kept);
        }
        Ok(())
    }
}

/// A line that is read as it was.
fn line(text: &str, number: usize) -> Result<String, Unsupported> {
    if text.len() > LONGEST {
        return Err(Reason::Limit("the instruction is longer than 65,000 bytes").at(number));
    }
    Ok(format!("{}\n", text.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Dockerfile;
    use crate::graph::Build;

    fn configuration(text: &str) -> Result<Configuration, Unsupported> {
        let file = Dockerfile::read(text.as_bytes()).unwrap();
        let build = Build::default();
        file.resolve(&build)?.configuration()
    }

    #[test]
    fn leaves_out_what_makes_files() {
        let made = configuration(
            "# syntax=docker/dockerfile:1 x\n# check=error=true\nARG V=1 \\\n  W\n# c\nfrom a:$V As one\nRUN <<E\nENV B=1\nE\nENV A=1 \\\n  # c\n  C=2\n\
             FROM b AS other\nFROM one\ncopy --from=other x y\nLABEL l=$A\nADD z /\n",
        )
        .unwrap();
        let head =
            "# syntax=docker/dockerfile:1 x\n# check=skip=all\nARG V=1   W\nfrom a:$V As one\n";
        assert_eq!(
            made.cfg,
            format!("{head}ENV A=1   C=2\nFROM one\nLABEL l=$A\n")
        );
        assert_eq!(made.base.as_deref(), Some(head));
        let removed = |keyword, text: &str, line| {
            Entry::Removed(Removed {
                keyword,
                text: text.to_owned(),
                line,
            })
        };
        assert_eq!(
            made.entries,
            [
                removed("RUN", "RUN <<E", 7),
                Entry::Kept,
                removed("COPY", "copy --from=other x y", 15),
                Entry::Kept,
                removed("ADD", "ADD z /", 17),
            ]
        );
    }

    #[test]
    fn a_stage_with_triggers_is_no_base() {
        let text = "FROM a AS x\nONBUILD RUN y\nFROM x\n";
        assert_eq!(
            configuration(text),
            Err(Reason::Onbuild("x".to_owned()).at(2))
        );
        let own = configuration("FROM a\nONBUILD COPY <<-E /x\n\tb\n\tE\nENV A=1\n").unwrap();
        assert_eq!(
            own.cfg,
            "# check=skip=all\nFROM a\nONBUILD COPY <<-E /x\n\tb\nE\nENV A=1\n"
        );
        assert_eq!(own.entries, [Entry::Kept]);
    }

    #[test]
    fn the_bases_layers_are_those_before_the_directories() {
        let made = configuration("FROM a\nWORKDIR /a\nENV A=1\nRUN x\nWORKDIR /\n").unwrap();
        let entry = |comment: &str, empty| History {
            comment: comment.to_owned(),
            empty,
        };
        let own = [false, true, true].map(|empty| entry("buildkit.dockerfile.v0", empty));
        let with = |before: &[History], after: &[History]| [before, &own, after].concat();
        let base = [
            entry("", false),
            entry("", true),
            entry("buildkit.exporter.image.v0", false),
        ];
        assert_eq!(made.base_layers(3, &with(&base, &[])), Some(2));
        // A base without history: BuildKit adds entries for its layers at the end.
        let filled = with(&[], &base[2..]);
        assert_eq!(made.own_history(&filled), Some(0..3));
        assert_eq!(made.base_layers(2, &filled), Some(1));
        assert_eq!(made.base_layers(2, &own[1..]), None);
    }

    #[test]
    fn nothing_is_no_base() {
        let made = configuration("FROM scratch\nCOPY a b\nUSER 1\n").unwrap();
        assert_eq!((made.base, made.origin), (None, Origin::Scratch));
    }
}
