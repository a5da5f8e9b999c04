//! Why a port has no TLS.

use std::io;
use std::path::PathBuf;

/// TLS as it was asked for cannot be. Each error names the flag.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// An address is served over TLS, but there is no certificate.
    #[error("{flag}: needed, since {listen} are https")]
    NoCertificate {
        /// The flag that is missing.
        flag: &'static str,
        /// What is listened on.
        listen: &'static str,
    },
    /// There is a certificate, but nothing is served over TLS.
    #[error("{flag}: given, but none of {listen} is https")]
    Idle {
        /// The flag that has no effect.
        flag: &'static str,
        /// What is listened on.
        listen: &'static str,
    },
    /// One half of a pair is missing.
    #[error("{given}: {missing} is needed with it")]
    Half {
        /// What was given.
        given: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("{given}: a certificate and its key are needed together")]
    Alone {
        /// What was given.
        given: &'static str,
    },
    /// A setting has no effect without another one.
    #[error("{given}: it has no effect without {needed}")]
    Needs {
        /// What was given.
        given: &'static str,
        /// What is missing.
        needed: &'static str,
    },
    /// Two settings exclude each other.
    #[error("{one}: not together with {other}")]
    Both {
        /// One of them.
        one: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// Another member can only be reached over TLS.
    #[error("--initial-cluster: {url} is https, which needs {flag}")]
    OtherUrl {
        /// Its URL.
        url: String,
        /// The flag that is missing.
        flag: &'static str,
    },
    /// The others are told one thing, and the member does another.
    #[error("--initial-cluster: this member's {url} and what it listens on are not both https, or both http")]
    OwnUrl {
        /// The URL that they are told.
        url: String,
    },
    /// A file cannot be read.
    #[error("{flag}: cannot read {}", path.display())]
    Read {
        /// Whose file it is.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is longer than any that makes sense.
    #[error("{flag}: {} is longer than {limit} bytes", path.display())]
    TooLong {
        /// Whose file it is.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The longest that is taken.
        limit: u64,
    },
    /// A file does not hold what it should.
    #[error("{flag}: {} holds no {what} in PEM form", path.display())]
    Empty {
        /// Whose file it is.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// What a file holds cannot be used, or does not go with the other files.
    #[error("{flag}: {} cannot be used", path.display())]
    Unusable {
        /// Whose file it is.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The authorities cannot be used.
    #[error("{flag}: {} cannot be used", path.display())]
    Authorities {
        /// Whose file it is.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
}
