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
mod spec;
mod step;
mod user;

pub use error::PlanError;
pub use facts::{Architecture, CgroupLayout, Facts, Hierarchy};
pub use plan::{plan, plan_exec};
pub use resolve::{MASKED_PATHS, READ_ONLY_PATHS, resolve, resolve_exec};
pub use spec::{
    CgroupNamespace, CpuQuota, Dns, ExecPlacement, ExecSpec, ExtraHost, Limits, MountSource, Network,
    Placement, PublishedPort, Spec, UserMount,
};
pub use step::{
    Command, Credentials, DeviceControl, DeviceKind, DeviceRule, Endpoint, HostMount, HostStep, MountFlags,
    MountOption, NewMount, Node, PLAN_VERSION, Plan, Protocol, Rlimit, StageStep, Stdin, TerminalSize,
};
