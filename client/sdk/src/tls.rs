//! TLS of a client: which authorities are believed, which certificate is shown, and failures in words.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest handshake. A server that is there needs milliseconds.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Where systems keep the authorities that they believe, each in one file.
const SYSTEM_AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file that takes their place, as for other programs.
const AUTHORITIES_VARIABLE: &str = "SSL_CERT_FILE";

/// The files for TLS, all in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that are believed; without it those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown, if the server asks for one.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Whatever the server shows is taken. Anybody in between can read and change everything.
    pub insecure: bool,
}

impl TlsFiles {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFilesError {
    /// A certificate without its key, or a key without its certificate.
    #[error("a client certificate and its key are needed together")]
    Half,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what} in PEM form", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// What a file holds cannot be used, or does not go with the other file.
    #[error("{} cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// The system has no list of authorities.
    #[error("this system has no list of trusted authorities: name a file")]
    NoAuthorities,
    /// The library refuses its own versions.
    #[error("TLS cannot be set up")]
    Setup(#[source] Error),
}

/// What was wrong between a client and a server.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// Of nobody who is believed.
    #[error("its certificate is signed by no trusted authority")]
    UnknownAuthority,
    /// Too late.
    #[error("its certificate has expired")]
    Expired,
    /// Too early.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// For other names.
    #[error("its certificate is not for {host:?}, but for {names}")]
    OtherName {
        /// The host that was called.
        host: String,
        /// The names that the certificate is for.
        names: String,
    },
    /// For another use.
    #[error("its certificate is not for servers")]
    WrongUse,
    /// It was something else than TLS that came.
    #[error("it does not speak TLS; perhaps its URL is http://")]
    Plain,
    /// It wants a certificate and got none.
    #[error("it demands a client certificate")]
    Demanded,
    /// It does not take what it was shown.
    #[error("it refuses the client certificate ({0})")]
    Refused(&'static str),
    /// No version in common.
    #[error("it speaks neither TLS 1.2 nor 1.3")]
    Version,
    /// The handshake took too long.
    #[error("it did not finish the handshake in time")]
    Slow,
    /// The host is neither a name nor an address.
    #[error("{0:?} is no host that a certificate could be for")]
    Host(String),
    /// There is nothing to know a server by.
    #[error("no authority is trusted")]
    Files(#[source] Arc<TlsFilesError>),
    /// Something else.
    #[error("the handshake failed")]
    Other(#[source] io::Error),
}

/// TLS for requests to `https` endpoints.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold what it should.
    pub fn new(files: &TlsFiles) -> Result<Self, TlsFilesError> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsFilesError::Setup)?;
        let builder = if files.insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody { provider }))
        } else {
            builder.with_root_certificates(authorities(files.ca.as_deref())?)
        };
        let mut config = match (&files.cert, &files.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|source| TlsFilesError::Unusable {
                    path: key.clone(),
                    source,
                })?,
            (Some(_), None) | (None, Some(_)) => return Err(TlsFilesError::Half),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// What is used where nothing was said: the system's authorities and no certificate. They are read once.
    fn usual() -> Result<Self, TlsProblem> {
        static USUAL: OnceLock<Result<ClientTls, Arc<TlsFilesError>>> = OnceLock::new();
        let usual = USUAL.get_or_init(|| Self::new(&TlsFiles::default()).map_err(Arc::new));
        usual.clone().map_err(TlsProblem::Files)
    }
}

/// Makes TLS of a connection.
pub(crate) async fn connect(
    tls: Option<&ClientTls>,
    socket: TcpStream,
    host: &str,
) -> Result<TlsStream<TcpStream>, TlsProblem> {
    let tls = match tls {
        Some(tls) => tls.clone(),
        None => ClientTls::usual()?,
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsProblem::Host(host.to_owned()))?;
    match timeout(
        HANDSHAKE_LIMIT,
        TlsConnector::from(tls.config).connect(name, socket),
    )
    .await
    {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(inner) => problem(inner, host).unwrap_or(TlsProblem::Other(error)),
            None => TlsProblem::Other(error),
        }),
        Err(_) => Err(TlsProblem::Slow),
    }
}

/// What TLS said within the failure of a request. With TLS 1.3 a server looks at the client's certificate when the handshake
/// has ended for the client; such a request was not carried out.
pub(crate) fn refusal_within(error: &(dyn std::error::Error + 'static)) -> Option<TlsProblem> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(Error::AlertReceived(alert)) = inner.and_then(|inner| inner.downcast_ref()) {
            return of_alert(*alert);
        }
        next = error.source();
    }
    None
}

/// `None` for what has no words of its own: a fault of one of the two programs, of which its own text says the most.
fn problem(error: &Error, host: &str) -> Option<TlsProblem> {
    if let Error::InvalidCertificate(error) = error {
        of_certificate(error, host)
    } else if let Error::AlertReceived(alert) = error {
        of_alert(*alert)
    } else if let Error::InvalidMessage(_) = error {
        Some(TlsProblem::Plain)
    } else if let Error::PeerIncompatible(_) = error {
        Some(TlsProblem::Version)
    } else {
        None
    }
}

fn of_certificate(error: &CertificateError, host: &str) -> Option<TlsProblem> {
    use CertificateError as E;
    let other_name = |names| {
        Some(TlsProblem::OtherName {
            host: host.to_owned(),
            names,
        })
    };
    if matches!(error, E::UnknownIssuer) {
        Some(TlsProblem::UnknownAuthority)
    } else if matches!(error, E::Expired | E::ExpiredContext { .. }) {
        Some(TlsProblem::Expired)
    } else if matches!(error, E::NotValidYet | E::NotValidYetContext { .. }) {
        Some(TlsProblem::NotYetValid)
    } else if matches!(error, E::InvalidPurpose | E::InvalidPurposeContext { .. }) {
        Some(TlsProblem::WrongUse)
    } else if let E::NotValidForNameContext { presented, .. } = error {
        other_name(presented.join(", "))
    } else if matches!(error, E::NotValidForName) {
        other_name("others".to_owned())
    } else {
        None
    }
}

/// What alerts say about the client's certificate.
const REFUSALS: [(AlertDescription, &str); 7] = [
    (AlertDescription::BadCertificate, "bad certificate"),
    (AlertDescription::UnsupportedCertificate, "not for clients"),
    (AlertDescription::CertificateRevoked, "revoked"),
    (AlertDescription::CertificateExpired, "expired, or not valid yet"),
    (AlertDescription::CertificateUnknown, "not let in"),
    (
        AlertDescription::UnknownCA,
        "signed by no authority that it trusts",
    ),
    (AlertDescription::AccessDenied, "access denied"),
];

fn of_alert(alert: AlertDescription) -> Option<TlsProblem> {
    if alert == AlertDescription::CertificateRequired {
        Some(TlsProblem::Demanded)
    } else if alert == AlertDescription::ProtocolVersion {
        Some(TlsProblem::Version)
    } else {
        let refusal = REFUSALS.iter().find(|(known, _)| *known == alert);
        refusal.map(|(_, words)| TlsProblem::Refused(words))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFilesError> {
    fs::read(path).map_err(|source| TlsFilesError::Read {
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFilesError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(TlsFilesError::Empty {
            path: path.to_owned(),
            what: "certificate",
        }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFilesError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| TlsFilesError::Empty {
        path: path.to_owned(),
        what: "private key",
    })
}

fn authorities(named: Option<&Path>) -> Result<RootCertStore, TlsFilesError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = named {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|source| TlsFilesError::Unusable {
                path: path.to_owned(),
                source,
            })?;
        }
        return Ok(roots);
    }
    let said = std::env::var_os(AUTHORITIES_VARIABLE).filter(|path| !path.is_empty());
    let usual = || {
        SYSTEM_AUTHORITIES
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
    };
    let path = said.map(PathBuf::from).or_else(usual);
    // What a system believes may be of old kinds here and there.
    roots.add_parsable_certificates(certificates(&path.ok_or(TlsFilesError::NoAuthorities)?)?);
    Ok(roots)
}

/// Takes every server, as long as it owns what it shows.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
