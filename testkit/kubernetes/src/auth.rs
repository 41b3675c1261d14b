//! Who calls: the stand-in's static token, or an EKS token made for its cluster.
//!
//! An EKS token is a presigned `GetCallerIdentity`, which only AWS can verify; here its form and its
//! age are checked (<https://github.com/kubernetes-sigs/aws-iam-authenticator>).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub(crate) const TOKEN: &str = "stand-in-token";
/// Whether an `Authorization` header is good; a token of EKS may be so many seconds old.
///
/// # Errors
/// With what is wrong about it.
pub(crate) fn check(header: &str, now: Timestamp, seconds: i64) -> Result<(), String> {
    let token = header.strip_prefix("Bearer ").ok_or("no bearer token")?;
    if token == TOKEN {
        return Ok(());
    }
    let encoded = token
        .strip_prefix("k8s-aws-v1.")
        .ok_or("an unknown token")?;
    let bytes = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|error| format!("token: {error}"))?;
    let url = String::from_utf8(bytes).map_err(|error| format!("token: {error}"))?;
    let (host, query) = url.split_once('?').ok_or("a token without a query")?;
    if !(host.starts_with("https://sts.") && host.ends_with('/')) {
        return Err(format!("a token for `{host}`"));
    }
    let value = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| format!("a token without {name}"))
    };
    for (name, expected) in [
        ("Action", "GetCallerIdentity"),
        ("Version", "2011-06-15"),
        ("X-Amz-Expires", "60"),
        ("X-Amz-SignedHeaders", "host%3Bx-k8s-aws-id"),
    ] {
        if value(name)? != expected {
            return Err(format!("a token with {name}={}", value(name)?));
        }
    }
    value("X-Amz-Signature")?;
    let signed = DateTime::strptime("%Y%m%dT%H%M%SZ", value("X-Amz-Date")?)
        .and_then(|date| TimeZone::UTC.to_timestamp(date))
        .map_err(|error| format!("token: {error}"))?;
    let age = now.duration_since(signed).as_secs();
    if !(-60..seconds).contains(&age) {
        return Err(format!("a token that is {age} s old"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_own_token_and_fresh_eks_tokens() {
        let now: Timestamp = "2026-01-02T03:10:00Z".parse().unwrap();
        let token = |changed: (&str, &str)| {
            let url = "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15\
                &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260102T030405Z&X-Amz-Expires=60\
                &X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=00";
            let url = url.replace(changed.0, changed.1);
            format!("Bearer k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(url))
        };
        assert_eq!(check("Bearer stand-in-token", now, 900), Ok(()));
        assert_eq!(check(&token(("", "")), now, 900), Ok(()));
        for changed in [
            ("20260102T03", "20260102T02"),
            ("host%3B", ""),
            ("https://sts.", "https://evil."),
            ("Expires=60", "Expires=900"),
        ] {
            assert!(check(&token(changed), now, 900).is_err(), "{changed:?}");
        }
        assert!(check("Basic x", now, 900).is_err());
        assert!(check(&token(("", "")), now, 60).is_err());
    }
}
