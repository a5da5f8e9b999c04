//! Logs with a bound, in several files, or none at all.

use std::process::Stdio;

use crate::{Bench, with_each_client};

fn wait(bench: &Bench, name: &str) {
    bench.docker.ok(&["wait", name]);
}

fn files(bench: &Bench, name: &str) -> Vec<u64> {
    let path = bench.docker.ok(&["inspect", "--format", "{{.LogPath}}", name]);
    let names = std::iter::once(path.clone()).chain((1..20).map(|number| format!("{path}.{number}")));
    names
        .map_while(|path| std::fs::metadata(path).ok())
        .map(|file| file.len())
        .collect()
}

fn numbers(text: &str) -> Vec<u32> {
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn full_files_make_room() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let bound = ["--log-opt", "max-size=20k", "--log-opt", "max-file=3"];
        let line = [
            &["run", "-d", "--name", "box"],
            bound.as_slice(),
            &["app", "seq", "1", "2000"],
        ]
        .concat();
        docker.ok(&line);
        wait(bench, "box");
        let sizes = files(bench, "box");
        assert_eq!(sizes.len(), 3, "{sizes:?}");
        // A file is full with the record that goes over its bound.
        assert!(sizes.iter().all(|size| *size < 20_200), "{sizes:?}");
        let kept = numbers(&docker.ok(&["logs", "box"]));
        assert!(kept.len() > 400 && kept.len() < 2000, "{}", kept.len());
        assert!(
            kept.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "in order, without a gap"
        );
        assert_eq!(kept.last(), Some(&2000));
        for tail in ["1", "500", "999999"] {
            let shown = numbers(&docker.ok(&["logs", "--tail", tail, "box"]));
            let wanted = kept.len().min(tail.parse().unwrap());
            assert_eq!(shown, kept[kept.len() - wanted..], "--tail {tail}");
        }
        let stamped = docker.ok(&["logs", "-t", "--tail", "1", "box"]);
        let (time, text) = stamped.split_once(' ').unwrap();
        assert_eq!(text, "2000");
        assert_eq!(
            docker.ok(&["logs", "--since", time, "box"]).lines().last(),
            Some("2000")
        );
        assert_eq!(numbers(&docker.ok(&["logs", "--until", time, "box"])), kept);
        let one = [
            "run",
            "--name",
            "alone",
            "--log-opt",
            "max-size=1k",
            "app",
            "seq",
            "1",
            "100",
        ];
        assert_eq!(numbers(&docker.ok(&one)).len(), 100, "who is attached sees all");
        let left = numbers(&docker.ok(&["logs", "alone"]));
        assert!(left.len() < 30 && left.last() == Some(&100), "{left:?}");
        docker.ok(&[
            "run",
            "--name",
            "local",
            "--log-driver",
            "local",
            "app",
            "echo",
            "kept",
        ]);
        assert_eq!(docker.ok(&["logs", "local"]), "kept");
        docker.ok(&["rm", "box", "alone", "local"]);
    });
}

#[test]
fn a_reader_follows_from_file_to_file() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let script = "until test -e /go; do sleep 0.1; done; for n in $(seq 1 3000); do echo $n; \
        test $((n % 200)) = 0 && sleep 0.2; done";
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--log-opt",
        "max-size=10k",
        "--log-opt",
        "max-file=4",
        "app",
        "sh",
        "-c",
        script,
    ]);
    let follower = docker
        .command(&["logs", "-f", "box"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    docker.ok(&["exec", "box", "touch", "/go"]);
    let output = follower.wait_with_output().unwrap();
    let seen = numbers(&String::from_utf8(output.stdout).unwrap());
    if !bench
        .engine
        .differs("a follower of dockerd 20.10 gets lines twice when files change")
    {
        assert_eq!(seen, (1..=3000).collect::<Vec<u32>>());
    }
    assert_eq!(files(&bench, "box").len(), 4);
    docker.ok(&["rm", "box"]);
    bench.finish();
}

#[test]
fn drivers_and_their_options() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        assert_eq!(
            docker.ok(&[
                "run",
                "--name",
                "none",
                "--log-driver",
                "none",
                "app",
                "echo",
                "hi"
            ]),
            "hi"
        );
        let refused = docker.run(&["logs", "none"]);
        assert!(
            refused.code == 1
                && refused
                    .stderr
                    .contains("configured logging driver does not support reading"),
            "{refused:?}"
        );
        assert_eq!(
            docker.ok(&[
                "inspect",
                "--format",
                "{{.HostConfig.LogConfig.Type}}{{.LogPath}}",
                "none"
            ]),
            "none"
        );
        let refused = |flags: &[&str], words: &str| {
            let finished = docker.run(&[&["create"], flags, &["app", "true"]].concat());
            assert!(
                finished.code == 1 && finished.stderr.contains(words),
                "{flags:?} {finished:?}"
            );
        };
        refused(&["--log-driver", "nonsense"], "plugin \"nonsense\" not found");
        refused(
            &["--log-opt", "foo=1"],
            "unknown log opt 'foo' for json-file log driver",
        );
        if !bench
            .engine
            .differs("dockerd has more log drivers, and compresses")
        {
            refused(&["--log-driver", "syslog"], "plugin \"syslog\" not found");
            refused(&["--log-opt", "compress=true"], "not supported");
            // dockerd finds out at the start.
            refused(&["--log-opt", "max-size=x"], "max-size=x");
            refused(&["--log-opt", "max-file=0"], "max-file cannot be less than 1");
        }
        docker.ok(&["rm", "none"]);
    });
}
