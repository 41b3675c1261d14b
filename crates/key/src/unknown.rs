//! What cannot be known before a build.

/// Why there is no key: the first thing that the result depends on and that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// `ADD` of a file from the network.
    #[error("line {line} adds a file from the network without `--checksum`")]
    Address {
        /// The line of the Dockerfile, from 1.
        line: usize,
    },
    /// `ADD` of a Git repository.
    #[error("line {line} adds a Git repository without `--checksum`")]
    Repository {
        /// The line of the Dockerfile, from 1.
        line: usize,
    },
    /// What a secret holds.
    #[error("line {line} reads the secret `{id}`, whose content no key may have")]
    Secret {
        /// The line of the Dockerfile, from 1.
        line: usize,
        /// The secret's name.
        id: String,
    },
    /// Whatever can be reached with an SSH key.
    #[error("line {line} uses SSH")]
    Ssh {
        /// The line of the Dockerfile, from 1.
        line: usize,
    },
    /// An image's digest.
    #[error("the digest of `{0}` is not known")]
    Image(String),
    /// A named context.
    #[error("the content of the context `{0}` is not known")]
    Context(String),
    /// A stage that has no key. A graph never has one.
    #[error("stage {0} is used before it is built")]
    Stage(usize),
}
