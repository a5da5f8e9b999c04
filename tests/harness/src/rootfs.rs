//! A small root file system as a tar, made from the host's static busybox.

use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

/// The applets that the tests call.
const APPLETS: &[&str] = &[
    "cat", "chmod", "dd", "echo", "env", "false", "grep", "head", "hostname", "httpd", "id", "ip", "ls",
    "mkdir", "mknod", "mount", "nc", "ping", "ps", "seq", "sh", "sleep", "sync", "tail", "touch", "true",
    "umount", "wget",
];

/// Writes `rootfs.tar` into `folder` and returns its path.
///
/// # Panics
/// When busybox is missing or the file cannot be written.
#[must_use]
pub fn busybox_rootfs(folder: &Path) -> PathBuf {
    let path = folder.join("rootfs.tar");
    let busybox = std::fs::read("/bin/busybox").expect("the tests need Debian's busybox-static");
    let mut tar = Builder::new(std::fs::File::create(&path).unwrap());
    for name in ["bin/", "etc/", "tmp/", "www/", "root/"] {
        entry(
            &mut tar,
            name,
            EntryType::Directory,
            if name == "tmp/" { 0o1777 } else { 0o755 },
            b"",
        );
    }
    entry(&mut tar, "bin/busybox", EntryType::Regular, 0o755, &busybox);
    for applet in APPLETS {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    entry(
        &mut tar,
        "etc/passwd",
        EntryType::Regular,
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n",
    );
    entry(
        &mut tar,
        "etc/group",
        EntryType::Regular,
        0o644,
        b"root:x:0:\napp:x:1000:\nextra:x:2000:app\n",
    );
    entry(
        &mut tar,
        "www/index.html",
        EntryType::Regular,
        0o644,
        b"hello from the container\n",
    );
    tar.into_inner().unwrap().sync_all().unwrap();
    path
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header
}

fn entry(tar: &mut Builder<std::fs::File>, name: &str, kind: EntryType, mode: u32, data: &[u8]) {
    let mut header = header(kind, mode, data.len() as u64);
    tar.append_data(&mut header, name, data).unwrap();
}
