//! A fast 64-bit hash with fixed constants: to compare states and find damage, not to resist an enemy.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash so far with one more word.
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(MULTIPLIER);
    (product ^ (product >> 29))
        .wrapping_mul(MULTIPLIER)
        .rotate_left(23)
}

/// The hash so far with a byte string, its length included.
pub(crate) fn mix_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(hash, bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = mix(hash, u64::from_le_bytes(last));
    }
    hash
}

/// The hash so far with something that may be missing.
pub(crate) fn mix_optional(hash: u64, word: Option<u64>) -> u64 {
    match word {
        Some(word) => mix(mix(hash, 1), word),
        None => mix(hash, 0),
    }
}
