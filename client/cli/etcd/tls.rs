//! The TLS flags of etcd.

use std::path::PathBuf;

use crate::args::etcd::Line;
use crate::tls::{Asked, Kind};

/// What was said about one kind of port.
pub(crate) fn asked(line: &Line, kind: Kind) -> Asked {
    let before = match kind {
        Kind::Clients => "",
        Kind::Peers => "peer-",
    };
    let text = |name: &str| line.get(name).filter(|text| !text.is_empty());
    let file = |name: &str| text(&format!("{before}{name}")).map(PathBuf::from);
    let is = |name: &str| line.get(name) == Some("true");
    let list = |name: &str| {
        let names = text(name).into_iter().flat_map(|text| text.split(','));
        let names = names.map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    let client_or_peer = match kind {
        Kind::Clients => "client",
        Kind::Peers => "peer",
    };
    Asked {
        cert: file("cert-file"),
        key: file("key-file"),
        trusted_ca: file("trusted-ca-file"),
        demand: is(&format!("{before}client-cert-auth")),
        ca: file("ca-file"),
        crl: text(&format!("{client_or_peer}-crl-file")).map(PathBuf::from),
        allowed_cn: list(&format!("{client_or_peer}-cert-allowed-cn")),
        allowed_hostname: list(&format!("{client_or_peer}-cert-allowed-hostname")),
        any_address: kind == Kind::Clients || is("experimental-peer-skip-client-san-verification"),
        auto: is(&format!("{before}auto-tls")),
    }
}
