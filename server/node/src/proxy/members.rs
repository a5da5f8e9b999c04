//! The members that a gateway knows: which are tried, which failed, and who is new.

use crate::bootstrap::random;
use crate::error::NodeError;
use crate::peers::{ask, wire};
use crate::proxy::ProxyConfig;
use crate::proxy::upstream::Upstream;
use crate::tls::{CallTls, NamedFile, Outward, Port, Setting, Tls};
use berth_wire::etcd::{Member, MembersBody};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// One question for the list of members takes no longer.
const ASK_TIME: Duration = Duration::from_secs(3);
/// A list of members is not longer than this, by far.
const MAX_LIST_BYTES: usize = 256 << 10;
/// Members that are tracked; a list of more is cut.
const MAX_MEMBERS: usize = 64;
/// Until the list was seen once it is asked for this often.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// And for so many further looks, while a member in it has not told where clients reach it: it may have been started just now,
/// or never.
const FIRST_LOOKS: u32 = 60;

/// What is kept of the members between two lives, as etcd's proxy does.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    #[serde(rename = "PeerURLs")]
    peer_urls: Vec<String>,
}

/// A member that requests go to.
#[derive(Debug, Clone)]
struct Endpoint {
    url: String,
    /// It failed, and is not tried until then.
    until: Option<Instant>,
}

/// The members.
#[derive(Debug)]
pub(super) struct Members {
    endpoints: Mutex<Vec<Endpoint>>,
    /// Where other members reach them, for when no endpoint answers.
    peer_urls: Mutex<Vec<String>>,
    pub(super) upstream: Arc<Upstream>,
    /// Members at their URLs for each other, for etcd's, which tell there by HTTP.
    peers: Arc<Upstream>,
    /// For Berth's, which tell there by their own words; none without a certificate.
    peer_tls: Option<Arc<Tls>>,
    failure_wait: Duration,
    interval: Duration,
    state_file: Option<PathBuf>,
}

impl Members {
    pub(super) async fn new(config: &ProxyConfig) -> Result<Members, NodeError> {
        let mut peer_urls: Vec<String> = config
            .initial_cluster
            .iter()
            .flat_map(|member| member.peer_urls.clone())
            .collect();
        let mut endpoints = config.endpoints.clone();
        if let Some(srv) = &config.discovery_srv {
            endpoints.extend(srv.clients().await?);
        }
        if let Some(kept) = config
            .state_file
            .as_ref()
            .and_then(|file| std::fs::read(file).ok())
        {
            // One that cannot be read is made anew.
            let kept: Kept = serde_json::from_slice(&kept).unwrap_or_default();
            if !kept.peer_urls.is_empty() {
                peer_urls = kept.peer_urls;
            }
        }
        let (dial, write, read) = (config.dial_timeout, config.write_timeout, config.read_timeout);
        let upstream = Upstream::new(dial, write, read, Outward::open(config.tls.members.clone())?);
        let peers = &config.tls.peers;
        let named = |path: &Option<PathBuf>, setting| {
            let flag = Port::Peers.flag(setting);
            path.clone().map(|path| NamedFile { flag, path })
        };
        let asking = CallTls {
            ca: named(&peers.trusted_ca, Setting::TrustedCa),
            cert: named(&peers.cert, Setting::Cert),
            key: named(&peers.key, Setting::Key),
        };
        let peer_tls = match peers.cert {
            Some(_) => Some(Arc::new(Tls::open(Port::Peers, peers.clone())?)),
            None => None,
        };
        let members = Members {
            endpoints: Mutex::default(),
            peer_urls: Mutex::new(peer_urls),
            upstream: Arc::new(upstream),
            peers: Arc::new(Upstream::new(dial, write, read, Outward::open(asking)?)),
            peer_tls,
            failure_wait: config.failure_wait,
            interval: config.refresh_interval,
            state_file: config.state_file.clone(),
        };
        members.set(endpoints);
        Ok(members)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Endpoint>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All URLs, for people.
    pub(super) fn urls(&self) -> Vec<String> {
        self.lock().iter().map(|endpoint| endpoint.url.clone()).collect()
    }

    /// The URLs of the members that are tried now, in their order.
    pub(super) fn available(&self) -> Vec<String> {
        let now = Instant::now();
        let endpoints = self.lock();
        let ready = endpoints
            .iter()
            .filter(|endpoint| endpoint.until.is_none_or(|until| until <= now));
        ready.map(|endpoint| endpoint.url.clone()).collect()
    }

    /// A member did not answer.
    pub(super) fn failed(&self, url: &str) {
        let until = Instant::now() + self.failure_wait;
        for endpoint in self.lock().iter_mut().filter(|endpoint| endpoint.url == url) {
            endpoint.until = Some(until);
        }
    }

    /// Takes a list of URLs, in an order of its own; what is known of those that were there stays.
    fn set(&self, urls: Vec<String>) {
        let mut fresh: Vec<Endpoint> = Vec::new();
        for url in urls.into_iter().take(MAX_MEMBERS) {
            let url = url.trim_end_matches('/').to_owned();
            if !is_place(&url) {
                tracing::warn!(
                    url,
                    "a member is left out: it is not http://HOST:PORT or https://HOST:PORT"
                );
                continue;
            }
            if fresh.iter().all(|endpoint| endpoint.url != url) {
                let until = None;
                fresh.push(Endpoint { url, until });
            }
        }
        shuffle(&mut fresh);
        let mut endpoints = self.lock();
        let same = |known: &[Endpoint]| {
            known.len() == fresh.len()
                && known
                    .iter()
                    .all(|known| fresh.iter().any(|new| new.url == known.url))
        };
        // The order stays too while the members do: their connections are open.
        if same(&endpoints) {
            return;
        }
        for endpoint in &mut fresh {
            let known = endpoints.iter().find(|known| known.url == endpoint.url);
            endpoint.until = known.and_then(|known| known.until);
        }
        let list: Vec<&str> = fresh.iter().map(|endpoint| endpoint.url.as_str()).collect();
        tracing::info!(members = list.join(","), "requests go to these members");
        let urls: Vec<String> = fresh.iter().map(|endpoint| endpoint.url.clone()).collect();
        self.upstream.keep_only(&urls);
        *endpoints = fresh;
    }

    /// Asks one after the other for the list of members. None if nobody told of use; else whether it was all.
    async fn refresh(&self) -> Option<bool> {
        for url in self.urls() {
            if let Ok(Some(members)) = timeout(ASK_TIME, list(&self.upstream, &url, "/v2/members")).await {
                return self.learn(members);
            }
        }
        let peer_urls = self
            .peer_urls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for url in peer_urls {
            if let Ok(told) = ask(&url, self.peer_tls.as_ref()).await {
                let members = told.members.into_iter().map(|member| Member {
                    id: format!("{:x}", member.id),
                    name: member.name,
                    peer_urls: member.peer_urls,
                    client_urls: member.client_urls,
                });
                return self.learn(members.collect());
            }
            // A member of etcd itself tells on its port for members, by HTTP.
            if let Ok(Some(members)) = timeout(ASK_TIME, list(&self.peers, &url, "/members")).await {
                return self.learn(members);
            }
        }
        None
    }

    /// Takes what a member told, and says whether all were in it. Who has told no URL yet cannot be reached.
    fn learn(&self, members: Vec<Member>) -> Option<bool> {
        let clients: Vec<String> = members
            .iter()
            .flat_map(|member| member.client_urls.clone())
            .collect();
        if clients.is_empty() {
            return None;
        }
        let complete = members.iter().all(|member| !member.client_urls.is_empty());
        let peers: Vec<String> = members.into_iter().flat_map(|member| member.peer_urls).collect();
        self.set(clients);
        let mut known = self.peer_urls.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.state_file.as_ref().is_none_or(|file| file.exists());
        if !peers.is_empty() && (*known != peers || !kept) {
            known.clone_from(&peers);
            drop(known);
            self.write_down(Kept { peer_urls: peers });
        }
        Some(complete)
    }

    /// The list for the next start. Without it that goes by the flags.
    fn write_down(&self, kept: Kept) {
        let Some(file) = &self.state_file else { return };
        let draft = file.with_extension("tmp");
        let written = file
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&draft, serde_json::to_vec(&kept).unwrap_or_default()))
            .and_then(|()| std::fs::rename(&draft, file));
        if let Err(error) = written {
            tracing::warn!(%error, file = %file.display(), "the members are not kept for the next start");
        }
    }
}

/// The list as a member has it. The port for clients gives a document with it, that for members the list itself.
async fn list(upstream: &Arc<Upstream>, url: &str, path: &str) -> Option<Vec<Member>> {
    let (_, place) = wire::place(url)?;
    let request = Request::builder()
        .uri(path)
        .header(header::HOST, place)
        .body(Full::new(Bytes::new()))
        .ok()?;
    let answer = match upstream.send(url, request).await {
        Ok(answer) => answer,
        Err(lost) => {
            tracing::debug!(
                member = url,
                error = &lost as &dyn std::error::Error,
                "no list of members"
            );
            return None;
        }
    };
    if answer.status() != StatusCode::OK {
        return None;
    }
    let body = Limited::new(answer.into_body(), MAX_LIST_BYTES)
        .collect()
        .await
        .ok()?;
    let body = body.to_bytes();
    let document = serde_json::from_slice(&body).map(|MembersBody { members }| members);
    document.or_else(|_| serde_json::from_slice(&body)).ok()
}

/// Looks at the list again and again, more often until it was seen once.
pub(super) async fn track(members: Arc<Members>) {
    let (mut seen, mut looks) = (false, 0);
    loop {
        match members.refresh().await {
            Some(false) if looks < FIRST_LOOKS => looks += 1,
            Some(_) => seen = true,
            None => {}
        }
        let pause = if seen {
            members.interval
        } else {
            FIRST_INTERVAL.min(members.interval)
        };
        tokio::time::sleep(pause.max(Duration::from_millis(100))).await;
    }
}

/// Whether it is a scheme, a host and a port, and nothing else.
fn is_place(url: &str) -> bool {
    let place = wire::place(url).and_then(|(_, place)| place.rsplit_once(':'));
    place.is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// Not all gateways go to the same member first.
fn shuffle(endpoints: &mut [Endpoint]) {
    for last in (1..endpoints.len()).rev() {
        // Without random numbers the order stays.
        let drawn = random().unwrap_or(0) % (last as u64 + 1);
        endpoints.swap(last, usize::try_from(drawn).unwrap_or(0));
    }
}
