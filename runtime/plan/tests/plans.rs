//! One file in `plans/` for each option of a request: the request, and what the plan says. `plain.txt` and
//! `plain-v2.txt` show whole plans, as do those with an `exec` line; the others show how theirs differs from the one of the same cgroup version.
//!
//! A file that does not match is written anew below the target directory, for comparison.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use berth_plan::{
    Architecture, CgroupLayout, DeviceKind, DeviceRule, Endpoint, ExecPlacement, Facts, FoundDevice,
    Hierarchy, Network, Placement, PlanError, PublishedPort, Spec, plan, plan_exec, resolve, resolve_exec,
};
use berth_wire::docker::{CreateRequest, ExecConfig, ExecStart, ImageConfig};
use serde_json::Value;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/false\n";
const GROUP: &str = "root:x:0:\nwww:x:34:\nadm:x:4:root,web\ndisk:x:6:other\n";
const RESOLV_CONF: &str = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch a.example b.example\n\
    options edns0\n";

fn facts(v2: bool) -> Facts {
    let hierarchy = |directory: &str, controllers: &[&str], name: Option<&str>| Hierarchy {
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        name: name.map(ToOwned::to_owned),
        mount: Path::new("/sys/fs/cgroup").join(directory),
    };
    let v1_layout = || CgroupLayout::V1 {
        hierarchies: vec![
            hierarchy("cpu,cpuacct", &["cpu", "cpuacct"], None),
            hierarchy("cpuset", &["cpuset"], None),
            hierarchy("memory", &["memory"], None),
            hierarchy("devices", &["devices"], None),
            hierarchy("pids", &["pids"], None),
            hierarchy("systemd", &[], Some("systemd")),
        ],
    };
    let v2_layout = || CgroupLayout::V2 {
        mount: PathBuf::from("/sys/fs/cgroup"),
        controllers: ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"]
            .map(ToOwned::to_owned)
            .to_vec(),
    };
    Facts {
        cgroup: if v2 { v2_layout() } else { v1_layout() },
        swap_limit: true,
        cpu_quota: true,
        cpus: 2,
        memory_total: 1 << 33,
        last_capability: 40,
        // All but SYS_RESOURCE.
        bounding: 0x1ff_ffff_ffff & !(1 << 24),
        seccomp: true,
        apparmor: false,
        selinux: false,
        architecture: Some(Architecture::X86_64),
        kcore: true,
        ipv6: true,
        thermal_throttle: vec![0, 1],
        kernel_release: "6.18.0".to_owned(),
        hostname: "the-host".to_owned(),
    }
}

/// A request as its file spells it.
struct Case {
    request: CreateRequest,
    image: ImageConfig,
    v2: bool,
    /// Another process in the container; the plan is its then.
    exec: Option<ExecConfig>,
}

impl Case {
    /// Lines `request {…}`, `image {…}`, `exec {…}` and `cgroup v2`.
    fn read(text: &str) -> Self {
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let json = |key: &str| line(key).unwrap_or("{}").to_owned();
        Self {
            request: serde_json::from_str(&json("request ")).expect("a request"),
            image: serde_json::from_str(&json("image ")).expect("an image"),
            v2: text.lines().any(|line| line == "cgroup v2"),
            exec: line("exec ").map(|json| serde_json::from_str(json).expect("an exec request")),
        }
    }

    fn plain(v2: bool) -> Self {
        Self {
            request: serde_json::from_str(r#"{"Cmd":["true"]}"#).expect("a request"),
            image: ImageConfig::default(),
            v2,
            exec: None,
        }
    }

    fn plan(&self) -> Result<Vec<String>, PlanError> {
        let facts = facts(self.v2);
        let mut request = self.request.clone();
        if request.config.cmd.is_none()
            && request.config.entrypoint.is_none()
            && self.image.entrypoint.is_none()
        {
            request.config.cmd = Self::plain(self.v2).request.config.cmd;
        }
        let spec = resolve(&request, &self.image, ID, "name", &facts)?;
        if let Some(exec) = &self.exec {
            return exec_plan(exec, &spec, &facts);
        }
        let ports = spec
            .published
            .iter()
            .zip(32768..)
            .map(|(port, free)| PublishedPort {
                host_port: if port.host_port == 0 { free } else { port.host_port },
                ..port.clone()
            });
        let placement = Placement {
            container_dir: PathBuf::from("/data/c"),
            passwd: PASSWD.to_owned(),
            group: GROUP.to_owned(),
            network: (spec.network == Network::Bridge).then(endpoint),
            more_networks: Vec::new(),
            resolver: false,
            links: Vec::new(),
            link_env: Vec::new(),
            resolv_conf: RESOLV_CONF.to_owned(),
            cgroup_parent: "berth".to_owned(),
            ports: ports.collect(),
            devices: devices(&spec),
            joined_dir: (spec.network == Network::Joined).then(|| PathBuf::from("/data/other")),
            volumes_dir: PathBuf::from("/data/volumes"),
            init_dir: PathBuf::from("/data/init"),
        };
        plan(&spec, &facts, &placement).map(|plan| lines(&plan))
    }
}

/// As if every device that is wished for were there: the major number is 10.
fn devices(spec: &Spec) -> Vec<FoundDevice> {
    let found = spec.devices.iter().zip(100..).map(|(wish, minor)| FoundDevice {
        path: wish.container.clone(),
        kind: if wish.host.ends_with("disk") {
            DeviceKind::Block
        } else {
            DeviceKind::Character
        },
        major: 10,
        minor,
        mode: 0o660,
        uid: 0,
        gid: 6,
        rule: DeviceRule {
            kind: if wish.host.ends_with("disk") {
                DeviceKind::Block
            } else {
                DeviceKind::Character
            },
            major: Some(10),
            minor: Some(minor),
            read: wish.read,
            write: wish.write,
            mknod: wish.mknod,
        },
    });
    found.collect()
}

fn exec_plan(exec: &ExecConfig, spec: &Spec, facts: &Facts) -> Result<Vec<String>, PlanError> {
    let exec = resolve_exec(exec, &ExecStart::default(), "EXEC", spec)?;
    let placement = ExecPlacement {
        passwd: PASSWD.to_owned(),
        group: GROUP.to_owned(),
        cgroup_parent: "berth".to_owned(),
    };
    plan_exec(spec, facts, &exec, &placement).map(|plan| lines(&plan))
}

fn endpoint() -> Endpoint {
    Endpoint {
        bridge: "berth0".to_owned(),
        host_interface: "veth01234567890".to_owned(),
        address: Ipv4Addr::new(172, 29, 0, 2),
        prefix_len: 16,
        gateway: Ipv4Addr::new(172, 29, 0, 1),
        mac: [2, 0x42, 172, 29, 0, 2],
        interface: "eth0".to_owned(),
        routed: true,
        isolated: false,
        ipv6: None,
    }
}

/// A plan as text, the id and the longest paths shortened.
fn lines(plan: &berth_plan::Plan) -> Vec<String> {
    let value = serde_json::to_value(plan).expect("a value");
    let mut lines = Vec::new();
    for key in ["version", "id", "log_path", "stdin", "born_in", "oom_counter"] {
        lines.push(format!("{key} {}", word(&value[key])));
    }
    for part in ["host", "stage"] {
        for step in value[part].as_array().expect("a list") {
            lines.push(format!("{part} {}", step_line(step)));
        }
    }
    lines.iter().map(|line| line.replace(ID, "ID")).collect()
}

fn step_line(step: &Value) -> String {
    let Some((name, fields)) = step.as_object().and_then(|object| object.iter().next()) else {
        return word(step);
    };
    if name == "Seccomp" {
        let program = fields["program"].as_array().expect("a program");
        return format!("Seccomp of {} instructions", program.len());
    }
    format!("{name}{}", all_fields(fields))
}

fn all_fields(fields: &Value) -> String {
    let Some(object) = fields.as_object() else {
        return format!(" {}", word(fields));
    };
    let field = |(key, value): (&String, &Value)| match value {
        Value::Null | Value::Bool(false) => None,
        Value::Array(list) if list.is_empty() => None,
        Value::Object(_) if key == "endpoint" => Some(all_fields(value)),
        // Masks are read in hexadecimal, modes in octal.
        Value::Number(number) if ["keep", "permitted", "effective"].contains(&key.as_str()) => {
            Some(format!(" {key}={:#x}", number.as_u64().expect("a mask")))
        }
        Value::Number(number) if key == "mode" => {
            Some(format!(" {key}={:o}", number.as_u64().expect("a mode")))
        }
        Value::Bool(true) => Some(format!(" {key}")),
        Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Some(format!(" {key}={}", word(value)))
        }
    };
    object.iter().filter_map(field).collect()
}

/// Flags and options as one word, rules as `c1:3rwm`, everything else as JSON without needless quotes.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && !text.contains([' ', '\n', '\t', '"']) => text.clone(),
        Value::Object(object) if object.contains_key("kind") => rule(value),
        Value::Object(object) if object.contains_key("rows") => {
            format!("{}x{}", object["rows"], object["columns"])
        }
        Value::Object(object) => match (object.get("key"), object.get("value")) {
            (Some(key), Some(Value::Null)) => word(key),
            (Some(key), Some(value)) => format!("{}={}", word(key), word(value)),
            _ => {
                let set = object.iter().filter(|(_, value)| **value == Value::Bool(true));
                let names: Vec<&str> = set.map(|(name, _)| name.as_str()).collect();
                format!("({})", names.join(","))
            }
        },
        Value::Array(list) => format!("[{}]", list.iter().map(word).collect::<Vec<_>>().join(" ")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn rule(rule: &Value) -> String {
    let number = |key: &str| {
        rule[key]
            .as_u64()
            .map_or("*".to_owned(), |number| number.to_string())
    };
    let kind = rule["kind"].as_str().expect("a kind").to_ascii_lowercase();
    let letters = [("read", 'r'), ("write", 'w'), ("mknod", 'm')];
    let access: String = letters
        .iter()
        .filter(|(key, _)| rule[*key] == Value::Bool(true))
        .map(|(_, letter)| letter)
        .collect();
    format!("{}{}:{}{access}", &kind[..1], number("major"), number("minor"))
}

/// What has to be taken from and added to the first list to get the second.
fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let (rows, columns) = (before.len(), after.len());
    let mut common = vec![vec![0_usize; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = if before[row] == after[column] {
                common[row + 1][column + 1] + 1
            } else {
                common[row + 1][column].max(common[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut lines) = (0, 0, Vec::new());
    while row < rows || column < columns {
        if row < rows && column < columns && before[row] == after[column] {
            row += 1;
            column += 1;
        } else if row < rows && (column == columns || common[row + 1][column] >= common[row][column + 1]) {
            lines.push(format!("- {}", before[row]));
            row += 1;
        } else {
            lines.push(format!("+ {}", after[column]));
            column += 1;
        }
    }
    lines
}

fn render(name: &str, text: &str) -> String {
    let case = Case::read(text);
    let head = text.split("\n\n").next().unwrap_or_default().trim_end();
    let body = match case.plan() {
        Err(error) => vec![format!("refused: {error}")],
        Ok(lines) if name.starts_with("plain") || case.exec.is_some() => lines,
        Ok(lines) => difference(&Case::plain(case.v2).plan().expect("a plan"), &lines),
    };
    format!("{head}\n\n{}\n", body.join("\n"))
}

#[allow(
    clippy::disallowed_methods,
    reason = "the crate writes no files, its test may"
)]
fn keep(name: &str, text: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&place, text).expect("the target directory");
    place
}

#[test]
fn plans() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut count = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(directory).expect("the cases") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a text");
        let rendered = render(&name, &text);
        if rendered != text {
            let place = keep(&name, &rendered);
            wrong.push(format!("{name}: now {}\n{rendered}", place.display()));
        }
        count += 1;
    }
    assert!(count >= 30, "only {count} cases were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `refusals.txt`: a request in a line, why it is refused in the next.
#[test]
fn refusals() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals.txt");
    let text = fs::read_to_string(&path).expect("a text");
    let mut rendered = String::new();
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().filter(|line| !line.starts_with("    ")) {
        rendered.push_str(&format!("{line}\n"));
        if !line.is_empty() && !line.starts_with('#') {
            let (request, v2) = line
                .strip_prefix("v2 ")
                .map_or((*line, false), |request| (request, true));
            let case = Case {
                v2,
                ..Case::read(&format!("request {request}"))
            };
            let answer = match case.plan() {
                Ok(_) => "accepted".to_owned(),
                Err(error) => error.to_string(),
            };
            rendered.push_str(&format!("    {answer}\n"));
        }
    }
    if rendered != text {
        let place = keep("refusals.txt", &rendered);
        panic!("now {}\n{rendered}", place.display());
    }
    assert!(!text.contains("    accepted"), "something is accepted");
}
