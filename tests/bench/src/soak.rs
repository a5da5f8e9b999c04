//! A long run: three members under a churn of keys, leases and watches with a fault every half minute. Nothing may get lost,
//! and nothing may grow.

mod clients;
mod watches;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use berth_harness::{Berth, Cluster, Scratch, until};

use crate::figures::resident_mebibytes;
use clients::Clients;
use watches::Watches;

/// Members.
const MEMBERS: usize = 3;
/// Time between the ends of two faults.
const FAULTS: Duration = Duration::from_secs(30);
/// How long a member is dead, or stands still.
const AWAY: Duration = Duration::from_secs(4);
/// Time between two looks at the members.
const LOOK: Duration = Duration::from_secs(2);
/// The least time: each third has to have seen a fault of each kind.
const LEAST_MINUTES: u64 = 3;
/// An image for so many writes, so that logs have their full length soon.
const SNAPSHOT_COUNT: &str = "5000";

/// What the last third may need more than the middle one, of all members together. Memory: what an image that is being written
/// or received takes, here some 2 MiB, and what the allocator holds back, some 10 MiB for each member.
const MEMORY_GROWTH_MIB: f64 = 36.0;
/// Descriptors: connections of requests that are open just then, and those of watches that begin anew while the old ones are
/// not known to be gone.
const DESCRIPTOR_GROWTH: f64 = 200.0;
/// Disk: a segment of the log and an image more or less for each member.
const DISK_GROWTH_MIB: f64 = 48.0;

/// What was seen of a member at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    memory_mib: f64,
    descriptors: f64,
    disk_mib: f64,
}

impl Needs {
    fn of(process: u32, data: &Path) -> Needs {
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        Needs {
            memory_mib: resident_mebibytes(process),
            descriptors: number(u64::try_from(descriptors).unwrap_or(u64::MAX)),
            disk_mib: number(bytes_below(data)) / number(1 << 20),
        }
    }

    fn and(self, other: Needs, join: impl Fn(f64, f64) -> f64) -> Needs {
        Needs {
            memory_mib: join(self.memory_mib, other.memory_mib),
            descriptors: join(self.descriptors, other.descriptors),
            disk_mib: join(self.disk_mib, other.disk_mib),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Bytes that a directory takes on the disk. Files come and go meanwhile.
fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(known) if known.is_dir() => bytes_below(&entry.path()),
        Ok(known) => std::os::unix::fs::MetadataExt::blocks(&known) * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

/// All members at a moment.
struct Look {
    at: Duration,
    members: Vec<Needs>,
}

impl Look {
    fn total(&self) -> Needs {
        let members = self.members.iter().copied();
        members.fold(Needs::default(), |sum, needs| {
            sum.and(needs, |one, other| one + other)
        })
    }
}

/// The peaks of the sums over all members from one moment to another.
fn peak(looks: &[Look], from: Duration, to: Duration) -> anyhow::Result<Needs> {
    let within = looks.iter().filter(|look| (from..to).contains(&look.at));
    let peak = within
        .map(Look::total)
        .reduce(|one, other| one.and(other, f64::max));
    peak.context("nobody was looked at")
}

/// A fault of one member, and its end.
fn strike(cluster: &mut Cluster, number: usize) -> String {
    // Each kind of fault meets the leader and the others in turns.
    let leader = cluster.leader();
    let victim = (leader + number / 3) % MEMBERS;
    let role = if victim == leader {
        "the leader"
    } else {
        "a follower"
    };
    let kind = match number % 3 {
        0 => {
            cluster.kill(victim);
            pass(AWAY);
            cluster.restart(victim);
            "killed"
        }
        1 => {
            cluster.pause(victim);
            pass(AWAY);
            cluster.resume(victim);
            "stood still"
        }
        _ => {
            cluster.stop(victim);
            pass(AWAY);
            cluster.restart(victim);
            "stopped"
        }
    };
    cluster.wait_all();
    format!("{role} {kind}")
}

fn pass(time: Duration) {
    let end = Instant::now() + time;
    until("a moment", time + Duration::from_secs(30), || {
        (Instant::now() >= end).then_some(())
    });
}

fn look(cluster: &Cluster, begun: Instant) -> Look {
    let members = cluster.ids().into_iter().zip(cluster.members());
    Look {
        at: begun.elapsed(),
        members: members
            .map(|(process, member)| Needs::of(process, &member.data))
            .collect(),
    }
}

fn tell(what: &str, look: &Look, clients: &Clients, watches: &Watches) {
    let mut text = format!("{what}: {}, {}", clients.told(), watches.told());
    for (at, needs) in look.members.iter().enumerate() {
        let Needs {
            memory_mib,
            descriptors,
            disk_mib,
        } = needs;
        // A String takes everything.
        let _ = write!(
            text,
            "; m{at} {memory_mib:.0} MiB, {descriptors:.0} descriptors, {disk_mib:.0} MiB of disk"
        );
    }
    println!("{text}");
}

/// Runs for so many minutes.
pub(crate) fn run(minutes: &str) -> anyhow::Result<()> {
    let minutes: u64 = minutes.parse().context("MINUTES is a number")?;
    ensure!(
        minutes >= LEAST_MINUTES,
        "a soak takes {LEAST_MINUTES} minutes at least"
    );
    let time = Duration::from_secs(minutes * 60);
    println!(
        "# soak: {MEMBERS} members for {minutes} minutes, {}, {}, a fault every {} s",
        clients::WHAT,
        watches::WHAT,
        FAULTS.as_secs()
    );
    let berth = Berth::new(crate::berth_program()?);
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth, &scratch, MEMBERS, &["--snapshot-count", SNAPSHOT_COUNT]);
    cluster.wait_all();
    let clients = Arc::new(Clients::new(cluster.clients()));
    let working = clients.start();
    let watches = Arc::new(Watches::new(cluster.clients()));
    let watching = watches.start();
    let begun = Instant::now();
    let (mut looks, mut told, mut faults) = (Vec::new(), 0, Vec::new());
    let mut next = FAULTS;
    while begun.elapsed() < time {
        pass(LOOK);
        looks.push(look(&cluster, begun));
        let minute = begun.elapsed().as_secs() / 60;
        if let Some(last) = looks.last().filter(|_| minute > told) {
            told = minute;
            tell(&format!("minute {minute}"), last, &clients, &watches);
        }
        if begun.elapsed() >= next {
            faults.push(strike(&mut cluster, faults.len()));
            next = begun.elapsed() + FAULTS;
        }
    }
    clients.stop();
    for thread in working {
        thread.join().map_err(|_| anyhow::anyhow!("a client broke"))?;
    }
    clients.check_all()?;
    watches.finish(clients.last_beat()?)?;
    watching
        .join()
        .map_err(|_| anyhow::anyhow!("the watches broke"))??;
    println!("faults: {}", faults.join(", "));
    if let Some(last) = looks.last() {
        tell("the end", last, &clients, &watches);
    }
    ensure!(
        clients.lost() == 0,
        "{} acknowledged writes were lost",
        clients.lost()
    );
    judge(&looks, time)
}

/// Fails when the last third needed more than the middle one.
fn judge(looks: &[Look], time: Duration) -> anyhow::Result<()> {
    let middle = peak(looks, time / 3, time * 2 / 3)?;
    let last = peak(looks, time * 2 / 3, time * 2)?;
    let grown = last.and(middle, |last, middle| last - middle);
    for (what, middle, last, grown, bound) in [
        (
            "MiB of memory",
            middle.memory_mib,
            last.memory_mib,
            grown.memory_mib,
            MEMORY_GROWTH_MIB,
        ),
        (
            "descriptors",
            middle.descriptors,
            last.descriptors,
            grown.descriptors,
            DESCRIPTOR_GROWTH,
        ),
        (
            "MiB of disk",
            middle.disk_mib,
            last.disk_mib,
            grown.disk_mib,
            DISK_GROWTH_MIB,
        ),
    ] {
        println!("all members: at most {middle:.0} {what} in the middle third, {last:.0} in the last one");
        ensure!(
            grown <= bound,
            "{grown:.0} {what} more in the last third; {bound:.0} are allowed"
        );
    }
    Ok(())
}
