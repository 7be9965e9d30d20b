//! A small seeded generator (xoshiro256++) for sampling, RANDOMKEY, fuzzers and tests. Not for secrets.
//!
//! Source: Blackman & Vigna, "Scrambled linear pseudorandom number generators", 2019.

#![forbid(unsafe_code)]

/// The generator's state.
#[derive(Clone, Debug)]
pub struct Prng([u64; 4]);

impl Prng {
    /// A generator whose sequence depends only on `seed`.
    pub fn seeded(seed: u64) -> Self {
        let mut x = seed;
        Prng(std::array::from_fn(|_| {
            // SplitMix64 spreads the seed over the state, as the authors advise.
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = x;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        }))
    }
    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }
    /// A number in `0..bound` (bound > 0), by the multiply-shift method.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }
    /// True with probability `num / den`.
    pub fn chance(&mut self, num: u64, den: u64) -> bool {
        self.below(den) < num
    }
    /// `bytes` cut off somewhere, or with a bit of them flipped; where, and whether they are cut.
    #[cfg(test)]
    pub fn damage(&mut self, bytes: &[u8]) -> (Vec<u8>, usize, bool) {
        let (at, is_cut) = (self.below(bytes.len() as u64) as usize, self.chance(1, 2));
        let mut damaged = bytes.to_vec();
        match is_cut {
            true => damaged.truncate(at),
            false => damaged[at] ^= 1 << self.below(8),
        }
        (damaged, at, is_cut)
    }
}
