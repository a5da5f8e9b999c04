//! Why a node cannot start.

use crate::disk::DiskError;
use crate::tls::TlsError;
use berth_replica::ReplicaError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No client address was given.
    #[error("no client address to listen on")]
    NoAddress,
    /// An address cannot be listened on: in use, not of this machine, or not permitted.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data directory is in use, damaged, or cannot be read or written.
    #[error("cannot open the data directory")]
    Disk(#[from] DiskError),
    /// What the disk held does not make a member.
    #[error("cannot go on from what the data directory holds")]
    Replica(#[from] ReplicaError),
    /// What was said about the forming of the cluster cannot be.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The member was removed from its cluster.
    #[error(
        "{}: the member of this data directory was removed from its cluster for ever; to take part again it is added anew, \
         and starts with an empty one", path.display()
    )]
    Removed {
        /// The data directory.
        path: PathBuf,
    },
    /// Certificates are missing, contradict each other or cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The only member does not lead itself.
    #[error("the only member does not become the leader")]
    NoLeader,
    /// The event loop's thread did not start.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The system has no random numbers.
    #[error("cannot read random numbers")]
    Random(#[source] io::Error),
    /// The event loop ended while it was starting.
    #[error("the event loop ended while it was starting")]
    Ended,
}

/// What the flags say about the forming of the cluster cannot be.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A part of the list has another form.
    #[error("--initial-cluster: {part:?} is not NAME=URL")]
    Form {
        /// The part.
        part: String,
    },
    /// A URL has another form.
    #[error("--initial-cluster: {url:?} is not http://HOST:PORT or https://HOST:PORT")]
    Url {
        /// The URL.
        url: String,
    },
    /// A URL stands there twice.
    #[error("--initial-cluster: {url} is named twice")]
    Twice {
        /// The URL.
        url: String,
    },
    /// There are too many.
    #[error("--initial-cluster: more than {limit} members")]
    TooMany {
        /// The most there may be.
        limit: usize,
    },
    /// The member itself is missing.
    #[error("--initial-cluster: it does not name this member, {name:?} (--name)")]
    Unnamed {
        /// The member's name.
        name: String,
    },
    /// The member has other URLs there.
    #[error("--initial-advertise-peer-urls: {advertised}, but --initial-cluster has {named} for {name:?}")]
    OtherUrls {
        /// The member's name.
        name: String,
        /// Those of the list.
        named: String,
        /// Those of the member.
        advertised: String,
    },
    /// None of the members named answers.
    #[error("--initial-cluster-state existing: no member of the cluster answers: {said}")]
    Unanswered {
        /// What each of them did.
        said: String,
    },
    /// The list names nobody else.
    #[error("--initial-cluster-state existing: --initial-cluster names no other member that could be asked")]
    NobodyToAsk,
    /// The cluster does not know the member.
    #[error(
        "--initial-cluster-state existing: the cluster has no member at {urls}: add it first, with 'berth member add {name} {urls}'"
    )]
    NotAdded {
        /// The member's name.
        name: String,
        /// Its URLs in the list.
        urls: String,
    },
    /// The cluster has more members, or fewer.
    #[error("--initial-cluster: it names {named} members, but the cluster has {found}: {list}")]
    Count {
        /// Members of the list.
        named: usize,
        /// Members of the cluster.
        found: usize,
        /// Those of the cluster, as the flag has them.
        list: String,
    },
    /// A member of the list is no member of the cluster.
    #[error("--initial-cluster: the cluster has no member at {urls}, where it names {name:?}; it has {list}")]
    Misnamed {
        /// The member's name in the list.
        name: String,
        /// Its URLs there.
        urls: String,
        /// The members of the cluster, as the flag has them.
        list: String,
    },
    /// The cluster was formed with another token.
    #[error("--initial-cluster-token: the cluster was formed with another one than {token:?}")]
    OtherToken {
        /// The token of the flag.
        token: String,
    },
    /// The member has a past.
    #[error(
        "--initial-cluster-state existing: member {id:x} ({name:?}) has started before, with another data directory: remove it and add it anew"
    )]
    Started {
        /// Its id.
        id: u64,
        /// Its name.
        name: String,
    },
    /// Others could not reach the member.
    #[error("--listen-peer: a member of a cluster of several needs an address for the others")]
    NoPeerAddress,
    /// Both say who the members are.
    #[error("--discovery: not together with --initial-cluster")]
    Both,
    /// The discovery URL has another form.
    #[error("--discovery: {url:?} is not http://HOST[:PORT]/DIRECTORY")]
    DiscoveryUrl {
        /// The URL.
        url: String,
    },
    /// The directory does not say how many members there will be.
    #[error("--discovery: {url}/_config/size is not a number of members")]
    DiscoverySize {
        /// The URL.
        url: String,
    },
    /// As many members as there may be are registered.
    #[error("--discovery: the cluster of {url} is full")]
    DiscoveryFull {
        /// The URL.
        url: String,
    },
    /// Another member is registered under this one's URLs.
    #[error("--discovery: another member with these peer URLs is registered in {url}")]
    DiscoveryTwice {
        /// The URL.
        url: String,
    },
    /// The other members did not come.
    #[error("--discovery: not all members came to {url} in time; a further start goes on waiting")]
    DiscoveryTime {
        /// The URL.
        url: String,
    },
    /// The system's authorities, by which a service over https is known, cannot be used.
    #[error("--discovery")]
    DiscoveryTls(#[source] TlsError),
    /// The records of the domain cannot be had.
    #[error("--discovery-srv {domain}: {reason}")]
    Srv {
        /// The domain.
        domain: String,
        /// What is missing, or what the resolver said.
        reason: String,
    },
    /// None of the records names this member.
    #[error("--discovery-srv {domain}: no record names this member ({urls}, --initial-advertise-peer-urls)")]
    SrvOwn {
        /// The domain.
        domain: String,
        /// What this member tells others.
        urls: String,
    },
    /// Two ways to say who the members are.
    #[error("--discovery-srv: not together with --initial-cluster or --discovery")]
    SrvBoth,
    /// Others could not be told where this member is.
    #[error(
        "--initial-advertise-peer-urls: needed with --discovery, unless --listen-peer is a single address"
    )]
    DiscoveryAddress,
}

/// An error with all its causes.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
