//! Files of the store: written completely or not at all, read without trust.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::reference::{Reference, is_hexadecimal};

/// Digits of a SHA-256 digest.
const DIGITS: usize = 64;

/// The version of `names.json`.
const NAMES_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Names {
    version: u32,
    names: BTreeMap<String, String>,
}

/// Makes a directory with exactly this mode; its parents too, and one that is there is kept.
pub(super) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Checks what the directory says about its format, and says it for a new one.
pub(super) fn check_format(root: &Path, format: &str) -> Result<(), ImageError> {
    let path = root.join("format");
    let failed = || ImageError::io(format!("image directory {root:?}"));
    match fs::read_to_string(&path) {
        Ok(found) if found == format => Ok(()),
        Ok(found) => Err(ImageError::Format {
            path: root.to_owned(),
            found: found.chars().take(40).collect(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_file(&root.join("format.new"), &path, format.as_bytes()).map_err(failed())
        }
        Err(error) => Err(failed()(error)),
    }
}

/// Writes a file beside, makes it durable and puts it in its place.
pub(super) fn write_file(beside: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    /// Nobody but the daemon.
    const MODE: u32 = 0o600;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let result = written.and_then(|()| publish(beside, path));
    if result.is_err() {
        // What cannot be removed now is removed by the next start.
        let _ = fs::remove_file(beside);
    }
    result
}

/// Puts a finished file or directory in its place, durably.
pub(super) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    match to.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes everything durable that was written to the file system of `path`.
pub(super) fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// The digits of a digest.
pub(super) fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// The digests that the names in a directory stand for; other names are left alone.
pub(super) fn digests(directory: &Path) -> Result<Vec<(String, PathBuf)>, ImageError> {
    let failed = || ImageError::io(format!("reading {directory:?}"));
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == DIGITS && name.bytes().all(is_hexadecimal) {
            found.push((format!("sha256:{name}"), entry.path()));
        } else {
            tracing::warn!(path = ?entry.path(), "not a part of the image store");
        }
    }
    Ok(found)
}

/// Bytes of a layer; `None` when the layer is not whole.
pub(super) fn read_size(layer: &Path) -> Option<u64> {
    let size = fs::read_to_string(layer.join("size")).ok()?.parse().ok()?;
    layer.join("diff").is_dir().then_some(size)
}

pub(super) fn encode_names(names: &BTreeMap<Reference, String>) -> Vec<u8> {
    let names = Names {
        version: NAMES_VERSION,
        names: names
            .iter()
            .map(|(name, id)| (name.to_string(), id.clone()))
            .collect(),
    };
    serde_json::to_vec(&names).expect("a map of strings can be written")
}

/// No file means no names.
pub(super) fn read_names(path: &Path) -> Result<BTreeMap<Reference, String>, ImageError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(ImageError::io(format!("reading {path:?}"))(error)),
    };
    let damaged = || ImageError::Damaged {
        path: path.to_owned(),
    };
    let found: Names = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    if found.version != NAMES_VERSION {
        return Err(ImageError::Format {
            path: path.to_owned(),
            found: format!("version {}", found.version),
        });
    }
    found
        .names
        .into_iter()
        .map(|(name, id)| Ok((Reference::parse(&name).map_err(|_| damaged())?, id)))
        .collect()
}
