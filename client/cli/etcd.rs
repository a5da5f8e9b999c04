//! berth under the name `etcd`: a member that is started with etcd's words.

mod tls;
pub(crate) mod urls;

pub(crate) use tls::asked;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_node::{
    ClientLimits, ETCD_VERSION, InitialCluster, NodeConfig, NodeTls, ProxyConfig, SrvDiscovery,
};

use crate::args::etcd::{self as words, Line, Refused, Wish, refuse};
use crate::system::VERSION;
use crate::terminal::{print, tell};
use crate::tls::Kind;
use crate::{config, config_yaml, exit, log, proxy, serve};
use urls::Urls;

/// Clients of 0.x and of 2.x look for it here.
const CLIENTS: &str = "http://localhost:2379,http://localhost:4001";
const PEERS: &str = "http://localhost:2380";
/// What the releases of etcd take for the address of a lone member.
const USUAL_PEERS: [&str; 2] = ["http://localhost:2380", "http://localhost:7001"];

/// Tells clusters apart that are formed at the same URLs.
const TOKEN: &str = "etcd-cluster";

/// The longest election time-out that etcd takes, in milliseconds.
const MAX_ELECTION_MS: u64 = 50_000;

/// Entries between two snapshots, also where 0 is asked for.
const SNAPSHOT_COUNT: u64 = 10_000;

/// Does what the words and the environment say; gives the exit code.
pub(crate) fn run(words: &[OsString]) -> u8 {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let started = match words::read(
        words.get(1..).unwrap_or_default(),
        &environment,
        &config_yaml::load,
    ) {
        Ok(Wish::Version) => return told(&version()),
        Ok(Wish::Help) => return told(&help()),
        Ok(Wish::Serve(line)) => match gateway(&line) {
            Ok(None) => settle(&line).map(|settings| (line, settings)),
            Ok(Some(settings)) => return forward(&line, settings),
            Err(refused) => Err(refused),
        },
        Err(refused) => Err(refused),
    };
    let (line, settings) = match started {
        Ok(started) => started,
        Err(Refused { code, text }) => {
            tell(&format!("{text}\nSee 'etcd --help'."));
            return code;
        }
    };
    log::to_stderr_at(settings.level);
    for warning in line.warnings.iter().chain(&settings.warnings) {
        tracing::warn!("{warning}");
    }
    match serve::member(settings.node) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error:#}");
            exit::FAILED
        }
    }
}

/// The settings of a gateway, and the level of its log, if the words start one.
fn gateway(line: &Line) -> Result<Option<(ProxyConfig, log::Level)>, Refused> {
    match line.get("proxy").unwrap_or("off") {
        "off" | "" | "on" | "readonly" => {}
        other => {
            return Err(Refused {
                code: words::UNREADABLE,
                text: format!("invalid value {other:?} for flag -proxy: it can be off, on or readonly"),
            });
        }
    }
    let data_dir = data_dir(line);
    if !proxy::is_wanted(line, &data_dir) {
        return Ok(None);
    }
    Ok(Some((proxy::of_etcd(line, &data_dir)?, level(line)?)))
}

fn forward(line: &Line, (settings, level): (ProxyConfig, log::Level)) -> u8 {
    log::to_stderr_at(level);
    for warning in &line.warnings {
        tracing::warn!("{warning}");
    }
    match serve::gateway(settings) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error:#}");
            exit::FAILED
        }
    }
}

fn name(line: &Line) -> &str {
    line.get("name")
        .filter(|name| !name.is_empty())
        .unwrap_or("default")
}

fn data_dir(line: &Line) -> PathBuf {
    match line.get("data-dir") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        Some(_) | None => PathBuf::from(format!("{}.etcd", name(line))),
    }
}

fn told(text: &str) -> u8 {
    if print(text).is_ok() { 0 } else { exit::NO_READER }
}

/// In the form that scripts look for.
fn version() -> String {
    let commit = option_env!("BERTH_GIT_COMMIT").unwrap_or("none");
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let system = std::env::consts::OS;
    format!(
        "etcd Version: {ETCD_VERSION}\nGit SHA: {commit}\nGo Version: none, this is berth {VERSION}\n\
         Go OS/Arch: {system}/{machine}\n"
    )
}

fn help() -> String {
    let mut text = format!(
        "usage: etcd [flags]\n\nA member, by berth {VERSION}, with the v2 API of etcd {ETCD_VERSION}. Each flag may \
         be given with one or two\ndashes, and as a variable: ETCD_DATA_DIR for --data-dir.\n\n"
    );
    for (name, help) in words::described() {
        text += &format!("  --{name:<28} {help}\n");
    }
    text
}

/// What a command line comes to.
#[derive(Debug)]
struct Settings {
    node: NodeConfig,
    level: log::Level,
    warnings: Vec<String>,
}

/// All checks that need no port.
fn settle(line: &Line) -> Result<Settings, Refused> {
    let name = name(line);
    let data_dir = data_dir(line);
    let (heartbeat, election_timeout) = times(line)?;
    let snapshot_count = snapshot_count(line)?;
    let cors: Vec<String> = line.get("cors").map(config::cors).unwrap_or_default();
    config::check_cors("--cors", &cors).map_err(|error| refuse(error.to_string()))?;
    let level = level(line)?;
    let clients = Urls::clients(line)?;
    let peers = Urls::peers(line)?;
    let discovery = line.get("discovery").filter(|url| !url.is_empty());
    let initial_cluster = if has_member(&data_dir)? {
        None
    } else {
        cluster(line, name, &peers)?
    };
    let mut named = initial_cluster.iter().flat_map(|initial| &initial.members);
    let own = named.rfind(|member| member.name == name);
    let advertise_peer_urls = own.map_or(peers.advertise, |member| member.peer_urls.clone());
    let mut warnings = Vec::new();
    if peers.listen.len() > 1 {
        warnings.push("--listen-peer-urls: only the first is listened on".to_owned());
    }
    let (mut client_listen, mut client_secure) = (Vec::new(), Vec::new());
    for url in &clients.listen {
        let found = config::addresses("--listen-client-urls", url);
        let found = found.map_err(|error| refuse(format!("{error:#}")))?;
        if config::is_secure(url, false) {
            client_secure.extend(found);
        } else {
            client_listen.extend(found);
        }
    }
    let settings = |kind| tls::asked(line, kind).settings(kind, &data_dir).map_err(refuse);
    let tls = NodeTls {
        client_listen: client_secure,
        client: settings(Kind::Clients)?,
        peer_listen: peers
            .listen
            .first()
            .is_some_and(|url| config::is_secure(url, false)),
        peer: settings(Kind::Peers)?,
    };
    let peer_listen = peer_listen(&peers.listen)?;
    let node = NodeConfig {
        name: name.to_owned(),
        data_dir,
        client_listen,
        peer_listen,
        advertise_client_urls: clients.advertise,
        advertise_peer_urls,
        initial_cluster,
        discovery: discovery.map(str::to_owned),
        discovery_srv: discovery_srv(line)?,
        snapshot_count,
        heartbeat,
        election_timeout,
        cors,
        clients: ClientLimits::default(),
        tls,
        set_log_level: Some(log::control()),
    };
    Ok(Settings {
        node,
        level,
        warnings,
    })
}

/// The first address of the first URL.
fn peer_listen(urls: &[String]) -> Result<Option<SocketAddr>, Refused> {
    let Some(url) = urls.first() else {
        return Ok(None);
    };
    let found = config::addresses("--listen-peer-urls", url);
    let found = found.map_err(|error| refuse(format!("{error:#}")))?;
    Ok(found.first().copied())
}

fn snapshot_count(line: &Line) -> Result<u64, Refused> {
    Ok(match line.number("snapshot-count", SNAPSHOT_COUNT)? {
        0 => SNAPSHOT_COUNT,
        count => count,
    })
}

fn given(line: &Line, name: &str) -> bool {
    line.get(name).is_some_and(|text| !text.is_empty())
}

/// The domain that names the members, with the token and whether their cluster is there already.
pub(crate) fn discovery_srv(line: &Line) -> Result<Option<(SrvDiscovery, String, bool)>, Refused> {
    let Some(domain) = line.get("discovery-srv").filter(|domain| !domain.is_empty()) else {
        return Ok(None);
    };
    let dns_server = match line.get("dns-server").filter(|server| !server.is_empty()) {
        Some(server) => Some(
            server
                .parse()
                .map_err(|_| refuse(format!("--dns-server {server:?}: it must be IP:PORT")))?,
        ),
        None => None,
    };
    let service_name = line.get("discovery-srv-name").filter(|name| !name.is_empty());
    let discovery = SrvDiscovery {
        domain: domain.to_owned(),
        service_name: service_name.map(str::to_owned),
        dns_server,
    };
    let token = line.get("initial-cluster-token").unwrap_or(TOKEN).to_owned();
    let existing = line.get("initial-cluster-state") == Some("existing");
    Ok(Some((discovery, token, existing)))
}

fn times(line: &Line) -> Result<(Duration, Duration), Refused> {
    let heartbeat = line.number("heartbeat-interval", 100)?;
    let election = line.number("election-timeout", 1_000)?;
    check_times(heartbeat, election).map_err(refuse)?;
    Ok((Duration::from_millis(heartbeat), Duration::from_millis(election)))
}

/// The rules of etcd for the two times, in milliseconds.
pub(crate) fn check_times(heartbeat: u64, election: u64) -> Result<(), String> {
    if heartbeat == 0 {
        return Err("--heartbeat-interval must be >0 (set to 0ms)".to_owned());
    }
    if election == 0 {
        return Err("--election-timeout must be >0 (set to 0ms)".to_owned());
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > MAX_ELECTION_MS {
        return Err(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than {MAX_ELECTION_MS}ms"
        ));
    }
    Ok(())
}

fn level(line: &Line) -> Result<log::Level, Refused> {
    if line.get("debug") == Some("true") {
        return Ok(log::Level::Debug);
    }
    match line.get("log-level").unwrap_or("info") {
        "debug" => Ok(log::Level::Debug),
        "info" | "" => Ok(log::Level::Info),
        "warn" => Ok(log::Level::Warn),
        "error" | "dpanic" | "panic" | "fatal" => Ok(log::Level::Error),
        other => Err(refuse(format!("--log-level {other:?}: there is no such level"))),
    }
}

/// Whether the directory holds a member: what was said at its first start counts, and not what is said now.
fn has_member(data_dir: &Path) -> Result<bool, Refused> {
    if data_dir.join("member").is_dir() || data_dir.join("proxy").is_dir() {
        return Err(refuse(format!(
            "--data-dir {}: it holds the data of etcd itself, which cannot be read; export the keys from etcd, and \
             import them with 'berth import --keys'",
            data_dir.display()
        )));
    }
    Ok(data_dir.join("member").is_file())
}

/// The members that form the cluster; none if this one is alone.
fn cluster(line: &Line, name: &str, peers: &Urls) -> Result<Option<InitialCluster>, Refused> {
    let existing = match line.get("initial-cluster-state").unwrap_or("new") {
        "new" | "" => false,
        "existing" => true,
        other => {
            return Err(Refused {
                code: words::UNREADABLE,
                text: format!(
                    "invalid value {other:?} for flag -initial-cluster-state: it can be new or existing"
                ),
            });
        }
    };
    let Some(text) = line.get("initial-cluster").filter(|cluster| !cluster.is_empty()) else {
        if existing && !given(line, "discovery-srv") {
            let text = "--initial-cluster-state existing: --initial-cluster is needed with it";
            return Err(refuse(text));
        }
        return Ok(None);
    };
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = pairs.collect::<Vec<_>>().join(",");
    let members = InitialCluster::parse(&pairs).map_err(|error| refuse(error.to_string()))?;
    for url in members.iter().flat_map(|member| &member.peer_urls) {
        urls::check("--initial-cluster", url)?;
    }
    let own = members.iter().find(|member| member.name == name);
    let own: &[String] = own.map_or(&[], |member| &member.peer_urls);
    let said = line.get("initial-advertise-peer-urls").is_some() || line.get("peer-addr").is_some();
    // Who has others to talk to is known by the URLs of the list.
    let fits = peers.are(own, said) || (!said && members.len() > 1 && !own.is_empty());
    if !fits {
        return Err(refuse(format!(
            "--initial-cluster must include {name}={} given --initial-advertise-peer-urls={}",
            peers.advertise.join(","),
            peers.advertise.join(",")
        )));
    }
    // A lone member is a cluster of its own kind, which needs no name; where it joins one, the list says whom to ask.
    if members.len() == 1 && !existing {
        return Ok(None);
    }
    Ok(Some(InitialCluster {
        members,
        token: line.get("initial-cluster-token").unwrap_or(TOKEN).to_owned(),
        existing,
    }))
}

#[cfg(test)]
mod tests;
