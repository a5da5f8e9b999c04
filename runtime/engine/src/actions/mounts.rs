//! Mounts of a container before its start: missing directories, volumes to fill, and whether mounts can travel.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use berth_exec::Root;
use berth_plan::{MountSource, UserMount};

use super::Actions;
use super::launch::host_failure;
use crate::container::Container;
use crate::error::{LaunchFailure, LaunchFailureKind};
use crate::volumes::Taken;

/// The program of `--init`, and what it needs. It is put in its place when the first container asks for it.
#[derive(Debug)]
pub(crate) struct InitProgram {
    executable: PathBuf,
    directory: PathBuf,
    placed: Mutex<bool>,
}

impl InitProgram {
    pub(crate) fn new(executable: PathBuf, directory: PathBuf) -> Self {
        Self {
            executable,
            directory,
            placed: Mutex::new(false),
        }
    }

    /// Where it is, once it has been placed.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn place(&self) -> io::Result<()> {
        // A panic in the middle leaves it to be placed again.
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*placed {
            berth_images::place_program(&self.executable, &self.directory)?;
            *placed = true;
        }
        Ok(())
    }
}

impl Actions {
    pub(super) fn prepare_mounts(&self, container: &Container, root: &Root) -> Result<(), LaunchFailure> {
        if container.spec.init {
            self.shared.init.place().map_err(|error| LaunchFailure {
                message: format!("placing the init program: {error}"),
                kind: LaunchFailureKind::Host,
            })?;
        }
        for mount in &container.spec.mounts {
            match &mount.source {
                MountSource::Host {
                    path,
                    make,
                    propagation,
                    ..
                } => {
                    if *make {
                        make_missing(path).map_err(|error| failed(mount, &error))?;
                    }
                    berth_exec::check_propagation(path, *propagation).map_err(host_failure)?;
                }
                MountSource::Volume(volume) => {
                    // Somebody may have removed what a stopped container does not hold.
                    let volumes = &self.shared.volumes;
                    volumes
                        .ensure(&volume.name, &volume.labels, volume.anonymous)
                        .map_err(|error| LaunchFailure {
                            message: error.to_string(),
                            kind: LaunchFailureKind::Host,
                        })?;
                    if volume.copy && container.run.started_at == 0 {
                        self.fill(&volume.name, root, &mount.target)
                            .map_err(|error| failed(mount, &error))?;
                    }
                }
                MountSource::Tmpfs { .. } => {}
            }
        }
        Ok(())
    }

    /// Removes the files of a volume that has been taken away.
    pub(crate) fn erase_volume(&self, taken: Taken) {
        self.shared.runtime.spawn_blocking(move || {
            if let Err(error) = taken.erase() {
                tracing::error!(%error, "the files of a removed volume stay until the next start of the engine");
            }
        });
    }

    /// An empty volume gets what the image has in its place, with owner and mode of the directory.
    fn fill(&self, name: &str, root: &Root, target: &Path) -> io::Result<()> {
        let data = self.shared.volumes.data(name);
        if fs::read_dir(&data)?.next().is_some() {
            return Ok(());
        }
        let Some(source) = root.directory(target)? else {
            return Ok(());
        };
        let copied = berth_images::copy_tree(source, fs::File::open(&data)?.into());
        copied.map_err(|error| io::Error::other(error.to_string()))
    }
}

fn make_missing(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(path),
        result => result.map(drop),
    }
}

fn failed(mount: &UserMount, error: &io::Error) -> LaunchFailure {
    LaunchFailure {
        message: format!("preparing the mount at {}: {error}", mount.target.display()),
        kind: LaunchFailureKind::Host,
    }
}
