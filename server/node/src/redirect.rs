//! Writes that other members forwarded to this one, which does not lead any more, or is about to hand the leadership on: sent
//! on to the next leader, or held back until there is one.
//!
//! Raft would drop them, and their clients would wait in vain. A forward that the replica never saw was taken by nobody, and
//! connections do not double what they carry, so that none is carried out twice.

use crate::peers::Peers;
use berth_replica::{Message, Millis, Role, Status};
use std::collections::VecDeque;

/// Forwards held back; further ones are dropped, and their clients wait until their time is up.
const MAX_HELD: usize = 1_024;
/// How long they are: longer than an election that goes well.
const HOLD_MS: Millis = 3_000;
/// Without success in this time the leadership stays where it is.
const HAND_OVER_MS: Millis = 2_000;

#[derive(Default)]
pub(crate) struct Redirect {
    held: VecDeque<(Millis, Message)>,
    /// Until then, the leadership is being handed on.
    handing_over: Option<Millis>,
}

impl Redirect {
    /// Takes a forward.
    pub(crate) fn add(&mut self, forward: Message, now: Millis) {
        if self.held.len() < MAX_HELD {
            self.held.push_back((now + HOLD_MS, forward));
        } else {
            tracing::debug!(from = forward.from, "a forwarded write was dropped");
        }
    }

    /// The leadership is being handed on from now on.
    pub(crate) fn hand_over(&mut self, now: Millis) {
        self.handing_over = Some(now + HAND_OVER_MS);
    }

    /// Whether this member, still leading, takes no writes.
    pub(crate) fn is_handing_over(&self, status: &Status, now: Millis) -> bool {
        status.role == Role::Leader && self.handing_over.is_some_and(|until| now < until)
    }

    /// Sends on what can be; gives what is for this member's replica.
    pub(crate) fn route(&mut self, status: &Status, peers: &Peers, now: Millis) -> Vec<Message> {
        if status.role != Role::Leader || self.handing_over.is_some_and(|until| now >= until) {
            self.handing_over = None;
        }
        if self.held.is_empty() || self.handing_over.is_some() {
            return Vec::new();
        }
        let mut own = Vec::new();
        for (until, mut forward) in std::mem::take(&mut self.held) {
            if status.role == Role::Leader {
                forward.term = status.term;
                own.push(forward);
            } else if peers.reaches(status.leader) && status.leader != forward.from {
                forward.from = status.id;
                forward.to = status.leader;
                forward.term = status.term;
                peers.send(forward);
            } else if now < until {
                self.held.push_back((until, forward));
            }
        }
        own
    }
}
