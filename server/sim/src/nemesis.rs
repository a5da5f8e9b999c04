//! Who asks for what when, and which fault strikes when.

use crate::faults::Fault;
use crate::invariants::Checked;
use crate::network::{ring, split};
use crate::prng::Prng;
use crate::watches::Watch;
use crate::workload::{Outcome, Wish, key};
use crate::world::{Happening, World};
use berth_replica::{Input, Role};

/// Watches open at most, so that a run stays short.
const MAX_WATCHES: usize = 24;
/// A partition or a storm lasts about this long; the elections within it take one to three seconds.
const PARTITION_US: u64 = 2_500_000;
/// A pause or a slow disk lasts at most this long.
const SLOW_US: u64 = 3_000_000;
/// A slow disk takes so many times as long, at most.
const MAX_SLOWNESS: u64 = 30;
/// A disk that fails does so within so many steps on files.
const FAILURE_STEPS: u64 = 40;
/// A member that stops midway does so within so many effects.
const FUSE_EFFECTS: u64 = 60;

impl World {
    /// The clients' turn.
    pub(crate) fn clients(&mut self) -> Checked {
        if self.is_calm {
            return Ok(());
        }
        let gap = self.workload.gap_us;
        let rest = self.workload.prng().below(2 * gap);
        self.schedule(rest, 0, Happening::Clients);
        for _ in 0..self.workload.burst() {
            let at = self.any_member();
            let id = self.workload.draw(self.members[at].id, self.now);
            if let Some(Wish::Call(_, Some(ttl))) = self.workload.request(id).map(|request| request.wish)
                && let Some(value) = self.workload.request(id).and_then(|request| request.wish.value())
            {
                self.oracle.lease(value, self.now, ttl);
            }
            if self.reduction.takes_request(id) {
                self.send_request(at, id);
            } else {
                self.workload.finish(id, Outcome::Refused);
            }
        }
        if self.reduction.no_watches {
            return Ok(());
        }
        match self.workload.prng().below(24) {
            0 | 1 => self.watch(),
            2 => self.unwatch(),
            _ => Ok(()),
        }
    }

    fn any_member(&mut self) -> usize {
        let count = self.members.len() as u64;
        usize::try_from(self.workload.prng().below(count)).unwrap_or(0)
    }

    fn watch(&mut self) -> Checked {
        let at = self.any_member();
        let member = &self.members[at];
        let (true, id) = (self.watches.len() < MAX_WATCHES, member.id) else {
            return Ok(());
        };
        let Some(index) = member.replica.as_ref().map(|replica| replica.store().index()) else {
            return Ok(());
        };
        if member.paused_until > self.now {
            return Ok(());
        }
        let prng = self.workload.prng();
        let (path, recursive) = match prng.below(6) {
            0 => ("/", true),
            1 => ("/k", true),
            2 => ("/t", true),
            3 => ("/q", true),
            4 => ("/k/0", false),
            _ => ("/t/0", prng.coin()),
        };
        let since = match prng.below(5) {
            0 | 1 => None,
            2 => Some(index.saturating_sub(prng.below(60))),
            3 => Some(prng.below(index + 1)),
            _ => Some(index + prng.below(20)),
        };
        let stream = prng.coin();
        let key = key(path);
        let watch = Watch::new(id, key.clone(), recursive, stream, since);
        let id = self.watches.add(watch);
        self.count("watches");
        self.trace.note(self.now, "watch", &[id.0]);
        self.give(
            at,
            Input::Watch {
                id,
                key,
                recursive,
                stream,
                since,
            },
        )
    }

    fn unwatch(&mut self) -> Checked {
        let at = self.any_member();
        let draw = self.workload.prng().draw();
        let Some(id) = self.watches.nth_of(self.members[at].id, draw) else {
            return Ok(());
        };
        // With a batch under way its events may still come.
        if self.members[at].flush_due || self.members[at].paused_until > self.now || self.faults.batching {
            return Ok(());
        }
        self.watches.remove(id);
        self.give(at, Input::Unwatch { id })
    }

    /// A fault's turn.
    pub(crate) fn fault(&mut self) -> Checked {
        if self.is_calm {
            return Ok(());
        }
        let turn = self.fault_turns;
        self.fault_turns += 1;
        self.fault_prng = Prng::new(self.seed, &format!("fault {turn}"));
        let rest = self.fault_prng.below(2 * self.faults.gap_us);
        self.schedule(rest, 0, Happening::Fault);
        if !self.reduction.takes_fault(turn) {
            return Ok(());
        }
        let Some(fault) = self.fault_prng.pick(&self.faults.enabled) else {
            return Ok(());
        };
        let count = self.members.len() as u64;
        let at = usize::try_from(self.fault_prng.below(count)).unwrap_or(0);
        self.trace
            .note(self.now, "fault", &[fault as u64, self.members[at].id]);
        match fault {
            Fault::Crash if self.fault_prng.coin() => self.crash(at),
            // It stops with the next write under way.
            Fault::Crash => self.members[at].ends_in_write = true,
            Fault::CrashMidway => self.members[at].fuse = Some(self.fault_prng.below(FUSE_EFFECTS)),
            Fault::PowerCut => self.power_cut(),
            Fault::Partition
            | Fault::OneWay
            | Fault::IsolateLeader
            | Fault::Storm
            | Fault::Ring
            | Fault::Clog => self.disturb(fault),
            Fault::DiskError | Fault::FullDisk | Fault::Rot => self.spoil_disk(at, fault),
            Fault::HandOver => {
                self.count("leadership handed on");
                return self.give(at, Input::TransferLeader { to: None });
            }
            Fault::Pause => {
                let end = self.now + self.fault_prng.below(SLOW_US);
                self.members[at].paused_until = end.min(self.faults.load_us);
                self.count("pauses");
            }
            Fault::SlowDisk => {
                self.members[at].slowness = self.fault_prng.between(2, MAX_SLOWNESS);
                let lasts = self.fault_prng.below(SLOW_US);
                self.schedule(lasts, at, Happening::SlowDiskEnds);
                self.count("slow disks");
            }
        }
        Ok(())
    }

    fn spoil_disk(&mut self, at: usize, fault: Fault) {
        if fault == Fault::DiskError {
            let steps = self.fault_prng.below(FAILURE_STEPS);
            self.members[at].disk.fail_after(Some(steps));
        } else if fault == Fault::FullDisk {
            self.members[at].disk.set_full(true);
            let lasts = self.fault_prng.long_tailed(PARTITION_US);
            self.schedule(lasts, at, Happening::FullDiskEnds);
            self.count("full disks");
        } else if self.members[at].is_up() {
            self.crash(at);
            self.members[at].disk.rot(&mut self.fault_prng);
            self.count("bits changed");
        }
    }

    /// Everything stops.
    pub(crate) fn power_cut(&mut self) {
        self.count("power cuts");
        (0..self.members.len()).for_each(|at| self.crash(at));
    }

    fn disturb(&mut self, fault: Fault) {
        let ids = self.ids();
        let links = match fault {
            Fault::IsolateLeader => {
                let leader = self.members.iter().find(|member| {
                    let status = member.replica.as_ref().map(|replica| replica.status());
                    status.is_some_and(|status| status.role == Role::Leader)
                });
                split(
                    &ids,
                    &leader.map(|member| member.id).into_iter().collect::<Vec<_>>(),
                )
            }
            Fault::OneWay => {
                let pairs = ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b)));
                let pairs: Vec<(u64, u64)> = pairs.filter(|(a, b)| a != b).collect();
                pairs
                    .into_iter()
                    .filter(|_| self.fault_prng.below(3) == 0)
                    .collect()
            }
            Fault::Partition => {
                let side: Vec<u64> = ids.iter().copied().filter(|_| self.fault_prng.coin()).collect();
                split(&ids, &side)
            }
            Fault::Ring => ring(&ids),
            Fault::Clog => {
                let from = self.fault_prng.pick(&ids);
                let to = self.fault_prng.pick(&ids);
                self.network.clog(from.zip(to));
                Vec::new()
            }
            Fault::Storm
            | Fault::Crash
            | Fault::CrashMidway
            | Fault::PowerCut
            | Fault::Pause
            | Fault::SlowDisk
            | Fault::DiskError
            | Fault::FullDisk
            | Fault::Rot
            | Fault::HandOver => {
                self.network.set_storm(true);
                Vec::new()
            }
        };
        self.network.block(links);
        self.count("network faults");
        let lasts = self.fault_prng.long_tailed(PARTITION_US);
        self.schedule(lasts, 0, Happening::NetworkHeals);
    }
}
