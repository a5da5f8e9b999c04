//! What the fuzz targets run on: a seeded source of noise, the kept inputs, and inputs changed from them.
//!
//! The targets are plain tests of the crates they belong to and take this file in by its path. `BERTH_FUZZ_ROUNDS` asks for
//! more mutations than a normal run makes, `BERTH_FUZZ_SEED` for others.
#![allow(dead_code, reason = "no target needs all of it")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads its inputs and its settings, also in a crate that may not"
)]
#![allow(clippy::print_stderr, reason = "what a target panics on is told to people")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::path::Path;

/// Mutations of one target in a normal run.
pub(crate) const ROUNDS: u64 = 50_000;

/// Changes made to one input, at most.
const MOST_CHANGES: usize = 4;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many mutations to make of the number that is usual.
pub(crate) fn rounds(usual: u64) -> u64 {
    setting("BERTH_FUZZ_ROUNDS").unwrap_or(usual)
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(target: &str) -> Noise {
        let asked = setting("BERTH_FUZZ_SEED").unwrap_or(0);
        let named = target.bytes().fold(asked, |sum, byte| {
            sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)
        });
        Noise(named)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below the bound, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A number that sits where things break: small, at a power of two, at the end.
    pub(crate) fn edge(&mut self) -> u64 {
        let near = 1_u64.checked_shl(u32::from(self.byte() % 65)).unwrap_or(0);
        match self.below(4) {
            0 => self.next() % 16,
            1 => near,
            2 => near.wrapping_sub(1),
            _ => u64::MAX - self.next() % 3,
        }
    }
}

/// The kept inputs of a target with their names, in the order of these.
pub(crate) fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fuzz/corpus")
        .join(target);
    let mut kept: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    kept.sort();
    assert!(!kept.is_empty(), "no kept inputs in {}", folder.display());
    kept
}

/// Makes new inputs of old ones.
pub(crate) struct Mutator<'a> {
    pub(crate) noise: Noise,
    seeds: Vec<Vec<u8>>,
    words: &'a [&'a [u8]],
    longest: usize,
}

impl<'a> Mutator<'a> {
    /// Over the kept inputs of a target and more seeds; `words` are what its inputs are made of.
    pub(crate) fn new(
        target: &str,
        more: Vec<Vec<u8>>,
        words: &'a [&'a [u8]],
        longest: usize,
    ) -> Mutator<'a> {
        let mut seeds: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
        seeds.extend(more);
        Mutator {
            noise: Noise::new(target),
            seeds,
            words,
            longest,
        }
    }

    /// The next input.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let Mutator {
            noise, seeds, words, ..
        } = self;
        let mut input = noise.pick(seeds).clone();
        for _ in 0..=noise.below(MOST_CHANGES) {
            change(noise, &mut input, seeds, words);
        }
        input.truncate(self.longest);
        input
    }
}

fn change(noise: &mut Noise, input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&[u8]]) {
    let at = noise.below(input.len() + 1);
    let left = input.len() - at;
    let some = noise.below(left.min(32) + 1);
    match noise.below(10) {
        0 | 1 if left > 0 => input[at] ^= 1 << noise.below(8),
        2 if left > 0 => input[at] = *noise.pick(&[0, 1, 0x7f, 0x80, 0xff, b'%', b'/', b'&', b'=', b'.']),
        3 => drop(input.drain(at..at + some)),
        4 => {
            let copy = input[at..at + some].to_vec();
            let to = noise.below(input.len() + 1);
            input.splice(to..to, copy);
        }
        5 | 6 if !words.is_empty() => {
            let word = *noise.pick(words);
            let over = if noise.once_in(2) { word.len().min(left) } else { 0 };
            input.splice(at..at + over, word.iter().copied());
        }
        7 => {
            let other = noise.pick(seeds);
            let from = noise.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        8 => {
            let number = noise.edge().to_le_bytes();
            let over = left.min(number.len());
            input[at..at + over].copy_from_slice(&number[..over]);
        }
        _ => {
            let count = noise.below(9);
            let fresh: Vec<u8> = (0..count).map(|_| noise.byte()).collect();
            input.splice(at..at, fresh);
        }
    }
}

/// Tells which input it was when a target panics.
pub(crate) struct Naming<'a> {
    pub(crate) round: u64,
    pub(crate) input: &'a [u8],
}

impl Drop for Naming<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("round {}: b\"{}\"", self.round, self.input.escape_ascii());
        }
    }
}
