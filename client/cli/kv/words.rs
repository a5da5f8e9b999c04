//! Failures in the words of etcdctl and of Go's network library, which scripts look for.

use berth_sdk::{Endpoint, Failures, SdkError, TlsProblem};

use crate::exit::Failure;

/// A failure as etcdctl prints it.
pub(super) fn error(code: u8, text: &str) -> Failure {
    Failure::new(code, anyhow::Error::msg(format!("Error:  {text}")))
}

/// The failure of a request. One that etcd's client sends only once is reported without the round of members.
pub(super) fn failure(code: u8, failures: &Failures, once: bool) -> Failure {
    let errors = failures.errors();
    if let Some(refusal) = failures.refusal() {
        return error(code, &refusal.to_string());
    }
    match errors {
        [only] if once => error(code, &text(only)),
        errors => error(code, &format!("{}\n{}", unavailable(errors), detail(errors))),
    }
}

/// Whether not even a connection was made.
pub(super) fn never_connected(failures: &Failures) -> bool {
    let connects = |error: &SdkError| matches!(error, SdkError::Connect { .. });
    failures.errors().iter().all(connects)
}

/// The round of members in one text, which ends with a newline.
pub(super) fn unavailable(errors: &[SdkError]) -> String {
    let mut said = String::from("client: etcd cluster is unavailable or misconfigured");
    for (at, error) in errors.iter().enumerate() {
        said.push_str(&format!("; error #{at}: {}\n", text(error)));
    }
    said
}

fn detail(errors: &[SdkError]) -> String {
    let lines = errors.iter().enumerate();
    lines
        .map(|(at, error)| format!("error #{at}: {}\n", text(error)))
        .collect()
}

/// One error in Go's words.
pub(super) fn text(error: &SdkError) -> String {
    match error {
        SdkError::Connect { endpoint, source } => dial(endpoint, source),
        SdkError::TimedOut { endpoint, .. } => format!("client: endpoint {endpoint} exceeded header timeout"),
        SdkError::Unexpected {
            endpoint,
            status: 500 | 503,
            ..
        } => format!("client: etcd member {endpoint} has no leader"),
        SdkError::Tls { source, .. } => handshake(source).unwrap_or_else(|| error.chain()),
        SdkError::Endpoint(_)
        | SdkError::TlsFiles(_)
        | SdkError::Broken { .. }
        | SdkError::NoEndpoint(_)
        | SdkError::Store { .. }
        | SdkError::Engine { .. }
        | SdkError::Unexpected { .. }
        | SdkError::TooLong { .. }
        | SdkError::Unsendable { .. }
        | SdkError::Input(_) => error.chain(),
    }
}

/// A failure of TLS; none for those that Go has no usual words for.
fn handshake(problem: &TlsProblem) -> Option<String> {
    let words = match problem {
        TlsProblem::UnknownAuthority => "x509: certificate signed by unknown authority",
        TlsProblem::Expired | TlsProblem::NotYetValid => "x509: certificate has expired or is not yet valid",
        TlsProblem::OtherName { host, names } => {
            return Some(format!("x509: certificate is valid for {names}, not {host}"));
        }
        TlsProblem::WrongUse => "x509: certificate specifies an incompatible key usage",
        TlsProblem::Plain => "http: server gave HTTP response to HTTPS client",
        TlsProblem::Demanded => "remote error: tls: certificate required",
        TlsProblem::Refused(_) => "remote error: tls: bad certificate",
        TlsProblem::Version => "remote error: tls: protocol version not supported",
        TlsProblem::Slow => "net/http: TLS handshake timeout",
        TlsProblem::Host(_) | TlsProblem::Files(_) | TlsProblem::Other(_) => return None,
    };
    Some(words.to_owned())
}

/// A connection that was not made.
fn dial(endpoint: &Endpoint, source: &std::io::Error) -> String {
    let place = match endpoint {
        Endpoint::Tcp { host, port, .. } => format!("tcp {host}:{port}"),
        Endpoint::Unix(path) => format!("unix {}", path.display()),
    };
    match source.raw_os_error() {
        Some(number) => {
            let words = nix::errno::Errno::from_raw(number).desc().to_lowercase();
            format!("dial {place}: connect: {words}")
        }
        None if source.kind() == std::io::ErrorKind::TimedOut => format!("dial {place}: i/o timeout"),
        None => format!("dial {place}: {source}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn connections_that_were_not_made() {
        let endpoint = Endpoint::parse("http://127.0.0.1:1", None).expect("an endpoint");
        let check = |source: io::Error| {
            text(&SdkError::Connect {
                endpoint: endpoint.clone(),
                source,
            })
        };
        assert_eq!(
            check(io::Error::from(nix::errno::Errno::ECONNREFUSED)),
            "dial tcp 127.0.0.1:1: connect: connection refused"
        );
        assert_eq!(
            check(io::Error::from(io::ErrorKind::TimedOut)),
            "dial tcp 127.0.0.1:1: i/o timeout"
        );
        let refused = SdkError::Connect {
            endpoint,
            source: io::Error::from(nix::errno::Errno::ECONNREFUSED),
        };
        let failed = failure(4, &Failures::from(refused), false).error.expect("a text");
        assert_eq!(
            failed.to_string(),
            "Error:  client: etcd cluster is unavailable or misconfigured; error #0: dial tcp 127.0.0.1:1: connect: \
             connection refused\n\nerror #0: dial tcp 127.0.0.1:1: connect: connection refused\n"
        );
    }
}
