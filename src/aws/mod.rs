//! Access to AWS: credentials, and tokens for Amazon ECR and Amazon EKS.

#[cfg(test)]
#[path = "../../tests/any_bytes/aws.rs"]
pub(crate) mod any_bytes;
pub(crate) mod ecr;
pub(crate) mod eks;
pub(crate) mod error;
mod oidc;
mod proxy;
mod refusal;
mod role;
mod run_files;
mod secret_text;
mod session;
pub(crate) mod settings;

pub(crate) use error::SessionError;
pub(crate) use refusal::{Refusal, UNREACHABLE, error_chain};
pub(crate) use run_files::TOKENS_VARIABLE;
pub(crate) use session::{Mask, Session};
pub(crate) use settings::Settings;
