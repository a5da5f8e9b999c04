//! Processes as `ps` shows them: what the kernel says of each, and the columns that clients ask for.

mod view;

use std::collections::BTreeMap;

pub(crate) use view::{View, ViewError};

/// Ticks in a second of the kernel's process times.
const TICKS: u64 = 100;

/// Bytes in a page of the kernel's process sizes.
const PAGE: u64 = 4096;

/// The longest command line that is shown, in bytes; the rest is left out.
const MAX_COMMAND: usize = 64 * 1024;

/// What the kernel says of a process. Times in ticks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pid: u32,
    parent: u32,
    name: String,
    /// With its arguments; its name in brackets without any.
    command: String,
    state: char,
    session: i64,
    group: i64,
    terminal: u64,
    /// The group in the foreground of its terminal.
    foreground: i64,
    used: u64,
    priority: i64,
    nice: i64,
    threads: u64,
    /// Since the start of the host.
    started: u64,
    /// Bytes.
    virtual_size: u64,
    resident: u64,
    uid: u32,
    gid: u32,
    locked: bool,
}

/// What is needed of the host to show processes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    users: BTreeMap<u32, String>,
    /// Seconds since 1970.
    booted: u64,
    now: u64,
    /// Bytes.
    memory: u64,
}

impl Host {
    /// Names are the host's own, as with Docker.
    pub(crate) async fn read(memory: u64, now: i64) -> Self {
        let text =
            |path: &'static str| async move { tokio::fs::read_to_string(path).await.unwrap_or_default() };
        let stat = text("/proc/stat").await;
        let booted = stat.lines().find_map(|line| line.strip_prefix("btime "));
        Self {
            users: users(&text("/etc/passwd").await),
            booted: booted
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or_default(),
            now: u64::try_from(now.div_euclid(crate::clock::NANOS_PER_SECOND)).unwrap_or_default(),
            memory,
        }
    }
}

fn users(passwd: &str) -> BTreeMap<u32, String> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        Some((uid.parse().ok()?, name.to_owned()))
    };
    // Of several names for a number the first one counts.
    let mut users = BTreeMap::new();
    for (uid, name) in passwd.lines().filter_map(user) {
        users.entry(uid).or_insert(name);
    }
    users
}

/// One process, by its number; none when it has ended. May block.
pub(crate) fn read(pid: u32) -> Option<Process> {
    let text = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).ok();
    let stat = text("stat")?;
    let status = text("status")?;
    let arguments = text("cmdline").unwrap_or_default();
    parse(
        &String::from_utf8_lossy(&stat),
        &String::from_utf8_lossy(&status),
        &arguments,
    )
}

fn parse(stat: &str, status: &str, arguments: &[u8]) -> Option<Process> {
    // The name may have blanks and brackets in it.
    let (head, rest) = stat.rsplit_once(')')?;
    let (pid, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields are numbered from 3 on, as in proc(5).
    let unsigned = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let signed = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
    let line = |key: &str| {
        let values = status.lines().find_map(|line| line.strip_prefix(key))?;
        values.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    let arguments = &arguments[..arguments.len().min(MAX_COMMAND)];
    let words = String::from_utf8_lossy(arguments).replace('\0', " ");
    let command = match words.trim_end() {
        "" => format!("[{name}]"),
        words => words.to_owned(),
    };
    Some(Process {
        pid: pid.trim().parse().ok()?,
        parent: u32::try_from(unsigned(4)?).ok()?,
        name: name.to_owned(),
        command,
        state: fields.first()?.chars().next()?,
        group: signed(5)?,
        session: signed(6)?,
        terminal: unsigned(7).unwrap_or_default(),
        foreground: signed(8)?,
        used: unsigned(14)?.saturating_add(unsigned(15)?),
        priority: signed(18)?,
        nice: signed(19)?,
        threads: unsigned(20)?,
        started: unsigned(22)?,
        virtual_size: unsigned(23)?,
        resident: unsigned(24)?.saturating_mul(PAGE),
        uid: line("Uid:")?,
        gid: line("Gid:")?,
        locked: kibibytes.is_some_and(|text| !text.trim_start().starts_with('0')),
    })
}

impl Process {
    /// Seconds since its start.
    fn age(&self, host: &Host) -> u64 {
        host.now.saturating_sub(host.booted + self.started / TICKS)
    }

    /// Thousandths of one CPU over its life.
    fn load(&self, host: &Host) -> u64 {
        let life = self.age(host).saturating_mul(TICKS);
        self.used
            .saturating_mul(1000)
            .checked_div(life)
            .unwrap_or_default()
            .min(999_999)
    }

    fn terminal_name(&self) -> String {
        let (major, minor) = (
            (self.terminal >> 8) & 0xfff,
            (self.terminal & 0xff) | ((self.terminal >> 12) & 0xfff00),
        );
        match major {
            136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
            4 if minor < 64 => format!("tty{minor}"),
            4 => format!("ttyS{}", minor - 64),
            _ => "?".to_owned(),
        }
    }

    /// The letter of its state and the marks of `ps`.
    fn marks(&self) -> String {
        let mut marks = self.state.to_string();
        let pid = i64::from(self.pid);
        for (mark, set) in [
            ('<', self.nice < 0),
            ('N', self.nice > 0),
            ('L', self.locked),
            ('s', self.session == pid),
            ('l', self.threads > 1),
            ('+', self.foreground == self.group),
        ] {
            if set {
                marks.push(mark);
            }
        }
        marks
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const STAT: &str =
        "41 (a (b) c) S 7 41 41 34816 41 4194304 100 0 0 0 250 50 0 0 20 0 3 0 500 8192000 300 1";
    const STATUS: &str = "Name:\ta\nUid:\t1000\t1001\t0\t0\nGid:\t5\t6\t0\t0\nVmLck:\t       0 kB\n";

    pub(super) fn sample() -> Process {
        parse(STAT, STATUS, b"a\0-x\0y z\0").expect("a process")
    }

    #[test]
    fn the_kernels_words() {
        let process = sample();
        assert_eq!((process.pid, process.parent, process.uid), (41, 7, 1001));
        assert_eq!(
            (process.name.as_str(), process.command.as_str()),
            ("a (b) c", "a -x y z")
        );
        assert_eq!((process.used, process.started, process.threads), (300, 500, 3));
        assert_eq!(process.terminal_name(), "pts/0");
        assert_eq!(process.marks(), "Ssl+");
        let none = parse(STAT, STATUS, b"").expect("a process");
        assert_eq!(none.command, "[a (b) c]");
        let itself = read(std::process::id()).expect("this process");
        assert_eq!(itself.pid, std::process::id());
        assert_eq!(read(u32::MAX), None);
    }

    #[test]
    fn cut_texts_are_no_processes() {
        for cut in 0..STAT.len() - 2 {
            if let Some(process) = parse(&STAT[..cut], STATUS, b"\xff\xfe") {
                assert_eq!(process.pid, 41);
            }
            parse(&STAT[cut..], &STATUS[cut.min(STATUS.len())..], b"x");
        }
    }
}
