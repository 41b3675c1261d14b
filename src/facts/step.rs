//! Finds the push engine's build step: static binaries `fast-ecr-push-step-ARCHITECTURE`, named as Docker names architectures.
//!
//! The action's image has them. Elsewhere a variable names their folder.

use std::path::{Path, PathBuf};

use crate::runner::env::Env;
use crate::runner::host::architecture;

/// Where the action's image has them.
const FOLDER: &str = "/usr/local/libexec/fast-ecr-push";

/// Names another folder.
const VARIABLE: &str = "FAST_ECR_PUSH_STEP";

/// The folder, if it holds a binary for this machine's architecture. A builder elsewhere may have another: then its build fails,
/// and BuildKit pushes.
pub(super) fn find(env: &Env) -> Option<PathBuf> {
    let folder = env.path(VARIABLE).unwrap_or_else(|| Path::new(FOLDER));
    let binary = folder.join(format!("fast-ecr-push-step-{}", architecture()));
    binary.is_file().then(|| folder.to_owned())
}
