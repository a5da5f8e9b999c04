//! The numbers of system calls.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::facts::Architecture;

/// The system calls of one binary interface.
#[derive(Debug)]
pub(crate) struct Table {
    /// The kernel's `AUDIT_ARCH_*`.
    pub(crate) audit: u32,
    /// The names under which the profile allows more for it: its own, and its machine's.
    pub(crate) machines: &'static [&'static str],
    /// Numbers by name.
    pub(crate) numbers: BTreeMap<&'static str, u32>,
}

static X86_64: LazyLock<[Table; 2]> = LazyLock::new(|| {
    [
        Table::read(0xc000_003e, &["amd64"], include_str!("x86_64.txt")),
        Table::read(0x4000_0003, &["amd64", "x86"], include_str!("i386.txt")),
    ]
});

static AARCH64: LazyLock<[Table; 2]> = LazyLock::new(|| {
    [
        Table::read(0xc000_00b7, &["arm64"], include_str!("aarch64.txt")),
        Table::read(0x4000_0028, &["arm64", "arm"], include_str!("arm.txt")),
    ]
});

/// The interfaces that a container may use on a machine: its own, and its 32-bit one. x32 is not among them: its
/// numbers are beyond every known one and fail as unknown.
pub(crate) fn of(architecture: Architecture) -> &'static [Table; 2] {
    match architecture {
        Architecture::X86_64 => &X86_64,
        Architecture::Aarch64 => &AARCH64,
    }
}

impl Table {
    /// Reads lines of a name and a number.
    fn read(audit: u32, machines: &'static [&'static str], text: &'static str) -> Self {
        let line = |line: &'static str| {
            let (name, number) = line.split_once(' ')?;
            Some((name, number.parse().ok()?))
        };
        Self {
            audit,
            machines,
            numbers: text.lines().filter_map(line).collect(),
        }
    }
}
