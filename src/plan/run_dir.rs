//! The directory of a run, and the names of the files in it.

use std::path::{Path, PathBuf};

use crate::credentials::{KUBECONFIG_FILE, TOKENS_FOLDER};

/// Prefix of the names of our builders.
pub(crate) const BUILDER_PREFIX: &str = "fast-ecr-push-";

/// Where a run keeps its own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunDir {
    pub path: PathBuf,
    /// Unique to this run; part of the names of its builders.
    pub id: String,
}

/// The files that buildx writes for one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageFiles {
    /// `--metadata-file`.
    pub metadata: PathBuf,
    /// `--iidfile`.
    pub image_id: PathBuf,
}

/// Files of the push engine in the run's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineFiles {
    /// The build context of the step.
    pub context: PathBuf,
    /// An empty build context.
    pub empty: PathBuf,
    /// A secret of the step.
    pub secrets: PathBuf,
    /// The definition of the build with the step.
    pub definition: PathBuf,
    /// Where BuildKit puts a Dockerfile that is elsewhere.
    pub fetched: PathBuf,
}

impl EngineFiles {
    /// Those of a run with this folder.
    pub(crate) fn below(run: &Path) -> Self {
        let folder = run.join("push-engine");
        Self {
            context: folder.join("context"),
            empty: folder.join("empty"),
            secrets: folder.join("secrets.json"),
            definition: folder.join("push.json"),
            fetched: folder.join("fetched"),
        }
    }
}

impl RunDir {
    /// The directory at this path, whose name is unique.
    pub(crate) fn at(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self {
            path: path.to_owned(),
            // Names of builders become names of containers: letters, digits, hyphens.
            id: name
                .rsplit('-')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase(),
        }
    }

    /// The name of this run's builder.
    pub(crate) fn builder_name(&self) -> String {
        format!("{BUILDER_PREFIX}{}", self.id)
    }

    /// The files of an image, counted from 0.
    pub(crate) fn image(&self, index: usize) -> ImageFiles {
        ImageFiles {
            metadata: self.path.join(format!("metadata-{index}.json")),
            image_id: self.path.join(format!("image-id-{index}")),
        }
    }

    /// The files of the push engine.
    pub(crate) fn engine(&self) -> EngineFiles {
        EngineFiles::below(&self.path)
    }

    /// The kubeconfig, for buildx and for the post step.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path.join(KUBECONFIG_FILE)
    }

    /// Tokens for the run's child processes.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.path.join(TOKENS_FOLDER)
    }

    /// The token for a private Git context.
    pub(crate) fn git_token(&self) -> PathBuf {
        self.path.join("git-token")
    }

    /// The value of a secret, counted from 0 in the order of the input.
    pub(crate) fn secret(&self, index: usize) -> PathBuf {
        self.path.join(format!("secret-{index}"))
    }

    /// Certificates for BuildKit's daemon.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.path.join("certificates.pem")
    }

    /// The configuration of BuildKit's daemon.
    pub(crate) fn buildkitd_config(&self) -> PathBuf {
        self.path.join("buildkitd.toml")
    }
}
