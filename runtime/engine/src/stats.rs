//! What a container uses, as the document of `stats` shows it.

use std::collections::BTreeMap;

use berth_exec::{IoCount, Usage};
use berth_plan::Network;
use berth_wire::docker::{
    BlkioEntry, BlkioStats, ContainerStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats,
    ThrottlingData,
};

use crate::clock;
use crate::container::Container;

/// Nanoseconds in a tick of `/proc/stat`: 100 a second.
const TICK: u64 = 10_000_000;

/// The columns of a CPU in `/proc/stat` that make its time: user, nice, system, idle, iowait, irq, softirq.
const CPU_COLUMNS: usize = 7;

/// One look at everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Nanoseconds since 1970.
    read: i64,
    usage: Usage,
    /// CPU time of the whole host, idle time included.
    host_cpu: u64,
    networks: BTreeMap<String, NetworkStats>,
}

/// Takes a sample of a container that runs. May block.
pub(crate) fn sample(usage: Usage, container: &Container) -> Sample {
    let own_network = container.spec.network != Network::Host;
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let networks = if own_network && container.run.pid > 0 {
        interfaces(&text(&format!("/proc/{}/net/dev", container.run.pid)))
    } else {
        BTreeMap::new()
    };
    Sample {
        read: clock::now(),
        usage,
        host_cpu: host_cpu(&text("/proc/stat")),
        networks,
    }
}

/// The document of a container that runs; `before` is the sample before this one.
pub(crate) fn document(
    container: &Container,
    before: Option<&Sample>,
    sample: &Sample,
    cpus: u32,
    memory_total: u64,
) -> ContainerStats {
    let usage = &sample.usage;
    let memory = &usage.memory;
    ContainerStats {
        read: clock::render(sample.read),
        preread: clock::render(before.map_or(0, |before| before.read)),
        pids_stats: PidsStats {
            current: usage.pids,
            limit: usage.pids_limit.unwrap_or_default(),
        },
        blkio_stats: BlkioStats {
            io_service_bytes_recursive: counts(&usage.io_bytes),
            io_serviced_recursive: counts(&usage.io_operations),
            ..BlkioStats::default()
        },
        cpu_stats: cpu(sample, cpus),
        precpu_stats: before.map_or_else(CpuStats::default, |before| cpu(before, cpus)),
        memory_stats: MemoryStats {
            usage: memory.usage,
            max_usage: memory.max_usage.unwrap_or_default(),
            stats: memory.stats.clone(),
            failcnt: memory.failures.unwrap_or_default(),
            limit: memory.limit.map_or(memory_total, |limit| limit.min(memory_total)),
        },
        networks: sample.networks.clone(),
        ..nothing(container)
    }
}

/// The document of a container that does not run.
pub(crate) fn nothing(container: &Container) -> ContainerStats {
    ContainerStats {
        read: clock::render(0),
        preread: clock::render(0),
        name: format!("/{}", container.name),
        id: container.id.clone(),
        ..ContainerStats::default()
    }
}

fn cpu(sample: &Sample, cpus: u32) -> CpuStats {
    let cpu = &sample.usage.cpu;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cpu.total,
            percpu_usage: cpu.per_cpu.clone(),
            usage_in_kernelmode: cpu.system,
            usage_in_usermode: cpu.user,
        },
        system_cpu_usage: sample.host_cpu,
        online_cpus: u64::from(cpus),
        throttling_data: ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_time,
        },
    }
}

fn counts(counts: &[IoCount]) -> Option<Vec<BlkioEntry>> {
    let entry = |count: &IoCount| BlkioEntry {
        major: count.major,
        minor: count.minor,
        op: count.operation.clone(),
        value: count.value,
    };
    Some(counts.iter().map(entry).collect())
}

/// The first line of `/proc/stat`, in nanoseconds.
fn host_cpu(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
    let columns = line.unwrap_or_default().split_whitespace().take(CPU_COLUMNS);
    let ticks = columns.filter_map(|column| column.parse::<u64>().ok());
    ticks.fold(0, u64::saturating_add).saturating_mul(TICK)
}

/// `/proc/PID/net/dev` without the loopback.
fn interfaces(text: &str) -> BTreeMap<String, NetworkStats> {
    let interface = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let at = |place: usize| numbers.get(place).copied();
        let stats = NetworkStats {
            rx_bytes: at(0)?,
            rx_packets: at(1)?,
            rx_errors: at(2)?,
            rx_dropped: at(3)?,
            tx_bytes: at(8)?,
            tx_packets: at(9)?,
            tx_errors: at(10)?,
            tx_dropped: at(11)?,
        };
        Some((name.trim().to_owned(), stats)).filter(|(name, _)| name != "lo")
    };
    text.lines().filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_kernel() {
        let dev = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n    \
            lo: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0\n  eth0: 796 10 2 3 0 0 0 0 560 8 4 5 0 0 0 0\n";
        let found = interfaces(dev);
        assert_eq!(found.len(), 1);
        let eth0 = &found["eth0"];
        assert_eq!(
            (eth0.rx_bytes, eth0.rx_dropped, eth0.tx_bytes, eth0.tx_dropped),
            (796, 3, 560, 5)
        );
        assert_eq!(host_cpu("cpu  1 2 3 4 5 6 7 100 100 100\ncpu0 9\n"), 28 * TICK);
        assert_eq!(host_cpu("nothing"), 0);
        for cut in 0..dev.len() {
            interfaces(&dev[cut..]);
            host_cpu(&dev[..cut]);
        }
    }
}
