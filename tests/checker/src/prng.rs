//! A small seeded generator, in integers only, so that a seed means the same on every machine.

/// The xoshiro256** generator (Blackman, Vigna: "Scrambled linear pseudorandom number generators", 2021).
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

/// What chances are counted in: so many out of this.
pub const WHOLE: u64 = 10_000;

impl Prng {
    /// The generator of one concern. Each concern has its own, so that more draws of one do not move the others.
    pub fn new(seed: u64, concern: &str) -> Prng {
        let mut expander = seed;
        for byte in concern.bytes() {
            expander = expand(&mut expander) ^ u64::from(byte);
        }
        Prng {
            state: [0; 4].map(|_: u64| expand(&mut expander)),
        }
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`; 0 if the bound is 0. The slight bias of the remainder does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    /// A number of `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `chance` of [`WHOLE`] cases.
    pub fn chance(&mut self, chance: u64) -> bool {
        self.below(WHOLE) < chance
    }

    /// Heads or tails.
    pub fn coin(&mut self) -> bool {
        self.draw() >> 63 == 1
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = usize::try_from(self.below(from.len() as u64)).ok()?;
        from.get(at).copied()
    }

    /// A duration around `typical` with a long tail: now and then many times as much.
    pub fn long_tailed(&mut self, typical: u64) -> u64 {
        let mut scale = typical;
        while self.chance(WHOLE / 5) && scale < typical.saturating_mul(64) {
            scale *= 2;
        }
        self.between(scale / 2, scale)
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn expand(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Prng, WHOLE};

    #[test]
    fn a_seed_repeats_and_concerns_differ() {
        let draw = |seed, concern| {
            let mut prng = Prng::new(seed, concern);
            [0; 8].map(|_: u64| prng.draw())
        };
        assert_eq!(draw(7, "disk"), draw(7, "disk"));
        assert_ne!(draw(7, "disk"), draw(7, "network"));
        assert_ne!(draw(7, "disk"), draw(8, "disk"));
    }

    #[test]
    fn bounds_and_chances_hold() {
        let mut prng = Prng::new(1, "test");
        assert!((0..1_000).all(|_| (3..=5).contains(&prng.between(3, 5))));
        assert!((0..1_000).all(|_| !prng.chance(0) && prng.chance(WHOLE)));
        let heads = (0..1_000).filter(|_| prng.coin()).count();
        assert!((400..600).contains(&heads), "{heads}");
        assert_eq!(prng.pick::<u64>(&[]), None);
    }
}
