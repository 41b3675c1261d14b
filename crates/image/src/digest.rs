//! The digest that identifies content in registries and BuildKit.

use std::fmt;
use std::str::FromStr;

/// A content digest, `sha256:` and 64 lower-case hexadecimal digits (or sha384, sha512).
/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// The digest of content whose SHA-256 is `hash`.
    pub fn sha256(hash: [u8; 32]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hash {
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(digit.into(), 16));
            }
        }
        Self(text)
    }

    /// The SHA-256; none for another algorithm.
    pub fn hash(&self) -> Option<[u8; 32]> {
        let digits = self.0.strip_prefix("sha256:")?.as_bytes();
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(hash)
    }

    /// `sha256:…`, as registries print it.
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
        let (algorithm, hex) = given.split_once(':').unwrap_or_default();
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return Err(DigestError(given.to_owned())),
        };
        if hex.len() != length || !hex.bytes().all(is_lower_hex) {
            return Err(DigestError(given.to_owned()));
        }
        Ok(Self(given.to_owned()))
    }
}

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest `{0}`, expected `sha256:` and 64 lower-case hexadecimal digits")]
pub struct DigestError(String);

pub(crate) fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_a_hash_as_registries_do() {
        let mut hash = [0; 32];
        (hash[0], hash[31]) = (0x0f, 0xe1);
        let digest = Digest::sha256(hash);
        assert_eq!(
            digest.as_str(),
            format!("sha256:0f{}e1", "00".repeat(30)).as_str()
        );
        assert_eq!(digest.hash(), Some(hash));
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

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
