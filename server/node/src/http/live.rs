//! Answers that stay open, sent without hyper: an idle watch then costs no buffers, of which hyper keeps some 16 KiB for each
//! connection. Only plain requests come here (HTTP/1.1, no body, to be kept alive); hyper sends the rest as well.

use crate::handle::Shared;
use crate::http::Answer;
use crate::http::body::Body;
use crate::http::date::Date;
use crate::http::listener::Phase;
use crate::http::pace::{Paced, STALL_MS};
use crate::http::socket::Socket;
use crate::metrics::Metrics;
use http::{HeaderMap, HeaderName};
use http_body::Body as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Bytes of later requests that are taken while an answer is open. A client that sends more is not read from until the
/// answer ends, and its leaving goes unnoticed until something is sent to it.
const MAX_AHEAD_BYTES: usize = 8 << 10;

/// Lines that came together are sent together, until they are this long.
const MAX_WAITING_BYTES: usize = 64 << 10;

/// The least time between two sends of events to one reader. An event after a quiet time goes out at once; more of them are
/// gathered, since a send to each of many watchers costs far more than what is in it.
const GATHER: Duration = Duration::from_millis(10);

/// Sends an answer to its end. An error means that the connection is of no use any more.
pub(crate) async fn send<S: Socket>(
    io: &mut Paced<S>,
    shared: &Shared,
    answer: Answer,
    phase: &mut watch::Receiver<Phase>,
) -> io::Result<()> {
    let (parts, mut body) = answer.into_parts();
    let mut out = head(&parts.headers);
    let mut open = true;
    let mut next_send = Instant::now();
    loop {
        if !out.is_empty() {
            write(io, shared, &out).await?;
        }
        if !open {
            return Ok(());
        }
        out = Vec::new();
        let line = tokio::select! {
            biased;
            line = next(&mut body) => line?,
            left = left(io) => return Err(left),
            // The answer itself ends in order when the node does.
            _ = phase.wait_for(|phase| *phase == Phase::Cut) => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        if let Some(line) = line {
            chunk(&mut out, &line);
            // An end of the node in between is seen at the next turn, a client that left by the send.
            let gathered = timeout_at(next_send, gather(&mut body, &mut out)).await;
            gathered.unwrap_or(Ok(()))?;
            next_send = Instant::now() + GATHER;
        }
        open = !body.is_end_stream();
        if !open {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

/// Adds lines for as long as it is let, or until there is enough to send.
async fn gather(body: &mut Body, out: &mut Vec<u8>) -> io::Result<()> {
    while out.len() < MAX_WAITING_BYTES && !body.is_end_stream() {
        match next(body).await? {
            Some(line) => chunk(out, &line),
            None => return Ok(()),
        }
    }
    Ok(())
}

async fn next(body: &mut Body) -> io::Result<Option<bytes::Bytes>> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
    let frame = frame.transpose().map_err(io::Error::other)?;
    Ok(frame.and_then(|frame| frame.into_data().ok()))
}

/// Resolves when the client has left. What it sends meanwhile is kept for later.
async fn left<S: Socket>(io: &mut Paced<S>) -> io::Error {
    loop {
        if io.ahead.len() >= MAX_AHEAD_BYTES {
            std::future::pending::<()>().await;
        }
        match io.socket.receive(&mut io.ahead).await {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

async fn write<S: Socket>(io: &mut Paced<S>, shared: &Shared, bytes: &[u8]) -> io::Result<()> {
    let sent = match io.socket.try_write(bytes) {
        Ok(sent) if sent == bytes.len() && io.socket.try_flush().is_ok() => return Ok(()),
        Ok(sent) => sent,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    let rest = &bytes[sent..];
    let place = shared.waiting.answer(rest.len());
    let limit = Duration::from_millis(STALL_MS);
    let socket = &mut io.socket;
    let all = async {
        socket.write_all(rest).await?;
        socket.flush().await
    };
    let written = tokio::select! {
        biased;
        written = tokio::time::timeout(limit, all) => written.ok(),
        () = place => None,
    };
    written.unwrap_or_else(|| {
        Metrics::add(&shared.metrics.cut_connections, 1);
        Err(io::ErrorKind::TimedOut.into())
    })
}

fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    out.reserve(data.len() + 32);
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

fn head(headers: &HeaderMap) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in headers {
        title_case(&mut out, name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let mut date = Date::default();
    out.extend_from_slice(format!("Date: {}\r\nTransfer-Encoding: chunked\r\n\r\n", date.now()).as_bytes());
    out
}

/// Some old clients compare the names of headers as text.
pub(crate) fn title_case(out: &mut Vec<u8>, name: &HeaderName) {
    let mut first = true;
    for letter in name.as_str().bytes() {
        out.push(if first {
            letter.to_ascii_uppercase()
        } else {
            letter
        });
        first = letter == b'-';
    }
}

#[cfg(test)]
mod tests {
    use super::{chunk, head};
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn heads_and_chunks_are_http() {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-etcd-index"), HeaderValue::from(7));
        let head = String::from_utf8(head(&headers)).unwrap();
        let lines: Vec<&str> = head.split("\r\n").collect();
        let [first, index, date, "Transfer-Encoding: chunked", "", ""] = lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!((first, index), ("HTTP/1.1 200 OK", "X-Etcd-Index: 7"));
        assert!(
            date.starts_with("Date: ") && date.ends_with(" GMT") && date.len() == 35,
            "{date}"
        );
        let mut out = Vec::new();
        chunk(&mut out, &[b'x'; 26]);
        assert_eq!(out, [b"1a\r\n", &[b'x'; 26][..], b"\r\n"].concat());
    }
}
