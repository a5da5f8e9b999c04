//! The TLS of one port while it is in use: handshakes in limited time, and files that are read again when they change.

use crate::tls::material::{self, Stamp};
use crate::tls::verify::NotAllowed;
use crate::tls::{Port, Setting, TlsError, TlsSettings, names, verify};
use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, OtherError, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// From the connection to the end of the handshake. Whoever needs longer is cut off.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Handshakes of a port that go on at a time: each costs some 50 KiB and signatures. Further connections wait for their turn,
/// and lose their time with it.
const MAX_HANDSHAKES: usize = 1_024;
/// The least time between two looks at the files. A handshake in between uses what was found then.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Refusals that are logged in each such time; the rest is for whoever looks at the debug log.
const MAX_TOLD: u32 = 10;
const TELL: Duration = Duration::from_secs(1);
/// After a refusal what still comes is taken for so long, and so much of it: a connection that is closed with unread bytes
/// takes back the answer that was sent on it.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 << 10;
/// How a TLS connection begins: a record with a handshake.
const HANDSHAKE_RECORD: u8 = 0x16;
/// What HTTP clients hear that take the port for one without TLS; the words are those of Go's servers.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 48\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

pub(super) const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// Why a connection has no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The handshake failed.
    #[error("handshake failed")]
    Handshake(#[source] io::Error),
    /// The certificate is one of an authority, but of nobody who is let in.
    #[error(transparent)]
    Stranger(#[from] NotAllowed),
    /// It took too long.
    #[error("no handshake in time")]
    Slow,
    /// The client left, or the socket broke.
    #[error("connection broke")]
    Io(#[from] io::Error),
    /// The client speaks HTTP and no TLS; it was told.
    #[error("an HTTP request without TLS")]
    Plain,
    /// The member calls from where its certificate does not say it is.
    #[error("its certificate is not for {0}, where it calls from")]
    Elsewhere(IpAddr),
    /// There is nothing to tell right members by.
    #[error("its URL is https, but there is no --peer-trusted-ca-file to know it by")]
    NoAuthority,
    /// There is nothing to tell right servers by.
    #[error("this system has no list of trusted authorities, and no file was named")]
    NoSystem,
    /// A URL's host is none.
    #[error("{0:?} is no name that a certificate could be for")]
    Name(String),
}

impl Refused {
    fn failed(error: io::Error) -> Refused {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) = inner
            && let Some(stranger) = other.downcast_ref::<NotAllowed>()
        {
            return Refused::Stranger(stranger.clone());
        }
        Refused::Handshake(error)
    }
}

/// What the files make.
#[derive(Debug)]
struct Configs {
    server: Arc<ServerConfig>,
    client: Option<Arc<ClientConfig>>,
}

/// The last look at the files.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) at: Instant,
    pub(super) stamps: Vec<Stamp>,
}

/// Refusals that were logged lately.
#[derive(Debug)]
struct Told {
    since: Instant,
    count: u32,
}

/// The TLS of a port.
#[derive(Debug)]
pub(crate) struct Tls {
    port: Port,
    settings: TlsSettings,
    configs: ArcSwap<Configs>,
    looked: Mutex<Looked>,
    told: Mutex<Told>,
    places: Semaphore,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn open(port: Port, settings: TlsSettings) -> Result<Tls, TlsError> {
        // Before the files: what changes meanwhile is read again.
        let stamps = material::stamps(&settings);
        let configs = configs(port, &settings)?;
        Ok(Tls {
            port,
            configs: ArcSwap::from_pointee(configs),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                stamps,
            }),
            told: Mutex::new(Told {
                since: Instant::now(),
                count: 0,
            }),
            places: Semaphore::new(MAX_HANDSHAKES),
            settings,
        })
    }

    /// The files as they are now, or were a moment ago.
    async fn configs(self: &Arc<Self>) -> Arc<Configs> {
        let due = self
            .looked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .at
            .elapsed()
            >= LOOK;
        if due {
            let tls = Arc::clone(self);
            // A task that is gone is a process that ends.
            drop(tokio::task::spawn_blocking(move || tls.look()).await);
        }
        self.configs.load_full()
    }

    /// Reads the files again if they changed. What cannot be used is told once and leaves everything as it was.
    fn look(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.elapsed() < LOOK {
            return;
        }
        looked.at = Instant::now();
        let stamps = material::stamps(&self.settings);
        if stamps == looked.stamps {
            return;
        }
        looked.stamps = stamps;
        let certificate = self.port.flag(Setting::Cert);
        match configs(self.port, &self.settings) {
            Ok(configs) => {
                self.configs.store(Arc::new(configs));
                tracing::info!(flag = certificate, "certificates read again");
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "new certificates cannot be used; going on with the old ones"
            ),
        }
    }

    /// Makes TLS of a connection that was accepted. Whoever is refused is told why, as far as TLS lets.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        socket: TcpStream,
    ) -> Result<tokio_rustls::server::TlsStream<TcpStream>, Refused> {
        let accepted = timeout(HANDSHAKE_TIME, self.shake(socket)).await;
        let accepted = accepted.unwrap_or(Err(Refused::Slow));
        if let Err(refused) = &accepted {
            self.tell(refused);
        }
        accepted
    }

    async fn shake(
        self: &Arc<Self>,
        socket: TcpStream,
    ) -> Result<tokio_rustls::server::TlsStream<TcpStream>, Refused> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 {
            return Err(Refused::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        if first[0] != HANDSHAKE_RECORD && first[0].is_ascii_uppercase() {
            linger(socket, PLAIN_ANSWER).await;
            return Err(Refused::Plain);
        }
        // It is never closed.
        let _place = self.places.acquire().await.ok();
        let acceptor = TlsAcceptor::from(Arc::clone(&self.configs().await.server));
        match acceptor.accept(socket).into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, socket)) => {
                linger(socket, &[]).await;
                Err(Refused::failed(error))
            }
        }
    }

    /// The same for a member that calls, which has to be where its certificate says.
    pub(crate) async fn accept_member(
        self: &Arc<Self>,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Refused> {
        let address = socket.peer_addr()?.ip();
        let stream = self.accept(socket).await?;
        if !self.settings.any_address
            && let Some(certificate) = shown(&stream)
            && !names::may_be_at(certificate, address).await
        {
            let refused = Refused::Elsewhere(address);
            self.tell(&refused);
            return Err(refused);
        }
        Ok(TlsStream::Server(stream))
    }

    /// Calls another member, whose host is as in its URL.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        socket: TcpStream,
        host: &str,
    ) -> Result<TlsStream<TcpStream>, Refused> {
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(plain.to_owned()).map_err(|_| Refused::Name(host.to_owned()))?;
        let config = self.configs().await.client.clone();
        let connector = TlsConnector::from(config.ok_or(Refused::NoAuthority)?);
        match timeout(HANDSHAKE_TIME, connector.connect(name, socket)).await {
            Ok(Ok(stream)) => Ok(TlsStream::Client(stream)),
            Ok(Err(error)) => Err(Refused::failed(error)),
            Err(_) => Err(Refused::Slow),
        }
    }

    fn tell(&self, refused: &Refused) {
        let port = self.port;
        let error = refused as &dyn std::error::Error;
        // Who only looks whether the port is open is no news.
        let news = !matches!(refused, Refused::Io(_)) && {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.since.elapsed() >= TELL {
                *told = Told {
                    since: Instant::now(),
                    count: 0,
                };
            }
            told.count = told.count.saturating_add(1);
            told.count <= MAX_TOLD
        };
        if news {
            tracing::warn!(?port, error, "a TLS connection was refused");
        } else {
            tracing::debug!(?port, error, "a TLS connection was refused");
        }
    }
}

/// The common name of the certificate that the client had to show.
pub(crate) fn client_name(stream: &tokio_rustls::server::TlsStream<TcpStream>) -> Option<Arc<str>> {
    names::common_name(shown(stream)?)
}

/// None are asked for that are not verified.
fn shown(stream: &tokio_rustls::server::TlsStream<TcpStream>) -> Option<&CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates()?.first()
}

/// Sends the last words and ends a connection so that they arrive.
async fn linger(mut socket: TcpStream, words: &[u8]) {
    let last = async {
        socket.write_all(words).await?;
        socket.shutdown().await?;
        let (mut bytes, mut left) = ([0; 1_024], LINGER_BYTES);
        while left > 0 {
            match socket.read(&mut bytes).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<(), io::Error>(())
    };
    // Whoever does not listen has no more of it.
    drop(timeout(LINGER_TIME, last).await);
}

/// What the files of a port make.
fn configs(port: Port, settings: &TlsSettings) -> Result<Configs, TlsError> {
    let material = material::read(port, settings)?;
    let provider = Arc::new(default_provider());
    let unusable = |source| {
        // The library says of keys that it cannot take no more than that.
        let of_key = matches!(
            source,
            rustls::Error::InconsistentKeys(_) | rustls::Error::General(_)
        );
        let setting = if of_key {
            (Setting::Key, &settings.key)
        } else {
            (Setting::Cert, &settings.cert)
        };
        TlsError::Unusable {
            flag: port.flag(setting.0),
            path: setting.1.clone().unwrap_or_default(),
            source,
        }
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(VERSIONS)
        .map_err(unusable)?;
    let builder = match &material.authorities {
        Some(authorities) if settings.demand => builder.with_client_cert_verifier(verify::callers(
            port,
            settings,
            &material,
            authorities,
            &provider,
        )?),
        Some(_) | None => builder.with_no_client_auth(),
    };
    let key = material.key.clone_key();
    let mut server = builder
        .with_single_cert(material.chain.clone(), key)
        .map_err(unusable)?;
    if settings.demand {
        // A session that is taken up again shows no certificate, so that one which was revoked would still do.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
    }
    let client = match port {
        Port::Clients => {
            server.alpn_protocols = vec![b"http/1.1".to_vec()];
            None
        }
        Port::Peers => calling(settings, material, provider).map_err(|error| match error {
            Calling::Tls(error) => error,
            Calling::Key(source) => unusable(source),
        })?,
    };
    Ok(Configs {
        server: Arc::new(server),
        client,
    })
}

/// Why other members cannot be called.
enum Calling {
    Tls(TlsError),
    Key(rustls::Error),
}

/// How other members are called: the certificate of the port is shown to them.
fn calling(
    settings: &TlsSettings,
    material: material::Material,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<ClientConfig>>, Calling> {
    let Some(verifier) = verify::called(settings, &material, &provider).map_err(Calling::Tls)? else {
        return Ok(None);
    };
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)
        .map_err(Calling::Key)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(material.chain, material.key)
        .map_err(Calling::Key)?;
    client.resumption = Resumption::disabled();
    Ok(Some(Arc::new(client)))
}
