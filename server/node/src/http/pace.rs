//! How slow a connection may be. One lazy timer for each connection looks at what it did last; requests only leave a note.

use crate::clock::Clock;
use crate::http::socket::Socket;
use crate::waiting::{Place, Waiting};
use bytes::BytesMut;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// From a connection's beginning, or the first byte of a later request, to the end of the request's head.
pub(crate) const HEAD_MS: u64 = 5_000;
/// For the body of a request.
const BODY_MS: u64 = 30_000;
/// Between two requests.
const IDLE_MS: u64 = 60_000;
/// Without any progress in sending an answer.
pub(crate) const STALL_MS: u64 = 30_000;
/// What counts as progress: a reader that takes less in the time of a stall holds a large answer in memory for too long.
pub(crate) const STALL_BYTES: usize = 256 << 10;
/// How often to look at a connection that has no deadline: it may get one meanwhile.
const LOOK_MS: u64 = 60_000;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BODY: u8 = 2;
const WORK: u8 = 3;

const NONE: u8 = 0;
/// An answer is being worked out.
const OWED: u8 = 1;
/// It is handed over, and not sent yet.
const PAID: u8 = 2;

/// What a connection is doing. All is noted and read by the connection's own task; atomics only make it shareable.
#[derive(Debug)]
pub(crate) struct Pace {
    clock: Clock,
    phase: AtomicU8,
    since: AtomicU64,
    /// When sending came to a halt, plus one; 0 if it has not.
    stalled: AtomicU64,
    /// Bytes sent since then.
    trickled: AtomicUsize,
    /// Bytes of the answer that is being sent.
    held: AtomicUsize,
    /// Whether the end of what the client sends has to wait for its answer.
    debt: AtomicU8,
    /// The common name of the client's certificate, which was verified.
    client_name: Option<Arc<str>>,
}

impl Pace {
    pub(crate) fn new(clock: Clock) -> Pace {
        Pace {
            clock,
            phase: AtomicU8::new(HEAD),
            since: AtomicU64::new(clock.now()),
            stalled: AtomicU64::new(0),
            trickled: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            debt: AtomicU8::new(NONE),
            client_name: None,
        }
    }

    /// The same for a client that showed a certificate.
    pub(crate) fn of_client(self, client_name: Option<Arc<str>>) -> Pace {
        Pace { client_name, ..self }
    }

    /// The common name of the client's certificate; none unless the port demands certificates, and verified this one.
    pub(crate) fn client_name(&self) -> Option<&Arc<str>> {
        self.client_name.as_ref()
    }

    /// The answer is handed over; the next request may come.
    pub(crate) fn idle(&self) {
        if self.debt.load(Ordering::Relaxed) == OWED {
            self.debt.store(PAID, Ordering::Relaxed);
        }
        self.enter(IDLE);
    }

    /// The answer comes by itself and soon. A client that says meanwhile that it will send no more still gets it; of one that
    /// waits for an event this means that it has left.
    pub(crate) fn owe(&self) {
        self.debt.store(OWED, Ordering::Relaxed);
    }

    /// A request's body is being read.
    pub(crate) fn body(&self) {
        self.enter(BODY);
    }

    /// A request is being worked on, which takes the time that it takes.
    pub(crate) fn work(&self) {
        self.enter(WORK);
    }

    /// How long to wait before looking again; `None` if the connection is too slow.
    pub(crate) fn left(&self) -> Option<Duration> {
        let now = self.clock.now();
        let since = self.since.load(Ordering::Relaxed);
        let phase = match self.phase.load(Ordering::Relaxed) {
            IDLE => Some(since + IDLE_MS),
            HEAD => Some(since + HEAD_MS),
            BODY => Some(since + BODY_MS),
            _ => None,
        };
        let stall = self.stalled.load(Ordering::Relaxed).checked_sub(1);
        let deadline = [phase, stall.map(|since| since + STALL_MS)]
            .into_iter()
            .flatten()
            .min();
        let Some(deadline) = deadline else {
            return Some(Duration::from_millis(LOOK_MS));
        };
        // A connection that is idle now may begin a head, whose time is the shortest.
        let left = deadline.checked_sub(now).filter(|left| *left > 0)?;
        Some(Duration::from_millis(left.min(HEAD_MS)))
    }

    /// Whether something could not be sent yet.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed) != 0
    }

    /// An answer of so many bytes is handed over.
    pub(crate) fn holds(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(0);
        self.held.store(bytes, Ordering::Relaxed);
    }

    /// Accounts for the answer while its sending halts; true if the connection is to be cut, to make room for others. `place`
    /// is for this function alone: the beginning of the halt, and what is accounted for it.
    pub(crate) fn is_evicted(
        &self,
        place: &mut Option<(u64, Place)>,
        waiting: &Arc<Waiting>,
        context: &mut Context<'_>,
    ) -> bool {
        let stalled = self.stalled.load(Ordering::Relaxed);
        if stalled == 0 {
            *place = None;
            return false;
        }
        if place.as_ref().is_none_or(|(since, _)| *since != stalled) {
            // The old place goes first: it is the same answer's.
            drop(place.take());
            *place = Some((stalled, waiting.answer(self.held.load(Ordering::Relaxed))));
        }
        place
            .as_mut()
            .is_some_and(|(_, place)| Pin::new(place).poll(context).is_ready())
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
        self.since.store(self.clock.now(), Ordering::Relaxed);
    }

    /// Bytes of a request have come.
    pub(crate) fn received(&self) {
        if self.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }

    /// So many bytes were sent; `None` if none could be.
    fn sent(&self, bytes: Option<usize>) {
        let stalled = self.stalled.load(Ordering::Relaxed);
        match bytes {
            Some(bytes) if stalled != 0 => {
                let trickled = self.trickled.load(Ordering::Relaxed) + bytes;
                self.trickled.store(trickled, Ordering::Relaxed);
                if trickled >= STALL_BYTES {
                    self.all_sent();
                }
            }
            None if stalled == 0 => {
                self.trickled.store(0, Ordering::Relaxed);
                self.stalled.store(self.clock.now() + 1, Ordering::Relaxed);
            }
            Some(_) | None => {}
        }
    }

    fn all_sent(&self) {
        self.stalled.store(0, Ordering::Relaxed);
    }
}

/// What a poll for writing sent.
fn sent_by(polled: &Poll<std::io::Result<usize>>) -> Option<usize> {
    match polled {
        Poll::Ready(sent) => Some(sent.as_ref().copied().unwrap_or(0)),
        Poll::Pending => None,
    }
}

/// A socket that tells its pace.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    pub(crate) socket: S,
    pub(crate) pace: Arc<Pace>,
    /// What was read already, to be read again.
    pub(crate) ahead: BytesMut,
    /// An end of what the client sends was passed over.
    pub(crate) ended: bool,
}

impl<S: Socket> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = buffer.remaining().min(self.ahead.len());
            buffer.put_slice(&self.ahead.split_to(count));
            self.pace.received();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.received();
        } else if matches!(polled, Poll::Ready(Ok(())))
            && buffer.remaining() > 0
            && self.pace.debt.load(Ordering::Relaxed) != NONE
        {
            // The end, which is read again when the answer is sent.
            self.ended = true;
            return Poll::Pending;
        }
        polled
    }
}

impl<S: Socket> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.pace.sent(sent_by(&polled));
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.pace.sent(sent_by(&polled));
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // Whoever writes here flushes when nothing is left to write.
        self.pace.all_sent();
        if self.pace.debt.load(Ordering::Relaxed) == PAID {
            self.pace.debt.store(NONE, Ordering::Relaxed);
            if std::mem::take(&mut self.ended) {
                context.waker().wake_by_ref();
            }
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, STALL_BYTES};
    use crate::clock::Clock;

    #[test]
    fn a_trickle_is_no_progress() {
        let pace = Pace::new(Clock::new());
        pace.sent(Some(10));
        assert!(!pace.is_stalled());
        pace.sent(None);
        pace.sent(Some(STALL_BYTES - 1));
        pace.sent(None);
        assert!(pace.is_stalled());
        pace.sent(Some(1));
        assert!(!pace.is_stalled());
        pace.sent(None);
        pace.sent(Some(STALL_BYTES - 1));
        assert!(pace.is_stalled(), "each stall is counted for itself");
        pace.all_sent();
        assert!(!pace.is_stalled());
    }
}
