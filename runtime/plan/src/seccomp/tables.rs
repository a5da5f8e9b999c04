//! The numbers of system calls.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::facts::Architecture;

/// The system calls of one binary interface.
#[derive(Debug)]
pub(crate) struct Table {
    /// The kernel's `AUDIT_ARCH_*`.
    pub(crate) audit: u32,
    /// What libseccomp calls the machine's own interface, and this one.
    pub(crate) names: &'static [&'static str],
    /// The names under which the profile allows more for it: its own, and its machine's.
    pub(crate) machines: &'static [&'static str],
    /// Numbers by name.
    pub(crate) numbers: BTreeMap<&'static str, u32>,
}

static X86_64: LazyLock<[Table; 2]> = LazyLock::new(|| {
    [
        Table::read(
            0xc000_003e,
            &["SCMP_ARCH_X86_64"],
            &["amd64"],
            include_str!("x86_64.txt"),
        ),
        Table::read(
            0x4000_0003,
            &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            &["amd64", "x86"],
            include_str!("i386.txt"),
        ),
    ]
});

static AARCH64: LazyLock<[Table; 2]> = LazyLock::new(|| {
    [
        Table::read(
            0xc000_00b7,
            &["SCMP_ARCH_AARCH64"],
            &["arm64"],
            include_str!("aarch64.txt"),
        ),
        Table::read(
            0x4000_0028,
            &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
            &["arm64", "arm"],
            include_str!("arm.txt"),
        ),
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
    /// It is the machine's own.
    pub(crate) fn is_native(&self) -> bool {
        self.names.len() == 1
    }

    /// Reads lines of a name and a number.
    fn read(
        audit: u32,
        names: &'static [&'static str],
        machines: &'static [&'static str],
        text: &'static str,
    ) -> Self {
        let line = |line: &'static str| {
            let (name, number) = line.split_once(' ')?;
            Some((name, number.parse().ok()?))
        };
        Self {
            audit,
            names,
            machines,
            numbers: text.lines().filter_map(line).collect(),
        }
    }
}
