//! Writes that came while nobody led, or while the leader could not be reached: held back until that is over or their time is
//! up. They were given to nobody yet, so that none of them can be carried out twice.

use crate::handle::Request;
use berth_replica::{Millis, Reply, ReplyError, RequestId, Status};
use std::collections::VecDeque;

/// Writes held back; further ones go to the replica, which refuses them while nobody leads.
const MAX_PARKED: usize = 4_096;

pub(crate) struct Parked {
    waiting: VecDeque<(Millis, Request)>,
    time: Millis,
}

impl Parked {
    /// `time` is how long a write waits for a leader.
    pub(crate) fn new(time: Millis) -> Parked {
        Parked {
            waiting: VecDeque::new(),
            time,
        }
    }

    /// Holds a write back; gives it back if there are too many.
    pub(crate) fn add(&mut self, request: Request, now: Millis) -> Option<Request> {
        if self.waiting.len() >= MAX_PARKED {
            return Some(request);
        }
        self.waiting.push_back((now + self.time, request));
        None
    }

    /// All of them, in the order in which they came.
    pub(crate) fn take(&mut self) -> Vec<Request> {
        self.waiting.drain(..).map(|(_, request)| request).collect()
    }

    /// Answers those whose time is up.
    pub(crate) fn expire(&mut self, now: Millis, index: u64, status: &Status) {
        while self.waiting.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, Request::Propose { answer, .. })) = self.waiting.pop_front() {
                // Its client may have left.
                drop(answer.send(Reply {
                    id: RequestId(0),
                    outcome: Err(ReplyError::TimedOut),
                    index,
                    applied: status.applied,
                    term: status.term,
                }));
            }
        }
    }
}
