//! The image store: configurations, layers and names on disk, and the layers of containers.
//!
//! `configs/HEX` holds an image's configuration under its digest, `layers/HEX/diff` a layer's files and `layers/HEX/size`
//! their bytes, `names.json` the names, `init-1` the layer on top of all. Whatever becomes visible is complete and on
//! disk: it is made below `tmp` and renamed.

mod config;
mod files;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_wire::docker::ImageConfig;

use crate::error::ImageError;
use crate::reference::{Reference, is_hexadecimal};
use crate::unpack::{Limits, Unpacked, unpack};
use crate::{builtin, changes, digest, erase, init_layer};
pub(crate) use config::Document;
use files::{make_directory, write_file};

/// What this version reads and writes; anything else in its place is refused.
const FORMAT: &str = "berth images 1\n";

/// Its name changes when its content does.
const INIT_LAYER: &str = "init-1";

/// Only the daemon looks in here: set-user-id files of images must not be reachable for users of the host.
const PRIVATE: u32 = 0o700;

/// The root of a container, seen by all users inside.
const ROOT_MODE: u32 = 0o755;

/// Digits of an id that people see.
const SHORT_ID: usize = 12;

/// An image.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// `sha256:` and the digest of the configuration document.
    pub id: String,
    /// What containers take over.
    pub config: ImageConfig,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// Bytes of the files of all layers.
    pub size: u64,
    /// Its names in the short form with tag, in order.
    pub names: Vec<String>,
    /// The digests of its layers, lowest first.
    pub layers: Vec<String>,
    /// What was said about it when it was made.
    pub comment: String,
    /// Who made it.
    pub author: String,
    /// The processor it is for, in the spelling of OCI.
    pub architecture: String,
}

/// What [`ImageStore::remove`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// This name is gone.
    Untagged(String),
    /// The image with this id is gone.
    Deleted(String),
}

/// The directories that make a container's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLayers {
    /// Read-only layers, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Where the container's changes go.
    pub upper: PathBuf,
    /// Overlay's own, on the same file system as `upper`.
    pub work: PathBuf,
}

/// The images of an engine. All calls may block on the disk.
#[derive(Debug)]
pub struct ImageStore {
    root: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    /// Names below `tmp`.
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// By id.
    images: BTreeMap<String, Document>,
    /// Bytes by digest of the layer.
    layers: BTreeMap<String, u64>,
    /// Full names, and the ids they mean.
    names: BTreeMap<Reference, String>,
}

impl ImageStore {
    /// Opens the store, made if need be. What an end at the wrong moment left half done is removed.
    ///
    /// # Errors
    /// When the directory cannot be used, has an unknown format or is damaged.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        Self::with_limits(root, Limits::default())
    }

    /// Like [`ImageStore::open`] with other limits for archives.
    ///
    /// # Errors
    /// As [`ImageStore::open`].
    pub fn with_limits(root: &Path, limits: Limits) -> Result<Self, ImageError> {
        let failed = || ImageError::io(format!("image directory {root:?}"));
        make_directory(root, PRIVATE).map_err(failed())?;
        files::check_format(root, FORMAT)?;
        erase::erase(&root.join("tmp")).map_err(failed())?;
        for name in ["tmp", "configs", "layers"] {
            make_directory(&root.join(name), PRIVATE).map_err(failed())?;
        }
        let store = Self {
            root: root.to_owned(),
            limits,
            state: Mutex::default(),
            next: AtomicU64::new(0),
        };
        if !root.join(INIT_LAYER).exists() {
            let made = store.temporary();
            init_layer::make(&made)
                .and_then(|()| files::publish(&made, &root.join(INIT_LAYER)))
                .map_err(failed())?;
        }
        *store.state() = store.load()?;
        store.drop_unused_layers(&mut store.state()).map_err(failed())?;
        Ok(store)
    }

    fn load(&self) -> Result<State, ImageError> {
        let mut state = State::default();
        for (digest, path) in files::digests(&self.root.join("layers"))? {
            match files::read_size(&path) {
                Some(size) => {
                    state.layers.insert(digest, size);
                }
                None => return Err(ImageError::Damaged { path }),
            }
        }
        for (id, path) in files::digests(&self.root.join("configs"))? {
            let bytes = fs::read(&path).map_err(ImageError::io(format!("reading {path:?}")))?;
            let document = serde_json::from_slice::<Document>(&bytes).ok();
            let document = document.filter(|_| digest::of(&bytes) == id);
            let Some(document) = document else {
                return Err(ImageError::Damaged { path });
            };
            if let Some(layer) = document
                .layers()
                .iter()
                .find(|layer| !state.layers.contains_key(*layer))
            {
                tracing::warn!(image = id, layer, "an image without its layer is left out");
                continue;
            }
            state.images.insert(id, document);
        }
        state.names = files::read_names(&self.root.join("names.json"))?;
        let State { names, images, .. } = &mut state;
        names.retain(|name, id| {
            let known = images.contains_key(id);
            if !known {
                tracing::warn!(%name, id, "a name without its image is left out");
            }
            known
        });
        Ok(state)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between two changes of memory leaves at worst a layer that the next start removes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(number.to_string())
    }

    /// Makes an image with one layer from a tar archive, plain or gzipped.
    ///
    /// # Errors
    /// When the name or a change cannot be understood, the archive is refused or the disk is full. Nothing is kept then.
    pub fn import(
        &self,
        reader: impl Read,
        reference: Option<&str>,
        changes: &[String],
        message: &str,
    ) -> Result<Image, ImageError> {
        let reference = reference.map(Reference::parse).transpose()?;
        let mut config = ImageConfig::default();
        changes::apply(&mut config, changes)?;
        let place = self.temporary();
        let result = self.unpack_layer(reader, &place).and_then(|unpacked| {
            self.add(
                &place,
                &unpacked,
                reference,
                Document::new(config, message, &unpacked.diff_id),
            )
        });
        if let Err(error) = erase::erase(&place) {
            tracing::warn!(?place, %error, "an unfinished layer could not be removed");
        }
        result
    }

    /// The configuration document of the image with this id.
    pub(crate) fn document(&self, id: &str) -> Result<Document, ImageError> {
        let state = self.state();
        let document = state.images.get(id).cloned();
        document.ok_or_else(|| ImageError::NotFound(id.to_owned()))
    }

    pub(crate) fn unpack_layer(&self, reader: impl Read, place: &Path) -> Result<Unpacked, ImageError> {
        let failed = || ImageError::io(format!("making layer {place:?}"));
        let root = place.join("diff");
        make_directory(place, PRIVATE).map_err(failed())?;
        make_directory(&root, ROOT_MODE).map_err(failed())?;
        let root = File::open(&root).map_err(failed())?;
        let unpacked = unpack(reader, root.into(), self.limits)?;
        Ok(unpacked)
    }

    /// Makes a finished layer and its image visible.
    pub(crate) fn add(
        &self,
        place: &Path,
        layer: &Unpacked,
        name: Option<Reference>,
        document: Document,
    ) -> Result<Image, ImageError> {
        let failed = || ImageError::io("writing the image");
        fs::write(place.join("size"), layer.size.to_string()).map_err(failed())?;
        files::sync_file_system(place).map_err(failed())?;
        let bytes = document.encode();
        let id = digest::of(&bytes);
        let mut state = self.state();
        if !state.layers.contains_key(&layer.diff_id) {
            files::publish(place, &self.layer_dir(&layer.diff_id)).map_err(failed())?;
            state.layers.insert(layer.diff_id.clone(), layer.size);
        }
        if !state.images.contains_key(&id) {
            let written = write_file(&self.temporary(), &self.config_path(&id), &bytes);
            if let Err(error) = written {
                self.drop_unused_layers(&mut state).map_err(failed())?;
                return Err(failed()(error));
            }
            state.images.insert(id.clone(), document);
        }
        if let Some(name) = name {
            self.set_names(&mut state, |names| {
                names.insert(name, id.clone());
            })?;
        }
        state.image(&id)
    }

    fn layer_dir(&self, digest: &str) -> PathBuf {
        self.root.join("layers").join(files::hex(digest))
    }

    fn config_path(&self, id: &str) -> PathBuf {
        self.root.join("configs").join(files::hex(id))
    }

    /// Changes the names on disk, then in memory.
    fn set_names(
        &self,
        state: &mut State,
        change: impl FnOnce(&mut BTreeMap<Reference, String>),
    ) -> Result<(), ImageError> {
        let mut names = state.names.clone();
        change(&mut names);
        let bytes = files::encode_names(&names);
        write_file(&self.temporary(), &self.root.join("names.json"), &bytes)
            .map_err(ImageError::io("writing the names of images"))?;
        state.names = names;
        Ok(())
    }

    /// Makes sure that the built-in image is there under this name: it is made from `executable` and the shared libraries
    /// of the running process, and made again when the executable has changed.
    ///
    /// # Errors
    /// When the executable or a library cannot be read, or the disk refuses.
    pub fn builtin(&self, executable: &Path, reference: &str) -> Result<Image, ImageError> {
        builtin::ensure(self, executable, &Reference::parse(reference)?)
    }

    /// The image with this name, if any.
    pub(crate) fn named(&self, name: &Reference) -> Option<Image> {
        let state = self.state();
        let id = state.names.get(name)?;
        state.image(id).ok()
    }

    /// All images, in no order that means something.
    ///
    /// # Errors
    /// Never at present; callers must be ready for a store that reads the disk.
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        let state = self.state();
        state.images.keys().map(|id| state.image(id)).collect()
    }

    /// Bytes of all layers, each counted once.
    #[must_use]
    pub fn layers_size(&self) -> u64 {
        self.state().layers.values().sum()
    }

    /// The image that a name, an id or the beginning of an id means. A name goes before the beginning of an id.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Ambiguous`], or [`ImageError::Reference`].
    pub fn resolve(&self, reference: &str) -> Result<Image, ImageError> {
        let state = self.state();
        let (id, _) = state.find(reference)?;
        state.image(&id)
    }

    /// What containers take over from the image with this id.
    ///
    /// # Errors
    /// As [`ImageStore::resolve`].
    pub fn config(&self, image: &str) -> Result<ImageConfig, ImageError> {
        self.resolve(image).map(|image| image.config)
    }

    /// Gives an image another name. If another image has the name, it loses it.
    ///
    /// # Errors
    /// As [`ImageStore::resolve`], or when the name cannot be one.
    pub fn tag(&self, source: &str, target: &str) -> Result<(), ImageError> {
        let target = Reference::parse(target)?;
        let mut state = self.state();
        let (id, _) = state.find(source)?;
        self.set_names(&mut state, |names| {
            names.insert(target, id);
        })
    }

    /// Takes a name from its image, or removes an image by its id. The last name goes with the image, unless `in_use`
    /// says of its id that a container needs it: with `force` only the names go then.
    ///
    /// # Errors
    /// As [`ImageStore::resolve`], or a conflict when the image is in use or has several names.
    pub fn remove(
        &self,
        reference: &str,
        force: bool,
        in_use: impl Fn(&str) -> bool,
    ) -> Result<Vec<Removed>, ImageError> {
        let mut state = self.state();
        let (id, name) = state.find(reference)?;
        let short = files::hex(&id)[..SHORT_ID].to_owned();
        let all: Vec<Reference> = state.names_of(&id).cloned().collect();
        let used = in_use(&id);
        let going = match name {
            Some(name) if all.len() > 1 => vec![name],
            Some(name) if used && !force => {
                return Err(ImageError::NameInUse {
                    reference: name.familiar(),
                    id: short,
                });
            }
            Some(name) => vec![name],
            None => {
                let mut repositories: Vec<String> = all.iter().map(Reference::name).collect();
                repositories.dedup();
                if repositories.len() > 1 && !force {
                    return Err(ImageError::SeveralNames { id: short });
                }
                if used && (!force || all.is_empty()) {
                    return Err(ImageError::InUse { id: short });
                }
                all.clone()
            }
        };
        let mut removed: Vec<Removed> = going
            .iter()
            .map(|name| Removed::Untagged(name.familiar()))
            .collect();
        let is_last = going.len() == all.len();
        self.set_names(&mut state, |names| names.retain(|name, _| !going.contains(name)))?;
        if is_last && !used {
            self.delete(&mut state, &id)?;
            removed.push(Removed::Deleted(id));
        }
        Ok(removed)
    }

    fn delete(&self, state: &mut State, id: &str) -> Result<(), ImageError> {
        let failed = || ImageError::io(format!("removing image {id}"));
        match fs::remove_file(self.config_path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
            Ok(()) | Err(_) => {}
        }
        state.images.remove(id);
        self.drop_unused_layers(state).map_err(failed())
    }

    /// A layer goes out of sight first, so that an end in the middle leaves no half of it.
    fn drop_unused_layers(&self, state: &mut State) -> io::Result<()> {
        let used = |layer: &String| state.images.values().any(|image| image.layers().contains(layer));
        let unused: Vec<String> = state
            .layers
            .keys()
            .filter(|layer| !used(layer))
            .cloned()
            .collect();
        for layer in unused {
            let out_of_sight = self.temporary();
            fs::rename(self.layer_dir(&layer), &out_of_sight)?;
            state.layers.remove(&layer);
            erase::erase(&out_of_sight)?;
        }
        Ok(())
    }

    /// The layers of a container's root; `container_dir` gets its `upper` and `work`, which are kept when they are there.
    ///
    /// # Errors
    /// When the image is not there or the disk refuses.
    pub fn container_layers(&self, image: &str, container_dir: &Path) -> Result<ContainerLayers, ImageError> {
        let image = self.resolve(image)?;
        let failed = || ImageError::io(format!("making the layers of container {container_dir:?}"));
        make_directory(container_dir, PRIVATE).map_err(failed())?;
        let (upper, work) = (container_dir.join("upper"), container_dir.join("work"));
        make_directory(&upper, ROOT_MODE).map_err(failed())?;
        make_directory(&work, PRIVATE).map_err(failed())?;
        let layers = image
            .layers
            .iter()
            .rev()
            .map(|layer| self.layer_dir(layer).join("diff"));
        Ok(ContainerLayers {
            lower: std::iter::once(self.root.join(INIT_LAYER))
                .chain(layers)
                .collect(),
            upper,
            work,
        })
    }

    /// Removes a container's directory with all that is in it, however it looks inside; one that is gone is no error.
    ///
    /// # Errors
    /// When the disk refuses, as it does while something is mounted there.
    pub fn remove_container_dirs(&self, container_dir: &Path) -> Result<(), ImageError> {
        erase::erase(container_dir).map_err(ImageError::io(format!("removing {container_dir:?}")))
    }
}

impl State {
    fn names_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Reference> {
        self.names
            .iter()
            .filter(move |(_, other)| *other == id)
            .map(|(name, _)| name)
    }

    fn image(&self, id: &str) -> Result<Image, ImageError> {
        let document = self
            .images
            .get(id)
            .ok_or_else(|| ImageError::NotFound(id.to_owned()))?;
        let size = document
            .layers()
            .iter()
            .filter_map(|layer| self.layers.get(layer))
            .sum();
        let names = self.names_of(id).map(Reference::familiar).collect();
        Ok(document.image(id, size, names))
    }

    /// The id that a reference means, and the name if it is one.
    fn find(&self, text: &str) -> Result<(String, Option<Reference>), ImageError> {
        if self.images.contains_key(text) {
            return Ok((text.to_owned(), None));
        }
        let parsed = Reference::parse(text);
        if let Ok(name) = &parsed
            && let Some(id) = self.names.get(name)
        {
            return Ok((id.clone(), Some(name.clone())));
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(is_hexadecimal) {
            let mut found = self.images.keys().filter(|id| files::hex(id).starts_with(digits));
            match (found.next(), found.next()) {
                (Some(id), None) => return Ok((id.clone(), None)),
                (Some(_), Some(_)) => return Err(ImageError::Ambiguous(digits.to_owned())),
                (None, _) => {}
            }
        }
        if text.starts_with("sha256:") {
            return Err(ImageError::NotFound(text.to_owned()));
        }
        match parsed {
            Ok(name) => Err(ImageError::NotFound(name.familiar())),
            Err(crate::reference::ReferenceError::Hexadecimal(digits)) => Err(ImageError::NotFound(digits)),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
