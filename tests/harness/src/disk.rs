//! A small disk of a test's own: ext4 on a file. Its power can be cut: what was not synced is gone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::run;

/// Longest a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mounted disk. Dropping it unmounts and removes it.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    place: PathBuf,
    /// Power cuts so far: each life of the disk has a file of its own.
    cuts: u32,
}

fn ok(program: &str, arguments: &[&str]) {
    let finished = run(Command::new(program).args(arguments), PATIENCE);
    assert_eq!(finished.code, 0, "{program} {arguments:?}: {}", finished.stderr);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Disk {
    /// Makes a disk of so many MiB and mounts it at `place`, which is made.
    ///
    /// # Panics
    /// When that fails; it takes root.
    #[must_use]
    pub fn new(image: PathBuf, place: PathBuf, mebibytes: u64) -> Self {
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(mebibytes << 20).unwrap();
        ok("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)]);
        std::fs::create_dir_all(&place).unwrap();
        let disk = Self {
            image,
            place,
            cuts: 0,
        };
        disk.mount();
        std::fs::remove_dir(disk.place.join("lost+found")).unwrap();
        // The empty disk itself must not be lost by the first cut.
        ok("sync", &["-f", text(&disk.place)]);
        disk
    }

    fn file(&self) -> PathBuf {
        self.image.with_extension(self.cuts.to_string())
    }

    fn mount(&self) {
        let image = if self.cuts == 0 {
            self.image.clone()
        } else {
            self.file()
        };
        ok("mount", &["-o", "loop", text(&image), text(&self.place)]);
    }

    /// Keeps what the disk holds at this moment, which is all that was synced and maybe more, for [`Self::power_on`].
    /// Whoever uses the disk must be stopped, and be killed before the power comes back.
    ///
    /// # Panics
    /// When the disk cannot be copied.
    pub fn power_off(&mut self) {
        let from = if self.cuts == 0 {
            self.image.clone()
        } else {
            self.file()
        };
        self.cuts += 1;
        // What the file system holds back in memory is not in the file.
        ok("cp", &["--sparse=always", text(&from), text(&self.file())]);
    }

    /// Mounts what was kept; the file system's own journal is replayed.
    ///
    /// # Panics
    /// When the disk is still in use.
    pub fn power_on(&mut self) {
        ok("umount", &[text(&self.place)]);
        let before = self.cuts - 1;
        let old = if before == 0 {
            self.image.clone()
        } else {
            self.image.with_extension(before.to_string())
        };
        std::fs::remove_file(old).unwrap();
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process that a failed test left may still hold it; it goes when that has ended.
        run(Command::new("umount").args(["-l", text(&self.place)]), PATIENCE);
    }
}
