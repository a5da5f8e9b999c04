//! From flags to the settings of the servers.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use berth_engine::{EngineConfig, TcpConfig};
use berth_node::{ClientLimits, InitialCluster, NodeConfig, NodeTls, SrvDiscovery};
use berth_sdk::EtcdClient;

use crate::args::{ApiTls, EngineFlags, Global, StoreFlags};
use crate::system::VERSION;
use crate::tls::Kind;
use crate::{etcd, log};

/// The settings of a store.
pub(crate) fn node(flags: &StoreFlags, data_dir: &Path) -> anyhow::Result<NodeConfig> {
    let (asked, asked_peers) = flags.tls.asked();
    let (mut client_listen, mut client_secure) = (Vec::new(), Vec::new());
    for text in flags.listen_client.iter().filter(|text| !text.trim().is_empty()) {
        let found = addresses("--listen-client", text)?;
        if is_secure(text, asked.is_there()) {
            client_secure.extend(found);
        } else {
            client_listen.extend(found);
        }
    }
    if client_listen.is_empty() && client_secure.is_empty() {
        bail!("--listen-client: an address is needed");
    }
    let peer_listen = match flags.listen_peer.trim() {
        "" => None,
        text => addresses("--listen-peer", text)?.first().copied(),
    };
    etcd::check_times(flags.heartbeat_interval, flags.election_timeout).map_err(anyhow::Error::msg)?;
    let initial_cluster = match &flags.initial_cluster {
        Some(text) if !text.trim().is_empty() => Some(InitialCluster {
            members: InitialCluster::parse(text)?,
            token: flags.initial_cluster_token.clone(),
            existing: flags.initial_cluster_state == "existing",
        }),
        Some(_) | None => None,
    };
    let tls = NodeTls {
        client_listen: client_secure,
        peer_listen: peer_listen.is_some() && is_secure(&flags.listen_peer, asked_peers.is_there()),
        client: asked
            .settings(Kind::Clients, data_dir)
            .map_err(anyhow::Error::msg)?,
        peer: asked_peers
            .settings(Kind::Peers, data_dir)
            .map_err(anyhow::Error::msg)?,
    };
    let cors = cors(&flags.cors);
    check_cors("--cors", &cors)?;
    Ok(NodeConfig {
        name: flags.name.clone(),
        data_dir: data_dir.to_owned(),
        client_listen,
        peer_listen,
        advertise_client_urls: flags.advertise_client_urls.clone(),
        advertise_peer_urls: flags.initial_advertise_peer_urls.clone(),
        initial_cluster,
        discovery: flags.discovery.clone().filter(|url| !url.is_empty()),
        discovery_srv: srv(flags),
        snapshot_count: flags.snapshot_count,
        heartbeat: Duration::from_millis(flags.heartbeat_interval),
        election_timeout: Duration::from_millis(flags.election_timeout),
        cors,
        clients: ClientLimits {
            connections: flags.max_connections,
            connections_per_address: flags.max_connections_per_address,
            watches: flags.max_watches,
        },
        tls,
        set_log_level: Some(log::control()),
    })
}

/// The domain that names the members, with the token and whether their cluster is there already.
fn srv(flags: &StoreFlags) -> Option<(SrvDiscovery, String, bool)> {
    let domain = flags.discovery_srv.clone().filter(|domain| !domain.is_empty())?;
    let discovery = SrvDiscovery {
        domain,
        service_name: flags.discovery_srv_name.clone().filter(|name| !name.is_empty()),
        dns_server: flags.dns_server,
    };
    let existing = flags.initial_cluster_state == "existing";
    Some((discovery, flags.initial_cluster_token.clone(), existing))
}

/// The same client for a user, `NAME:PASSWORD`; a name alone has the empty password.
pub(crate) fn with_user(store: EtcdClient, user: Option<&str>) -> EtcdClient {
    let Some(user) = user.filter(|user| !user.is_empty()) else {
        return store;
    };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    store.with_user(name, password)
}

/// Origins separated by commas.
pub(crate) fn cors(text: &str) -> Vec<String> {
    let origins = text.split(',').map(str::trim);
    origins
        .filter(|origin| !origin.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Refuses what no browser names as an origin: it would never match.
pub(crate) fn check_cors(flag: &str, origins: &[String]) -> anyhow::Result<()> {
    for origin in origins.iter().filter(|origin| *origin != "*") {
        let host = origin.split_once("://").map(|(_, host)| host);
        if !host.is_some_and(|host| !host.is_empty() && !host.contains('/') && host.is_ascii()) {
            bail!("{flag} {origin:?}: it must be SCHEME://HOST[:PORT], or * for all");
        }
    }
    Ok(())
}

/// Whether an address is served over TLS. Without a scheme it is if there is a certificate.
pub(crate) fn is_secure(text: &str, has_certificate: bool) -> bool {
    let text = text.trim();
    text.starts_with("https://") || (has_certificate && !text.contains("://"))
}

/// The addresses of `HOST:PORT`; a URL is taken as well, as etcd's flags have them.
pub(crate) fn addresses(flag: &str, text: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let text = text.trim();
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let plain = rest.unwrap_or(text).trim_end_matches('/');
    let found: Vec<SocketAddr> = plain
        .to_socket_addrs()
        .with_context(|| format!("{flag} {text:?}: it must be HOST:PORT"))?
        .collect();
    if found.is_empty() {
        bail!("{flag} {text:?}: the host has no address");
    }
    Ok(found)
}

/// The settings of an engine.
pub(crate) fn engine(global: &Global, flags: &EngineFlags, data_dir: &Path) -> anyhow::Result<EngineConfig> {
    let socket = flags.socket.strip_prefix("unix://").unwrap_or(&flags.socket);
    if !socket.starts_with('/') {
        bail!("--socket {:?}: it must be an absolute path", flags.socket);
    }
    Ok(EngineConfig {
        data_dir: absolute(data_dir)?,
        run_dir: absolute(&flags.run_dir)?,
        socket: PathBuf::from(socket),
        socket_group: flags.socket_group.clone(),
        tcp: tcp(global, flags)?,
        executable: executable()?,
        bridge: flags.bridge.clone(),
        subnet: flags.subnet.clone(),
        table: flags.table.clone(),
        cgroup_parent: flags.cgroup_parent.clone(),
        version: VERSION.to_owned(),
        git_commit: option_env!("BERTH_GIT_COMMIT").unwrap_or_default().to_owned(),
    })
}

/// The TCP ports of an engine: those of --listen, and one of --host where it was typed, as dockerd has it.
fn tcp(global: &Global, flags: &EngineFlags) -> anyhow::Result<Option<TcpConfig>> {
    let mut texts: Vec<&str> = flags.listen.iter().map(String::as_str).collect();
    if global.host_typed {
        texts.push(&global.host);
    }
    let mut listen = Vec::new();
    for text in texts.into_iter().map(str::trim).filter(|text| !text.is_empty()) {
        let Some(place) = text.strip_prefix("tcp://") else {
            bail!("--listen {text:?}: it must be tcp://HOST:PORT; the unix socket is that of --socket");
        };
        listen.extend(addresses("--listen", place)?);
    }
    if listen.is_empty() {
        return Ok(None);
    }
    let ApiTls { tlsverify, .. } = &flags.tls;
    if !tlsverify {
        bail!(
            "--listen tcp://{}: it needs --tlsverify, with --tlscacert, --tlscert and --tlskey: whoever reaches the API is \
             root on this host",
            listen[0]
        );
    }
    let tls = flags.tls.for_server()?;
    Ok(Some(TcpConfig { listen, tls }))
}

/// Mounts and sockets outlive the working directory of this process.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}

/// This program's file. One that was replaced while it runs has no path any more, but can still be opened.
pub(crate) fn executable() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("finding berth's own executable")?;
    Ok(if path.exists() {
        path
    } else {
        PathBuf::from("/proc/self/exe")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let check = |text: &str| match addresses("--listen-client", text) {
            Ok(found) => format!("{found:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(check("127.0.0.1:0"), "[127.0.0.1:0]");
        assert_eq!(check("http://127.0.0.1:4001/"), "[127.0.0.1:4001]");
        assert_eq!(check("[::1]:1"), "[[::1]:1]");
        assert_eq!(
            check("nonsense"),
            r#"--listen-client "nonsense": it must be HOST:PORT"#
        );
    }
}
