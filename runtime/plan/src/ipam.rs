//! Addresses of one subnet: which are taken, and which is next.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The addresses of a subnet, apart from the network's own, the gateway's (the first) and the broadcast address.
///
/// The search for a free address goes on behind the one that was given last, so that an address rests as long as
/// possible after its release: whoever still talks to its old owner should not reach a new one.
#[derive(Debug, Clone)]
pub struct Pool {
    /// The first and the last address that can be given; none in a subnet that is too small.
    range: Option<(u32, u32)>,
    /// What is given to those who do not mind; the same unless somebody chose a part of it.
    given: Option<(u32, u32)>,
    next: u32,
    taken: BTreeSet<u32>,
}

impl Pool {
    /// All addresses of the subnet are free.
    #[must_use]
    pub fn new(network: Ipv4Addr, prefix_len: u8) -> Self {
        let host_bits = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
        let network = u32::from(network) & !host_bits;
        let (first, last) = (network.saturating_add(2), (network | host_bits).saturating_sub(1));
        let range = (first <= last).then_some((first, last));
        Self {
            range,
            given: range,
            next: first,
            taken: BTreeSet::new(),
        }
    }

    /// The same for a network whose gateway is any address of it. With a part of the subnet, only addresses of that are
    /// given; any other can still be reserved. The kept addresses are given to nobody.
    #[must_use]
    pub fn of_network(
        (network, prefix_len): (Ipv4Addr, u8),
        part: Option<(Ipv4Addr, u8)>,
        kept: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Self {
        let (first, last) = bounds(network, prefix_len);
        let (first, last) = (first.saturating_add(1), last.saturating_sub(1));
        let range = (first <= last).then_some((first, last));
        let given = match part {
            Some((part, prefix_len)) => {
                let (from, to) = bounds(part, prefix_len);
                range
                    .map(|(first, last)| (first.max(from), last.min(to)))
                    .filter(|(first, last)| first <= last)
            }
            None => range,
        };
        Self {
            range,
            given,
            next: given.map_or(first, |(first, _)| first),
            taken: kept.into_iter().map(u32::from).collect(),
        }
    }

    /// Takes a free address; none when all are taken.
    pub fn allocate(&mut self) -> Option<Ipv4Addr> {
        let (first, last) = self.given?;
        let found = self
            .free_in(self.next.max(first), last)
            .or_else(|| self.free_in(first, last))?;
        self.take(found);
        Some(Ipv4Addr::from(found))
    }

    /// Takes this address, as when a running container is found that has it. Says whether it was free.
    pub fn reserve(&mut self, address: Ipv4Addr) -> bool {
        let address = u32::from(address);
        if self
            .range
            .is_some_and(|(first, last)| (first..=last).contains(&address))
        {
            self.take(address)
        } else {
            false
        }
    }

    /// Gives an address back.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&u32::from(address));
    }

    /// Whether the subnet has this address and may give it to a container.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let address = u32::from(address);
        self.range
            .is_some_and(|(first, last)| (first..=last).contains(&address))
    }

    fn take(&mut self, address: u32) -> bool {
        self.next = address.saturating_add(1);
        self.taken.insert(address)
    }

    /// The lowest free address of a part: the first gap between those that are taken.
    fn free_in(&self, from: u32, to: u32) -> Option<u32> {
        if from > to {
            return None;
        }
        let mut candidate = from;
        for taken in self.taken.range(from..=to) {
            if *taken != candidate {
                break;
            }
            candidate = candidate.checked_add(1)?;
        }
        (candidate <= to).then_some(candidate)
    }
}

/// The first and the last address of a subnet.
fn bounds(network: Ipv4Addr, prefix_len: u8) -> (u32, u32) {
    let host_bits = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
    let network = u32::from(network) & !host_bits;
    (network, network | host_bits)
}

/// Whether two subnets have an address in common.
#[must_use]
pub fn overlap(one: (Ipv4Addr, u8), other: (Ipv4Addr, u8)) -> bool {
    let (one, other) = (bounds(one.0, one.1), bounds(other.0, other.1));
    one.0 <= other.1 && other.0 <= one.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    #[test]
    fn a_small_subnet_is_given_out_completely() {
        let mut pool = Pool::new(address(8), 29);
        let all: Vec<Ipv4Addr> = std::iter::from_fn(|| pool.allocate()).collect();
        assert_eq!(all, (10..=14).map(address).collect::<Vec<_>>());
        pool.release(address(12));
        assert_eq!(pool.allocate(), Some(address(12)));
        assert_eq!(pool.allocate(), None);
    }

    #[test]
    fn a_released_address_rests() {
        let mut pool = Pool::new(address(0), 24);
        let first = pool.allocate().expect("free");
        pool.release(first);
        for _ in 0..252 {
            let next = pool.allocate().expect("free");
            assert_ne!(next, first);
            pool.release(next);
        }
        assert_eq!(pool.allocate(), Some(first), "after everybody else");
    }

    #[test]
    fn a_reserved_address_is_not_given() {
        let mut pool = Pool::new(address(0), 29);
        assert!(pool.reserve(address(3)));
        assert!(!pool.reserve(address(3)), "taken already");
        assert!(!pool.reserve(address(1)), "the gateway");
        assert!(!pool.reserve(address(7)), "broadcast");
        assert!(!pool.reserve(Ipv4Addr::new(10, 0, 1, 3)), "elsewhere");
        let rest: Vec<Ipv4Addr> = std::iter::from_fn(|| pool.allocate()).collect();
        assert_eq!(rest, [4, 5, 6, 2].map(address));
    }

    #[test]
    fn a_network_gives_addresses_of_a_part_of_it() {
        let mut pool = Pool::of_network(
            (address(0), 24),
            Some((address(16), 30)),
            [address(1), address(17)],
        );
        assert_eq!(pool.allocate(), Some(address(16)));
        assert_eq!(pool.allocate(), Some(address(18)));
        assert_eq!(pool.allocate(), Some(address(19)));
        assert_eq!(pool.allocate(), None);
        assert!(pool.reserve(address(200)), "outside of the part");
        assert!(!pool.reserve(address(1)), "the gateway");
        assert!(!pool.reserve(address(0)) && !pool.reserve(address(255)));
        let mut pool = Pool::of_network((address(0), 30), None, [address(2)]);
        assert_eq!((pool.allocate(), pool.allocate()), (Some(address(1)), None));
    }

    #[test]
    fn subnets_overlap() {
        let net = |a, b, length| (Ipv4Addr::new(10, a, b, 0), length);
        assert!(overlap(net(0, 0, 8), net(7, 3, 24)));
        assert!(overlap(net(7, 3, 24), net(0, 0, 8)));
        assert!(!overlap(net(7, 3, 24), net(7, 4, 24)));
        assert!(overlap((Ipv4Addr::UNSPECIFIED, 0), net(7, 4, 24)));
    }

    #[test]
    fn extreme_subnets() {
        for length in [30, 31, 32, 33, 255] {
            let mut pool = Pool::new(address(0), length);
            let free = std::iter::from_fn(|| pool.allocate()).count();
            assert_eq!(free, usize::from(length == 30), "/{length}");
        }
        let mut whole = Pool::new(Ipv4Addr::UNSPECIFIED, 0);
        assert_eq!(whole.allocate(), Some(Ipv4Addr::new(0, 0, 0, 2)));
        assert!(whole.reserve(Ipv4Addr::new(255, 255, 255, 254)));
        assert_eq!(whole.allocate(), Some(Ipv4Addr::new(0, 0, 0, 3)));
    }

    /// Whatever happens, no address is given twice, none outside of the range, and all are given before none is.
    #[test]
    fn no_address_has_two_owners() {
        let mut pool = Pool::new(address(0), 27);
        let mut owned = BTreeSet::new();
        let mut state = 0x9e37_79b9_u32;
        for _ in 0..20_000 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            match state % 4 {
                0 | 1 => match pool.allocate() {
                    Some(given) => {
                        assert!(given >= address(2) && given <= address(30));
                        assert!(owned.insert(given), "{given} has an owner");
                    }
                    None => assert_eq!(owned.len(), 29),
                },
                2 => {
                    let index = usize::try_from(state >> 8).unwrap_or(0) % owned.len().max(1);
                    if let Some(back) = owned.iter().nth(index).copied() {
                        owned.remove(&back);
                        pool.release(back);
                    }
                }
                _ => {
                    let wish = address(u8::try_from(2 + (state >> 8) % 29).expect("small"));
                    assert_eq!(pool.reserve(wish), owned.insert(wish));
                }
            }
        }
    }
}
