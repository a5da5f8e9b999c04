//! Files in and out of containers: cp, diff, export.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Bench, with_each_client};

fn refused(bench: &Bench, arguments: &[&str], words: &str) {
    let finished = bench.docker.run(arguments);
    assert_ne!(finished.code, 0, "{arguments:?}");
    assert!(
        finished.stderr.contains(words),
        "{words} is missing in {}",
        finished.stderr
    );
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn files_are_copied_both_ways() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let here = bench.scratch.join("here");
        fs::create_dir_all(here.join("tree/sub")).unwrap();
        fs::write(here.join("tree/file"), "one").unwrap();
        fs::write(here.join("tree/sub/deep"), "two").unwrap();
        symlink("file", here.join("tree/link")).unwrap();
        let path = |name: &str| here.join(name).to_string_lossy().into_owned();
        for (name, runs) in [("still", false), ("runs", true)] {
            docker.ok(&[
                "create",
                "--name",
                name,
                "-v",
                "data:/data",
                "app",
                "sleep",
                "1000",
            ]);
            if runs {
                docker.ok(&["start", name]);
            }
            docker.ok(&["cp", &path("tree"), &format!("{name}:/tmp")]);
            docker.ok(&["cp", &path("tree/file"), &format!("{name}:/tmp/renamed")]);
            docker.ok(&["cp", &path("tree/."), &format!("{name}:/data")]);
            let out = |from: &str, to: &str| docker.ok(&["cp", &format!("{name}:{from}"), &path(to)]);
            out("/tmp/tree", &format!("out-{name}"));
            assert_eq!(text(&here.join(format!("out-{name}/sub/deep"))), "two");
            assert_eq!(
                fs::read_link(here.join(format!("out-{name}/link"))).unwrap(),
                Path::new("file")
            );
            out("/tmp/renamed", &format!("renamed-{name}"));
            assert_eq!(text(&here.join(format!("renamed-{name}"))), "one");
            out("/data/sub/deep", &format!("deep-{name}"));
            assert_eq!(text(&here.join(format!("deep-{name}"))), "two");
            // A link of the image is followed inside of it.
            out("/www/.", &format!("www-{name}"));
            assert!(here.join(format!("www-{name}/index.html")).exists());
            refused(
                bench,
                &["cp", &format!("{name}:/nothing"), &path("x")],
                "/nothing",
            );
            refused(
                bench,
                &["cp", &path("tree/file"), &format!("{name}:/nowhere/x/")],
                "",
            );
        }
        let seen = docker.ok(&["exec", "runs", "cat", "/tmp/tree/sub/deep", "/data/file"]);
        assert_eq!(seen, "twoone");
        docker.ok(&["rm", "-f", "still", "runs"]);
        docker.ok(&["volume", "rm", "data"]);
    });
}

#[test]
fn read_only_places_take_nothing() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let file = bench.scratch.join("file");
    fs::write(&file, "x").unwrap();
    let file = file.to_string_lossy();
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "ro",
        "--read-only",
        "-v",
        "rw:/rw",
        "-v",
        "rest:/rest:ro",
        "app",
        "sleep",
        "1000",
    ]);
    refused(&bench, &["cp", &file, "ro:/tmp"], "read-only");
    refused(&bench, &["cp", &file, "ro:/rest"], "read-only");
    docker.ok(&["cp", &file, "ro:/rw/x"]);
    assert_eq!(docker.ok(&["exec", "ro", "cat", "/rw/x"]), "x");
    docker.ok(&["rm", "-f", "ro"]);
    docker.ok(&["volume", "rm", "rw", "rest"]);
    bench.finish();
}

#[test]
fn changes_are_listed_and_everything_is_exported() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        docker.ok(&[
            "run",
            "--name",
            "diffs",
            "-v",
            "/vol",
            "app",
            "sh",
            "-c",
            "echo x > /tmp/new; echo y >> /etc/group; cd /www; echo > new; /bin/busybox rm index.html",
        ]);
        let diff = docker.ok(&["diff", "diffs"]);
        for line in [
            "A /tmp/new",
            "C /etc",
            "C /etc/group",
            "C /www",
            "D /www/index.html",
            "A /www/new",
        ] {
            assert!(
                diff.lines().any(|found| found == line),
                "{line} is missing in\n{diff}"
            );
        }
        let archive = bench.scratch.join("export.tar");
        docker.ok(&["export", "-o", &archive.to_string_lossy(), "diffs"]);
        let list = Command::new("tar").arg("-tf").arg(&archive).output().unwrap();
        assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
        let list = String::from_utf8(list.stdout).unwrap();
        for (name, there) in [
            ("bin/busybox", true),
            ("tmp/new", true),
            ("www/index.html", false),
            (".dockerenv", true),
        ] {
            assert_eq!(list.lines().any(|line| line == name), there, "{name} in\n{list}");
        }
        docker.ok(&["rm", "-v", "diffs"]);
        let unchanged = docker.ok(&["create", "app", "true"]);
        assert_eq!(docker.ok(&["diff", &unchanged]), "");
        docker.ok(&["rm", &unchanged]);
    });
}

/// Sends an archive to the API and gives the status code and the answer.
fn put(bench: &Bench, container: &str, path: &str, archive: &[u8]) -> String {
    let file = bench.scratch.join("hostile.tar");
    fs::write(&file, archive).unwrap();
    let output = Command::new("curl")
        .args(["-sS", "-X", "PUT", "-w", " %{http_code}", "--unix-socket"])
        .arg(bench.engine.socket())
        .arg("--data-binary")
        .arg(format!("@{}", file.display()))
        .arg(format!("http://berth/containers/{container}/archive?path={path}"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// By hand: libraries refuse to write names that lead out. Type, name and content or link.
fn archive(entries: &[(u8, &str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, content) in entries {
        let mut head = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
        let data = if *kind == FILE { content.as_bytes() } else { b"" };
        put(0, name.as_bytes());
        put(100, b"0000644\x000000000\x000000000\0");
        put(124, format!("{:011o}\x0000000000000\0", data.len()).as_bytes());
        put(148, b"        ");
        put(156, &[*kind]);
        if *kind != FILE {
            put(157, content.as_bytes());
        }
        put(257, b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

const FILE: u8 = b'0';
const HARD_LINK: u8 = b'1';
const SYMLINK: u8 = b'2';

#[test]
fn hostile_archives_and_links_stay_inside() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let outside = bench.scratch.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret of the host").unwrap();
    let target = outside.to_string_lossy().into_owned();
    docker.ok(&["run", "-d", "--name", "box", "app", "sh", "-c", &format!("{{ mkdir -p {target} && /bin/busybox ln -s {target} /out && /bin/busybox ln -s /../../../..{target} /up; }}; sleep 1000")]);
    docker.ok(&[
        "exec",
        "box",
        "sh",
        "-c",
        "until test -L /up; do true; done 2>/dev/null || true",
    ]);
    for (name, entries) in [
        (
            "climbs",
            vec![(FILE, "../../../../../../../../tmp/berth-escaped", "x")],
        ),
        (
            "by a link of its own",
            vec![(SYMLINK, "l", target.as_str()), (FILE, "l/escaped", "x")],
        ),
        ("by a hard link", vec![(HARD_LINK, "h", "/etc/shadow")]),
    ] {
        let answer = put(&bench, "box", "/tmp", &archive(&entries));
        if !bench
            .engine
            .differs("dockerd takes hostile names as names inside")
        {
            assert!(answer.ends_with(" 400"), "{name}: {answer}");
        }
    }
    assert!(!Path::new("/tmp/berth-escaped").exists());
    // Links of the container lead to places of the container.
    let answer = put(&bench, "box", "/out", &archive(&[(FILE, "inside", "x")]));
    assert!(answer.ends_with(" 200"), "{answer}");
    if !bench
        .engine
        .differs("what dockerd 20.10 takes for a link is not seen behind it")
    {
        let inside = format!("{target}/inside");
        assert_eq!(docker.ok(&["exec", "box", "cat", &inside]), "x");
    }
    let copy = bench.scratch.join("copy");
    for path in [
        "box:/out/secret",
        "box:/up/secret",
        "box:/proc/1/root/../../../../etc/shadow",
    ] {
        let finished = docker.run(&["cp", "-L", path, &copy.to_string_lossy()]);
        assert_ne!(finished.code, 0, "{path} was copied");
        assert!(!copy.exists());
    }
    let names: Vec<_> = fs::read_dir(&outside)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["secret"]);
    docker.ok(&["rm", "-f", "box"]);
    bench.finish();
}
