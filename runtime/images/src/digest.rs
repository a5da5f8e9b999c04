//! SHA-256: of what has been read, and as text.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// The text form of a digest: `sha256:` and 64 digits.
pub(crate) fn of(bytes: &[u8]) -> String {
    text(Sha256::digest(bytes).as_slice())
}

fn text(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity("sha256:".len() + 2 * digest.len());
    text.push_str("sha256:");
    for byte in digest {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
    }
    text
}

/// A hash that takes parts, none of which can run into the next.
#[derive(Debug, Default)]
pub(crate) struct Parts(Sha256);

impl Parts {
    /// Adds a part with its length.
    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0.update(part.len().to_be_bytes());
        self.0.update(part);
    }

    /// The digest of all parts.
    pub(crate) fn finish(self) -> String {
        text(self.0.finalize().as_slice())
    }
}

/// Hashes what is read through it, and ends with an error when that is more than allowed.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    inner: R,
    hash: Sha256,
    left: u64,
    limit: u64,
}

impl<R: Read> Reader<R> {
    /// A reader that gives at most `limit` bytes.
    pub(crate) fn new(inner: R, limit: u64) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            left: limit,
            limit,
        }
    }

    /// The digest of what has been read.
    pub(crate) fn finish(self) -> String {
        text(self.hash.finalize().as_slice())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        match self.left.checked_sub(length.try_into().unwrap_or(u64::MAX)) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(format!("more than {} bytes", self.limit))),
        }
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{Reader, of};

    #[test]
    fn the_digest_is_that_of_what_was_read() {
        let mut reader = Reader::new(&b"abc"[..], 3);
        reader.read_to_end(&mut Vec::new()).unwrap();
        let digest = reader.finish();
        assert_eq!(digest, of(b"abc"));
        assert_eq!(
            digest,
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn the_limit_holds() {
        let mut reader = Reader::new(&b"abcd"[..], 3);
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "more than 3 bytes");
    }
}
