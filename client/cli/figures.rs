//! pause, unpause, top, stats.

use std::time::Duration;

use berth_sdk::{EngineClient, ListOptions};
use berth_wire::docker::{BlkioEntry, ContainerStats};

use crate::args::{Global, Output, PauseArgs, StatsArgs, TopArgs, UnpauseArgs};
use crate::containers::{client, each};
use crate::exit::{Failure, Outcome};
use crate::terminal::{print, print_line};

/// Between the two looks whose difference is the load.
const BETWEEN: Duration = Duration::from_secs(1);

/// Blanks between two columns.
const GAP: usize = 3;

pub(crate) async fn pause(global: &Global, args: PauseArgs) -> Outcome {
    let client = client(global)?;
    let pause = async |name: &str| client.pause(name).await;
    each(global, &args.containers, "paused", pause).await
}

pub(crate) async fn unpause(global: &Global, args: UnpauseArgs) -> Outcome {
    let client = client(global)?;
    let unpause = async |name: &str| client.unpause(name).await;
    each(global, &args.containers, "unpaused", unpause).await
}

pub(crate) async fn top(global: &Global, args: TopArgs) -> Outcome {
    let (container, arguments) = args.split();
    let found = client(global)?.top(container, &arguments).await?;
    match global.output {
        Output::Json => print_line(&serde_json::to_string(&found)?)?,
        Output::Text => print(&table(&found.titles, &found.processes))?,
    }
    Ok(0)
}

pub(crate) async fn stats(global: &Global, args: StatsArgs) -> Outcome {
    let client = client(global)?;
    let names = if args.containers.is_empty() {
        let running = client.list(&ListOptions::default()).await?;
        running.into_iter().map(|row| row.id).collect()
    } else {
        args.containers
    };
    let before = look(&client, &names).await?;
    if !names.is_empty() {
        tokio::time::sleep(BETWEEN).await;
    }
    let mut now = look(&client, &names).await?;
    for (now, before) in now.iter_mut().zip(before) {
        now.preread = before.read;
        now.precpu_stats = before.cpu_stats;
    }
    match global.output {
        Output::Json => print_line(&serde_json::to_string(&now)?)?,
        Output::Text => {
            let titles = [
                "NAME", "CPU %", "MEMORY", "LIMIT", "NET IN", "NET OUT", "READ", "WRITTEN", "PIDS",
            ];
            let rows: Vec<_> = now.iter().map(row).collect();
            print(&table(&titles.map(ToOwned::to_owned), &rows))?;
        }
    }
    Ok(0)
}

async fn look(client: &EngineClient, names: &[String]) -> Result<Vec<ContainerStats>, Failure> {
    let mut all = Vec::new();
    for name in names {
        all.push(client.stats(name).await?);
    }
    Ok(all)
}

/// Memory is shown without what the kernel would give up first, as docker does.
fn row(stats: &ContainerStats) -> Vec<String> {
    let memory = &stats.memory_stats;
    let inactive = memory
        .stats
        .get("total_inactive_file")
        .or_else(|| memory.stats.get("inactive_file"));
    let used = memory.usage.saturating_sub(inactive.copied().unwrap_or_default());
    let network = |bytes: fn(&berth_wire::docker::NetworkStats) -> u64| {
        stats.networks.values().map(bytes).fold(0, u64::saturating_add)
    };
    let io = |letter: char| {
        let entries = stats.blkio_stats.io_service_bytes_recursive.iter().flatten();
        let wanted = |entry: &&BlkioEntry| entry.op.to_ascii_lowercase().starts_with(letter);
        entries
            .filter(wanted)
            .map(|entry| entry.value)
            .fold(0, u64::saturating_add)
    };
    vec![
        stats.name.trim_start_matches('/').to_owned(),
        load(stats),
        bytes(used),
        bytes(memory.limit),
        bytes(network(|stats| stats.rx_bytes)),
        bytes(network(|stats| stats.tx_bytes)),
        bytes(io('r')),
        bytes(io('w')),
        stats.pids_stats.current.to_string(),
    ]
}

/// Hundredths of a percent of one CPU between two looks, as text.
fn load(stats: &ContainerStats) -> String {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let own = now
        .cpu_usage
        .total_usage
        .saturating_sub(before.cpu_usage.total_usage);
    let host = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
    let share = u128::from(own) * 10_000 * u128::from(now.online_cpus);
    let share = share.checked_div(u128::from(host)).unwrap_or_default();
    format!("{}.{:02}", share / 100, share % 100)
}

/// A number of bytes with one digit after the point.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = u128::from(count) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if unit == 0 {
        format!("{count}{}", UNITS[unit])
    } else {
        format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// Columns under their titles.
fn table(titles: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let texts = std::iter::once(titles).chain(rows.iter().map(Vec::as_slice));
        let lengths = texts.filter_map(|texts| Some(texts.get(column)?.chars().count()));
        lengths.max().unwrap_or_default() + GAP
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let mut text = String::new();
    for line in std::iter::once(titles).chain(rows.iter().map(Vec::as_slice)) {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(bytes(1023), "1023B");
        assert_eq!(bytes(64 * 1024 * 1024), "64.0MiB");
        assert_eq!(bytes(1536), "1.5KiB");
        let titles = ["A", "LONG"].map(ToOwned::to_owned);
        let row = ["value", "x"].map(ToOwned::to_owned).to_vec();
        assert_eq!(table(&titles, &[row]), "A       LONG\nvalue   x\n");
        let mut stats = ContainerStats::default();
        assert_eq!(load(&stats), "0.00");
        stats.cpu_stats.cpu_usage.total_usage = 500;
        stats.cpu_stats.system_cpu_usage = 2000;
        stats.cpu_stats.online_cpus = 2;
        assert_eq!(load(&stats), "50.00");
    }
}
