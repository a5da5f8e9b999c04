//! What a control group has used, as the kernel counts it. A counter that the kernel does not have is 0 or absent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use berth_plan::CgroupLayout;

/// What stands for "no limit" in version 1 is rounded to pages: no machine has this much memory, in bytes.
const NO_LIMIT: u64 = 1 << 60;

/// Nanoseconds in a tick of `cpuacct.stat`: 100 a second on every architecture that containers run on.
const TICK: u64 = 10_000_000;

const NANOS_PER_MICRO: u64 = 1_000;

/// The counters of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time.
    pub cpu: CpuUsage,
    /// Memory.
    pub memory: MemoryUsage,
    /// Processes and threads now.
    pub pids: u64,
    /// How many there may be; none for any number.
    pub pids_limit: Option<u64>,
    /// Bytes read from and written to block devices.
    pub io_bytes: Vec<IoCount>,
    /// The operations of the same.
    pub io_operations: Vec<IoCount>,
}

/// CPU time, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// All of it.
    pub total: u64,
    /// In programs.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// Of each CPU; version 1 only.
    pub per_cpu: Vec<u64>,
    /// Periods of a quota that have passed.
    pub periods: u64,
    /// Those in which the quota was used up.
    pub throttled_periods: u64,
    /// How long it was held back.
    pub throttled_time: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Now, caches included.
    pub usage: u64,
    /// The most so far; version 1 only.
    pub max_usage: Option<u64>,
    /// How often the limit was met; version 1 only.
    pub failures: Option<u64>,
    /// None without a limit.
    pub limit: Option<u64>,
    /// The lines of `memory.stat`.
    pub stats: BTreeMap<String, u64>,
}

/// One number about one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoCount {
    /// The device's major number.
    pub major: u64,
    /// Its minor number.
    pub minor: u64,
    /// `Read`, `Write` and others of the kernel's own.
    pub operation: String,
    /// The number.
    pub value: u64,
}

/// Reads everything of a directory, relative to the mount points.
pub(crate) fn read(layout: &CgroupLayout, directory: &Path) -> Usage {
    match layout {
        CgroupLayout::V1 { .. } => {
            let file = |controller: &str, name: &str| {
                let mount = layout.controller(controller);
                mount.map_or_else(String::new, |mount| text(mount.join(directory).join(name)))
            };
            version_one(&file)
        }
        CgroupLayout::V2 { mount, .. } => {
            let directory = mount.join(directory);
            version_two(&|name: &str| text(directory.join(name)))
        }
    }
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn version_one(file: &dyn Fn(&str, &str) -> String) -> Usage {
    let one = |controller: &str, name: &str| number(&file(controller, name));
    let ticks = pairs(&file("cpuacct", "cpuacct.stat"));
    let throttling = pairs(&file("cpu", "cpu.stat"));
    let of = |map: &BTreeMap<String, u64>, key: &str| map.get(key).copied().unwrap_or_default();
    let per_cpu = file("cpuacct", "cpuacct.usage_percpu");
    Usage {
        cpu: CpuUsage {
            total: one("cpuacct", "cpuacct.usage").unwrap_or_default(),
            user: of(&ticks, "user").saturating_mul(TICK),
            system: of(&ticks, "system").saturating_mul(TICK),
            per_cpu: per_cpu.split_whitespace().filter_map(number).collect(),
            periods: of(&throttling, "nr_periods"),
            throttled_periods: of(&throttling, "nr_throttled"),
            throttled_time: of(&throttling, "throttled_time"),
        },
        memory: MemoryUsage {
            usage: one("memory", "memory.usage_in_bytes").unwrap_or_default(),
            max_usage: one("memory", "memory.max_usage_in_bytes"),
            failures: one("memory", "memory.failcnt"),
            limit: one("memory", "memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT),
            stats: pairs(&file("memory", "memory.stat")),
        },
        pids: one("pids", "pids.current").unwrap_or_default(),
        pids_limit: one("pids", "pids.max"),
        io_bytes: devices(&file("blkio", "blkio.throttle.io_service_bytes_recursive")),
        io_operations: devices(&file("blkio", "blkio.throttle.io_serviced_recursive")),
    }
}

fn version_two(file: &dyn Fn(&str) -> String) -> Usage {
    let cpu = pairs(&file("cpu.stat"));
    let of = |key: &str| cpu.get(key).copied().unwrap_or_default();
    let nanos = |key: &str| of(key).saturating_mul(NANOS_PER_MICRO);
    let io = file("io.stat");
    Usage {
        cpu: CpuUsage {
            total: nanos("usage_usec"),
            user: nanos("user_usec"),
            system: nanos("system_usec"),
            per_cpu: Vec::new(),
            periods: of("nr_periods"),
            throttled_periods: of("nr_throttled"),
            throttled_time: nanos("throttled_usec"),
        },
        memory: MemoryUsage {
            usage: number(&file("memory.current")).unwrap_or_default(),
            max_usage: None,
            failures: None,
            limit: number(&file("memory.max")),
            stats: pairs(&file("memory.stat")),
        },
        pids: number(&file("pids.current")).unwrap_or_default(),
        pids_limit: number(&file("pids.max")),
        io_bytes: io_stat(&io, [("rbytes", "read"), ("wbytes", "write")]),
        io_operations: io_stat(&io, [("rios", "read"), ("wios", "write")]),
    }
}

/// One number; none for `max` and everything else.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Lines of a name and a number.
fn pairs(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), number(value)?))
    };
    text.lines().filter_map(pair).collect()
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((number(major)?, number(minor)?))
}

/// `8:0 Read 4096`; the line of the total has no device.
fn devices(text: &str) -> Vec<IoCount> {
    let count = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = device(words.next()?)?;
        Some(IoCount {
            major,
            minor,
            operation: words.next()?.to_owned(),
            value: number(words.next()?)?,
        })
    };
    text.lines().filter_map(count).collect()
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 …`
fn io_stat(text: &str, wanted: [(&str, &str); 2]) -> Vec<IoCount> {
    let mut counts = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let operation = wanted.iter().find(|(name, _)| *name == key);
            if let (Some((_, operation)), Some(value)) = (operation, number(value)) {
                counts.push(IoCount {
                    major,
                    minor,
                    operation: (*operation).to_owned(),
                    value,
                });
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_version_one() {
        let file = |_: &str, name: &str| {
            match name {
                "cpuacct.usage" => "123456789\n",
                "cpuacct.usage_percpu" => "23456789 100000000 \n",
                "cpuacct.stat" => "user 7\nsystem 3\n",
                "cpu.stat" => "nr_periods 9\nnr_throttled 2\nthrottled_time 55\n",
                "memory.usage_in_bytes" => "1000\n",
                "memory.max_usage_in_bytes" => "2000\n",
                "memory.failcnt" => "4\n",
                "memory.limit_in_bytes" => "9223372036854771712\n",
                "memory.stat" => "cache 10\ntotal_inactive_file 5\nbad\n",
                "pids.current" => "3\n",
                "pids.max" => "max\n",
                "blkio.throttle.io_service_bytes_recursive" => "8:0 Read 4096\n8:0 Write 1\nTotal 4097\n",
                _ => "",
            }
            .to_owned()
        };
        let usage = version_one(&file);
        assert_eq!(
            (usage.cpu.total, usage.cpu.user, usage.cpu.system),
            (123_456_789, 70_000_000, 30_000_000)
        );
        assert_eq!(usage.cpu.per_cpu, [23_456_789, 100_000_000]);
        assert_eq!((usage.cpu.periods, usage.cpu.throttled_time), (9, 55));
        assert_eq!((usage.memory.limit, usage.memory.max_usage), (None, Some(2000)));
        assert_eq!(usage.memory.stats["total_inactive_file"], 5);
        assert_eq!((usage.pids, usage.pids_limit), (3, None));
        let words: Vec<_> = usage
            .io_bytes
            .iter()
            .map(|count| (count.operation.as_str(), count.value))
            .collect();
        assert_eq!(words, [("Read", 4096), ("Write", 1)]);
    }

    #[test]
    fn the_files_of_version_two() {
        let file = |name: &str| {
            match name {
                "cpu.stat" => {
                    "usage_usec 500\nuser_usec 300\nsystem_usec 200\nnr_throttled 1\nthrottled_usec 8\n"
                }
                "memory.current" => "4096\n",
                "memory.max" => "8388608\n",
                "memory.stat" => "inactive_file 12\n",
                "pids.current" => "1\n",
                "pids.max" => "10\n",
                "io.stat" => "254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
                _ => "",
            }
            .to_owned()
        };
        let usage = version_two(&file);
        assert_eq!((usage.cpu.total, usage.cpu.throttled_time), (500_000, 8_000));
        assert_eq!((usage.memory.usage, usage.memory.limit), (4096, Some(8_388_608)));
        assert_eq!((usage.pids, usage.pids_limit), (1, Some(10)));
        assert_eq!(usage.io_bytes.len(), 2);
        assert_eq!(
            (usage.io_operations[1].value, usage.io_operations[1].major),
            (2, 254)
        );
    }

    #[test]
    fn texts_of_any_shape_are_survived() {
        let seed = "8:0 Read 4096\ncpu 1 2\n:: = \n254:0 rbytes=99999999999999999999 =\nmax\n";
        for cut in 0..seed.len() {
            for text in [&seed[cut..], &seed[..cut]] {
                pairs(text);
                devices(text);
                io_stat(text, [("rbytes", "read"), ("wbytes", "write")]);
                number(text);
            }
        }
    }
}
