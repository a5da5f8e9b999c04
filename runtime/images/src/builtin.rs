//! The built-in image: the executable of berth itself with the shared libraries it needs, so that a first container
//! needs no network and no other program.

mod libraries;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use berth_wire::docker::{Empty, ImageConfig, Words};

use crate::digest::Parts;
use crate::error::ImageError;
use crate::reference::Reference;
use crate::store::{Document, Image, ImageStore};
use crate::unpack::Unpacked;
use libraries::Libraries;

/// Puts an executable and all that it needs into one directory: `run`, its loader as `loader`, and the libraries under the
/// names by which they are looked for. What is there is replaced.
///
/// # Errors
/// When the executable or a library cannot be read, or the disk refuses.
pub fn place_program(executable: &Path, directory: &Path) -> io::Result<()> {
    let unfinished = directory.with_extension("new");
    crate::erase(&unfinished)?;
    fs::create_dir_all(&unfinished)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    let libraries = Libraries::find(executable)?;
    fs::copy(executable, unfinished.join("run"))?;
    let loader = libraries::loader(executable)?;
    fs::copy(loader.as_deref().unwrap_or(executable), unfinished.join("loader"))?;
    let flat = |path: &Path| path.file_name().map(|name| unfinished.join(name));
    for (inside, file) in &libraries.files {
        if let Some(place) = flat(inside) {
            fs::copy(file, place)?;
        }
    }
    for (inside, target) in &libraries.links {
        if let (Some(place), Some(name)) = (flat(inside), target.file_name()) {
            match std::os::unix::fs::symlink(name, place) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
    }
    // Containers that run have the old one open.
    crate::erase(directory)?;
    fs::rename(&unfinished, directory)
}

/// Where the executable is inside.
const INSIDE: &str = "/bin/berth";

/// The hidden command that serves the greeting.
const COMMAND: &str = "__hello";

const PORT: &str = "80/tcp";

/// The label that tells from which executable the image was made.
const ORIGIN: &str = "berth.origin";

const ACCOUNTS: [(&str, &str); 2] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/:/bin/berth\nnobody:x:65534:65534:nobody:/:/bin/berth\n",
    ),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
];

/// Copied and hashed at once. The digest depends on it.
const PIECE: usize = 256 * 1024;

const FILE_MODE: u32 = 0o644;
const PROGRAM_MODE: u32 = 0o755;

/// Makes the image unless it is there and was made from the same executable.
pub(crate) fn ensure(store: &ImageStore, executable: &Path, name: &Reference) -> Result<Image, ImageError> {
    let failed = || {
        ImageError::io(format!(
            "making the image {:?} from {executable:?}",
            name.familiar()
        ))
    };
    let origin = origin(executable).map_err(failed())?;
    if let Some(image) = store.named(name)
        && image.config.labels.get(ORIGIN) == Some(&origin)
    {
        return Ok(image);
    }
    let libraries = Libraries::find(executable).map_err(failed())?;
    let place = store.temporary();
    let result = fill(&place, executable, &libraries)
        .map_err(failed())
        .and_then(|layer| {
            let document = Document::new(config(&origin, &libraries), "built in", &layer.diff_id);
            store.add(&place, &layer, Some(name.clone()), document)
        });
    if let Err(error) = crate::erase::erase(&place) {
        tracing::warn!(?place, %error, "an unfinished layer could not be removed");
    }
    result
}

/// Changes whenever the file does, without reading it.
fn origin(executable: &Path) -> io::Result<String> {
    let found = fs::metadata(executable)?;
    let mut parts = Parts::default();
    for number in [
        found.dev().cast_signed(),
        found.ino().cast_signed(),
        found.size().cast_signed(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ] {
        parts.add(&number.to_be_bytes());
    }
    Ok(parts.finish())
}

fn config(origin: &str, libraries: &Libraries) -> ImageConfig {
    let mut env = vec!["PATH=/bin".to_owned()];
    if let Some(path) = libraries.search_path() {
        env.push(format!("LD_LIBRARY_PATH={path}"));
    }
    ImageConfig {
        cmd: Some(Words(vec![INSIDE.to_owned(), COMMAND.to_owned()])),
        env,
        exposed_ports: BTreeMap::from([(PORT.to_owned(), Empty)]),
        labels: BTreeMap::from([(ORIGIN.to_owned(), origin.to_owned())]),
        ..ImageConfig::default()
    }
}

/// Fills a layer; its digest covers names, modes and content.
fn fill(place: &Path, executable: &Path, libraries: &Libraries) -> io::Result<Unpacked> {
    let mut layer = Layer {
        root: place.join("diff"),
        parts: Parts::default(),
        size: 0,
    };
    fs::create_dir_all(&layer.root)?;
    fs::set_permissions(&layer.root, fs::Permissions::from_mode(PROGRAM_MODE))?;
    layer.copy(executable, Path::new(INSIDE), PROGRAM_MODE)?;
    for (path, text) in ACCOUNTS {
        layer.file(&mut text.as_bytes(), Path::new(path), FILE_MODE)?;
    }
    for (inside, source) in &libraries.files {
        layer.copy(source, inside, PROGRAM_MODE)?;
    }
    for (inside, target) in &libraries.links {
        layer.link(target, inside)?;
    }
    Ok(Unpacked {
        diff_id: layer.parts.finish(),
        size: layer.size,
    })
}

struct Layer {
    root: PathBuf,
    parts: Parts,
    size: u64,
}

impl Layer {
    fn copy(&mut self, source: &Path, inside: &Path, mode: u32) -> io::Result<()> {
        self.file(&mut File::open(source)?, inside, mode)
    }

    fn file(&mut self, content: &mut impl Read, inside: &Path, mode: u32) -> io::Result<()> {
        let mut file = File::create(self.place(inside)?)?;
        self.parts.add(&mode.to_be_bytes());
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            piece.clear();
            content.take(PIECE as u64).read_to_end(&mut piece)?;
            self.parts.add(&piece);
            if piece.is_empty() {
                break;
            }
            file.write_all(&piece)?;
            self.size += piece.len() as u64;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))
    }

    fn link(&mut self, target: &Path, inside: &Path) -> io::Result<()> {
        let path = self.place(inside)?;
        symlink(target, path)?;
        self.parts.add(b"link");
        self.parts.add(target.as_os_str().as_encoded_bytes());
        Ok(())
    }

    /// Where a path of the container is in the layer; its directories are made.
    fn place(&mut self, inside: &Path) -> io::Result<PathBuf> {
        let relative = inside.strip_prefix("/").map_err(io::Error::other)?;
        let mut path = self.root.clone();
        for part in relative.parent().into_iter().flat_map(Path::components) {
            path.push(part);
            match fs::create_dir(&path) {
                // Whatever the daemon's umask is.
                Ok(()) => fs::set_permissions(&path, fs::Permissions::from_mode(PROGRAM_MODE))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        self.parts.add(inside.as_os_str().as_encoded_bytes());
        Ok(self.root.join(relative))
    }
}

#[cfg(test)]
mod tests;
