//! Whether the build step can run in the image that it pushes, as far as the image's files go. BuildKit does not hash the image then.
//!
//! BuildKit mounts file systems on some directories of what a step runs in ([`MOUNTED`]). The step can't see the image's own there, so
//! they have to be the base's: commands of the build can't change them either, for the same reason. Copies can.

use std::fs;
use std::path::Path;

use ::dockerfile::{Graph, Kind, Reach};
use protocol::MOUNTED;

use crate::plan::Context;

/// Whether the step sees all files of the image that it runs in.
pub(super) fn is_possible(graph: &Graph<'_>, context: &Context) -> bool {
    !has_triggers(graph) && keeps_mounted(&graph.reach(&MOUNTED), context)
}

/// Triggers would run in the step's stage.
fn has_triggers(graph: &Graph<'_>) -> bool {
    let stage = graph.target().and_then(|node| graph.stage(node));
    let mut instructions = stage.into_iter().flat_map(|stage| &stage.instructions);
    instructions.any(|instruction| matches!(instruction.kind, Kind::Onbuild(_)))
}

fn keeps_mounted(reach: &Reach, context: &Context) -> bool {
    match (reach, context) {
        (Reach::Possible, _) => false,
        (Reach::Through(paths), Context::Folder { path: folder, .. }) => {
            paths.iter().all(|path| brings_none(folder, path))
        }
        (Reach::Through(paths), _) => paths.is_empty(),
    }
}

/// Whether `COPY` of a path of the context into the root directory brings none of the directories.
fn brings_none(folder: &Path, path: &str) -> bool {
    let path = path.trim_start_matches('/');
    if path.split('/').any(|part| part == "..") {
        return false;
    }
    let path = folder.join(path);
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => MOUNTED.iter().all(|name| {
            fs::symlink_metadata(path.join(name))
                .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        }),
        found => found.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use ::dockerfile::{Build, Dockerfile};

    use super::*;

    fn possible(text: &str, context: &Context) -> bool {
        let file = Dockerfile::read(text.as_bytes()).unwrap();
        let build = Build::default();
        let graph = file.resolve(&build).unwrap();
        is_possible(&graph, context)
    }

    #[test]
    fn copies_into_the_root_directory_may_not_bring_what_buildkit_hides() {
        let folder = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        for path in ["x.txt", "files/app/main.py", "root/dev/x", "other/proc"] {
            file(path);
        }
        let context = Context::Folder {
            path: folder.path().to_owned(),
            dockerfile: folder.path().join("Dockerfile"),
        };
        for (copy, expected) in [
            ("COPY x.txt /", true),
            ("COPY files x.txt /", true),
            ("COPY . /", true),
            ("COPY /root /app", true),
            ("COPY /root /", false),
            ("COPY x.txt root/ /", false),
            ("COPY other /", false),
            ("COPY missing /", false),
            ("COPY ../other /", false),
            ("COPY files/../root /", false),
            ("ADD x.txt /", false),
        ] {
            let text = format!("FROM a\n{copy}\n");
            assert_eq!(possible(&text, &context), expected, "{copy}");
        }
        let remote = Context::Remote {
            url: "https://example.com/a.git".to_owned(),
        };
        assert!(possible("FROM a\nCOPY . /app\n", &remote));
        assert!(!possible("FROM a\nCOPY x.txt /\n", &remote));
        assert!(possible("FROM scratch\nCOPY . /app\n", &context));
        assert!(!possible("FROM a\nONBUILD RUN x\n", &context));
    }
}
