//! Which shared libraries an executable needs: the loader that it names, and what is mapped into this process.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Directories where every loader looks; below others it has to be told.
const STANDARD: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// The longest path of a loader that is believed.
const LOADER_LIMIT: u64 = 4096;

/// The program headers are at the beginning of the file; a real executable has some fifteen.
const HEADER_LIMIT: u16 = 64;

const PT_INTERP: u32 = 3;

/// Libraries by their place in the container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Libraries {
    /// Place inside, and the file to copy.
    pub(super) files: BTreeMap<PathBuf, PathBuf>,
    /// Place inside, and what it points at: other names of the files.
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
}

impl Libraries {
    /// Finds what `executable` needs, which is the running program or one linked like it. A static one needs nothing.
    pub(super) fn find(executable: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        let Some(loader) = loader(executable)? else {
            return Ok(found);
        };
        found.files.insert(loader.clone(), loader.clone());
        let loader_file = fs::canonicalize(&loader)?;
        for mapped in mapped(&fs::read_to_string("/proc/self/maps")?) {
            if mapped == loader_file || !mapped.is_file() {
                continue;
            }
            found.add_names(&mapped)?;
            found.files.insert(mapped.clone(), mapped);
        }
        Ok(found)
    }

    /// A library is looked up by the name that programs know, often a symlink beside it.
    fn add_names(&mut self, library: &Path) -> io::Result<()> {
        let (Some(directory), Some(name)) = (library.parent(), library.file_name()) else {
            return Ok(());
        };
        let stem = stem(name);
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let is_other_name = entry.file_name() != name && self::stem(&entry.file_name()) == stem;
            if is_other_name
                && entry.file_type()?.is_symlink()
                && fs::canonicalize(entry.path()).is_ok_and(|target| target == library)
            {
                self.links.insert(entry.path(), PathBuf::from(name));
            }
        }
        Ok(())
    }

    /// Directories that the loader has to be told about.
    pub(super) fn search_path(&self) -> Option<String> {
        let is_standard = |path: &Path| STANDARD.iter().any(|standard| path.starts_with(standard));
        let mut told: Vec<String> = self
            .files
            .keys()
            .filter_map(|file| file.parent())
            .filter(|directory| !is_standard(directory))
            .map(|directory| directory.to_string_lossy().into_owned())
            .collect();
        told.dedup();
        (!told.is_empty()).then(|| told.join(":"))
    }
}

/// What is in front of `.so`.
fn stem(name: &OsStr) -> Option<Vec<u8>> {
    let name = name.as_bytes();
    let end = name.windows(3).position(|part| part == b".so")?;
    Some(name[..end].to_vec())
}

/// The shared libraries in a list of mappings.
fn mapped(maps: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = maps
        .lines()
        // The path is the sixth column; what is not a file has none or one in brackets.
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .filter(|path| path.rsplit('/').next().is_some_and(|name| name.contains(".so")))
        .map(PathBuf::from)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The loader that the executable names; `None` for a static one.
pub(super) fn loader(executable: &Path) -> io::Result<Option<PathBuf>> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let file = File::open(executable)?;
    let mut header = [0; 64];
    (&file).read_exact(&mut header)?;
    if !header.starts_with(b"\x7fELF") {
        return Err(invalid("not an executable in ELF format"));
    }
    // 64 bits, and the byte order of this machine, as everything that can run here.
    if header[4] != 2 {
        return Err(invalid("not an executable for 64 bits"));
    }
    let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let (start, entry_size, count) = (long(&header, 32), half(54), half(56));
    if count > HEADER_LIMIT || entry_size < 56 {
        return Err(invalid("an executable with damaged program headers"));
    }
    for number in 0..u64::from(count) {
        let mut entry = [0; 56];
        let at = number * u64::from(entry_size);
        file.read_exact_at(&mut entry, start.saturating_add(at))?;
        if u32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]) != PT_INTERP {
            continue;
        }
        let (offset, length) = (long(&entry, 8), long(&entry, 32));
        if length > LOADER_LIMIT {
            return Err(invalid("an executable whose loader has too long a name"));
        }
        let mut path = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(&mut path, offset)?;
        let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
        return Ok(Some(PathBuf::from(OsStr::from_bytes(&path[..end]))));
    }
    Ok(None)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(number)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Libraries, loader, mapped};

    #[test]
    fn libraries_are_read_from_mappings() {
        let maps = "\
            55d0-55d1 r--p 00000000 fe:00 1 /opt/bin/berth\n\
            7f00-7f01 r--p 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7f01-7f02 r-xp 00001000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7f03-7f04 rw-p 00000000 00:00 0 \n\
            7ffd-7ffe rw-p 00000000 00:00 0 [stack]\n\
            7f05-7f06 r--p 00000000 fe:00 3 /a b/libx.so.1.2\n";
        assert_eq!(
            mapped(maps),
            [
                PathBuf::from("/a b/libx.so.1.2"),
                PathBuf::from("/usr/lib/x86_64-linux-gnu/libc.so.6")
            ]
        );
    }

    #[test]
    fn unusual_directories_are_told_to_the_loader() {
        let path = |text: &str| (PathBuf::from(text), PathBuf::from(text));
        let mut libraries = Libraries::default();
        libraries
            .files
            .extend([path("/usr/lib/x/libc.so.6"), path("/lib64/ld.so")]);
        assert_eq!(libraries.search_path(), None);
        libraries
            .files
            .extend([path("/opt/a/libx.so"), path("/opt/a/liby.so")]);
        assert_eq!(libraries.search_path().as_deref(), Some("/opt/a"));
    }

    #[test]
    fn an_executable_names_its_loader() {
        let found = loader(&std::env::current_exe().unwrap()).unwrap();
        assert!(found.is_none_or(|loader| loader.is_absolute() && loader.exists()));
        loader(Path::new("/etc/passwd")).unwrap_err();
    }
}
