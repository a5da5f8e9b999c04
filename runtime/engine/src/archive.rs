//! The files of a container from outside: where they are, what they are, and archives of them.
//!
//! A running container is looked at through its own first process, so with all that is mounted in it. The root of one that
//! does not run is mounted for the moment, and a path below one of its mounts is looked for where that mount comes from.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use berth_exec::{FileType, Look, Root};
use berth_images::{Extract, Manner};
use berth_plan::MountSource;
use berth_wire::docker::PathStat;

use crate::actions::Actions;
use crate::clock;
use crate::container::{Container, Status};
use crate::error::Failure;

/// A path of a container.
#[derive(Debug)]
pub(crate) struct Spot {
    root: Root,
    /// Below that root; absolute and clean.
    path: PathBuf,
    /// A link at its end is followed: it was written as a directory.
    follow: bool,
    /// What its last name is in archives.
    shown: String,
    /// As it was asked for.
    asked: String,
    container: String,
}

impl Actions {
    /// Finds the place of a path.
    pub(crate) fn spot(&self, container: &Container, asked: &str) -> Result<Spot, Failure> {
        let (path, follow, shown) = read(asked);
        let (root, path) = match self.below_mount(container, &path) {
            Some((source, rest)) if container.run.status != Status::Running => (Root::at(&source)?, rest),
            _ => (self.root_of(container)?, path),
        };
        Ok(Spot {
            root,
            path,
            follow,
            shown,
            asked: asked.to_owned(),
            container: container.id.clone(),
        })
    }

    /// The source of the mount that a path is below, and the rest of the path.
    fn below_mount(&self, container: &Container, path: &Path) -> Option<(PathBuf, PathBuf)> {
        let holding = container
            .spec
            .mounts
            .iter()
            .filter(|mount| path.starts_with(&mount.target));
        let mount = holding.max_by_key(|mount| mount.target.components().count())?;
        let source = match &mount.source {
            MountSource::Host { path, .. } => path.clone(),
            MountSource::Volume(volume) => self.shared.volumes.data(&volume.name),
            MountSource::Tmpfs { .. } => return None,
        };
        let rest = path.strip_prefix(&mount.target).ok()?;
        source.is_dir().then(|| (source, Path::new("/").join(rest)))
    }

    /// Whether what is at a path can be changed by nobody.
    pub(crate) fn is_read_only(&self, container: &Container, asked: &str) -> Option<Failure> {
        let (path, ..) = read(asked);
        let holding = container
            .spec
            .mounts
            .iter()
            .filter(|mount| path.starts_with(&mount.target));
        match holding.max_by_key(|mount| mount.target.components().count()) {
            Some(mount) if mount.flags.read_only => {
                Some(Failure::ReadOnly("mounted volume is marked read-only"))
            }
            None if container.spec.readonly_rootfs => {
                Some(Failure::ReadOnly("container rootfs is marked read-only"))
            }
            Some(_) | None => None,
        }
    }

    /// The root of a container: its own view while it runs.
    pub(crate) fn root_of(&self, container: &Container) -> Result<Root, Failure> {
        if container.run.status == Status::Running {
            let pid = u32::try_from(container.run.pid).unwrap_or_default();
            return Ok(Root::of_process(pid)?);
        }
        let directory = self.directory(&container.id);
        let layers = self
            .shared
            .images
            .container_layers(&container.image_id, &directory)?;
        Ok(Root::mount(&berth_exec::RootLayers {
            lower: layers.lower,
            upper: layers.upper,
            work: layers.work,
            volatile: container.host_config.auto_remove,
        })?)
    }

    /// Writes everything that a container has, without what is mounted in it.
    pub(crate) fn export(&self, container: &Container, writer: &mut dyn Write) -> Result<(), Failure> {
        let root = self.root_of(container)?;
        let Some(directory) = root.directory(Path::new("/"))? else {
            return Err(Failure::NoSuchContainer(container.id.clone()));
        };
        let own: &[&[u8]] = &[b"sbin/.berth-init"];
        berth_images::pack_directory(directory, b"", Manner::OneFileSystem, own, writer)?;
        Ok(berth_images::end_archive(writer)?)
    }
}

/// The clean path, whether its end is followed, and what it is called.
fn read(asked: &str) -> (PathBuf, bool, String) {
    let mut path = PathBuf::from("/");
    for component in Path::new(asked).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let inside = asked.ends_with("/.") || asked == ".";
    let follow = inside || asked.ends_with('/');
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let shown = name.filter(|_| !inside).unwrap_or_else(|| ".".to_owned());
    (path, follow, shown)
}

impl Spot {
    fn missing(&self) -> Failure {
        Failure::NoSuchThing(format!(
            "Could not find the file {} in container {}",
            self.asked, self.container
        ))
    }

    fn look(&self) -> Result<Look, Failure> {
        let found = self.root.look(&self.path, self.follow)?;
        found.ok_or_else(|| self.missing())
    }

    /// What is there.
    pub(crate) fn stat(&self) -> Result<PathStat, Failure> {
        let look = self.look()?;
        let name = match self.path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => "/".to_owned(),
        };
        let nanos = i64::try_from(look.stat.st_mtime_nsec).unwrap_or_default();
        let time = look
            .stat
            .st_mtime
            .saturating_mul(clock::NANOS_PER_SECOND)
            .saturating_add(nanos);
        Ok(PathStat {
            name,
            size: look.stat.st_size,
            mode: go_mode(&look),
            mtime: clock::render(time),
            link_target: look
                .link
                .map(|link| link.to_string_lossy().into_owned())
                .unwrap_or_default(),
        })
    }

    /// Writes it as an archive.
    pub(crate) fn pack(&self, writer: &mut dyn Write) -> Result<(), Failure> {
        if self.look()?.kind() == FileType::Directory {
            let directory = self.root.directory(&self.path)?.ok_or_else(|| self.missing())?;
            berth_images::pack_directory(directory, self.shown.as_bytes(), Manner::Everything, &[], writer)?;
        } else {
            let (parent, name) = self.root.parent(&self.path)?.ok_or_else(|| self.missing())?;
            berth_images::pack_file(&parent, &name, self.shown.as_bytes(), writer)?;
        }
        Ok(berth_images::end_archive(writer)?)
    }

    /// Puts an archive into it.
    pub(crate) fn extract(&self, archive: impl Read, how: Extract) -> Result<(), Failure> {
        let found = self.root.look(&self.path, true)?.ok_or_else(|| self.missing())?;
        if found.kind() != FileType::Directory {
            return Err(Failure::NotADirectory);
        }
        let directory: OwnedFd = self.root.directory(&self.path)?.ok_or_else(|| self.missing())?;
        berth_images::extract(archive, directory, how).map_err(|error| {
            if let berth_images::ArchiveError::Write { source, .. } = &error
                && is_read_only(source)
            {
                return Failure::ReadOnly("the file system is mounted read-only");
            }
            Failure::Image(error.into())
        })
    }
}

fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

/// Permissions and kind as Go's `os.FileMode` has them.
fn go_mode(look: &Look) -> u32 {
    const SETUID: u32 = 0o4000;
    const SETGID: u32 = 0o2000;
    const STICKY: u32 = 0o1000;
    let mode = look.stat.st_mode;
    let kind = match look.kind() {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        FileType::RegularFile | FileType::Unknown => 0,
    };
    let special = [(SETUID, 23), (SETGID, 22), (STICKY, 20)];
    let special = special.iter().filter(|(bit, _)| mode & bit != 0);
    kind | mode & 0o777 | special.fold(0, |bits, (_, place)| bits | 1 << place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_clients_write_them() {
        for (asked, path, follow, shown) in [
            ("/a/b", "/a/b", false, "b"),
            ("a/b/", "/a/b", true, "b"),
            ("/a/b/.", "/a/b", true, "."),
            ("/a/../../etc", "/etc", false, "etc"),
            ("/", "/", true, "."),
            ("..", "/", false, "."),
            ("", "/", false, "."),
        ] {
            let wanted = (PathBuf::from(path), follow, shown.to_owned());
            assert_eq!(read(asked), wanted, "{asked}");
        }
    }
}
