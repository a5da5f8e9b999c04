//! `berth proxy`, and `etcd --proxy on`: a gateway without data in front of the members.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use berth_node::{
    CallTls, InitialCluster, InitialMember, NamedFile, ProxyConfig, ProxyTls, SrvDiscovery, TlsSettings,
};

use crate::args::etcd::{Line, Refused, refuse};
use crate::args::{GatewayTlsFlags, Global, ProxyArgs};
use crate::config;
use crate::etcd;
use crate::etcd::urls::Urls;
use crate::tls::Kind;

/// What `--endpoints` is when nobody said it.
const USUAL_ENDPOINT: &str = "http://127.0.0.1:2379";

/// The settings of `berth proxy`.
pub(crate) fn settings(global: &Global, args: &ProxyArgs) -> anyhow::Result<ProxyConfig> {
    let (mut listen, mut listen_tls) = (Vec::new(), Vec::new());
    for text in args.listen_client.iter().filter(|text| !text.trim().is_empty()) {
        let found = config::addresses("--listen-client", text)?;
        if config::is_secure(text, args.tls.cert_file.is_some()) {
            listen_tls.extend(found);
        } else {
            listen.extend(found);
        }
    }
    let own = [&listen[..], &listen_tls[..]].concat();
    let initial = args
        .initial_cluster
        .as_deref()
        .filter(|list| !list.trim().is_empty());
    let domain = args.discovery_srv.clone().filter(|domain| !domain.is_empty());
    // Who names the members otherwise does not mean this one.
    let named = initial.is_some() || domain.is_some();
    let endpoints = if named && global.endpoints == USUAL_ENDPOINT {
        Vec::new()
    } else {
        endpoints(&global.endpoints, &own)?
    };
    let initial_cluster = initial
        .map(InitialCluster::parse)
        .transpose()?
        .unwrap_or_default();
    let tls = args.tls.settings();
    check_peers(&initial_cluster, &tls.peers)?;
    let millis = |millis| Duration::from_millis(millis);
    Ok(ProxyConfig {
        listen,
        listen_tls,
        tls,
        endpoints,
        initial_cluster,
        discovery_srv: domain.map(|domain| SrvDiscovery {
            domain,
            service_name: args.discovery_srv_name.clone().filter(|name| !name.is_empty()),
            dns_server: args.dns_server,
        }),
        read_only: args.read_only,
        failure_wait: millis(args.failure_wait),
        refresh_interval: millis(args.refresh_interval),
        dial_timeout: millis(args.dial_timeout),
        write_timeout: Some(millis(args.write_timeout)).filter(|time| !time.is_zero()),
        read_timeout: Some(millis(args.read_timeout)).filter(|time| !time.is_zero()),
        state_file: None,
    })
}

/// The URLs of a list; none of them may be the gateway itself.
fn endpoints(list: &str, listen: &[SocketAddr]) -> anyhow::Result<Vec<String>> {
    let mut urls = Vec::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let found = config::addresses("--endpoints", text)?;
        if found
            .iter()
            .any(|address| listen.contains(address) && address.port() != 0)
        {
            bail!("--endpoints {text:?}: it is the gateway itself (--listen-client)");
        }
        let url = text.trim_end_matches('/');
        urls.push(if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        });
    }
    if urls.is_empty() {
        bail!("--endpoints: a member is needed");
    }
    Ok(urls)
}

/// Members may be asked over TLS only with a certificate, which they demand from one another.
fn check_peers(members: &[InitialMember], peers: &TlsSettings) -> anyhow::Result<()> {
    let mut urls = members.iter().flat_map(|member| &member.peer_urls);
    match urls.find(|url| url.starts_with("https://")) {
        Some(url) if peers.cert.is_none() => {
            bail!("--initial-cluster {url:?}: it is https, which needs --peer-cert-file")
        }
        Some(_) | None => Ok(()),
    }
}

fn named(flag: &'static str, path: Option<&PathBuf>) -> Option<NamedFile> {
    path.cloned().map(|path| NamedFile { flag, path })
}

impl GatewayTlsFlags {
    fn settings(&self) -> ProxyTls {
        let flags = self.clone();
        let store = &flags.store;
        ProxyTls {
            members: CallTls {
                ca: named("--store-ca-file", store.store_ca_file.as_ref()),
                cert: named("--store-cert-file", store.store_cert_file.as_ref()),
                key: named("--store-key-file", store.store_key_file.as_ref()),
            },
            clients: TlsSettings {
                cert: flags.cert_file,
                key: flags.key_file,
                trusted_ca: flags.trusted_ca_file,
                demand: flags.client_cert_auth,
                crl: flags.client_crl_file,
                ..TlsSettings::default()
            },
            peers: TlsSettings {
                cert: flags.peer_cert_file,
                key: flags.peer_key_file,
                trusted_ca: flags.peer_trusted_ca_file,
                ..TlsSettings::default()
            },
        }
    }
}

/// TLS of etcd's gateway: members are called with what its own clients are shown, or else with what members show each other.
fn tls_of_etcd(line: &Line, secure: bool) -> Result<ProxyTls, Refused> {
    let settings = |kind| {
        let asked = etcd::asked(line, kind);
        if asked.auto {
            return Err(refuse("--proxy: not together with --auto-tls or --peer-auto-tls"));
        }
        asked.settings(kind, Path::new("")).map_err(refuse)
    };
    let (clients, peers) = (settings(Kind::Clients)?, settings(Kind::Peers)?);
    let is_empty = clients.cert.is_none() && clients.trusted_ca.is_none();
    let members = if is_empty {
        CallTls {
            ca: named("--peer-trusted-ca-file", peers.trusted_ca.as_ref()),
            cert: named("--peer-cert-file", peers.cert.as_ref()),
            key: named("--peer-key-file", peers.key.as_ref()),
        }
    } else {
        CallTls {
            ca: named("--trusted-ca-file", clients.trusted_ca.as_ref()),
            cert: named("--cert-file", clients.cert.as_ref()),
            key: named("--key-file", clients.key.as_ref()),
        }
    };
    // A gateway that serves http only has its certificate for the members.
    let clients = if secure { clients } else { TlsSettings::default() };
    Ok(ProxyTls {
        clients,
        members,
        peers,
    })
}

/// Whether these words start a gateway: what the data directory was before counts before the flag, as in etcd.
pub(crate) fn is_wanted(line: &Line, data_dir: &Path) -> bool {
    let on = matches!(line.get("proxy"), Some("on" | "readonly"));
    (on || data_dir.join("proxy").is_dir()) && !data_dir.join("member").exists()
}

/// The settings of `etcd --proxy`.
pub(crate) fn of_etcd(line: &Line, data_dir: &Path) -> Result<ProxyConfig, Refused> {
    let refused = |error: anyhow::Error| refuse(format!("{error:#}"));
    let clients = Urls::of_gateway(line)?;
    let (mut listen, mut listen_tls) = (Vec::new(), Vec::new());
    for url in &clients.listen {
        let found = config::addresses("--listen-client-urls", url).map_err(refused)?;
        if config::is_secure(url, false) {
            listen_tls.extend(found);
        } else {
            listen.extend(found);
        }
    }
    let tls = tls_of_etcd(line, !listen_tls.is_empty())?;
    let given = |name| line.get(name).filter(|text| !text.is_empty());
    if given("discovery").is_some() {
        return Err(refuse(
            "--discovery: a gateway is told the members with --initial-cluster or --discovery-srv",
        ));
    }
    let state_file = data_dir.join("proxy").join("cluster");
    let initial_cluster = match given("initial-cluster") {
        Some(list) => InitialCluster::parse(list).map_err(|error| refuse(error.to_string()))?,
        None => Vec::new(),
    };
    let discovery_srv = crate::etcd::discovery_srv(line)?.map(|(srv, _, _)| srv);
    if initial_cluster.is_empty() && discovery_srv.is_none() && !state_file.exists() {
        return Err(refuse(
            "--proxy: --initial-cluster or --discovery-srv is needed with it",
        ));
    }
    check_peers(&initial_cluster, &tls.peers).map_err(refused)?;
    let millis = |name, usual| line.number(name, usual).map(Duration::from_millis);
    let limit = |name, usual| millis(name, usual).map(|time| Some(time).filter(|time| !time.is_zero()));
    std::fs::create_dir_all(data_dir.join("proxy"))
        .with_context(|| format!("--data-dir {}", data_dir.display()))
        .map_err(refused)?;
    Ok(ProxyConfig {
        listen,
        listen_tls,
        tls,
        endpoints: Vec::new(),
        initial_cluster,
        discovery_srv,
        read_only: line.get("proxy") == Some("readonly"),
        failure_wait: millis("proxy-failure-wait", 5_000)?,
        refresh_interval: millis("proxy-refresh-interval", 30_000)?,
        dial_timeout: millis("proxy-dial-timeout", 1_000)?,
        write_timeout: limit("proxy-write-timeout", 5_000)?,
        read_timeout: limit("proxy-read-timeout", 0)?,
        state_file: Some(state_file),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_members_and_never_the_gateway() {
        let own: Vec<SocketAddr> = vec!["127.0.0.1:4001".parse().expect("an address")];
        let check = |list: &str| match endpoints(list, &own) {
            Ok(urls) => urls.join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(
            check("http://127.0.0.1:1/, 127.0.0.1:2,https://127.0.0.1:3/"),
            "http://127.0.0.1:1 http://127.0.0.1:2 https://127.0.0.1:3"
        );
        for (list, wanted) in [
            ("http://127.0.0.1:4001", "it is the gateway itself"),
            ("https://127.0.0.1:4001", "it is the gateway itself"),
            (",", "a member is needed"),
            ("nonsense", "it must be HOST:PORT"),
        ] {
            assert!(check(list).contains(wanted), "{list}: {}", check(list));
        }
    }
}
