//! What is packed comes out again, also by another program's reader.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;

fn packed(path: &Path, manner: Manner) -> Vec<u8> {
    let mut bytes = Vec::new();
    let directory = File::open(path).unwrap().into();
    pack_directory(directory, b".", manner, &[b"skipped"], &mut bytes).unwrap();
    end_archive(&mut bytes).unwrap();
    bytes
}

#[test]
fn another_reader_finds_everything() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/file"), vec![7; 1000]).unwrap();
    fs::hard_link(root.join("a/file"), root.join("a/link")).unwrap();
    symlink("../file", root.join("a/b/up")).unwrap();
    let long = "n".repeat(120);
    fs::write(root.join(&long), "x").unwrap();
    fs::write(root.join("skipped"), "x").unwrap();
    fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o2750)).unwrap();
    let bytes = packed(root, Manner::Everything);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut seen = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let kind = entry.header().entry_type();
        let link = entry.link_name().unwrap().map(|link| link.display().to_string());
        seen.push(format!(
            "{} {kind:?} {:o} {}",
            entry.path().unwrap().display(),
            entry.header().mode().unwrap(),
            link.unwrap_or_default()
        ));
    }
    let mode = fs::metadata(root).unwrap().mode() & 0o7777;
    assert_eq!(
        seen,
        [
            format!("./ Directory {mode:o} "),
            "./a/ Directory 755 ".to_owned(),
            "./a/b/ Directory 2750 ".to_owned(),
            "./a/b/up Symlink 777 ../file".to_owned(),
            "./a/file Regular 644 ".to_owned(),
            "./a/link Link 644 ./a/file".to_owned(),
            format!("./{long} Regular 644 "),
        ]
    );
}

#[test]
fn a_copy_is_equal() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(from.path().join("d")).unwrap();
    fs::write(from.path().join("d/.wh.file"), "no whiteout").unwrap();
    symlink("/etc/passwd", from.path().join("link")).unwrap();
    fs::set_permissions(from.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
    crate::copy_tree(open(from.path()), open(to.path())).unwrap();
    assert_eq!(
        fs::read_to_string(to.path().join("d/.wh.file")).unwrap(),
        "no whiteout"
    );
    assert_eq!(
        fs::read_link(to.path().join("link")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(fs::metadata(to.path()).unwrap().mode() & 0o7777, 0o1777);
}

#[test]
fn lengths_of_records_count_themselves() {
    for length in [1, 85, 86, 87, 88, 89, 90, 91, 92, 93, 985, 990, 991, 992, 993] {
        let mut records = Vec::new();
        record(&mut records, b"path", &vec![b'a'; length]);
        let blank = records.iter().position(|byte| *byte == b' ').unwrap();
        let told: usize = std::str::from_utf8(&records[..blank]).unwrap().parse().unwrap();
        assert_eq!(told, records.len(), "{length}");
    }
}
