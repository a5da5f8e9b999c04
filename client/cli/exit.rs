//! How a command ends: exit codes as the users of docker and etcdctl know them.

use std::io;

use anyhow::Error;
use berth_sdk::SdkError;

/// Wrong use, or any failure that has no code of its own.
pub(crate) const FAILED: u8 = 1;

/// No store answers (etcdctl).
pub(crate) const NO_STORE: u8 = 2;

/// The store refuses (etcdctl).
pub(crate) const STORE_REFUSES: u8 = 4;

/// `cluster-health`: not every member is healthy (etcdctl).
pub(crate) const NOT_HEALTHY: u8 = 5;

/// `run`: the engine refuses (docker).
pub(crate) const ENGINE_REFUSES: u8 = 125;

/// `run`: the command cannot be run (docker).
pub(crate) const CANNOT_RUN: u8 = 126;

/// `run`: the command is not there (docker).
pub(crate) const NOT_THERE: u8 = 127;

/// The reader of the output went away: 128 and SIGPIPE, as a shell shows it.
pub(crate) const NO_READER: u8 = 141;

/// Ended by Ctrl-C: 128 and SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// The end of a command that did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// Why, unless it has been said already.
    pub(crate) error: Option<Error>,
}

/// What a command comes to: an exit code or a failure.
pub(crate) type Outcome = Result<u8, Failure>;

impl Failure {
    /// A failure with a code of its own.
    pub(crate) fn new(code: u8, error: impl Into<Error>) -> Self {
        Self {
            code,
            error: Some(error.into()),
        }
    }

    /// A wrong use of a command.
    pub(crate) fn usage(text: String) -> Self {
        Self::new(FAILED, Error::msg(text))
    }
}

/// Everything else ends with 1; a reader that went away is nobody's failure.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = Error::new(error);
        match error.downcast_ref::<io::Error>() {
            Some(broken) if broken.kind() == io::ErrorKind::BrokenPipe => Self {
                code: NO_READER,
                error: None,
            },
            _ => Self::new(FAILED, error),
        }
    }
}

/// The failure of a key command.
pub(crate) fn keys(error: SdkError) -> Failure {
    let code = if error.store_code().is_some() {
        STORE_REFUSES
    } else if error.is_connection() {
        NO_STORE
    } else {
        FAILED
    };
    Failure::new(code, error)
}

/// The failure of a start in `run`; docker's client goes by the words of the engine too.
pub(crate) fn start(error: SdkError) -> Failure {
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|words| text.contains(words));
    let code = if has(&["executable file not found", "no such file or directory"]) {
        NOT_THERE
    } else if has(&["permission denied", "is a directory"]) {
        CANNOT_RUN
    } else {
        ENGINE_REFUSES
    };
    Failure::new(code, error)
}

/// An exit code of a container as one of a process.
pub(crate) fn of_container(code: i64) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let refused = |message: &str| SdkError::Engine {
            status: 400,
            message: message.to_owned(),
        };
        assert_eq!(
            start(refused(r#"exec: "x": executable file not found in $PATH"#)).code,
            127
        );
        assert_eq!(start(refused("exec: \"/x\": permission denied")).code, 126);
        assert_eq!(start(refused("port is already allocated")).code, 125);
        let missing = SdkError::Store {
            status: 404,
            code: 100,
            message: "Key not found".to_owned(),
            cause: "/nope".to_owned(),
            index: 3,
        };
        let missing = keys(missing);
        assert_eq!(missing.code, 4);
        assert_eq!(
            missing.error.expect("an error").to_string(),
            "100: Key not found (/nope) [3]"
        );
        assert_eq!(keys(SdkError::NoEndpoint(Vec::new())).code, 2);
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(closed.code == NO_READER && closed.error.is_none());
        assert_eq!(of_container(137), 137);
        assert_eq!(of_container(3), 3);
        assert_eq!(of_container(-1), 255);
    }
}
