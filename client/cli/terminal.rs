//! Standard output, standard error and signals of this process.

use std::io::{self, Write};

use berth_wire::docker::{Frame, Stream};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Writes text to standard output at once.
pub(crate) fn print(text: &str) -> io::Result<()> {
    write_all(&mut io::stdout().lock(), text.as_bytes())
}

/// Writes text and a newline to standard output at once.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    print(&format!("{text}\n"))
}

/// Says something to the person: a line on standard error. Nothing can be done when it cannot be written.
pub(crate) fn tell(text: &str) {
    drop(writeln!(io::stderr().lock(), "berth: {text}"));
}

/// A line on standard error without the name of the program. Nothing can be done when it cannot be written.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Writes text to standard error at once.
pub(crate) fn note_part(text: &str) -> io::Result<()> {
    write_all(&mut io::stderr().lock(), text.as_bytes())
}

/// Writes output of a container to the stream that it was written to there.
pub(crate) fn write_frame(frame: &Frame) -> io::Result<()> {
    match frame.stream {
        Stream::Stdout => write_all(&mut io::stdout().lock(), &frame.payload),
        Stream::Stderr => write_all(&mut io::stderr().lock(), &frame.payload),
        Stream::System => Err(io::Error::other(
            String::from_utf8_lossy(&frame.payload).into_owned(),
        )),
        Stream::Stdin => Ok(()),
    }
}

fn write_all(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

/// Signals that a foreground container gets instead of this process.
pub(crate) struct Forwarded {
    signals: Vec<(&'static str, Signal)>,
}

impl Forwarded {
    pub(crate) fn new() -> io::Result<Self> {
        let named = [
            ("INT", SignalKind::interrupt()),
            ("TERM", SignalKind::terminate()),
            ("HUP", SignalKind::hangup()),
            ("QUIT", SignalKind::quit()),
            ("USR1", SignalKind::user_defined1()),
            ("USR2", SignalKind::user_defined2()),
        ];
        let signals: io::Result<Vec<_>> = named
            .into_iter()
            .map(|(name, kind)| Ok((name, signal(kind)?)))
            .collect();
        Ok(Self { signals: signals? })
    }

    /// The name of the next signal.
    pub(crate) async fn next(&mut self) -> &'static str {
        std::future::poll_fn(|context| {
            for (name, signal) in &mut self.signals {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// SIGINT and SIGTERM, the wish to end.
pub(crate) struct EndWish {
    interrupt: Signal,
    terminate: Signal,
}

impl EndWish {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns at the next of them, with its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
