//! TLS towards servers that are called as a client calls them: members behind a gateway, and a discovery service.

use crate::tls::accept::{HANDSHAKE_TIME, LOOK, Looked, Refused, VERSIONS};
use crate::tls::{TlsError, material};
use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::ServerName;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::{TlsConnector, TlsStream};

/// Names another list of authorities than the system's, as for OpenSSL, Go and the commands.
const AUTHORITIES_VARIABLE: &str = "SSL_CERT_FILE";
/// Where systems keep their list; the commands look there, too.
const SYSTEM_AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A file, and the flag that named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The flag, for what is said about the file.
    pub flag: &'static str,
    /// The file: PEM.
    pub path: PathBuf,
}

/// How servers are called over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTls {
    /// The authorities whose certificates are taken; those of the system without it.
    pub ca: Option<NamedFile>,
    /// The certificate that is shown where one is demanded, with those between it and the authority.
    pub cert: Option<NamedFile>,
    /// Its private key.
    pub key: Option<NamedFile>,
}

impl CallTls {
    fn files(&self) -> Vec<PathBuf> {
        let files = [&self.ca, &self.cert, &self.key].into_iter().flatten();
        files.map(|file| file.path.clone()).collect()
    }
}

/// Calls servers over TLS. Files that change are read again; the connections that are open go on.
#[derive(Debug)]
pub(crate) struct Outward {
    settings: CallTls,
    /// None while the system has no list of authorities.
    config: ArcSwapOption<ClientConfig>,
    looked: Mutex<Looked>,
}

impl Outward {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be used. A system without a list of authorities is no error before a server is called.
    pub(crate) fn open(settings: CallTls) -> Result<Outward, TlsError> {
        // Before the files: what changes meanwhile is read again.
        let stamps = material::stamps_of(&settings.files());
        let config = config(&settings)?.map(Arc::new);
        Ok(Outward {
            config: ArcSwapOption::new(config),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                stamps,
            }),
            settings,
        })
    }

    /// Reads the files again if they changed. What cannot be used leaves everything as it was.
    fn look(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.elapsed() < LOOK {
            return;
        }
        looked.at = Instant::now();
        let stamps = material::stamps_of(&self.settings.files());
        if stamps == looked.stamps {
            return;
        }
        looked.stamps = stamps;
        match config(&self.settings) {
            Ok(config) => {
                self.config.store(config.map(Arc::new));
                tracing::info!("certificates for calling servers read again");
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "new certificates for calling servers cannot be used; going on with the old ones"
            ),
        }
    }

    /// Makes TLS of a connection to a host, which is as in its URL.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        socket: TcpStream,
        host: &str,
    ) -> Result<TlsStream<TcpStream>, Refused> {
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(plain.to_owned()).map_err(|_| Refused::Name(host.to_owned()))?;
        let outward = Arc::clone(self);
        // A task that is gone is a process that ends.
        drop(tokio::task::spawn_blocking(move || outward.look()).await);
        let config = self.config.load_full().ok_or(Refused::NoSystem)?;
        match timeout(HANDSHAKE_TIME, TlsConnector::from(config).connect(name, socket)).await {
            Ok(Ok(stream)) => Ok(TlsStream::Client(stream)),
            Ok(Err(error)) => Err(Refused::Handshake(error)),
            Err(_) => Err(Refused::Slow),
        }
    }
}

/// The list that the system has, if it has one.
fn system_authorities() -> Option<PathBuf> {
    let said = std::env::var_os(AUTHORITIES_VARIABLE).filter(|path| !path.is_empty());
    let usual = SYSTEM_AUTHORITIES.iter().map(PathBuf::from);
    said.map(PathBuf::from)
        .or_else(|| usual.into_iter().find(|path| path.exists()))
}

fn config(settings: &CallTls) -> Result<Option<ClientConfig>, TlsError> {
    let roots = match &settings.ca {
        Some(NamedFile { flag, path }) => material::roots(flag, path)?,
        None => match system_authorities() {
            Some(path) => material::system_roots(AUTHORITIES_VARIABLE, &path)?,
            None => return Ok(None),
        },
    };
    let unusable = |file: &NamedFile, source| TlsError::Unusable {
        flag: file.flag,
        path: file.path.clone(),
        source,
    };
    let setup = |source| TlsError::Unusable {
        flag: "TLS",
        path: PathBuf::new(),
        source,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(VERSIONS)
        .map_err(setup)?
        .with_root_certificates(roots);
    let mut config = match (&settings.cert, &settings.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(
                material::certificates(cert.flag, &cert.path)?,
                material::private_key(key.flag, &key.path)?,
            )
            .map_err(|source| unusable(key, source))?,
        (Some(given), None) | (None, Some(given)) => {
            return Err(TlsError::Alone { given: given.flag });
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(config))
}
