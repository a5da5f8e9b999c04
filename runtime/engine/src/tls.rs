//! TLS of the API's TCP ports: both sides show a certificate, or there is no request.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsFiles;

/// From the connection to the end of the handshake. Whoever needs longer is cut off.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// After a refusal what still comes is taken for so long, and so much of it: a connection that is closed with unread
/// bytes takes back the answer that was sent on it.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// What HTTP clients hear that take the port for one without TLS; the words are those of Go's servers.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 48\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Why the certificates of the TCP ports cannot be used. Flags are those of the command line.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{flag}: cannot read {path}", path = path.display())]
    Read {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{flag}: {path} holds no {what} in PEM form", path = path.display())]
    Empty {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The library refuses what the files hold.
    #[error("{flag}: {path} cannot be used", path = path.display())]
    Unusable {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a connection has no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The handshake failed: no certificate, one of another authority, or no TLS at all.
    #[error("handshake failed: {0}")]
    Handshake(io::Error),
    /// It took too long.
    #[error("no handshake in time")]
    Slow,
    /// The client speaks HTTP and no TLS; it was told.
    #[error("an HTTP request without TLS")]
    Plain,
    /// The client left, or the socket broke.
    #[error("connection broke: {0}")]
    Io(#[from] io::Error),
}

/// Takes connections over TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. They are read once: other certificates count from the next start on.
    pub(crate) fn open(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let mut authorities = RootCertStore::empty();
        for certificate in certificates("--tlscacert", &files.ca)? {
            authorities
                .add(certificate)
                .map_err(unusable("--tlscacert", &files.ca))?;
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider))
                .build()
                .map_err(unusable("--tlscacert", &files.ca))?;
        let chain = certificates("--tlscert", &files.cert)?;
        let key =
            PrivateKeyDer::from_pem_slice(&read("--tlskey", &files.key)?).map_err(|_| TlsError::Empty {
                flag: "--tlskey",
                path: files.key.clone(),
                what: "private key",
            })?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(unusable("--tlscert", &files.cert))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(unusable("--tlskey", &files.key))?;
        // Offering more than HTTP/1.1 would break the streams of attach and exec.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Whoever comes back shows a certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Makes TLS of a connection. Whoever is refused is told why, as far as TLS lets.
    pub(crate) async fn accept(&self, socket: TcpStream) -> Result<TlsStream<TcpStream>, Refused> {
        let accepted = timeout(HANDSHAKE_TIME, self.shake(socket)).await;
        accepted.unwrap_or(Err(Refused::Slow))
    }

    async fn shake(&self, socket: TcpStream) -> Result<TlsStream<TcpStream>, Refused> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 {
            return Err(Refused::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        // A request begins with the name of a method, a handshake with the byte 22.
        if first[0].is_ascii_uppercase() {
            linger(socket, PLAIN_ANSWER).await;
            return Err(Refused::Plain);
        }
        match self.acceptor.accept(socket).into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, socket)) => {
                linger(socket, &[]).await;
                Err(Refused::Handshake(error))
            }
        }
    }
}

/// Sends the last words and ends a connection so that they arrive.
async fn linger(mut socket: TcpStream, words: &[u8]) {
    let last = async {
        socket.write_all(words).await?;
        socket.shutdown().await?;
        let (mut bytes, mut left) = ([0; 1024], LINGER_BYTES);
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

fn unusable<E>(flag: &'static str, path: &Path) -> impl FnOnce(E) -> TlsError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = path.to_owned();
    move |error| TlsError::Unusable {
        flag,
        path,
        source: error.into(),
    }
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read {
        flag,
        path: path.to_owned(),
        source,
    })
}

fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(flag, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| TlsError::Empty {
            flag,
            path: path.to_owned(),
            what: "certificate",
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named_with_their_flag() {
        let directory = tempfile::tempdir().expect("a directory");
        let empty = directory.path().join("empty.pem");
        fs::write(&empty, "nothing\n").expect("written");
        let files = |ca: &Path| TlsFiles {
            ca: ca.to_owned(),
            cert: empty.clone(),
            key: empty.clone(),
        };
        let said = |ca: &Path| Tls::open(&files(ca)).expect_err("refused").to_string();
        assert_eq!(
            said(Path::new("/nonexistent/ca.pem")),
            "--tlscacert: cannot read /nonexistent/ca.pem"
        );
        assert_eq!(
            said(&empty),
            format!(
                "--tlscacert: {} holds no certificate in PEM form",
                empty.display()
            )
        );
    }

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = String::from_utf8(PLAIN_ANSWER.to_vec()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
    }
}
