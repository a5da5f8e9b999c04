//! `/metrics` in Prometheus' text format.

use crate::http::App;
use crate::metrics::Metrics;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use berth_replica::Role;
use http::{HeaderValue, header};
use std::fmt::Write as _;
use std::sync::Arc;

/// Answers any method, as etcd does.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, format)], text(&app)).into_response()
}

fn text(app: &App) -> String {
    let mut page = Page(String::with_capacity(4 << 10));
    state(app, &mut page);
    traffic(app, &mut page);
    page.0
}

/// What this member is and holds.
fn state(app: &App, page: &mut Page) {
    let published = app.handle.published();
    let (status, view) = (published.status, &published.view);
    let leads = u64::from(status.role == Role::Leader);
    page.gauge("raft_is_leader", "Whether this member leads.", leads);
    page.gauge("raft_term", "The current term.", status.term);
    page.gauge(
        "raft_applied_index",
        "The last applied log entry.",
        status.applied,
    );
    page.gauge("store_index", "The index of the last change.", view.index());
    page.gauge(
        "store_nodes",
        "Keys and directories, also hidden.",
        view.len() as u64,
    );
}

/// What it did.
fn traffic(app: &App, page: &mut Page) {
    let own = &app.handle.shared.metrics;
    let disk = &app.handle.figures;
    let get = Metrics::get;
    page.gauge("store_watchers", "Open watches.", get(&own.watchers));
    page.counter("store_gets_total", "Gets with a result.", get(&own.gets));
    page.counter("store_failed_gets_total", "Gets refused.", get(&own.failed_gets));
    page.counter("store_writes_total", "Writes taken.", get(&own.writes));
    let refused = get(&own.refused_writes);
    page.counter("store_refused_writes_total", "Writes turned away.", refused);
    page.counter("log_batches_total", "Writes to the log.", get(&own.batches));
    page.counter("log_entries_total", "Entries in them.", get(&own.entries));
    page.counter("log_fsyncs_total", "Syncs of the log.", disk.fsyncs());
    page.counter(
        "log_bytes_total",
        "Bytes written to the log.",
        disk.bytes_written(),
    );
    let last = disk.last_fsync_us();
    page.gauge(
        "log_last_fsync_microseconds",
        "How long the last sync took.",
        last,
    );
    page.gauge("http_connections", "Open connections.", get(&own.connections));
    let cut = get(&own.cut_connections);
    page.counter(
        "http_cut_connections_total",
        "Connections cut for being slow.",
        cut,
    );
}

struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.put("gauge", name, help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.put("counter", name, help, value);
    }

    fn put(&mut self, kind: &str, name: &str, help: &str, value: u64) {
        // Writing to a string does not fail.
        let _ = write!(
            self.0,
            "# HELP berth_{name} {help}\n# TYPE berth_{name} {kind}\nberth_{name} {value}\n"
        );
    }
}
