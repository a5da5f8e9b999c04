//! The channels between the replica's watches and the connections that wait for their events.

use crate::clock::Times;
use crate::handle::{Opening, Shared};
use crate::http::keys_render;
use crate::waiting::{Share, Waiting};
use berth_replica::Input;
use berth_store::{Event, HISTORY_EVENTS, Key, WatchId};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, oneshot};

/// Events that wait for a slow reader of a stream (etcd has 100). One more ends its stream: the reader comes back with
/// the index of the last event it saw.
const STREAM_BUFFER: usize = 128;

/// While as much waits for slow readers as may, a stream for which so many events wait ends. One that is read is rarely so
/// far behind.
const LAGS: usize = 8;

/// What a watcher is sent.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) line: Arc<Line>,
    pub(crate) last: bool,
}

/// An event as its watchers are shown it: rendered by the first of them that sends it, for all.
#[derive(Debug)]
pub(crate) struct Line {
    event: Arc<Event>,
    times: Times,
    /// Accounted for while it waits for somebody. The event itself is in the history as well.
    text: OnceLock<(Bytes, Share)>,
    waiting: Arc<Waiting>,
}

impl Line {
    /// The document, with its newline.
    pub(crate) fn text(&self) -> Bytes {
        let (text, _) = self.text.get_or_init(|| {
            let text = keys_render::event(&self.event, self.times);
            let share = self.waiting.event(text.len());
            (text.into(), share)
        });
        text.clone()
    }
}

/// What a client asked to watch.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) key: Key,
    pub(crate) recursive: bool,
    pub(crate) stream: bool,
    pub(crate) since: Option<u64>,
}

/// An open watch in a connection's hands; closed when dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    id: WatchId,
    shared: Arc<Shared>,
    pub(crate) events: mpsc::Receiver<Notice>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Without a wake-up: the loop looks here at every turn, at the latest with its next tick.
        self.shared.closed().push(self.id);
    }
}

struct Watcher {
    /// Until the replica says that the watch is open.
    opening: Option<(oneshot::Sender<Opening>, Listener)>,
    events: mpsc::Sender<Notice>,
}

pub(crate) struct Hub {
    shared: Arc<Shared>,
    open: HashMap<WatchId, Watcher>,
    /// The last event that was told to somebody.
    line: Option<Arc<Line>>,
    next: u64,
    ended: bool,
}

impl Hub {
    pub(crate) fn new(shared: Arc<Shared>) -> Hub {
        Hub {
            shared,
            open: HashMap::new(),
            line: None,
            next: 0,
            ended: false,
        }
    }

    /// Takes a client's wish; gives the input that opens the watch.
    pub(crate) fn open(&mut self, wish: Wish, answer: oneshot::Sender<Opening>) -> Option<Input> {
        if self.ended || self.open.len() >= self.shared.limits.watches {
            let refusal = if self.ended {
                Opening::Ending
            } else {
                Opening::TooMany
            };
            drop(answer.send(refusal));
            return None;
        }
        let id = WatchId(self.next);
        self.next += 1;
        let past = wish.since.is_some_and(|since| since > 0);
        let capacity = match (wish.stream, past) {
            (false, _) => 1,
            (true, false) => STREAM_BUFFER,
            // All of the history may come at once. A channel takes memory only for what is in it.
            (true, true) => STREAM_BUFFER + HISTORY_EVENTS,
        };
        let (sender, events) = mpsc::channel(capacity);
        let listener = Listener {
            id,
            shared: Arc::clone(&self.shared),
            events,
        };
        let watcher = Watcher {
            opening: Some((answer, listener)),
            events: sender,
        };
        self.open.insert(id, watcher);
        self.count();
        Some(Input::Watch {
            id,
            key: wish.key,
            recursive: wish.recursive,
            stream: wish.stream,
            since: wish.since,
        })
    }

    /// The watch is open: `open` makes the answer to the client.
    pub(crate) fn opened(&mut self, id: WatchId, open: impl FnOnce(Listener) -> Opening) {
        let opening = self.open.get_mut(&id).and_then(|watcher| watcher.opening.take());
        if let Some((answer, listener)) = opening {
            // Who left meanwhile drops the listener, which closes the watch.
            drop(answer.send(open(listener)));
        }
    }

    /// The watch is closed, or never was open.
    pub(crate) fn cleared(&mut self, id: WatchId, refusal: Opening) {
        if let Some(watcher) = self.open.remove(&id)
            && let Some((answer, _)) = watcher.opening
        {
            drop(answer.send(refusal));
        }
        self.count();
    }

    pub(crate) fn notify(&mut self, id: WatchId, event: Arc<Event>, last: bool) {
        let Some(watcher) = self.open.get(&id) else { return };
        let same = self.line.take().filter(|line| Arc::ptr_eq(&line.event, &event));
        let line = same.unwrap_or_else(|| {
            Arc::new(Line {
                event,
                times: self.shared.published.load().times,
                text: OnceLock::new(),
                waiting: Arc::clone(&self.shared.waiting),
            })
        });
        self.line = Some(Arc::clone(&line));
        let lags = watcher.events.max_capacity() - watcher.events.capacity() >= LAGS;
        let delivered = !(lags && self.shared.waiting.is_full())
            && watcher.events.try_send(Notice { line, last }).is_ok();
        if !delivered {
            tracing::debug!(watch = id.0, "slow watcher closed");
            self.shared.closed().push(id);
        }
        if last || !delivered {
            // The reader still gets what is in the channel.
            self.open.remove(&id);
            self.count();
        }
    }

    /// The watches that connections let go of, to be told to the replica.
    pub(crate) fn take_closed(&mut self) -> Vec<WatchId> {
        let closed = std::mem::take(&mut *self.shared.closed());
        if !closed.is_empty() {
            for id in &closed {
                self.open.remove(id);
            }
            self.count();
        }
        closed
    }

    /// Ends all watches and opens no more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.open.clear();
        self.count();
    }

    fn count(&self) {
        self.shared
            .metrics
            .watchers
            .store(self.open.len() as u64, Ordering::Relaxed);
    }
}
