//! Paths inside an image: any bytes, never absolute, never `.` or `..`.

use std::fmt;

/// A path below the root of an image, without a leading slash. The root itself is empty.
///
/// Ordered by bytes, so that a directory comes before what is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(Box<[u8]>);

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// `path` as an image has it: slashes at the start and `.` dropped, `..` resolved by name alone. None if it leaves the
    /// root or holds a zero byte.
    pub fn resolve(base: &Self, path: &[u8]) -> Option<Self> {
        let mut parts: Vec<&[u8]> = Vec::new();
        if !path.starts_with(b"/") {
            parts.extend(base.components());
        }
        for part in path.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop()?;
                }
                part if part.contains(&0) => return None,
                part => parts.push(part),
            }
        }
        Some(Self(parts.join(&b'/').into()))
    }

    /// `name` in this directory. `name` is one component.
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        if self.0.is_empty() {
            return Self(name.into());
        }
        let mut joined = Vec::with_capacity(self.0.len() + 1 + name.len());
        joined.extend_from_slice(&self.0);
        joined.push(b'/');
        joined.extend_from_slice(name);
        Self(joined.into())
    }

    /// The bytes, components separated by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds this; the root has none.
    pub fn parent(&self) -> Option<Self> {
        self.split().map(|(parent, _)| Self(parent.into()))
    }

    /// Every directory above this one but the root, nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent).take_while(|path| !path.is_root())
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.split().map_or(&[], |(_, name)| name)
    }

    /// The components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty())
    }

    /// What is below `directory`, as a path from there; `None` if this is not below it.
    pub(crate) fn below(&self, directory: &Self) -> Option<&[u8]> {
        if directory.is_root() {
            return Some(&self.0);
        }
        self.0.strip_prefix(&*directory.0)?.strip_prefix(b"/")
    }

    /// Parent and name as slices.
    pub(crate) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => {
                let (parent, rest) = self.0.split_at(slash);
                (parent, rest.get(1..).unwrap_or_default())
            }
            None => (&[], &self.0),
        })
    }
}

impl From<&str> for TreePath {
    /// For literals: `usr/lib`. A path that leaves the root becomes the root.
    fn from(path: &str) -> Self {
        Self::resolve(&Self::root(), path.as_bytes()).unwrap_or_default()
    }
}

/// As messages show it: `/usr/lib`, with escapes for what is not printable.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_names_and_stays_below_the_root() {
        let base = TreePath::from("usr/lib/site-packages");
        for (given, expected) in [
            (
                "numpy/__init__.py",
                Some("usr/lib/site-packages/numpy/__init__.py"),
            ),
            ("../../../bin/f2py", Some("bin/f2py")),
            ("./a//b/.", Some("usr/lib/site-packages/a/b")),
            ("/etc/x", Some("etc/x")),
            ("../../../..", None),
            ("a/../../../../../etc/passwd", None),
            ("/..", None),
            ("a\0b", None),
            ("../../..", Some("")),
        ] {
            assert_eq!(
                TreePath::resolve(&base, given.as_bytes()),
                expected.map(TreePath::from),
                "{given}"
            );
        }
    }

    #[test]
    fn knows_parents_and_names() {
        let path = TreePath::from("a/b/c");
        assert_eq!(path.name(), b"c");
        assert_eq!(path.parent(), Some(TreePath::from("a/b")));
        assert_eq!(
            path.ancestors().collect::<Vec<_>>(),
            ["a/b".into(), "a".into()]
        );
        assert_eq!(path.below(&"a".into()), Some(&b"b/c"[..]));
        assert_eq!(path.below(&"a/b/c".into()), None);
        assert_eq!(TreePath::from("ab/c").below(&"a".into()), None);
        assert_eq!(TreePath::root().parent(), None);
    }

    #[test]
    fn shows_odd_names_in_printable_form() {
        let path = TreePath::resolve(&TreePath::root(), b"caf\xc3\xa9/a\nb\xff").unwrap();
        assert_eq!(path.to_string(), "/café/a\\nb\\xff");
    }
}
