//! What a container has changed: a look at its upper layer, and an image made of it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use berth_wire::docker::ImageConfig;

use crate::changes;
use crate::error::ImageError;
use crate::pack::{Manner, is_opaque_at};
use crate::place_files::piped;
use crate::reference::Reference;
use crate::store::{Document, Image, ImageStore};

/// Directories below each other that are looked into; the same as for unpacking.
const DEPTH_LIMIT: usize = 256;

/// A place for what the engine mounts, never the container's own.
const NOT_OWN: &[u8] = b"sbin/.berth-init";

/// One change of a container's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Absolute.
    pub path: String,
    /// What became of it.
    pub kind: DifferenceKind,
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The image has it, but not like this.
    Changed,
    /// The image does not have it.
    Added,
    /// Only the image has it.
    Deleted,
}

/// An image to be made of a container.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The id of the container's image.
    pub image: &'a str,
    /// The container's directory.
    pub container_dir: &'a Path,
    /// What the image is to be called.
    pub reference: Option<&'a str>,
    /// What its containers take over, before the changes.
    pub config: ImageConfig,
    /// Instructions of a Dockerfile that change the configuration.
    pub changes: &'a [String],
    /// What is said about it.
    pub comment: &'a str,
    /// Who made it.
    pub author: &'a str,
}

impl ImageStore {
    /// What a container has changed of its image, by path.
    ///
    /// # Errors
    /// When the image is not there or the disk refuses.
    pub fn differences(&self, image: &str, container_dir: &Path) -> Result<Vec<Difference>, ImageError> {
        let layers = self.container_layers(image, container_dir)?;
        let mut found = Vec::new();
        look(&layers.upper, &layers.lower, Path::new(""), 0, &mut found).map_err(ImageError::io(format!(
            "reading the changes in {container_dir:?}"
        )))?;
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// Makes an image of a container: its own image with one more layer.
    ///
    /// # Errors
    /// When the name or a change cannot be understood, or the disk refuses. Nothing is kept then.
    pub fn commit(&self, commit: Commit<'_>) -> Result<Image, ImageError> {
        let Commit {
            image,
            container_dir,
            reference,
            mut config,
            changes,
            comment,
            author,
        } = commit;
        let reference = reference.map(Reference::parse).transpose()?;
        changes::apply(&mut config, changes)?;
        let upper = self.container_layers(image, container_dir)?.upper;
        let failed = || ImageError::io(format!("reading {upper:?}"));
        let directory = fs::File::open(&upper).map_err(failed())?;
        let place = self.temporary();
        let result = piped(
            (directory.into(), Manner::Layer, &[NOT_OWN]),
            |reader| self.unpack_layer(reader, &place),
            |error| failed()(error),
        );
        let result = result.and_then(|layer| {
            let parent = self.document(image)?;
            let document = Document::above(&parent, config, (comment, author), &layer.diff_id);
            self.add(&place, &layer, reference, document)
        });
        if let Err(error) = crate::erase::erase(&place) {
            tracing::warn!(?place, %error, "an unfinished layer could not be removed");
        }
        result
    }
}

fn look(
    upper: &Path,
    lower: &[PathBuf],
    below: &Path,
    depth: usize,
    found: &mut Vec<Difference>,
) -> io::Result<()> {
    if depth > DEPTH_LIMIT {
        return Ok(());
    }
    for entry in fs::read_dir(upper.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if path.as_os_str().as_encoded_bytes() == NOT_OWN {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else {
            continue;
        };
        let kind = if is_whiteout(&metadata) {
            DifferenceKind::Deleted
        } else if in_layers(lower, &path) {
            DifferenceKind::Changed
        } else {
            DifferenceKind::Added
        };
        found.push(Difference {
            path: format!("/{}", path.display()),
            kind,
        });
        if metadata.is_dir() {
            look(upper, lower, &path, depth + 1, found)?;
        }
    }
    Ok(())
}

fn is_whiteout(metadata: &fs::Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// Whether layers, the topmost first, have something under a path.
fn in_layers(layers: &[PathBuf], path: &Path) -> bool {
    layers
        .iter()
        .find_map(|layer| in_layer(layer, path))
        .unwrap_or(false)
}

/// None when layers further down decide.
fn in_layer(layer: &Path, path: &Path) -> Option<bool> {
    let mut here = layer.to_owned();
    let mut hides = false;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        here.push(part);
        let Ok(metadata) = fs::symlink_metadata(&here) else {
            return hides.then_some(false);
        };
        if is_whiteout(&metadata) {
            return Some(false);
        }
        if parts.peek().is_none() {
            return Some(true);
        }
        if !metadata.is_dir() {
            // Not even a link is followed: below it there is nothing of this path.
            return Some(false);
        }
        hides |= is_opaque_at(&here);
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_a_container() {
        let place = tempfile::tempdir().unwrap();
        let directory = |path: &str| fs::create_dir_all(place.path().join(path)).unwrap();
        let file = |path: &str| fs::write(place.path().join(path), "x").unwrap();
        for path in ["upper/a/new", "top", "low/a/b"] {
            directory(path);
        }
        file("low/a/file");
        file("low/a/gone");
        file("upper/a/file");
        file("upper/a/new/one");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            place.path().join("upper/a/gone"),
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            0,
        )
        .unwrap();
        let layers = [place.path().join("top"), place.path().join("low")];
        let mut found = Vec::new();
        look(&place.path().join("upper"), &layers, Path::new(""), 0, &mut found).unwrap();
        found.sort_by(|one, other| one.path.cmp(&other.path));
        let shown: Vec<String> = found
            .iter()
            .map(|one| format!("{:?} {}", one.kind, one.path))
            .collect();
        assert_eq!(
            shown,
            [
                "Changed /a",
                "Changed /a/file",
                "Deleted /a/gone",
                "Added /a/new",
                "Added /a/new/one"
            ]
        );
    }
}
