//! What it takes to run a container, decided before the kernel is touched.

#![forbid(unsafe_code)]

mod step;

pub use step::{
    Command, Credentials, DeviceControl, DeviceKind, DeviceRule, Endpoint, HostMount, HostStep, MountFlags,
    MountOption, NewMount, Node, PLAN_VERSION, Plan, Protocol, Rlimit, StageStep, Stdin,
};
