//! What an engine could leave on the host: interfaces, mounts, cgroups, nft tables, processes.

use std::collections::BTreeSet;
use std::path::Path;

/// A listing of everything on the host that carries a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers(pub BTreeSet<String>);

impl Leftovers {
    /// Looks for `names` (bridge, table, cgroup parent, scratch directory) everywhere.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        let mut found = BTreeSet::new();
        let mut note = |kind: &str, line: &str| {
            if names.iter().any(|name| line.contains(name)) {
                found.insert(format!("{kind}: {line}"));
            }
        };
        for line in std::fs::read_to_string("/proc/self/mountinfo")
            .unwrap_or_default()
            .lines()
        {
            note("mount", line);
        }
        for entry in std::fs::read_dir("/sys/class/net")
            .into_iter()
            .flatten()
            .flatten()
        {
            note("interface", &entry.file_name().to_string_lossy());
        }
        cgroups(Path::new("/sys/fs/cgroup"), 3, &mut note);
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if entry.file_name().to_string_lossy() != std::process::id().to_string() {
                note("process", &command);
            }
        }
        let tables = std::process::Command::new("/usr/sbin/nft")
            .args(["list", "tables"])
            .output()
            .expect("a look for leftovers needs Debian's nftables");
        for line in String::from_utf8_lossy(&tables.stdout).lines() {
            note("nft", line);
        }
        Self(found)
    }

    /// # Panics
    /// When anything is there.
    pub fn expect_none(&self) {
        assert!(
            self.0.is_empty(),
            "left behind:\n  {}",
            self.0.iter().cloned().collect::<Vec<_>>().join("\n  ")
        );
    }
}

fn cgroups(folder: &Path, depth: u32, note: &mut impl FnMut(&str, &str)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            note("cgroup", &entry.path().to_string_lossy());
            if depth > 0 {
                cgroups(&entry.path(), depth - 1, note);
            }
        }
    }
}
