//! Election time-outs: spread over the members, and the same each time a seed is run.

/// The time-out in ticks, within `[shortest, 2 * shortest)`, as a pure function of who waits and in which term.
pub(crate) fn timeout_ticks(seed: u64, id: u64, term: u64, shortest: usize) -> usize {
    let mut mixed = seed;
    for part in [id, term] {
        mixed = mix(mixed ^ mix(part));
    }
    let span = u64::try_from(shortest).unwrap_or(u64::MAX).max(1);
    shortest + usize::try_from(mixed % span).unwrap_or(0)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::timeout_ticks;
    use std::collections::BTreeSet;

    #[test]
    fn timeouts_are_in_range_and_spread() {
        let drawn: BTreeSet<usize> = (1..200).map(|term| timeout_ticks(7, 1, term, 10)).collect();
        assert_eq!(drawn, (10..20).collect());
    }

    #[test]
    fn members_rarely_draw_alike() {
        let alike = (1..200).filter(|term| timeout_ticks(7, 1, *term, 10) == timeout_ticks(7, 2, *term, 10));
        assert!(alike.count() < 40);
    }
}
