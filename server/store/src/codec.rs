//! The byte forms that commands and snapshots share: numbers of variable length and byte strings with their length.

use crate::key::{Key, KeyError};

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// They end within a field.
    #[error("the bytes end too early")]
    Truncated,
    /// They go on after the last field.
    #[error("{bytes} bytes too many")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// More than is accepted.
    #[error("{bytes} bytes are more than {limit}")]
    TooLarge {
        /// How many.
        bytes: usize,
        /// How many are accepted.
        limit: usize,
    },
    /// Written by another, probably newer, version.
    #[error("unknown format version {version}")]
    Version {
        /// The one found.
        version: u64,
    },
    /// No known kind of record.
    #[error("unknown tag {tag}")]
    Tag {
        /// The one found.
        tag: u8,
    },
    /// Flag bits that mean nothing.
    #[error("unknown flags {flags:#x}")]
    Flags {
        /// The byte found.
        flags: u8,
    },
    /// A number of more than 64 bits.
    #[error("number out of range")]
    Number,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// Not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Writer {
        Writer(Vec::with_capacity(bytes))
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, lowest first; the top bit says that more follow.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.0.split_first().ok_or(CodecError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, CodecError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(CodecError::Number)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let length = usize::try_from(self.number()?).map_err(|_| CodecError::Number)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CodecError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn key(&mut self) -> Result<Key, CodecError> {
        Ok(Key::canonical(self.bytes()?)?)
    }

    /// A byte with no bits but the known ones.
    pub(crate) fn flags(&mut self, known: u8) -> Result<u8, CodecError> {
        let flags = self.byte()?;
        if flags & !known != 0 {
            return Err(CodecError::Flags { flags });
        }
        Ok(flags)
    }

    pub(crate) fn end(&self) -> Result<(), CodecError> {
        match self.0.len() {
            0 => Ok(()),
            bytes => Err(CodecError::Trailing { bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CodecError, Reader, Writer};

    #[test]
    fn numbers() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::MAX >> 1, u64::MAX] {
            let mut out = Writer::default();
            out.number(number);
            let bytes = out.finish();
            let mut from = Reader::new(&bytes);
            assert_eq!(from.number(), Ok(number));
            assert_eq!(from.end(), Ok(()));
        }
        assert_eq!(Reader::new(&[0xff; 10]).number(), Err(CodecError::Number));
        assert_eq!(Reader::new(&[0x80]).number(), Err(CodecError::Truncated));
    }
}
