//! Reading tar: every header is read one way only, and what two readers could take differently is refused.
//!
//! The reader is our own because extension headers come from strangers: here they are bounded, their values may be
//! binary, and numbers have a sign.

use std::io::{self, Read};

use crate::error::ArchiveError;

const BLOCK: usize = 512;

/// The longest name or link target, that of a path in Linux.
pub(crate) const NAME_LIMIT: usize = 4096;

/// The most bytes of an extension header. It holds names, and attributes of 64 KiB each at most.
const EXTENSION_LIMIT: u64 = 1024 * 1024;

/// The first size that the octal digits of a header cannot say; below it an extension has no reason to disagree.
const OCTAL_LIMIT: u64 = 1 << 33;

/// The most records of an extension header: an entry has a handful, and each is compared with all others.
const RECORD_LIMIT: usize = 1000;

/// The prefix of extended attributes in PAX records.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// Something that other systems know; it is skipped.
    Unknown,
}

/// An entry, without its content.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) modified: (i64, u32),
    pub(crate) size: u64,
    pub(crate) device: (u32, u32),
    pub(crate) attributes: Records,
}

/// An archive that is read from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Archive<R> {
    reader: R,
    /// Bytes of the content of the current entry that have not been read.
    left: u64,
    /// Bytes behind the content, up to the next block.
    padding: u64,
}

/// Pairs of key and value, in the order of the header.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// What extension headers say about the entry that follows.
#[derive(Debug, Default)]
struct Extensions {
    records: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; what was not read of the one before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(ArchiveError::Header("an extension header without an entry"))
                };
            };
            let size = unsigned(&header[124..136])?;
            match header[156] {
                b'x' => set(&mut extensions.records, records(&self.extension(size)?)?)?,
                b'g' => refuse_global(&records(&self.extension(size)?)?)?,
                b'L' => set(&mut extensions.long_name, text(self.extension(size)?))?,
                b'K' => set(&mut extensions.long_link, text(self.extension(size)?))?,
                _ => {
                    let entry = entry(&header, size, extensions)?;
                    self.expect(entry.size);
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The rest of the content of the current entry.
    pub(crate) fn content(&mut self) -> Content<'_, R> {
        Content { archive: self }
    }

    /// What was given to `new`.
    pub(crate) fn into_inner(self) -> R {
        self.reader
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    fn skip(&mut self) -> Result<(), ArchiveError> {
        io::copy(&mut self.content(), &mut io::sink()).map_err(ArchiveError::Read)?;
        let padding = std::mem::take(&mut self.padding);
        let skipped =
            io::copy(&mut (&mut self.reader).take(padding), &mut io::sink()).map_err(ArchiveError::Read)?;
        if skipped == padding {
            Ok(())
        } else {
            Err(truncated())
        }
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > EXTENSION_LIMIT {
            return Err(ArchiveError::Limit(format!(
                "{EXTENSION_LIMIT} bytes in an extension header"
            )));
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.content()
            .read_to_end(&mut bytes)
            .map_err(ArchiveError::Read)?;
        Ok(bytes)
    }

    /// The next header; `None` at the end, which is two empty blocks or just the end.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let Some(header) = self.block()? else {
            return Ok(None);
        };
        if header.iter().any(|byte| *byte != 0) {
            check_sum(&header)?;
            return Ok(Some(header));
        }
        match self.block()? {
            Some(second) if second.iter().any(|byte| *byte != 0) => {
                Err(ArchiveError::Header("entries behind an empty block"))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(truncated()),
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
        Ok(Some(block))
    }
}

/// Reads the content of an entry; its end before its size is an error.
#[derive(Debug)]
pub(crate) struct Content<'a, R> {
    archive: &'a mut Archive<R>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let archive = &mut *self.archive;
        if archive.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let length = (&mut archive.reader).take(archive.left).read(buffer)?;
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ends within an entry",
            ));
        }
        archive.left -= length as u64;
        Ok(length)
    }
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.records.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

fn truncated() -> ArchiveError {
    ArchiveError::Read(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "it ends within an entry",
    ))
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), ArchiveError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ArchiveError::Header(
            "two extension headers of one kind for one entry",
        )),
    }
}

fn check_sum(header: &[u8; BLOCK]) -> Result<(), ArchiveError> {
    // The sum is made as if its own field were blank.
    let sum = |field: std::ops::Range<usize>| header[field].iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let found = sum(0..148) + 8 * u64::from(b' ') + sum(156..BLOCK);
    if unsigned(&header[148..156])? == found {
        Ok(())
    } else {
        Err(ArchiveError::Header(
            "not a tar archive, or a damaged one: a header's checksum is wrong",
        ))
    }
}

fn entry(header: &[u8; BLOCK], size: u64, extensions: Extensions) -> Result<Entry, ArchiveError> {
    let records = extensions.records.unwrap_or_default();
    let record = |name: &str| {
        records
            .iter()
            .find(|(key, _)| key == name.as_bytes())
            .map(|(_, value)| value)
    };
    if records.iter().any(|(key, _)| key.starts_with(b"GNU.sparse.")) || header[156] == b'S' {
        return Err(ArchiveError::Header("sparse files are not supported yet"));
    }
    let path = name(record("path"), extensions.long_name, header_path(header))?;
    let link = name(
        record("linkpath"),
        extensions.long_link,
        text(header[157..257].to_vec()),
    )?;
    let kind = kind(header[156], &path);
    let size = match record("size") {
        Some(value) => {
            let told = decimal(value)?;
            if i64::try_from(told).is_err() {
                return Err(BAD_RECORD);
            }
            if told != size && size != 0 && told < OCTAL_LIMIT {
                return Err(ArchiveError::Header("two sizes for one entry"));
            }
            told
        }
        None => size,
    };
    if size != 0 && !matches!(kind, Kind::File | Kind::Unknown) {
        return Err(ArchiveError::Header("content for an entry that is not a file"));
    }
    let id = |name: &str, field: &[u8]| -> Result<u32, ArchiveError> {
        let value = record(name).map_or_else(|| unsigned(field), |value| decimal(value))?;
        u32::try_from(value)
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or(ArchiveError::Header("a user or group number that does not fit"))
    };
    let number = |field: &[u8]| -> Result<u32, ArchiveError> {
        u32::try_from(unsigned(field)?).map_err(|_| ArchiveError::Header("a number that does not fit"))
    };
    let is_device = matches!(kind, Kind::CharacterDevice | Kind::BlockDevice);
    Ok(Entry {
        kind,
        mode: number(&header[100..108])? & 0o7777,
        uid: id("uid", &header[108..116])?,
        gid: id("gid", &header[116..124])?,
        modified: match record("mtime") {
            Some(value) => time(value)?,
            None => (signed(&header[136..148])?, 0),
        },
        size,
        device: if is_device {
            (number(&header[329..337])?, number(&header[337..345])?)
        } else {
            (0, 0)
        },
        attributes: records
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(ATTRIBUTE)?.to_vec(), value.clone())))
            .collect(),
        path,
        link,
    })
}

/// One name out of the three places where it can stand; two extensions must agree.
fn name(record: Option<&Vec<u8>>, long: Option<Vec<u8>>, short: Vec<u8>) -> Result<Vec<u8>, ArchiveError> {
    let name = match (record, long) {
        (Some(record), Some(long)) if *record != long => {
            return Err(ArchiveError::Header("two names for one entry"));
        }
        (Some(record), _) => record.clone(),
        (None, Some(long)) => long,
        (None, None) => short,
    };
    if name.len() > NAME_LIMIT {
        return Err(ArchiveError::Limit(format!("{NAME_LIMIT} bytes in a name")));
    }
    if name.contains(&0) {
        return Err(ArchiveError::Header("a zero byte in a name"));
    }
    Ok(name)
}

fn header_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(header[0..100].to_vec());
    let prefix = match (&header[257..263], &header[508..512]) {
        (b"ustar\0", b"tar\0") => &header[345..476],
        (b"ustar\0", _) => &header[345..500],
        _ => &[],
    };
    let mut path = text(prefix.to_vec());
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(&name);
    path
}

/// What is in front of the first zero byte.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

fn kind(flag: u8, path: &[u8]) -> Kind {
    match flag {
        // Before there was a flag for directories, a slash said so.
        b'0' | b'\0' | b'7' if path.ends_with(b"/") => Kind::Directory,
        b'0' | b'\0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharacterDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        _ => Kind::Unknown,
    }
}

const BAD_NUMBER: ArchiveError = ArchiveError::Header("a number that is none, in a header");

fn unsigned(field: &[u8]) -> Result<u64, ArchiveError> {
    u64::try_from(signed(field)?).map_err(|_| ArchiveError::Header("a negative number in a header"))
}

/// A number is octal digits, or binary with the top bit of its first byte set.
fn signed(field: &[u8]) -> Result<i64, ArchiveError> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let first = if negative { field[0] } else { field[0] & 0x7f };
        let rest = field[1..]
            .iter()
            .fold(i128::from(first.cast_signed()), |value, byte| {
                value.saturating_mul(256).saturating_add(i128::from(*byte))
            });
        return i64::try_from(rest).map_err(|_| BAD_NUMBER);
    }
    let is_blank = |byte: &u8| matches!(*byte, b' ' | 0);
    let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(is_blank) {
        return Err(BAD_NUMBER);
    }
    digits[..end].iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value
            .checked_mul(8)
            .and_then(|value| value.checked_add(i64::from(digit - b'0')))
            .ok_or(BAD_NUMBER),
        _ => Err(BAD_NUMBER),
    })
}

const BAD_RECORD: ArchiveError = ArchiveError::Header("a damaged extension header");

fn decimal(value: &[u8]) -> Result<u64, ArchiveError> {
    let valid = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value).map_err(|_| BAD_RECORD)?;
    valid.then(|| text.parse().ok()).flatten().ok_or(BAD_RECORD)
}

/// Seconds since 1970 with an optional sign and fraction.
fn time(value: &[u8]) -> Result<(i64, u32), ArchiveError> {
    /// Digits of a fraction that count.
    const DIGITS: usize = 9;
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &[][..]),
    };
    let (negative, whole) = match whole.strip_prefix(b"-") {
        Some(whole) => (true, whole),
        None => (false, whole),
    };
    let seconds = i64::try_from(decimal(whole)?).map_err(|_| BAD_RECORD)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(BAD_RECORD);
    }
    let nanos = fraction
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(DIGITS)
        .fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    Ok(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

/// PAX records: `LENGTH KEY=VALUE\n`, where the length counts all of it.
fn records(mut bytes: &[u8]) -> Result<Records, ArchiveError> {
    let mut found = Records::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or(BAD_RECORD)?;
        let length = usize::try_from(decimal(&bytes[..space])?).map_err(|_| BAD_RECORD)?;
        let record = bytes.get(space + 1..length).ok_or(BAD_RECORD)?;
        let record = record.strip_suffix(b"\n").ok_or(BAD_RECORD)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD_RECORD)?;
        let (key, value) = (record[..equals].to_vec(), record[equals + 1..].to_vec());
        match found.iter().find(|(other, _)| *other == key) {
            Some((_, other)) if *other != value => {
                return Err(ArchiveError::Header("two extension records that disagree"));
            }
            Some(_) => {}
            None if found.len() == RECORD_LIMIT => {
                return Err(ArchiveError::Limit(format!(
                    "{RECORD_LIMIT} records in an extension header"
                )));
            }
            None => found.push((key, value)),
        }
        bytes = &bytes[length..];
    }
    // An empty value takes a record back; attributes may well be empty.
    found.retain(|(key, value)| !value.is_empty() || key.starts_with(ATTRIBUTE));
    Ok(found)
}

/// Some readers apply global records to entries and some do not: those that matter are refused.
fn refuse_global(records: &[(Vec<u8>, Vec<u8>)]) -> Result<(), ArchiveError> {
    let matters = |key: &[u8]| {
        matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid") || key.starts_with(b"GNU.")
    };
    if records.iter().any(|(key, _)| matters(key)) {
        return Err(ArchiveError::Header(
            "a global extension header that changes entries",
        ));
    }
    Ok(())
}
