//! The pages for users, and the blocks in them.

use std::fs;
use std::path::Path;

/// The Markdown files for users.
pub(crate) fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap();
    let mut paths: Vec<_> = pages
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain([root.join("README.md"), root.join("examples/eks/README.md")])
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The contents of fenced blocks in a language, with the line they begin on.
pub(crate) fn blocks<'a>(text: &'a str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(&'a str, usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(fence)) => open = Some((fence.trim(), index + 2, String::new())),
            (Some(_), Some("")) => {
                let (fence, line, block) = open.take().unwrap();
                if fence == language {
                    found.push((line, block));
                }
            }
            (Some((_, _, block)), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence that is not closed");
    found
}
