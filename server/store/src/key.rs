//! Keys: canonical absolute paths of bytes, cheap to clone.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

/// The longest key. Every implied parent is a key too, so this and [`MAX_DEPTH`] bound what one write can make.
pub const MAX_KEY_BYTES: usize = 8 << 10;

/// The most components of a key: bounds the recursion of a read and the parents that one write makes.
pub const MAX_DEPTH: usize = 128;

/// The bytes of a file.
pub type Value = Arc<[u8]>;

/// An absolute path without empty, `.` or `..` components and without a slash at the end; the root is `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<[u8]>);

/// Why bytes cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("key of {bytes} bytes is longer than {MAX_KEY_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// More components than [`MAX_DEPTH`].
    #[error("key has {components} components, more than {MAX_DEPTH}")]
    TooDeep {
        /// Their number.
        components: usize,
    },
    /// Not in the form that [`Key::parse`] gives.
    #[error("key is not a canonical path")]
    NotCanonical,
}

impl Key {
    /// The key that a path means: a slash is put in front, then it is cleaned as by Go's `path.Clean`.
    pub fn parse(path: impl AsRef<[u8]>) -> Result<Key, KeyError> {
        let path = path.as_ref();
        if path.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes: path.len() });
        }
        // Most paths are clean already.
        if let Some((b'/', names)) = path.split_first() {
            let mut components = 0;
            let mut names = names.split(|byte| *byte == b'/').inspect(|_| components += 1);
            if names.all(|name| !matches!(name, b"" | b"." | b"..")) {
                return if components > MAX_DEPTH {
                    Err(KeyError::TooDeep { components })
                } else {
                    Ok(Key(path.into()))
                };
            }
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        if parts.len() > MAX_DEPTH {
            return Err(KeyError::TooDeep {
                components: parts.len(),
            });
        }
        if parts.is_empty() {
            return Ok(Key::root());
        }
        let mut bytes = Vec::with_capacity(path.len() + 1);
        for part in parts {
            bytes.push(b'/');
            bytes.extend_from_slice(part);
        }
        Ok(Key(bytes.into()))
    }

    /// A key from bytes that must already be canonical. The limits have room for the name that a create in order
    /// appends.
    pub(crate) fn canonical(bytes: &[u8]) -> Result<Key, KeyError> {
        if bytes == b"/" {
            return Ok(Key::root());
        }
        if bytes.len() > MAX_KEY_BYTES + IN_ORDER_BYTES {
            return Err(KeyError::TooLong { bytes: bytes.len() });
        }
        let Some((b'/', names)) = bytes.split_first() else {
            return Err(KeyError::NotCanonical);
        };
        let mut components = 0;
        for name in names.split(|byte| *byte == b'/') {
            components += 1;
            if matches!(name, b"" | b"." | b"..") {
                return Err(KeyError::NotCanonical);
            }
        }
        if components > MAX_DEPTH + 1 {
            return Err(KeyError::TooDeep { components });
        }
        Ok(Key(bytes.into()))
    }

    /// `/`.
    pub fn root() -> Key {
        Key(Arc::from(&b"/"[..]))
    }

    /// Whether it is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The whole path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// Whether `other` lies strictly below this key.
    pub fn is_above(&self, other: &Key) -> bool {
        if self.is_root() {
            return !other.is_root();
        }
        other.0.get(self.0.len()) == Some(&b'/') && other.0.starts_with(&self.0)
    }

    /// The first `length` bytes as a key; the caller cuts at a slash.
    pub(crate) fn prefix(&self, length: usize) -> Key {
        Key(Arc::from(&self.0[..length]))
    }

    /// The key for an in-order child that the write with this index makes.
    pub(crate) fn in_order_child(&self, index: u64) -> Key {
        let parent = if self.is_root() { &[] } else { self.as_bytes() };
        let mut bytes = Vec::with_capacity(parent.len() + IN_ORDER_BYTES);
        bytes.extend_from_slice(parent);
        bytes.extend_from_slice(format!("/{index:020}").as_bytes());
        Key(bytes.into())
    }

    /// Where each proper ancestor below the root ends, longest first.
    pub(crate) fn ancestor_ends(&self) -> impl Iterator<Item = usize> + '_ {
        self.0
            .iter()
            .enumerate()
            .skip(1)
            .rev()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at)
    }

    /// Where the component after the first `end` bytes ends (`end` is 0 or at a slash).
    pub(crate) fn next_end(&self, end: usize) -> usize {
        let rest = &self.0[end + 1..];
        rest.iter()
            .position(|byte| *byte == b'/')
            .map_or(self.0.len(), |at| end + 1 + at)
    }
}

/// A slash and twenty digits.
const IN_ORDER_BYTES: usize = 21;

/// The half-open range of bytes in which exactly the keys below `parent` lie.
pub(crate) fn below(parent: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let parent = if parent == b"/" { &[] } else { parent };
    let mut from = Vec::with_capacity(parent.len() + 1);
    from.extend_from_slice(parent);
    let mut to = from.clone();
    from.push(b'/');
    to.push(b'/' + 1);
    (from, to)
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes as text. As in etcd, each byte that is no UTF-8 becomes one U+FFFD.
pub(crate) fn readable(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&readable(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, KeyError, MAX_DEPTH, MAX_KEY_BYTES};

    #[test]
    fn paths_are_cleaned() {
        for (path, key) in [
            ("", "/"),
            ("/", "/"),
            ("a", "/a"),
            ("//a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", "/"),
            ("/a/..", "/"),
            ("/...", "/..."),
        ] {
            let parsed = Key::parse(path).unwrap();
            assert_eq!(parsed.to_string(), key, "{path}");
            assert_eq!(Key::canonical(parsed.as_bytes()), Ok(parsed));
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        for path in ["", "a", "/a/", "//", "/a//b", "/.", "/a/../b"] {
            assert_eq!(
                Key::canonical(path.as_bytes()),
                Err(KeyError::NotCanonical),
                "{path}"
            );
        }
    }

    #[test]
    fn limits() {
        assert!(Key::parse("/a".repeat(MAX_DEPTH)).is_ok());
        let deep = Key::parse("/a".repeat(MAX_DEPTH + 1));
        assert_eq!(
            deep,
            Err(KeyError::TooDeep {
                components: MAX_DEPTH + 1
            })
        );
        let long = Key::parse("a".repeat(MAX_KEY_BYTES + 1));
        assert_eq!(
            long,
            Err(KeyError::TooLong {
                bytes: MAX_KEY_BYTES + 1
            })
        );
    }

    #[test]
    fn above_is_by_component() {
        let above = |a: &str, b: &str| Key::parse(a).unwrap().is_above(&Key::parse(b).unwrap());
        assert!(above("/", "/a") && above("/a", "/a/b") && above("/a", "/a/b/c"));
        assert!(!above("/a", "/ab") && !above("/a", "/a") && !above("/", "/") && !above("/a/b", "/a"));
    }

    #[test]
    fn ends_of_components() {
        let key = Key::parse("/ab/c/def").unwrap();
        assert_eq!(key.ancestor_ends().collect::<Vec<_>>(), [5, 3]);
        assert_eq!([0, 3, 5].map(|end| key.next_end(end)), [3, 5, 9]);
        assert_eq!(key.name(), b"def");
        assert_eq!(
            key.in_order_child(7).to_string(),
            "/ab/c/def/00000000000000000007"
        );
    }
}
