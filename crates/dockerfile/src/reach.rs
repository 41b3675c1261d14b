//! What a build can change of the image's root directory beside what its commands do.

use crate::environment::Environment;
use crate::graph::{Graph, Origin};
use crate::instruction::{Instruction, Kind};
use crate::step::{Walk, with_path};
use crate::unsupported::Unsupported;

/// Whether `ADD`, `COPY` and `WORKDIR` can change some directories of the image's root directory, or what is in them. `RUN` is not
/// looked at. A destination behind a link that goes to such a directory is not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// They can, for all that the Dockerfile says.
    Possible,
    /// Only if one of these paths of the build's context, without patterns, is a directory that has such a name in it: `COPY` puts
    /// them into the root directory.
    Through(Vec<String>),
}

impl Graph<'_> {
    /// What reaches these directories of the root directory in the target and the stages that it is based on.
    #[must_use]
    pub fn reach(&self, directories: &[&str]) -> Reach {
        let mut reach = Walker {
            directories,
            folder: None,
            paths: Vec::new(),
        };
        match reach.chain(self) {
            Ok(true) => Reach::Through(reach.paths),
            // Another reader finds the fault, or needs not to know.
            Ok(false) | Err(_) => Reach::Possible,
        }
    }
}

struct Walker<'d> {
    directories: &'d [&'d str],
    /// The working directory, if it is known.
    folder: Option<String>,
    /// See [`Reach::Through`].
    paths: Vec<String>,
}

impl Walker<'_> {
    /// False if the directories may be reached.
    fn chain(&mut self, graph: &Graph<'_>) -> Result<bool, Unsupported> {
        let mut environment = Environment::open();
        for node in graph.chain() {
            if node.base == Origin::Scratch {
                environment = with_path(Environment::closed());
                self.folder = Some("/".to_owned());
            }
            let mut walk = Walk {
                graph,
                node,
                environment,
            };
            let stage = graph.stage(node).filter(|_| !node.replaced);
            for instruction in stage.iter().flat_map(|stage| &stage.instructions) {
                walk.variables(instruction)?;
                if !self.keeps(&walk, instruction)? {
                    return Ok(false);
                }
            }
            environment = walk.environment;
        }
        Ok(true)
    }

    fn keeps(&mut self, walk: &Walk<'_>, instruction: &Instruction) -> Result<bool, Unsupported> {
        let line = instruction.lines.first;
        let to = match &instruction.kind {
            Kind::Add(add) => &add.files.to,
            Kind::Copy(copy) => &copy.files.to,
            Kind::Workdir(to) => to,
            _ => return Ok(true),
        };
        let Some(to) = self.absolute(&walk.expand(to, line)?) else {
            return Ok(false);
        };
        let first = to.split('/').find(|part| !part.is_empty());
        match (&instruction.kind, first) {
            (_, Some(first)) => {
                if matches!(instruction.kind, Kind::Workdir(_)) {
                    self.folder = Some(to.clone());
                }
                Ok(!self.directories.contains(&first))
            }
            (Kind::Workdir(_), None) => {
                self.folder = Some(to);
                Ok(true)
            }
            // Here-documents are files.
            (Kind::Copy(copy), None) if copy.from.is_none() && !copy.parents => {
                for path in &copy.files.paths {
                    let path = walk.expand(path, line)?;
                    if path.contains(['*', '?', '[', '\\']) {
                        return Ok(false);
                    }
                    self.paths.push(path);
                }
                Ok(true)
            }
            // An archive has any names.
            _ => Ok(false),
        }
    }

    /// From the root directory on, without `.`. None if the working directory is not known, or if it goes up.
    fn absolute(&self, path: &str) -> Option<String> {
        let start = if path.starts_with('/') {
            "/"
        } else {
            self.folder.as_deref()?
        };
        let mut absolute = String::new();
        for part in start.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => return None,
                part => {
                    absolute.push('/');
                    absolute.push_str(part);
                }
            }
        }
        absolute.push_str(if absolute.is_empty() { "/" } else { "" });
        Some(absolute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Dockerfile;
    use crate::graph::Build;

    fn reach(text: &str) -> Reach {
        let file = Dockerfile::read(text.as_bytes()).unwrap();
        let build = Build::default();
        file.resolve(&build).unwrap().reach(&["dev", "proc"])
    }

    #[test]
    fn knows_copies_that_go_elsewhere() {
        for text in [
            "FROM a\nRUN mkdir /dev/x\n",
            "FROM a\nCOPY . /app\nADD x.tar /srv/\nADD https://a/b /opt/b\n",
            "FROM a\nWORKDIR /app\nCOPY . .\nWORKDIR sub\nADD x ./\nCOPY a b\n",
            "FROM a\nENV HOME=/home/a\nARG D=app\nWORKDIR $HOME\nCOPY . $D\nCOPY . ${HOME}/x\n",
            "FROM a\nCOPY x /development\nCOPY x /etc/dev/proc\nCOPY x '/a/'\n",
            "FROM a AS b\nWORKDIR /app\nENV D=/srv\nFROM b\nCOPY . .\nCOPY . $D\n",
            "FROM a AS other\nCOPY . /\nADD b /dev\nFROM a\nCOPY --from=other / /b\n",
            "FROM a\nCOPY <<E /\nx\nE\n",
        ] {
            assert_eq!(reach(text), Reach::Through(Vec::new()), "{text}");
        }
    }

    #[test]
    fn knows_what_goes_to_the_root_directory() {
        for text in [
            "FROM a\nCOPY . x.txt /\n",
            "FROM a\nWORKDIR /\nARG X=x.txt\nCOPY [\".\", \"./\"]\nCOPY $X /\n",
            "FROM scratch\nCOPY . .\nCOPY x.txt //./\n",
        ] {
            let paths = Reach::Through(vec![".".to_owned(), "x.txt".to_owned()]);
            assert_eq!(reach(text), paths, "{text}");
        }
    }

    #[test]
    fn anything_else_may_reach_them() {
        for text in [
            "FROM a\nCOPY . .\n",
            "FROM a\nWORKDIR sub\nCOPY . .\n",
            "FROM a\nCOPY x /dev/\n",
            "FROM a\nCOPY x //proc/x\n",
            "FROM a\nWORKDIR /dev/x\n",
            "FROM a\nWORKDIR /dev\n",
            "FROM a\nCOPY x /app/../dev\n",
            "FROM a\nCOPY x $WHERE\n",
            "FROM a\nADD x /\n",
            "FROM a\nCOPY x* /\n",
            "FROM a\nCOPY --parents x /\n",
            "FROM a AS b\nFROM a\nCOPY --from=b / /\n",
            "FROM a AS b\nCOPY x /dev\nFROM b\n",
        ] {
            assert_eq!(reach(text), Reach::Possible, "{text}");
        }
    }

    #[test]
    fn a_named_context_takes_the_place_of_a_stage() {
        let file = Dockerfile::read(b"FROM a AS b\nCOPY x /dev\nFROM b\nCOPY . .\n").unwrap();
        let mut build = Build::default();
        build
            .contexts
            .insert("b".to_owned(), "docker-image://c".to_owned());
        let graph = file.resolve(&build).unwrap();
        assert_eq!(graph.reach(&["dev"]), Reach::Possible);

        let file = Dockerfile::read(b"FROM a AS b\nCOPY x /dev\nFROM b\nCOPY . /c\n").unwrap();
        let graph = file.resolve(&build).unwrap();
        assert_eq!(graph.reach(&["dev"]), Reach::Through(Vec::new()));
    }
}
