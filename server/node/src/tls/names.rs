//! Whom a certificate is for: its common name, and whether it covers a name or an address.

use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The longest certificate that is looked into; rustls takes no longer one in a handshake either.
const MAX_CERTIFICATE_BYTES: usize = 64 << 10;
/// The longest common name that is taken for one: X.509 allows 64 letters.
const MAX_COMMON_NAME_BYTES: usize = 256;
/// DNS names of a certificate that are looked up to find the address of its bearer; further ones do not count.
const MAX_LOOKUPS: usize = 8;
/// All lookups together take no longer; an address that is not found by then is not covered.
const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// The common name of the subject; none if there is no single one that is text.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let parsed = parse(certificate)?;
    let mut names = parsed.subject().iter_common_name();
    let (name, further) = (names.next()?, names.next());
    let name = name.as_str().ok()?;
    let fits = further.is_none() && !name.is_empty() && name.len() <= MAX_COMMON_NAME_BYTES;
    fits.then(|| Arc::from(name))
}

/// Whether it is for this name or address, by its alternative names.
pub(crate) fn is_for(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok(name) = ServerName::try_from(host) else {
        return false;
    };
    ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
}

/// Whether its bearer may be at this address: it names the address, or a DNS name with this address, or neither kind.
/// This is etcd's rule for members. A wildcard stands for no name that could be looked up.
pub(crate) async fn may_be_at(certificate: &CertificateDer<'_>, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let Some(Alternatives { dns, addresses }) = alternatives(certificate) else {
        return false;
    };
    if (dns.is_empty() && addresses == 0) || is_for(certificate, &address.to_string()) {
        return true;
    }
    let found = async {
        for name in dns.iter().take(MAX_LOOKUPS) {
            let mut hosts = match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(hosts) => hosts,
                Err(_) => continue,
            };
            if hosts.any(|host| host.ip().to_canonical() == address) {
                return true;
            }
        }
        false
    };
    timeout(LOOKUP_TIME, found).await.unwrap_or(false)
}

/// The alternative names that say where somebody is.
#[derive(Debug, Default)]
struct Alternatives {
    dns: Vec<String>,
    addresses: usize,
}

/// `None` for what cannot be read.
fn alternatives(certificate: &CertificateDer<'_>) -> Option<Alternatives> {
    let parsed = parse(certificate)?;
    let mut found = Alternatives::default();
    let Some(names) = parsed.subject_alternative_name().ok()? else {
        return Some(found);
    };
    for name in &names.value.general_names {
        if let GeneralName::DNSName(name) = name {
            found.dns.push((*name).to_owned());
        } else if matches!(name, GeneralName::IPAddress(_)) {
            found.addresses += 1;
        }
    }
    Some(found)
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let bytes = certificate.as_ref();
    if bytes.len() > MAX_CERTIFICATE_BYTES {
        return None;
    }
    X509Certificate::from_der(bytes).ok().map(|(_, parsed)| parsed)
}
