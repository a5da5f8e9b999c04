//! Archives of friends and of strangers, unpacked into a directory whose neighbours must stay as they are.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Limits, unpack};

/// Writes archives as they should not be.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

pub(crate) struct Header([u8; 512]);

impl Header {
    pub(crate) fn new(flag: u8, name: &str, size: &str) -> Self {
        let mut header = [0; 512];
        let mut field = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        field(0, &name.as_bytes()[..name.len().min(100)]);
        field(100, b"0000644\0");
        field(108, b"0000000\0");
        field(116, b"0000000\0");
        field(124, size.as_bytes());
        field(136, b"00000000144\0");
        field(156, &[flag]);
        field(257, b"ustar\x0000");
        Self(header)
    }

    fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }
}

impl Tar {
    pub(crate) fn header(mut self, header: Header) -> Self {
        let mut header = header.0;
        header[148..156].copy_from_slice(b"        ");
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self
    }

    fn content(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, flag: u8, name: &str, link: &str) -> Self {
        self.header(Header::new(flag, name, "00000000000\0").with(157, link.as_bytes()))
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        let header = Header::new(b'0', name, &format!("{:011o}\0", content.len()));
        self.header(header).content(content.as_bytes())
    }

    fn directory(self, name: &str) -> Self {
        self.entry(b'5', name, "")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name, target)
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name, target)
    }

    fn records(self, flag: u8, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.header(Header::new(flag, "extension", &format!("{:011o}\0", body.len())))
            .content(&body)
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A directory with a layer in it, and beside it what nobody may touch.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("layer")).unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/secret"), "secret").unwrap();
        Self { directory }
    }

    fn layer(&self) -> std::path::PathBuf {
        self.directory.path().join("layer")
    }

    fn unpack(&self, archive: &[u8]) -> Result<super::Unpacked, String> {
        self.unpack_within(archive, Limits::default())
    }

    fn unpack_within(&self, archive: &[u8], limits: Limits) -> Result<super::Unpacked, String> {
        let root = File::open(self.layer()).unwrap();
        let result = unpack(archive, root.into(), limits).map_err(|error| error.to_string());
        let outside: Vec<_> = fs::read_dir(self.directory.path()).unwrap().collect();
        assert_eq!(outside.len(), 2, "something was made beside the layer");
        assert_eq!(
            fs::read_dir(self.directory.path().join("outside"))
                .unwrap()
                .count(),
            1
        );
        let secret = self.directory.path().join("outside/secret");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(secret.metadata().unwrap().nlink(), 1);
        result
    }
}

/// Unpacks, and expects success or this error.
fn check(archive: Tar, expected: Result<(), &str>) -> Place {
    let place = Place::new();
    let result = place.unpack(&archive.finish()).map(drop);
    assert_eq!(result, expected.map_err(str::to_owned));
    place
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn an_honest_archive_is_unpacked() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let mut put = |header: &mut tar::Header, kind, path: &str, mode, content: &str| {
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append_data(header, path, content.as_bytes()).unwrap();
    };
    let long = format!("usr/{}/{}", "d".repeat(120), "f".repeat(120));
    put(&mut header, tar::EntryType::Directory, "usr/", 0o750, "");
    put(
        &mut header,
        tar::EntryType::Regular,
        "usr/bin/su",
        0o4755,
        "program",
    );
    put(&mut header, tar::EntryType::Regular, &long, 0o600, "long");
    let archive = builder.into_inner().unwrap();
    let plain = Place::new();
    let unpacked = plain.unpack(&archive).unwrap();
    assert_eq!(unpacked.size, 11);
    assert_eq!(unpacked.diff_id, crate::digest::of(&archive));
    let su = plain.layer().join("usr/bin/su").metadata().unwrap();
    assert_eq!(
        (su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()),
        (0o4755, 1000, 1001, 1_000_000_000)
    );
    let usr = plain.layer().join("usr").metadata().unwrap();
    assert_eq!(
        (usr.mode() & 0o7777, usr.uid(), usr.mtime()),
        (0o750, 1000, 1_000_000_000)
    );
    assert_eq!(
        plain.layer().join("usr/bin").metadata().unwrap().mode() & 0o7777,
        0o755
    );
    assert_eq!(fs::read_to_string(plain.layer().join(&long)).unwrap(), "long");

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&archive).unwrap();
    let compressed = Place::new();
    assert_eq!(compressed.unpack(&gzip.finish().unwrap()).unwrap(), unpacked);
}

#[test]
fn what_the_systems_tar_writes_is_understood() {
    let source = tempfile::tempdir().unwrap();
    let path = |name: &str| source.path().join(name);
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    fs::create_dir_all(path(&long).parent().unwrap()).unwrap();
    fs::write(path(&long), "long").unwrap();
    fs::write(path("caf\u{e9}"), "accent").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("big"), vec![7; 300_000]).unwrap();
    fs::hard_link(path("big"), path("again")).unwrap();
    std::os::unix::fs::symlink(&long, path("soft")).unwrap();
    for format in ["v7", "ustar", "gnu", "pax", "oldgnu"] {
        let short = matches!(format, "v7" | "ustar");
        let mut tar = std::process::Command::new("tar");
        tar.args(["--format", format, "--numeric-owner", "-C"])
            .arg(source.path())
            .args(["-cf", "-"]);
        if short {
            tar.args(["empty", "big", "again"]);
        } else {
            tar.arg(".");
        }
        let output = tar.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let place = Place::new();
        let unpacked = place.unpack(&output.stdout).unwrap();
        assert_eq!(unpacked.diff_id, crate::digest::of(&output.stdout), "{format}");
        let layer = place.layer();
        assert_eq!(fs::read(layer.join("big")).unwrap(), vec![7; 300_000]);
        assert_eq!(
            layer.join("big").metadata().unwrap().ino(),
            layer.join("again").metadata().unwrap().ino()
        );
        if !short {
            assert_eq!(
                fs::read_to_string(layer.join("soft")).unwrap(),
                "long",
                "{format}"
            );
            assert_eq!(
                fs::read_to_string(layer.join("caf\u{e9}")).unwrap(),
                "accent",
                "{format}"
            );
            let time = |root: &Path| root.join("empty").metadata().unwrap().mtime();
            assert_eq!(time(&layer), time(source.path()), "{format}");
        }
    }
}

#[test]
fn links_and_nodes_are_made() {
    let place = check(
        Tar::default()
            .file("a/file", "content")
            .hard_link("b/hard", "a/file")
            .symlink("b/soft", "../../../outside/secret")
            .hard_link("b/soft-too", "./b/soft")
            .header(
                Header::new(b'3', "null", "00000000000\0")
                    .with(329, b"0000001\0")
                    .with(337, b"0000003\0"),
            )
            .entry(b'6', "fifo", ""),
        Ok(()),
    );
    let layer = place.layer();
    assert_eq!(
        layer.join("a/file").metadata().unwrap().ino(),
        layer.join("b/hard").metadata().unwrap().ino()
    );
    for link in ["b/soft", "b/soft-too"] {
        assert_eq!(
            fs::read_link(layer.join(link)).unwrap(),
            Path::new("../../../outside/secret")
        );
    }
    let null = layer.join("null").metadata().unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.permissions().mode() & 0o777), (0x103, 0o644));
    assert!(layer.join("fifo").metadata().unwrap().file_type().is_fifo());
}

#[test]
fn paths_stay_in_the_layer() {
    for path in ["../outside/new", "a/../../outside/new", "..", "a/.."] {
        let message = format!("entry {path:?} leads out of the layer");
        check(Tar::default().file(path, "x"), Err(&message));
    }
    let place = check(Tar::default().file("/outside/./secret", "mine"), Ok(()));
    assert_eq!(
        fs::read_to_string(place.layer().join("outside/secret")).unwrap(),
        "mine"
    );
    check(Tar::default().file("", "x"), Err("entry \"\" has an empty name"));
    check(
        Tar::default().file("./", "x"),
        Err("content for an entry that is not a file"),
    );
    check(Tar::default().file(&format!("{}x", "d/".repeat(40)), "x"), Ok(()));
    let deep = "d/".repeat(300);
    let message = format!("entry {:?} is too deep", format!("{deep}x"));
    check(
        Tar::default()
            .records(b'x', &[("path", format!("{deep}x").as_bytes())])
            .file("x", ""),
        Err(&message),
    );
    let wide = "n".repeat(256);
    let message = format!("entry {wide:?} has a name that is too long");
    check(
        Tar::default()
            .records(b'x', &[("path", wide.as_bytes())])
            .file("x", ""),
        Err(&message),
    );
}

#[test]
fn symlinks_are_not_walked_through() {
    for target in ["/etc", "../outside", "/proc/self/root/etc", "."] {
        check(
            Tar::default().symlink("way", target).file("way/new", "x"),
            Err("entry \"way/new\" lies below what is not a directory of the layer"),
        );
        check(
            Tar::default()
                .directory("a")
                .symlink("a/way", target)
                .file("a/way/b/new", "x"),
            Err("entry \"a/way/b/new\" lies below what is not a directory of the layer"),
        );
    }
    let place = check(
        Tar::default()
            .symlink("file", "../outside/secret")
            .file("file", "mine"),
        Ok(()),
    );
    assert_eq!(fs::read_to_string(place.layer().join("file")).unwrap(), "mine");
    let place = check(
        Tar::default()
            .symlink("d", "../outside")
            .directory("d")
            .file("d/new", "x"),
        Ok(()),
    );
    assert!(place.layer().join("d").symlink_metadata().unwrap().is_dir());
    check(
        Tar::default()
            .directory("d")
            .file("d/x", "")
            .symlink("d", "../outside"),
        Err("entry \"d\" takes the place of a directory"),
    );
}

#[test]
fn hard_links_stay_in_the_layer() {
    let leads_out = Err("entry \"hard\" leads out of the layer");
    let nothing = Err("entry \"hard\" links to what is not a file of the layer");
    check(Tar::default().hard_link("hard", "../outside/secret"), leads_out);
    check(Tar::default().hard_link("hard", "/etc/passwd"), nothing);
    check(Tar::default().hard_link("hard", "missing"), nothing);
    check(Tar::default().directory("d").hard_link("hard", "d"), nothing);
    check(Tar::default().hard_link("hard", "/"), nothing);
    check(
        Tar::default()
            .symlink("way", "../outside")
            .hard_link("hard", "way/secret"),
        Err("entry \"hard\" lies below what is not a directory of the layer"),
    );
    let place = check(
        Tar::default()
            .symlink("soft", "../outside/secret")
            .hard_link("hard", "soft")
            .file("hard", "mine"),
        Ok(()),
    );
    assert_eq!(fs::read_to_string(place.layer().join("hard")).unwrap(), "mine");
    let place = check(Tar::default().file("a", "kept").hard_link("a", "a"), Ok(()));
    assert_eq!(fs::read_to_string(place.layer().join("a")).unwrap(), "kept");
}

#[test]
fn whiteouts_become_those_of_overlay() {
    let place = check(
        Tar::default()
            .file("d/.wh.gone", "")
            .file("d/again", "x")
            .file("d/.wh.again", "")
            .file("d/.wh.back", "")
            .directory("d/back")
            .file("o/.wh..wh..opq", "")
            .file("d/.wh..wh.plnk", ""),
        Ok(()),
    );
    let layer = place.layer();
    for name in ["d/gone", "d/again"] {
        let found = layer.join(name).symlink_metadata().unwrap();
        assert!(found.file_type().is_char_device() && found.rdev() == 0, "{name}");
    }
    assert_eq!(
        attribute(&layer.join("d/back"), "trusted.overlay.opaque").unwrap(),
        b"y"
    );
    assert_eq!(
        attribute(&layer.join("o"), "trusted.overlay.opaque").unwrap(),
        b"y"
    );
    assert_eq!(fs::read_dir(layer.join("d")).unwrap().count(), 3);
    assert_eq!(fs::read_dir(layer.join("o")).unwrap().count(), 0);
    for name in [".wh.", ".wh..", ".wh..."] {
        let message = format!("entry {name:?} is a whiteout of nothing");
        check(Tar::default().file(name, ""), Err(&message));
    }
    check(
        Tar::default().directory("d").file(".wh.d", ""),
        Err("entry \".wh.d\" takes the place of a directory"),
    );
    check(
        Tar::default().header(
            Header::new(b'3', "x", "00000000000\0")
                .with(329, b"0000000\0")
                .with(337, b"0000000\0"),
        ),
        Err("entry \"x\" is the device by which overlay hides files"),
    );
}

#[test]
fn attributes_are_chosen() {
    let capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let place = check(
        Tar::default()
            .records(
                b'x',
                &[
                    ("SCHILY.xattr.security.capability", capability),
                    ("SCHILY.xattr.user.note", b"a\nb"),
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.user.overlay.opaque", b"y"),
                    ("SCHILY.xattr.security.selinux", b"label"),
                ],
            )
            .directory("d")
            .records(
                b'x',
                &[
                    ("SCHILY.xattr.security.capability", capability),
                    ("mtime", b"-1.25"),
                ],
            )
            .file("f", "x"),
        Ok(()),
    );
    let directory = place.layer().join("d");
    assert_eq!(attribute(&directory, "trusted.overlay.opaque"), None);
    assert_eq!(attribute(&directory, "user.overlay.opaque"), None);
    let file = place.layer().join("f");
    assert_eq!(attribute(&file, "security.capability").unwrap(), capability);
    let found = file.metadata().unwrap();
    assert_eq!((found.mtime(), found.mtime_nsec()), (-2, 750_000_000));
}

#[test]
fn lies_about_sizes_are_refused() {
    let header = |size: &str| Tar::default().header(Header::new(b'0', "f", size));
    let ends = Err("cannot be read: it ends within an entry");
    check(header("00000100000\0").content(b"short"), ends);
    check(header("77777777777\0").content(b"short"), ends);
    let negative = Tar::default().header(Header::new(b'0', "f", "").with(124, &[0xff; 12]));
    check(negative, Err("a negative number in a header"));
    let huge = Tar::default().header(Header::new(b'0', "f", "").with(124, &[0xbf; 12]));
    check(huge, Err("a number that is none, in a header"));
    check(
        header("0000000008\0\0"),
        Err("a number that is none, in a header"),
    );
    check(header("-0000000001\0"), Err("a number that is none, in a header"));
    let two = Tar::default().records(b'x', &[("size", b"3")]);
    check(
        two.header(Header::new(b'0', "f", "00000000005\0"))
            .content(b"abcde"),
        Err("two sizes for one entry"),
    );
    let one = Tar::default().records(b'x', &[("size", b"3")]);
    let place = check(
        one.header(Header::new(b'0', "f", "00000000000\0"))
            .content(b"abc")
            .file("g", "x"),
        Ok(()),
    );
    assert_eq!(fs::read_to_string(place.layer().join("f")).unwrap(), "abc");
    let vast = Tar::default().records(b'x', &[("size", b"18446744073709551615")]);
    check(vast.file("f", ""), Err("a damaged extension header"));
    let symlink = Tar::default().header(Header::new(b'2', "s", "00000000005\0").with(157, b"x"));
    check(
        symlink.content(b"abcde"),
        Err("content for an entry that is not a file"),
    );
    let extension = Tar::default().header(Header::new(b'x', "f", "77777777777\0"));
    check(extension, Err("more than 1048576 bytes in an extension header"));
}

#[test]
fn headers_that_can_be_read_in_two_ways_are_refused() {
    let disagree = Err("two extension records that disagree");
    check(
        Tar::default()
            .records(b'x', &[("path", b"a"), ("path", b"b")])
            .file("f", ""),
        disagree,
    );
    let twice = Tar::default()
        .records(b'x', &[("path", b"a")])
        .records(b'x', &[("path", b"b")]);
    check(
        twice.file("f", ""),
        Err("two extension headers of one kind for one entry"),
    );
    let names = Tar::default()
        .header(Header::new(b'L', "././@LongLink", "00000000002\0"))
        .content(b"a\0")
        .records(b'x', &[("path", b"b")]);
    check(names.file("f", ""), Err("two names for one entry"));
    check(
        Tar::default().records(b'g', &[("path", b"a")]).file("f", ""),
        Err("a global extension header that changes entries"),
    );
    check(
        Tar::default().records(b'g', &[("comment", b"a")]).file("f", ""),
        Ok(()),
    );
    check(
        Tar::default().records(b'x', &[("path", b"a")]),
        Err("an extension header without an entry"),
    );
    check(
        Tar::default().records(b'x', &[("path", b"a\0b")]).file("f", ""),
        Err("a zero byte in a name"),
    );
    check(
        Tar::default()
            .records(b'x', &[("uid", b"4294967296")])
            .file("f", ""),
        Err("a user or group number that does not fit"),
    );
    check(
        Tar::default()
            .records(b'x', &[("GNU.sparse.major", b"1")])
            .file("f", ""),
        Err("sparse files are not supported yet"),
    );
    let long = "n".repeat(5000);
    check(
        Tar::default()
            .records(b'x', &[("path", long.as_bytes())])
            .file("f", ""),
        Err("more than 4096 bytes in a name"),
    );
    let mut hidden = Tar::default().file("f", "");
    hidden.0.extend_from_slice(&[0; 512]);
    check(hidden.file("g", ""), Err("entries behind an empty block"));
    let place = Place::new();
    let mut damaged = Tar::default().file("f", "").finish();
    damaged[0] ^= 1;
    assert_eq!(
        place.unpack(&damaged).unwrap_err(),
        "not a tar archive, or a damaged one: a header's checksum is wrong"
    );
    assert_eq!(
        place.unpack(b"#!/bin/sh\necho this is no archive\n").unwrap_err(),
        "cannot be read: it ends within an entry"
    );
}

#[test]
fn counts_and_bytes_are_limited() {
    let many = (0..100)
        .fold(Tar::default(), |tar, number| tar.file(&format!("f{number}"), ""))
        .finish();
    let limits = Limits {
        entries: 99,
        bytes: 1 << 20,
    };
    let place = Place::new();
    assert_eq!(
        place.unpack_within(&many, limits).unwrap_err(),
        "more than 99 entries"
    );
    let limits = Limits {
        entries: 10,
        bytes: 1 << 20,
    };
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&Tar::default().file("f", &"\0".repeat(8 << 20)).finish())
        .unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 20_000);
    let place = Place::new();
    assert_eq!(
        place.unpack_within(&bomb, limits).unwrap_err(),
        "cannot be read: more than 1048576 bytes"
    );
}

#[test]
fn other_compressions_are_named() {
    let place = Place::new();
    for (magic, name) in [
        (&b"BZh91AY"[..], "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"\x28\xb5\x2f\xfd\0\0", "zstd"),
    ] {
        let message = place.unpack(magic).unwrap_err();
        assert_eq!(message, format!("{name} compression is not supported yet"));
    }
    place.unpack(b"\x1f\x8b\x08").unwrap_err();
}

#[test]
fn an_empty_archive_makes_an_empty_layer() {
    assert_eq!(Place::new().unpack(b"").unwrap().size, 0);
    assert_eq!(Place::new().unpack(&Tar::default().finish()).unwrap().size, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the bytes, the neighbours stay as they are and nothing panics.
    #[test]
    fn damage_anywhere_does_no_harm(changes in prop::collection::vec((0_usize..4096, any::<u8>()), 1..6), sum in any::<bool>()) {
        let mut archive = Tar::default()
            .directory("d")
            .records(b'x', &[("path", b"d/long"), ("SCHILY.xattr.user.a", b"b")])
            .file("f", "content")
            .symlink("d/s", "../../outside")
            .hard_link("h", "d/long")
            .finish();
        for (at, byte) in changes {
            let at = at % archive.len();
            archive[at] = byte;
            if sum {
                let block = at / 512 * 512;
                let header = &mut archive[block..block + 512];
                header[148..156].copy_from_slice(b"        ");
                let total: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
                header[148..156].copy_from_slice(format!("{total:06o}\0 ").as_bytes());
            }
        }
        let _ = Place::new().unpack(&archive);
    }
}
