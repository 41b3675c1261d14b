//! Repositories of Amazon ECR.

pub(crate) mod lifecycle;
