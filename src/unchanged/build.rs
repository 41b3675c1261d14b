//! A build, as the plan has it.

use std::collections::BTreeMap;

use crate::plan::{ImagePlan, Look};

/// What is known of a build before anything is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Build<'a> {
    pub image: &'a ImagePlan,
    pub look: &'a Look,
    /// Build arguments with their values.
    pub arguments: &'a BTreeMap<String, String>,
}
