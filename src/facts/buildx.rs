//! Finds buildx and its version.
//!
//! The action's image has the standalone binary. Elsewhere buildx is a plugin of the Docker CLI, which
//! also runs by itself. Plugin folders: <https://docs.docker.com/build/install-buildx/> and docker/cli's
//! `cli-plugins/manager`.

use std::path::{Path, PathBuf};

use semver::Version;
use tokio_util::sync::CancellationToken;

use super::error::FactsError;
use crate::process::Command;
use crate::runner::env::{Env, is_executable};

/// The system's plugin folders, in docker/cli's order.
const PLUGIN_FOLDERS: &[&str] = &[
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Set in the action's image: asking buildx for its version takes 40 ms.
const KNOWN_VERSION: &str = "FAST_ECR_PUSH_BUILDX_VERSION";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buildx {
    pub program: PathBuf,
    pub version: Version,
}

impl Buildx {
    pub(super) async fn find(env: &Env, cancel: &CancellationToken) -> Result<Self, FactsError> {
        let program = Self::locate(env).ok_or(FactsError::NoBuildx)?;
        if let Some(version) = env.get(KNOWN_VERSION).and_then(lenient_version) {
            return Ok(Self { program, version });
        }
        let printed = Command::new(&program)
            .args(["version"])
            .output(cancel)
            .await
            .map_err(FactsError::BuildxVersion)?;
        let version = version_line(&printed)
            .ok_or_else(|| FactsError::UnknownVersion(printed.trim().to_owned()))?;
        Ok(Self { program, version })
    }

    /// A given version; the binary may not exist.
    pub(super) fn given(env: &Env, version: Version) -> Self {
        Self {
            program: Self::locate(env).unwrap_or_else(|| PathBuf::from("buildx")),
            version,
        }
    }

    pub(crate) fn locate(env: &Env) -> Option<PathBuf> {
        let docker_config = env
            .path("DOCKER_CONFIG")
            .map(Path::to_path_buf)
            .or_else(|| Some(env.path("HOME")?.join(".docker")));
        env.find_program("buildx")
            .or_else(|| env.find_program("docker-buildx"))
            .or_else(|| {
                docker_config
                    .map(|folder| folder.join("cli-plugins"))
                    .into_iter()
                    .chain(PLUGIN_FOLDERS.iter().map(PathBuf::from))
                    .map(|folder| folder.join("docker-buildx"))
                    .find(|candidate| is_executable(candidate))
            })
    }
}

/// Parses `github.com/docker/buildx v0.36.1 <commit>`. Distributions add suffixes.
pub(super) fn version_line(printed: &str) -> Option<Version> {
    let mut fields = printed.lines().next()?.split_whitespace();
    fields.find(|field| field.ends_with("docker/buildx"))?;
    lenient_version(fields.next()?)
}

/// Parses the leading `major.minor[.patch]` of a version, with or without `v`.
pub(super) fn lenient_version(text: &str) -> Option<Version> {
    let text = text.trim_start_matches('v');
    let end = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(text.len());
    let mut numbers = text.get(..end)?.split('.').map(str::parse);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
    Some(Version::new(major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_versions_of_all_distributions() {
        let cases = [
            (
                "a release",
                "github.com/docker/buildx v0.36.1 8d3a4cf",
                Some((0, 36, 1)),
            ),
            (
                "Debian's",
                "github.com/docker/buildx 0.29.1+ds1-4 ",
                Some((0, 29, 1)),
            ),
            (
                "Docker Desktop's",
                "github.com/docker/buildx v0.30.0-desktop.1 abc",
                Some((0, 30, 0)),
            ),
            (
                "another program",
                "Docker version 28.5.2, build e6534b4",
                None,
            ),
            ("nothing", "", None),
            ("no number", "github.com/docker/buildx unknown", None),
        ];
        for (name, printed, expected) in cases {
            assert_eq!(
                version_line(printed),
                expected.map(|(major, minor, patch)| Version::new(major, minor, patch)),
                "{name}"
            );
        }
    }

    #[test]
    fn searches_the_users_plugin_folder() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let plugins = home.path().join(".docker/cli-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        let plugin = plugins.join("docker-buildx");
        std::fs::write(&plugin, "").unwrap();
        std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
        let env = Env::from([
            ("HOME", &*home.path().to_string_lossy()),
            ("PATH", "/nowhere"),
        ]);
        assert_eq!(Buildx::locate(&env), Some(plugin));
    }
}
