//! What takes room, and how it is given back.

use std::time::Duration;

use berth_harness::{request_unix, until};
use serde_json::Value;

use crate::{Bench, with_each_client};

/// Longest wait for a container.
const PATIENCE: Duration = Duration::from_secs(30);

fn disk(bench: &Bench) -> Value {
    let answer = request_unix(&bench.engine.socket(), "GET", "/system/df", &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_str(&answer.text()).unwrap()
}

#[test]
fn sizes_are_counted() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let write = "dd if=/dev/zero of=/file bs=1000 count=2000 2>/dev/null";
        docker.ok(&["run", "--name", "big", "app", "sh", "-c", write]);
        docker.ok(&["run", "--name", "small", "app", "true"]);
        let usage = disk(bench);
        let of = |list: &str, key: &str, wanted: &str| {
            let rows = usage[list].as_array().unwrap().clone();
            let found = rows.into_iter().find(|row| row[key].to_string().contains(wanted));
            found.unwrap_or_else(|| panic!("{wanted} in {usage}"))
        };
        let big = of("Containers", "Names", "/big");
        assert!(
            (2_000_000..2_100_000).contains(&big["SizeRw"].as_i64().unwrap()),
            "{big}"
        );
        let image = of("Images", "RepoTags", "app:latest");
        assert_eq!(image["Containers"], 2);
        let layers = usage["LayersSize"].as_i64().unwrap();
        assert!(layers >= image["Size"].as_i64().unwrap(), "{usage}");
        docker.ok(&[
            "run",
            "--name",
            "filler",
            "-v",
            "data:/data",
            "app",
            "sh",
            "-c",
            "echo 12345 > /data/file",
        ]);
        let volume = disk(bench)["Volumes"][0].clone();
        assert_eq!(
            (&volume["Name"], &volume["UsageData"]["RefCount"]),
            (&Value::from("data"), &Value::from(1))
        );
        assert!(volume["UsageData"]["Size"].as_u64().unwrap() >= 6, "{volume}");
        docker.ok(&["rm", "filler"]);
        docker.ok(&["volume", "rm", "data"]);
        let shown = docker.ok(&["system", "df"]);
        for word in ["Images", "Containers", "Local Volumes", "Build Cache"] {
            assert!(shown.contains(word), "{word} in {shown}");
        }
        docker.ok(&["system", "df", "-v"]);
        let sized = docker.ok(&["ps", "-as", "--filter", "name=big", "--format", "{{.Size}}"]);
        assert!(sized.starts_with("2MB (virtual "), "{sized}");
        let inspected = docker.ok(&["inspect", "-s", "--format", "{{.SizeRw}} {{.SizeRootFs}}", "big"]);
        let sizes: Vec<i64> = inspected
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(sizes[1] > sizes[0] && sizes[0] >= 2_000_000, "{inspected}");
        docker.ok(&["rm", "big", "small"]);
    });
}

#[test]
fn what_nobody_needs_goes() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        docker.ok(&["run", "-d", "--name", "runs", "app", "sleep", "1000"]);
        docker.ok(&["create", "--name", "kept", "--label", "keep=1", "app", "true"]);
        docker.ok(&["create", "--name", "new", "app", "true"]);
        docker.ok(&[
            "run",
            "--name",
            "done",
            "app",
            "sh",
            "-c",
            "dd if=/dev/zero of=/file bs=1000 count=1000 2>/dev/null",
        ]);
        let left = || {
            let names = docker.ok(&["ps", "-a", "--format", "{{.Names}}"]);
            let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
            names.sort_unstable();
            names.join(" ")
        };
        docker.ok(&["container", "prune", "-f", "--filter", "until=1h"]);
        assert_eq!(left(), "done kept new runs", "nothing is that old");
        docker.ok(&["container", "prune", "-f", "--filter", "label=nothing"]);
        assert_eq!(left(), "done kept new runs");
        let pruned = docker.ok(&["container", "prune", "-f", "--filter", "label!=keep"]);
        assert!(
            pruned.contains("Total reclaimed space: 1MB") || pruned.contains("Total reclaimed space: 1.0"),
            "{pruned}"
        );
        assert_eq!(left(), "kept runs");
        // An image without a name, one that nobody uses, and one that is used.
        let rootfs = bench.scratch.join("rootfs.tar").to_string_lossy().into_owned();
        docker.ok(&["import", "--change", "LABEL a=1", &rootfs, "other"]);
        let nameless = docker.ok(&["import", "--change", "LABEL a=2", &rootfs]);
        let pruned = docker.ok(&["image", "prune", "-f"]);
        assert!(pruned.contains(&nameless), "{pruned}");
        assert!(
            docker
                .ok(&["images", "--format", "{{.Repository}}"])
                .contains("other")
        );
        docker.ok(&["image", "prune", "-af", "--filter", "label=a=9"]);
        assert!(
            docker
                .ok(&["images", "--format", "{{.Repository}}"])
                .contains("other")
        );
        let pruned = docker.ok(&["image", "prune", "-af"]);
        assert!(pruned.contains("untagged: other:latest"), "{pruned}");
        assert_eq!(docker.ok(&["images", "--format", "{{.Repository}}"]), "app");
        let bad = docker.run(&["container", "prune", "-f", "--filter", "until=yesterday"]);
        assert!(bad.code != 0 && bad.stderr.contains("yesterday"), "{bad:?}");
        docker.ok(&["rm", "-f", "runs"]);
        until("the removal", PATIENCE, || (left() == "kept").then_some(()));
        docker.ok(&["builder", "prune", "-f"]);
        docker.ok(&["rm", "kept"]);
    });
}
