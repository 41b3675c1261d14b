//! Where an upload goes on: the `Location` header, kept to the registry that sent it.
//!
//! Registries send an address or only a path: <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.2>. An upload's
//! requests carry credentials and content, so another host is never followed; neither is another port or scheme.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// Why a `Location` is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    #[error("the answer has no `Location` header")]
    Missing,
    #[error("the `Location` header is no address")]
    Malformed,
    /// The host that the header names.
    #[error(
        "the registry sends the upload on to another host, `{0}`, which must not have the credentials"
    )]
    ElsewhereHost(String),
}

/// The address that `location` means in an answer to a request for `base`.
pub(crate) fn resolve(base: &Uri, location: &[u8]) -> Result<Uri, LocationError> {
    let (scheme, authority) = base
        .scheme()
        .zip(base.authority())
        .ok_or(LocationError::Malformed)?;
    let text = std::str::from_utf8(location).map_err(|_| LocationError::Malformed)?;
    let text = text.trim();
    // A fragment is nothing to a server.
    let text = text.split('#').next().unwrap_or_default();
    if text.is_empty() {
        return Err(LocationError::Malformed);
    }
    let path = if let Some(rest) = text.strip_prefix("//") {
        same(scheme, authority, scheme.as_str(), rest)?
    } else if text.starts_with('/') {
        text.to_owned()
    } else if let Some((given, rest)) = text.split_once("://")
        && !given.contains(['/', '?'])
    {
        same(scheme, authority, given, rest)?
    } else if let Some(query) = text.strip_prefix('?') {
        format!("{}?{query}", base.path())
    } else {
        let (folder, _) = base.path().rsplit_once('/').unwrap_or_default();
        format!("{folder}/{text}")
    };
    let path: PathAndQuery = path.parse().map_err(|_| LocationError::Malformed)?;
    Uri::builder()
        .scheme(scheme.clone())
        .authority(authority.clone())
        .path_and_query(path)
        .build()
        .map_err(|_| LocationError::Malformed)
}

/// The path after `authority`, where that is the registry's own.
fn same(
    scheme: &Scheme,
    authority: &Authority,
    given: &str,
    rest: &str,
) -> Result<String, LocationError> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let other: Authority = host.parse().map_err(|_| LocationError::Malformed)?;
    let is_same = given.eq_ignore_ascii_case(scheme.as_str())
        && !host.contains('@')
        && other.host().eq_ignore_ascii_case(authority.host())
        && port(scheme, &other) == port(scheme, authority);
    if !is_same {
        let (_, host) = host.rsplit_once('@').unwrap_or(("", host));
        return Err(LocationError::ElsewhereHost(host.to_owned()));
    }
    Ok(if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    })
}

/// The port of an authority, the scheme's where it names none.
pub(crate) fn port(scheme: &Scheme, authority: &Authority) -> u16 {
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    authority.port_u16().unwrap_or(usual)
}

/// `address` with one more parameter in its query. Neither may need escapes.
pub(crate) fn with_parameter(address: &Uri, name: &str, value: &str) -> Result<Uri, LocationError> {
    let mark = match address.query() {
        Some("") => "",
        Some(_) => "&",
        None => "?",
    };
    format!("{address}{mark}{name}={value}")
        .parse()
        .map_err(|_| LocationError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "https://registry.example.com/v2/a/blobs/uploads/";

    fn resolved(base: &str, location: &str) -> Result<String, LocationError> {
        let base = base.parse().unwrap();
        resolve(&base, location.as_bytes()).map(|uri| uri.to_string())
    }

    #[test]
    fn follows_every_form_of_its_own_host() {
        for (location, expected) in [
            (
                "/v2/a/blobs/uploads/1?state=x",
                "/v2/a/blobs/uploads/1?state=x",
            ),
            (
                "https://registry.example.com/v2/a/blobs/uploads/1",
                "/v2/a/blobs/uploads/1",
            ),
            ("https://REGISTRY.example.com:443/u", "/u"),
            ("//registry.example.com/u?x", "/u?x"),
            ("https://registry.example.com?state=1", "/?state=1"),
            ("1?state=x%2F", "/v2/a/blobs/uploads/1?state=x%2F"),
            ("?state=a://b", "/v2/a/blobs/uploads/?state=a://b"),
            ("/u?next=http://other/#top", "/u?next=http://other/"),
        ] {
            assert_eq!(
                resolved(BASE, location).as_deref(),
                Ok(format!("https://registry.example.com{expected}").as_str()),
                "{location}"
            );
        }
        assert_eq!(
            resolved("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/u").as_deref(),
            Ok("http://127.0.0.1:5000/u")
        );
    }

    #[test]
    fn refuses_every_other_host_port_and_scheme() {
        for (location, host) in [
            ("https://evil.example.com/u", "evil.example.com"),
            ("//evil.example.com/u", "evil.example.com"),
            ("http://registry.example.com/u", "registry.example.com"),
            (
                "https://registry.example.com:8443/u",
                "registry.example.com:8443",
            ),
            (
                "https://registry.example.com@evil.example.com/u",
                "evil.example.com",
            ),
            ("https://u:p@registry.example.com/u", "registry.example.com"),
            ("ftp://registry.example.com/u", "registry.example.com"),
        ] {
            let error = resolved(BASE, location).unwrap_err();
            assert_eq!(
                error,
                LocationError::ElsewhereHost(host.to_owned()),
                "{location}"
            );
        }
        for location in ["", "   ", "https://", "https://[::1/u", "/a b", "#x"] {
            assert_eq!(
                resolved(BASE, location),
                Err(LocationError::Malformed),
                "{location}"
            );
        }
    }

    #[test]
    fn adds_a_parameter_to_any_query() {
        for (address, expected) in [
            ("https://a/u", "https://a/u?digest=d"),
            ("https://a/u?", "https://a/u?digest=d"),
            ("https://a/u?s=1", "https://a/u?s=1&digest=d"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(with_parameter(&address, "digest", "d").unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_leads_to_another_host(text in "(https?:)?(//)?[a-z@:/.?#\\[\\]]{0,12}(registry\\.example\\.com)?\\PC{0,20}") {
            if let Ok(uri) = resolve(&BASE.parse().unwrap(), text.as_bytes()) {
                prop_assert_eq!(uri.authority().map(Authority::as_str), Some("registry.example.com"));
                prop_assert_eq!(uri.scheme(), Some(&Scheme::HTTPS));
            }
        }
    }
}
