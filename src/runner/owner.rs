//! The owner of files that a container action leaves in the workspace.
//!
//! The container runs as root, the runner does not: a root-owned file makes the next checkout on a self-hosted runner fail.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};

/// Gives a file, or a folder with its content, to the owner of the nearest folder, itself or above, that is not root's. Only what root owns
/// is changed; links are not followed. Does nothing if the path does not exist, if we are not root, or if everything is root's.
pub(crate) fn give_back(path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() || !path.try_exists()? {
        return Ok(());
    }
    let path = std::path::absolute(path)?;
    let mut ours: Vec<PathBuf> = Vec::new();
    // Including the path itself: an existing workspace is the runner's, but our files in it are root's.
    for folder in path.ancestors() {
        let metadata = fs::symlink_metadata(folder)?;
        if metadata.uid() != 0 {
            let owner = (metadata.uid(), metadata.gid());
            ours.iter().try_for_each(|folder| give(folder, owner))?;
            return give_tree(&path, owner);
        }
        ours.push(folder.to_owned());
    }
    Ok(())
}

fn give_tree(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        if fs::symlink_metadata(&path)?.is_dir() {
            for entry in fs::read_dir(&path)? {
                pending.push(entry?.path());
            }
        }
        give(&path, owner)?;
    }
    Ok(())
}

fn give(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    if fs::symlink_metadata(path)?.uid() == 0 {
        lchown(path, Some(user), Some(group))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    #[test]
    fn a_tree_goes_to_the_owner_of_the_workspace_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let workspace = root.path().join("workspace");
        fs::create_dir_all(workspace.join("out/deep")).unwrap();
        fs::write(workspace.join("out/deep/file"), "").unwrap();
        fs::write(workspace.join("neighbour"), "").unwrap();
        fs::write(root.path().join("target"), "").unwrap();
        symlink(root.path().join("target"), workspace.join("out/link")).unwrap();
        let uid = |path: &str| fs::symlink_metadata(root.path().join(path)).unwrap().uid();
        // Only root can give files away; others have nothing to give.
        let us = uid("target");
        if us == 0 {
            chown(&workspace, Some(1001), Some(1001)).unwrap();
        }
        let theirs = uid("workspace");
        give_back(&workspace.join("out/deep")).unwrap();
        for path in [
            "workspace/out",
            "workspace/out/deep",
            "workspace/out/deep/file",
        ] {
            assert_eq!(uid(path), theirs, "{path}");
        }
        give_back(&workspace.join("out")).unwrap();
        assert_eq!(uid("workspace/out/link"), theirs);
        assert_eq!((uid("target"), uid("workspace/neighbour")), (us, us));
        give_back(&workspace).unwrap();
        assert_eq!(uid("workspace/neighbour"), theirs);
        assert_eq!(uid("target"), us);
        give_back(&workspace.join("missing")).unwrap();
    }
}
