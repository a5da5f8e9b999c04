//! What carries a connection of a client: TCP, or TLS on it. Both are known when the program is built, so that a plain
//! connection pays nothing for the other kind.

use bytes::BytesMut;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What is encrypted at a time where nothing waits: what the socket does not take of it stays in memory.
const MAX_PLAIN_BYTES: usize = 16 << 10;
/// What is received at a time while an answer is open.
const MAX_RECEIVED_BYTES: usize = 512;

/// A connection that can be written to without waiting.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Takes what can be sent now; an error of the kind `WouldBlock` if that is nothing. What was taken is on its way after
    /// [`Socket::try_flush`].
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends what was taken; an error of the kind `WouldBlock` if something is left.
    fn try_flush(&mut self) -> io::Result<()>;

    /// Waits until more can be sent.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Waits for bytes, and adds them; 0 at the end. Dropped on the way, it loses nothing.
    fn receive(&mut self, into: &mut BytesMut) -> impl Future<Output = io::Result<usize>> + Send;

    /// Says that nothing more comes, if it can be said at once.
    fn part(&mut self);
}

impl Socket for TcpStream {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TcpStream::try_write(self, bytes)
    }

    fn try_flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
        TcpStream::writable(self)
    }

    async fn receive(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        loop {
            self.readable().await?;
            let mut bytes = [0; MAX_RECEIVED_BYTES];
            match self.try_read(&mut bytes) {
                Ok(count) => {
                    into.extend_from_slice(&bytes[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn part(&mut self) {}
}

/// Lets rustls write where nothing waits.
struct Now<'a>(&'a TcpStream);

impl io::Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for TlsStream<TcpStream> {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // With nothing left over, rustls has room for what follows.
        self.try_flush()?;
        let (_, session) = self.get_mut();
        let taken = session
            .writer()
            .write(&bytes[..bytes.len().min(MAX_PLAIN_BYTES)])?;
        match self.try_flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(taken),
        }
    }

    fn try_flush(&mut self) -> io::Result<()> {
        let (socket, session) = self.get_mut();
        while session.wants_write() {
            if session.write_tls(&mut Now(socket))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.get_ref().0.writable()
    }

    async fn receive(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        std::future::poll_fn(|context| poll_receive(self, into, context)).await
    }

    fn part(&mut self) {
        self.get_mut().1.send_close_notify();
        // The connection ends either way.
        drop(self.try_flush());
    }
}

fn poll_receive(
    from: &mut TlsStream<TcpStream>,
    into: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut bytes = [0; MAX_RECEIVED_BYTES];
    let mut buffer = ReadBuf::new(&mut bytes);
    let polled = Pin::new(from).poll_read(context, &mut buffer);
    polled.map_ok(|()| {
        into.extend_from_slice(buffer.filled());
        buffer.filled().len()
    })
}
