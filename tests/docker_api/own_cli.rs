//! Berth's own commands for containers: what they print is what docker's client prints, on the same engine.

use std::fs;
use std::process::{Command, Stdio};

use berth_harness::{Finished, run, until};

use crate::typed::{PATIENCE, Typed};
use crate::{Bench, berth, skipped};

/// A command of berth on the bench's engine.
fn command(bench: &Bench, words: &[&str]) -> Command {
    let mut command = berth().command(&["--host", &bench.engine.host()]);
    command.args(words).stdin(Stdio::null());
    command
}

fn own(bench: &Bench, words: &[&str]) -> Finished {
    run(&mut command(bench, words), PATIENCE)
}

/// Both clients say the same to these words.
fn alike(bench: &Bench, words: &[&str]) -> String {
    let text = own(bench, words).ok().to_owned();
    assert_eq!(text, bench.docker.ok(words), "{words:?}");
    text
}

#[test]
fn a_person_has_a_terminal_in_a_container() {
    if skipped("the command `berth`") {
        return;
    }
    let bench = Bench::new();
    let typed = |words: &[&str]| Typed::start(&command(&bench, words));
    let mut shell = typed(&["run", "-it", "--name", "shell", "app", "sh"]);
    shell.shows("#");
    shell.types("echo size: $(busybox stty size)\r");
    shell.shows("size: 31 97\r");
    shell.resizes(21, 65);
    // The shell hears of it when the engine has told it.
    shell.types("until test \"$(busybox stty size)\" = '21 65'; do :; done; echo now $((20+1))\r");
    shell.shows("\r\nnow 21\r");
    shell.types("echo go; sleep 100\r");
    shell.shows("\r\ngo\r");
    shell.types("\u{3}");
    shell.types("echo $((40+2))\r");
    shell.shows("\r\n42\r");
    shell.types("\u{10}\u{11}");
    assert_eq!(shell.code(), 0);
    let running = ["inspect", "--format", "{{.State.Running}}", "shell"];
    assert_eq!(bench.docker.ok(&running), "true");

    let mut again = typed(&["attach", "--detach-keys", "ctrl-a", "shell"]);
    // The usual keys are keys like others now.
    again.types("echo $((50+4))\r");
    again.shows("\r\n54\r");
    again.types("\u{10}\u{11}\u{3}echo $((50+5))\r");
    again.shows("\r\n55\r");
    again.types("\u{1}");
    again.shows("read escape sequence");
    assert_eq!(again.code(), 1);

    let mut other = typed(&[
        "exec", "-it", "-e", "A=1", "-w", "/www", "-u", "app", "shell", "sh",
    ]);
    other.types("echo $A $(pwd) $(id -un) $((60+6))\r");
    other.shows("1 /www app 66\r");
    other.types("exit 9\r");
    assert_eq!(other.code(), 9);

    let mut last = typed(&["attach", "shell"]);
    last.types("exit 3\r");
    assert_eq!(last.code(), 3);
    let mut restarted = typed(&["start", "-ai", "shell"]);
    restarted.types("exit 4\r");
    assert_eq!(restarted.code(), 4);
    bench.finish();
}

#[test]
fn commands_run_in_containers_without_a_terminal() {
    if skipped("the command `berth`") {
        return;
    }
    let bench = Bench::new();
    let own = |words: &[&str]| own(&bench, words);
    let tty = own(&["run", "--rm", "-t", "app", "sh", "-c", "test -t 1 && echo tty"]);
    assert_eq!(tty.ok(), "tty\r");
    let refused = own(&["run", "--rm", "-it", "app", "sh"]);
    assert!(
        refused.code == 125 && refused.stderr.contains("the input device is not a TTY"),
        "{refused:?}"
    );
    own(&["run", "-d", "--name", "box", "-e", "A=1", "app", "sleep", "1000"]).ok();
    let both = own(&[
        "exec",
        "-e",
        "B=2",
        "box",
        "sh",
        "-c",
        "echo $A$B; echo err >&2; exit 5",
    ]);
    assert_eq!(
        (both.code, both.stdout.as_str(), both.stderr.as_str()),
        (5, "12\n", "err\n")
    );
    assert_eq!(
        own(&["exec", "box", "nosuch"]).code,
        bench.docker.run(&["exec", "box", "nosuch"]).code
    );
    assert_eq!(own(&["exec", "-d", "box", "touch", "/tmp/made"]).code, 0);
    until("the file", PATIENCE, || {
        (own(&["exec", "box", "ls", "/tmp/made"]).code == 0).then_some(())
    });
    assert_eq!(own(&["exec", "--privileged", "box", "id", "-u"]).ok(), "0");
    assert_eq!(own(&["exec", "nobody", "true"]).code, 1);
    let line = command(&bench, &["exec", "-i", "box", "sh", "-c", "cat; echo after"]);
    let mut piped = Command::new("sh");
    piped.arg("-c").arg(format!("printf 'one\\ntwo\\n' | {line:?}"));
    assert_eq!(run(&mut piped, PATIENCE).ok(), "one\ntwo\nafter");

    own(&[
        "create",
        "--name",
        "made",
        "app",
        "sh",
        "-c",
        "echo started; exit 6",
    ])
    .ok();
    let started = own(&["start", "-a", "made"]);
    assert_eq!((started.code, started.stdout.as_str()), (6, "started\n"));
    assert_eq!(own(&["attach", "made"]).code, 1);
    assert_eq!(own(&["wait", "made"]).ok(), "6");
    bench.finish();
}

/// Lines that both clients answer alike.
const ALIKE: &[&str] = &[
    "port web 80",
    "port web 81/udp",
    "logs web",
    "logs --tail 2 web",
    "logs --tail -1 web",
    "logs -t web",
    "logs --details web",
    "logs --since 10m web",
    "logs --until 2020-01-01 web",
    "logs --since 2020-01-01T00:00:00Z --until 2100-01-01 web",
    "container logs web",
    "volume ls -q",
    "volume ls -q --filter dangling=true",
    "ps -q --no-trunc",
    "container ls -aq",
    "image ls -q app",
];

#[test]
fn what_is_shown_is_what_docker_shows() {
    if skipped("the command `berth`") {
        return;
    }
    let bench = Bench::new();
    let docker = &bench.docker;
    docker.ok(&["volume", "create", "data"]);
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1::80",
        "-p",
        "127.0.0.1::81/udp",
        "-v",
        "data:/data",
        "app",
        "sh",
        "-c",
        "echo one; echo two; echo three; touch /tmp/new; rm /www/index.html; exec sleep 1000",
    ]);
    until("the log", PATIENCE, || {
        (docker.ok(&["logs", "web"]).lines().count() == 3).then_some(())
    });
    until("the files", PATIENCE, || {
        docker
            .ok(&["diff", "web"])
            .contains("/www/index.html")
            .then_some(())
    });
    for line in ALIKE {
        alike(&bench, &line.split(' ').collect::<Vec<_>>());
    }
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // These come in an order of docker's own.
    for words in [["diff", "web"], ["port", "web"]] {
        let text = own(&bench, &words).ok().to_owned();
        assert_eq!(sorted(text), sorted(docker.ok(&words)), "{words:?}");
    }
    for (words, wrong) in [
        (&["port", "web", "99"][..], "no public port"),
        (
            &["logs", "--since", "yesterday", "web"],
            "it must be Unix seconds",
        ),
        (&["volume", "inspect", "none"], "no such volume"),
        (&["diff", "nobody"], "No such container"),
    ] {
        let refused = own(&bench, words);
        assert!(
            refused.code == 1 && refused.stderr.contains(wrong),
            "{words:?}: {refused:?}"
        );
    }
    documents_and_events(&bench);
    bench.finish();
}

fn documents_and_events(bench: &Bench) {
    let document: serde_json::Value =
        serde_json::from_str(own(bench, &["volume", "inspect", "data"]).ok()).unwrap();
    assert_eq!(document[0]["Name"], "data");
    let df = own(bench, &["system", "df"]);
    assert!(df.ok().contains("Local Volumes   1       1"), "{df:?}");
    let since = [
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "container=web",
        "--filter",
        "event=start",
    ];
    let seen = own(bench, &[&["events"][..], &since].concat());
    let theirs = bench.docker.ok(&[
        &["events", "--format", "{{.Type}} {{.Action}} {{.ID}}"][..],
        &since,
    ]
    .concat());
    assert!(
        seen.ok().contains(&theirs) && seen.ok().contains("name=web"),
        "{seen:?} {theirs}"
    );
}

#[test]
fn containers_change_and_go() {
    if skipped("the command `berth`") {
        return;
    }
    let bench = Bench::new();
    let docker = &bench.docker;
    let own = |words: &[&str]| own(&bench, words);
    own(&["run", "-d", "--name", "web", "app", "sleep", "1000"]).ok();
    assert_eq!(own(&["rename", "web", "site"]).ok(), "");
    assert_eq!(docker.ok(&["inspect", "--format", "{{.Name}}", "site"]), "/site");
    let update = [
        "container",
        "update",
        "-m",
        "64m",
        "--memory-swap",
        "128m",
        "--restart",
        "always",
        "site",
    ];
    assert_eq!(own(&update).ok(), "site");
    let shown = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(
        docker.ok(&["inspect", "--format", shown, "site"]),
        "67108864 134217728 always"
    );
    own(&["container", "update", "--restart", "no", "site"]).ok();
    own(&["exec", "site", "sh", "-c", "echo kept > /kept"]).ok();
    let id = own(&[
        "commit", "-m", "a remark", "-a", "me", "-c", "ENV A=1", "site", "mine:1",
    ]);
    assert!(id.ok().starts_with("sha256:"), "{id:?}");
    assert_eq!(
        own(&["run", "--rm", "mine:1", "sh", "-c", "cat /kept; echo $A"]).ok(),
        "kept\n1"
    );
    own(&["tag", "mine:1", "reg:5000/mine"]).ok();
    assert_eq!(
        docker.ok(&["images", "-q", "--no-trunc", "reg:5000/mine:latest"]),
        id.ok()
    );
    let tar = bench.scratch.join("all.tar").display().to_string();
    own(&["container", "export", "--file", &tar, "site"]).ok();
    let mut list = Command::new("tar");
    let listed = run(list.args(["-tf", &tar]), PATIENCE);
    assert!(listed.ok().lines().any(|name| name == "kept"), "{listed:?}");
    own(&["stop", "-t", "0", "site"]).ok();
    own(&["volume", "create", "--label", "a=b", "spare"]).ok();
    assert_eq!(
        docker.ok(&["volume", "ls", "-q", "--filter", "label=a=b"]),
        "spare"
    );
    assert!(
        own(&["volume", "prune", "-af"])
            .ok()
            .starts_with("spare\nTotal reclaimed space: ")
    );
    let pruned = own(&["container", "prune", "-f"]);
    assert!(pruned.ok().contains("Total reclaimed space: "), "{pruned:?}");
    assert_eq!(docker.ok(&["ps", "-aq"]), "");
    assert!(own(&["image", "prune", "-af"]).ok().contains("sha256:"));
    own(&["system", "prune", "-f", "--volumes"]).ok();
    assert_eq!(own(&["rm", "nobody"]).code, 1);
    bench.finish();
}

#[test]
fn files_are_copied_both_ways() {
    if skipped("the command `berth`") {
        return;
    }
    let bench = Bench::new();
    let own = |words: &[&str]| own(&bench, words);
    own(&["run", "-d", "--name", "box", "app", "sleep", "1000"]).ok();
    let here = bench.scratch.join("here");
    fs::create_dir_all(here.join("tree/sub")).unwrap();
    fs::write(here.join("tree/sub/file"), "text\n").unwrap();
    fs::write(here.join("page"), "page\n").unwrap();
    let path = |name: &str| here.join(name).display().to_string();
    let inside = |words: &[&str]| own(&[&["exec", "box"], words].concat()).ok().to_owned();
    // A file into a directory, under another name, and over another file.
    own(&["cp", &path("page"), "box:/www"]).ok();
    assert_eq!(inside(&["cat", "/www/page"]), "page");
    own(&["cp", &path("page"), "box:/www/other"]).ok();
    own(&["cp", &path("page"), "box:/www/index.html"]).ok();
    assert_eq!(inside(&["cat", "/www/other", "/www/index.html"]), "page\npage");
    // A directory into one, as a new one, and without itself.
    own(&["cp", &path("tree"), "box:/tmp"]).ok();
    own(&["cp", &path("tree"), "box:/tmp/new"]).ok();
    own(&["cp", &path("tree/."), "box:/root"]).ok();
    let files = inside(&["cat", "/tmp/tree/sub/file", "/tmp/new/sub/file", "/root/sub/file"]);
    assert_eq!(files, "text\ntext\ntext");
    // And back.
    own(&["cp", "box:/tmp/tree", &path("")]).ok();
    own(&["cp", "box:/tmp/tree", &path("fresh")]).ok();
    own(&["cp", "box:/tmp/tree/.", &path("bare")]).ok();
    own(&["cp", "box:/www/page", &path("renamed")]).ok();
    for name in ["fresh/sub/file", "bare/sub/file"] {
        assert_eq!(fs::read_to_string(here.join(name)).unwrap(), "text\n", "{name}");
    }
    assert_eq!(fs::read_to_string(here.join("renamed")).unwrap(), "page\n");
    let packed = own(&["cp", "box:/www/page", "-"]);
    assert!(
        packed.code == 0 && packed.stdout.starts_with("page\0"),
        "{packed:?}"
    );
    for words in [
        ["cp", "box:/nothing", &path("x")],
        ["cp", "nobody:/www", &path("x")],
        ["cp", &path("nothing"), "box:/tmp"],
        ["cp", &path("tree"), "box:/www/page"],
        ["cp", &path("page"), &path("x")],
        ["cp", "box:/www", &path("page")],
    ] {
        let refused = own(&words);
        assert!(
            refused.code == 1 && !refused.stderr.is_empty(),
            "{words:?}: {refused:?}"
        );
    }
    assert!(!here.join("x").exists());
    bench.finish();
}

#[test]
fn networks_are_made_joined_and_removed() {
    if skipped("the command `berth`") {
        return;
    }
    let bench = Bench::new();
    let own = |words: &[&str]| own(&bench, words);
    let id = own(&["network", "create", "--label", "a=b", "inner"])
        .ok()
        .to_owned();
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(
        alike(&bench, &["network", "ls", "-q", "--filter", "label=a=b"]),
        id[..12]
    );
    own(&["run", "-d", "--name", "box", "app", "sleep", "1000"]).ok();
    own(&["network", "connect", "--alias", "crate", "inner", "box"]).ok();
    let shown = "{{range .NetworkSettings.Networks.inner.Aliases}}{{.}} {{end}}";
    assert!(
        bench
            .docker
            .ok(&["inspect", "--format", shown, "box"])
            .contains("crate")
    );
    let document: serde_json::Value =
        serde_json::from_str(own(&["network", "inspect", "inner"]).ok()).unwrap();
    assert_eq!(document[0]["Id"], id.as_str());
    assert_eq!(own(&["network", "rm", "inner"]).code, 1);
    own(&["network", "disconnect", "inner", "box"]).ok();
    assert_eq!(own(&["network", "rm", "inner"]).ok(), "inner");
    own(&["network", "rm", "-f", "inner"]).ok();
    own(&["network", "create", "lonely"]).ok();
    assert!(own(&["network", "prune", "-f"]).ok().starts_with("lonely\n"));
    bench.finish();
}
