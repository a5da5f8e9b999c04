//! `/v2/stats`.

use crate::http::App;
use crate::http::error::{Refused, allow};
use crate::metrics::Metrics;
use crate::peers::Figures;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use berth_replica::Role;
use http::{HeaderValue, Method, header};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use time::format_description::well_known::Rfc3339;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnStats {
    name: String,
    id: String,
    state: &'static str,
    start_time: String,
    leader_info: LeaderInfo,
    recv_append_request_cnt: u64,
    send_append_request_cnt: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderInfo {
    leader: String,
    uptime: String,
    start_time: String,
}

/// This member, and since when its leader leads as far as it knows.
pub(crate) async fn own(State(app): State<Arc<App>>, method: Method) -> Result<Response, Refused> {
    allow(&method, "GET")?;
    let status = app.handle.published().status;
    let cluster = &app.handle.cluster;
    let led_since = Duration::from_millis(cluster.led_since());
    let moment = |moment: time::OffsetDateTime| moment.format(&Rfc3339).unwrap_or_default();
    let (sent, received) = cluster.appends();
    Ok(document(&OwnStats {
        name: app.name.clone(),
        id: app.member_id.clone(),
        state: role_name(status.role),
        start_time: moment(app.started),
        leader_info: LeaderInfo {
            leader: format!("{:x}", status.leader),
            uptime: go_duration(app.handle.clock.uptime().saturating_sub(led_since)),
            start_time: moment(app.started + led_since),
        },
        recv_append_request_cnt: received,
        send_append_request_cnt: sent,
    }))
}

/// A role as etcd calls it.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "StateLeader",
        Role::Follower => "StateFollower",
        Role::Candidate => "StateCandidate",
        Role::PreCandidate => "StatePreCandidate",
    }
}

#[derive(Serialize)]
struct LeaderStats {
    leader: String,
    followers: BTreeMap<String, Follower>,
}

#[derive(Serialize)]
struct Follower {
    latency: Latency,
    counts: Counts,
}

/// Milliseconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Latency {
    current: f64,
    average: f64,
    standard_deviation: f64,
    minimum: f64,
    maximum: f64,
}

#[derive(Serialize)]
struct Counts {
    fail: u64,
    success: u64,
}

/// The smallest latency before the first is measured, as etcd has it.
const UNMEASURED: f64 = 9_223_372_036_854_775_807.0;

impl From<Figures> for Follower {
    fn from(figures: Figures) -> Follower {
        Follower {
            latency: Latency {
                current: figures.current,
                average: figures.average,
                standard_deviation: figures.deviation(),
                minimum: if figures.samples == 0 {
                    UNMEASURED
                } else {
                    figures.minimum
                },
                maximum: figures.maximum,
            },
            counts: Counts {
                fail: figures.failed,
                success: figures.sent,
            },
        }
    }
}

/// The followers: how long messages take there and back, and how many appends were sent.
pub(crate) async fn leader(State(app): State<Arc<App>>, method: Method) -> Result<Response, Refused> {
    allow(&method, "GET")?;
    if app.handle.published().status.role != Role::Leader {
        return Err(Refused::NotLeader);
    }
    let links = app.handle.cluster.links();
    let followers = links.iter();
    Ok(document(&LeaderStats {
        leader: app.member_id.clone(),
        followers: followers
            .map(|(id, link)| (format!("{id:x}"), link.figures().into()))
            .collect(),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreStats {
    gets_success: u64,
    gets_fail: u64,
    sets_success: u64,
    sets_fail: u64,
    delete_success: u64,
    delete_fail: u64,
    update_success: u64,
    update_fail: u64,
    create_success: u64,
    create_fail: u64,
    compare_and_swap_success: u64,
    compare_and_swap_fail: u64,
    compare_and_delete_success: u64,
    compare_and_delete_fail: u64,
    expire_count: u64,
    watchers: u64,
}

/// The keyspace's counters, and this member's own of reads and watches.
pub(crate) async fn store(State(app): State<Arc<App>>, method: Method) -> Result<Response, Refused> {
    allow(&method, "GET")?;
    let stats = app.handle.published().view.stats();
    let metrics = &app.handle.shared.metrics;
    Ok(document(&StoreStats {
        gets_success: Metrics::get(&metrics.gets),
        gets_fail: Metrics::get(&metrics.failed_gets),
        sets_success: stats.sets.success,
        sets_fail: stats.sets.fail,
        delete_success: stats.deletes.success,
        delete_fail: stats.deletes.fail,
        update_success: stats.updates.success,
        update_fail: stats.updates.fail,
        create_success: stats.creates.success,
        create_fail: stats.creates.fail,
        compare_and_swap_success: stats.swaps.success,
        compare_and_swap_fail: stats.swaps.fail,
        compare_and_delete_success: stats.compare_deletes.success,
        compare_and_delete_fail: stats.compare_deletes.fail,
        expire_count: stats.expired,
        watchers: Metrics::get(&metrics.watchers),
    }))
}

fn document(document: &impl Serialize) -> Response {
    let json = HeaderValue::from_static("application/json");
    let body = serde_json::to_string(document).unwrap_or_default();
    ([(header::CONTENT_TYPE, json)], body).into_response()
}

/// A duration as Go writes it: `1h2m3.4s`, `850ms`.
fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos < 1_000_000_000 {
        let (unit, name) = match nanos {
            0 => return "0s".to_owned(),
            1..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return decimal(nanos, unit) + name;
    }
    let seconds = duration.as_secs();
    let mut text = String::new();
    if seconds >= 3_600 {
        // Writing to a string does not fail.
        let _ = write!(text, "{}h", seconds / 3_600);
    }
    if seconds >= 60 {
        let _ = write!(text, "{}m", seconds / 60 % 60);
    }
    let rest = nanos - u128::from(seconds / 60 * 60) * 1_000_000_000;
    text + &decimal(rest, 1_000_000_000) + "s"
}

/// `number / unit` with as many decimals as it takes; the unit is a power of ten.
fn decimal(number: u128, unit: u128) -> String {
    let (whole, part) = (number / unit, number % unit);
    if part == 0 {
        return whole.to_string();
    }
    let digits = (unit + part).to_string();
    format!("{whole}.{}", digits[1..].trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::go_duration;
    use std::time::Duration;

    #[test]
    fn durations_are_written_as_by_go() {
        for (nanos, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (850_000_000, "850ms"),
            (1_000_000_000, "1s"),
            (61_050_000_000, "1m1.05s"),
            (3_082_259_762_353, "51m22.259762353s"),
            (3_723_400_000_000, "1h2m3.4s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }
}
