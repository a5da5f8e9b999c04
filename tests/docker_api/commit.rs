//! commit: a container becomes an image.

use crate::{Bench, with_each_client};

#[test]
fn a_container_becomes_an_image() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        docker.ok(&[
            "run",
            "--name",
            "base",
            "-e",
            "A=1",
            "app",
            "sh",
            "-c",
            "echo made > /tmp/made; /bin/busybox rm /www/index.html; mkdir /d; chmod 700 /d",
        ]);
        let id = docker.ok(&[
            "commit",
            "-a",
            "Somebody",
            "-m",
            "a note",
            "-c",
            "CMD [\"cat\",\"/tmp/made\"]",
            "-c",
            "ENV B=2",
            "base",
            "made:1",
        ]);
        assert!(id.starts_with("sha256:"), "{id}");
        assert_eq!(docker.ok(&["run", "--rm", "made:1"]), "made");
        assert_eq!(
            docker.ok(&[
                "run",
                "--rm",
                "made:1",
                "sh",
                "-c",
                "echo $A $B; ls /www; ls -ld /d | head -c 10"
            ]),
            "1 2\ndrwx------"
        );
        let format = "{{.Author}} {{.Comment}} {{len .RootFS.Layers}}";
        assert_eq!(
            docker.ok(&["image", "inspect", "--format", format, "made:1"]),
            "Somebody a note 2"
        );
        a_running_one_goes_on(bench);
        let refused = docker.run(&["commit", "-c", "RUN x", "base", "bad:1"]);
        assert_ne!(refused.code, 0);
        let refused = docker.run(&["commit", "nobody"]);
        assert!(refused.stderr.contains("No such container"), "{}", refused.stderr);
        docker.ok(&["rm", "-f", "base", "runs"]);
        docker.ok(&["rmi", "made:2", "made:1"]);
        // The layer below stays for its own image.
        assert_eq!(
            docker.ok(&["run", "--rm", "app", "cat", "/www/index.html"]),
            "hello from the container"
        );
    });
}

fn a_running_one_goes_on(bench: &Bench) {
    let docker = &bench.docker;
    // Of a running one, which goes on afterwards; and of the new image again.
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "runs",
        "made:1",
        "sh",
        "-c",
        "echo more > /tmp/more; sleep 1000",
    ]);
    docker.ok(&[
        "exec",
        "runs",
        "sh",
        "-c",
        "until test -e /tmp/more 2>/dev/null || grep more /tmp/more; do true; done",
    ]);
    docker.ok(&["commit", "runs", "made:2"]);
    assert_eq!(
        docker.ok(&["inspect", "--format", "{{.State.Status}}", "runs"]),
        "running"
    );
    assert_eq!(
        docker.ok(&["run", "--rm", "made:2", "cat", "/tmp/made", "/tmp/more"]),
        "made\nmore"
    );
}
