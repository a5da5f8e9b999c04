//! The inside of a container's network namespace: its interfaces, also those that come while it runs.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::error::NetworkError;
use super::socket::{Family, Socket};
use super::{
    Endpoint, add_port, bridged_packets_are_translated, check_interface, index, route, route6, setting,
};

/// The network namespace of a process that has one of its own.
///
/// # Errors
/// When there is no such process, or its network is the host's.
pub fn namespace_of(pid: u32) -> Result<OwnedFd, NetworkError> {
    let failed = || NetworkError::kernel(format!("opening the network namespace of process {pid}"));
    let file = File::open(format!("/proc/{pid}/ns/net")).map_err(failed())?;
    let found = file.metadata().map_err(failed())?;
    let own = fs::metadata("/proc/self/ns/net").map_err(failed())?;
    if (found.dev(), found.ino()) == (own.dev(), own.ino()) {
        return Err(failed()(io::Error::other("it is the host's")));
    }
    Ok(file.into())
}

/// Gives a network namespace one more interface, a port of a bridge.
///
/// # Errors
/// When the bridge is not there or the kernel refuses; nothing is left behind then.
pub fn join(namespace: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
    check_interface(&endpoint.bridge)?;
    check_interface(&endpoint.host_interface)?;
    let failed = || NetworkError::kernel("connecting the container to a bridge");
    let mut host = Socket::open(Family::Route).map_err(failed())?;
    let bridge = index(&mut host, &endpoint.bridge)?;
    let hairpin = bridged_packets_are_translated()?;
    let joined = in_namespace(namespace, || {
        let mut inside = Socket::open(Family::Route).map_err(failed())?;
        plug(
            &mut host,
            &mut inside,
            endpoint,
            (bridge, hairpin),
            (namespace, false),
        )
    });
    joined.inspect_err(|_| {
        // What it came to is of no use; that it may not be there at all is no further error.
        drop(super::disconnect(&endpoint.host_interface));
    })
}

/// Leads everything that has no better route to the gateway of this place.
///
/// # Errors
/// When the kernel refuses.
pub fn reroute(namespace: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
    in_namespace(namespace, || {
        let failed = || NetworkError::kernel("changing the default route of the container");
        let mut inside = Socket::open(Family::Route).map_err(failed())?;
        let interface = index(&mut inside, &endpoint.interface)?;
        lead(&mut inside, endpoint, interface).map_err(failed())
    })
}

/// Makes the pair, and the inner end ready. The calling thread is in the namespace; `host` is not. In a new one no
/// interface has IPv6 unless it is told to.
pub(super) fn plug(
    host: &mut Socket,
    inside: &mut Socket,
    endpoint: &Endpoint,
    (bridge, hairpin): (u32, bool),
    (namespace, new): (BorrowedFd<'_>, bool),
) -> Result<(), NetworkError> {
    let failed = || NetworkError::kernel("connecting the container to its bridge");
    let name = &endpoint.interface;
    check_interface(name)?;
    add_port(host, endpoint, bridge, namespace)?;
    if hairpin || endpoint.isolated {
        let port = index(host, &endpoint.host_interface)?;
        route::set_port(host, port, hairpin, endpoint.isolated).map_err(failed())?;
    }
    let interface = index(inside, name)?;
    // The neighbours learn at once that the address, which may be used again, is here now.
    setting::set(&format!("net/ipv4/conf/{name}/arp_notify"), "1")?;
    if endpoint.ipv6.is_some() {
        setting::set(&format!("net/ipv6/conf/{name}/accept_ra"), "0")?;
        for on in ["lo", name] {
            setting::set(&format!("net/ipv6/conf/{on}/disable_ipv6"), "0")?;
        }
    } else if !new {
        setting::set_if_there(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1")?;
    }
    route::add_address(inside, interface, endpoint.address, endpoint.prefix_len)
        .and_then(|()| route::set_up(inside, interface))
        .map_err(failed())?;
    if let Some(ipv6) = &endpoint.ipv6 {
        route6::add_address(inside, interface, ipv6.address, ipv6.prefix_len).map_err(failed())?;
    }
    if endpoint.routed {
        lead(inside, endpoint, interface).map_err(failed())?;
    }
    Ok(())
}

fn lead(inside: &mut Socket, endpoint: &Endpoint, interface: u32) -> io::Result<()> {
    route::set_default_route(inside, endpoint.gateway, interface)?;
    match &endpoint.ipv6 {
        Some(ipv6) => route6::set_default_route(inside, ipv6.gateway, interface),
        None => Ok(()),
    }
}

/// A thread of its own enters the namespace and ends: no other thread of the process ever leaves the host's.
pub(crate) fn in_namespace<T: Send>(
    namespace: BorrowedFd<'_>,
    act: impl FnOnce() -> Result<T, NetworkError> + Send,
) -> Result<T, NetworkError> {
    let failed = || NetworkError::kernel("entering a network namespace");
    let work = || {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| failed()(errno.into()))?;
        act()
    };
    in_own_thread(work, failed)
}

/// Does what changes the network namespace of its thread.
pub(super) fn in_own_thread<T: Send, F: FnOnce(io::Error) -> NetworkError>(
    work: impl FnOnce() -> Result<T, NetworkError> + Send,
    failed: impl Fn() -> F,
) -> Result<T, NetworkError> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, work)
            .map_err(failed())?;
        worker
            .join()
            .unwrap_or_else(|_| Err(failed()(io::Error::other("the thread panicked"))))
    })
}
