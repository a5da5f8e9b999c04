//! Results as text: tables, ages, ports, sizes. Pure.

use berth_wire::docker::{ContainerSummary, ImageSummary, PortSummary, SystemInfo};
use comfy_table::{Table, presets};

/// Digits of an id that people see.
const SHORT_ID: usize = 12;

/// Characters of a command that a list shows.
const SHORT_COMMAND: usize = 20;

/// How much of long texts a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Ids and commands are shortened.
    Short,
    /// Everything.
    Full,
}

/// The list of containers; `now` in Unix seconds.
pub(crate) fn containers(rows: &[ContainerSummary], width: Width, now: i64) -> String {
    let mut table = table(&[
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ]);
    for row in rows {
        let names: Vec<&str> = row
            .names
            .iter()
            .map(|name| name.trim_start_matches('/'))
            .collect();
        table.add_row([
            id(&row.id, width),
            image_name(&row.image, width),
            format!("\"{}\"", shorten(&row.command, SHORT_COMMAND, width)),
            format!("{} ago", age(now - row.created)),
            row.status.clone(),
            ports(&row.ports),
            names.join(","),
        ]);
    }
    render(&table)
}

/// The list of images; `now` in Unix seconds.
pub(crate) fn images(rows: &[ImageSummary], width: Width, now: i64) -> String {
    let mut table = table(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    for row in rows {
        let none = ["<none>:<none>".to_owned()];
        let names = if row.repo_tags.is_empty() {
            &none[..]
        } else {
            &row.repo_tags
        };
        for name in names {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "<none>"));
            table.add_row([
                repository.to_owned(),
                tag.to_owned(),
                id(&row.id, width),
                format!("{} ago", age(now - row.created)),
                size(row.size),
            ]);
        }
    }
    render(&table)
}

/// Lines under a head.
pub(crate) fn columns(head: &[&str], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = table(head);
    for line in lines {
        table.add_row(line);
    }
    render(&table)
}

/// What an engine says about itself.
pub(crate) fn info(info: &SystemInfo) -> String {
    let lines = [
        ("Name", info.name.clone()),
        ("ID", info.id.clone()),
        ("Server version", info.server_version.clone()),
        (
            "Containers",
            format!(
                "{} ({} running, {} stopped)",
                info.containers, info.containers_running, info.containers_stopped
            ),
        ),
        ("Images", info.images.to_string()),
        ("Storage driver", info.driver.clone()),
        ("Cgroup version", info.cgroup_version.clone()),
        ("Kernel", info.kernel_version.clone()),
        ("Operating system", info.operating_system.clone()),
        ("Architecture", info.architecture.clone()),
        ("CPUs", info.ncpu.to_string()),
        ("Memory", size(info.mem_total)),
        ("Data directory", info.docker_root_dir.clone()),
    ];
    let mut text = String::new();
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("{name}: {value}\n"));
    }
    for warning in info.warnings.iter().flatten() {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

/// The id as a person types it.
pub(crate) fn id(id: &str, width: Width) -> String {
    match width {
        Width::Full => id.to_owned(),
        Width::Short => {
            let digits = id.strip_prefix("sha256:").unwrap_or(id);
            digits.chars().take(SHORT_ID).collect()
        }
    }
}

/// An image that has lost its name is shown by its id.
fn image_name(name: &str, width: Width) -> String {
    if name.starts_with("sha256:") {
        id(name, width)
    } else {
        name.to_owned()
    }
}

fn shorten(text: &str, limit: usize, width: Width) -> String {
    if width == Width::Full || text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit - 1).collect();
    short.push('…');
    short
}

/// Ports of a row, as docker's client writes them.
pub(crate) fn ports(ports: &[PortSummary]) -> String {
    let mut texts: Vec<String> = ports
        .iter()
        .map(|port| {
            let inside = format!("{}/{}", port.private_port, port.protocol);
            match port.public_port {
                None => inside,
                Some(public) if port.ip.contains(':') => format!("[{}]:{public}->{inside}", port.ip),
                Some(public) => format!("{}:{public}->{inside}", port.ip),
            }
        })
        .collect();
    texts.sort();
    texts.join(", ")
}

/// An age in words.
pub(crate) fn age(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let count = |number: i64, unit: &str| format!("{number} {unit}");
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..MINUTE => count(seconds, "seconds"),
        MINUTE..120 => "About a minute".to_owned(),
        120..HOUR => count(seconds / MINUTE, "minutes"),
        HOUR..7200 => "About an hour".to_owned(),
        7200..172_800 => count(seconds / HOUR, "hours"),
        172_800..1_209_600 => count(seconds / DAY, "days"),
        1_209_600..5_184_000 => count(seconds / (7 * DAY), "weeks"),
        5_184_000..63_072_000 => count(seconds / (30 * DAY), "months"),
        _ => count(seconds / (365 * DAY), "years"),
    }
}

/// A size in powers of 1000 with three digits, as docker's client writes it.
pub(crate) fn size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    let mut divisor: i64 = 1;
    while bytes / divisor >= 1000 && unit + 1 < UNITS.len() {
        divisor *= 1000;
        unit += 1;
    }
    let whole = bytes / divisor;
    let thousandths = i128::from(bytes % divisor) * 1000 / i128::from(divisor);
    let number = match whole {
        _ if unit == 0 || whole >= 100 => whole.to_string(),
        10..100 => format!("{whole}.{}", thousandths / 100),
        _ => format!("{whole}.{:02}", thousandths / 10),
    };
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        &number
    };
    format!("{number}{}", UNITS[unit])
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table
}

fn render(table: &Table) -> String {
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_containers() {
        let row = ContainerSummary {
            id: "0123456789abcdef0123".to_owned(),
            names: vec!["/web".to_owned()],
            image: "app".to_owned(),
            command: "httpd -f -p 80 and so on and on".to_owned(),
            created: 1000,
            status: "Up 5 seconds".to_owned(),
            ports: vec![
                PortSummary {
                    ip: "0.0.0.0".to_owned(),
                    private_port: 80,
                    public_port: Some(8000),
                    protocol: "tcp".to_owned(),
                },
                PortSummary {
                    private_port: 53,
                    protocol: "udp".to_owned(),
                    ..PortSummary::default()
                },
            ],
            ..ContainerSummary::default()
        };
        assert_eq!(
            containers(&[row], Width::Short, 1005),
            "CONTAINER ID   IMAGE   COMMAND                  CREATED         STATUS         PORTS                          NAMES\n\
             0123456789ab   app     \"httpd -f -p 80 and …\"   5 seconds ago   Up 5 seconds   0.0.0.0:8000->80/tcp, 53/udp   web\n"
        );
        assert!(containers(&[], Width::Short, 0).starts_with("CONTAINER ID   IMAGE   COMMAND"));
    }

    #[test]
    fn a_list_of_images() {
        let row = ImageSummary {
            id: "sha256:0123456789abcdef".to_owned(),
            repo_tags: vec!["app:latest".to_owned(), "r:5000/app:1".to_owned()],
            created: 0,
            size: 1_234_567,
            ..ImageSummary::default()
        };
        assert_eq!(
            images(&[row], Width::Short, 3600 * 5),
            "REPOSITORY   TAG      IMAGE ID       CREATED       SIZE\n\
             app          latest   0123456789ab   5 hours ago   1.23MB\n\
             r:5000/app   1        0123456789ab   5 hours ago   1.23MB\n"
        );
    }

    #[test]
    fn ages_and_sizes() {
        for (seconds, wanted) in [
            (-3, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (5000, "About an hour"),
            (47 * 3600, "47 hours"),
            (13 * 86_400, "13 days"),
            (20 * 86_400, "2 weeks"),
            (100 * 86_400, "3 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(age(seconds), wanted);
        }
        for (bytes, wanted) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (4_260_000, "4.26MB"),
            (12_340_000, "12.3MB"),
            (123_456_789, "123MB"),
            (8_589_934_592, "8.58GB"),
        ] {
            assert_eq!(size(bytes), wanted);
        }
    }
}
