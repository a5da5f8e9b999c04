//! What the kernel says of this process, for the metrics page.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::Path;

const DESCRIPTORS: &str = "/proc/self/fd";

/// Figures of the process; 0 where the kernel does not say.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// Seconds of all processors, of all threads.
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) open_descriptors: u64,
    pub(crate) most_descriptors: u64,
}

impl Process {
    /// Reads files of the kernel: not for a thread that others wait for.
    pub(crate) fn read() -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |name| figure(&status, name).unwrap_or(0).saturating_mul(1024);
        Process {
            cpu_seconds: cpu_seconds(),
            resident_bytes: bytes("VmRSS:"),
            virtual_bytes: bytes("VmSize:"),
            open_descriptors: open_descriptors(),
            most_descriptors: most_descriptors(),
        }
    }
}

/// How many files this process may open.
pub(crate) fn most_descriptors() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    figure(&limits, "Max open files").unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of 285 years fit")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Newer kernels tell the number as the directory's size; others have it counted.
fn open_descriptors() -> u64 {
    match fs::metadata(Path::new(DESCRIPTORS)) {
        Ok(directory) if directory.len() > 0 => directory.len(),
        Ok(_) | Err(_) => fs::read_dir(DESCRIPTORS).map_or(0, |files| files.count() as u64),
    }
}

/// The first number after a name at the beginning of a line.
fn figure(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Process;

    #[test]
    fn the_kernel_tells() {
        let process = Process::read();
        assert!(process.resident_bytes > 1 << 20 && process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_descriptors >= 3 && process.most_descriptors >= process.open_descriptors);
        assert!(
            process.cpu_seconds > 0.0 && process.cpu_seconds < 1e6,
            "{process:?}"
        );
    }
}
