//! Where a server listens, as people write it: `http://host:port`, `https://host:port`, `host:port`, `tcp://host:port`, `unix:///path`.

use std::fmt;
use std::path::PathBuf;

/// One address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP port. The host may be a name, an IPv4 address or an IPv6 address in brackets.
    Tcp {
        /// The host as written.
        host: String,
        /// The port.
        port: u16,
        /// Over TLS.
        tls: bool,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoint {text:?}: {reason}")]
pub struct EndpointError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Endpoint {
    /// Reads an endpoint; `default_port` stands in for a missing port.
    ///
    /// # Errors
    /// A text that names no server.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, EndpointError> {
        let refuse = |reason| EndpointError {
            text: text.to_owned(),
            reason,
        };
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(refuse("the path of a unix socket must be absolute"))
            };
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let rest = match text.split_once("://") {
            None => text,
            Some(("http" | "https" | "tcp", rest)) => rest,
            Some(_) => return Err(refuse("the scheme must be http, https, tcp or unix")),
        };
        let tls = text.starts_with("https://");
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@', ' ']) {
            return Err(refuse("only a host and a port may stand there"));
        }
        let (host, port) =
            split_port(rest).ok_or_else(|| refuse("the port is not a number from 1 to 65535"))?;
        let port = port
            .or(default_port)
            .ok_or_else(|| refuse("the port is missing"))?;
        if host.is_empty() {
            return Err(refuse("the host is missing"));
        }
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
            tls,
        })
    }

    /// What belongs into a `Host` header.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// Host and port; brackets keep the colons of an IPv6 address away from the port's.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let after_address = text.rfind(']').unwrap_or(0);
    match text[after_address..].rfind(':') {
        None => Some((text, None)),
        Some(colon) => {
            let (host, port) = text.split_at(after_address + colon);
            let port: u16 = port[1..].parse().ok()?;
            (port != 0).then_some((host, Some(port)))
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "https" } else { "http" };
                write!(f, "{scheme}://{host}:{port}")
            }
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Reads a list of endpoints, separated by commas.
///
/// # Errors
/// The first one that cannot be read, or a list without any.
pub fn parse_endpoints(list: &str, default_port: Option<u16>) -> Result<Vec<Endpoint>, EndpointError> {
    let found: Result<Vec<Endpoint>, EndpointError> = list
        .split(',')
        .filter(|text| !text.trim().is_empty())
        .map(|text| Endpoint::parse(text, default_port))
        .collect();
    match found {
        Ok(found) if found.is_empty() => Err(EndpointError {
            text: list.to_owned(),
            reason: "the list is empty",
        }),
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let check = |text: &str| match Endpoint::parse(text, Some(2379)) {
            Ok(endpoint) => endpoint.to_string(),
            Err(error) => error.reason.to_owned(),
        };
        for (text, wanted) in [
            ("http://127.0.0.1:4001", "http://127.0.0.1:4001"),
            ("http://127.0.0.1:4001/", "http://127.0.0.1:4001"),
            ("127.0.0.1:4001", "http://127.0.0.1:4001"),
            ("tcp://store:1", "http://store:1"),
            ("store", "http://store:2379"),
            ("[::1]:80", "http://[::1]:80"),
            ("[::1]", "http://[::1]:2379"),
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("/run/x.sock", "unix:///run/x.sock"),
            ("unix://x.sock", "the path of a unix socket must be absolute"),
            ("https://x:1/", "https://x:1"),
            ("https://x", "https://x:2379"),
            ("ftp://x:1", "the scheme must be http, https, tcp or unix"),
            ("http://x:1/v2", "only a host and a port may stand there"),
            ("http://u@x:1", "only a host and a port may stand there"),
            ("x:99999", "the port is not a number from 1 to 65535"),
            ("x:0", "the port is not a number from 1 to 65535"),
            (":1", "the host is missing"),
        ] {
            assert_eq!(check(text), wanted, "{text}");
        }
        assert_eq!(
            Endpoint::parse("x", None).expect_err("no port").to_string(),
            "endpoint \"x\": the port is missing"
        );
    }

    #[test]
    fn lists() {
        let found = parse_endpoints("http://a:1, b:2,", None).expect("a list");
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["http://a:1", "http://b:2"]
        );
        assert!(parse_endpoints(",", None).is_err());
    }
}
