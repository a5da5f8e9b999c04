//! Who asks for what when, and which fault strikes when.

use crate::faults::Fault;
use crate::invariants::Checked;
use crate::network::split;
use crate::watches::Watch;
use crate::workload::{Wish, key};
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
            self.send_request(at, id);
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
        let rest = self.fault_prng.below(2 * self.faults.gap_us);
        self.schedule(rest, 0, Happening::Fault);
        let Some(fault) = self.fault_prng.pick(&self.faults.enabled) else {
            return Ok(());
        };
        let count = self.members.len() as u64;
        let at = usize::try_from(self.fault_prng.below(count)).unwrap_or(0);
        self.trace
            .note(self.now, "fault", &[fault as u64, self.members[at].id]);
        match fault {
            Fault::Crash => self.crash(at),
            Fault::CrashMidway => self.members[at].fuse = Some(self.fault_prng.below(FUSE_EFFECTS)),
            Fault::PowerCut => self.power_cut(),
            Fault::Partition | Fault::OneWay | Fault::IsolateLeader | Fault::Storm => self.disturb(fault),
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
            Fault::Storm
            | Fault::Crash
            | Fault::CrashMidway
            | Fault::PowerCut
            | Fault::Pause
            | Fault::SlowDisk => {
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
