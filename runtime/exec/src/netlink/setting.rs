//! Kernel settings below `/proc/sys`, of the network namespace of the calling thread.

use std::path::Path;
use std::{fs, io};

use super::error::NetworkError;

/// Writes a setting; one that has the value already is left alone.
pub(crate) fn set(path: &str, value: &str) -> Result<(), NetworkError> {
    if get(path)?.as_deref() == Some(value) {
        return Ok(());
    }
    fs::write(Path::new("/proc/sys").join(path), value).map_err(failure(path))
}

/// Like [`set`] for a setting that a kernel without IPv6 does not have.
pub(crate) fn set_if_there(path: &str, value: &str) -> Result<(), NetworkError> {
    match get(path)? {
        Some(_) => set(path, value),
        None => Ok(()),
    }
}

/// Reads a setting; `None` when the kernel does not have it.
pub(crate) fn get(path: &str) -> Result<Option<String>, NetworkError> {
    match fs::read_to_string(Path::new("/proc/sys").join(path)) {
        Ok(value) => Ok(Some(value.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(path)(error)),
    }
}

fn failure(path: &str) -> impl FnOnce(io::Error) -> NetworkError {
    let path = path.to_owned();
    move |source| NetworkError::Setting { path, source }
}
