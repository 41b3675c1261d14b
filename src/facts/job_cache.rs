//! Caches that earlier steps of the same job have left.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::runner::env::Env;
use crate::runner::folder;

/// The job's folder, and the caches in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobCaches {
    pub folder: PathBuf,
    pub names: BTreeSet<String>,
}

/// Looks for them; none outside of a job.
pub(super) fn find(env: &Env) -> Option<JobCaches> {
    let folder = folder::of_job(env)?;
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let complete = entries.filter(|entry| entry.path().join("index.json").is_file());
    let names = complete.filter_map(|entry| entry.file_name().into_string().ok());
    Some(JobCaches {
        names: names.collect(),
        folder,
    })
}
