//! What `NO_PROXY` means: as Go has it, in words that hyper takes.
//!
//! Our clients go by hyper's rules
//! (<https://docs.rs/hyper-util/0.1.21/hyper_util/client/proxy/matcher/struct.Matcher.html>), buildx and kubectl by Go's
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>). Everybody here is to go Go's way.

use std::net::IpAddr;

/// Go asks no proxy for this machine.
pub(crate) const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1";

const EVERYBODY: &str = "*,0.0.0.0/0,::/0";

/// A value of the variable, said so that hyper does what Go would. Said twice it means the same.
pub(crate) fn in_hypers_words(given: &str) -> String {
    let entries = given
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let entries = entries.map(|entry| {
        if entry == "*" {
            // hyper means names by it, and no addresses.
            return EVERYBODY;
        }
        let host = without_port(entry);
        // `*.example.com` would be nobody's name.
        host.strip_prefix('*')
            .filter(|rest| rest.starts_with('.'))
            .unwrap_or(host)
    });
    let mut rules: Vec<&str> = entries.collect();
    rules.push(THIS_MACHINE);
    rules.join(",")
}

/// hyper knows no ports, and would take such an entry for a name.
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
