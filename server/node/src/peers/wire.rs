//! What carries a connection between members: TCP, or TLS on it, as the scheme of the URL says.

use crate::peers::sender::LinkError;
use crate::tls::Tls;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

/// A member that can be reached at all takes a connection in this time.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// A connection to another member.
#[derive(Debug)]
pub(crate) enum Wire {
    /// Without TLS.
    Plain(TcpStream),
    /// With it; the states of TLS are far larger than a socket.
    Secure(Box<TlsStream<TcpStream>>),
}

/// Whether a member's URL is https, and its host with port.
pub(crate) fn place(url: &str) -> Option<(bool, &str)> {
    let plain = url.strip_prefix("http://").map(|rest| (false, rest));
    let found = plain.or_else(|| url.strip_prefix("https://").map(|rest| (true, rest)));
    found.map(|(secure, rest)| (secure, rest.trim_end_matches('/')))
}

impl Wire {
    /// Connects to a URL, in limited time.
    pub(crate) async fn connect(url: &str, tls: Option<&Arc<Tls>>) -> Result<Wire, LinkError> {
        let (secure, place) = place(url).ok_or(LinkError::NoUrl)?;
        let socket = timeout(CONNECT_TIME, TcpStream::connect(place)).await;
        let socket = socket
            .map_err(|_| LinkError::Silent)?
            .map_err(|source| LinkError::Connect {
                url: url.to_owned(),
                source,
            })?;
        socket.set_nodelay(true)?;
        if !secure {
            return Ok(Wire::Plain(socket));
        }
        let tls = tls.ok_or(LinkError::NoTls)?;
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        let stream = tls.connect(socket, host).await?;
        Ok(Wire::Secure(Box::new(stream)))
    }

    /// Takes a connection that was accepted.
    pub(crate) async fn accept(
        socket: TcpStream,
        tls: Option<&Arc<Tls>>,
    ) -> Result<Wire, crate::tls::Refused> {
        socket.set_nodelay(true)?;
        Ok(match tls {
            None => Wire::Plain(socket),
            Some(tls) => Wire::Secure(Box::new(tls.accept_member(socket).await?)),
        })
    }
}

/// Sends all of it; TLS keeps nothing back.
pub(crate) async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Wire::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Wire::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Wire::Secure(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Wire::Plain(socket) => socket.is_write_vectored(),
            Wire::Secure(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_flush(context),
            Wire::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Wire::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn urls_say_whether_there_is_tls() {
        assert_eq!(place("http://h:1/"), Some((false, "h:1")));
        assert_eq!(place("https://[::1]:1"), Some((true, "[::1]:1")));
        assert_eq!(place("ftp://h:1"), None);
    }
}
