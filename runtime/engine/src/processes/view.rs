//! The columns of `ps`: the two usual views, and lists that clients choose.

use super::{Host, Process, TICKS};

const DAY: u64 = 86_400;

/// Columns asked for at a time; there are not that many different ones.
const MAX_COLUMNS: usize = 64;

/// Why a view is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ViewError {
    /// Other arguments than the usual ones.
    #[error("ps arguments {0:?} are not supported: -ef, aux and -o with a list of columns are")]
    Arguments(String),
    /// A column that nobody has heard of.
    #[error("ps: error: unknown user-defined format specifier {0:?}")]
    Column(String),
    /// Docker's tools look for it.
    #[error("Couldn't find PID field in ps output")]
    NoPid,
}

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Pid,
    Parent,
    User,
    Uid,
    Gid,
    Name,
    Command,
    State,
    Marks,
    Terminal,
    /// `hh:mm:ss`
    Time,
    /// `m:ss`
    ShortTime,
    Elapsed,
    ElapsedSeconds,
    Started,
    /// Whole percent of a CPU.
    Load,
    Percent,
    MemoryPercent,
    Resident,
    Virtual,
    Nice,
    Priority,
    Threads,
    Session,
    Group,
}

/// The columns that have names: name, title, field.
const COLUMNS: [(&str, &str, Field); 39] = [
    ("pid", "PID", Field::Pid),
    ("tgid", "TGID", Field::Pid),
    ("ppid", "PPID", Field::Parent),
    ("user", "USER", Field::User),
    ("euser", "EUSER", Field::User),
    ("uname", "USER", Field::User),
    ("uid", "UID", Field::Uid),
    ("euid", "EUID", Field::Uid),
    ("gid", "GID", Field::Gid),
    ("egid", "EGID", Field::Gid),
    ("comm", "COMMAND", Field::Name),
    ("ucmd", "CMD", Field::Name),
    ("args", "COMMAND", Field::Command),
    ("command", "COMMAND", Field::Command),
    ("cmd", "CMD", Field::Command),
    ("s", "S", Field::State),
    ("state", "S", Field::State),
    ("stat", "STAT", Field::Marks),
    ("tty", "TT", Field::Terminal),
    ("tt", "TT", Field::Terminal),
    ("tname", "TTY", Field::Terminal),
    ("time", "TIME", Field::Time),
    ("cputime", "TIME", Field::Time),
    ("etime", "ELAPSED", Field::Elapsed),
    ("etimes", "ELAPSED", Field::ElapsedSeconds),
    ("stime", "STIME", Field::Started),
    ("c", "C", Field::Load),
    ("pcpu", "%CPU", Field::Percent),
    ("%cpu", "%CPU", Field::Percent),
    ("pmem", "%MEM", Field::MemoryPercent),
    ("%mem", "%MEM", Field::MemoryPercent),
    ("rss", "RSS", Field::Resident),
    ("vsz", "VSZ", Field::Virtual),
    ("ni", "NI", Field::Nice),
    ("nice", "NI", Field::Nice),
    ("pri", "PRI", Field::Priority),
    ("nlwp", "NLWP", Field::Threads),
    ("sid", "SID", Field::Session),
    ("pgid", "PGID", Field::Group),
];

const FULL: [(&str, Field); 8] = [
    ("UID", Field::User),
    ("PID", Field::Pid),
    ("PPID", Field::Parent),
    ("C", Field::Load),
    ("STIME", Field::Started),
    ("TTY", Field::Terminal),
    ("TIME", Field::Time),
    ("CMD", Field::Command),
];

const USERS: [(&str, Field); 11] = [
    ("USER", Field::User),
    ("PID", Field::Pid),
    ("%CPU", Field::Percent),
    ("%MEM", Field::MemoryPercent),
    ("VSZ", Field::Virtual),
    ("RSS", Field::Resident),
    ("TTY", Field::Terminal),
    ("STAT", Field::Marks),
    ("START", Field::Started),
    ("TIME", Field::ShortTime),
    ("COMMAND", Field::Command),
];

/// The columns to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    columns: Vec<(String, Field)>,
}

impl View {
    /// Reads the arguments of `ps`; without any they are `-ef`.
    pub(crate) fn parse(arguments: &str) -> Result<Self, ViewError> {
        let usual = |columns: &[(&str, Field)]| Self {
            columns: columns
                .iter()
                .map(|(title, field)| ((*title).to_owned(), *field))
                .collect(),
        };
        let words: Vec<&str> = arguments.split_ascii_whitespace().collect();
        match words.as_slice() {
            [] | ["-ef" | "-fe"] | ["-e", "-f"] => return Ok(usual(&FULL)),
            ["aux" | "-aux" | "axu"] => return Ok(usual(&USERS)),
            _ => {}
        }
        let refused = || ViewError::Arguments(arguments.to_owned());
        let mut columns = Vec::new();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let list = match *word {
                "-e" | "-A" | "ax" => continue,
                "-o" | "-eo" | "-Ao" | "o" | "axo" | "--format" => *rest.next().ok_or_else(refused)?,
                word => word
                    .strip_prefix("-o")
                    .or_else(|| word.strip_prefix("-eo"))
                    .ok_or_else(refused)?,
            };
            for name in list.split(',').filter(|name| !name.is_empty()) {
                columns.push(column(name)?);
            }
        }
        if columns.is_empty() || columns.len() > MAX_COLUMNS {
            return Err(refused());
        }
        if columns.iter().all(|(_, field)| *field != Field::Pid) {
            return Err(ViewError::NoPid);
        }
        Ok(Self { columns })
    }

    pub(crate) fn titles(&self) -> Vec<String> {
        self.columns.iter().map(|(title, _)| title.clone()).collect()
    }

    pub(crate) fn row(&self, process: &Process, host: &Host) -> Vec<String> {
        self.columns
            .iter()
            .map(|(_, field)| shown(*field, process, host))
            .collect()
    }
}

/// A column by its name, which may bring a title of its own.
fn column(text: &str) -> Result<(String, Field), ViewError> {
    let (name, title) = text
        .split_once('=')
        .map_or((text, None), |(name, title)| (name, Some(title)));
    let known = COLUMNS.iter().find(|(known, _, _)| *known == name);
    let (_, usual, field) = known.ok_or_else(|| ViewError::Column(name.to_owned()))?;
    Ok((title.unwrap_or(usual).to_owned(), *field))
}

fn shown(field: Field, process: &Process, host: &Host) -> String {
    let used = process.used / TICKS;
    let tenths = |number: u64| format!("{}.{}", number / 10, number % 10);
    match field {
        Field::Pid => process.pid.to_string(),
        Field::Parent => process.parent.to_string(),
        Field::User => match host.users.get(&process.uid) {
            Some(name) => name.clone(),
            None => process.uid.to_string(),
        },
        Field::Uid => process.uid.to_string(),
        Field::Gid => process.gid.to_string(),
        Field::Name => process.name.clone(),
        Field::Command => process.command.clone(),
        Field::State => process.state.to_string(),
        Field::Marks => process.marks(),
        Field::Terminal => process.terminal_name(),
        Field::Time => clock(used, true),
        Field::ShortTime => format!("{}:{:02}", used / 60, used % 60),
        Field::Elapsed => clock(process.age(host), false),
        Field::ElapsedSeconds => process.age(host).to_string(),
        Field::Started => started(process, host),
        Field::Load => (process.load(host) / 10).to_string(),
        Field::Percent => tenths(process.load(host)),
        Field::MemoryPercent => {
            let share = process.resident.saturating_mul(1000).checked_div(host.memory);
            tenths(share.unwrap_or_default())
        }
        Field::Resident => (process.resident / 1024).to_string(),
        Field::Virtual => (process.virtual_size / 1024).to_string(),
        Field::Nice => process.nice.to_string(),
        // The scale of `ps`: 19 for what has no wishes.
        Field::Priority => (39 - process.priority).to_string(),
        Field::Threads => process.threads.to_string(),
        Field::Session => process.session.to_string(),
        Field::Group => process.group.to_string(),
    }
}

/// `[d-]hh:mm:ss`, or without hours when there are none and they need not be.
fn clock(seconds: u64, hours: bool) -> String {
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    match () {
        () if days > 0 => format!("{days}-{hour:02}:{minute:02}:{second:02}"),
        () if hours || hour > 0 => format!("{hour:02}:{minute:02}:{second:02}"),
        () => format!("{minute:02}:{second:02}"),
    }
}

/// The time of day of the last 24 hours, in UTC; the day of what is older.
fn started(process: &Process, host: &Host) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let at = host.booted + process.started / TICKS;
    let nanos = i64::try_from(at)
        .unwrap_or_default()
        .saturating_mul(crate::clock::NANOS_PER_SECOND);
    let date = crate::clock::render(nanos);
    if process.age(host) < DAY {
        return date.get(11..16).unwrap_or_default().to_owned();
    }
    let part = |range: std::ops::Range<usize>| date.get(range).and_then(|text| text.parse::<usize>().ok());
    let month = part(5..7).and_then(|month| MONTHS.get(month.checked_sub(1)?));
    format!(
        "{}{:02}",
        month.copied().unwrap_or_default(),
        part(8..10).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::super::PAGE;
    use super::super::tests::sample;
    use super::*;

    fn host() -> Host {
        Host {
            users: [(1001, "app".to_owned())].into(),
            booted: 1_700_000_000,
            now: 1_700_000_105,
            memory: 300 * PAGE * 4,
        }
    }

    fn check(arguments: &str) -> String {
        match View::parse(arguments) {
            Ok(view) => format!(
                "{} | {}",
                view.titles().join(" "),
                view.row(&sample(), &host()).join(" ")
            ),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn views() {
        let full = "UID PID PPID C STIME TTY TIME CMD | app 41 7 3 22:13 pts/0 00:00:03 a -x y z";
        assert_eq!(check(""), full);
        assert_eq!(check("-ef"), full);
        assert_eq!(
            check("aux"),
            "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND | app 41 3.0 25.0 8000 1200 pts/0 Ssl+ 22:13 0:03 a -x y z"
        );
        assert_eq!(
            check("-o pid,ppid,comm,etime"),
            "PID PPID COMMAND ELAPSED | 41 7 a (b) c 01:40"
        );
        assert_eq!(check("-eo pid=NUMBER,args"), "NUMBER COMMAND | 41 a -x y z");
        assert_eq!(check("-o pid -o user"), "PID USER | 41 app");
        assert_eq!(check("-opid,pri,ni"), "PID PRI NI | 41 19 0");
    }

    #[test]
    fn refusals() {
        assert_eq!(check("-o comm"), "Couldn't find PID field in ps output");
        assert!(check("-o pid,nothing").contains("\"nothing\""));
        assert!(check("--forest").contains("not supported"));
        assert!(check("-o").contains("not supported"));
        assert!(check(&format!("-o {}", "pid,".repeat(100))).contains("not supported"));
        assert_eq!(clock(90_061, true), "1-01:01:01");
    }
}
