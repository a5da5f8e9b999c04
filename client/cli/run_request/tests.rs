//! Words of `berth run` and the parts of the request that they make.

use std::io;
use std::path::Path;

use clap::Parser;

use super::*;
use crate::args::{Cli, Command};

/// The request of a command line, as JSON without everything that is empty; or the error.
fn check(words: &str) -> String {
    let words = words.split_whitespace().map(str::to_owned);
    let line = ["berth", "run"].map(str::to_owned).into_iter().chain(words);
    let cli = match Cli::try_parse_from(line) {
        Ok(cli) => cli,
        Err(error) => return error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    let Command::Run(args) = cli.command else {
        panic!("not run")
    };
    let around = Surroundings {
        variable: &|name| (name == "HOME").then(|| "/here".to_owned()),
        file: &|path| match path {
            path if path == Path::new("vars") => Ok("# remark\n\nA=1\n  B=x y\nHOME\nNONE\n".to_owned()),
            path if path == Path::new("profile") => {
                Ok("{ \"defaultAction\": \"SCMP_ACT_ALLOW\" }".to_owned())
            }
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        },
    };
    match create_request(&args, &around) {
        Ok(request) => shrink(serde_json::to_value(request).expect("json")).to_string(),
        Err(error) => error.to_string(),
    }
}

/// Drops what says nothing, and what every request says.
fn shrink(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    let Value::Object(map) = value else { return value };
    map.into_iter()
        .filter(|(key, value)| match value {
            Value::Null => false,
            Value::Bool(flag) => *flag,
            Value::Number(number) => number.as_i64() != Some(0),
            Value::String(text) => key == "bare" || !text.is_empty() && text != "no" && text != "default",
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty() || key.contains('/'),
        })
        .map(|(key, value)| (key, shrink(value)))
        .filter(|(key, value)| {
            let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
            key != "NetworkingConfig" && (!empty || key.contains('/'))
        })
        .collect()
}

#[test]
fn words_and_requests() {
    let both = r#""AttachStderr":true,"AttachStdout":true"#;
    for (words, wanted) in [
        ("app echo hi", format!(r#"{{{both},"Cmd":["echo","hi"],"Image":"app"}}"#)),
        ("-d app", r#"{"Image":"app"}"#.to_owned()),
        (
            "-i app cat",
            r#"{"AttachStderr":true,"AttachStdin":true,"AttachStdout":true,"Cmd":["cat"],"Image":"app","OpenStdin":true,"StdinOnce":true}"#.to_owned(),
        ),
        ("-di app cat", r#"{"Cmd":["cat"],"Image":"app","OpenStdin":true}"#.to_owned()),
        ("-dt app", r#"{"Image":"app","Tty":true}"#.to_owned()),
        (
            "-d -e A=1 --env-file vars -e HOME -e GONE app",
            r#"{"Env":["A=1","B=x y","HOME=/here","A=1","HOME=/here"],"Image":"app"}"#.to_owned(),
        ),
        (
            "-d --rm -w /srv -u 1:2 -h box --entrypoint /bin/sh -l a=b -l bare app -c true",
            r#"{"Cmd":["-c","true"],"Entrypoint":["/bin/sh"],"HostConfig":{"AutoRemove":true},"Hostname":"box","Image":"app","Labels":{"a":"b","bare":""},"User":"1:2","WorkingDir":"/srv"}"#.to_owned(),
        ),
        (
            "-d --device /dev/fuse --device /dev/a:/dev/b:r --device /dev/c:rw --pid host --ipc container:x --uts host --volumes-from y:ro -v data:/d -v /anon app",
            r#"{"HostConfig":{"Binds":["data:/d"],"Devices":[{"CgroupPermissions":"rwm","PathInContainer":"/dev/fuse","PathOnHost":"/dev/fuse"},{"CgroupPermissions":"r","PathInContainer":"/dev/b","PathOnHost":"/dev/a"},{"CgroupPermissions":"rw","PathInContainer":"/dev/c","PathOnHost":"/dev/c"}],"IpcMode":"container:x","PidMode":"host","UTSMode":"host","VolumesFrom":["y:ro"]},"Image":"app","Volumes":{"/anon":{}}}"#.to_owned(),
        ),
        (
            "-d -p 8000:80 -p 127.0.0.1::80 -P --network none app",
            r#"{"ExposedPorts":{"80/tcp":{}},"HostConfig":{"NetworkMode":"none","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8000"},{"HostIp":"127.0.0.1","HostPort":""}]},"PublishAllPorts":true},"Image":"app"}"#.to_owned(),
        ),
        (
            "-d -m 512m --memory-swap -1 --cpus 0.5 --pids-limit 9 --ulimit nofile=1:2 --read-only app",
            r#"{"HostConfig":{"Memory":536870912,"MemorySwap":-1,"NanoCpus":500000000,"PidsLimit":9,"ReadonlyRootfs":true,"Ulimits":[{"Hard":2,"Name":"nofile","Soft":1}]},"Image":"app"}"#.to_owned(),
        ),
        (
            "-d --cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges --security-opt seccomp=profile app",
            r#"{"HostConfig":{"CapAdd":["NET_ADMIN"],"CapDrop":["ALL"],"SecurityOpt":["no-new-privileges","seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"]},"Image":"app"}"#.to_owned(),
        ),
        (
            "-d -v /a:/b:ro --tmpfs /t:size=1m --sysctl a.b=1 --restart on-failure:3 app",
            r#"{"HostConfig":{"Binds":["/a:/b:ro"],"RestartPolicy":{"MaximumRetryCount":3,"Name":"on-failure"},"Sysctls":{"a.b":"1"},"Tmpfs":{"/t":"size=1m"}},"Image":"app"}"#.to_owned(),
        ),
    ] {
        let seen = check(words);
        assert_eq!(seen, wanted, "{words}");
    }
}

#[test]
fn what_cannot_be_sent_is_named() {
    for (words, wanted) in [
        (
            "-p 0:80 app",
            r#"--publish "0:80": a port is a number from 1 to 65535"#,
        ),
        (
            "-p 80/icmp app",
            r#"--publish "80/icmp": the protocol must be tcp, udp or sctp"#,
        ),
        (
            "-p x::80 app",
            r#"--publish "x::80": the address of the host is no IP address"#,
        ),
        (
            "-p 1-2:80 app",
            r#"--publish "1-2:80": the ranges of ports have different lengths"#,
        ),
        (
            "--expose 9-8 app",
            r#"--expose "9-8": the range of ports runs backwards"#,
        ),
        (
            "-m lots app",
            r#"--memory "lots": the unit must be b, k, m, g, t or p"#,
        ),
        (
            "--cpus x app",
            r#"--cpus "x": it is no number of CPUs, such as 0.5"#,
        ),
        (
            "-e =x app",
            r#"--env "=x": the name of the variable is missing or has a blank in it"#,
        ),
        ("--env-file none app", r#"--env-file "none": entity not found"#),
        (
            "--ulimit nofile app",
            r#"--ulimit "nofile": it must be NAME=SOFT[:HARD]"#,
        ),
        (
            "--restart often app",
            r#"--restart "often": it must be no, on-failure[:N], always or unless-stopped"#,
        ),
        (
            "--restart always:3 app",
            r#"--restart "always:3": it must be no, on-failure[:N], always or unless-stopped"#,
        ),
        ("--sysctl a app", r#"--sysctl "a": it must be NAME=VALUE"#),
        ("--gpus all app", "error: unexpected argument '--gpus' found"),
    ] {
        assert_eq!(check(words), wanted, "{words}");
    }
}

#[test]
fn ranges_of_ports_are_spelled_out() {
    let seen = check("-d -p [::1]:8000-8001:80-81/udp app");
    assert!(
        seen.contains(r#""80/udp":[{"HostIp":"::1","HostPort":"8000"}]"#),
        "{seen}"
    );
    assert!(
        seen.contains(r#""81/udp":[{"HostIp":"::1","HostPort":"8001"}]"#),
        "{seen}"
    );
}

#[test]
fn what_is_asked_of_a_network_stands_with_it() {
    let words = "--network net --network-alias www --ip 10.1.2.3 --ip6 fd00::3 --mac-address 02:00:00:00:00:01 --link db:data app";
    let request: serde_json::Value = serde_json::from_str(&check(words)).expect("a request");
    assert_eq!(request["HostConfig"]["Links"], serde_json::json!(["db:data"]));
    assert_eq!(request["HostConfig"]["NetworkMode"], "net");
    let line = ["berth", "run"].into_iter().chain(words.split(' '));
    let Command::Run(args) = Cli::try_parse_from(line).expect("a command line").command else {
        panic!("not run")
    };
    let endpoint = serde_json::to_value(super::endpoint(&args)).expect("json");
    assert_eq!(endpoint["Aliases"], serde_json::json!(["www"]));
    assert_eq!(endpoint["MacAddress"], "02:00:00:00:00:01");
    let addresses = serde_json::json!({"IPv4Address": "10.1.2.3", "IPv6Address": "fd00::3"});
    assert_eq!(endpoint["IPAMConfig"], addresses);
}
