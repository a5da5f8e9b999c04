//! One engine's place on the host, and plans for it.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use berth_exec::{
    Adopted, Attach, BridgeConfig, Exit, HostConfig, LaunchError, Launcher, Report, Root, RootLayers, Started,
};
use berth_plan::{
    CgroupLayout, Command, Credentials, DeviceControl, DeviceKind, DeviceRule, Endpoint, HostStep,
    MountFlags, MountOption, NewMount, Node, PLAN_VERSION, Plan, Protocol, StageStep, Stdin,
};

/// Longer than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

const APPLETS: [&str; 13] = [
    "sh", "mkdir", "cat", "echo", "sleep", "true", "nc", "ping", "hostname", "ls", "id", "grep", "readlink",
];

/// Docker's.
pub(crate) const CAPABILITIES: u64 = 0xa804_25fb;

/// An address of a /24 of 10.224.0.0/13 that is this process's own: another run's, or what is left of one, is elsewhere.
pub(crate) fn address(last: u8) -> Ipv4Addr {
    let slot = std::process::id().wrapping_mul(131) % 2048;
    let [_, _, high, low] = slot.to_be_bytes();
    Ipv4Addr::new(10, 224 + high, low, last)
}

pub(crate) struct World {
    pub(crate) directory: PathBuf,
    pub(crate) tag: String,
    launcher: Mutex<Option<Launcher>>,
    reports: Mutex<Receiver<Report>>,
    cleanups: Mutex<Vec<Plan>>,
    /// Where the controllers are.
    pub(crate) trees: Vec<(String, PathBuf)>,
}

/// Waits for a condition, and says which one when it does not come.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Everything on the host that containers of this process could leave: mounts, cgroups, interfaces, published ports.
pub(crate) fn leftovers() -> BTreeSet<String> {
    let tag = tag();
    let mut found = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = mounts.lines().filter(|line| line.contains(&tag));
    found.extend(ours.map(|line| format!("mount {line}")));
    for (controller, mount) in trees() {
        for path in [mount.clone(), mount.join(&tag)] {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let ours = directories.filter(|entry| entry.path().to_string_lossy().contains(&tag));
            found.extend(ours.map(|entry| format!("cgroup {controller} {:?}", entry.path())));
        }
    }
    let interfaces = fs::read_dir("/sys/class/net").unwrap().flatten();
    let names = interfaces.map(|entry| entry.file_name().to_string_lossy().into_owned());
    found.extend(names.filter(|name| name.starts_with(&tag)));
    let published = berth_exec::nft::list_published(&tag).unwrap();
    found.extend(published.iter().map(|port| format!("{port:?}")));
    found
}

/// Tells what is ours from what tests next to this one make.
fn tag() -> String {
    format!("bx{}", std::process::id())
}

fn trees() -> Vec<(String, PathBuf)> {
    match berth_exec::facts().unwrap().cgroup {
        CgroupLayout::V1 { hierarchies } => hierarchies
            .into_iter()
            .map(|tree| {
                let name = tree.name.unwrap_or_else(|| tree.controllers.join(","));
                (name, tree.mount)
            })
            .collect(),
        CgroupLayout::V2 { mount, .. } => vec![(String::new(), mount)],
    }
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        let tag = tag();
        let directory = tempfile::Builder::new().prefix(&tag).tempdir().unwrap().keep();
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).create(directory.join("run")).unwrap();
        build_image(&directory.join("image"));
        let (_, reports) = channel();
        let world = Self {
            directory,
            tag,
            launcher: Mutex::new(None),
            reports: Mutex::new(reports),
            cleanups: Mutex::new(Vec::new()),
            trees: trees(),
        };
        assert!(world.open().is_empty(), "{name}: a new keeper has no containers");
        world
    }

    pub(crate) fn config(&self) -> HostConfig {
        HostConfig {
            run_dir: self.directory.join("run"),
            executable: std::env::current_exe().unwrap(),
            bridge: BridgeConfig {
                name: self.tag.clone(),
                address: address(1),
                prefix_len: 24,
            },
            table: self.tag.clone(),
            cgroup_parent: self.tag.clone(),
        }
    }

    /// Opens a launcher, in place of the one before.
    pub(crate) fn open(&self) -> Vec<Adopted> {
        let (sender, receiver) = channel();
        let on_report = move |report| drop(sender.send(report));
        let (launcher, adopted) = Launcher::open(self.config(), on_report).unwrap();
        *self.lock_launcher() = Some(launcher);
        *self.reports.lock().unwrap_or_else(PoisonError::into_inner) = receiver;
        adopted
    }

    fn lock_launcher(&self) -> MutexGuard<'_, Option<Launcher>> {
        self.launcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn crash(&self) {
        drop(self.lock_launcher().take());
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&Launcher) -> T) -> T {
        act(self.lock_launcher().as_ref().unwrap())
    }

    /// Removes everything, also after a failure.
    pub(crate) fn end(&self) {
        if self.lock_launcher().is_none() {
            self.open();
        }
        let mut guard = self.lock_launcher();
        let launcher = guard.take().unwrap();
        drop(guard);
        let ended = launcher.shutdown(false);
        for plan in &*self.cleanups.lock().unwrap_or_else(PoisonError::into_inner) {
            launcher.cleanup(plan).unwrap();
        }
        launcher.teardown().unwrap();
        fs::remove_dir_all(&self.directory).unwrap();
        ended.unwrap();
    }

    pub(crate) fn root(&self, id: &str) -> Root {
        let place = self.directory.join(id);
        let layers = RootLayers {
            lower: vec![self.directory.join("image")],
            upper: place.join("upper"),
            work: place.join("work"),
            volatile: true,
        };
        fs::create_dir_all(&layers.upper).unwrap();
        fs::create_dir_all(&layers.work).unwrap();
        Root::mount(&layers).unwrap()
    }

    pub(crate) fn start(&self, plan: &Plan) -> Result<Started, LaunchError> {
        let root = self.root(&plan.id);
        self.cleanups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(plan.clone());
        self.with(|launcher| launcher.start(plan, root))
    }

    /// The end of a container, reported.
    pub(crate) fn exit_of(&self, wanted: &str) -> Exit {
        let (id, exit) = self.next_exit();
        assert_eq!(id, wanted);
        exit
    }

    pub(crate) fn next_exit(&self) -> (String, Exit) {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let Report::Exited { id, exit } = reports.recv_timeout(DEADLINE).expect("the exit is reported");
        (id, exit)
    }

    /// Undoes a container that has ended.
    pub(crate) fn finish(&self, plan: &Plan) {
        self.with(|launcher| {
            launcher.cleanup(plan).unwrap();
            launcher.cleanup(plan).unwrap();
            launcher.forget(&plan.id).unwrap();
        });
    }

    /// Runs a container to its end; its exit and what it has said.
    pub(crate) fn run(&self, id: &str, command: &[&str]) -> (Exit, String) {
        self.run_plan(&self.plan(id, command))
    }

    pub(crate) fn run_plan(&self, plan: &Plan) -> (Exit, String) {
        self.start(plan).unwrap();
        let exit = self.exit_of(&plan.id);
        self.finish(plan);
        (exit, self.log(&plan.id))
    }

    /// All output in the log, after a look at its form.
    pub(crate) fn log(&self, id: &str) -> String {
        let text = fs::read_to_string(self.directory.join(format!("{id}.log"))).unwrap();
        let log = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).expect("a record");
            assert!(record["time"].as_str().unwrap().ends_with('Z') && record["stream"].is_string());
            record["log"].as_str().unwrap().to_owned()
        };
        text.lines().map(log).collect()
    }

    pub(crate) fn attach(&self, id: &str, stdin: bool) -> std::os::unix::net::UnixStream {
        let attach = Attach {
            stdin,
            stdout: true,
            stderr: true,
            raw: false,
        };
        let socket = self.with(|launcher| launcher.attach(id, attach)).unwrap();
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    /// A plan as a plain container has it, without a network.
    pub(crate) fn plan(&self, id: &str, command: &[&str]) -> Plan {
        Plan {
            version: PLAN_VERSION,
            id: id.to_owned(),
            log_path: Some(self.directory.join(format!("{id}.log"))),
            log_limit: None,
            stdin: Stdin::Null,
            born_in: None,
            oom_counter: self
                .tree("memory")
                .map(|tree| tree.join(id).join("memory.oom_control")),
            host: self.host_steps(id),
            stage: self.stage_steps(id, command),
        }
    }

    /// The engine's directory for a controller.
    pub(crate) fn tree(&self, controller: &str) -> Option<PathBuf> {
        let found = self
            .trees
            .iter()
            .find(|(name, _)| name.split(',').any(|own| own == controller));
        found.map(|(_, mount)| mount.join(&self.tag))
    }

    fn host_steps(&self, id: &str) -> Vec<HostStep> {
        let mut steps = Vec::new();
        for (name, mount) in &self.trees {
            let parent = mount.join(&self.tag);
            let own = parent.join(id);
            for (path, shared) in [(&parent, true), (&own, false)] {
                steps.push(HostStep::MakeCgroup {
                    path: path.clone(),
                    shared,
                });
                if name == "cpuset" {
                    steps.push(HostStep::InheritCpuset { path: path.clone() });
                }
            }
            if name == "devices" {
                steps.push(HostStep::DeviceRules {
                    path: own,
                    by: DeviceControl::V1Files,
                    rules: device_rules(),
                });
            }
        }
        steps.push(HostStep::LonelyNetwork);
        steps
    }

    fn stage_steps(&self, id: &str, command: &[&str]) -> Vec<StageStep> {
        let mut steps = vec![StageStep::EnterNetwork];
        steps.extend(self.trees.iter().map(|(_, mount)| StageStep::JoinCgroup {
            tasks: mount.join(&self.tag).join(id).join("tasks"),
        }));
        steps.extend([
            StageStep::UnshareCgroup,
            StageStep::PrivateMounts,
            StageStep::AttachRoot,
        ]);
        steps.extend(mounts());
        steps.extend([
            StageStep::PivotRoot,
            StageStep::NullInput,
            StageStep::Hostname {
                name: format!("host-{id}"),
            },
            StageStep::Sysctl {
                name: "net/ipv4/ip_unprivileged_port_start".to_owned(),
                value: "0".to_owned(),
            },
        ]);
        let readonly =
            ["/proc/sys", "/proc/not/there"].map(|path| StageStep::ReadonlyPath { path: path.into() });
        steps.extend(readonly);
        let masked = [
            "/proc/timer_list",
            "/proc/keys",
            "/sys/firmware",
            "/proc/scsi",
            "/proc/not/there",
        ];
        steps.extend(masked.map(|path| StageStep::MaskPath { path: path.into() }));
        steps.extend([
            StageStep::SessionKeyring { name: id.to_owned() },
            StageStep::OomScoreAdj { value: 7 },
            StageStep::Umask { mode: 0o22 },
            StageStep::WorkingDirectory {
                path: "/home/here".into(),
                existing: false,
            },
            StageStep::OwnStreams { uid: 1000 },
            StageStep::DropBounding { keep: CAPABILITIES },
            StageStep::Credentials(Credentials {
                uid: 0,
                gid: 0,
                groups: vec![0, 10],
            }),
            StageStep::Capabilities {
                permitted: CAPABILITIES,
                effective: CAPABILITIES,
            },
            exec(command),
        ]);
        steps
    }

    /// Gives a plan an address on the bridge, and a published port.
    pub(crate) fn connect(&self, plan: &mut Plan, last: u8, publish: Option<(u16, u16)>) -> Ipv4Addr {
        let address = address(last);
        let [a, b, c, d] = address.octets();
        plan.host.retain(|step| *step != HostStep::LonelyNetwork);
        if let Some((host_port, _)) = publish {
            plan.host.push(HostStep::ReservePort {
                protocol: Protocol::Tcp,
                address: Ipv4Addr::UNSPECIFIED,
                port: host_port,
            });
        }
        plan.host.push(HostStep::Network {
            endpoint: Endpoint {
                bridge: self.tag.clone(),
                host_interface: format!("bx{}v{last}", std::process::id()),
                address,
                prefix_len: 24,
                gateway: self::address(1),
                mac: [2, 0x42, a, b, c, d],
                interface: "eth0".to_owned(),
                routed: true,
                isolated: false,
                ipv6: None,
            },
        });
        if let Some((host_port, port)) = publish {
            plan.host.push(HostStep::Publish {
                protocol: Protocol::Tcp,
                host_address: Ipv4Addr::UNSPECIFIED,
                host_port,
                address,
                port,
            });
        }
        address
    }
}

fn device_rules() -> Vec<DeviceRule> {
    [(1, Some(3)), (1, Some(5)), (136, None), (5, Some(2))]
        .map(|(major, minor)| DeviceRule {
            kind: DeviceKind::Character,
            major: Some(major),
            minor,
            read: true,
            write: true,
            mknod: true,
        })
        .to_vec()
}

fn mounts() -> Vec<StageStep> {
    let system = MountFlags {
        nosuid: true,
        nodev: true,
        noexec: true,
        ..MountFlags::default()
    };
    let devices = MountFlags {
        nosuid: true,
        strictatime: true,
        ..MountFlags::default()
    };
    let sys = MountFlags {
        read_only: true,
        ..system
    };
    let mount = |kind: &str, target: &str, flags, options: &[(&str, &str)]| {
        StageStep::Mount(NewMount {
            kind: kind.to_owned(),
            source: kind.to_owned(),
            target: target.into(),
            strict: true,
            flags,
            options: options
                .iter()
                .map(|(key, value)| MountOption::new(*key, *value))
                .collect(),
        })
    };
    let node = |path: &str, minor| {
        StageStep::MakeNode(Node {
            path: path.into(),
            mode: 0o666,
            major: 1,
            minor,
            block: false,
            owner: None,
        })
    };
    vec![
        mount("proc", "/proc", system, &[]),
        mount("tmpfs", "/dev", devices, &[("mode", "755"), ("size", "65536k")]),
        node("/dev/null", 3),
        node("/dev/zero", 5),
        StageStep::Symlink {
            text: "/proc/self/fd".to_owned(),
            path: "/dev/fd".into(),
        },
        mount("sysfs", "/sys", sys, &[]),
        mount("mqueue", "/dev/mqueue", system, &[]),
    ]
}

pub(crate) fn exec(command: &[&str]) -> StageStep {
    let name = command[0];
    let candidates = if name.contains('/') {
        vec![name.to_owned()]
    } else {
        vec![format!("/nowhere/{name}"), format!("/bin/{name}")]
    };
    StageStep::Exec(Command {
        candidates,
        argv: command.iter().map(|&word| word.to_owned()).collect(),
        env: vec!["PATH=/bin".to_owned()],
    })
}

fn build_image(image: &Path) {
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(image.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", image.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", image.join("bin").join(applet)).unwrap();
    }
    fs::write(image.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    // Leads nowhere inside of the container, and must not lead to the host's.
    symlink("../../../etc/hostname", image.join("etc/group")).unwrap();
}
