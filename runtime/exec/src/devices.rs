//! Devices of the host: what a container's wishes come to, and all that there are.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use berth_plan::{DeviceKind, DeviceRule, DeviceWish, FoundDevice};

use crate::error::ExecError;

/// Devices of one container; each takes steps of the stage, which has a bound. What is beyond it is left out.
const MAX_DEVICES: usize = 400;

/// Directories below `/dev` are not deep; links make no loops, since none is followed below the first.
const MAX_DEPTH: usize = 8;

/// Below `/dev`: a container has its own.
const OWN: [&str; 8] = [
    "pts",
    "shm",
    "mqueue",
    "fd",
    ".lxc",
    ".lxd-mounts",
    "console",
    "ptmx",
];

/// Looks the devices up; those of a directory become one each.
///
/// # Errors
/// When one is not there or is no device.
pub fn find_devices(wishes: &[DeviceWish]) -> Result<Vec<FoundDevice>, ExecError> {
    let mut found = Vec::new();
    for wish in wishes {
        gather(wish, &wish.host, &wish.container, 0, &mut found).map_err(|source| ExecError::Device {
            path: wish.host.clone(),
            source,
        })?;
    }
    Ok(found)
}

/// Every device of the host, with every right.
///
/// # Errors
/// When `/dev` cannot be read.
pub fn all_devices() -> Result<Vec<FoundDevice>, ExecError> {
    let dev = PathBuf::from("/dev");
    let wish = DeviceWish {
        host: dev.clone(),
        container: dev.clone(),
        read: true,
        write: true,
        mknod: true,
    };
    let mut found = Vec::new();
    gather(&wish, &dev, &dev, 0, &mut found).map_err(|source| ExecError::Device { path: dev, source })?;
    Ok(found)
}

fn gather(
    wish: &DeviceWish,
    host: &Path,
    container: &Path,
    depth: usize,
    found: &mut Vec<FoundDevice>,
) -> io::Result<()> {
    // Only what was asked for by name may be a link.
    let metadata = if depth == 0 {
        fs::metadata(host)
    } else {
        fs::symlink_metadata(host)
    };
    let metadata = metadata.map_err(|error| {
        // Clients look for these words and end with 127.
        if error.kind() == io::ErrorKind::NotFound {
            io::Error::new(error.kind(), "no such file or directory")
        } else {
            error
        }
    })?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return gather_below(wish, host, container, depth, found);
    }
    let kind = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => DeviceKind::Character,
        (_, true) => DeviceKind::Block,
        (false, false) if depth == 0 => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a device node"));
        }
        (false, false) => return Ok(()),
    };
    if found.len() >= MAX_DEVICES {
        tracing::warn!(device = ?host, limit = MAX_DEVICES, "too many devices, this one is left out");
        return Ok(());
    }
    let (major, minor) = (
        rustix::fs::major(metadata.rdev()),
        rustix::fs::minor(metadata.rdev()),
    );
    found.push(FoundDevice {
        path: container.to_owned(),
        kind,
        major,
        minor,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rule: DeviceRule {
            kind,
            major: Some(major),
            minor: Some(minor),
            read: wish.read,
            write: wish.write,
            mknod: wish.mknod,
        },
    });
    Ok(())
}

fn gather_below(
    wish: &DeviceWish,
    host: &Path,
    container: &Path,
    depth: usize,
    found: &mut Vec<FoundDevice>,
) -> io::Result<()> {
    if depth >= MAX_DEPTH {
        return Ok(());
    }
    let mut names: Vec<_> = fs::read_dir(host)?
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name()))
        .collect();
    names.sort();
    for name in names {
        let own = depth == 0 && host == Path::new("/dev") && OWN.iter().any(|own| name == *own);
        if own {
            continue;
        }
        match gather(wish, &host.join(&name), &container.join(&name), depth + 1, found) {
            // It has gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(path: &str) -> DeviceWish {
        DeviceWish {
            host: path.into(),
            container: "/dev/other".into(),
            read: true,
            write: false,
            mknod: false,
        }
    }

    #[test]
    fn a_device_is_found_by_its_name() {
        let found = find_devices(&[wish("/dev/null")]).unwrap();
        let [null] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!((null.major, null.minor, null.kind), (1, 3, DeviceKind::Character));
        assert_eq!(null.path, Path::new("/dev/other"));
        assert!(null.rule.read && !null.rule.write && !null.rule.mknod);
    }

    #[test]
    fn what_is_no_device_is_named() {
        let error = find_devices(&[wish("/etc/passwd")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "error gathering device information while adding custom device \"/etc/passwd\""
        );
        find_devices(&[wish("/dev/there-is-no-such-device")]).unwrap_err();
    }

    #[test]
    fn all_are_found_and_none_twice() {
        let all = all_devices().unwrap();
        assert!(all.iter().any(|device| device.path == Path::new("/dev/zero")));
        let mut paths: Vec<_> = all.iter().map(|device| &device.path).collect();
        paths.dedup();
        assert_eq!(paths.len(), all.len());
        assert!(all.iter().all(|device| !device.path.starts_with("/dev/pts")));
    }
}
