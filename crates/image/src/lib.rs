//! Image references, digests, registries and tag rules: text in, typed values out, and back.

mod digest;
mod mutability;
mod reference;
mod registry;

pub use digest::Digest;
pub use mutability::Mutability;
pub use reference::{ImageRef, ImageRefError, is_host, is_tag};
pub use registry::{EcrRegistry, Partition, Registry};

/// Whether a registry's host is a loopback address. A container's loopback is not the Engine's.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse()
            .is_ok_and(|address: core::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_all_its_spellings() {
        for host in [
            "localhost",
            "localhost:5000",
            "registry.localhost:80",
            "127.0.0.1:5000",
            "127.1.2.3",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example.com",
            "10.0.0.1:5000",
            "registry:5000",
            "[::2]",
            "127.example.com",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
