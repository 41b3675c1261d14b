//! The digest by which registries and BuildKit name content.

use std::fmt;
use std::str::FromStr;

/// A content digest, `sha256:` and 64 lower-case hexadecimal digits (or sha384, sha512).
/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// `sha256:…`, as registries print it.
    #[cfg(test)]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let digits = match given.split_once(':') {
            Some(("sha256", hex)) => Some((hex, 64)),
            Some(("sha384", hex)) => Some((hex, 96)),
            Some(("sha512", hex)) => Some((hex, 128)),
            _ => None,
        };
        match digits {
            Some((hex, length)) if hex.len() == length && hex.bytes().all(is_lower_hex) => {
                Ok(Self(given.to_owned()))
            }
            _ => Err(DigestError {
                given: given.to_owned(),
            }),
        }
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest `{given}`, expected `sha256:` and 64 lower-case hexadecimal digits")]
pub struct DigestError {
    given: String,
}

/// One digit of a digest or an image's id.
pub(crate) fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_whole_digests_of_known_algorithms() {
        let hex = "0123456789abcdef".repeat(8);
        for (algorithm, length) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
            let text = format!("{algorithm}:{}", hex.split_at(length).0);
            let digest: Digest = text.parse().unwrap();
            assert_eq!(
                (digest.as_str(), digest.to_string()),
                (text.as_str(), text.clone())
            );
            for wrong in [
                format!("{text}0"),
                text.split_at(text.len() - 1).0.to_owned(),
                text.to_uppercase(),
                text.replace('f', "F"),
                text.replace('a', "g"),
                format!(" {text}"),
            ] {
                assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
            }
        }
        let error = "md5:d41d8cd98f00b204e9800998ecf8427e"
            .parse::<Digest>()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "digest `md5:d41d8cd98f00b204e9800998ecf8427e`, expected `sha256:` and 64 lower-case hexadecimal digits"
        );
    }
}
