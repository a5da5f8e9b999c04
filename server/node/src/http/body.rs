//! The bodies of answers, and how the bodies of requests are read.

use crate::http::watch::WatchBody;
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The largest form; etcd's default limit of a request. A larger one is 413.
pub(crate) const MAX_FORM_BYTES: usize = 3 << 19;

/// What is read and thrown away of a form that is too large, so that its sender gets to read the answer. Whoever announces
/// more has the connection closed.
const MAX_DISCARDED_BYTES: u64 = 16 << 20;

/// What is read of a body that means nothing to the request.
const MAX_IGNORED_BYTES: u64 = 256 << 10;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    /// All there is.
    Full(Bytes),
    /// Events as they come.
    Watch(WatchBody),
    /// From the router.
    Routed(axum::body::Body),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Body::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Watch(watch) => watch.poll_frame(context).map(|frame| frame.map(Ok)),
            Body::Routed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Full(bytes) => bytes.is_empty(),
            Body::Watch(watch) => watch.is_done(),
            Body::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Watch(_) => SizeHint::default(),
            Body::Routed(body) => body.size_hint(),
        }
    }
}

/// Why a form was not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Larger than the limit.
    TooLarge,
    /// It ended too early.
    Cut,
}

/// What to account for before a form is read.
pub(crate) fn expected_bytes(incoming: &Incoming) -> usize {
    let announced = incoming
        .size_hint()
        .upper()
        .and_then(|upper| usize::try_from(upper).ok());
    announced.unwrap_or(MAX_FORM_BYTES).min(MAX_FORM_BYTES)
}

/// Reads a form. A body that comes in one piece is not copied.
pub(crate) async fn read(mut incoming: Incoming, expects_continue: bool) -> Result<Bytes, Unread> {
    let announced = incoming.size_hint().upper();
    if announced.is_some_and(|bytes| bytes > MAX_FORM_BYTES as u64) {
        // A sender that waits for leave to send needs no body taken off its hands.
        if !expects_continue && announced.is_some_and(|bytes| bytes <= MAX_DISCARDED_BYTES) {
            discard(&mut incoming, MAX_DISCARDED_BYTES).await;
        }
        return Err(Unread::TooLarge);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut discarded = 0;
    while let Some(data) = next(&mut incoming).await? {
        let length = first.len().max(all.len()) + data.len();
        if discarded > 0 || length > MAX_FORM_BYTES {
            discarded += data.len() as u64;
            if discarded > MAX_DISCARDED_BYTES {
                break;
            }
        } else if first.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    match (discarded, all.is_empty()) {
        (1.., _) => Err(Unread::TooLarge),
        (0, true) => Ok(first),
        (0, false) => Ok(all.freeze()),
    }
}

/// Reads a body that means nothing, so that the connection can go on after the answer. One that is longer than
/// [`MAX_IGNORED_BYTES`] ends the connection instead.
pub(crate) async fn ignore(mut incoming: Incoming, expects_continue: bool) {
    if !expects_continue {
        discard(&mut incoming, MAX_IGNORED_BYTES).await;
    }
}

async fn discard(incoming: &mut Incoming, most: u64) {
    let mut seen = 0;
    while seen <= most {
        match next(incoming).await {
            Ok(Some(data)) => seen += data.len() as u64,
            Ok(None) | Err(_) => return,
        }
    }
}

/// The next data; trailers are passed over.
async fn next(incoming: &mut Incoming) -> Result<Option<Bytes>, Unread> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Unread::Cut),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
