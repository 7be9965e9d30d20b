//! The keyed hash of keys, and the hash slot of cluster clients.

#![forbid(unsafe_code)]

use ahash::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

/// The process-wide keyed hasher: seeded at start, so that nobody outside can aim keys at one group.
#[derive(Clone)]
pub struct KeyHasher {
    state: RandomState,
    /// Bits of the hash that are kept: all, but for stress tests that want collisions.
    mask: u64,
}

impl KeyHasher {
    /// A hasher with random seeds.
    pub fn random() -> Self {
        KeyHasher { state: RandomState::new(), mask: u64::MAX }
    }
    /// A hasher with a fixed seed, for tests and models.
    pub fn seeded(seed: u64) -> Self {
        let state = RandomState::with_seeds(seed, seed ^ 0x9e37_79b9_7f4a_7c15, !seed, seed.rotate_left(32));
        KeyHasher { state, mask: u64::MAX }
    }
    /// The same hasher with all hash bits outside `mask` cleared: forces collisions in tests.
    pub fn masked(self, mask: u64) -> Self {
        KeyHasher { mask, ..self }
    }
    /// The 64-bit hash of `key`. Never 0, so that 0 can mean "not computed yet".
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(key);
        hasher.finish() & self.mask | 1 << 31
    }
}

/// The hash of an element inside a collection. Seeded once per process, apart from the hash of keys: a collection carries no
/// hasher along, and nobody outside can aim elements at one bucket.
#[inline]
pub fn element_hash(element: &[u8]) -> u64 {
    static HASHER: LazyLock<KeyHasher> = LazyLock::new(KeyHasher::random);
    HASHER.hash(element)
}

/// A key with its hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}

impl<'a> Key<'a> {
    #[inline]
    pub fn new(hasher: &KeyHasher, bytes: &'a [u8]) -> Self {
        Key { bytes, hash: hasher.hash(bytes) }
    }
}

/// CRC16-CCITT (XModem), as Redis Cluster's specification gives it.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0u16, |crc, &byte| {
        (0..8).fold(crc ^ (byte as u16) << 8, |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 })
    })
}

/// The cluster hash slot (0..16384) of a key, with the `{hash tag}` rule.
pub fn key_slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&b| b == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|&b| b == b'}').filter(|&len| len > 0).map(|len| &rest[..len])
    });
    crc16(tag.unwrap_or(key)) & 16383
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_agree_with_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(key_slot(b"{user1000}.following"), key_slot(b"{user1000}.followers"));
        assert_eq!(key_slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") & 16383);
    }
}
