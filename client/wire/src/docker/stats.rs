//! What a container uses: the document of `stats`, one for each second. Its names are not spelled as all others are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Declares a part of the document: every field optional, `null` the same as absent.
macro_rules! figures {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        #[allow(missing_docs, reason = "the fields are those of Docker's document of that name")]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(deserialize_with = "crate::docker::nullable")]
                pub $field: $ty,
            )*
        }
    )*};
}

figures! {
    /// One look at a container. One that does not run has only its names.
    pub struct ContainerStats {
        pub read: String,
        pub preread: String,
        pub pids_stats: PidsStats,
        pub blkio_stats: BlkioStats,
        pub num_procs: u32,
        pub storage_stats: StorageStats,
        pub cpu_stats: CpuStats,
        pub precpu_stats: CpuStats,
        pub memory_stats: MemoryStats,
        pub name: String,
        pub id: String,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub networks: BTreeMap<String, NetworkStats>,
    }

    /// Processes and threads.
    pub struct PidsStats {
        #[serde(skip_serializing_if = "is_zero")]
        pub current: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub limit: u64,
    }

    /// Block devices.
    pub struct BlkioStats {
        pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
        pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
        pub io_queue_recursive: Option<Vec<BlkioEntry>>,
        pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
        pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
        pub io_merged_recursive: Option<Vec<BlkioEntry>>,
        pub io_time_recursive: Option<Vec<BlkioEntry>>,
        pub sectors_recursive: Option<Vec<BlkioEntry>>,
    }

    /// One number of one block device.
    pub struct BlkioEntry {
        pub major: u64,
        pub minor: u64,
        pub op: String,
        pub value: u64,
    }

    /// Nothing on Linux.
    pub struct StorageStats {
        #[serde(skip_serializing_if = "is_zero")]
        pub read_count_normalized: u64,
    }

    /// CPU time in nanoseconds; `system_cpu_usage` is that of the whole host, idle time included.
    pub struct CpuStats {
        pub cpu_usage: CpuUsage,
        #[serde(skip_serializing_if = "is_zero")]
        pub system_cpu_usage: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub online_cpus: u64,
        pub throttling_data: ThrottlingData,
    }

    /// CPU time of a container in nanoseconds.
    pub struct CpuUsage {
        pub total_usage: u64,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub percpu_usage: Vec<u64>,
        pub usage_in_kernelmode: u64,
        pub usage_in_usermode: u64,
    }

    /// What a quota of CPU time has held back.
    pub struct ThrottlingData {
        pub periods: u64,
        pub throttled_periods: u64,
        pub throttled_time: u64,
    }

    /// Memory in bytes; without a limit of its own `limit` is all of the host's.
    pub struct MemoryStats {
        #[serde(skip_serializing_if = "is_zero")]
        pub usage: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub max_usage: u64,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub stats: BTreeMap<String, u64>,
        #[serde(skip_serializing_if = "is_zero")]
        pub failcnt: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub limit: u64,
    }

    /// One network interface, as the container sees it.
    pub struct NetworkStats {
        pub rx_bytes: u64,
        pub rx_packets: u64,
        pub rx_errors: u64,
        pub rx_dropped: u64,
        pub tx_bytes: u64,
        pub tx_packets: u64,
        pub tx_errors: u64,
        pub tx_dropped: u64,
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
