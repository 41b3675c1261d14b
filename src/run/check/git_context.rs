//! A notice about a `.dockerignore` that does not apply.
//!
//! BuildKit reads `.dockerignore` only from folders that buildx sends, not from Git
//! (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/frontend/dockerui/config.go>, `MainContext`).

use std::path::Path;

use crate::plan::{Context, Plan};
use crate::runner::env::Env;
use crate::runner::log;

/// Says that the workspace's `.dockerignore` does not apply to the commit that is built.
pub(crate) fn notice(plan: &Plan, env: &Env) {
    let workspace = env.path("GITHUB_WORKSPACE");
    for image in &plan.images {
        if let Some(name) = workspace.and_then(|workspace| ignored(&image.context, workspace)) {
            tracing::info!(
                target: log::NOTICE,
                "`{name}` of the workspace does not apply: the build context is the commit, fetched from GitHub, without files of earlier \
                 steps; `context: .` builds from the workspace"
            );
        }
    }
}

fn ignored(context: &Context, workspace: &Path) -> Option<String> {
    let Context::ThisCommit { url } = context else {
        return None;
    };
    let (_, fragment) = url.split_once('#').unwrap_or_default();
    let (_, folder) = fragment.split_once(':').unwrap_or_default();
    let path = Path::new(folder).join(".dockerignore");
    let is_file = workspace.join(&path).is_file();
    is_file.then(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dockerignore_of_the_default_context_is_reported() {
        let workspace = tempfile::tempdir().unwrap();
        std::fs::create_dir(workspace.path().join("app")).unwrap();
        let url = "https://github.com/octo/app.git#0123abc";
        let of = |context: Context| ignored(&context, workspace.path());
        let commit = |folder: &str| Context::ThisCommit {
            url: format!("{url}{folder}"),
        };
        assert_eq!(of(commit("")), None);
        for path in [".dockerignore", "app/.dockerignore"] {
            std::fs::write(workspace.path().join(path), "dist").unwrap();
        }
        assert_eq!(of(commit("")).as_deref(), Some(".dockerignore"));
        assert_eq!(of(commit(":app")).as_deref(), Some("app/.dockerignore"));
        assert_eq!(of(commit(":other")), None);
        let folder = Context::Folder {
            path: workspace.path().to_owned(),
            dockerfile: workspace.path().join("Dockerfile"),
        };
        assert_eq!(of(folder), None);
    }
}
