//! Host ports that nobody asked for by number: each goes to one launch only.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

/// How often another port is asked for when a launch under way has that one already. There are some ten thousand, and
/// no more launches at a time than there are threads for them.
const TRIES: u32 = 256;

/// The ports of launches under way: between the choice and the reservation the kernel would give them away again.
#[derive(Debug, Default)]
pub(crate) struct ChosenPorts(Arc<Mutex<BTreeSet<u16>>>);

/// The ports of one launch. They may be chosen again when it is dropped; by then they are reserved, or not needed.
#[derive(Debug)]
pub(super) struct Choice {
    all: Arc<Mutex<BTreeSet<u16>>>,
    own: Vec<u16>,
}

impl ChosenPorts {
    /// Begins the choice of a launch.
    pub(super) fn begin(&self) -> Choice {
        Choice {
            all: Arc::clone(&self.0),
            own: Vec::new(),
        }
    }
}

impl Choice {
    /// A port that is free now and that no other launch has chosen.
    ///
    /// # Errors
    /// When the kernel has none.
    pub(super) fn free_port(&mut self, protocol: &str, address: Ipv4Addr) -> io::Result<u16> {
        let any = SocketAddr::new(IpAddr::V4(address), 0);
        for _ in 0..TRIES {
            let bound = if protocol == "udp" {
                UdpSocket::bind(any)?.local_addr()?
            } else {
                TcpListener::bind(any)?.local_addr()?
            };
            // A panic elsewhere has left nothing half-done here: every change is one insertion or removal.
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            if all.insert(bound.port()) {
                self.own.push(bound.port());
                return Ok(bound.port());
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

impl Drop for Choice {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for port in &self.own {
            all.remove(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_chosen_twice_at_a_time() {
        let chosen = ChosenPorts::default();
        let mut choices: Vec<Choice> = (0..4).map(|_| chosen.begin()).collect();
        let mut seen = BTreeSet::new();
        for round in 0..200 {
            let choice = &mut choices[round % 4];
            assert!(seen.insert(choice.free_port("tcp", Ipv4Addr::LOCALHOST).unwrap()));
        }
        drop(choices);
        assert!(chosen.0.lock().unwrap().is_empty());
    }
}
