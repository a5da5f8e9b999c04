//! Whether mounts can travel between the host and a container: what they are below has to be shared.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use berth_plan::Propagation;

use crate::error::ExecError;

/// Makes sure that the mount which a path is on passes later mounts on.
///
/// # Errors
/// When it does not, or cannot be found out.
pub fn check_propagation(path: &Path, wanted: Propagation) -> Result<(), ExecError> {
    let (kinds, words): (&[&str], _) = match wanted {
        Propagation::Private => return Ok(()),
        Propagation::Slave => (&["shared:", "master:"], "shared or slave"),
        Propagation::Shared => (&["shared:"], "shared"),
    };
    let failed = || ExecError::io(format!("looking for the mount of {}", path.display()));
    let real = fs::canonicalize(path).map_err(failed())?;
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(failed())?;
    let Some((mount, options)) = mount_of(&real, &text) else {
        return Err(failed()(io::ErrorKind::NotFound.into()));
    };
    if options
        .iter()
        .any(|option| kinds.iter().any(|kind| option.starts_with(kind)))
    {
        return Ok(());
    }
    Err(ExecError::Propagation {
        path: path.to_owned(),
        mount,
        wanted: words,
    })
}

/// The mount that a path is on, and its optional fields. Of several on one place the last is the uppermost.
fn mount_of(path: &Path, mountinfo: &str) -> Option<(PathBuf, Vec<String>)> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let point = PathBuf::from(unescape(fields.get(4)?));
        let options = fields.iter().skip(6).take_while(|field| **field != "-");
        Some((
            point,
            options.map(|option| (*option).to_owned()).collect::<Vec<_>>(),
        ))
    };
    let all = mountinfo.lines().filter_map(line);
    let holding = all.filter(|(point, _)| path.starts_with(point));
    holding.max_by_key(|(point, _)| point.components().count())
}

/// Blanks and their like stand as `\040`.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let text = "1 0 8:1 / / rw shared:1 - ext4 /dev/a rw\n2 1 0:5 / /mnt/a rw - tmpfs none rw\n\
            3 1 0:6 / /mnt/b\\040c rw master:4 - tmpfs none rw\n4 1 0:7 / /mnt/a rw shared:9 - tmpfs none rw\n";
        for (path, point, options) in [
            ("/mnt", "/", "shared:1"),
            ("/mnt/a/b", "/mnt/a", "shared:9"),
            ("/mnt/ab", "/", "shared:1"),
            ("/mnt/b c", "/mnt/b c", "master:4"),
        ] {
            let found = mount_of(Path::new(path), text).unwrap();
            assert_eq!(found, (PathBuf::from(point), vec![options.to_owned()]), "{path}");
        }
    }
}
