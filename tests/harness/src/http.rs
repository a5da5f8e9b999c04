//! HTTP/1.1 with nothing between the test and the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

/// An open answer whose body is read piece by piece.
#[derive(Debug)]
pub struct Stream {
    reader: BufReader<TcpStream>,
    chunked: bool,
    /// The status and headers; the body is empty.
    pub head: Response,
}

impl Stream {
    /// Sends a request and reads the head of the answer.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn open(address: SocketAddr, target: &str) -> Self {
        Self::try_open(address, target, PATIENCE)
            .unwrap_or_else(|error| panic!("no answer to {target}: {error}"))
    }

    /// The same, with a limit on each wait.
    ///
    /// # Errors
    /// When the connection fails or no head comes in time.
    pub fn try_open(address: SocketAddr, target: &str, limit: Duration) -> std::io::Result<Self> {
        let mut socket = TcpStream::connect_timeout(&address, limit)?;
        socket.set_read_timeout(Some(limit))?;
        write!(socket, "GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")?;
        let mut reader = BufReader::new(socket);
        let head = read_head(&mut reader)?;
        let chunked = head.header("transfer-encoding") == Some("chunked");
        Ok(Self {
            reader,
            chunked,
            head,
        })
    }

    /// The next chunk of the body; `None` at its end.
    pub fn chunk(&mut self) -> Option<String> {
        assert!(self.chunked, "the answer is not chunked: {:?}", self.head);
        let mut size = String::new();
        self.reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut data = vec![0; size + 2];
        self.reader.read_exact(&mut data).ok()?;
        data.truncate(size);
        (size > 0).then(|| String::from_utf8_lossy(&data).into_owned())
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// When the connection fails or the answer cannot be read.
pub fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    request_within(address, method, target, headers, body, PATIENCE)
}

/// The same with a limit on the time for the connection and on each wait for more of the answer.
///
/// # Errors
/// When the connection fails or the answer cannot be read in time.
pub fn request_within(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> std::io::Result<Response> {
    let socket = TcpStream::connect_timeout(&address, limit)?;
    socket.set_read_timeout(Some(limit))?;
    exchange(socket, method, target, headers, body)
}

/// The same over a unix socket.
///
/// # Errors
/// When the connection fails or the answer cannot be read.
pub fn request_unix(
    path: &Path,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    request_unix_within(path, method, target, headers, body, PATIENCE)
}

/// The same with a limit on each wait for more of the answer.
///
/// # Errors
/// When the connection fails or the answer cannot be read in time.
pub fn request_unix_within(
    path: &Path,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> std::io::Result<Response> {
    let socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(limit))?;
    exchange(socket, method, target, headers, body)
}

fn exchange(
    mut socket: impl Read + Write,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    socket.write_all(text.as_bytes())?;
    // A server that refuses a large body may close before all of it is sent; its answer is still there to read.
    let _ = socket.write_all(body);
    let mut reader = BufReader::new(socket);
    let mut response = read_head(&mut reader)?;
    let empty = method == "HEAD" || response.status == 204 || response.status == 304;
    if empty {
        return Ok(response);
    }
    if response.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut data = vec![0; size + 2];
            reader.read_exact(&mut data)?;
            if size == 0 {
                break;
            }
            response.body.extend_from_slice(&data[..size]);
        }
    } else if let Some(length) = response
        .header("content-length")
        .and_then(|text| text.parse().ok())
    {
        let mut data = vec![0; length];
        reader.read_exact(&mut data)?;
        response.body = data;
    } else {
        reader.read_to_end(&mut response.body)?;
    }
    Ok(response)
}

fn read_head(reader: &mut impl BufRead) -> std::io::Result<Response> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.trim().parse().ok())
        .ok_or_else(|| std::io::Error::other(format!("not a status line: {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Response {
        status,
        headers,
        body: Vec::new(),
    })
}
