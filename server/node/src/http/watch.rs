//! Watches: the head of the answer goes out at once, each event as a line in a chunk of its own.

use crate::handle::{Opening, Shared};
use crate::http::App;
use crate::http::auth::Guard;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::keys::Success;
use crate::http::pace::Pace;
use crate::hub::{Listener, Wish};
use crate::metrics::Metrics;
use berth_store::StoreError;
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Opens a watch. Errors come before the head; afterwards everything is 200.
pub(crate) async fn answer(
    app: &App,
    pace: &Arc<Pace>,
    wish: Wish,
    guard: Option<Box<Guard>>,
) -> Result<Success, Failure> {
    Metrics::add(&app.handle.shared.metrics.watch_requests, 1);
    match app.handle.watch(wish).await? {
        Opening::Open {
            index,
            applied,
            term,
            listener,
        } => {
            let body = WatchBody {
                listener,
                pace: Arc::clone(pace),
                shared: Arc::clone(&app.handle.shared),
                guard,
                done: false,
            };
            Ok(Success {
                status: StatusCode::OK,
                index,
                raft: (applied, term),
                body: Body::Watch(body),
            })
        }
        Opening::Cleared { oldest, asked, index } => {
            Err(Failure::Store(StoreError::history_cleared(oldest, asked, index)))
        }
        Opening::TooMany => Err(Failure::TooManyWatches),
        Opening::Ending => Err(Failure::Refused(crate::handle::Refusal::Stopped)),
    }
}

/// The events of a watch as a body. It ends after the one event of a long poll, when the reader of a stream is too
/// slow, when its client may not see an event that comes, and when the node ends.
#[derive(Debug)]
pub(crate) struct WatchBody {
    listener: Listener,
    pace: Arc<Pace>,
    shared: Arc<Shared>,
    guard: Option<Box<Guard>>,
    done: bool,
}

impl WatchBody {
    pub(crate) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let Some(notice) = ready!(self.listener.events.poll_recv(context)) else {
            self.done = true;
            return Poll::Ready(None);
        };
        if let Some(guard) = &mut self.guard
            && !guard.permits(&self.shared)
        {
            self.done = true;
            return Poll::Ready(None);
        }
        self.done = notice.last;
        Poll::Ready(Some(Frame::data(notice.line.text())))
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        // The connection waits for its next request from now on.
        self.pace.idle();
    }
}
