//! TLS of the ports for clients and for other members: settings, certificates and who may come in.
//!
//! A port's files are read again when they change: a new connection gets what is in them now, the open ones go on. Only TLS
//! 1.2 and 1.3 are spoken.

mod accept;
mod error;
mod material;
mod names;
mod outward;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use accept::{Refused, Tls, client_name};
pub use error::TlsError;
pub(crate) use outward::Outward;
pub use outward::{CallTls, NamedFile};

use crate::config::NodeConfig;
use crate::disk::Disk;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// TLS of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeTls {
    /// Where clients are served over TLS; port 0 takes a free one.
    pub client_listen: Vec<SocketAddr>,
    /// What the port for clients shows and demands.
    pub client: TlsSettings,
    /// The address for other members is served over TLS.
    pub peer_listen: bool,
    /// What the port for other members shows and demands, and what is shown to them when they are called.
    pub peer: TlsSettings,
}

/// Certificates of one kind of port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate that is shown, with those between it and the authority: PEM.
    pub cert: Option<PathBuf>,
    /// Its private key: PEM.
    pub key: Option<PathBuf>,
    /// The authorities whose certificates are taken: PEM.
    pub trusted_ca: Option<PathBuf>,
    /// Whoever calls has to show a certificate of one of the authorities.
    pub demand: bool,
    /// Certificates that were revoked: lists in PEM, or one in DER. An authority without a list there is not believed.
    pub crl: Option<PathBuf>,
    /// The common names that are let in; empty: all.
    pub allowed_cn: Vec<String>,
    /// The names or addresses of which a certificate has to be for one; empty: all.
    pub allowed_hostname: Vec<String>,
    /// The certificate is one that its member made for itself: members take any from one another, and know nobody by it.
    pub self_made: bool,
    /// Members may call from addresses that their certificates do not name.
    pub any_address: bool,
}

/// The kinds of ports, which have flags of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// For clients.
    Clients,
    /// For other members.
    Peers,
}

/// A setting, named by its flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Cert,
    Key,
    TrustedCa,
    Demand,
    Crl,
    AllowedCn,
    AllowedHostname,
    Listen,
}

impl Port {
    /// The flag of a setting.
    pub(crate) fn flag(self, setting: Setting) -> &'static str {
        match (self, setting) {
            (Port::Clients, Setting::Cert) => "--cert-file",
            (Port::Clients, Setting::Key) => "--key-file",
            (Port::Clients, Setting::TrustedCa) => "--trusted-ca-file",
            (Port::Clients, Setting::Demand) => "--client-cert-auth",
            (Port::Clients, Setting::Crl) => "--client-crl-file",
            (Port::Clients, Setting::AllowedCn) => "--client-cert-allowed-cn",
            (Port::Clients, Setting::AllowedHostname) => "--client-cert-allowed-hostname",
            (Port::Clients, Setting::Listen) => "the addresses for clients",
            (Port::Peers, Setting::Cert) => "--peer-cert-file",
            (Port::Peers, Setting::Key) => "--peer-key-file",
            (Port::Peers, Setting::TrustedCa) => "--peer-trusted-ca-file",
            (Port::Peers, Setting::Demand) => "--peer-client-cert-auth",
            (Port::Peers, Setting::Crl) => "--peer-crl-file",
            (Port::Peers, Setting::AllowedCn) => "--peer-cert-allowed-cn",
            (Port::Peers, Setting::AllowedHostname) => "--peer-cert-allowed-hostname",
            (Port::Peers, Setting::Listen) => "the addresses for other members",
        }
    }
}

/// The TLS of both ports, read and ready.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) clients: Option<Arc<Tls>>,
    pub(crate) peers: Option<Arc<Tls>>,
}

/// Checks the settings against each other and reads all files. No port is bound before.
pub(crate) fn load(config: &NodeConfig) -> Result<Loaded, TlsError> {
    let NodeTls {
        client_listen,
        client,
        peer_listen,
        peer,
    } = &config.tls;
    check(Port::Clients, client, !client_listen.is_empty())?;
    check(Port::Peers, peer, *peer_listen)?;
    check_cluster(config)?;
    if !client_listen.is_empty() && client.trusted_ca.is_some() && !client.demand {
        tracing::warn!("clients are not asked for certificates: --client-cert-auth does that");
    }
    for url in &config.advertise_client_urls {
        if config.client_listen.is_empty() && url.starts_with("http://") {
            tracing::warn!(url, "clients are told to use http, but only https is listened on");
        }
    }
    let open = |port, settings: &TlsSettings| match settings.cert {
        Some(_) => Tls::open(port, settings.clone()).map(|tls| Some(Arc::new(tls))),
        None => Ok(None),
    };
    Ok(Loaded {
        clients: open(Port::Clients, client)?,
        peers: open(Port::Peers, peer)?,
    })
}

/// Refuses settings that contradict each other or would have no effect.
pub(crate) fn check(port: Port, settings: &TlsSettings, listens: bool) -> Result<(), TlsError> {
    let flag = |setting| port.flag(setting);
    match (&settings.cert, &settings.key) {
        (Some(_), None) => {
            return Err(TlsError::Half {
                given: flag(Setting::Cert),
                missing: flag(Setting::Key),
            });
        }
        (None, Some(_)) => {
            return Err(TlsError::Half {
                given: flag(Setting::Key),
                missing: flag(Setting::Cert),
            });
        }
        (Some(_), Some(_)) if !listens => {
            return Err(TlsError::Idle {
                flag: flag(Setting::Cert),
                listen: flag(Setting::Listen),
            });
        }
        (None, None) if listens => {
            return Err(TlsError::NoCertificate {
                flag: flag(Setting::Cert),
                listen: flag(Setting::Listen),
            });
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let needs = |given, needed| TlsError::Needs {
        given: flag(given),
        needed: flag(needed),
    };
    let rest = [
        (settings.demand, Setting::Demand),
        (settings.crl.is_some(), Setting::Crl),
        (!settings.allowed_cn.is_empty(), Setting::AllowedCn),
        (!settings.allowed_hostname.is_empty(), Setting::AllowedHostname),
    ];
    for (given, setting) in rest {
        if given && !listens {
            return Err(needs(setting, Setting::Cert));
        }
        if given && settings.trusted_ca.is_none() {
            return Err(needs(setting, Setting::TrustedCa));
        }
        // Members look at each other's certificates whoever calls; of clients nothing is seen that was not demanded.
        if given && port == Port::Clients && !settings.demand {
            return Err(needs(setting, Setting::Demand));
        }
    }
    if port == Port::Peers && listens && settings.trusted_ca.is_none() && !settings.self_made {
        return Err(needs(Setting::Cert, Setting::TrustedCa));
    }
    if !settings.allowed_cn.is_empty() && !settings.allowed_hostname.is_empty() {
        return Err(TlsError::Both {
            one: flag(Setting::AllowedCn),
            other: flag(Setting::AllowedHostname),
        });
    }
    Ok(())
}

/// Refuses a cluster whose URLs this member cannot speak to, or cannot be reached at. A directory that holds a member goes on
/// as that one, whatever is said about its cluster.
fn check_cluster(config: &NodeConfig) -> Result<(), TlsError> {
    if Disk::holds_member(&config.data_dir) {
        return Ok(());
    }
    let members = config.initial_cluster.iter().flat_map(|initial| &initial.members);
    for member in members {
        let own = member.name == config.name;
        for url in &member.peer_urls {
            let secure = url.starts_with("https://");
            if own && config.peer_listen.is_some() && secure != config.tls.peer_listen {
                return Err(TlsError::OwnUrl { url: url.clone() });
            }
            if secure && config.tls.peer.cert.is_none() {
                return Err(TlsError::OtherUrl {
                    url: url.clone(),
                    flag: Port::Peers.flag(Setting::Cert),
                });
            }
        }
    }
    Ok(())
}
