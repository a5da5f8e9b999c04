//! `/metrics` in Prometheus' text format: the names that dashboards of etcd's v2 store know, and our own.

use crate::http::App;
use crate::http::process::Process;
use crate::http::version::{COMPATIBLE, COMPATIBLE_CLUSTER};
use crate::metrics::{Metrics, REASONS};
use crate::peers::{Figures, ROUND_TRIP_BUCKETS};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use berth_replica::Role;
use http::{HeaderValue, header};
use std::fmt::{Display, Write as _};
use std::sync::Arc;

/// Answers any method, as etcd does.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    // A task that ended early leaves the figures out.
    let process = tokio::task::spawn_blocking(Process::read)
        .await
        .unwrap_or_default();
    ([(header::CONTENT_TYPE, format)], text(&app, &process)).into_response()
}

fn text(app: &App, process: &Process) -> String {
    let mut page = Page(String::with_capacity(16 << 10));
    server(app, &mut page);
    log(app, &mut page);
    store(app, &mut page);
    of_process(app, process, &mut page);
    own_state(app, &mut page);
    votes(app, &mut page);
    own_traffic(app, &mut page);
    health(app, &mut page);
    others(app, &mut page);
    network(app, &mut page);
    page.0
}

/// The member and its part in the consensus.
fn server(app: &App, page: &mut Page) {
    let status = app.handle.published().status;
    let own = &app.handle.shared.metrics;
    let leads = u64::from(status.role == Role::Leader);
    let led = u64::from(status.leader != 0);
    page.gauge("etcd_server_has_leader", "Whether a leader exists.", led);
    page.gauge("etcd_server_is_leader", "Whether this member leads.", leads);
    let changes = Metrics::get(&own.leader_changes);
    page.counter("etcd_server_leader_changes_seen_total", "Leaders seen.", changes);
    page.gauge(
        "etcd_server_proposals_committed_total",
        "The last committed log entry.",
        status.commit,
    );
    page.gauge(
        "etcd_server_proposals_applied_total",
        "The last applied log entry.",
        status.applied,
    );
    let pending = Metrics::get(&own.pending);
    page.gauge(
        "etcd_server_proposals_pending",
        "Writes without an answer.",
        pending,
    );
    let failed = Metrics::get(&own.failed_writes);
    page.counter(
        "etcd_server_proposals_failed_total",
        "Writes without a result.",
        failed,
    );
    let mut info = |name: &str, help: &str, label: &str, value: &str| {
        page.head("gauge", name, help);
        page.sample(name, &format!("{label}=\"{value}\""), 1);
    };
    let version = "The release of etcd that this is compatible with.";
    info("etcd_server_version", version, "server_version", COMPATIBLE);
    let cluster = "The cluster version that this is compatible with.";
    info(
        "etcd_cluster_version",
        cluster,
        "cluster_version",
        COMPATIBLE_CLUSTER,
    );
    info("etcd_server_id", "The member's id.", "server_id", &app.member_id);
}

/// The durable log.
fn log(app: &App, page: &mut Page) {
    let disk = &app.handle.figures;
    let name = "etcd_disk_wal_fsync_duration_seconds";
    page.head("histogram", name, "How long syncs of the log take.");
    let mut below = 0;
    for (at, count) in disk.fsyncs_by_time().into_iter().enumerate() {
        below += count;
        let last = at + 1 == crate::disk::FSYNC_BUCKETS;
        let bound = if last {
            "+Inf".to_owned()
        } else {
            seconds(1_000 << at)
        };
        page.sample(&format!("{name}_bucket"), &format!("le=\"{bound}\""), below);
    }
    page.sample(&format!("{name}_sum"), "", seconds(disk.all_fsyncs_us()));
    page.sample(&format!("{name}_count"), "", below);
}

/// The looks at the health, and the disk, under etcd's names and our own.
fn health(app: &App, page: &mut Page) {
    let own = &app.handle.shared.metrics;
    let get = Metrics::get;
    let healthy = get(&own.healthy);
    page.counter("etcd_server_health_success", "Looks with a good answer.", healthy);
    let name = "etcd_server_health_failures";
    let failures = own.unhealthy.iter().map(get).sum::<u64>();
    page.counter(name, "Looks with a bad answer.", failures);
    let name = "berth_health_failures_total";
    page.head("counter", name, "Looks with a bad answer, by the reason.");
    for (reason, count) in REASONS.iter().zip(&own.unhealthy) {
        page.sample(name, &format!("reason=\"{reason}\""), get(count));
    }
    let written = app.handle.figures.bytes_written();
    page.gauge(
        "etcd_disk_wal_write_bytes_total",
        "Bytes written to the log.",
        written,
    );
    let write = seconds(own.write_ms(app.handle.clock.now()).saturating_mul(1_000));
    page.gauge(
        "berth_log_write_seconds",
        "How long the write to the log takes that goes on.",
        write,
    );
    let room = u64::from(app.handle.has_room());
    page.gauge("berth_disk_has_room", "Whether the log can grow.", room);
    for (name, help, value) in [
        ("images_total", "Images of the state saved.", get(&own.images)),
        (
            "failed_images_total",
            "Images of the state that could not be saved.",
            get(&own.failed_images),
        ),
        ("backups_total", "Backups begun.", get(&own.backups)),
    ] {
        page.counter(&format!("berth_{name}"), help, value);
    }
    let took = seconds(get(&own.images_us));
    page.counter(
        "berth_images_seconds_total",
        "How long saving images took together.",
        took,
    );
}

/// A counter of each member: name, help, label and value.
type PeerCounter = (&'static str, &'static str, &'static str, fn(&Figures) -> u64);

/// The traffic with the other members under etcd's names; nothing for a member that is alone.
fn network(app: &App, page: &mut Page) {
    let links = app.handle.cluster.links();
    if links.is_empty() {
        return;
    }
    let all: Vec<(String, bool, Figures)> = links
        .iter()
        .map(|(id, link)| (format!("{id:x}"), link.is_up(), link.figures()))
        .collect();
    let name = "etcd_network_active_peers";
    page.head("gauge", name, "Members that are reached.");
    for (id, up, _) in &all {
        let labels = format!("Local=\"{}\",Remote=\"{id}\"", app.member_id);
        page.sample(name, &labels, u64::from(*up));
    }
    let counters: [PeerCounter; 3] = [
        ("sent_bytes_total", "Bytes sent to a member.", "To", |of| {
            of.sent_bytes
        }),
        (
            "received_bytes_total",
            "Bytes received from a member.",
            "From",
            |of| of.received_bytes,
        ),
        (
            "sent_failures_total",
            "Messages to a member that were dropped.",
            "To",
            |of| of.failed,
        ),
    ];
    for (name, help, label, value) in counters {
        let name = format!("etcd_network_peer_{name}");
        page.head("counter", &name, help);
        for (id, _, of) in &all {
            page.sample(&name, &format!("{label}=\"{id}\""), value(of));
        }
    }
    let name = "etcd_network_peer_round_trip_time_seconds";
    page.head(
        "histogram",
        name,
        "How long messages to a member take there and back.",
    );
    for (id, _, of) in &all {
        let mut below = 0;
        for (at, count) in of.by_time.into_iter().enumerate() {
            below += count;
            let bound = if at + 1 == ROUND_TRIP_BUCKETS {
                "+Inf".to_owned()
            } else {
                seconds(100 << at)
            };
            page.sample(
                &format!("{name}_bucket"),
                &format!("To=\"{id}\",le=\"{bound}\""),
                below,
            );
        }
        page.sample(
            &format!("{name}_sum"),
            &format!("To=\"{id}\""),
            seconds(of.all_us),
        );
        page.sample(&format!("{name}_count"), &format!("To=\"{id}\""), below);
    }
}

/// The keyspace under etcd's names.
fn store(app: &App, page: &mut Page) {
    let own = &app.handle.shared.metrics;
    let stats = app.handle.published().view.stats();
    let reads = [
        ("reads_total", "Gets with a result.", &own.gets),
        ("reads_failed_total", "Gets refused.", &own.failed_gets),
    ];
    for (name, help, count) in reads {
        let name = format!("etcd_debugging_store_{name}");
        page.head("counter", &name, help);
        page.sample(&name, "action=\"get\"", Metrics::get(count));
    }
    let writes = [
        ("set", stats.sets),
        ("create", stats.creates),
        ("update", stats.updates),
        ("delete", stats.deletes),
        ("compareAndSwap", stats.swaps),
        ("compareAndDelete", stats.compare_deletes),
    ];
    let name = "etcd_debugging_store_writes_total";
    page.head("counter", name, "Writes done.");
    for (action, count) in writes {
        page.sample(name, &format!("action=\"{action}\""), count.success);
    }
    let name = "etcd_debugging_store_writes_failed_total";
    page.head("counter", name, "Writes that the keyspace refused.");
    for (action, count) in writes {
        page.sample(name, &format!("action=\"{action}\""), count.fail);
    }
    let expired = "Keys whose time was over.";
    page.counter("etcd_debugging_store_expires_total", expired, stats.expired);
    let asked = Metrics::get(&own.watch_requests);
    page.counter(
        "etcd_debugging_store_watch_requests_total",
        "Watches asked for.",
        asked,
    );
    let open = Metrics::get(&own.watchers);
    page.gauge("etcd_debugging_store_watchers", "Open watches.", open);
}

fn of_process(app: &App, process: &Process, page: &mut Page) {
    page.counter(
        "process_cpu_seconds_total",
        "Processor time of all threads.",
        process.cpu_seconds,
    );
    let started = app.started.unix_timestamp_nanos() / 1_000_000;
    page.gauge(
        "process_start_time_seconds",
        "When it started, in seconds since 1970.",
        format_args!("{}.{:03}", started / 1_000, started % 1_000),
    );
    for (name, help, value) in [
        ("resident_memory_bytes", "Memory in use.", process.resident_bytes),
        (
            "virtual_memory_bytes",
            "Address space in use.",
            process.virtual_bytes,
        ),
        ("open_fds", "Open file descriptors.", process.open_descriptors),
        (
            "max_fds",
            "The limit of open file descriptors.",
            process.most_descriptors,
        ),
    ] {
        page.gauge(&format!("process_{name}"), help, value);
    }
}

/// What this member is and holds, under our own names.
fn own_state(app: &App, page: &mut Page) {
    let published = app.handle.published();
    let (status, view) = (published.status, &published.view);
    let leads = u64::from(status.role == Role::Leader);
    for (name, help, value) in [
        ("raft_is_leader", "Whether this member leads.", leads),
        ("raft_term", "The current term.", status.term),
        (
            "raft_applied_index",
            "The last applied log entry.",
            status.applied,
        ),
        (
            "raft_commit_index",
            "The last committed log entry.",
            status.commit,
        ),
        ("raft_last_index", "The last log entry.", status.last),
        ("store_index", "The index of the last change.", view.index()),
        (
            "store_nodes",
            "Keys and directories, also hidden.",
            view.len() as u64,
        ),
    ] {
        page.gauge(&format!("berth_{name}"), help, value);
    }
}

/// Which members vote.
fn votes(app: &App, page: &mut Page) {
    let roster = app.handle.cluster.roster();
    if roster.is_empty() {
        return;
    }
    let name = "berth_raft_member_votes";
    page.head(
        "gauge",
        name,
        "Whether a member votes; one that was added does not before it has caught up.",
    );
    for id in roster.members.keys().filter(|id| roster.contains(**id)) {
        let votes = u64::from(roster.votes(*id));
        page.sample(name, &format!("member=\"{id:x}\""), votes);
    }
}

/// The other members as this one reaches them; nothing for a member that is alone.
fn others(app: &App, page: &mut Page) {
    let links = app.handle.cluster.links();
    if links.is_empty() {
        return;
    }
    page.head("gauge", "berth_peer_reached", "Whether messages reach a member.");
    for (id, link) in links.iter() {
        let to = format!("to=\"{id:x}\"");
        page.sample("berth_peer_reached", &to, u64::from(link.is_up()));
    }
    let name = "berth_peer_round_trip_seconds";
    page.head(
        "gauge",
        name,
        "The last time that a message to a member took there and back.",
    );
    for (id, link) in links.iter() {
        page.sample(name, &format!("to=\"{id:x}\""), link.figures().current / 1_000.0);
    }
    let name = "berth_peer_dropped_total";
    page.head("counter", name, "Messages to a member that were dropped.");
    for (id, link) in links.iter() {
        page.sample(name, &format!("to=\"{id:x}\""), link.figures().failed);
    }
}

/// What it did, under our own names.
fn own_traffic(app: &App, page: &mut Page) {
    let own = &app.handle.shared.metrics;
    let disk = &app.handle.figures;
    let get = Metrics::get;
    for (name, help, value) in [
        ("store_gets_total", "Gets with a result.", get(&own.gets)),
        ("store_failed_gets_total", "Gets refused.", get(&own.failed_gets)),
        ("store_writes_total", "Writes taken.", get(&own.writes)),
        (
            "store_refused_writes_total",
            "Writes turned away.",
            get(&own.refused_writes),
        ),
        ("log_batches_total", "Writes to the log.", get(&own.batches)),
        ("log_entries_total", "Entries in them.", get(&own.entries)),
        ("log_fsyncs_total", "Syncs of the log.", disk.fsyncs()),
        (
            "log_bytes_total",
            "Bytes written to the log.",
            disk.bytes_written(),
        ),
        (
            "http_cut_connections_total",
            "Connections cut for being slow.",
            get(&own.cut_connections),
        ),
        (
            "http_refused_connections_total",
            "Connections closed since their address has too many.",
            get(&own.refused_connections),
        ),
    ] {
        page.counter(&format!("berth_{name}"), help, value);
    }
    for (name, help, value) in [
        ("store_watchers", "Open watches.", get(&own.watchers)),
        ("http_connections", "Open connections.", get(&own.connections)),
        (
            "http_waiting_bytes",
            "Bytes of answers and events that wait for slow readers.",
            app.handle.shared.waiting.bytes() as u64,
        ),
        (
            "log_last_fsync_microseconds",
            "How long the last sync took.",
            disk.last_fsync_us(),
        ),
    ] {
        page.gauge(&format!("berth_{name}"), help, value);
    }
}

/// Microseconds as seconds, without zeros at the end.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head("gauge", name, help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head("counter", name, help);
        self.sample(name, "", value);
    }

    fn head(&mut self, kind: &str, name: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn seconds_have_no_zeros_at_the_end() {
        for (micros, text) in [
            (0, "0"),
            (1_000, "0.001"),
            (8_192_000, "8.192"),
            (30_000_000, "30"),
        ] {
            assert_eq!(seconds(micros), text);
        }
    }
}
