//! What the files of a port hold, and whether they changed.

use crate::tls::{Port, Setting, TlsError, TlsSettings};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest file that is read. Lists of revoked certificates grow for years; nothing else comes near it.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What the files hold.
pub(crate) struct Material {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) authorities: Option<Arc<RootCertStore>>,
    pub(crate) revoked: Vec<CertificateRevocationListDer<'static>>,
}

/// What tells one state of a file from another; `None` for one that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Option<(u64, u64, i64, i64)>);

/// The states of all files of a port.
pub(crate) fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let files = [&settings.cert, &settings.key, &settings.trusted_ca, &settings.crl];
    stamps_of(&files.into_iter().flatten().cloned().collect::<Vec<_>>())
}

/// The states of some files.
pub(super) fn stamps_of(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let known = std::fs::metadata(path).ok();
        Stamp(known.map(|known| (known.ino(), known.size(), known.mtime(), known.mtime_nsec())))
    };
    files.iter().map(stamp).collect()
}

/// Reads all files of a port that shows a certificate.
pub(crate) fn read(port: Port, settings: &TlsSettings) -> Result<Material, TlsError> {
    let (Some(cert), Some(key)) = (&settings.cert, &settings.key) else {
        return Err(TlsError::NoCertificate {
            flag: port.flag(Setting::Cert),
            listen: port.flag(Setting::Listen),
        });
    };
    let chain = certificates(port.flag(Setting::Cert), cert)?;
    let key = private_key(port.flag(Setting::Key), key)?;
    let authorities = match &settings.trusted_ca {
        Some(path) => Some(Arc::new(roots(port.flag(Setting::TrustedCa), path)?)),
        None => None,
    };
    let revoked = match &settings.crl {
        Some(path) => lists(port.flag(Setting::Crl), path)?,
        None => Vec::new(),
    };
    Ok(Material {
        chain,
        key,
        authorities,
        revoked,
    })
}

fn bytes(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let unread = |source: io::Error| TlsError::Read {
        flag,
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(TlsError::TooLong {
            flag,
            path: path.to_owned(),
            limit: MAX_FILE_BYTES,
        });
    }
    Ok(bytes)
}

pub(super) fn private_key(flag: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&bytes(flag, path)?).map_err(|_| TlsError::Empty {
        flag,
        path: path.to_owned(),
        what: "private key",
    })
}

pub(super) fn certificates(
    flag: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = bytes(flag, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(TlsError::Empty {
            flag,
            path: path.to_owned(),
            what: "certificate",
        }),
    }
}

pub(super) fn roots(flag: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(flag, path)? {
        roots.add(certificate).map_err(|source| TlsError::Unusable {
            flag,
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(roots)
}

/// What a system believes, which may be of kinds that nobody can read any more here and there.
pub(super) fn system_roots(flag: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(flag, path)?);
    Ok(roots)
}

/// Lists in PEM, or a single one in DER, as etcd takes it.
fn lists(flag: &'static str, path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    /// How a DER sequence begins.
    const SEQUENCE: u8 = 0x30;
    let bytes = bytes(flag, path)?;
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(TlsError::Empty {
            flag,
            path: path.to_owned(),
            what: "list of revoked certificates",
        }),
    }
}
