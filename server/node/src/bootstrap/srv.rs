//! Who forms a cluster, or serves clients, by the SRV records of a domain.

use crate::config::{InitialCluster, InitialMember};
use crate::error::BootstrapError;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Records of one name that are looked at; a cluster of more would be refused anyway.
const MAX_RECORDS: usize = 64;

/// A domain whose records name the members, and who is asked for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvDiscovery {
    /// The domain.
    pub domain: String,
    /// Tells several clusters of a domain apart: `_etcd-server-NAME._tcp` in place of `_etcd-server._tcp`.
    pub service_name: Option<String>,
    /// The server that is asked; `None`: those of `/etc/resolv.conf`.
    pub dns_server: Option<SocketAddr>,
}

/// A host and a port that a record names, and whether TLS is spoken there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    host: String,
    port: u16,
    tls: bool,
}

impl Place {
    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let Place { host, port, .. } = self;
        format!("{scheme}://{host}:{port}")
    }
}

impl SrvDiscovery {
    /// The members that form the cluster: numbers are their names, but for this one, which is found by its address.
    pub(crate) async fn members(
        &self,
        name: &str,
        own_urls: &[String],
        token: &str,
        existing: bool,
    ) -> Result<InitialCluster, BootstrapError> {
        let asking = Asking::new(self)?;
        let places = asking.places("etcd-server").await?;
        let mut own = BTreeSet::new();
        for url in own_urls {
            own.extend(asking.addresses(&place_of(url)).await);
        }
        let mut members = Vec::with_capacity(places.len());
        let mut found = false;
        for (number, place) in places.iter().enumerate() {
            let is_own = own_urls
                .iter()
                .any(|url| url.trim_end_matches('/') == place.url())
                || asking
                    .addresses(place)
                    .await
                    .iter()
                    .any(|address| own.contains(address));
            let is_own = is_own && !found;
            found |= is_own;
            members.push(InitialMember {
                name: if is_own {
                    name.to_owned()
                } else {
                    number.to_string()
                },
                peer_urls: vec![place.url()],
            });
        }
        if !found {
            return Err(BootstrapError::SrvOwn {
                domain: self.domain.clone(),
                urls: own_urls.join(","),
            });
        }
        let named: Vec<String> = members
            .iter()
            .flat_map(|member| member.peer_urls.clone())
            .collect();
        tracing::info!(
            domain = self.domain,
            members = named.join(","),
            "members found by SRV records"
        );
        Ok(InitialCluster {
            members,
            token: token.to_owned(),
            existing,
        })
    }

    /// The URLs where clients are served.
    ///
    /// # Errors
    /// No such records, or nobody to ask for them.
    pub async fn clients(&self) -> Result<Vec<String>, BootstrapError> {
        let places = Asking::new(self)?.places("etcd-client").await?;
        Ok(places.iter().map(Place::url).collect())
    }
}

struct Asking<'a> {
    discovery: &'a SrvDiscovery,
    resolver: TokioResolver,
}

impl Asking<'_> {
    fn new(discovery: &SrvDiscovery) -> Result<Asking<'_>, BootstrapError> {
        let failed = |source: NetError| BootstrapError::Srv {
            domain: discovery.domain.clone(),
            reason: source.to_string(),
        };
        let builder = match discovery.dns_server {
            Some(server) => {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                let mut asked = NameServerConfig::udp_and_tcp(server.ip());
                asked.connections = asked.connections.into_iter().map(at).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![asked]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
            None => TokioResolver::builder_tokio().map_err(failed)?,
        };
        let mut builder = builder;
        builder.options_mut().use_hosts_file = ResolveHosts::Always;
        Ok(Asking {
            discovery,
            resolver: builder.build().map_err(failed)?,
        })
    }

    /// What the records of a service name, with TLS and without, the same for all who ask.
    async fn places(&self, service: &str) -> Result<Vec<Place>, BootstrapError> {
        let domain = self.discovery.domain.trim_matches('.');
        let suffix = match &self.discovery.service_name {
            Some(name) => format!("-{name}"),
            None => String::new(),
        };
        let mut places = Vec::new();
        let mut reason = String::new();
        for (part, tls) in [("-ssl", true), ("", false)] {
            let name = format!("_{service}{part}{suffix}._tcp.{domain}");
            match self.resolver.srv_lookup(name).await {
                Ok(answer) => {
                    let records = answer.answers().iter().take(MAX_RECORDS);
                    for record in records {
                        let RData::SRV(srv) = &record.data else { continue };
                        places.push(Place {
                            host: srv.target.to_utf8().trim_end_matches('.').to_owned(),
                            port: srv.port,
                            tls,
                        });
                    }
                }
                Err(error) => reason = error.to_string(),
            }
        }
        places.sort();
        places.dedup();
        if places.is_empty() {
            return Err(BootstrapError::Srv {
                domain: domain.to_owned(),
                reason: format!("no records for _{service}{suffix}._tcp: {reason}"),
            });
        }
        Ok(places)
    }

    /// The addresses of a place; none if its host is not known.
    async fn addresses(&self, place: &Place) -> Vec<(IpAddr, u16)> {
        let host = place.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse() {
            return vec![(address, place.port)];
        }
        match self.resolver.lookup_ip(host).await {
            Ok(found) => found.iter().map(|address| (address, place.port)).collect(),
            Err(_) => Vec::new(),
        }
    }
}

/// Host and port of a URL; of another text nothing that is found.
fn place_of(url: &str) -> Place {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').unwrap_or((rest, ""));
    Place {
        host: host.to_owned(),
        port: port.parse().unwrap_or(0),
        tls: url.starts_with("https"),
    }
}

#[cfg(test)]
mod tests {
    use super::place_of;

    #[test]
    fn urls_are_places() {
        for url in ["http://h.example:2380", "https://10.0.0.1:1", "http://[::1]:2380"] {
            assert_eq!(place_of(url).url(), url);
        }
        assert_eq!(place_of("odd").port, 0);
    }
}
