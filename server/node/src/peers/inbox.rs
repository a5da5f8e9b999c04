//! What comes from other members, until the event loop takes it.

use crate::handle::Request;
use crate::peers::locked;
use berth_replica::Input;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::SyncSender;
use tokio::sync::OwnedSemaphorePermit;

/// What came from other members and waits for the event loop. Its bounds are those of the connections: each holds back what
/// it would put in here beyond its share.
#[derive(Debug)]
pub(crate) struct Inbox {
    arrivals: Mutex<VecDeque<Arrival>>,
    wake: SyncSender<Request>,
}

/// An input, and the share of its connection that it takes.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) input: Input,
    pub(crate) _share: Option<OwnedSemaphorePermit>,
}

impl Inbox {
    pub(crate) fn new(wake: SyncSender<Request>) -> Inbox {
        Inbox {
            arrivals: Mutex::default(),
            wake,
        }
    }

    pub(crate) fn push(&self, input: Input, share: Option<OwnedSemaphorePermit>) {
        let mut arrivals = locked(&self.arrivals);
        let first = arrivals.is_empty();
        arrivals.push_back(Arrival { input, _share: share });
        drop(arrivals);
        if first {
            // A loop with a full queue is awake anyway, and one that has ended needs no waking.
            drop(self.wake.try_send(Request::Wake));
        }
    }

    /// Gives the event loop a request of another member; false if too many wait.
    pub(crate) fn ask(&self, request: Request) -> bool {
        self.wake.try_send(request).is_ok()
    }

    pub(crate) fn take(&self) -> VecDeque<Arrival> {
        std::mem::take(&mut *locked(&self.arrivals))
    }
}
