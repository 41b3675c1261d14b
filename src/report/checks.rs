//! Findings of the build checks, as annotations on the Dockerfile's lines.
//!
//! In: an [`Outcome`]. Out: at most [`MOST`] warnings on the run's page, if the Dockerfile is a file of the repository; the rest is counted
//! in one line. docker/build-push-action does the same
//! (<https://github.com/docker/actions-toolkit/blob/3d440be/src/buildx/buildx.ts>, `convertWarningsToGitHubAnnotations`) and has the same
//! switch.

use std::path::{Path, PathBuf};

use super::Outcome;
use crate::buildx::checks::{self, Finding};
use crate::plan::{self, Context, ImagePlan};
use crate::runner::command::{Annotation, Level};
use crate::runner::env::Env;
use crate::runner::log::Stream;

/// The runner's limit for annotations of one kind per step (<https://docs.github.com/rest/checks/runs> has the platform's own limits).
const MOST: usize = 10;

/// GitHub's limit for a title (characters).
const LONGEST_TITLE: usize = 255;

/// The path in the repository of a file that BuildKit names; none if that is not the Dockerfile, or not a file of the repository. For a
/// folder buildx sends the Dockerfile under its bare name
/// (<https://github.com/docker/buildx/blob/v0.29.1/build/opt.go>, `loadInputs`).
pub(crate) fn in_repository(named: &str, image: &ImagePlan, env: &Env) -> Option<PathBuf> {
    let path = dockerfile(
        &image.context,
        image.file.as_deref(),
        env.path("GITHUB_WORKSPACE"),
    )?;
    is_named(&path, named).then_some(path)
}

fn is_named(dockerfile: &Path, named: &str) -> bool {
    let name = Path::new(named).file_name();
    name.is_some() && name == dockerfile.file_name()
}

pub(super) fn annotate(outcome: &Outcome, env: &Env) {
    for image in outcome.images() {
        let findings = image.metadata().map(checks::findings).unwrap_or_default();
        if !findings.is_empty() {
            annotate_image(image.plan, &findings, env);
        }
    }
}

fn annotate_image(image: &ImagePlan, findings: &[Finding], env: &Env) {
    let dockerfile = dockerfile(
        &image.context,
        image.file.as_deref(),
        env.path("GITHUB_WORKSPACE"),
    );
    let wanted = !matches!(
        env.get("DOCKER_BUILD_CHECKS_ANNOTATIONS"),
        Some("false" | "False" | "FALSE" | "f" | "F" | "0")
    );
    let shown = match dockerfile.filter(|_| wanted) {
        Some(path) if env.is_true("GITHUB_ACTIONS") => lines(findings, &path),
        _ => Vec::new(),
    };
    for line in &shown {
        Stream::Output.print(line);
    }
    let rest = findings.len() - shown.len();
    if rest > 0 {
        let more = if shown.is_empty() { "" } else { "more " };
        tracing::info!(
            "{more}build checks with findings: {rest}; the output `metadata` lists them all"
        );
    }
}

/// The annotations for findings in this Dockerfile.
fn lines(findings: &[Finding], dockerfile: &Path) -> Vec<String> {
    let path = dockerfile.to_string_lossy();
    let is_here = |finding: &&Finding| {
        let file = finding.file.as_deref();
        finding.line.is_some() && file.is_some_and(|file| is_named(dockerfile, file))
    };
    let annotation = |finding: &Finding| {
        let title: String = finding.title.chars().take(LONGEST_TITLE).collect();
        let annotation = Annotation {
            level: Level::Warning,
            title: &title,
            message: &finding.message,
            place: finding.line.map(|line| (&*path, line)),
        };
        annotation.line()
    };
    let here = findings.iter().filter(is_here).take(MOST);
    here.map(annotation).collect()
}

/// The Dockerfile's path in the repository; none if it is outside.
fn dockerfile(context: &Context, file: Option<&str>, workspace: Option<&Path>) -> Option<PathBuf> {
    match context {
        Context::Folder { dockerfile, .. } => {
            let file = dockerfile.canonicalize().ok();
            let file = file.or_else(|| plan::lower_case(dockerfile)?.canonicalize().ok())?;
            let workspace = workspace?.canonicalize().ok()?;
            file.strip_prefix(workspace).ok().map(Path::to_path_buf)
        }
        Context::ThisCommit { .. } => context.dockerfile_in_repository(file),
        Context::Remote { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(file: Option<&str>, line: Option<u32>) -> Finding {
        Finding {
            file: file.map(str::to_owned),
            line,
            title: "t".repeat(400),
            message: "m".repeat(9000),
        }
    }

    #[test]
    fn have_their_line_and_are_cut() {
        let lines = lines(
            &[finding(Some("Dockerfile"), Some(3))],
            Path::new("app/Dockerfile"),
        );
        let [line] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert!(
            line.starts_with("::warning file=app/Dockerfile,line=3,title=ttt"),
            "{line}"
        );
        assert_eq!(line.matches('m').count(), 4096);
        assert_eq!(
            line.matches('t').count() - "title".matches('t').count(),
            255
        );
    }

    #[test]
    fn are_ten_at_most_and_only_of_this_dockerfile() {
        let mut findings = vec![
            finding(Some("Dockerfile.other"), Some(1)),
            finding(None, Some(1)),
            finding(Some("Dockerfile"), None),
        ];
        assert!(lines(&findings, Path::new("Dockerfile")).is_empty());
        findings.extend((1..=12).map(|line| finding(Some("Dockerfile"), Some(line))));
        let shown = lines(&findings, Path::new("Dockerfile"));
        assert_eq!(shown.len(), 10);
        assert!(shown[9].starts_with("::warning file=Dockerfile,line=10,"));
    }

    #[test]
    fn a_dockerfile_outside_of_the_workspace_has_no_place() {
        let root = tempfile::tempdir().unwrap();
        let workspace = root.path().join("workspace");
        std::fs::create_dir_all(workspace.join("app")).unwrap();
        for path in [
            workspace.join("app/Dockerfile"),
            root.path().join("Dockerfile"),
        ] {
            std::fs::write(path, "FROM scratch").unwrap();
        }
        let place = |path: PathBuf, workspace| {
            let context = Context::Folder {
                path: PathBuf::from("."),
                dockerfile: path,
            };
            dockerfile(&context, None, workspace)
        };
        assert_eq!(
            place(workspace.join("app/Dockerfile"), Some(&*workspace)),
            Some(PathBuf::from("app/Dockerfile"))
        );
        assert_eq!(
            place(root.path().join("Dockerfile"), Some(&*workspace)),
            None
        );
        assert_eq!(place(workspace.join("app/Dockerfile"), None), None);
    }

    #[test]
    fn a_dockerfile_in_lower_case_has_a_place_too() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("dockerfile"), "FROM scratch").unwrap();
        let workspace = root.path().to_string_lossy().into_owned();
        let env = Env::from([("GITHUB_WORKSPACE", &*workspace)]);
        let place = |asked: &str| {
            let context = Context::Folder {
                path: root.path().to_owned(),
                dockerfile: root.path().join(asked),
            };
            // As buildx names it to BuildKit.
            let path = dockerfile(&context, None, env.path("GITHUB_WORKSPACE"));
            path.filter(|path| is_named(path, "dockerfile"))
        };
        assert_eq!(place("Dockerfile"), Some(PathBuf::from("dockerfile")));
        assert_eq!(place("DOCKERFILE"), None);
        std::fs::write(root.path().join("Dockerfile"), "FROM scratch").unwrap();
        assert_eq!(place("Dockerfile"), None);
    }

    #[test]
    fn of_a_git_context_they_have_a_path_in_the_repository() {
        let place = |url: &str, file: Option<&str>| {
            let context = Context::ThisCommit {
                url: url.to_owned(),
            };
            dockerfile(&context, file, None).map(|path| path.display().to_string())
        };
        let url = "https://github.com/octo/app.git#0123abc";
        assert_eq!(place(url, None).as_deref(), Some("Dockerfile"));
        assert_eq!(
            place(&format!("{url}:docker"), Some("prod.Dockerfile")).as_deref(),
            Some("docker/prod.Dockerfile")
        );
        let remote = Context::Remote {
            url: "https://example.org/x.git".to_owned(),
        };
        assert_eq!(dockerfile(&remote, None, None), None);
    }
}
