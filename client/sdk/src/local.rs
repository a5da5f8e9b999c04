//! Files at this end as tar archives. A thread packs and unpacks: both may block.

use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream as Pipe;
use std::path::{Path, PathBuf};

use tar::{Archive, Builder};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::streams::ArchiveStream;

/// An archive that is being packed.
#[derive(Debug)]
pub struct Packing {
    reader: UnixStream,
    packed: JoinHandle<io::Result<()>>,
}

impl Packing {
    /// Packs the file or directory at `path` under `name`; `.` stands for a directory's contents. Links stay links.
    ///
    /// # Errors
    /// What the system says; what happens later is told at the end.
    pub fn begin(path: PathBuf, name: String) -> io::Result<Self> {
        let (ours, theirs) = Pipe::pair()?;
        ours.set_nonblocking(true)?;
        let reader = UnixStream::from_std(ours)?;
        let packed = spawn_blocking(move || pack(&path, &name, theirs));
        Ok(Self { reader, packed })
    }

    /// The archive's bytes, and what to ask at the end for whether they were all.
    #[must_use]
    pub fn parts(self) -> (UnixStream, JoinHandle<io::Result<()>>) {
        (self.reader, self.packed)
    }
}

fn pack(path: &Path, name: &str, out: impl Write) -> io::Result<()> {
    let mut builder = Builder::new(out);
    builder.follow_symlinks(false);
    if fs::symlink_metadata(path)?.is_dir() {
        builder.append_dir_all(name, path)?;
    } else {
        builder.append_path_with_name(path, name)?;
    }
    builder.into_inner()?.flush()
}

/// How an archive becomes files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpack {
    /// The directory that the archive's names stand in.
    pub into: PathBuf,
    /// The name in the archive, and the one that it gets here instead.
    pub rename: Option<(String, String)>,
    /// Whether owners are set, too.
    pub owners: bool,
}

impl Unpack {
    /// Unpacks an archive. No name and no link in it leads out of the directory.
    ///
    /// # Errors
    /// An archive that breaks off, or what the system says.
    pub async fn run(self, mut archive: ArchiveStream) -> io::Result<()> {
        let (ours, theirs) = Pipe::pair()?;
        ours.set_nonblocking(true)?;
        let mut writer = UnixStream::from_std(ours)?;
        let unpacked = spawn_blocking(move || self.unpack(theirs));
        let sent = async {
            while let Some(bytes) = archive.next().await? {
                writer.write_all(&bytes).await?;
            }
            Ok::<(), io::Error>(())
        };
        let sent = sent.await;
        drop(writer);
        // Where unpacking stopped, writing to it failed, too; its reason is the better one.
        unpacked.await.map_err(io::Error::other)??;
        sent
    }

    fn unpack(&self, from: impl io::Read) -> io::Result<()> {
        let mut archive = Archive::new(from);
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(self.owners);
        let Some((name, wanted)) = &self.rename else {
            return archive.unpack(&self.into);
        };
        // Unpacked beside its place, then moved there at once.
        let beside = self.into.join(format!(".{wanted}.{}", std::process::id()));
        fs::create_dir(&beside)?;
        let target = self.into.join(wanted);
        let moved = archive
            .unpack(&beside)
            .and_then(|()| fs::rename(beside.join(name), target));
        let cleared = fs::remove_dir_all(&beside);
        moved.and(cleared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again_and_stays_inside() {
        let folder = std::env::temp_dir().join(format!("berth-sdk-local-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("sub")).expect("made");
        fs::create_dir_all(&to).expect("made");
        fs::write(from.join("sub/file"), "text").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).expect("linked");
        let unpack = |bytes: &[u8], rename: Option<(&str, &str)>| {
            let rename = rename.map(|(name, wanted)| (name.to_owned(), wanted.to_owned()));
            let unpack = Unpack {
                into: to.clone(),
                rename,
                owners: false,
            };
            unpack.unpack(bytes)
        };
        let mut bytes = Vec::new();
        pack(&from, "tree", &mut bytes).expect("packed");
        unpack(&bytes, None).expect("unpacked");
        unpack(&bytes, Some(("tree", "other"))).expect("unpacked");
        for name in ["tree", "other"] {
            let text = fs::read_to_string(to.join(name).join("sub/file")).expect("there");
            assert_eq!(text, "text");
            assert!(to.join(name).join("link").is_symlink());
        }
        let mut bytes = Vec::new();
        pack(&from, ".", &mut bytes).expect("packed");
        unpack(&bytes, None).expect("unpacked");
        assert!(to.join("sub/file").exists());
        let mut builder = Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.as_old_mut().name[..7].copy_from_slice(b"../evil");
        header.set_cksum();
        builder.append(&header, &b"x"[..]).expect("packed");
        drop(unpack(&builder.into_inner().expect("bytes"), None));
        assert!(!folder.join("evil").exists());
        unpack(b"no archive at all", None).expect_err("refused");
        let names: Vec<_> = fs::read_dir(&to)
            .expect("listed")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(names.len(), 4, "{names:?}");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
