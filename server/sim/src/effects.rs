//! The driver's side of a member: carrying out what it asks for, and telling it what came of that.

use crate::gallery::through_bytes;
use crate::invariants::{Checked, Invariant, Violation, require};
use crate::plant::Plant;
use crate::platter::DiskError;
use crate::workload::{Outcome, failure, shown, success};
use crate::world::{Happening, World};
use berth_replica::{
    Effect, Input, Message, Persist, Reply, ReplyError, RequestId, SnapshotMark, encode_message,
};
use berth_store::{Command, Store};

/// Where a planted bug strikes now and then, it strikes once in so many times.
const PLANT_RARITY: u64 = 40;

/// A write to the file without a sync.
const CALL_US: u64 = 20;

impl World {
    pub(crate) fn carry_out(&mut self, at: usize, effect: Effect) -> Checked {
        match effect {
            Effect::Persist(persist) => self.persist(at, persist),
            Effect::Send(message) => self.send(at, &message),
            Effect::SendSnapshot { message, store } => self.send_image(at, message, &store),
            Effect::Reply(reply) => self.reply(at, &reply),
            Effect::ReadReady { id } => self.read_ready(at, id),
            Effect::ReadFailed { id, error } => self.answer(at, id, failure(&error, self.now)),
            Effect::WatchOpened { watch, index, .. } => self.watches.opened(watch, index),
            Effect::Notify { watch, event, last } => {
                if self.strikes(Plant::NotifyLost) {
                    return Ok(());
                }
                self.count("events watched");
                self.watches.notified(watch, &event, last, &self.oracle)
            }
            Effect::WatchCleared {
                watch, oldest, asked, ..
            } => {
                self.count("watches cleared");
                self.watches.cleared(watch, oldest, asked, &self.oracle)
            }
            Effect::TakeSnapshot { mark, store } => {
                let takes = self.disk_prng.long_tailed(self.faults.image_us);
                let fails = !self.is_calm && self.disk_prng.chance(self.faults.image_loss);
                let life = self.members[at].life;
                self.members[at].disk.begin_image(mark.clone(), (*store).clone());
                let done = Happening::ImageWritten {
                    life,
                    mark,
                    store,
                    fails,
                };
                self.schedule(takes, at, done);
                Ok(())
            }
            Effect::Compact { through } => self.compact(at, through),
            Effect::LeaderChanged { leader, term } => {
                self.trace
                    .note(self.now, "leader", &[self.members[at].id, leader, term]);
                self.count("leader changes");
                Ok(())
            }
            Effect::ChangeReply(reply) => self.change_answered(at, &reply),
            Effect::RosterChanged => {
                self.count("memberships applied");
                Ok(())
            }
            Effect::TellRemoved { to } => self.tell_removed(at, to),
            Effect::Removed => self.removed(at),
            Effect::Fatal(error) => Err(Violation {
                invariant: Invariant::Fatal,
                detail: format!("member {}: {error}", self.members[at].id),
            }),
        }
    }

    fn strikes(&mut self, plant: Plant) -> bool {
        self.planted(plant) && self.plant_prng.below(PLANT_RARITY) == 0
    }

    fn persist(&mut self, at: usize, mut persist: Persist) -> Checked {
        let life = self.members[at].life;
        let entries = persist.entries.len() as u64;
        self.trace
            .note(self.now, "write", &[self.members[at].id, persist.number, entries]);
        if persist.snapshot.is_some() {
            self.count("images installed");
        }
        if self.planted(Plant::SendBeforeSync) {
            for message in std::mem::take(&mut persist.after) {
                self.send(at, &message)?;
            }
        }
        if self.planted(Plant::PersistedBeforeSync) {
            let number = persist.number;
            self.schedule(0, at, Happening::WrittenEarly { life, number });
        }
        let usual = self.disk_prng.long_tailed(self.faults.sync_us);
        // What needs no sync costs no more than a call.
        let takes = if persist.must_sync {
            usual * self.members[at].slowness
        } else {
            CALL_US
        };
        let done = self.members[at].disk.write(persist, self.now, takes);
        self.schedule_at(done, at, Happening::Written { life });
        Ok(())
    }

    /// The oldest write of a member is done, and with one sync perhaps all that wait.
    pub(crate) fn written(&mut self, at: usize, life: u64) -> Checked {
        if self.members[at].living(life).is_none() {
            return Ok(());
        }
        if std::mem::take(&mut self.members[at].ends_in_write) {
            self.crash(at);
            return Ok(());
        }
        let mut newest = None;
        loop {
            let (number, after) = match self.members[at].disk.complete() {
                Ok(Some(done)) => done,
                Ok(None) => break,
                Err(error) => return self.disk_failed(at, &error),
            };
            newest = Some(number);
            let member = &self.members[at];
            self.oracle.durable(member.id, member.disk.synced());
            self.trace.note(self.now, "written", &[member.id, number]);
            for message in after {
                if self.members[at].burns_out() {
                    self.crash(at);
                    return Ok(());
                }
                self.send(at, &message)?;
            }
            if !self.faults.group_commit {
                break;
            }
        }
        match newest {
            Some(number) => self.give(at, Input::Persisted { number }),
            None => Ok(()),
        }
    }

    /// The disk refused: the member ends, for nobody knows what is on the disk.
    fn disk_failed(&mut self, at: usize, error: &DiskError) -> Checked {
        match error {
            DiskError::Io => self.count("disk errors"),
            DiskError::NoRoom => self.count("disk full"),
            DiskError::Cut | DiskError::Wal(_) | DiskError::Image(_) | DiskError::Differs(_) => {
                return require(false, Invariant::Fatal, || {
                    format!("member {}: {error}", self.members[at].id)
                });
            }
        }
        self.members[at].disk.stop();
        self.crash(at);
        Ok(())
    }

    fn send(&mut self, at: usize, message: &Message) -> Checked {
        self.oracle.sent(message)?;
        let (from, to) = (self.members[at].id, message.to);
        let receiver = self.members.iter().position(|member| member.id == to);
        let known = receiver.filter(|_| message.from == from && from != to);
        let Some(receiver) = known else {
            return require(false, Invariant::Fatal, || format!("{message:?} from {from}"));
        };
        let bytes = encode_message(message);
        for after in self.network.send(from, to) {
            let mut bytes = bytes.clone();
            let damage = self.network.damage(bytes.len());
            if let Some(byte) = damage.and_then(|place| bytes.get_mut(place)) {
                *byte ^= 1 << (after % 8);
            }
            let damaged = damage.is_some();
            self.schedule(after, receiver, Happening::Message { bytes, damaged });
        }
        Ok(())
    }

    fn send_image(&mut self, at: usize, message: Message, store: &Store) -> Checked {
        let (from, to) = (self.members[at].id, message.to);
        let life = self.members[at].life;
        self.count("images sent");
        self.trace.note(self.now, "send image", &[from, to]);
        let transfer = self.network.transfer(from, to);
        let receiver = self.members.iter().position(|member| member.id == to);
        if let (Some(after), Some(receiver)) = (transfer.arrival, receiver) {
            let store = through_bytes(store).map_err(|error| Violation {
                invariant: Invariant::State,
                detail: format!("an image does not come back from its bytes: {error}"),
            })?;
            let (message, store) = (Box::new(message), Box::new(store));
            self.schedule(after, receiver, Happening::Image { message, store });
        }
        if !self.planted(Plant::SnapshotReportLost) {
            let (after, delivered) = transfer.report;
            self.schedule(after, at, Happening::SnapshotSent { life, to, delivered });
        }
        Ok(())
    }

    pub(crate) fn image_written(
        &mut self,
        at: usize,
        life: u64,
        mark: SnapshotMark,
        store: Store,
        fails: bool,
    ) -> Checked {
        if self.members[at].living(life).is_none() {
            return Ok(());
        }
        let index = mark.index;
        self.trace.note(
            self.now,
            "image written",
            &[self.members[at].id, index, u64::from(fails)],
        );
        let member = &mut self.members[at];
        let saved = if fails {
            member.disk.drop_image();
            Err(DiskError::NoRoom)
        } else {
            member.disk.save_image()
        };
        match saved {
            Ok(()) => self.count("images saved"),
            Err(DiskError::NoRoom) => {
                self.count("images failed");
                return self.give(at, Input::SnapshotFailed { index });
            }
            Err(error) => return self.disk_failed(at, &error),
        }
        let member = &mut self.members[at];
        if index > member.log.mark() {
            member.log.snapshot = Some((mark, store));
        }
        self.give(at, Input::SnapshotSaved { index })
    }

    fn compact(&mut self, at: usize, through: u64) -> Checked {
        let member = &mut self.members[at];
        member.log.compact(through);
        let safe = through <= member.disk.synced().mark();
        // The driver may keep the log longer.
        if safe
            && self.disk_prng.coin()
            && let Err(error) = self.members[at].disk.compact(through)
        {
            return self.disk_failed(at, &error);
        }
        self.count("compactions");
        require(safe, Invariant::Compaction, || {
            let member = &self.members[at];
            let mark = member.disk.synced().mark();
            format!("member {} gives up {through}, its image is at {mark}", member.id)
        })
    }

    pub(crate) fn propose(&mut self, at: usize, id: u64, command: Command) -> Checked {
        let id = RequestId(id);
        self.give(at, Input::Propose { id, command })
    }

    pub(crate) fn read(&mut self, at: usize, id: u64) -> Checked {
        if self.planted(Plant::ReadWithoutQuorum) {
            return self.read_ready(at, RequestId(id));
        }
        self.give(at, Input::QuorumRead { id: RequestId(id) })
    }

    fn read_ready(&mut self, at: usize, id: RequestId) -> Checked {
        let request = self.workload.request(id.0);
        let node = self.members[at]
            .replica
            .as_ref()
            .zip(request)
            .and_then(|(replica, request)| replica.view().get(&request.key, false).ok());
        let answer = shown(node.as_ref());
        self.count("reads answered");
        self.answer(at, id, Outcome::Answered(self.now, answer))
    }

    fn reply(&mut self, at: usize, reply: &Reply) -> Checked {
        if self.strikes(Plant::ReplyLost) {
            return Ok(());
        }
        let mut id = reply.id;
        if self.planted(Plant::ReplySwapped) {
            let oldest = self.members[at].taken.iter().find(|id| self.is_write(**id));
            id = oldest.map_or(id, |oldest| RequestId(*oldest));
        }
        let index = self.oracle.index_at(reply.applied);
        require(index == Some(reply.index), Invariant::Answer, || {
            format!("{reply:?} although the index is {index:?}")
        })?;
        let outcome = match &reply.outcome {
            Ok(applied) => match applied.event() {
                Some(event) => {
                    self.check_event(id, event)?;
                    success(event, self.now)
                }
                None => return require(false, Invariant::Answer, || format!("{reply:?} has no event")),
            },
            Err(error) => {
                self.count_error(error);
                failure(error, self.now)
            }
        };
        if self.strikes(Plant::ReplyTwice) {
            self.answer(at, id, outcome)?;
        }
        self.answer(at, id, outcome)
    }

    fn count_error(&mut self, error: &ReplyError) {
        self.count(match error {
            ReplyError::Store(_) => "refused by the keyspace",
            ReplyError::NoLeader => "no leader",
            ReplyError::Overloaded => "overloaded",
            ReplyError::Dropped => "dropped",
            ReplyError::Superseded => "superseded",
            ReplyError::TimedOut => "timed out",
            ReplyError::Unknown => "unknown",
            ReplyError::TooLarge => "too large",
        });
    }

    fn is_write(&self, id: u64) -> bool {
        self.workload
            .request(id)
            .is_some_and(|request| request.wish.command(&request.key).is_some())
    }

    /// The event of an answer is the one that was committed, and it is that of the request.
    fn check_event(&mut self, id: RequestId, event: &berth_store::Event) -> Checked {
        self.count("writes answered");
        let known = self
            .oracle
            .event(event.index)
            .is_some_and(|known| **known == *event);
        let request = self.workload.request(id.0);
        let value = request.and_then(|request| request.wish.value());
        let written = event.node.value.as_deref().and_then(crate::workload::value_of);
        require(known && value == written, Invariant::Answer, || {
            format!("{request:?} is answered with {event:?}")
        })
    }

    fn answer(&mut self, at: usize, id: RequestId, outcome: Outcome) -> Checked {
        let taken = self.members[at].taken.remove(&id.0);
        let first = self.workload.finish(id.0, outcome);
        self.trace.note(self.now, "answer", &[self.members[at].id, id.0]);
        require(taken && first, Invariant::AnsweredOnce, || {
            format!("{id:?} {outcome:?}: {:?}", self.workload.request(id.0))
        })
    }
}
