//! How many connections the clients of each address have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One client's addresses of IPv6 have at least so many first bits in common: it has all of such a network to choose from.
const NETWORK_BITS: u32 = 64;

/// The connections of a port, by the address that they come from.
#[derive(Debug)]
pub(crate) struct Callers {
    most: usize,
    counts: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    callers: Arc<Callers>,
    address: IpAddr,
}

impl Callers {
    /// So many connections of one address at most.
    pub(crate) fn new(most: usize) -> Callers {
        Callers {
            most,
            counts: Mutex::default(),
        }
    }

    /// Counts a connection; `None` if its address has too many.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Caller> {
        let address = network(address);
        let mut counts = self.counts();
        let count = counts.get(&address).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        counts.insert(address, count + 1);
        drop(counts);
        Some(Caller {
            callers: Arc::clone(self),
            address,
        })
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut counts = self.callers.counts();
        let left = counts.get(&self.address).map_or(0, |count| count - 1);
        if left == 0 {
            counts.remove(&self.address);
        } else {
            counts.insert(self.address, left);
        }
    }
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - NETWORK_BITS))).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Callers;
    use std::sync::Arc;

    #[test]
    fn each_address_has_its_own_count() {
        let callers = Arc::new(Callers::new(2));
        let enter = |text: &str| callers.enter(text.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").unwrap();
        drop(first);
        let third = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        drop((second, third, other));
        assert!(callers.counts().is_empty(), "nothing is kept of those who left");
        let _six = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8:0:0:9::1").is_none(), "one network");
        assert!(enter("2001:db8:0:1::1").is_some());
    }
}
