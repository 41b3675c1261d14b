//! SHA-256 over fields that have names and lengths.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The version of what is hashed and how. Another version has other keys.
pub const FORMAT: u64 = 1;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub(crate) [u8; 32]);

impl Hash {
    /// The hash of bytes alone.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first eight hexadecimal digits: they show whether something changed, and say no more than that.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }

    /// A value, hashed with this hash as the key: values cannot be tried without it.
    pub(crate) fn keyed(&self, name: &str, value: &str) -> Self {
        // A key of any length does.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return *self;
        };
        for text in [name, value] {
            mac.update(&(text.len() as u64).to_be_bytes());
            mac.update(text.as_bytes());
        }
        Self(mac.finalize().into_bytes().into())
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.short())
    }
}

/// Fields that become one hash. Each has its name and its length.
#[derive(Clone, Debug)]
pub struct Fields(Sha256);

impl Fields {
    /// Fields of one kind of thing: things of two kinds never have the same hash.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        Self(Sha256::new())
            .text("fast-ecr-push", kind)
            .number("format", FORMAT)
    }

    /// Adds a field.
    #[must_use]
    pub fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        for part in [name.as_bytes(), value] {
            self.0.update((part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        self.bytes(name, value.as_bytes())
    }

    /// Adds a field.
    #[must_use]
    pub fn number(self, name: &str, value: u64) -> Self {
        self.bytes(name, &value.to_be_bytes())
    }

    /// Adds a field.
    #[must_use]
    pub fn hash(self, name: &str, value: &Hash) -> Self {
        self.bytes(name, &value.0)
    }

    /// Adds a list: first its length, then its items.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(self, name: &str, items: &[T]) -> Self {
        let list = self.number(name, items.len() as u64);
        items
            .iter()
            .fold(list, |list, item| list.bytes("item", item.as_ref()))
    }

    /// The hash of all fields.
    #[must_use]
    pub fn end(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(fields: &[(String, Vec<u8>)]) -> Hash {
        let start = Fields::of("test");
        fields
            .iter()
            .fold(start, |all, (name, value)| all.bytes(name, value))
            .end()
    }

    #[test]
    fn a_hash_is_what_everyone_calls_sha_256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Hash::of(b"").to_string(), empty);
        assert_eq!(Hash::of(b"").short(), "e3b0c442");
    }

    #[test]
    fn a_keyed_value_needs_the_key() {
        let (one, other) = (Hash::of(b"1"), Hash::of(b"2"));
        assert_eq!(one.keyed("A", "b"), one.keyed("A", "b"));
        assert_ne!(one.keyed("A", "b"), other.keyed("A", "b"));
        assert_ne!(one.keyed("A", "b"), one.keyed("Ab", ""));
        assert_ne!(one.keyed("A", "b"), one.keyed("A", "c"));
    }

    #[test]
    fn a_list_has_its_length() {
        let list = |items: &[&str]| Fields::of("test").list("list", items);
        assert_ne!(
            list(&["a"]).text("item", "b").end(),
            list(&["a", "b"]).end()
        );
        assert_ne!(list(&[]).end(), list(&[""]).end());
    }

    proptest! {
        #[test]
        fn other_fields_have_another_hash(
            one in prop::collection::vec(("[a-c]{0,2}", prop::collection::vec(0_u8..3, 0..3)), 0..3),
            other in prop::collection::vec(("[a-c]{0,2}", prop::collection::vec(0_u8..3, 0..3)), 0..3),
        ) {
            prop_assert_eq!(one == other, hash(&one) == hash(&other));
        }
    }
}
