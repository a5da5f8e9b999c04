//! A request on its way through a gateway, and its answer on the way back.

use crate::peers::wire;
use crate::proxy::ProxyConfig;
use crate::proxy::members::Members;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The largest body that is forwarded; members take none that is larger.
const MAX_BODY_BYTES: usize = 3 << 19;
/// A body has to come in this time.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Bodies that are held at the same time, in KiB; beyond, requests are refused with 503.
const MAX_HELD_KIB: usize = 64 << 10;

/// Where a gateway tells of itself.
const OWN_PATH: &str = "/v2/config/local/proxy";

/// Headers that belong to one connection (RFC 9110, 7.6.1, and what etcd's proxy drops).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The body of an answer.
type Body = BoxBody<Bytes, hyper::Error>;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Gateway {
    members: Arc<Members>,
    read_only: bool,
    held: Semaphore,
}

impl Gateway {
    pub(super) fn new(members: Arc<Members>, config: &ProxyConfig) -> Gateway {
        Gateway {
            members,
            read_only: config.read_only,
            held: Semaphore::new(MAX_HELD_KIB),
        }
    }

    /// The answer of the first member that gives one.
    pub(super) async fn answer(&self, request: Request<Incoming>, client: SocketAddr) -> Response<Body> {
        if request.uri().path() == OWN_PATH {
            return self.own(request.method());
        }
        if self.read_only && request.method() != Method::GET {
            return whole(StatusCode::NOT_IMPLEMENTED, "");
        }
        if request.method() == Method::CONNECT || !request.uri().path().starts_with('/') {
            return whole(StatusCode::BAD_REQUEST, "");
        }
        let (mut head, body) = request.into_parts();
        let expected = body
            .size_hint()
            .upper()
            .and_then(|upper| usize::try_from(upper).ok());
        let expected = expected.unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES);
        let kib = u32::try_from(expected.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let Ok(_held) = self.held.try_acquire_many(kib) else {
            return message(StatusCode::SERVICE_UNAVAILABLE, "proxy: too many requests");
        };
        let read = timeout(BODY_TIME, Limited::new(body, MAX_BODY_BYTES).collect()).await;
        let body = match read {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return closing(message(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "proxy: request body too large",
                ));
            }
            Ok(Err(_)) => return closing(message(StatusCode::BAD_REQUEST, "proxy: unexpected EOF")),
            Err(_) => {
                return closing(message(
                    StatusCode::REQUEST_TIMEOUT,
                    "proxy: the body did not come in time",
                ));
            }
        };
        pass_on(&mut head.headers);
        forwarded_for(&mut head.headers, client);
        self.forward(&head, body).await
    }

    async fn forward(&self, head: &http::request::Parts, body: Bytes) -> Response<Body> {
        let urls = self.members.available();
        if urls.is_empty() {
            return message(
                StatusCode::SERVICE_UNAVAILABLE,
                "proxy: zero endpoints currently available",
            );
        }
        for url in &urls {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = head.method.clone();
            *request.uri_mut() = origin_form(&head.uri);
            *request.headers_mut() = head.headers.clone();
            if !head.headers.contains_key(header::HOST)
                && let Some((_, place)) = wire::place(url)
                && let Ok(host) = HeaderValue::from_str(place)
            {
                request.headers_mut().insert(header::HOST, host);
            }
            match self.members.upstream.send(url, request).await {
                Ok(answer) => {
                    let (mut head, body) = answer.into_parts();
                    pass_on(&mut head.headers);
                    return Response::from_parts(head, body.boxed());
                }
                Err(lost) => {
                    let error = &lost as &dyn std::error::Error;
                    tracing::warn!(member = url, error, "a member did not answer");
                    self.members.failed(url);
                    // Of a write that left nobody knows whether it was done: a second one could do it twice.
                    if !lost.is_unsent() && !head.method.is_safe() {
                        return unanswered(1);
                    }
                }
            }
        }
        unanswered(urls.len())
    }

    /// Who requests go to.
    fn own(&self, method: &Method) -> Response<Body> {
        if method != Method::GET {
            let mut answer = whole(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        let text = serde_json::json!({ "endpoints": self.members.urls() }).to_string() + "\n";
        let mut answer = whole(StatusCode::OK, text);
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }
}

fn unanswered(count: usize) -> Response<Body> {
    let text = format!("proxy: unable to get response from {count} endpoint(s)");
    message(StatusCode::BAD_GATEWAY, &text)
}

fn whole(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed());
    *answer.status_mut() = status;
    answer
}

fn message(status: StatusCode, text: &str) -> Response<Body> {
    let document = serde_json::json!({ "message": text }).to_string();
    let mut answer = whole(status, document);
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

/// The rest of the body was not read.
fn closing(mut answer: Response<Body>) -> Response<Body> {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

/// A target without scheme and host, as servers want it.
fn origin_form(uri: &http::Uri) -> http::Uri {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    target.parse().unwrap_or_default()
}

/// Drops what belongs to one connection only, also by its own words.
fn pass_on(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        // What a message is about is not for the connection to drop.
        if name != header::CONTENT_LENGTH && name != header::HOST {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Adds the client to those that the request came through.
fn forwarded_for(headers: &mut HeaderMap, client: SocketAddr) {
    let before: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let own = client.ip().to_string();
    let all = before
        .into_iter()
        .chain([own.as_str()])
        .collect::<Vec<_>>()
        .join(", ");
    if let Ok(value) = HeaderValue::from_str(&all) {
        headers.insert(FORWARDED_FOR, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-own, Keep-Alive, content-length"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "secret"),
            ("content-length", "3"),
            ("authorization", "Basic x"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        pass_on(&mut headers);
        forwarded_for(&mut headers, SocketAddr::from(([127, 0, 0, 1], 9)));
        let mut left: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "authorization=Basic x",
                "content-length=3",
                "x-forwarded-for=10.0.0.1, 10.0.0.2, 127.0.0.1"
            ]
        );
        assert_eq!(origin_form(&"http://h:1/a?b=c".parse().unwrap()), "/a?b=c");
    }
}
