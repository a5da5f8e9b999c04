//! The simulated world: virtual time, and everything that is going to happen in it.

use crate::admin::Admin;
use crate::disk::Disk;
use crate::faults::Faults;
use crate::invariants::{Checked, Invariant, Look, Oracle, Violation, require};
use crate::member::{Clock, Member};
use crate::network::Network;
use crate::plant::Plant;
use crate::platter::{DiskError, Leaves};
use crate::prng::Prng;
use crate::reduction::Reduction;
use crate::run::Options;
use crate::trace::Trace;
use crate::watches::WatchBook;
use crate::workload::{self, Outcome, Workload};
use berth_replica::{Effect, Input, Limits, Message, Replica, ReplicaConfig, SnapshotMark, decode_message};
use berth_store::Store;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

/// A member is down about this long.
const RESTART_US: u64 = 600_000;

/// How long the inputs of a batch gather at most.
const BATCH_US: u64 = 2_000;
/// How long a request is on its way to a member at most.
const REQUEST_US: u64 = 3_000;

/// Something that is going to happen. What names a life only reaches that life of the member.
#[derive(Debug)]
pub(crate) enum Happening {
    Tick {
        life: u64,
    },
    Flush {
        life: u64,
    },
    Message {
        bytes: Vec<u8>,
        /// Its checksum does not match.
        damaged: bool,
    },
    Image {
        message: Box<Message>,
        store: Box<Store>,
    },
    SnapshotSent {
        life: u64,
        to: u64,
        delivered: bool,
    },
    Unreachable {
        life: u64,
        peer: u64,
    },
    Written {
        life: u64,
    },
    WrittenEarly {
        life: u64,
        number: u64,
    },
    ImageWritten {
        life: u64,
        mark: SnapshotMark,
        store: Box<Store>,
        fails: bool,
    },
    Request {
        id: u64,
    },
    Start {
        life: u64,
    },
    SlowDiskEnds,
    FullDiskEnds,
    Told {
        by: u64,
    },
    /// Of no member.
    Admin,
    Clients,
    Fault,
    NetworkHeals,
}

#[derive(Debug)]
struct Scheduled {
    at: u64,
    order: u64,
    member: usize,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    order: u64,
    agenda: BinaryHeap<Reverse<Scheduled>>,
    pub(crate) members: Vec<Member>,
    pub(crate) network: Network,
    pub(crate) workload: Workload,
    pub(crate) watches: WatchBook,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) plant: Option<Plant>,
    pub(crate) admin: Admin,
    churn: bool,
    pub(crate) coverage: BTreeMap<&'static str, u64>,
    pub(crate) disk_prng: Prng,
    /// Of the turn that a fault has; each has its own, so that one more or less does not move the others.
    pub(crate) fault_prng: Prng,
    pub(crate) fault_turns: u64,
    pub(crate) reduction: Reduction,
    pub(crate) plant_prng: Prng,
    clock_prng: Prng,
    schedule_prng: Prng,
    pub(crate) seed: u64,
    /// No more faults and no more load.
    pub(crate) is_calm: bool,
}

impl World {
    pub(crate) fn new(options: &Options, faults: Faults) -> World {
        let seed = options.seed;
        let prng = |concern| Prng::new(seed, concern);
        let mut world = World {
            now: 0,
            order: 0,
            agenda: BinaryHeap::new(),
            members: Vec::new(),
            network: Network::new(seed, &faults),
            workload: Workload::new(seed),
            watches: WatchBook::default(),
            oracle: Oracle::new(faults.drift_ppm, &(1..=options.members).collect::<Vec<_>>()),
            trace: Trace::new(options.trace),
            limits: Limits {
                promotion_percent: match options.plant {
                    Some(Plant::PromoteEarly) => 0,
                    Some(_) | None => Limits::default().promotion_percent,
                },
                ..workload::limits(&mut prng("limits"))
            },
            admin: Admin::new(seed),
            churn: options.churn,
            plant: options.plant,
            coverage: BTreeMap::new(),
            disk_prng: prng("disk"),
            fault_prng: prng("nemesis"),
            fault_turns: 0,
            reduction: options.reduction.clone(),
            plant_prng: prng("plant"),
            clock_prng: prng("clocks"),
            schedule_prng: prng("schedule"),
            seed,
            faults,
            is_calm: false,
        };
        for id in 1..=options.members {
            let disk = world.new_disk(id);
            world.members.push(Member::new(id, disk));
        }
        world
    }

    /// The empty disk of a member.
    pub(crate) fn new_disk(&self, id: u64) -> Disk {
        let salts = Prng::new(self.seed, &format!("salts {id}"));
        Disk::new(self.faults.segment_bytes, salts, self.plant)
    }

    pub(crate) fn begin(&mut self) -> Checked {
        self.start_all()?;
        self.schedule(self.workload.gap_us, 0, Happening::Clients);
        self.schedule(self.faults.gap_us, 0, Happening::Fault);
        if self.churn {
            self.schedule(self.faults.gap_us, 0, Happening::Admin);
        }
        Ok(())
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.members.iter().map(|member| member.id).collect()
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    pub(crate) fn planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    pub(crate) fn schedule(&mut self, after_us: u64, member: usize, what: Happening) {
        self.schedule_at(self.now + after_us, member, what);
    }

    pub(crate) fn schedule_at(&mut self, at: u64, member: usize, what: Happening) {
        self.order += 1;
        self.agenda.push(Reverse(Scheduled {
            at,
            order: self.order,
            member,
            what,
        }));
    }

    /// When the last message on its way arrives.
    pub(crate) fn last_arrival(&self) -> u64 {
        let messages = self
            .agenda
            .iter()
            .filter(|next| matches!(next.0.what, Happening::Message { .. }));
        messages.map(|next| next.0.at).max().unwrap_or(0)
    }

    pub(crate) fn run_until(&mut self, until: u64) -> Checked {
        while self.agenda.peek().is_some_and(|next| next.0.at <= until) {
            let Some(Reverse(next)) = self.agenda.pop() else {
                break;
            };
            self.now = next.at;
            let over = self
                .reduction
                .until
                .is_some_and(|until| self.trace.events() >= until);
            require(!over, Invariant::Stopped, || "as asked for".to_owned())?;
            let resumes = self
                .members
                .get(next.member)
                .map_or(0, |member| member.paused_until);
            let own = !matches!(
                next.what,
                Happening::Admin | Happening::Clients | Happening::Fault | Happening::NetworkHeals
            );
            if own && resumes > self.now {
                self.schedule_at(resumes, next.member, next.what);
                continue;
            }
            self.happen(next.member, next.what)?;
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, at: usize, what: Happening) -> Checked {
        match what {
            Happening::Tick { life } => self.tick(at, life),
            Happening::Flush { life } => self.flush(at, life),
            Happening::Message { bytes, damaged } => self.receive(at, &bytes, damaged),
            Happening::Image { message, store } => {
                let numbers = [self.members[at].id, message.from];
                self.trace.note(self.now, "image", &numbers);
                self.count("images received");
                self.give(
                    at,
                    Input::Snapshot {
                        message: *message,
                        store,
                    },
                )
            }
            Happening::SnapshotSent { life, to, delivered } => {
                self.give_life(at, life, Input::SnapshotSent { to, delivered })
            }
            Happening::Unreachable { life, peer } => self.give_life(at, life, Input::Unreachable { peer }),
            Happening::Written { life } => self.written(at, life),
            Happening::WrittenEarly { life, number } => self.give_life(at, life, Input::Persisted { number }),
            Happening::ImageWritten {
                life,
                mark,
                store,
                fails,
            } => self.image_written(at, life, mark, *store, fails),
            Happening::Request { id } => self.take(at, id),
            Happening::Start { life } => {
                let due = self.members[at].life == life && self.members[at].may_start();
                if due { self.start(at) } else { Ok(()) }
            }
            Happening::SlowDiskEnds => {
                self.members[at].slowness = 1;
                Ok(())
            }
            Happening::FullDiskEnds => {
                self.members[at].disk.set_full(false);
                Ok(())
            }
            Happening::Told { by } => self.give(at, Input::ToldRemoved { by }),
            Happening::Admin => self.administer(),
            Happening::Clients => self.clients(),
            Happening::Fault => self.fault(),
            Happening::NetworkHeals => {
                self.network.block([]);
                self.network.set_storm(false);
                self.network.clog(None);
                Ok(())
            }
        }
    }

    /// Starts every member that is down and belongs to the cluster, or may do so.
    pub(crate) fn start_all(&mut self) -> Checked {
        for at in 0..self.members.len() {
            if self.members[at].may_start() {
                self.start(at)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, at: usize) -> Checked {
        let founders = self.members.iter().filter(|member| member.founder);
        let voters = founders.map(|member| member.id).collect();
        let incarnation = self.schedule_prng.draw();
        let member = &mut self.members[at];
        member.life += 1;
        let life = member.life;
        self.trace.note(self.now, "start", &[member.id, life]);
        let broken = |detail: String| Violation {
            invariant: Invariant::Recovery,
            detail,
        };
        let mut prng = Prng::new(self.seed, &format!("recovery {} {life}", member.id));
        let cut = !self.is_calm && prng.chance(self.faults.recovery_cut);
        let recovered = member.disk.recover(&mut prng, cut);
        if member.disk.take_refusal() {
            self.count("damage refused");
        }
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(DiskError::Cut | DiskError::Io | DiskError::NoRoom) if !self.is_calm => {
                self.start_fails(at, &mut prng);
                return Ok(());
            }
            Err(error) => return Err(broken(format!("member {}: {error}", self.members[at].id))),
        };
        let member = &mut self.members[at];
        let config = ReplicaConfig {
            id: member.id,
            voters: if member.founder { voters } else { Vec::new() },
            incarnation,
            seed: self.seed,
            limits: self.limits.clone(),
        };
        let replica = Replica::new(config, recovered)
            .map_err(|error| broken(format!("member {}: {error}", member.id)))?;
        self.oracle.started(&replica.status())?;
        member.log = member.disk.synced().clone();
        member.clock = Clock::draw(&mut self.clock_prng, self.faults.drift_ppm, self.now);
        member.replica = Some(replica);
        let period = member.clock.true_us(self.limits.tick_ms);
        let first = self.schedule_prng.below(period);
        self.schedule(first, at, Happening::Tick { life });
        self.flush(at, life)
    }

    /// The power goes, or the disk fails, before a member is up again.
    fn start_fails(&mut self, at: usize, prng: &mut Prng) {
        let member = &mut self.members[at];
        let (id, life) = (member.id, member.life);
        let leaves = Leaves::draw(prng);
        member.disk.crash(prng, leaves);
        let rest = prng.long_tailed(RESTART_US);
        self.trace.note(self.now, "start fails", &[id, life]);
        self.count("recoveries cut");
        self.schedule(rest, at, Happening::Start { life });
    }

    /// A member stops at this very moment.
    pub(crate) fn crash(&mut self, at: usize) {
        let member = &mut self.members[at];
        if member.replica.take().is_none() {
            return;
        }
        member.fuse = None;
        member.ends_in_write = false;
        member.flush_due = false;
        member.paused_until = 0;
        member.told_unreachable.clear();
        let (id, life) = (member.id, member.life);
        let mut prng = Prng::new(self.seed, &format!("crash {id} {life}"));
        let leaves = Leaves::draw(&mut prng);
        member.disk.crash(&mut prng, leaves);
        let taken = std::mem::take(&mut member.taken);
        self.workload.crash(id, &taken);
        self.watches.crash(id);
        self.forget_changes(id);
        match self.plant {
            Some(Plant::HardStateLost) => self.members[at].disk.lose_hard_state(),
            Some(Plant::EntriesLost) => self.members[at].disk.lose_entries(3),
            Some(Plant::RemovedRestarts) if self.oracle.has_ended(id) => self.members[at].disk.lose_roster(),
            Some(Plant::RosterLost) => self.members[at].disk.lose_roster(),
            Some(Plant::IdReused) if self.plant_prng.coin() => self.members[at].disk.wipe(),
            Some(_) | None => {}
        }
        self.trace.note(self.now, "crash", &[id, life]);
        self.count("crashes");
        if !self.is_calm {
            let rest = prng.long_tailed(RESTART_US);
            self.schedule(rest, at, Happening::Start { life });
        }
    }

    fn tick(&mut self, at: usize, life: u64) -> Checked {
        if self.members[at].living(life).is_none() {
            return Ok(());
        }
        let period = self.members[at].clock.true_us(self.limits.tick_ms);
        self.schedule(period, at, Happening::Tick { life });
        if self.planted(Plant::ClockJump) && self.plant_prng.below(100) == 0 {
            self.members[at].clock.jump(3_600_000);
        }
        self.trace.note(self.now, "tick", &[self.members[at].id]);
        self.give(at, Input::Tick)
    }

    fn receive(&mut self, at: usize, bytes: &[u8], damaged: bool) -> Checked {
        let decoded = decode_message(bytes);
        if damaged {
            self.count("damaged messages");
            // What is no message at all is noticed without a checksum.
            if !self.planted(Plant::FrameUnchecked) || decoded.is_err() {
                return Ok(());
            }
        }
        let Ok(message) = decoded else {
            return require(false, Invariant::Fatal, || "a message does not decode".to_owned());
        };
        let kind = u64::from(message.msg_type.unsigned_abs());
        let (id, from) = (self.members[at].id, message.from);
        self.trace.note(
            self.now,
            "message",
            &[id, from, kind, message.term, message.index],
        );
        if !self.members[at].is_up() {
            self.tell_unreachable(from, id);
            return Ok(());
        }
        self.give(at, Input::Message(message))
    }

    /// The sender of a message may learn that it did not arrive, at most once a tick.
    fn tell_unreachable(&mut self, sender: u64, peer: u64) {
        let Some(at) = self.members.iter().position(|member| member.id == sender) else {
            return;
        };
        let member = &mut self.members[at];
        let tick_us = member.clock.true_us(self.limits.tick_ms);
        let recent = member
            .told_unreachable
            .get(&peer)
            .is_some_and(|told| told + tick_us > self.now);
        if member.is_up() && !recent && self.schedule_prng.coin() {
            member.told_unreachable.insert(peer, self.now);
            let life = member.life;
            self.schedule(0, at, Happening::Unreachable { life, peer });
        }
    }

    fn give_life(&mut self, at: usize, life: u64, input: Input) -> Checked {
        if self.members[at].living(life).is_none() {
            return Ok(());
        }
        self.give(at, input)
    }

    /// Gives an input to a member, if it is up, and carries out what it asks for.
    pub(crate) fn give(&mut self, at: usize, input: Input) -> Checked {
        let batching = self.faults.batching;
        let member = &mut self.members[at];
        let now_ms = member.clock.millis(self.now);
        let Some(replica) = member.replica.as_mut() else {
            return Ok(());
        };
        if !batching {
            let effects = replica.step(input, now_ms);
            return self.obey(at, effects);
        }
        replica.queue(input, now_ms);
        let life = member.life;
        if !std::mem::replace(&mut member.flush_due, true) {
            let rest = self.schedule_prng.below(BATCH_US);
            self.schedule(rest, at, Happening::Flush { life });
        }
        Ok(())
    }

    fn flush(&mut self, at: usize, life: u64) -> Checked {
        let member = &mut self.members[at];
        let now_ms = member.clock.millis(self.now);
        let Some(replica) = member.living(life) else {
            return Ok(());
        };
        let effects = replica.flush(now_ms);
        member.flush_due = false;
        self.obey(at, effects)
    }

    fn obey(&mut self, at: usize, effects: Vec<Effect>) -> Checked {
        for effect in &effects {
            if let Effect::Persist(persist) = effect {
                let snapshot = persist.snapshot.as_ref();
                let hard_state = persist.hard_state.as_ref();
                self.members[at].log.write(snapshot, &persist.entries, hard_state);
            }
        }
        // What a member took in one batch with the news that it was removed is not done any more.
        if !effects.iter().any(|effect| matches!(effect, Effect::Removed)) {
            self.observe(at)?;
        }
        for effect in effects {
            if self.members[at].burns_out() {
                self.crash(at);
            }
            // An effect may have ended it too.
            if !self.members[at].is_up() {
                return Ok(());
            }
            self.carry_out(at, effect)?;
        }
        Ok(())
    }

    fn observe(&mut self, at: usize) -> Checked {
        let World {
            members, oracle, now, ..
        } = self;
        let Some(replica) = &members[at].replica else {
            return Ok(());
        };
        let look = Look {
            status: replica.status(),
            digest: replica.store().digest(),
            log: &members[at].log,
            roster: replica.roster(),
        };
        let holds = |id, index, term| {
            let member = members.iter().find(|member| member.id == id);
            member.is_some_and(|member| member.disk.synced().holds(index, term))
        };
        oracle.observe(&look, *now, holds)
    }

    /// A request reaches its member.
    fn take(&mut self, at: usize, id: u64) -> Checked {
        let Some(request) = self.workload.request(id).cloned() else {
            return Ok(());
        };
        self.trace.note(self.now, "request", &[self.members[at].id, id]);
        if !self.members[at].is_up() {
            self.workload.finish(id, Outcome::Refused);
            return Ok(());
        }
        self.members[at].taken.insert(id);
        match request.wish.command(&request.key) {
            Some(command) => self.propose(at, id, command),
            None => self.read(at, id),
        }
    }

    pub(crate) fn send_request(&mut self, at: usize, id: u64) {
        let rest = self.workload.prng().below(REQUEST_US);
        self.schedule(rest, at, Happening::Request { id });
    }
}
