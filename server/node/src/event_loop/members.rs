//! What the event loop sees to among the members: wishes of clients, votes for those that have caught up, names and URLs, and
//! the leadership's way from one to another.

use crate::event_loop::EventLoop;
use crate::membership::{Verdict, Wish};
use berth_replica::{Change, Entry, Input, Message, MessageType, Millis, Role, Status};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a member asks for that does not know the membership yet: a read that nobody waits for, which changes nothing. Its
/// answer says nothing, but one who has left meanwhile is told so.
const NO_READ: [u8; 16] = [0xff; 16];

/// How often a leader without room asks another member to lead. An attempt may fail, as the others may have no room either;
/// a second leaves each attempt the time that it takes.
const MAKE_WAY_AGAIN_MS: Millis = 1_000;

impl EventLoop {
    /// A client wishes for another membership, here or at another member.
    pub(super) fn wish(&mut self, wish: Wish, answer: oneshot::Sender<Verdict>, now: Millis) {
        let status = self.replica.status();
        match self.change(wish, &status, now) {
            Ok(change) => {
                let id = self.new_id();
                self.effects.changes.insert(id, answer);
                self.replica.queue(Input::ChangeMembers { id, change }, now);
            }
            // Its client may have left.
            Err(verdict) => drop(answer.send(verdict)),
        }
    }

    /// The change to propose, or what becomes of the wish without one.
    fn change(&mut self, wish: Wish, status: &Status, now: Millis) -> Result<Change, Verdict> {
        if status.role != Role::Leader || !status.ready || self.redirect.is_handing_over(status, now) {
            return Err(Verdict::Again);
        }
        let cluster = Arc::clone(self.effects.peers.cluster());
        let members = cluster.members();
        let own = members.iter().find(|member| member.id == status.id);
        if matches!(wish, Wish::Add { .. }) && own.is_none_or(|own| own.peer_urls.is_empty()) {
            let why = "this member has no address for others (--listen-peer)";
            return Err(Verdict::Unsafe(why.to_owned()));
        }
        if let Wish::Lead { id } = wish {
            return Err(self.hand_over_to(id, status));
        }
        // A leader does not remove itself: the next one does it.
        if wish == (Wish::Remove { id: status.id }) && !status.alone {
            let begun = self.hand_over_to(None, status);
            return Err(if begun == Verdict::Made {
                Verdict::Again
            } else {
                begun
            });
        }
        let change = wish.change(&members)?.ok_or(Verdict::Made)?;
        if let Change::Remove { id } = &change {
            self.check_quorum(*id, status)?;
        }
        Ok(change)
    }

    /// The voters that are left must be able to go on without the one that leaves. The replica looks whether it heard of them;
    /// a connection that broke tells it earlier.
    fn check_quorum(&self, leaves: u64, status: &Status) -> Result<(), Verdict> {
        let roster = self.replica.roster();
        if !roster.votes(leaves) {
            return Ok(());
        }
        let left: Vec<u64> = roster.voters.iter().copied().filter(|id| *id != leaves).collect();
        let up = |id: &&u64| **id == status.id || self.effects.peers.reaches(**id);
        let (up, needed) = (left.iter().filter(up).count(), left.len() / 2 + 1);
        if up >= needed {
            return Ok(());
        }
        // To a leader that is new connections may just be made.
        Err(if self.effects.is_new_leader() {
            Verdict::Again
        } else {
            Verdict::Unsafe(format!(
                "only {up} of {needed} members of a quorum would be reached"
            ))
        })
    }

    /// Begins to hand the leadership on.
    fn hand_over_to(&mut self, to: Option<u64>, status: &Status) -> Verdict {
        let roster = self.replica.roster();
        let reached = |id: &u64| *id != status.id && self.effects.peers.reaches(*id);
        match to {
            Some(id) if id == status.id => return Verdict::Made,
            Some(id) if !roster.contains(id) => return Verdict::Unknown,
            Some(id) if !roster.voters.contains(&id) => {
                return Verdict::Unsafe(format!("member {id:x} has no vote yet"));
            }
            Some(id) if !reached(&id) => {
                return Verdict::Unsafe(format!("member {id:x} cannot be reached"));
            }
            None if !roster.voters.iter().any(reached) => {
                return Verdict::Unsafe("no other member can be reached".to_owned());
            }
            Some(_) | None => {}
        }
        self.hands_over = Some(to);
        Verdict::Made
    }

    /// What is to be done about the other members in each tick.
    pub(super) fn tend(&mut self, now: Millis) {
        let status = self.replica.status();
        self.parked.expire(now, self.replica.store().index(), &status);
        for peer in self.effects.peers.take_unreachable() {
            self.replica.queue(Input::Unreachable { peer }, now);
        }
        let cluster = Arc::clone(self.effects.peers.cluster());
        if self.replica.roster().is_empty() {
            return self.ask_around(cluster.founders().iter().map(|member| member.id), &status);
        }
        if status.role != Role::Leader || !status.ready || !cluster.is_several() {
            return;
        }
        self.make_way(now);
        if self.tended != status.term {
            self.tended = status.term;
            // As in etcd: each member's URLs and its name took an index, and so did the version of the cluster.
            let first = 2 * self.replica.roster().voters.len() as u64 + 1;
            self.bump(self.replica.store().index(), first);
        }
        if self.effects.chore.is_none()
            && let Some(change) = cluster
                .unpublished()
                .map(Change::Update)
                .or_else(|| self.promotion())
        {
            let id = self.new_id();
            self.effects.chore = Some(id);
            self.replica.queue(Input::ChangeMembers { id, change }, now);
        }
    }

    /// A leader whose log cannot grow lets another member lead; what is on its way still fits.
    fn make_way(&mut self, now: Millis) {
        if self.room.is_left() || now < self.made_way + MAKE_WAY_AGAIN_MS {
            return;
        }
        tracing::warn!("the disk is full: another member is asked to lead");
        self.made_way = now;
        self.hands_over = Some(None);
    }

    /// A vote for a member that was added, for each in its turn. The replica refuses it until the member has caught up.
    fn promotion(&mut self) -> Option<Change> {
        let reached = |id: &u64| self.effects.peers.reaches(*id);
        let learners: Vec<u64> = self.replica.roster().learners.iter().copied().collect();
        let next = learners.iter().copied().find(|id| *id > self.promoted);
        let id = next.or(learners.first().copied()).filter(reached)?;
        self.promoted = id;
        Some(Change::Promote { id })
    }

    /// A member that joins and was removed before it heard of itself would wait for ever.
    fn ask_around(&self, others: impl Iterator<Item = u64>, status: &Status) {
        for to in others.filter(|id| *id != status.id) {
            let mut message = Message {
                from: status.id,
                to,
                entries: vec![Entry {
                    data: NO_READ.to_vec(),
                    ..Entry::default()
                }],
                ..Message::default()
            };
            message.set_msg_type(MessageType::MsgReadIndex);
            self.effects.peers.send(message);
        }
    }
}
