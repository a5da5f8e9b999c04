//! The json-file log: output as one JSON object for each line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longer lines are cut in pieces of at most this, in bytes, as Docker does.
const MAX_LINE: usize = 16 * 1024;

/// A character of UTF-8 has at most this many bytes after its first.
const MAX_CONTINUATION: usize = 3;

const SECONDS_PER_DAY: u64 = 86_400;

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub(crate) const BOTH: [Self; 2] = [Self::Stdout, Self::Stderr];

    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// Its number in frames.
    fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

/// The frame that attached clients get: its header.
pub(crate) fn frame_header(stream: Stream, length: u32) -> [u8; 8] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream.number(), 0, 0, 0, a, b, c, d]
}

/// One output, cut into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    stream: Stream,
    /// The beginning of a line, less than [`MAX_LINE`].
    partial: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            partial: Vec::new(),
        }
    }

    /// Takes output and appends the records of what is complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8], time: &str, out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.partial.len();
            let (piece, complete) = match bytes.iter().take(room).position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (room.min(bytes.len()), bytes.len() >= room),
            };
            let (piece, rest) = bytes.split_at(piece);
            bytes = rest;
            self.partial.extend_from_slice(piece);
            if complete {
                // A character that is cut in two would be lost.
                let left = self.partial.split_off(boundary(&self.partial));
                self.record(time, out);
                self.partial = left;
            }
        }
    }

    /// Appends the record of what is left when the output ends.
    pub(crate) fn finish(&mut self, time: &str, out: &mut Vec<u8>) {
        if !self.partial.is_empty() {
            self.record(time, out);
        }
    }

    fn record(&mut self, time: &str, out: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(&self.partial);
        out.extend_from_slice(b"{\"log\":");
        // Texts can always be written to memory.
        drop(serde_json::to_writer(&mut *out, text.as_ref()));
        out.extend_from_slice(b",\"stream\":\"");
        out.extend_from_slice(self.stream.name().as_bytes());
        out.extend_from_slice(b"\",\"time\":\"");
        out.extend_from_slice(time.as_bytes());
        out.extend_from_slice(b"\"}\n");
        self.partial.clear();
    }
}

/// Where a cut does not go through a character; the whole length for what is no UTF-8 anyway.
fn boundary(bytes: &[u8]) -> usize {
    let tail = bytes.iter().rev().take(MAX_CONTINUATION + 1);
    for (back, byte) in tail.enumerate() {
        let wanted = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return bytes.len(),
        };
        return if back + 1 < wanted {
            bytes.len() - back - 1
        } else {
            bytes.len()
        };
    }
    bytes.len()
}

/// Nanoseconds since 1970; what is earlier counts as 1970.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The point in time so many nanoseconds after 1970.
pub(crate) fn from_nanos(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// RFC 3339 in UTC, with as many digits of the second as it takes.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
    let (year, month, day) = date(seconds / SECONDS_PER_DAY);
    let of_day = seconds % SECONDS_PER_DAY;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos > 0 {
        text.push_str(format!(".{nanos:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Year, month and day of a day since 1970. Years begin in March here, so that leap days are at their ends.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    // From the first of March of the year 0.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year, month + 3)
    } else {
        (year + 1, month - 9)
    };
    (year + era * 400, month, of_month)
}

#[cfg(test)]
mod tests;
