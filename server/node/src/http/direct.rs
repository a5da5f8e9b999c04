//! Plain requests to `/v2/keys`, answered without hyper: read, parsed, carried out and written by one small loop. Whatever
//! is not plain (see `head`) is left untouched in the buffer, and the connection goes on with hyper.

pub(crate) mod head;

use crate::handle::Shared;
use crate::http::auth::{self, Permitted};
use crate::http::body::Body;
use crate::http::date::Date;
use crate::http::error::Failure;
use crate::http::json;
use crate::http::keys::{self, Success};
use crate::http::keys_parse::{self, Wanted};
use crate::http::listener::Phase;
use crate::http::live::title_case;
use crate::http::pace::{HEAD_MS, Paced, STALL_BYTES, STALL_MS};
use crate::http::path::{self, Path};
use crate::http::socket::Socket;
use crate::http::{Answer, App};
use crate::metrics::Metrics;
use crate::waiting::Place;
use bytes::{Buf as _, BytesMut};
use head::{Head, Parsed};
use http::StatusCode;
use std::pin::pin;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// The largest plain request, head and body; a larger one is hyper's. It bounds what an idle connection holds.
const MAX_REQUEST_BYTES: usize = 8 << 10;
/// Room for the next bytes of a request; most requests come in one piece.
const READ_BYTES: usize = 2 << 10;
/// Answers to requests that came together are sent together, until they are this long.
const MAX_WAITING_BYTES: usize = 64 << 10;
/// Room that is kept from one answer to the next.
const KEPT_BYTES: usize = 4 << 10;

/// How a connection goes on.
pub(crate) enum Next {
    /// Not at all.
    Ended,
    /// With hyper: the next request is in the buffer and was not looked at by anybody.
    Hyper,
    /// With an answer that stays open.
    Open(Answer),
}

/// What the beginning of every success has in common: the headers between the status line and the store's index.
#[derive(Debug)]
pub(crate) struct Fixed {
    headers: Vec<u8>,
}

impl Fixed {
    pub(crate) fn new(app: &App) -> Fixed {
        let mut headers = b"Content-Type: application/json\r\nX-Etcd-Cluster-Id: ".to_vec();
        headers.extend_from_slice(app.cluster_id.as_bytes());
        headers.extend_from_slice(b"\r\nX-Etcd-Index: ");
        Fixed { headers }
    }
}

/// Why the connection cannot go on: the client left, is too slow, or the node ends.
struct Lost;

/// Answers plain requests for as long as only such come.
pub(crate) async fn serve<S: Socket>(
    io: &mut Paced<S>,
    app: &App,
    fixed: &Fixed,
    shared: &Shared,
    phase: &mut watch::Receiver<Phase>,
) -> Next {
    let mut phases = phase.clone();
    let mut draining = pin!(phases.wait_for(|phase| *phase > Phase::Open));
    let mut look = pin!(tokio::time::sleep(Duration::from_millis(HEAD_MS)));
    let mut connection = Connection {
        io,
        shared,
        phase,
        out: Vec::new(),
        date: Date::default(),
    };
    let mut in_body = false;
    loop {
        let wanted = match connection.next_request(app) {
            Found::Request(wanted, reserved) => (wanted, reserved),
            Found::Part(body) => {
                if connection.flush().await.is_err() {
                    return Next::Ended;
                }
                if body && !in_body {
                    connection.io.pace.body();
                }
                in_body = body;
                if !connection.io.ahead.is_empty() {
                    connection.io.pace.received();
                }
                connection.io.ahead.reserve(READ_BYTES);
                tokio::select! {
                    biased;
                    read = connection.io.socket.read_buf(&mut connection.io.ahead) => match read {
                        Ok(0) | Err(_) => return Next::Ended,
                        Ok(_) => connection.io.pace.received(),
                    },
                    () = look.as_mut() => match connection.io.pace.left() {
                        Some(left) => look.as_mut().reset(Instant::now() + left),
                        None => return connection.too_slow(),
                    },
                    _ = draining.as_mut() => return Next::Ended,
                }
                continue;
            }
            Found::Other => {
                return match connection.flush().await {
                    Ok(()) => Next::Hyper,
                    Err(Lost) => Next::Ended,
                };
            }
        };
        in_body = false;
        match connection.answer(app, fixed, wanted.0).await {
            Ok(None) => {}
            Ok(Some(open)) => return Next::Open(open),
            Err(Lost) => return Next::Ended,
        }
        drop(wanted.1);
        if *connection.phase.borrow() > Phase::Open {
            // Nobody needs to know more than that the connection ends here.
            drop(connection.flush().await);
            return Next::Ended;
        }
    }
}

/// What the buffer begins with.
enum Found {
    /// A request, taken out of the buffer; what is held for its body is given back with the answer.
    Request(Result<Permitted, Failure>, Option<crate::handle::Reserved>),
    /// The beginning of one; `true` if only its body lacks something.
    Part(bool),
    /// Something for hyper.
    Other,
}

struct Connection<'a, S> {
    io: &'a mut Paced<S>,
    shared: &'a Shared,
    phase: &'a mut watch::Receiver<Phase>,
    /// Answers not sent yet.
    out: Vec<u8>,
    date: Date,
}

impl<S: Socket> Connection<'_, S> {
    fn next_request(&mut self, app: &App) -> Found {
        let ahead = &mut self.io.ahead;
        let (wanted, reserved, length) = match head::parse(ahead) {
            Parsed::Part if ahead.len() < MAX_REQUEST_BYTES => return Found::Part(false),
            Parsed::Part | Parsed::Other => return Found::Other,
            Parsed::Whole(head) => {
                let length = head.length + head.body;
                let Path::Clean(path) = path::read(head.path) else {
                    return Found::Other;
                };
                let key = path.strip_prefix(b"/v2/keys").unwrap_or_default();
                if length > MAX_REQUEST_BYTES || !(key.is_empty() || key.starts_with(b"/")) {
                    return Found::Other;
                }
                if ahead.len() < length {
                    return Found::Part(true);
                }
                // What has no body has nothing to account for.
                let reserved = (head.body > 0).then(|| app.handle.reserve(head.body));
                match reserved.transpose() {
                    Ok(reserved) => {
                        let body = &ahead[head.length..length];
                        let permitted = wanted(&head, key, body).and_then(|wanted| {
                            let name = self.io.pace.client_name();
                            auth::permit_bare(app, name.map(|name| &**name), key, wanted)
                        });
                        (permitted, reserved, length)
                    }
                    Err(refusal) => (Err(refusal.into()), None, length),
                }
            }
        };
        ahead.advance(length);
        Found::Request(wanted, reserved)
    }

    /// Carries a request out; its answer waits to be sent, unless it stays open.
    async fn answer(
        &mut self,
        app: &App,
        fixed: &Fixed,
        permitted: Result<Permitted, Failure>,
    ) -> Result<Option<Answer>, Lost> {
        let outcome = match permitted {
            Ok(permitted) => {
                let waits = permitted.wanted.waits();
                // What is answered at once needs no pace of its own.
                if waits {
                    self.io.pace.work();
                }
                if !self.out.is_empty() && (waits || self.out.len() >= MAX_WAITING_BYTES) {
                    self.flush().await?;
                }
                let mut work = pin!(keys::carry_out(app, &self.io.pace, permitted));
                tokio::select! {
                    biased;
                    outcome = work.as_mut() => outcome,
                    _ = self.phase.wait_for(|phase| *phase == Phase::Cut) => return Err(Lost),
                }
            }
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(success) if matches!(success.body, Body::Watch(_)) => {
                self.flush().await?;
                if self.io.ahead.is_empty() {
                    // An idle watch holds no buffers.
                    self.io.ahead = BytesMut::new();
                }
                return Ok(Some(success.into_answer(app)));
            }
            Ok(success) => {
                write_success(&mut self.out, fixed, &success, self.date.now());
            }
            Err(failure) => write_answer(&mut self.out, &failure.answer(&app.cluster_id), self.date.now()),
        }
        self.io.pace.idle();
        Ok(None)
    }

    /// Sends what waits.
    async fn flush(&mut self) -> Result<(), Lost> {
        let mut sent = 0;
        // Where sending stood, and when it has to have gone on by enough.
        let mut stall: Option<(usize, Instant, Place)> = None;
        loop {
            let step = if sent < self.out.len() {
                self.io.socket.try_write(&self.out[sent..])
            } else {
                self.io.socket.try_flush().map(|()| 0)
            };
            match step {
                Ok(_) if sent == self.out.len() => break,
                Ok(count) => sent += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let goes_on = stall.take().filter(|(from, ..)| sent - from < STALL_BYTES);
                    let (_, until, place) = stall.insert(goes_on.unwrap_or_else(|| {
                        let place = self.shared.waiting.answer(self.out.len() - sent);
                        (sent, Instant::now() + Duration::from_millis(STALL_MS), place)
                    }));
                    self.writable(*until, place).await?;
                }
                Err(_) => return Err(Lost),
            }
        }
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        Ok(())
    }

    async fn writable(&mut self, until: Instant, place: &mut Place) -> Result<(), Lost> {
        let ready = tokio::select! {
            biased;
            ready = timeout_at(until, self.io.socket.writable()) => ready.ok(),
            () = place => None,
            _ = self.phase.wait_for(|phase| *phase == Phase::Cut) => return Err(Lost),
        };
        match ready {
            Some(ready) => ready.map_err(|_| Lost),
            None => {
                self.too_slow();
                Err(Lost)
            }
        }
    }

    fn too_slow(&self) -> Next {
        Metrics::add(&self.shared.metrics.cut_connections, 1);
        Next::Ended
    }
}

fn wanted(head: &Head<'_>, key: &[u8], body: &[u8]) -> Result<Wanted, Failure> {
    let form = keys::has_form(&head.method, head.content_type)?.then_some(body);
    Ok(keys_parse::parse(&head.method, key, head.query, form)?)
}

fn write_success(out: &mut Vec<u8>, fixed: &Fixed, success: &Success, date: &str) {
    let Body::Full(body) = &success.body else { return };
    out.reserve(fixed.headers.len() + body.len() + 256);
    if success.status == StatusCode::CREATED {
        out.extend_from_slice(b"HTTP/1.1 201 Created\r\n");
    } else {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(&fixed.headers);
    json::number(out, success.index);
    out.extend_from_slice(b"\r\nX-Raft-Index: ");
    json::number(out, success.raft.0);
    out.extend_from_slice(b"\r\nX-Raft-Term: ");
    json::number(out, success.raft.1);
    write_end(out, body, date);
}

/// An answer of any kind that is whole.
fn write_answer(out: &mut Vec<u8>, answer: &Answer, date: &str) {
    let Body::Full(body) = answer.body() else { return };
    let status = answer.status();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in answer.headers() {
        out.extend_from_slice(b"\r\n");
        title_case(out, name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    write_end(out, body, date);
}

fn write_end(out: &mut Vec<u8>, body: &[u8], date: &str) {
    out.extend_from_slice(b"\r\nContent-Length: ");
    json::number(out, body.len() as u64);
    out.extend_from_slice(b"\r\nDate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}
