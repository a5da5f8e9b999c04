//! Why a request did not get the answer it was made for.

use std::io;

use crate::endpoints::{Endpoint, EndpointError};
use crate::tls::{TlsFilesError, TlsProblem};

/// Why a request failed. The text names the server and the thing.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// The address of a server cannot be read.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No connection was made: the request certainly did not arrive.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// The two do not agree on TLS: the request was certainly not carried out.
    #[error("no TLS with {endpoint}")]
    Tls {
        /// Which server.
        endpoint: Endpoint,
        /// Why.
        source: TlsProblem,
    },
    /// Certificates of the client cannot be used.
    #[error(transparent)]
    TlsFiles(#[from] TlsFilesError),
    /// The server did not answer in time; whether it acted is unknown.
    #[error("{endpoint} did not answer within {seconds} s")]
    TimedOut {
        /// Which server.
        endpoint: Endpoint,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The connection broke or carried no HTTP; whether the server acted is unknown.
    #[error("the connection to {endpoint} broke")]
    Broken {
        /// Which server.
        endpoint: Endpoint,
        /// How.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody of the list answers; the texts say why, one for each.
    #[error("no store endpoint answers: {}", .0.join("; "))]
    NoEndpoint(Vec<String>),
    /// The store refused, in the words and numbers of the keys API.
    #[error("{code}: {message} ({cause}) [{index}]")]
    Store {
        /// The HTTP status.
        status: u16,
        /// The number of the error.
        code: u16,
        /// What it means.
        message: String,
        /// The key, as a rule.
        cause: String,
        /// The store's index.
        index: u64,
    },
    /// The engine refused, in its own words.
    #[error("{message}")]
    Engine {
        /// The HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// An answer that the API does not know.
    #[error("{endpoint} answered with status {status} and no document of the API: {text:?}")]
    Unexpected {
        /// Which server.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// An answer that is longer than any of the API's.
    #[error("the answer of {endpoint} is longer than {limit} bytes")]
    TooLong {
        /// Which server.
        endpoint: Endpoint,
        /// The limit.
        limit: usize,
    },
    /// Something cannot be written into a request.
    #[error("{what} cannot be sent in a request: {text:?}")]
    Unsendable {
        /// What.
        what: &'static str,
        /// Its text.
        text: String,
    },
    /// What is to be sent cannot be read.
    #[error("reading what is to be sent failed")]
    Input(#[source] io::Error),
}

impl SdkError {
    /// Whether the server was not reached at all, or not to the end of an answer.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Tls { .. }
            | Self::TimedOut { .. }
            | Self::Broken { .. }
            | Self::NoEndpoint(_) => true,
            Self::Endpoint(_)
            | Self::TlsFiles(_)
            | Self::Store { .. }
            | Self::Engine { .. }
            | Self::Unexpected { .. }
            | Self::TooLong { .. }
            | Self::Unsendable { .. }
            | Self::Input(_) => false,
        }
    }

    /// The error number of the keys API, if the store gave one.
    #[must_use]
    pub fn store_code(&self) -> Option<u16> {
        if let Self::Store { code, .. } = self {
            Some(*code)
        } else {
            None
        }
    }

    /// Whether the store refused for good: it works, and the same request would be refused again.
    #[must_use]
    pub fn is_store_refusal(&self) -> bool {
        matches!(self, Self::Store { status, .. } if *status < 500)
    }

    /// The status of the engine's refusal.
    #[must_use]
    pub fn engine_status(&self) -> Option<u16> {
        if let Self::Engine { status, .. } = self {
            Some(*status)
        } else {
            None
        }
    }

    /// The text with those of all sources, for a list or a log line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}
