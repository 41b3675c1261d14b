//! The network of this machine: proxies and certificates.

pub(crate) mod certificates;
pub(crate) mod no_proxy;
pub(crate) mod proxy;

use crate::runner::env::Env;

/// What builders need to reach the same hosts as this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    /// The proxy's variables.
    pub proxy: Vec<proxy::Variable>,
    /// The certificates that the environment names, in PEM form; empty for none.
    pub certificates: String,
    /// Why certificates are not used.
    pub warning: Option<String>,
}

impl Network {
    /// Reads the environment, and the files of certificates that it names.
    pub(crate) fn of(env: &Env) -> Self {
        Self {
            proxy: proxy::variables(env),
            certificates: certificates::named(env),
            warning: certificates::warning(env),
        }
    }
}
