//! `berth run|ps|logs|stop|rm` against an engine, without the docker client.

use berth_harness::{Engine, Scratch, busybox_rootfs, need_root};

use crate::berth;

#[test]
fn containers_run_without_the_docker_client() {
    need_root();
    let scratch = Scratch::new();
    let mut engine = Engine::start(&berth(), &scratch, &[]);
    let host = engine.host();
    let run = |words: &[&str]| berth().run(&[&["--host", &host], words].concat());
    let rootfs = busybox_rootfs(scratch.path());
    assert!(
        run(&["import", &rootfs.to_string_lossy(), "app"])
            .ok()
            .starts_with("sha256:")
    );
    assert!(run(&["images"]).ok().contains("app"));
    assert_eq!(run(&["run", "--rm", "app", "echo", "hi"]).ok(), "hi");
    assert_eq!(run(&["run", "--rm", "app", "sh", "-c", "exit 3"]).code, 3);
    assert_eq!(run(&["run", "--rm", "app", "nosuch"]).code, 127);
    assert_eq!(run(&["run", "--rm", "nosuch", "true"]).code, 125);
    assert_eq!(
        run(&[
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "127.0.0.1::80",
            "app",
            "sh",
            "-c",
            "echo started; exec sleep 1000"
        ])
        .ok()
        .len(),
        64
    );
    assert!(run(&["ps"]).ok().contains("web"));
    let json: serde_json::Value = serde_json::from_str(run(&["--output", "json", "ps"]).ok()).unwrap();
    assert!(json.to_string().contains("/web"), "{json}");
    assert_eq!(run(&["logs", "web"]).ok(), "started");
    let second = run(&["run", "-d", "--name", "web", "app", "true"]);
    assert_eq!(second.code, 125);
    assert!(second.stderr.contains("/web"), "{}", second.stderr);
    run(&["restart", "-t", "1", "web"]).ok();
    assert_eq!(run(&["pause", "web"]).ok(), "web");
    assert!(run(&["ps"]).ok().contains("(Paused)"));
    assert_eq!(run(&["pause", "web"]).code, 1);
    assert_eq!(run(&["unpause", "web"]).ok(), "web");
    let top = run(&["top", "web"]);
    assert!(
        top.ok().starts_with("UID ") && top.ok().contains("sleep 1000"),
        "{top:?}"
    );
    assert!(run(&["top", "web", "-o", "pid,args"]).ok().starts_with("PID "));
    let stats = run(&["stats"]);
    assert!(
        stats.ok().starts_with("NAME ") && stats.ok().contains("web "),
        "{stats:?}"
    );
    run(&["stop", "-t", "1", "web"]).ok();
    run(&["rm", "web"]).ok();
    assert!(!run(&["ps", "-a"]).ok().contains("web"));
    engine.teardown();
    engine.leftovers().expect_none();
}
