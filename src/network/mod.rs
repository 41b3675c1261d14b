//! How this machine and its builders reach others: proxies and certificates.

pub(crate) mod certificates;
pub(crate) mod no_proxy;
pub(crate) mod proxy;
