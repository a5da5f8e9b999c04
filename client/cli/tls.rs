//! From flags to TLS: of a store's ports, of the engine's way to a store, and of the commands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use berth_node::{NodeConfig, NodeTls, TlsSettings};
use berth_sdk::{ClientTls, TlsFiles, TlsFilesError};

use crate::args::{ApiTls, StoreTlsFlags, TlsFlags};
use crate::cert;

/// Below the data directory, as etcd has it: what a store made for itself.
const FIXTURES: &str = "fixtures";

/// What was said about one kind of port, with the flags of `etcd` or of `berth store`.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) trusted_ca: Option<PathBuf>,
    pub(crate) demand: bool,
    /// The old name of both.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) crl: Option<PathBuf>,
    pub(crate) allowed_cn: Vec<String>,
    pub(crate) allowed_hostname: Vec<String>,
    pub(crate) any_address: bool,
    pub(crate) auto: bool,
}

/// The kinds of ports; their flags differ by what is in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Clients,
    Peers,
}

impl Kind {
    fn before(self) -> &'static str {
        match self {
            Self::Clients => "--",
            Self::Peers => "--peer-",
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Clients => "client",
            Self::Peers => "peer",
        }
    }
}

impl Asked {
    /// Whether addresses without a scheme are https.
    pub(crate) fn is_there(&self) -> bool {
        self.cert.is_some() || self.auto
    }

    /// The settings of the port. Files that a store makes for itself are not made yet.
    pub(crate) fn settings(self, kind: Kind, data_dir: &Path) -> Result<TlsSettings, String> {
        let before = kind.before();
        if self.ca.is_some() && self.trusted_ca.is_some() {
            return Err(format!(
                "{before}ca-file: not together with {before}trusted-ca-file"
            ));
        }
        let demand = self.demand || self.ca.is_some();
        let trusted_ca = self.trusted_ca.or(self.ca);
        let (mut cert, mut key) = (self.cert, self.key);
        if self.auto {
            for (given, name) in [
                (cert.is_some(), "cert-file"),
                (key.is_some(), "key-file"),
                (trusted_ca.is_some(), "trusted-ca-file"),
                (demand, "client-cert-auth"),
            ] {
                if given {
                    let name = if kind == Kind::Clients && name == "client-cert-auth" {
                        "--client-cert-auth".to_owned()
                    } else {
                        format!("{before}{name}")
                    };
                    return Err(format!("{before}auto-tls: not together with {name}"));
                }
            }
            let dir = data_dir.join(FIXTURES).join(kind.directory());
            cert = Some(dir.join("cert.pem"));
            key = Some(dir.join("key.pem"));
        }
        Ok(TlsSettings {
            cert,
            key,
            trusted_ca,
            demand,
            crl: self.crl,
            allowed_cn: self.allowed_cn,
            allowed_hostname: self.allowed_hostname,
            self_made: self.auto,
            any_address: self.any_address,
        })
    }
}

impl TlsFlags {
    /// What was said about the port for clients, and about that for members.
    pub(crate) fn asked(&self) -> (Asked, Asked) {
        let flags = self.clone();
        let clients = Asked {
            cert: flags.cert_file,
            key: flags.key_file,
            trusted_ca: flags.trusted_ca_file,
            demand: flags.client_cert_auth,
            ca: flags.ca_file,
            crl: flags.client_crl_file,
            allowed_cn: flags.client_cert_allowed_cn,
            allowed_hostname: flags.client_cert_allowed_hostname,
            any_address: true,
            auto: flags.auto_tls,
        };
        let peers = Asked {
            cert: flags.peer_cert_file,
            key: flags.peer_key_file,
            trusted_ca: flags.peer_trusted_ca_file,
            demand: flags.peer_client_cert_auth,
            ca: flags.peer_ca_file,
            crl: flags.peer_crl_file,
            allowed_cn: flags.peer_cert_allowed_cn,
            allowed_hostname: flags.peer_cert_allowed_hostname,
            any_address: flags.peer_skip_client_san_verification,
            auto: flags.peer_auto_tls,
        };
        (clients, peers)
    }
}

/// Makes the certificates that the store is to make for itself, for the hosts that it is called by.
pub(crate) fn make_own(config: &NodeConfig) -> anyhow::Result<()> {
    let NodeTls {
        client_listen,
        client,
        peer_listen: _,
        peer,
    } = &config.tls;
    let hosts_of = |addresses: Vec<String>, urls: &[String]| {
        let mut hosts: BTreeSet<String> = addresses.into_iter().collect();
        hosts.extend(urls.iter().filter_map(|url| host(url)));
        hosts.into_iter().collect::<Vec<_>>()
    };
    let clients = client_listen.iter().map(|address| address.ip().to_string());
    let peers = config.peer_listen.iter().map(|address| address.ip().to_string());
    let sets = [
        (
            client,
            hosts_of(clients.collect(), &config.advertise_client_urls),
            "--auto-tls",
        ),
        (
            peer,
            hosts_of(peers.collect(), &config.advertise_peer_urls),
            "--peer-auto-tls",
        ),
    ];
    for (settings, hosts, flag) in sets {
        if let (true, Some(dir)) = (
            settings.self_made,
            settings.cert.as_deref().and_then(Path::parent),
        ) {
            cert::self_made(dir, &hosts).context(flag)?;
        }
    }
    Ok(())
}

/// The host of a URL, without brackets.
fn host(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let place = rest.split('/').next()?;
    let host = match place.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        Some(_) | None => place,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_owned())
}

/// The engine's way to a store.
pub(crate) fn of_engine(flags: &StoreTlsFlags) -> anyhow::Result<Option<ClientTls>> {
    let files = TlsFiles {
        ca: flags.store_ca_file.clone(),
        cert: flags.store_cert_file.clone(),
        key: flags.store_key_file.clone(),
        insecure: false,
    };
    if files.is_empty() {
        return Ok(None);
    }
    let tls = ClientTls::new(&files).context("--store-ca-file, --store-cert-file, --store-key-file")?;
    Ok(Some(tls))
}

impl ApiTls {
    /// A file that was named, or the one of that name in the directory.
    fn file(&self, named: &Option<PathBuf>, usual: &str) -> Option<PathBuf> {
        let in_directory = || Some(self.tlscertpath.as_ref()?.join(usual));
        named.clone().or_else(in_directory)
    }

    /// The files of an engine's TCP ports: all of them are needed.
    pub(crate) fn for_server(&self) -> anyhow::Result<berth_engine::TlsFiles> {
        let need = |named: &Option<PathBuf>, flag: &str, usual: &str| {
            let file = self.file(named, usual);
            file.with_context(|| {
                format!("{flag}: it is needed with --tlsverify (or --tlscertpath, with {usual} in it)")
            })
        };
        Ok(berth_engine::TlsFiles {
            ca: need(&self.tlscacert, "--tlscacert", "ca.pem")?,
            cert: need(&self.tlscert, "--tlscert", "cert.pem")?,
            key: need(&self.tlskey, "--tlskey", "key.pem")?,
        })
    }

    /// The way of a client to an engine; nothing where no TLS is wanted.
    pub(crate) fn for_client(&self) -> Result<Option<ClientTls>, TlsFilesError> {
        if !self.tlsverify {
            return Ok(None);
        }
        let files = TlsFiles {
            ca: self.file(&self.tlscacert, "ca.pem"),
            cert: self.file(&self.tlscert, "cert.pem"),
            key: self.file(&self.tlskey, "key.pem"),
            insecure: false,
        };
        ClientTls::new(&files).map(Some)
    }
}

/// The way of a process to its own store. What answers at an address that this process listens on is itself, so that nothing
/// has to be checked; where clients have to show a certificate, the store's own one has to be one for clients, too.
pub(crate) fn of_own_store(settings: &TlsSettings) -> anyhow::Result<Option<ClientTls>> {
    if settings.cert.is_none() {
        return Ok(None);
    }
    let shown = |file: &Option<PathBuf>| file.clone().filter(|_| settings.demand);
    let files = TlsFiles {
        ca: None,
        cert: shown(&settings.cert),
        key: shown(&settings.key),
        insecure: true,
    };
    Ok(Some(ClientTls::new(&files).context("--cert-file, --key-file")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_names_its_flags() {
        let file = || Some(PathBuf::from("/f"));
        let check = |kind, asked: Asked| asked.settings(kind, Path::new("/d"));
        let both = Asked {
            ca: file(),
            trusted_ca: file(),
            ..Asked::default()
        };
        assert_eq!(
            check(Kind::Peers, both),
            Err("--peer-ca-file: not together with --peer-trusted-ca-file".to_owned())
        );
        let auto = |demand, cert| Asked {
            auto: true,
            demand,
            cert,
            ..Asked::default()
        };
        assert_eq!(
            check(Kind::Clients, auto(true, None)),
            Err("--auto-tls: not together with --client-cert-auth".to_owned())
        );
        assert_eq!(
            check(Kind::Peers, auto(false, file())),
            Err("--peer-auto-tls: not together with --peer-cert-file".to_owned())
        );
        let own = check(Kind::Peers, auto(false, None)).expect("settings");
        assert!(own.self_made && own.cert == Some(PathBuf::from("/d/fixtures/peer/cert.pem")));
        let old = Asked {
            ca: file(),
            ..Asked::default()
        };
        let old = check(Kind::Clients, old).expect("settings");
        assert!(old.demand && old.trusted_ca == file());
    }

    #[test]
    fn hosts_of_urls() {
        for (url, wanted) in [
            ("https://h:1", Some("h")),
            ("https://[::1]:1/", Some("::1")),
            ("https://h", Some("h")),
            ("h:1", None),
        ] {
            assert_eq!(host(url).as_deref(), wanted, "{url}");
        }
    }
}
