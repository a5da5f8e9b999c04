//! Starting and ending a node.

use crate::bootstrap;
use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::event_loop::{self, Setup, Started};
use crate::handle::{Handle, stage};
use crate::http::{self, App, Bound, Serving};
use crate::peers::{self, PeerServing};
use crate::tls;
use berth_replica::Input;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Time for answering what is in flight at the end; connections that are not done by then are cut.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Time for the last writes and for the end of a snapshot that is being saved. Whoever waits longer has a disk that hangs.
const STOP_TIME: Duration = Duration::from_secs(30);

/// Time for another member to take over the leadership, and how often it is looked at.
const HAND_OVER_TIME: Duration = Duration::from_secs(2);
const HAND_OVER_LOOK: Duration = Duration::from_millis(10);

/// A running store. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct Node {
    handle: Handle,
    ended: Option<oneshot::Receiver<()>>,
    clients: Serving,
    peers: Option<PeerServing>,
    client_addrs: Vec<SocketAddr>,
    client_urls: Vec<String>,
    peer_addr: Option<SocketAddr>,
}

impl Node {
    /// Starts a node; when it returns, clients are served. It must run in a Tokio runtime.
    ///
    /// # Errors
    /// When an address is in use, when the data directory is in use or damaged, or when threads cannot be made.
    pub async fn start(mut config: NodeConfig) -> Result<Node, NodeError> {
        let clock = Clock::new();
        let loaded = tls::load(&config)?;
        bootstrap::discover(&mut config).await?;
        let forming = bootstrap::begin(&config, loaded.peers.as_ref()).await?;
        let listeners = http::listen(&config.client_listen, &config.tls.client_listen)?;
        let peer_listener = config.peer_listen.map(http::listen_on).transpose()?;
        let client_addrs = listeners.iter().filter_map(Bound::address).collect();
        let client_urls: Vec<String> = listeners.iter().filter_map(Bound::url).collect();
        let peer_addr = peer_listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let Started { handle, ended } = event_loop::start(Setup {
            data_dir: config.data_dir.clone(),
            limits: bootstrap::limits(&config),
            clients: config.clients,
            clock,
            forming,
            own: bootstrap::own_member(&config, &client_urls, peer_addr),
            tls: loaded.peers.clone(),
            runtime: tokio::runtime::Handle::current(),
        })
        .await?;
        let app = App::new(handle.clone(), &config);
        let clients = http::serve_clients(listeners, loaded.clients.as_ref(), app);
        let peer_tls = loaded.peers.filter(|_| config.tls.peer_listen);
        let peers =
            peer_listener.map(|listener| peers::serve(listener, peer_tls, Arc::clone(&handle.cluster)));
        Ok(Node {
            handle,
            ended: Some(ended),
            clients,
            peers,
            client_addrs,
            client_urls,
            peer_addr,
        })
    }

    /// The addresses that clients are served on.
    #[must_use]
    pub fn client_addrs(&self) -> &[SocketAddr] {
        &self.client_addrs
    }

    /// The URLs that lead to them.
    #[must_use]
    pub fn client_urls(&self) -> &[String] {
        &self.client_urls
    }

    /// The address that was bound for other members.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// Ends in order: no new connections, watches end, what is in flight is answered, the log is written to its end and
    /// the data directory is free. Takes at most half a minute, as a rule milliseconds.
    pub async fn shutdown(mut self) {
        self.hand_over().await;
        self.clients.drain();
        self.handle.advance(stage::ENDING_WATCHES);
        if tokio::time::timeout(DRAIN_TIME, self.clients.ended())
            .await
            .is_err()
        {
            tracing::warn!("cutting connections that did not end");
            self.clients.cut();
            self.clients.ended().await;
        }
        if let Some(mut peers) = self.peers.take() {
            peers.cut();
            peers.ended().await;
        }
        self.handle.advance(stage::STOPPING);
        if let Some(ended) = self.ended.take()
            && tokio::time::timeout(STOP_TIME, ended).await.is_err()
        {
            tracing::error!("the last writes did not end in time");
        }
    }
}

impl Node {
    /// A leader that ends lets another one lead first, so that writes go on without an election's wait.
    async fn hand_over(&self) {
        let leads = || {
            let status = self.handle.published().status;
            status.leader == status.id && !status.alone
        };
        if !leads() {
            return;
        }
        let transfer = Input::TransferLeader { to: None };
        self.handle.cluster.inbox.push(transfer, None);
        let over = async {
            while leads() {
                tokio::time::sleep(HAND_OVER_LOOK).await;
            }
        };
        if tokio::time::timeout(HAND_OVER_TIME, over).await.is_err() {
            tracing::warn!("nobody took over the leadership");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.clients.cut();
        if let Some(peers) = &self.peers {
            peers.cut();
        }
        self.handle.advance(stage::STOPPING);
    }
}
