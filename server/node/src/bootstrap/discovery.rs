//! Forming a cluster by a discovery URL: a directory of another store, in which each member registers itself until as many
//! are there as its `_config/size` says.

use crate::bootstrap::{MAX_FOUNDERS, member_id};
use crate::config::{InitialCluster, InitialMember};
use crate::error::{BootstrapError, Chain};
use crate::peers::wire::{self, Wire};
use crate::tls::{CallTls, Outward, Refused};
use berth_wire::etcd::Node;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// How long the others are waited for. Then the start fails; the registration stays, and the next start goes on with it.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Pause between two looks at the directory, and after a failure of the service.
const LOOK: Duration = Duration::from_millis(500);
const BACK_OFF: Duration = Duration::from_secs(2);
/// One request takes no longer.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// An answer is not longer: a directory with as many registrations as a cluster may have members.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// A request that may be tried again.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Final(#[from] BootstrapError),
    #[error("cannot connect")]
    Io(#[from] std::io::Error),
    #[error("no TLS: {}", Chain(.0))]
    Tls(#[from] Refused),
    #[error("no answer in time")]
    Slow,
    #[error("the exchange broke")]
    Http(#[from] hyper::Error),
    #[error("the answer cannot be read")]
    Answer,
    #[error("status {0}")]
    Status(StatusCode),
}

/// The directory.
struct Directory {
    url: String,
    /// For https, by the system's authorities.
    tls: Option<Arc<Outward>>,
    place: String,
    path: String,
}

/// Registers this member, waits for the others, and gives all of them.
pub(crate) async fn join(
    url: &str,
    name: &str,
    peer_urls: &[String],
) -> Result<InitialCluster, BootstrapError> {
    let directory = Directory::new(url)?;
    let id = format!("{:x}", member_id(peer_urls, url));
    let pairs = peer_urls.iter().map(|peer| format!("{name}={peer}"));
    let value = pairs.collect::<Vec<_>>().join(",");
    let end = Instant::now() + LONGEST_WAIT;
    tracing::info!(url, member = id, "registering for the forming of a cluster");
    let mut said = String::new();
    loop {
        let pause = match directory.look(&id, &value).await {
            Ok(Some(members)) => {
                return Ok(InitialCluster {
                    members,
                    token: url.to_owned(),
                    existing: false,
                });
            }
            Ok(None) => LOOK,
            Err(Failure::Final(error)) => return Err(error),
            Err(error) => {
                let text = error.to_string();
                if text != said {
                    tracing::warn!(
                        url,
                        error = text,
                        "the discovery service does not answer; trying on"
                    );
                    said = text;
                }
                BACK_OFF
            }
        };
        if Instant::now() >= end {
            return Err(BootstrapError::DiscoveryTime { url: url.to_owned() });
        }
        tokio::time::sleep(pause).await;
    }
}

impl Directory {
    fn new(url: &str) -> Result<Directory, BootstrapError> {
        let wrong = || BootstrapError::DiscoveryUrl { url: url.to_owned() };
        let (secure, rest) = wire::place(url).ok_or_else(wrong)?;
        let (place, path) = rest.split_once('/').ok_or_else(wrong)?;
        let path = path.trim_end_matches('/');
        if place.is_empty() || path.is_empty() || path.contains(['?', '#', ' ']) {
            return Err(wrong());
        }
        let place = if place
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        {
            place.to_owned()
        } else {
            format!("{place}:{}", if secure { 443 } else { 80 })
        };
        let tls = match secure {
            true => Some(Outward::open(CallTls::default()).map_err(BootstrapError::DiscoveryTls)?),
            false => None,
        };
        Ok(Directory {
            url: url.to_owned(),
            tls: tls.map(Arc::new),
            place,
            path: format!("/{path}"),
        })
    }

    /// One round: the size, the own registration, the others. All members, if they are there.
    async fn look(&self, id: &str, value: &str) -> Result<Option<Vec<InitialMember>>, Failure> {
        let (status, size) = self.ask(Method::GET, "/_config/size", None).await?;
        let size = match status {
            StatusCode::OK => size.and_then(|node| node.value?.trim().parse().ok()),
            StatusCode::NOT_FOUND => None,
            other => return Err(Failure::Status(other)),
        };
        let size: usize = size
            .filter(|size| (1..=MAX_FOUNDERS).contains(size))
            .ok_or_else(|| BootstrapError::DiscoverySize {
                url: self.url.clone(),
            })?;
        let mut registered = self.registered().await?;
        if !registered.iter().any(|(known, _)| known == id) && registered.len() < size {
            let (status, _) = self
                .ask(Method::PUT, &format!("/{id}?prevExist=false"), Some(value))
                .await?;
            // Who is there already may be this member, before a restart.
            if status != StatusCode::CREATED && status != StatusCode::PRECONDITION_FAILED {
                return Err(Failure::Status(status));
            }
            registered = self.registered().await?;
        }
        let full = || BootstrapError::DiscoveryFull {
            url: self.url.clone(),
        };
        registered.truncate(size);
        let own = registered.iter().find(|(known, _)| known == id);
        match own {
            Some((_, known)) if known == value => {}
            Some(_) => {
                return Err(Failure::Final(BootstrapError::DiscoveryTwice {
                    url: self.url.clone(),
                }));
            }
            None if registered.len() < size => return Err(Failure::Answer),
            None => return Err(Failure::Final(full())),
        }
        if registered.len() < size {
            return Ok(None);
        }
        let all: Vec<String> = registered.into_iter().map(|(_, value)| value).collect();
        Ok(Some(InitialCluster::parse(&all.join(","))?))
    }

    /// Ids and values, in the order in which they came.
    async fn registered(&self) -> Result<Vec<(String, String)>, Failure> {
        let (status, node) = self.ask(Method::GET, "", None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        let node = node.filter(|_| status == StatusCode::OK);
        let mut nodes = node.ok_or(Failure::Status(status))?.nodes;
        nodes.sort_by_key(|node| node.created_index);
        let entries = nodes.into_iter().filter_map(|node| {
            let id = node.key.rsplit('/').next()?.to_owned();
            let hidden = id.starts_with('_');
            node.value.filter(|_| !hidden).map(|value| (id, value))
        });
        Ok(entries.collect())
    }

    /// One request; the node of its answer, if it has one.
    async fn ask(
        &self,
        method: Method,
        rest: &str,
        value: Option<&str>,
    ) -> Result<(StatusCode, Option<Node>), Failure> {
        let asked = timeout(REQUEST_TIME, self.exchange(method, rest, value)).await;
        let (status, body) = asked.map_err(|_| Failure::Slow)??;
        let document: Option<Document> = serde_json::from_slice(&body).ok();
        Ok((status, document.and_then(|document| document.node)))
    }

    async fn exchange(
        &self,
        method: Method,
        rest: &str,
        value: Option<&str>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let socket = TcpStream::connect(self.place.as_str()).await?;
        let socket = match &self.tls {
            None => Wire::Plain(socket),
            Some(tls) => {
                let host = self.place.rsplit_once(':').map_or("", |(host, _)| host);
                Wire::Secure(Box::new(tls.connect(socket, host).await?))
            }
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        // It ends with the sender.
        let driver = tokio::spawn(connection);
        let form = value.map_or(String::new(), |value| {
            let encoded = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            format!("value={encoded}")
        });
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{rest}", self.path))
            .header(header::HOST, &self.place)
            .header(header::CONNECTION, "close")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .map_err(|_| Failure::Answer)?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        driver.abort();
        Ok((status, body.map_err(|_| Failure::Answer)?.to_bytes()))
    }
}

/// What of an answer counts.
#[derive(serde::Deserialize)]
struct Document {
    node: Option<Node>,
}

#[cfg(test)]
mod tests {
    use super::Directory;

    #[test]
    fn urls_of_directories() {
        let read = |url: &str| {
            Directory::new(url)
                .ok()
                .map(|directory| (directory.place, directory.path))
        };
        let is = |place: &str, path: &str| Some((place.to_owned(), path.to_owned()));
        assert_eq!(read("http://h:4001/v2/keys/t/"), is("h:4001", "/v2/keys/t"));
        assert_eq!(read("http://h/v2/keys/t"), is("h:80", "/v2/keys/t"));
        assert_eq!(read("http://[::1]:4001/t"), is("[::1]:4001", "/t"));
        assert_eq!(read("https://h/t"), is("h:443", "/t"));
        for wrong in [
            "ftp://h/t",
            "h/t",
            "http://h:1",
            "http://h:1/",
            "http:///t",
            "http://h/t?x=1",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
