//! What is done on the host before anything of a container runs.

mod cgroup;
mod device;
mod freezer;
mod usage;

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use berth_plan::{DeviceControl, HostStep};
use rustix::fs::OFlags;

use crate::error::ExecError;
use crate::names::{self, NameSockets};
use crate::netlink::{self, Protocol};
use crate::nft::{self, Published};
use crate::ports::{self, Reservation};

pub(crate) use cgroup::{empty, processes, remove_shared};
pub(crate) use freezer::Freezer;
pub(crate) use usage::read as usage;
pub use usage::{CpuUsage, IoCount, MemoryUsage, Usage};

/// What host steps hold that is no file of the kernel's.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) network: Option<OwnedFd>,
    pub(crate) ports: Vec<Reservation>,
    pub(crate) names: Option<NameSockets>,
}

/// Carries the steps out.
///
/// # Errors
/// The place of the step that failed; nothing is undone.
pub(crate) fn carry_out(steps: &[HostStep], table: &str) -> Result<Made, (usize, ExecError)> {
    let mut made = Made::default();
    let mut place = 0;
    while let Some(step) = steps.get(place) {
        let ports: Vec<Published> = steps[place..].iter().map_while(published).collect();
        if ports.is_empty() {
            carry_out_one(step, &mut made).map_err(|error| (place, error))?;
            place += 1;
        } else {
            // All ports in one transaction.
            nft::publish(table, &ports).map_err(|error| (place, error.into()))?;
            place += ports.len();
        }
    }
    Ok(made)
}

fn carry_out_one(step: &HostStep, made: &mut Made) -> Result<(), ExecError> {
    match step {
        HostStep::WriteFile { path, mode, content } => write_file(path, *mode, content),
        HostStep::MakeCgroup { path, shared } => cgroup::make(path, *shared),
        HostStep::InheritCpuset { path } => cgroup::inherit_cpuset(path),
        HostStep::WriteCgroup { path, value } => cgroup::write(path, value),
        HostStep::DeviceRules { path, by, rules } => match by {
            DeviceControl::V1Files => device::write_rules(path, rules),
            DeviceControl::V2Program => device::attach_program(path, rules),
        },
        HostStep::ReservePort { .. } => {
            made.ports.extend(reserve(step)?);
            Ok(())
        }
        HostStep::Network { endpoint } => {
            made.network = Some(netlink::connect(endpoint)?);
            Ok(())
        }
        HostStep::LonelyNetwork => {
            made.network = Some(netlink::lonely()?);
            Ok(())
        }
        HostStep::Join { endpoint } => {
            netlink::join(namespace(made)?, endpoint)?;
            Ok(())
        }
        HostStep::Names => {
            made.names = Some(names::open_names(namespace(made)?)?);
            Ok(())
        }
        // Taken together by the caller.
        HostStep::Publish { .. } => Ok(()),
    }
}

fn namespace(made: &Made) -> Result<BorrowedFd<'_>, ExecError> {
    let missing = || ExecError::Io {
        doing: "joining a network before one was made".to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    made.network.as_ref().map(AsFd::as_fd).ok_or_else(missing)
}

/// Reserves the port of a step that says so.
pub(crate) fn reserve(step: &HostStep) -> Result<Option<Reservation>, ExecError> {
    let HostStep::ReservePort {
        protocol,
        address,
        port,
    } = step
    else {
        return Ok(None);
    };
    Ok(Some(ports::reserve(protocol_of(*protocol), *address, *port)?))
}

/// What a step publishes, if it does.
pub(crate) fn published(step: &HostStep) -> Option<Published> {
    let HostStep::Publish {
        protocol,
        host_address,
        host_port,
        address,
        port,
    } = step
    else {
        return None;
    };
    Some(Published {
        protocol: protocol_of(*protocol),
        host_address: *host_address,
        host_port: *host_port,
        address: *address,
        port: *port,
    })
}

fn protocol_of(protocol: berth_plan::Protocol) -> Protocol {
    match protocol {
        berth_plan::Protocol::Tcp => Protocol::Tcp,
        berth_plan::Protocol::Udp => Protocol::Udp,
    }
}

/// Writes a file of a container with these permission bits. The inode is kept: it may be mounted somewhere.
///
/// # Errors
/// When it cannot be written.
pub fn write_file(path: &Path, mode: u32, content: &str) -> Result<(), ExecError> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        file.write_all(content.as_bytes())?;
        // Whatever the mask is, and whatever it was before.
        File::set_permissions(&file, Permissions::from_mode(mode))
    };
    write().map_err(ExecError::path("writing", path))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_keeps_its_inode() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("hosts");
        write_file(&path, 0o644, "a long text").unwrap();
        let before = fs::metadata(&path).unwrap();
        write_file(&path, 0o600, "short").unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!(before.ino(), after.ino());
        assert_eq!((before.mode() & 0o777, after.mode() & 0o777), (0o644, 0o600));
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
        std::os::unix::fs::symlink(&path, place.path().join("link")).unwrap();
        write_file(&place.path().join("link"), 0o600, "").unwrap_err();
    }

    #[test]
    fn the_failing_step_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &Path| HostStep::WriteFile {
            path: path.to_owned(),
            mode: 0o600,
            content: String::new(),
        };
        let steps = [
            write(&folder.path().join("file")),
            write(Path::new("/nowhere/file")),
        ];
        let (place, error) = carry_out(&steps, "none").unwrap_err();
        assert_eq!((place, error.to_string().as_str()), (1, "writing /nowhere/file"));
    }
}
