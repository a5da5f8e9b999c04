//! What it takes to run a container, decided before the kernel is touched.

#![forbid(unsafe_code)]

mod capabilities;
mod cgroup;
mod devices;
mod error;
mod facts;
pub mod ipam;
mod mounts;
mod network;
mod plan;
mod resolve;
mod seccomp;
mod sharing;
mod spec;
mod step;
mod user;

pub use cgroup::update;
pub use error::PlanError;
pub use facts::{Architecture, CgroupLayout, Facts, Hierarchy};
pub use network::{hosts, resolv_conf};
pub use plan::{account, plan, plan_exec};
pub use resolve::{
    Given, MASKED_PATHS, READ_ONLY_PATHS, named, resolve, resolve_exec, resolve_update, resolve_with,
    volume_name,
};
pub use spec::{
    CgroupNamespace, CpuQuota, DeviceWish, Dns, ExecPlacement, ExecSpec, ExtraHost, FoundDevice, Ipc, Limits,
    LinkedHost, Log, MountSource, Network, Placement, PublishedPort, Sharing, Spec, UserMount, VolumeMount,
};
pub use step::{
    Command, Credentials, DeviceControl, DeviceKind, DeviceRule, Endpoint, Endpoint6, HostMount, HostStep,
    LogLimit, MountFlags, MountOption, Namespace, NewMount, Node, PLAN_VERSION, Plan, Propagation, Protocol,
    Rlimit, StageStep, Stdin, TerminalSize,
};
