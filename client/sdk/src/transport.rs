//! One HTTP request over a fresh connection to a TCP port or a unix socket, and the upgrade to a raw stream.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::endpoints::Endpoint;
use crate::error::SdkError;
use crate::tls::{self, ClientTls, TlsProblem};

/// Longest wait for a connection. A host that is down answers nothing at all; the next endpoint should have its turn.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Longest whole answer that is kept in memory. A listing of a full store stays far below; a longer one is an error.
const LONGEST_ANSWER: usize = 256 * 1024 * 1024;

/// How much of an unexpected answer an error shows.
const LONGEST_EXCERPT: usize = 200;

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One request.
#[derive(Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Body,
    limit: Option<Duration>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Call {
    /// A request without a body. `path` begins with a slash and may have a query; it is sent as it is.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: bytes_body(Bytes::new()),
            limit: None,
        }
    }

    /// With a body and its type.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = bytes_body(body.into());
        self.header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With a limit on the time from the connection to the head of the answer.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    pub(crate) fn stream(mut self, content_type: &'static str, body: Body) -> Self {
        self.body = body;
        self.header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }
}

fn bytes_body(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Requests to one endpoint.
#[derive(Debug, Clone)]
pub struct Transport {
    endpoint: Endpoint,
    tls: Option<ClientTls>,
}

impl Transport {
    /// A transport to `endpoint`; nothing is connected yet.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, tls: None }
    }

    /// The same with these certificates, where the endpoint is `https`.
    #[must_use]
    pub fn with_tls(self, tls: Option<ClientTls>) -> Self {
        Self { tls, ..self }
    }

    /// Where it goes.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`SdkError::Connect`] and [`SdkError::Tls`] when the request was not seen; any other when its fate is unknown.
    pub async fn send(&self, call: Call) -> Result<Answer, SdkError> {
        let response = self.open(call).await?;
        self.collect(response).await
    }

    /// Sends a request and returns at the head of the answer.
    pub(crate) async fn open(&self, call: Call) -> Result<Response<Incoming>, SdkError> {
        match &self.endpoint {
            Endpoint::Tcp {
                host,
                port,
                tls: secure,
            } => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let stream = self.connect(TcpStream::connect((host, *port))).await?;
                // A request is one small write; waiting for more to send with it only costs time.
                drop(stream.set_nodelay(true));
                if !secure {
                    return self.exchange(stream, call).await;
                }
                let stream = tls::connect(self.tls.as_ref(), stream, host).await;
                let stream = stream.map_err(|source| self.refused(source))?;
                self.exchange(stream, call).await
            }
            Endpoint::Unix(path) => {
                let stream = self.connect(UnixStream::connect(path)).await?;
                self.exchange(stream, call).await
            }
        }
    }

    async fn connect<S>(&self, connecting: impl Future<Output = io::Result<S>>) -> Result<S, SdkError> {
        let connected = timeout(CONNECT_LIMIT, connecting).await;
        connected
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
            .map_err(|source| SdkError::Connect {
                endpoint: self.endpoint.clone(),
                source,
            })
    }

    async fn exchange<S>(&self, stream: S, call: Call) -> Result<Response<Incoming>, SdkError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let limit = call.limit;
        let request = self.request(call)?;
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Ends by itself when the answer has been read or dropped.
            tokio::spawn(connection.with_upgrades());
            sender.send_request(request).await
        };
        let response = match limit {
            None => exchange.await,
            Some(limit) => timeout(limit, exchange).await.map_err(|_| SdkError::TimedOut {
                endpoint: self.endpoint.clone(),
                seconds: limit.as_secs(),
            })?,
        };
        response.map_err(|error| self.broken(error))
    }

    fn request(&self, call: Call) -> Result<Request<Body>, SdkError> {
        let host = HeaderValue::from_str(&self.endpoint.authority()).map_err(|_| SdkError::Unsendable {
            what: "a host name",
            text: self.endpoint.authority(),
        })?;
        let uri = call.path.parse::<http::Uri>().map_err(|_| SdkError::Unsendable {
            what: "a path",
            text: call.path,
        })?;
        let mut request = Request::new(call.body);
        *request.method_mut() = call.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = call.headers;
        request.headers_mut().insert(header::HOST, host);
        let agent = HeaderValue::from_static(concat!("berth/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        Ok(request)
    }

    /// Reads the rest of an answer.
    pub(crate) async fn collect(&self, response: Response<Incoming>) -> Result<Answer, SdkError> {
        let (head, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, LONGEST_ANSWER).collect().await;
        let body = body.map_err(|source| {
            if source.is::<http_body_util::LengthLimitError>() {
                SdkError::TooLong {
                    endpoint: self.endpoint.clone(),
                    limit: LONGEST_ANSWER,
                }
            } else {
                SdkError::Broken {
                    endpoint: self.endpoint.clone(),
                    source,
                }
            }
        })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    fn refused(&self, source: TlsProblem) -> SdkError {
        SdkError::Tls {
            endpoint: self.endpoint.clone(),
            source,
        }
    }

    pub(crate) fn broken(&self, error: hyper::Error) -> SdkError {
        if let Some(refusal) = tls::refusal_within(&error) {
            return self.refused(refusal);
        }
        SdkError::Broken {
            endpoint: self.endpoint.clone(),
            source: Box::new(error),
        }
    }

    /// The error for an answer that the API does not know.
    pub(crate) fn unexpected(&self, answer: &Answer) -> SdkError {
        let text = answer.text();
        let end = (0..=LONGEST_EXCERPT.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        SdkError::Unexpected {
            endpoint: self.endpoint.clone(),
            status: answer.status.as_u16(),
            text: text[..end].trim().to_owned(),
        }
    }
}
