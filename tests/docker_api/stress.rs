//! Many containers at once, and containers that take all they can get: everybody else goes on, and nothing stays.
#![allow(
    clippy::print_stdout,
    reason = "what a run went through is worth a line in its log"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use berth_harness::{request, run, until};

use crate::Bench;
use crate::kills::Api;

/// Containers at once when `BERTH_STRESS_CONTAINERS` does not say it.
const CONTAINERS: usize = 30;

/// Longest wait for a state, of all of them.
const PATIENCE: Duration = Duration::from_secs(120);

/// Files in the layer that has many.
const FILES: usize = 10_000;

fn count() -> usize {
    let text = std::env::var("BERTH_STRESS_CONTAINERS");
    text.map_or(CONTAINERS, |text| {
        text.parse().expect("BERTH_STRESS_CONTAINERS is a number")
    })
}

/// Everything of an engine on the host that must be the same before and after.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    /// Mounts, cgroups and interfaces that carry its name.
    named: BTreeSet<String>,
    /// Interfaces on its bridges.
    ports: BTreeSet<String>,
    /// Its nftables table with all elements.
    table: String,
    /// What its processes have open, by kind: pipes, sockets, namespaces.
    open: BTreeMap<String, usize>,
}

impl Host {
    fn of(bench: &Bench) -> Self {
        let named = bench.engine.leftovers().0;
        let mut open = BTreeMap::new();
        for process in children_and(bench.engine.id()) {
            for entry in std::fs::read_dir(format!("/proc/{process}/fd"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let target = std::fs::read_link(entry.path()).unwrap_or_default();
                let target = target.to_string_lossy();
                let kind = target.split([':', ' ']).next().unwrap_or_default();
                // The engine's database and its connections come and go.
                if ["pipe", "net", "mnt", "pid", "anon_inode"].contains(&kind) {
                    *open.entry(kind.to_owned()).or_insert(0) += 1;
                }
            }
        }
        let bridge = bench.scratch.name();
        let ports = std::fs::read_dir(Path::new("/sys/class/net").join(&bridge).join("brif"));
        let ports = ports
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let listed = run(
            Command::new("nft").args(["list", "table", "inet", &bridge]),
            PATIENCE,
        );
        Self {
            named,
            ports: ports.collect(),
            table: listed.ok().to_owned(),
            open,
        }
    }
}

/// A process and the keeper that it started.
fn children_and(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
        if parent == Some(&process.to_string()) {
            found.extend(entry.file_name().to_string_lossy().parse::<u32>());
        }
    }
    found
}

/// Asks for all of them at the same time, and waits for the last answer.
fn at_once(names: &[String], ask: impl Fn(&str) + Sync) -> Duration {
    let begun = Instant::now();
    let gate = std::sync::Barrier::new(names.len());
    std::thread::scope(|scope| {
        for name in names {
            let (ask, gate) = (&ask, &gate);
            scope.spawn(move || {
                gate.wait();
                ask(name);
            });
        }
    });
    begun.elapsed()
}

/// The host port and the address of each.
fn places(api: &Api, names: &[String]) -> Vec<(u16, String)> {
    let of = |name: &String| {
        let found = api
            .must("GET", &format!("/containers/{name}/json"), "", 200)
            .json();
        let network = &found["NetworkSettings"];
        let port = network["Ports"]["80/tcp"][0]["HostPort"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let address = network["Networks"].as_object().unwrap().values().next().unwrap();
        (port, address["IPAddress"].as_str().unwrap().to_owned())
    };
    names.iter().map(of).collect()
}

/// What these processes live in.
fn namespaces(api: &Api, names: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in names {
        let document = api
            .must("GET", &format!("/containers/{name}/json"), "", 200)
            .json();
        let pid = document["State"]["Pid"].as_u64().unwrap();
        for kind in ["net", "mnt", "pid", "uts", "ipc"] {
            let place = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            found.insert(place.to_string_lossy().into_owned());
        }
    }
    found
}

/// Those of these namespaces in which any process of the machine still is.
fn inhabited(spaces: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        for kind in ["net", "mnt", "pid", "uts", "ipc"] {
            let place = std::fs::read_link(entry.path().join("ns").join(kind)).unwrap_or_default();
            let place = place.to_string_lossy().into_owned();
            if spaces.contains(&place) {
                found.insert(place);
            }
        }
    }
    found
}

#[test]
fn many_containers_at_once_leave_nothing() {
    if crate::skipped("what Berth's own process holds") {
        return;
    }
    let bench = Bench::new();
    let api = Api::of(&bench);
    bench.docker.ok(&["network", "create", "many"]);
    // The first one has the keeper started, and pages of the database made.
    bench
        .docker
        .ok(&["run", "--rm", "-p", "127.0.0.1::80", "app", "true"]);
    let before = until("the first container to be gone", PATIENCE, || {
        let host = Host::of(&bench);
        host.ports.is_empty().then_some(host)
    });
    let count = count();
    let names: Vec<String> = (0..count).map(|number| format!("box{number}")).collect();
    let created = at_once(&names, |name| {
        // Half of them on the default network, half on a user's.
        let even = name.ends_with(['0', '2', '4', '6', '8']);
        let network = if even { "bridge" } else { "many" };
        let wish = format!(
            r#"{{"Image":"app","Cmd":["httpd","-f","-p","80","-h","/www"],"ExposedPorts":{{"80/tcp":{{}}}},
            "HostConfig":{{"NetworkMode":"{network}",
            "PortBindings":{{"80/tcp":[{{"HostIp":"127.0.0.1","HostPort":"0"}}]}}}}}}"#
        );
        api.must("POST", &format!("/containers/create?name={name}"), &wish, 201);
    });
    let started = at_once(&names, |name| {
        drop(api.must("POST", &format!("/containers/{name}/start"), "", 204))
    });
    let places = places(&api, &names);
    let distinct: BTreeSet<_> = places.iter().map(|(_, address)| address).collect();
    assert_eq!(
        distinct.len(),
        count,
        "each has an address of its own: {places:?}"
    );
    for (port, address) in &places {
        let answer = until("an answer of a container", PATIENCE, || {
            request(([127, 0, 0, 1], *port).into(), "GET", "/index.html", &[], b"").ok()
        });
        assert_eq!(answer.text(), "hello from the container\n", "{address}");
    }
    let spaces = namespaces(&api, &names);
    assert_eq!(spaces.len(), count * 5, "each has namespaces of its own");
    let listed = api.must("GET", "/containers/json", "", 200).json();
    assert_eq!(listed.as_array().unwrap().len(), count);
    let removed = at_once(&names, |name| {
        api.must("DELETE", &format!("/containers/{name}?force=1"), "", 204);
    });
    println!("{count} containers: created in {created:?}, started in {started:?}, removed in {removed:?}");
    let mut after = Host::of(&bench);
    let end = Instant::now() + PATIENCE;
    // The kernel takes networks away a little later.
    until(
        "the host to be as before",
        PATIENCE + Duration::from_secs(1),
        || {
            after = Host::of(&bench);
            (after == before || Instant::now() > end).then_some(())
        },
    );
    assert_eq!(after, before);
    assert_eq!(inhabited(&spaces), BTreeSet::new(), "namespaces are left");
    bench.docker.ok(&["network", "rm", "many"]);
    bench.finish();
}

#[test]
fn a_fork_bomb_stays_within_its_limit() {
    let bench = Bench::new();
    let bomb = "b() { b & b & wait; }; b";
    bench.docker.ok(&[
        "run",
        "-d",
        "--name",
        "bomb",
        "--pids-limit",
        "40",
        "--cpus",
        "0.5",
        "app",
        "sh",
        "-c",
        bomb,
    ]);
    let top = || bench.docker.run(&["top", "bomb"]).stdout.lines().count();
    until("the bomb to go off", PATIENCE, || {
        let state = bench
            .docker
            .ok(&["inspect", "--format", "{{.State.Status}}", "bomb"]);
        (top() > 20 || state == "exited").then_some(())
    });
    assert!(top() <= 41, "a heading and at most 40 processes");
    assert_eq!(
        bench.docker.ok(&["run", "--rm", "app", "echo", "unharmed"]),
        "unharmed"
    );
    bench.docker.ok(&["rm", "-f", "bomb"]);
    bench.finish();
}

#[test]
fn a_memory_hog_is_killed_and_said_so() {
    let bench = Bench::new();
    let docker = &bench.docker;
    docker.ok(&["run", "-d", "--name", "beside", "app", "sleep", "1000"]);
    // The first process itself is the hog here.
    let hog = docker.run(&["run", "--name", "hog", "-m", "16m", "app", "tail", "/dev/zero"]);
    assert_eq!(hog.code, 137, "{}", hog.stderr);
    let format = "{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Status}}";
    assert_eq!(
        docker.ok(&["inspect", "--format", format, "hog"]),
        "true 137 exited"
    );
    assert_eq!(
        docker.ok(&["inspect", "--format", "{{.State.Status}}", "beside"]),
        "running"
    );
    // A kill without need is not said to be one for memory.
    docker.ok(&["kill", "beside"]);
    docker.ok(&["wait", "beside"]);
    assert_eq!(
        docker.ok(&["inspect", "--format", format, "beside"]),
        "false 137 exited"
    );
    docker.ok(&["rm", "hog", "beside"]);
    bench.finish();
}

#[test]
fn a_flood_of_logs_stays_within_its_bound() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let flood = "while true; do seq 1 1000; done";
    let bound = ["--log-opt", "max-size=100k", "--log-opt", "max-file=2"];
    docker.ok(&[
        &["run", "-d", "--name", "flood"],
        &bound[..],
        &["app", "sh", "-c", flood],
    ]
    .concat());
    let path = docker.ok(&["inspect", "--format", "{{.LogPath}}", "flood"]);
    let folder = Path::new(&path).parent().unwrap().to_owned();
    let size = || -> u64 {
        let entries = std::fs::read_dir(&folder).unwrap().flatten();
        let logs = entries.filter(|entry| entry.file_name().to_string_lossy().contains("-json.log"));
        // A file may be renamed between the listing and the look.
        logs.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
    };
    let mut renamed = BTreeSet::new();
    until("ten full files", PATIENCE, || {
        use std::os::unix::fs::MetadataExt;
        assert!(size() < 250_000, "{} bytes of logs", size());
        renamed.extend(std::fs::metadata(format!("{path}.1")).map(|file| (file.ino(), file.mtime_nsec())));
        (renamed.len() >= 10).then_some(())
    });
    assert_eq!(docker.ok(&["run", "--rm", "app", "echo", "heard"]), "heard");
    docker.ok(&["stop", "-t", "0", "flood"]);
    let kept = docker.ok(&["logs", "flood"]);
    let numbers: Vec<u32> = kept.lines().map(|line| line.parse().unwrap()).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] % 1000 + 1),
        "what is kept has no gap"
    );
    docker.ok(&["rm", "flood"]);
    bench.finish();
}

#[test]
fn who_ignores_the_wish_to_stop_is_killed() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let deaf = "trap '' TERM; echo ready; while true; do sleep 1; done";
    docker.ok(&["run", "-d", "--name", "deaf", "app", "sh", "-c", deaf]);
    until("it to be deaf", PATIENCE, || {
        (docker.ok(&["logs", "deaf"]) == "ready").then_some(())
    });
    let begun = Instant::now();
    docker.ok(&["stop", "-t", "2", "deaf"]);
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "it got the time that it was given"
    );
    assert_eq!(
        docker.ok(&["inspect", "--format", "{{.State.ExitCode}}", "deaf"]),
        "137"
    );
    docker.ok(&["rm", "deaf"]);
    bench.finish();
}

#[test]
fn a_layer_of_ten_thousand_files_is_whole() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let imported = run(
        docker.command(&["import", "-", "crowd"]).stdin(crowd(&bench)),
        PATIENCE,
    );
    assert!(imported.ok().starts_with("sha256:"), "{}", imported.stdout);
    let script = "ls /crowd/* | grep -c '^f'; cat /crowd/99/f99; echo new > /crowd/5/f5; cat /crowd/5/f5";
    let seen = docker.ok(&["run", "--name", "one", "crowd", "sh", "-c", script]);
    assert_eq!(seen, format!("{FILES}\nfile 9999\nnew"));
    // The next container has the image's own files.
    assert_eq!(
        docker.ok(&["run", "--rm", "crowd", "cat", "/crowd/5/f5"]),
        "file 505"
    );
    let listed = docker.ok(&[
        "export",
        "-o",
        &bench.scratch.join("out.tar").to_string_lossy(),
        "one",
    ]);
    assert_eq!(listed, "");
    let names = run(
        Command::new("tar").arg("-tf").arg(bench.scratch.join("out.tar")),
        PATIENCE,
    );
    let files = names
        .ok()
        .lines()
        .filter(|name| name.contains("crowd/") && !name.ends_with('/'));
    assert_eq!(files.count(), FILES);
    docker.ok(&["rm", "one"]);
    docker.ok(&["rmi", "crowd"]);
    bench.finish();
}

/// The test's root file system with many files more, as an archive.
fn crowd(bench: &Bench) -> std::fs::File {
    let (root, archive) = (bench.scratch.join("crowd"), bench.scratch.join("crowd.tar"));
    std::fs::create_dir(&root).unwrap();
    let tar = |what: &str, file: &Path, more: &[&str]| {
        let mut command = Command::new("tar");
        command.arg(what).arg(file).arg("-C").arg(&root).args(more);
        let done = run(&mut command, PATIENCE);
        assert_eq!(done.code, 0, "tar: {}", done.stderr);
    };
    tar("-xf", &bench.scratch.join("rootfs.tar"), &[]);
    for number in 0..FILES {
        let folder = root.join("crowd").join((number / 100).to_string());
        if number % 100 == 0 {
            std::fs::create_dir_all(&folder).unwrap();
        }
        std::fs::write(
            folder.join(format!("f{}", number % 100)),
            format!("file {number}\n"),
        )
        .unwrap();
    }
    tar("-cf", &archive, &["."]);
    std::fs::File::open(archive).unwrap()
}
