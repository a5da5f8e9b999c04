//! Mounts of a container as its documents show them.

use berth_plan::{MountSource, Propagation, UserMount};
use berth_wire::docker::MountPoint;

use crate::container::Container;
use crate::volumes::Volumes;

/// In the order of their places.
pub(crate) fn points(container: &Container, volumes: &Volumes) -> Vec<MountPoint> {
    let mut points: Vec<MountPoint> = container
        .spec
        .mounts
        .iter()
        .filter_map(|mount| point(mount, volumes))
        .collect();
    points.sort_by(|one, other| one.destination.cmp(&other.destination));
    points
}

fn point(mount: &UserMount, volumes: &Volumes) -> Option<MountPoint> {
    let common = MountPoint {
        destination: mount.target.to_string_lossy().into_owned(),
        rw: !mount.flags.read_only,
        mode: if mount.flags.read_only { "ro" } else { "" }.to_owned(),
        ..MountPoint::default()
    };
    Some(match &mount.source {
        MountSource::Host {
            path, propagation, ..
        } => MountPoint {
            kind: "bind".to_owned(),
            source: path.to_string_lossy().into_owned(),
            propagation: match propagation {
                Propagation::Private => "rprivate",
                Propagation::Slave => "rslave",
                Propagation::Shared => "rshared",
            }
            .to_owned(),
            ..common
        },
        MountSource::Volume(volume) => MountPoint {
            kind: "volume".to_owned(),
            name: volume.name.clone(),
            source: volumes.data(&volume.name).to_string_lossy().into_owned(),
            driver: "local".to_owned(),
            // What dockerd shows of a named volume without options.
            mode: if volume.anonymous || mount.flags.read_only {
                common.mode.clone()
            } else {
                "z".to_owned()
            },
            ..common
        },
        // Docker shows those of `--mount` only, and of them nothing but the place.
        MountSource::Tmpfs { .. } => return None,
    })
}
