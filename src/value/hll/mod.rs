//! HyperLogLog: how many different elements were added, to within a percent, in at most 12 KiB. It is a string, and these
//! are Redis's bytes.
//!
//! ```text
//! "HYLL" · encoding: 1 · zeros: 3 · cardinality: 8, little-endian; its top bit says: count again · registers
//! dense   (0)  16384 registers of 6 bits, lowest bits first
//! sparse  (1)  runs of equal registers (sparse.rs)
//! ```
//! An element's hash names a register (14 bits); the register keeps the longest run of zeros, plus one, that the other 50
//! bits of any of its elements began with. The count is estimated from how many registers have each value.
//!
//! **Source**: Redis, the comment in hyperloglog.c, for the bytes; Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches", 2017, for the estimate; Appleby's MurmurHash64A.

#![forbid(unsafe_code)]

#[cfg(all(test, not(loom)))]
mod hll_fuzz;
pub mod sparse;

use std::borrow::Cow;

/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 14;
/// Bits of a hash that are not its index.
const RUN_BITS: u32 = 64 - INDEX_BITS;
/// Largest value of a register.
pub const REGISTER_MAX: u8 = 63;
pub const HEADER_LEN: usize = 16;
pub const DENSE_LEN: usize = HEADER_LEN + REGISTERS * 6 / 8;
const MAGIC: &[u8; 4] = b"HYLL";
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// The byte of the header whose top bit says that the cardinality is of an earlier state.
const STALE_AT: usize = 15;
const STALE: u8 = 0x80;
/// Source: Redis; all HyperLogLogs of the world must agree on it.
const HASH_SEED: u64 = 0xadc8_3b19;

/// The registers are not what the header promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// The value of every register.
pub type Registers = [u8; REGISTERS];

/// MurmurHash64A.
fn murmur(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(M);
        hash = (hash ^ (word ^ word >> R).wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    hash = (hash ^ hash >> R).wrapping_mul(M);
    hash ^ hash >> R
}

/// The register that an element belongs to, and the value that it asks for: 1 to 51.
#[inline]
pub fn place_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element, HASH_SEED);
    let run = (hash >> INDEX_BITS | 1 << RUN_BITS).trailing_zeros() as u8 + 1;
    (hash as usize % REGISTERS, run)
}

#[inline]
fn dense_get(registers: &[u8], index: usize) -> u8 {
    let (byte, shift) = (index * 6 / 8, index * 6 % 8);
    let high = registers.get(byte + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([registers[byte], high]) >> shift) as u8 & REGISTER_MAX
}

#[inline]
fn dense_set(registers: &mut [u8], index: usize, value: u8) {
    let (byte, shift) = (index * 6 / 8, index * 6 % 8);
    let high = registers.get(byte + 1).copied().unwrap_or(0);
    let others = u16::from_le_bytes([registers[byte], high]) & !((REGISTER_MAX as u16) << shift);
    let [low, high] = (others | (value as u16) << shift).to_le_bytes();
    registers[byte] = low;
    if let Some(next) = registers.get_mut(byte + 1) {
        *next = high;
    }
}

/// How many elements were added to registers of which `histogram[v]` have the value v.
fn estimate(histogram: &[u32; 64]) -> u64 {
    const ALPHA: f64 = 0.721_347_520_444_481_7; // 1 / (2 ln 2)
    let m = REGISTERS as f64;
    let last = RUN_BITS as usize + 1;
    let mut z = m * tau((m - histogram[last] as f64) / m);
    for value in (1..last).rev() {
        z = (z + histogram[value] as f64) * 0.5;
    }
    z += m * sigma(histogram[0] as f64 / m);
    (ALPHA * m * m / z).round() as u64
}

/// Ertl's correction for small counts.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// Ertl's correction for large counts.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// How many elements were added to these registers.
pub fn count_of(registers: &Registers) -> u64 {
    let mut histogram = [0; 64];
    registers.iter().for_each(|&value| histogram[value as usize] += 1);
    estimate(&histogram)
}

/// A HyperLogLog in its bytes: borrowed to be read, owned once it was changed.
#[derive(Clone)]
pub struct Hll<'a> {
    bytes: Cow<'a, [u8]>,
}

impl<'a> Hll<'a> {
    /// No elements.
    pub fn new() -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4] = SPARSE;
        bytes.extend_from_slice(&sparse::EMPTY);
        Hll { bytes: bytes.into() }
    }
    /// The one in these bytes. None: the header is not that of a HyperLogLog.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let is_valid = bytes.len() >= HEADER_LEN
            && bytes.starts_with(MAGIC)
            && (bytes[4] == SPARSE || bytes[4] == DENSE && bytes.len() == DENSE_LEN);
        is_valid.then_some(Hll { bytes: bytes.into() })
    }
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    pub fn is_sparse(&self) -> bool {
        self.bytes[4] == SPARSE
    }
    /// Was it changed since it was borrowed, or made new?
    pub fn is_changed(&self) -> bool {
        matches!(self.bytes, Cow::Owned(_))
    }
    /// The bytes behind the header.
    pub fn registers(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }
    /// The count that was kept. None: registers changed since.
    pub fn kept_count(&self) -> Option<u64> {
        let is_stale = self.bytes[STALE_AT] & STALE != 0;
        let count = self.bytes[8..HEADER_LEN].first_chunk().copied().map(u64::from_le_bytes);
        count.filter(|_| !is_stale)
    }
    /// Keeps a count.
    pub fn keep_count(&mut self, count: u64) {
        self.bytes.to_mut()[8..HEADER_LEN].copy_from_slice(&count.to_le_bytes());
    }
    /// The kept count is not right any more.
    pub fn forget_count(&mut self) {
        self.bytes.to_mut()[STALE_AT] |= STALE;
    }
    /// Counts the elements.
    pub fn count(&self) -> Result<u64, Corrupt> {
        let mut histogram = [0; 64];
        if self.is_sparse() {
            let mut covered = 0;
            for run in sparse::runs(self.registers()) {
                let run = run?;
                histogram[run.value as usize] += run.len as u32;
                covered += run.len;
            }
            return if covered == REGISTERS { Ok(estimate(&histogram)) } else { Err(Corrupt) };
        }
        (0..REGISTERS).for_each(|index| histogram[dense_get(self.registers(), index) as usize] += 1);
        Ok(estimate(&histogram))
    }
    /// Raises `registers` to those of this one, where these are higher.
    pub fn raise(&self, registers: &mut Registers) -> Result<(), Corrupt> {
        if !self.is_sparse() {
            for (index, register) in registers.iter_mut().enumerate() {
                *register = dense_get(self.registers(), index).max(*register);
            }
            return Ok(());
        }
        let mut at = 0;
        for run in sparse::runs(self.registers()) {
            let run = run?;
            let covered = registers.get_mut(at..at + run.len).ok_or(Corrupt)?;
            covered.iter_mut().for_each(|register| *register = run.value.max(*register));
            at += run.len;
        }
        if at == REGISTERS { Ok(()) } else { Err(Corrupt) }
    }
    /// Makes it dense.
    pub fn make_dense(&mut self) -> Result<(), Corrupt> {
        if !self.is_sparse() {
            return Ok(());
        }
        let mut registers = [0; REGISTERS];
        self.raise(&mut registers)?;
        let mut dense = vec![0; DENSE_LEN];
        dense[..HEADER_LEN].copy_from_slice(&self.bytes[..HEADER_LEN]);
        dense[4] = DENSE;
        for (index, &value) in registers.iter().enumerate().filter(|&(_, &value)| value > 0) {
            dense_set(&mut dense[HEADER_LEN..], index, value);
        }
        self.bytes = dense.into();
        Ok(())
    }
    /// Raises one register. True: it was lower. A sparse one that would get longer than `sparse_len_max` bytes, or cannot
    /// hold the value, becomes dense.
    pub fn set(&mut self, index: usize, value: u8, sparse_len_max: usize) -> Result<bool, Corrupt> {
        if self.is_sparse() {
            match sparse::set(&mut self.bytes, index, value, sparse_len_max)? {
                sparse::Outcome::Unchanged => return Ok(false),
                sparse::Outcome::Raised => {
                    self.forget_count();
                    return Ok(true);
                }
                sparse::Outcome::TooLarge => self.make_dense()?,
            }
        }
        if dense_get(self.registers(), index) >= value {
            return Ok(false);
        }
        dense_set(&mut self.bytes.to_mut()[HEADER_LEN..], index, value);
        self.forget_count();
        Ok(true)
    }
    /// Adds an element. True: a register was raised.
    pub fn add(&mut self, element: &[u8], sparse_len_max: usize) -> Result<bool, Corrupt> {
        let (index, value) = place_of(element);
        self.set(index, value, sparse_len_max)
    }
}

impl Default for Hll<'_> {
    fn default() -> Self {
        Hll::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_hash_as_in_redis() {
        // Index and value that PFDEBUG GETREG of Redis 7.0 shows after PFADD of one element.
        for element in [&b"a"[..], b"", b"12345678", b"hello world"] {
            let mut hll = Hll::new();
            assert_eq!(hll.add(element, 3000), Ok(true));
            assert_eq!(hll.add(element, 3000), Ok(false));
            assert_eq!(hll.count(), Ok(1));
        }
        assert_eq!(murmur(b"", 0), 0);
    }

    #[test]
    fn dense_registers_do_not_touch_their_neighbours() {
        let mut bytes = vec![0; DENSE_LEN - HEADER_LEN];
        for index in 0..REGISTERS {
            dense_set(&mut bytes, index, (index * 7 % 64) as u8);
        }
        for index in (0..REGISTERS).step_by(3) {
            dense_set(&mut bytes, index, 63);
            dense_set(&mut bytes, index, 5);
        }
        for index in 0..REGISTERS {
            let expected = if index.is_multiple_of(3) { 5 } else { (index * 7 % 64) as u8 };
            assert_eq!(dense_get(&bytes, index), expected, "{index}");
        }
    }

    #[test]
    fn only_a_right_header_is_taken() {
        let empty = Hll::new();
        assert_eq!(empty.kept_count(), Some(0));
        assert_eq!(empty.count(), Ok(0));
        for (at, byte) in [(0, b'x'), (4, 2), (4, DENSE)] {
            let mut bytes = empty.bytes().to_vec();
            bytes[at] = byte;
            assert!(Hll::of(&bytes).is_none());
        }
        assert!(Hll::of(&empty.bytes()[..15]).is_none());
        let short = Hll::of(&empty.bytes()[..17]).map(|hll| hll.count());
        assert_eq!(short, Some(Err(Corrupt)));
    }
}
