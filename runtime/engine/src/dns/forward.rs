//! Asking the name servers of the host on behalf of a container.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::belongs;

/// How long one server is waited for; then the next is asked.
const PATIENCE: Duration = Duration::from_secs(4);

/// Servers that are asked, the first of the list; Docker's number.
const SERVERS: usize = 3;

/// The port of name servers.
const PORT: u16 = 53;

/// The longest datagram that is read.
const DATAGRAM: usize = 65_535;

/// Asks one server after the other; none when none of them answers in time.
pub(super) async fn ask(servers: &[IpAddr], question: &[u8], stream: bool) -> Option<Vec<u8>> {
    for server in servers.iter().take(SERVERS) {
        let server = SocketAddr::new(*server, PORT);
        let asked = async {
            if stream {
                by_stream(server, question).await
            } else {
                by_datagram(server, question).await
            }
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "a name server was not asked"),
            Err(_) => tracing::debug!(%server, "a name server did not answer in time"),
        }
    }
    None
}

async fn by_datagram(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    // A socket of its own for each question: its port is part of what an answer has to hit.
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if belongs(question, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn by_stream(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write(&mut stream, question).await?;
    let answer = read(&mut stream).await?;
    if belongs(question, &answer) {
        Ok(answer)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// A message of a stream: its length goes before it.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message of a stream.
pub(super) async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes).await
}
