//! Ghosts: fingerprints of keys that were evicted although they were used once only, so that those that come back are known.
//!
//! A fingerprint stands where its key's hash says, and the next one that falls on the same place takes it: so it stays for
//! about as long as it takes to evict as many keys as there are places. Three places per key of the cache, 4 bytes each.
//!
//! All loops use one array; a write is a relaxed store to a random line, and what is lost in a race was a hint. A cache that
//! grows gets a larger array, empty at first; the smaller ones before it stay, a third of the whole at most.

use crate::base::prefetch::prefetch;
use crate::base::sync::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::OnceLock;

/// Places per key.
const PLACES_PER_KEY: usize = 3;
/// Places of the smallest array, and the factor between two sizes, as powers of two.
const LEAST_SHIFT: u32 = 12;
const STEP_SHIFT: u32 = 2;
/// Sizes: up to 2^30 places.
const SIZES: usize = 10;
/// Keys of the table are told apart by the low bits; these are others.
const FINGERPRINT_SHIFT: u32 = 32;

/// See the module header.
#[derive(Default)]
pub struct Ghosts {
    arrays: [OnceLock<Box<[AtomicU32]>>; SIZES],
    /// The array that is in use, counted from 1; 0: none yet.
    present: AtomicUsize,
}

impl Ghosts {
    /// Makes room for the ghosts of a cache of so many keys.
    pub fn fit(&self, keys: usize) {
        let wanted = (keys * PLACES_PER_KEY).next_power_of_two().trailing_zeros().max(LEAST_SHIFT);
        let size = ((wanted - LEAST_SHIFT).div_ceil(STEP_SHIFT) as usize).min(SIZES - 1);
        if size < self.present.load(Relaxed) {
            return;
        }
        let places = 1usize << (LEAST_SHIFT + STEP_SHIFT * size as u32);
        self.arrays[size].get_or_init(|| (0..places).map(|_| AtomicU32::new(0)).collect());
        self.present.fetch_max(size + 1, Relaxed);
    }
    /// The place of a key, if there are any, and its fingerprint.
    #[inline]
    fn place(&self, hash: u64) -> Option<(&AtomicU32, u32)> {
        let places = self.arrays.get(self.present.load(Relaxed).wrapping_sub(1))?.get()?;
        Some((&places[hash as usize & (places.len() - 1)], (hash >> FINGERPRINT_SHIFT) as u32 | 1))
    }
    /// Is it kept what has gone? Cost: a load.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.present.load(Relaxed) > 0
    }
    /// A key with this hash may be asked for in a moment.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some((place, _)) = self.place(hash) {
            prefetch(place);
        }
    }
    /// A key with this hash has gone.
    pub fn add(&self, hash: u64) {
        if let Some((place, fingerprint)) = self.place(hash) {
            place.store(fingerprint, Relaxed);
        }
    }
    /// Has a key with this hash gone a short while ago?
    pub fn has(&self, hash: u64) -> bool {
        self.place(hash).is_some_and(|(place, fingerprint)| place.load(Relaxed) == fingerprint)
    }
    /// Bytes of all arrays.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.arrays.iter().filter_map(OnceLock::get).map(|places| size_of_val(&**places)).sum()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn ghosts_are_known_until_others_take_their_places() {
        let (ghosts, mut prng) = (Ghosts::default(), Prng::seeded(4));
        ghosts.add(7);
        assert!(!ghosts.has(7) && ghosts.bytes() == 0, "nothing is kept before there is room");
        ghosts.fit(1000);
        let first: Vec<u64> = (0..1000).map(|_| prng.next_u64()).collect();
        first.iter().for_each(|&hash| ghosts.add(hash));
        let known = |ghosts: &Ghosts| first.iter().filter(|&&hash| ghosts.has(hash)).count();
        assert!(known(&ghosts) > 850, "{}", known(&ghosts));
        (0..20_000).for_each(|_| ghosts.add(prng.next_u64()));
        assert!(known(&ghosts) < 50, "{}", known(&ghosts));
    }

    #[test]
    fn a_larger_cache_gets_a_larger_array_and_a_smaller_one_keeps_it() {
        let ghosts = Ghosts::default();
        ghosts.fit(100_000);
        let bytes = ghosts.bytes();
        assert!((100_000 * PLACES_PER_KEY * 4..100_000 * PLACES_PER_KEY * 16).contains(&bytes), "{bytes}");
        ghosts.fit(10);
        assert_eq!(ghosts.bytes(), bytes);
    }
}
