//! API 1.13 to 1.16 as scripts of 2014 speak it, by curl.

use std::process::{Command, Stdio};

use berth_harness::{Finished, run};
use serde_json::Value;

use crate::Bench;
use crate::typed::PATIENCE;

/// A request of curl; the last line of the output is the status.
fn curl(bench: &Bench, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "50", "-X", method, "-w", "\n%{http_code}"])
        .arg("--unix-socket")
        .arg(bench.engine.socket())
        .arg(format!("http://localhost{path}"))
        .stdin(Stdio::null());
    if let Some(body) = body {
        command.args(["-H", "Content-Type: application/json", "-d", body]);
    }
    let Finished { code, stdout, stderr } = run(&mut command, PATIENCE);
    assert_eq!(code, 0, "{path}: {stderr}");
    let (text, status) = stdout.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), text.to_owned())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The names of a list, newest first.
fn names(text: &str) -> Vec<String> {
    let rows = json(text);
    let name = |row: &Value| {
        row["Names"][0]
            .as_str()
            .unwrap()
            .trim_start_matches('/')
            .to_owned()
    };
    rows.as_array().unwrap().iter().map(name).collect()
}

/// What create said holds beside what start says.
fn limits_are_kept(bench: &Bench, document: &serde_json::Value) {
    if !bench
        .engine
        .differs("dockerd forgets limits of create when start says something")
    {
        assert_eq!(document["HostConfig"]["Memory"], 67_108_864, "{document}");
        assert_eq!(document["HostConfig"]["CpuShares"], 512);
    }
}

#[test]
fn scripts_of_2014_work() {
    let bench = Bench::new();
    for version in ["1.13", "1.14", "1.15", "1.16"] {
        let call = |method: &str, path: &str, body: Option<&str>| {
            curl(&bench, method, &format!("/v{version}{path}"), body)
        };
        assert_eq!(call("GET", "/_ping", None), (200, "OK".to_owned()));
        assert!(json(&call("GET", "/version", None).1)["ApiVersion"].is_string());
        assert!(json(&call("GET", "/info", None).1)["Containers"].is_number());
        // Limits stand at the top level, and there is no HostConfig.
        let config = r#"{"Image":"app","Cmd":["sh","-c","echo $A; cat /given/file; sleep 1000"],"Env":["A=1"],
            "Memory":67108864,"MemorySwap":-1,"CpuShares":512,"Tty":false,"Volumes":{"/anon":{}}}"#;
        let (status, made) = call("POST", "/containers/create?name=old", Some(config));
        assert_eq!(status, 201, "{made}");
        let id = json(&made)["Id"].as_str().unwrap().to_owned();
        let given = bench.scratch.join("given");
        std::fs::create_dir_all(&given).unwrap();
        std::fs::write(given.join("file"), "from the host\n").unwrap();
        let host = format!(
            r#"{{"Binds":["{}:/given:ro"],"PublishAllPorts":true,"Dns":["127.0.0.1"]}}"#,
            given.display()
        );
        assert_eq!(call("POST", "/containers/old/start", Some(&host)).0, 204);
        assert_eq!(call("POST", "/containers/old/start", None).0, 304);
        berth_harness::until("the log", PATIENCE, || {
            let logs = call("GET", "/containers/old/logs?stdout=1&tail=all", None).1;
            (logs.contains("1\n") && logs.contains("from the host")).then_some(())
        });
        let document = json(&call("GET", "/containers/old/json", None).1);
        limits_are_kept(&bench, &document);
        assert_eq!(document["Id"], id.as_str());
        assert_eq!(call("POST", "/containers/old/stop?t=0", None).0, 204);
        assert_eq!(
            json(&call("POST", "/containers/old/wait", None).1)["StatusCode"],
            137
        );
        let (status, committed) = call(
            "POST",
            "/commit?container=old&repo=kept&tag=1&m=remark&author=me",
            Some("{}"),
        );
        assert_eq!(status, 201, "{committed}");
        let image = json(&call("GET", "/images/kept:1/json", None).1);
        assert_eq!(image["Author"], "me");
        if !bench
            .engine
            .differs("dockerd reads the comment of later versions only")
        {
            assert_eq!(image["Comment"], "remark");
        }
        let listed = call("GET", "/images/json?filter=kept", None).1;
        assert_eq!(json(&listed).as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(call("DELETE", "/images/kept:1", None).0, 200);
        assert_eq!(call("DELETE", "/containers/old?v=1&force=1", None).0, 204);
        assert_eq!(call("GET", "/containers/old/json", None).0, 404);
    }
    bench.docker.ok(&["create", "--name", "body", "app", "true"]);
    // From 1.24 on the start has no body.
    let body = curl(
        &bench,
        "POST",
        "/v1.24/containers/body/start",
        Some(r#"{"Binds":[]}"#),
    );
    assert!(
        body.0 == 400 && body.1.contains("deprecated since API v1.22"),
        "{body:?}"
    );
    bench.finish();
}

#[test]
fn lists_are_cut_by_limit_before_and_since() {
    let bench = Bench::new();
    for name in ["one", "two", "three"] {
        bench.docker.ok(&["create", "--name", name, "app", "true"]);
    }
    let list = |query: &str| names(&curl(&bench, "GET", &format!("/v1.14/containers/json?{query}"), None).1);
    assert_eq!(list("all=1"), ["three", "two", "one"]);
    assert_eq!(list("all=1&limit=1"), ["three"]);
    assert_eq!(list("limit=2"), ["three", "two"]);
    assert_eq!(list("all=0"), [""; 0]);
    if bench
        .engine
        .differs("dockerd 20.10 has forgotten since and before")
    {
        return;
    }
    assert_eq!(list("all=1&since=one"), ["three", "two"]);
    assert_eq!(list("all=1&before=three"), ["two", "one"]);
    assert_eq!(list("all=1&before=three&since=one"), ["two"]);
    bench.finish();
}
