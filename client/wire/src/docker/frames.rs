//! The framing of container output on one connection: eight bytes of header, then the payload.

use std::fmt;

/// Largest payload a decoder accepts. Docker's daemon never writes frames near this; a larger one is a broken stream.
pub const MAX_FRAME_PAYLOAD: usize = 16 * 1024 * 1024;

const HEADER: usize = 8;

/// Where a frame's bytes were written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard input (unused on the wire).
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A message of the daemon itself.
    System,
}

impl Stream {
    /// The first byte of a frame.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::System => 3,
        }
    }

    /// The stream of a first byte.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Stdin),
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            3 => Some(Self::System),
            _ => None,
        }
    }
}

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it was written to.
    pub stream: Stream,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// Why a stream of frames cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// The header names no known stream.
    UnknownStream(u8),
    /// The header announces more than [`MAX_FRAME_PAYLOAD`].
    TooLong(usize),
    /// The stream ended inside a frame.
    Truncated,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownStream(code) => write!(f, "unknown stream {code} in a frame header"),
            Self::TooLong(length) => write!(f, "a frame of {length} bytes is over the limit"),
            Self::Truncated => write!(f, "the stream ended inside a frame"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The header of a frame. The length is cut to 32 bits; callers send pieces far below that.
#[must_use]
pub fn frame_header(stream: Stream, length: usize) -> [u8; HEADER] {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [stream.code(), 0, 0, 0, length[0], length[1], length[2], length[3]]
}

/// Appends one frame to `out`.
pub fn encode_frame(stream: Stream, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&frame_header(stream, payload.len()));
    out.extend_from_slice(payload);
}

/// Cuts received bytes into frames, whatever pieces they come in.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    read: usize,
}

impl FrameDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// A header that no daemon writes; the stream cannot be read on then.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &self.buffer[self.read..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let stream = Stream::from_code(header[0]).ok_or(FrameError::UnknownStream(header[0]))?;
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if length > MAX_FRAME_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.read += HEADER + length;
        Ok(Some(Frame { stream, payload }))
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.read == self.buffer.len() {
            Ok(())
        } else {
            Err(FrameError::Truncated)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = Vec::new();
        encode_frame(Stream::Stdout, b"hello\n", &mut bytes);
        encode_frame(Stream::Stderr, b"", &mut bytes);
        encode_frame(Stream::Stderr, b"oops", &mut bytes);
        for cut in 0..=bytes.len() {
            let mut decoder = FrameDecoder::new();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().expect("a frame") {
                    seen.push((frame.stream, frame.payload));
                }
            }
            assert_eq!(decoder.finish(), Ok(()));
            let wanted = [
                (Stream::Stdout, &b"hello\n"[..]),
                (Stream::Stderr, b""),
                (Stream::Stderr, b"oops"),
            ];
            assert_eq!(seen.len(), wanted.len());
            for ((stream, payload), (wanted_stream, wanted_payload)) in seen.iter().zip(wanted) {
                assert_eq!((*stream, payload.as_slice()), (wanted_stream, wanted_payload));
            }
        }
    }

    #[test]
    fn broken_headers_are_refused() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&[9, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownStream(9)));
        let mut decoder = FrameDecoder::new();
        decoder.push(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(0xffff_ffff)));
        let mut decoder = FrameDecoder::new();
        decoder.push(&[1, 0]);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(decoder.finish(), Err(FrameError::Truncated));
    }
}
