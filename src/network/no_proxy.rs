//! `NO_PROXY` with Go's meaning, translated for hyper.
//!
//! Our clients use hyper's rules
//! (<https://docs.rs/hyper-util/0.1.21/hyper_util/client/proxy/matcher/struct.Matcher.html>), buildx and kubectl Go's
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>).

use std::net::IpAddr;

/// Go uses no proxy for this machine.
pub(crate) const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1";

const EVERY_HOST: &str = "*,0.0.0.0/0,::/0";

/// The variable's value for hyper. A translated value stays the same.
pub(crate) fn for_hyper(given: &str) -> String {
    let entries = given.split(',').map(str::trim);
    let entries = entries.filter(|entry| !entry.is_empty()).map(|entry| {
        // In hyper it matches names, but not addresses.
        if entry == "*" {
            return EVERY_HOST;
        }
        let host = without_port(entry);
        // hyper does not know `*.example.com`.
        let parent = host.strip_prefix('*').filter(|rest| rest.starts_with('.'));
        parent.unwrap_or(host)
    });
    entries.chain([THIS_MACHINE]).collect::<Vec<_>>().join(",")
}

/// hyper does not know ports: it would read such an entry as a name.
fn without_port(entry: &str) -> &str {
    if entry.parse::<IpAddr>().is_ok() {
        return entry;
    }
    match entry.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host.trim_start_matches('[').trim_end_matches(']')
        }
        _ => entry,
    }
}
