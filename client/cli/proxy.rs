//! `berth proxy`, and `etcd --proxy on`: a gateway without data in front of the members.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use berth_node::{InitialCluster, ProxyConfig, SrvDiscovery};

use crate::args::etcd::{Line, Refused, refuse};
use crate::args::{Global, ProxyArgs};
use crate::config;
use crate::etcd::urls::Urls;

/// What `--endpoints` is when nobody said it.
const USUAL_ENDPOINT: &str = "http://127.0.0.1:2379";

/// The settings of `berth proxy`.
pub(crate) fn settings(global: &Global, args: &ProxyArgs) -> anyhow::Result<ProxyConfig> {
    let mut listen = Vec::new();
    for text in args.listen_client.iter().filter(|text| !text.trim().is_empty()) {
        if text.trim().starts_with("https://") {
            bail!("--listen-client {text:?}: the gateway serves http only");
        }
        listen.extend(config::addresses("--listen-client", text)?);
    }
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
        endpoints(&global.endpoints, &listen)?
    };
    let initial_cluster = initial
        .map(InitialCluster::parse)
        .transpose()?
        .unwrap_or_default();
    check_peers(initial_cluster.iter().flat_map(|member| &member.peer_urls))?;
    let millis = |millis| Duration::from_millis(millis);
    Ok(ProxyConfig {
        listen,
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
        if text.starts_with("https://") {
            bail!("--endpoints {text:?}: the gateway reaches members by http only");
        }
        let found = config::addresses("--endpoints", text)?;
        if found
            .iter()
            .any(|address| listen.contains(address) && address.port() != 0)
        {
            bail!("--endpoints {text:?}: it is the gateway itself (--listen-client)");
        }
        let place = text.strip_prefix("http://").unwrap_or(text);
        urls.push(format!("http://{}", place.trim_end_matches('/')));
    }
    if urls.is_empty() {
        bail!("--endpoints: a member is needed");
    }
    Ok(urls)
}

fn check_peers<'a>(mut urls: impl Iterator<Item = &'a String>) -> anyhow::Result<()> {
    match urls.find(|url| !url.starts_with("http://")) {
        Some(url) => bail!("--initial-cluster {url:?}: the gateway reaches members by http only"),
        None => Ok(()),
    }
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
    let mut listen = Vec::new();
    if let Some(url) = clients.listen.iter().find(|url| url.starts_with("https://")) {
        return Err(refuse(format!(
            "--listen-client-urls {url:?}: a gateway serves http only"
        )));
    }
    for url in &clients.listen {
        listen.extend(config::addresses("--listen-client-urls", url).map_err(refused)?);
    }
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
    check_peers(initial_cluster.iter().flat_map(|member| &member.peer_urls)).map_err(refused)?;
    let millis = |name, usual| line.number(name, usual).map(Duration::from_millis);
    let limit = |name, usual| millis(name, usual).map(|time| Some(time).filter(|time| !time.is_zero()));
    std::fs::create_dir_all(data_dir.join("proxy"))
        .with_context(|| format!("--data-dir {}", data_dir.display()))
        .map_err(refused)?;
    Ok(ProxyConfig {
        listen,
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
            check("http://127.0.0.1:1/, 127.0.0.1:2"),
            "http://127.0.0.1:1 http://127.0.0.1:2"
        );
        for (list, wanted) in [
            ("http://127.0.0.1:4001", "it is the gateway itself"),
            ("https://127.0.0.1:1", "by http only"),
            (",", "a member is needed"),
            ("nonsense", "it must be HOST:PORT"),
        ] {
            assert!(check(list).contains(wanted), "{list}: {}", check(list));
        }
    }
}
