//! Tables for what the plans in `tests/` do not show.

use std::path::PathBuf;

use berth_wire::docker::{ContainerConfig, CreateRequest, ImageConfig, Words};

use super::*;
use crate::facts::{Architecture, CgroupLayout};

fn facts() -> Facts {
    Facts {
        cgroup: CgroupLayout::V2 {
            mount: PathBuf::from("/cg"),
            controllers: vec!["pids".to_owned()],
        },
        swap_limit: false,
        cpu_quota: false,
        cpus: 4,
        memory_total: 0,
        last_capability: 40,
        bounding: u64::MAX,
        seccomp: true,
        apparmor: false,
        selinux: true,
        architecture: Some(Architecture::X86_64),
        kcore: false,
        ipv6: false,
        thermal_throttle: Vec::new(),
        kernel_release: String::new(),
        hostname: String::new(),
    }
}

fn spec(request: &str, facts: &Facts) -> Result<Spec, PlanError> {
    let mut request: CreateRequest = serde_json::from_str(request).unwrap();
    request.config.cmd = Some(Words(vec!["true".to_owned()]));
    resolve(&request, &ImageConfig::default(), "abcdef", "name", facts)
}

fn error(request: &str, facts: &Facts) -> String {
    spec(request, facts).unwrap_err().to_string()
}

#[test]
fn what_the_host_lacks_is_refused() {
    let facts = facts();
    for (request, wanted) in [
        (
            r#"{"HostConfig":{"Memory":10000000}}"#,
            "the kernel has no memory cgroup controller, or it is not mounted",
        ),
        (
            r#"{"HostConfig":{"Memory":10000000,"MemorySwap":20000000}}"#,
            "MemorySwap cannot be set: the kernel does not count swap, or the cgroup is not mounted",
        ),
        (
            r#"{"HostConfig":{"CpuShares":5}}"#,
            "the kernel has no cpu cgroup controller, or it is not mounted",
        ),
        (
            r#"{"HostConfig":{"NanoCpus":1000000000}}"#,
            "CPU time cannot be limited: the kernel does not support it",
        ),
        (
            r#"{"HostConfig":{"Binds":["/a:/b:z"]}}"#,
            "not supported: Binds option \"z\"",
        ),
    ] {
        assert_eq!(error(request, &facts), wanted, "{request}");
    }
    assert_eq!(
        spec(r#"{"HostConfig":{"PidsLimit":7}}"#, &facts)
            .unwrap()
            .limits
            .pids,
        Some(7)
    );
}

#[test]
fn a_container_without_a_filter_has_to_be_asked_for() {
    for facts in [
        Facts {
            seccomp: false,
            ..facts()
        },
        Facts {
            architecture: None,
            ..facts()
        },
    ] {
        assert_eq!(error("{}", &facts), PlanError::NoSeccomp.to_string());
        let open = r#"{"HostConfig":{"SecurityOpt":["seccomp:unconfined"]}}"#;
        assert!(!spec(open, &facts).unwrap().seccomp);
    }
}

#[test]
fn capabilities_are_limited_by_the_daemon_and_the_kernel() {
    let set = |request: &str, facts: &Facts| spec(request, facts).unwrap().capabilities;
    let all = r#"{"HostConfig":{"CapAdd":["all"]}}"#;
    assert_eq!(set("{}", &facts()), 0xa804_25fb);
    assert_eq!(set(all, &facts()), 0x1ff_ffff_ffff);
    let old = Facts {
        last_capability: 37,
        ..facts()
    };
    assert_eq!(set(all, &old), 0x3f_ffff_ffff);
    assert_eq!(
        error(r#"{"HostConfig":{"CapAdd":["BPF"]}}"#, &old),
        "capability CAP_BPF cannot be added: the daemon itself does not have it"
    );
    let poor = Facts {
        bounding: 1,
        ..facts()
    };
    assert_eq!(set("{}", &poor), 1);
    let highest = Facts {
        last_capability: 255,
        ..facts()
    };
    assert_eq!(set(all, &highest), u64::MAX);
    // What is both added and dropped is added; all that is added is what is not dropped.
    assert_eq!(
        set(
            r#"{"HostConfig":{"CapAdd":["CHOWN"],"CapDrop":["CHOWN"]}}"#,
            &facts()
        ) & 1,
        1
    );
    assert_eq!(
        set(
            r#"{"HostConfig":{"CapAdd":["ALL"],"CapDrop":["CHOWN"]}}"#,
            &facts()
        ) & 1,
        0
    );
    assert_eq!(
        set(r#"{"HostConfig":{"CapAdd":["ALL"],"CapDrop":["ALL"]}}"#, &facts()),
        0x1ff_ffff_ffff
    );
}

#[test]
fn signals() {
    let signal = |text: &str| {
        let config = ContainerConfig {
            stop_signal: text.to_owned(),
            ..ContainerConfig::default()
        };
        process::stop_signal(&config, &ImageConfig::default()).ok()
    };
    for (text, number) in [
        ("", Some(0)),
        ("SIGTERM", Some(15)),
        ("term", Some(15)),
        ("9", Some(9)),
        ("64", Some(64)),
        ("SIGRTMIN+3", Some(37)),
        ("RTMAX-1", Some(63)),
        ("RTMIN", Some(34)),
        ("0", None),
        ("65", None),
        ("-1", None),
        ("300", None),
        ("RTMIN+31", None),
        ("RTMAX+1", None),
        ("SIGSIGTERM", None),
        ("SIG", None),
    ] {
        assert_eq!(signal(text), number, "{text:?}");
    }
}

#[test]
fn the_image_fills_what_the_request_leaves_open() {
    let request: CreateRequest = serde_json::from_str(r#"{"HostConfig":{"NetworkMode":"host"}}"#).unwrap();
    let image: ImageConfig = serde_json::from_str(
        r#"{"Cmd":["a"],"User":"web","StopSignal":"SIGINT","WorkingDir":"/w","Env":["A=1"]}"#,
    )
    .unwrap();
    let spec = resolve(&request, &image, "abcdef", "name", &facts()).unwrap();
    assert_eq!((spec.user.as_str(), spec.stop_signal), ("web", 2));
    assert_eq!(spec.working_dir, PathBuf::from("/w"));
    assert_eq!(spec.command, ["a"]);
    assert_eq!(spec.hostname, "abcdef", "the host has no name");
    assert!(spec.env.contains(&"A=1".to_owned()));
}

#[test]
fn paths_are_cleaned() {
    for (text, wanted) in [
        ("/", Some("/")),
        ("/a/", Some("/a")),
        ("//a//b", Some("/a/b")),
        ("/a/./b/../c", Some("/a/c")),
        ("/../..", Some("/")),
        ("", None),
        ("a", None),
        ("/a\0", None),
    ] {
        assert_eq!(mounts::clean(text), wanted.map(PathBuf::from), "{text:?}");
    }
}

#[test]
fn bounds() {
    let facts = facts();
    let list =
        |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(",");
    let mounts = list(257, &|index| format!("\"/h:/m{index}\""));
    assert_eq!(
        error(&format!(r#"{{"HostConfig":{{"Binds":[{mounts}]}}}}"#), &facts),
        "too many mounts: the limit is 256"
    );
    let hosts = list(1025, &|index| format!("\"h{index}:1.2.3.4\""));
    assert_eq!(
        error(&format!(r#"{{"HostConfig":{{"ExtraHosts":[{hosts}]}}}}"#), &facts),
        "too many entries for names: the limit is 1024"
    );
    let ports = r#"{"ExposedPorts":{"1-65535/tcp":{}},"HostConfig":{"PublishAllPorts":true}}"#;
    assert_eq!(
        error(ports, &facts),
        "too many published ports: the limit is 4096"
    );
}
