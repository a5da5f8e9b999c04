//! How a member comes to be: alone, as one of those that form a cluster together, or as one that joins later; and under the identity that its data
//! directory holds ever after.

mod discovery;
mod join;
mod srv;

pub use srv::SrvDiscovery;

use crate::config::{InitialCluster, InitialMember, NodeConfig};
use crate::disk::{Disk, Forming, Founding, Identity};
use crate::error::{BootstrapError, NodeError};
use crate::tls::Tls;
use berth_replica::{Limits, Member, Millis, ReplicaConfig};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The store's index before the first write of a client. A fresh single member of etcd stands there, because its own
/// records (peer URLs, name and client URLs, cluster version) took these indexes, and clients' tests count on it.
pub(crate) const FIRST_INDEX: u64 = 3;

/// The longest tick: what is due expires with the next one, however slow the heart beats.
const MAX_TICK_MS: Millis = 100;

/// What a request is waited for beside two election time-outs, as etcd has it.
const REQUEST_MS: Millis = 5_000;

/// Founders of a cluster: each costs every write a message, and more than a handful of voters help nobody.
const MAX_FOUNDERS: usize = 15;

/// The times of the settings in ticks, of which each heartbeat has as few as may be.
pub(crate) fn limits(config: &NodeConfig) -> Limits {
    let millis = |time: Duration| Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX);
    let heartbeat = millis(config.heartbeat).max(1);
    let heartbeat_ticks = heartbeat.div_ceil(MAX_TICK_MS);
    let tick_ms = heartbeat / heartbeat_ticks;
    let election = millis(config.election_timeout);
    let count = |ticks: Millis| usize::try_from(ticks).unwrap_or(usize::MAX);
    Limits {
        tick_ms,
        heartbeat_ticks: count(heartbeat_ticks),
        // Raft needs it to be longer than a heartbeat.
        election_ticks: count(election.div_ceil(tick_ms).max(heartbeat_ticks + 1)),
        snapshot_count: config.snapshot_count,
        request_timeout_ms: election.saturating_mul(2).saturating_add(REQUEST_MS),
        ..Limits::default()
    }
}

/// Asks the records of a domain, or waits for the members that form the cluster, if it is for these to say who they are.
pub(crate) async fn discover(config: &mut NodeConfig) -> Result<(), BootstrapError> {
    if let Some((srv, token, existing)) = config.discovery_srv.take() {
        if Disk::holds_member(&config.data_dir) {
            return Ok(());
        }
        if config.initial_cluster.is_some() || config.discovery.is_some() {
            return Err(BootstrapError::SrvBoth);
        }
        let own = advertised(config)?;
        let found = srv.members(&config.name, &own, &token, existing).await?;
        let named = found.members.iter().find(|member| member.name == config.name);
        // What the records say is what the others know.
        config.advertise_peer_urls = named.map_or(own, |member| member.peer_urls.clone());
        config.initial_cluster = Some(found);
        return Ok(());
    }
    let Some(url) = &config.discovery else {
        return Ok(());
    };
    if Disk::holds_member(&config.data_dir) {
        return Ok(());
    }
    if config.initial_cluster.is_some() {
        return Err(BootstrapError::Both);
    }
    let peer_urls = advertised(config)?;
    config.initial_cluster = Some(discovery::join(url, &config.name, &peer_urls).await?);
    Ok(())
}

/// What others are told to use.
fn advertised(config: &NodeConfig) -> Result<Vec<String>, BootstrapError> {
    if !config.advertise_peer_urls.is_empty() {
        return Ok(config.advertise_peer_urls.clone());
    }
    let single = |address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
    let address = config.peer_listen.filter(single);
    let address = address.ok_or(BootstrapError::DiscoveryAddress)?;
    Ok(vec![peer_url(config, address)])
}

/// What a first start makes of the settings; a cluster that is there is asked. A directory that holds a member already goes on as
/// that one, whatever is said about the forming of a cluster now.
pub(crate) async fn begin(config: &NodeConfig, tls: Option<&Arc<Tls>>) -> Result<Forming, NodeError> {
    if Disk::holds_removed(&config.data_dir) {
        let path = config.data_dir.clone();
        return Err(NodeError::Removed { path });
    }
    let Some(initial) = &config.initial_cluster else {
        return Ok(Forming::default());
    };
    if Disk::holds_member(&config.data_dir) {
        return Ok(Forming::default());
    }
    let own = check(config, initial)?;
    if initial.existing {
        Ok(join::join(initial, own, tls).await?)
    } else {
        Ok(forming(initial, own, config.discovery.is_none()))
    }
}

/// This member in the list, if that is one that a cluster can be formed by, or joined.
fn check<'a>(config: &NodeConfig, initial: &'a InitialCluster) -> Result<&'a InitialMember, BootstrapError> {
    check_urls(initial)?;
    let named = initial.members.iter().find(|member| member.name == config.name);
    let own = named.ok_or_else(|| BootstrapError::Unnamed {
        name: config.name.clone(),
    })?;
    let advertised = &config.advertise_peer_urls;
    if !advertised.is_empty() && sorted(advertised) != sorted(&own.peer_urls) {
        return Err(BootstrapError::OtherUrls {
            name: config.name.clone(),
            named: own.peer_urls.join(","),
            advertised: advertised.join(","),
        });
    }
    let alone = initial.members.len() == 1;
    if initial.existing && alone {
        return Err(BootstrapError::NobodyToAsk);
    }
    if config.peer_listen.is_none() && !alone {
        return Err(BootstrapError::NoPeerAddress);
    }
    Ok(own)
}

/// A cluster that is formed anew.
fn forming(initial: &InitialCluster, own: &InitialMember, has_token: bool) -> Forming {
    let token = has_token.then(|| initial.token.clone());
    if initial.members.len() == 1 {
        return Forming {
            token,
            ..Forming::default()
        };
    }
    let founders: Vec<Member> = initial
        .members
        .iter()
        .map(|member| Member {
            id: member_id(&member.peer_urls, &initial.token),
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: Vec::new(),
        })
        .collect();
    let ids: BTreeSet<u64> = founders.iter().map(|member| member.id).collect();
    Forming {
        identity: Some(Identity {
            member: member_id(&own.peer_urls, &initial.token),
            cluster: cluster_id(&ids),
        }),
        founders,
        joins: false,
        token,
    }
}

pub(crate) fn check_urls(initial: &InitialCluster) -> Result<(), BootstrapError> {
    let mut seen = BTreeSet::new();
    if initial.members.len() > MAX_FOUNDERS {
        return Err(BootstrapError::TooMany { limit: MAX_FOUNDERS });
    }
    for url in initial.members.iter().flat_map(|member| &member.peer_urls) {
        if !is_peer_url(url) {
            return Err(BootstrapError::Url { url: url.clone() });
        }
        if !seen.insert(url.trim_end_matches('/')) {
            return Err(BootstrapError::Twice { url: url.clone() });
        }
    }
    Ok(())
}

/// Whether it is `http://HOST:PORT` or `https://HOST:PORT`.
fn is_peer_url(url: &str) -> bool {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let place = rest.map(|rest| rest.trim_end_matches('/'));
    let parts = place.and_then(|place| place.rsplit_once(':'));
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn sorted(urls: &[String]) -> Vec<&str> {
    let mut urls: Vec<&str> = urls.iter().map(|url| url.trim_end_matches('/')).collect();
    urls.sort_unstable();
    urls
}

/// The same for all founders, and another one under each token.
pub(crate) fn member_id(peer_urls: &[String], token: &str) -> u64 {
    let mut text = sorted(peer_urls).concat();
    text.push_str(token);
    id_of(text.as_bytes())
}

pub(crate) fn cluster_id(members: &BTreeSet<u64>) -> u64 {
    let bytes: Vec<u8> = members.iter().flat_map(|id| id.to_be_bytes()).collect();
    id_of(&bytes)
}

/// The beginning of a digest; never 0.
fn id_of(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first).max(1)
}

/// The URL of the address for other members.
fn peer_url(config: &NodeConfig, address: SocketAddr) -> String {
    crate::http::url(address, config.tls.peer_listen)
}

/// What this member tells others about itself; its id is known when the data directory is open.
pub(crate) fn own_member(
    config: &NodeConfig,
    client_urls: &[String],
    peer_addr: Option<SocketAddr>,
) -> Member {
    let client_urls = if config.advertise_client_urls.is_empty() {
        client_urls.to_vec()
    } else {
        config.advertise_client_urls.clone()
    };
    let initial = config.initial_cluster.as_ref();
    let named = initial.and_then(|initial| initial.members.iter().find(|member| member.name == config.name));
    let peer_urls = match named {
        _ if !config.advertise_peer_urls.is_empty() => config.advertise_peer_urls.clone(),
        Some(member) => member.peer_urls.clone(),
        None => peer_addr
            .map(|address| peer_url(config, address))
            .into_iter()
            .collect(),
    };
    Member {
        id: 0,
        name: config.name.clone(),
        peer_urls,
        client_urls,
    }
}

/// The settings of a member.
pub(crate) fn replica_config(founding: &Founding, limits: Limits) -> Result<ReplicaConfig, NodeError> {
    let id = founding.identity.member;
    let voters = if founding.joined {
        Vec::new()
    } else if founding.founders.is_empty() {
        vec![id]
    } else {
        founding.founders.iter().map(|member| member.id).collect()
    };
    Ok(ReplicaConfig {
        id,
        voters,
        incarnation: random()?,
        seed: random()?,
        limits,
    })
}

/// A number that no other start of any member has.
pub(crate) fn random() -> Result<u64, NodeError> {
    let mut bytes = [0; 8];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|errno| NodeError::Random(io::Error::from(errno)))?;
    if filled < bytes.len() {
        return Err(NodeError::Random(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests;
