//! Volumes: named, without a name, of the image, of other containers; binds and their options; `--mount`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Bench, with_each_client};

fn volumes(bench: &Bench) -> Vec<String> {
    let list = bench.docker.ok(&["volume", "ls", "-q"]);
    list.lines().map(ToOwned::to_owned).collect()
}

/// Runs a script and gives what it prints.
fn sh(bench: &Bench, flags: &[&str], script: &str) -> String {
    bench
        .docker
        .ok(&[&["run", "--rm"], flags, &["app", "sh", "-c", script]].concat())
}

fn refused(bench: &Bench, arguments: &[&str], words: &str) {
    let finished = bench.docker.run(arguments);
    assert_ne!(finished.code, 0, "{arguments:?}");
    assert!(
        finished.stderr.contains(words),
        "{words} is missing in {}",
        finished.stderr
    );
}

#[test]
fn volumes_are_made_listed_and_removed() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        assert_eq!(
            docker.ok(&["volume", "create", "--label", "tier=db", "data"]),
            "data"
        );
        assert_eq!(docker.ok(&["volume", "create", "data"]), "data");
        docker.ok(&["volume", "create", "other"]);
        let anonymous = docker.ok(&["volume", "create"]);
        assert_eq!(anonymous.len(), 64, "{anonymous}");
        assert_eq!(volumes(bench).len(), 3);
        for (filter, wanted) in [
            ("label=tier", "data"),
            ("label=tier=db", "data"),
            ("name=oth", "other"),
        ] {
            assert_eq!(
                docker.ok(&["volume", "ls", "-q", "--filter", filter]),
                wanted,
                "{filter}"
            );
        }
        let format = "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels.tier}} {{.Mountpoint}}";
        let shown = docker.ok(&["volume", "inspect", "--format", format, "data"]);
        assert!(
            shown.starts_with("data local local db /") && shown.ends_with("/data/_data"),
            "{shown}"
        );
        refused(bench, &["volume", "inspect", "nothing"], "o such volume");
        refused(bench, &["volume", "rm", "nothing"], "o such volume");
        docker.ok(&["volume", "rm", "-f", "nothing"]);
        refused(
            bench,
            &["volume", "create", "a b"],
            "only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed",
        );
        docker.ok(&["create", "--name", "user", "-v", "data:/data", "app", "true"]);
        refused(bench, &["volume", "rm", "data"], "volume is in use - [");
        assert_eq!(
            docker.ok(&["volume", "ls", "-q", "--filter", "dangling=false"]),
            "data"
        );
        docker.ok(&["volume", "prune", "-f"]);
        assert!(!volumes(bench).contains(&anonymous));
        docker.ok(&["rm", "-v", "user"]);
        assert!(
            volumes(bench).contains(&"data".to_owned()),
            "a named volume stays"
        );
        docker.ok(&["volume", "rm", "data"]);
        docker.ok(&["volume", "rm", "-f", "other"]);
        assert_eq!(volumes(bench), [""; 0]);
    });
}

#[test]
fn data_outlive_their_container_and_begin_with_the_images() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let copied = sh(
        &bench,
        &["-v", "web:/www"],
        "cat /www/index.html; echo more > /www/more",
    );
    assert_eq!(copied, "hello from the container");
    assert_eq!(sh(&bench, &["-v", "web:/srv"], "ls /srv"), "index.html\nmore");
    // What is there is not written over, and nothing is copied when that is not wanted.
    sh(&bench, &["-v", "own:/x"], "echo own > /x/index.html");
    assert_eq!(sh(&bench, &["-v", "own:/www"], "cat /www/index.html"), "own");
    assert_eq!(sh(&bench, &["-v", "bare:/www:nocopy"], "ls /www"), "");
    assert_eq!(
        sh(
            &bench,
            &["-v", "web:/www:ro"],
            "touch /www/x 2>/dev/null || echo refused"
        ),
        "refused"
    );
    // Owner and mode of the directory come with it.
    assert_eq!(
        sh(&bench, &["-v", "tmp:/tmp"], "ls -ld /tmp | head -c 10"),
        "drwxrwxrwt"
    );
    for name in ["web", "own", "bare", "tmp"] {
        docker.ok(&["volume", "rm", name]);
    }
    bench.finish();
}

#[test]
fn volumes_without_a_name_go_with_their_container_when_asked() {
    let bench = Bench::new();
    let docker = &bench.docker;
    sh(&bench, &["-v", "/data"], "touch /data/x");
    assert_eq!(volumes(&bench), [""; 0], "--rm takes them along");
    docker.ok(&["run", "--name", "keeps", "-v", "/data", "app", "touch", "/data/x"]);
    assert_eq!(volumes(&bench).len(), 1);
    // A second run finds the same volume.
    docker.ok(&["start", "-a", "keeps"]);
    let format = "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}";
    let shown = docker.ok(&["inspect", "--format", format, "keeps"]);
    assert_eq!(shown, format!("volume {} /data true", volumes(&bench)[0]));
    docker.ok(&["rm", "keeps"]);
    assert_eq!(volumes(&bench).len(), 1, "a plain removal leaves them");
    docker.ok(&["volume", "prune", "-f"]);
    assert_eq!(volumes(&bench), [""; 0]);
    docker.ok(&["create", "--name", "gone", "-v", "/data", "app", "true"]);
    docker.ok(&["rm", "-v", "gone"]);
    assert_eq!(volumes(&bench), [""; 0]);
    bench.finish();
}

#[test]
fn volumes_of_the_image_and_of_others() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let rootfs = bench.scratch.join("rootfs.tar");
    docker.ok(&["import", "-c", "VOLUME /www", &rootfs.to_string_lossy(), "vol"]);
    docker.ok(&[
        "run",
        "--name",
        "one",
        "-v",
        "shared:/shared",
        "vol",
        "sh",
        "-c",
        "echo 1 > /www/one; echo 2 > /shared/two",
    ]);
    assert_eq!(volumes(&bench).len(), 2);
    let script = "cat /www/one /shared/two; touch /shared/x 2>/dev/null || echo refused";
    assert_eq!(sh(&bench, &["--volumes-from", "one:ro"], script), "1\n2\nrefused");
    assert_eq!(
        sh(
            &bench,
            &["--volumes-from", "one", "-v", "mine:/shared"],
            "ls /shared; cat /www/one"
        ),
        "1"
    );
    refused(
        &bench,
        &["create", "--volumes-from", "nobody", "app", "true"],
        "No such container: nobody",
    );
    refused(
        &bench,
        &["create", "--volumes-from", "one:xx", "app", "true"],
        "invalid mode: xx",
    );
    docker.ok(&["rm", "-v", "one"]);
    docker.ok(&["volume", "rm", "shared", "mine"]);
    assert_eq!(volumes(&bench), [""; 0]);
    bench.finish();
}

#[test]
fn binds_and_mounts() {
    let bench = Bench::new();
    let missing = bench.scratch.join("missing/dir");
    let missing = missing.to_string_lossy();
    refused(
        &bench,
        &[
            "create",
            "--mount",
            &format!("type=bind,src={missing},dst=/a"),
            "app",
            "true",
        ],
        "bind source path does not exist",
    );
    sh(&bench, &["-v", &format!("{missing}:/a:z")], "touch /a/made");
    assert!(Path::new(&*missing).join("made").exists());
    let mount = |text: &str| format!("{text},dst=/a");
    assert_eq!(
        sh(
            &bench,
            &["--mount", &mount(&format!("type=bind,src={missing},readonly"))],
            "touch /a/x 2>/dev/null || ls /a"
        ),
        "made"
    );
    sh(&bench, &["--mount", &mount("type=volume,src=vol1")], "touch /a/x");
    assert_eq!(sh(&bench, &["-v", "vol1:/b"], "ls /b"), "x");
    let memory = sh(
        &bench,
        &["--mount", &mount("type=tmpfs,tmpfs-size=1m,tmpfs-mode=700")],
        "grep ' /a ' /proc/mounts; ls -ld /a",
    );
    assert!(
        memory.contains("size=1024k") && memory.contains("drwx------"),
        "{memory}"
    );
    let memory = sh(
        &bench,
        &["--tmpfs", "/t:size=2m,exec"],
        "grep ' /t ' /proc/mounts",
    );
    assert!(
        memory.contains("nosuid,nodev,relatime") && memory.contains("size=2048k"),
        "{memory}"
    );
    for (text, words) in [
        ("type=bind,src=rel,dst=/a", "mount path must be absolute"),
        ("type=tmpfs,src=/x,dst=/a", "field Source must not be specified"),
        ("type=volume,src=a b,dst=/a", "are allowed"),
    ] {
        refused(&bench, &["create", "--mount", text, "app", "true"], words);
    }
    refused(
        &bench,
        &["create", "-v", "/:/a:sideways", "app", "true"],
        "invalid mode: sideways",
    );
    refused(
        &bench,
        &["create", "-v", "one:/a", "-v", "two:/a", "app", "true"],
        "Duplicate mount point",
    );
    // A bind over the system's own places is refused.
    refused(
        &bench,
        &["run", "--rm", "-v", "/tmp:/proc/sys", "app", "true"],
        "/proc",
    );
    bench.docker.ok(&["volume", "rm", "vol1"]);
    bench.finish();
}

/// A file system in memory on a directory of the host, whose mounts are passed on.
struct SharedMount<'a>(&'a Path);

impl<'a> SharedMount<'a> {
    fn new(place: &'a Path) -> Self {
        fs::create_dir_all(place).unwrap();
        mount(&["-t", "tmpfs", "shared", &place.to_string_lossy()]);
        let shared = Self(place);
        mount(&["--make-shared", &place.to_string_lossy()]);
        shared
    }
}

impl Drop for SharedMount<'_> {
    fn drop(&mut self) {
        // With all that has been mounted in it.
        drop(Command::new("umount").arg("-R").arg(self.0).status());
    }
}

fn mount(arguments: &[&str]) {
    assert!(
        Command::new("mount").args(arguments).status().unwrap().success(),
        "{arguments:?}"
    );
}

#[test]
fn mounts_travel_only_as_asked() {
    let bench = Bench::new();
    let place = bench.scratch.join("travel");
    let shared = SharedMount::new(&place);
    let bind = |mode: &str| format!("{}:/a:{mode}", place.display());
    for (name, mode) in [("slave", "rslave"), ("private", "rprivate")] {
        bench.docker.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "-v",
            &bind(mode),
            "app",
            "sleep",
            "1000",
        ]);
    }
    let able = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
    let shares = ["-v", &bind("rshared"), "app", "sleep", "1000"];
    let line = [&["run", "-d", "--name", "shared"][..], &able, &shares].concat();
    bench.docker.ok(&line);
    fs::create_dir(place.join("sub")).unwrap();
    mount(&["-t", "tmpfs", "late", &place.join("sub").to_string_lossy()]);
    fs::write(place.join("sub/file"), "").unwrap();
    let look = |name: &str| bench.docker.ok(&["exec", name, "ls", "/a/sub"]);
    assert_eq!(
        (
            look("slave").as_str(),
            look("private").as_str(),
            look("shared").as_str()
        ),
        ("file", "", "file")
    );
    // Back to the host only what is shared.
    bench.docker.ok(&["exec", "shared", "mkdir", "/a/back"]);
    bench
        .docker
        .ok(&["exec", "shared", "mount", "-t", "tmpfs", "none", "/a/back"]);
    bench.docker.ok(&["exec", "shared", "touch", "/a/back/here"]);
    assert!(place.join("back/here").exists());
    bench.docker.ok(&["rm", "-f", "slave", "private", "shared"]);
    drop(shared);
    let alone = bench.scratch.join("alone");
    fs::create_dir(&alone).unwrap();
    mount(&["-t", "tmpfs", "alone", &alone.to_string_lossy()]);
    let alone = SharedMountEnd(alone);
    mount(&["--make-private", &alone.0.to_string_lossy()]);
    refused(
        &bench,
        &[
            "run",
            "--rm",
            "-v",
            &format!("{}:/a:rshared", alone.0.display()),
            "app",
            "true",
        ],
        "but it is not a shared mount",
    );
    drop(alone);
    bench.finish();
}

/// Takes a mount away at the end.
struct SharedMountEnd(std::path::PathBuf);

impl Drop for SharedMountEnd {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-R").arg(&self.0).status());
    }
}
