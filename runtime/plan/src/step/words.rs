//! What the steps are called in messages.

use std::fmt::{Display, Formatter, Result};

use super::{HostStep, Namespace, Protocol, Rlimit, StageStep};

impl Display for Protocol {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl Display for Namespace {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Self::Processes => "process namespace",
            Self::Ipc => "IPC namespace",
            Self::Names => "UTS namespace",
            Self::Network => "network namespace",
        })
    }
}

impl Display for HostStep {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::WriteFile { path, .. } => write!(formatter, "write {}", path.display()),
            Self::MakeCgroup { path, .. } => write!(formatter, "make cgroup {}", path.display()),
            Self::InheritCpuset { path } => write!(formatter, "inherit cpuset of {}", path.display()),
            Self::WriteCgroup { path, value } => write!(formatter, "write {value:?} to {}", path.display()),
            Self::DeviceRules { path, .. } => write!(formatter, "set device rules of {}", path.display()),
            Self::ReservePort {
                protocol,
                address,
                port,
            } => {
                write!(formatter, "reserve port {address}:{port}/{protocol}")
            }
            Self::Network { endpoint } => {
                write!(formatter, "connect {} to {}", endpoint.address, endpoint.bridge)
            }
            Self::LonelyNetwork => formatter.write_str("make an unconnected network"),
            Self::Join { endpoint } => {
                write!(formatter, "connect {} to {}", endpoint.address, endpoint.bridge)
            }
            Self::Names => formatter.write_str("open the sockets of the resolver"),
            Self::Publish {
                protocol,
                host_address,
                host_port,
                address,
                port,
            } => {
                write!(
                    formatter,
                    "publish {host_address}:{host_port}/{protocol} to {address}:{port}"
                )
            }
        }
    }
}

impl Display for StageStep {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::EnterContainer { .. } => formatter.write_str("enter the namespaces of the container"),
            Self::Share {
                namespace,
                with: Some(id),
            } => write!(formatter, "join the {namespace} of container {id}"),
            Self::Share {
                namespace,
                with: None,
            } => write!(formatter, "keep the {namespace} of the host"),
            Self::SharedMemory => formatter.write_str("mount the shared memory of the container"),
            Self::EnterNetwork => formatter.write_str("enter the network namespace"),
            Self::JoinCgroup { tasks } => write!(formatter, "join cgroup {}", tasks.display()),
            Self::UnshareCgroup => formatter.write_str("make a cgroup namespace"),
            Self::PrivateMounts => formatter.write_str("make mounts private"),
            Self::AttachRoot => formatter.write_str("attach the root file system"),
            Self::Mount(mount) => write!(formatter, "mount {} on {}", mount.kind, mount.target.display()),
            Self::MakeDirectory { path, .. } => write!(formatter, "make directory {}", path.display()),
            Self::MakeNode(node) => write!(formatter, "make device {}", node.path.display()),
            Self::Symlink { path, .. } => write!(formatter, "make link {}", path.display()),
            Self::Bind(bind) => {
                write!(
                    formatter,
                    "mount {} on {}",
                    bind.source.display(),
                    bind.target.display()
                )
            }
            Self::PivotRoot => formatter.write_str("pivot to the root file system"),
            Self::ReadonlyRoot => formatter.write_str("make the root file system read-only"),
            Self::NullInput => formatter.write_str("open /dev/null"),
            Self::Terminal { .. } => formatter.write_str("make a terminal"),
            Self::Hostname { name } => write!(formatter, "set the host name {name:?}"),
            Self::Domainname { name } => write!(formatter, "set the domain name {name:?}"),
            Self::Sysctl { name, value } => write!(formatter, "set {name} to {value:?}"),
            Self::ReadonlyPath { path } => write!(formatter, "make {} read-only", path.display()),
            Self::MaskPath { path } => write!(formatter, "hide {}", path.display()),
            Self::SessionKeyring { .. } => formatter.write_str("make a session keyring"),
            Self::Rlimit(Rlimit { resource, soft, hard }) => {
                write!(formatter, "set resource limit {resource} to {soft}:{hard}")
            }
            Self::OomScoreAdj { value } => write!(formatter, "set oom_score_adj to {value}"),
            Self::Umask { mode } => write!(formatter, "set the file mode mask {mode:o}"),
            Self::WorkingDirectory { path, .. } => {
                write!(formatter, "go to the working directory {}", path.display())
            }
            Self::OwnStreams { uid } => write!(formatter, "give the standard streams to user {uid}"),
            Self::NoNewPrivileges => formatter.write_str("set no_new_privs"),
            Self::Seccomp { .. } => formatter.write_str("load the seccomp filter"),
            Self::DropBounding { .. } => formatter.write_str("limit the bounding set"),
            Self::Credentials(who) => write!(formatter, "become user {}, group {}", who.uid, who.gid),
            Self::Capabilities { .. } => formatter.write_str("set the capabilities"),
            Self::Exec(command) => write!(formatter, "exec {:?}", command.name()),
        }
    }
}
