//! Connections to members: one request each at a time, kept for the next one.

use crate::peers::wire::{self, Wire};
use crate::proxy::watch_over;
use crate::tls::Outward;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Idle connections kept to one member; one more is closed.
const MAX_IDLE: usize = 64;
/// An idle connection is not used after this time: members close theirs after a minute, and one that is being closed
/// would lose a write.
const IDLE_TIME: Duration = Duration::from_secs(20);
/// A member of which nothing is heard for so long is asked whether it is still there: a watch may be silent for days.
const SILENCE: Duration = Duration::from_secs(30);

type Sender = SendRequest<Full<Bytes>>;

/// Why a member did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The request did not leave: it has no effect.
    #[error("cannot connect")]
    Unsent(#[source] std::io::Error),
    /// What became of it is not known.
    #[error("the exchange broke")]
    Broken(#[source] hyper::Error),
    /// No answer in time; what became of it is not known.
    #[error("no answer in time")]
    Slow,
}

impl Lost {
    /// Whether the request certainly had no effect.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Lost::Unsent(_))
    }
}

/// The connections to all members.
#[derive(Debug)]
pub(super) struct Upstream {
    /// By URL.
    idle: Mutex<HashMap<String, Vec<(Instant, Sender)>>>,
    dial: Duration,
    write_ms: Option<u32>,
    read: Option<Duration>,
    tls: Arc<Outward>,
}

impl Upstream {
    pub(super) fn new(
        dial: Duration,
        write: Option<Duration>,
        read: Option<Duration>,
        tls: Outward,
    ) -> Upstream {
        let write_ms = write.map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        Upstream {
            idle: Mutex::default(),
            dial,
            write_ms,
            read,
            tls: Arc::new(tls),
        }
    }

    /// Sends a request to a member by its URL, and returns with the head of the answer.
    pub(super) async fn send(
        self: &Arc<Self>,
        url: &str,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Lost> {
        while let Some(mut sender) = self.take(url) {
            // One that was closed meanwhile takes no request, and gives it back.
            let Some(sent) = self.limited(sender.try_send_request(request)).await else {
                return Err(Lost::Slow);
            };
            match sent {
                Ok(response) => {
                    self.keep(url, sender);
                    return Ok(response);
                }
                Err(mut refused) => match refused.take_message() {
                    Some(back) => request = back,
                    None => return Err(Lost::Broken(refused.into_error())),
                },
            }
        }
        let mut sender = self.connect(url).await?;
        let Some(sent) = self.limited(sender.try_send_request(request)).await else {
            return Err(Lost::Slow);
        };
        match sent {
            Ok(response) => {
                self.keep(url, sender);
                Ok(response)
            }
            Err(mut refused) => match refused.take_message() {
                Some(_) => Err(Lost::Unsent(std::io::ErrorKind::NotConnected.into())),
                None => Err(Lost::Broken(refused.into_error())),
            },
        }
    }

    async fn limited<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.read {
            Some(limit) => timeout(limit, work).await.ok(),
            None => Some(work.await),
        }
    }

    async fn connect(&self, url: &str) -> Result<Sender, Lost> {
        let wrong = || Lost::Unsent(std::io::ErrorKind::InvalidInput.into());
        let (secure, place) = wire::place(url).ok_or_else(wrong)?;
        let connected = timeout(self.dial, TcpStream::connect(place)).await;
        let socket = connected
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .and_then(|socket| watch_over(&socket, SILENCE, self.write_ms).map(|()| socket))
            .map_err(Lost::Unsent)?;
        let socket = if secure {
            let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
            let stream = self.tls.connect(socket, host).await;
            let stream = stream.map_err(|refused| Lost::Unsent(std::io::Error::other(refused)))?;
            Wire::Secure(Box::new(stream))
        } else {
            Wire::Plain(socket)
        };
        let shaken = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(socket))
            .await;
        let (sender, connection) = shaken.map_err(|error| Lost::Unsent(std::io::Error::other(error)))?;
        // It ends with the sender and the last answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take(&self, url: &str) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(url)?;
        while let Some((since, sender)) = kept.pop() {
            if since.elapsed() < IDLE_TIME && sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection once its answer has been read to the end.
    fn keep(self: &Arc<Self>, url: &str, mut sender: Sender) {
        let (upstream, url) = (Arc::clone(self), url.to_owned());
        tokio::spawn(async move {
            if sender.ready().await.is_err() {
                return;
            }
            let mut idle = upstream.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = idle.entry(url).or_default();
            kept.retain(|(since, sender)| since.elapsed() < IDLE_TIME && !sender.is_closed());
            if kept.len() < MAX_IDLE {
                kept.push((Instant::now(), sender));
            }
        });
    }

    /// Forgets the connections to all members but these.
    pub(super) fn keep_only(&self, urls: &[String]) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|url, _| urls.contains(url));
    }
}
