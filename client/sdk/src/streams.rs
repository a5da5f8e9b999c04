//! Answers that go on: frames of container output, JSON lines, and the raw stream of an attach.

use std::io;
use std::pin::Pin;

use berth_wire::docker::{Frame, FrameDecoder, Stream};
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWrite, ReadHalf, WriteHalf};

/// What is read at a time from an attached stream.
const READ_SIZE: usize = 32 * 1024;

/// Longest line of a JSON stream; a longer one is a broken stream.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

/// The pieces of an answer's body.
#[derive(Debug)]
struct Pieces {
    body: Incoming,
}

impl Pieces {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(io::Error::other(error)),
                // Trailers carry nothing here.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// A tar archive that is coming in.
#[derive(Debug)]
pub struct ArchiveStream {
    pieces: Pieces,
}

impl ArchiveStream {
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        Self {
            pieces: Pieces {
                body: response.into_body(),
            },
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// A broken connection: an archive that could not be finished ends so, too.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.pieces.next().await
    }
}

/// What is read is all of standard output: a terminal's output has no frames.
fn unframed(bytes: &[u8]) -> Frame {
    Frame {
        stream: Stream::Stdout,
        payload: bytes.to_vec(),
    }
}

/// Output of a container, cut into frames.
#[derive(Debug)]
pub struct FrameStream {
    pieces: Pieces,
    decoder: FrameDecoder,
    raw: bool,
}

impl FrameStream {
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        Self {
            pieces: Pieces {
                body: response.into_body(),
            },
            decoder: FrameDecoder::new(),
            raw: false,
        }
    }

    /// For a container with a terminal: its output comes as it is.
    #[must_use]
    pub fn raw(self, raw: bool) -> Self {
        Self { raw, ..self }
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// A broken connection, an end inside a frame, or bytes that are no frames.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                return Ok(Some(frame));
            }
            match self.pieces.next().await? {
                Some(bytes) if self.raw => return Ok(Some(unframed(&bytes))),
                Some(bytes) => self.decoder.push(&bytes),
                None => return self.decoder.finish().map(|()| None).map_err(io::Error::other),
            }
        }
    }
}

/// JSON documents, one on each line.
#[derive(Debug)]
pub struct LineStream {
    pieces: Pieces,
    buffer: Vec<u8>,
}

impl LineStream {
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        Self {
            pieces: Pieces {
                body: response.into_body(),
            },
            buffer: Vec::new(),
        }
    }

    /// The next line without its end; `None` at the end of the stream. Empty lines are left out.
    ///
    /// # Errors
    /// A broken connection or a line without an end.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim().to_owned();
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(io::Error::other(format!(
                    "a line is longer than {LONGEST_LINE} bytes"
                )));
            }
            match self.pieces.next().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => {
                    let rest = String::from_utf8_lossy(&std::mem::take(&mut self.buffer))
                        .trim()
                        .to_owned();
                    return Ok(Some(rest).filter(|rest| !rest.is_empty()));
                }
            }
        }
    }

    /// The next document; `None` at the end of the stream.
    ///
    /// # Errors
    /// As [`LineStream::next_line`], or a line that is no such document.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        match self.next_line().await? {
            None => Ok(None),
            Some(line) => serde_json::from_str(&line).map(Some).map_err(io::Error::other),
        }
    }
}

/// The input side of an attached container. Its shutdown is the end of the input.
pub type AttachedInput = Pin<Box<dyn AsyncWrite + Send>>;

/// A container's input and output on one connection.
pub struct Attached {
    output: ReadHalf<TokioIo<Upgraded>>,
    input: Option<WriteHalf<TokioIo<Upgraded>>>,
    decoder: FrameDecoder,
    raw: bool,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

impl Attached {
    pub(crate) fn new(upgraded: Upgraded) -> Self {
        let (output, input) = tokio::io::split(TokioIo::new(upgraded));
        Self {
            output,
            input: Some(input),
            decoder: FrameDecoder::new(),
            raw: false,
        }
    }

    /// For a process with a terminal: its output comes as it is.
    #[must_use]
    pub fn raw(self, raw: bool) -> Self {
        Self { raw, ..self }
    }

    /// Takes the input side; it can be taken once. Keep it as long as the output is read: when both are gone, the
    /// connection is.
    #[must_use]
    pub fn take_input(&mut self) -> Option<AttachedInput> {
        self.input.take().map(|input| Box::pin(input) as AttachedInput)
    }

    /// The next frame of output; `None` when the container has ended and everything was read.
    ///
    /// # Errors
    /// A broken connection, an end inside a frame, or bytes that are no frames.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut buffer = vec![0; READ_SIZE];
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                return Ok(Some(frame));
            }
            match self.output.read(&mut buffer).await? {
                0 => return self.decoder.finish().map(|()| None).map_err(io::Error::other),
                count if self.raw => return Ok(Some(unframed(&buffer[..count]))),
                count => self.decoder.push(&buffer[..count]),
            }
        }
    }
}
