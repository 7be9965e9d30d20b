//! Bits of a string. Bit 0 is the most significant bit of byte 0, as SETBIT counts them.
//!
//! Everything works on whole machine words where it can: the compiler turns these loops into SIMD, and a bitmap's cost is
//! then the memory it reads.

#![forbid(unsafe_code)]

/// The bit at `index`; bits behind the end are 0.
pub fn get(bytes: &[u8], index: u64) -> bool {
    usize::try_from(index >> 3).ok().and_then(|at| bytes.get(at)).is_some_and(|byte| byte & mask(index) != 0)
}

/// Sets the bit at `index`, which must lie within `bytes`, and returns what it was.
pub fn set(bytes: &mut [u8], index: u64, on: bool) -> bool {
    let byte = &mut bytes[(index >> 3) as usize];
    let was = *byte & mask(index) != 0;
    *byte = if on { *byte | mask(index) } else { *byte & !mask(index) };
    was
}

fn mask(index: u64) -> u8 {
    0x80 >> (index & 7)
}

/// Number of ones.
pub fn count(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words.iter().map(|word| u64::from_ne_bytes(*word).count_ones() as u64).sum();
    in_words + rest.iter().map(|byte| byte.count_ones() as u64).sum::<u64>()
}

/// Number of ones among the bits `first..=last`, both within `bytes`.
pub fn count_between(bytes: &[u8], first: u64, last: u64) -> u64 {
    let (head, tail) = edges(first, last);
    let covered = &bytes[(first >> 3) as usize..=(last >> 3) as usize];
    match covered {
        [only] => (only & head & tail).count_ones() as u64,
        [first, inner @ .., last] => {
            count(inner) + (first & head).count_ones() as u64 + (last & tail).count_ones() as u64
        }
        [] => 0,
    }
}

/// The first bit among `first..=last`, both within `bytes`, that equals `wanted`.
pub fn find(bytes: &[u8], wanted: bool, first: u64, last: u64) -> Option<u64> {
    let (head, tail) = edges(first, last);
    let (start, end) = ((first >> 3) as usize, (last >> 3) as usize);
    // A byte is turned so that the wanted bit is a one, and what lies outside the range is zero.
    let candidates = |at: usize| {
        let byte = if wanted { bytes[at] } else { !bytes[at] };
        byte & if at == start { head } else { 0xff } & if at == end { tail } else { 0xff }
    };
    let hit = |at: usize| Some((at as u64) << 3 | candidates(at).leading_zeros() as u64);
    if candidates(start) != 0 {
        return hit(start);
    }
    let at = (start + 1..end).len();
    let skipped = skip(&bytes[start + 1..][..at], if wanted { 0 } else { 0xff });
    let next = start + 1 + skipped;
    if next <= end && candidates(next) != 0 { hit(next) } else { None }
}

/// Masks of the range's bits in its first and in its last byte.
fn edges(first: u64, last: u64) -> (u8, u8) {
    (0xff >> (first & 7), !(0x7f >> (last & 7)))
}

/// Length of the run of `filler` bytes at the front.
fn skip(bytes: &[u8], filler: u8) -> usize {
    let word = u64::from_ne_bytes([filler; 8]);
    let words = bytes.as_chunks::<8>().0.iter().take_while(|chunk| u64::from_ne_bytes(**chunk) == word).count();
    let rest = &bytes[words * 8..];
    words * 8 + rest.iter().take_while(|&&byte| byte == filler).count()
}

/// What BITOP computes from its sources X, Y1, Y2, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// In X and in no Y.
    Diff,
    /// In some Y and not in X.
    Diff1,
    /// In X and in some Y.
    AndOr,
    /// In exactly one source.
    One,
}

/// Writes the result to `out`, which is zero and as long as the longest source; shorter sources count as zero-padded.
pub fn combine(operation: Operation, sources: &[&[u8]], out: &mut [u8]) {
    let Some((&first, others)) = sources.split_first() else { return };
    match operation {
        Operation::Not => {
            out[..first.len()].copy_from_slice(first);
            out.iter_mut().for_each(|byte| *byte = !*byte);
        }
        Operation::And => {
            out[..first.len()].copy_from_slice(first);
            others.iter().for_each(|other| keep(out, other));
        }
        Operation::Or => sources.iter().for_each(|source| merge(out, source, |a, b| a | b)),
        Operation::Xor => sources.iter().for_each(|source| merge(out, source, |a, b| a ^ b)),
        Operation::Diff => {
            out[..first.len()].copy_from_slice(first);
            others.iter().for_each(|other| merge(out, other, |a, b| a & !b));
        }
        Operation::Diff1 => {
            others.iter().for_each(|other| merge(out, other, |a, b| a | b));
            merge(out, first, |a, b| a & !b);
        }
        Operation::AndOr => {
            others.iter().for_each(|other| merge(out, other, |a, b| a | b));
            keep(out, first);
        }
        Operation::One => exactly_one(sources, out),
    }
}

/// Combines `source` with the front of `out`; behind its end `out` stays as it is.
fn merge(out: &mut [u8], source: &[u8], combine: impl Fn(u8, u8) -> u8) {
    out.iter_mut().zip(source).for_each(|(to, &from)| *to = combine(*to, from));
}

/// Keeps the bits that `source` has too, and none behind its end.
fn keep(out: &mut [u8], source: &[u8]) {
    merge(out, source, |a, b| a & b);
    out[source.len()..].fill(0);
}

/// Two accumulators, "in some" and "in several", block by block so that the second one stays in cache.
fn exactly_one(sources: &[&[u8]], out: &mut [u8]) {
    const BLOCK: usize = 512;
    for (index, some) in out.chunks_mut(BLOCK).enumerate() {
        let mut several = [0u8; BLOCK];
        for source in sources {
            let part = source.get(index * BLOCK..).unwrap_or(&[]);
            for ((some, several), &bits) in some.iter_mut().zip(&mut several).zip(part) {
                *several |= *some & bits;
                *some |= bits;
            }
        }
        some.iter_mut().zip(several).for_each(|(some, several)| *some &= !several);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn a_bit_behind_the_end_is_zero_and_bit_0_is_the_highest() {
        assert!(get(&[0x80], 0));
        assert!(!get(&[0x80], 8));
        assert!(!get(&[], u64::MAX));
        let mut bytes = [0u8];
        assert!(!set(&mut bytes, 1, true));
        assert!(set(&mut bytes, 1, true));
        assert_eq!(bytes, [0x40]);
    }

    /// Every pair of ends of random strings against a bit-by-bit scan.
    #[test]
    fn counting_and_finding_agree_with_a_scan() {
        let mut prng = Prng::seeded(7);
        for len in [1usize, 2, 9, 19, 40] {
            let fill = [0x00, 0xff][len % 2];
            let mut bytes = vec![fill; len];
            for _ in 0..len / 4 {
                bytes[prng.below(len as u64) as usize] = prng.below(256) as u8;
            }
            let total = len as u64 * 8;
            for first in 0..total {
                for last in first..total {
                    let ones = (first..=last).filter(|&at| get(&bytes, at)).count() as u64;
                    assert_eq!(count_between(&bytes, first, last), ones);
                    for wanted in [false, true] {
                        let scan = (first..=last).find(|&at| get(&bytes, at) == wanted);
                        assert_eq!(find(&bytes, wanted, first, last), scan, "{bytes:?} {wanted} {first} {last}");
                    }
                }
            }
        }
    }

    #[test]
    fn operations_pad_short_sources_with_zeros() {
        let sources: [&[u8]; 3] = [&[0b1100, 0xff], &[0b1010], &[0b0110, 0x0f, 0x01]];
        let result = |operation, sources: &[&[u8]]| {
            let mut out = vec![0; sources.iter().map(|source| source.len()).max().unwrap_or(0)];
            combine(operation, sources, &mut out);
            out
        };
        assert_eq!(result(Operation::And, &sources), [0, 0, 0]);
        assert_eq!(result(Operation::Or, &sources), [0b1110, 0xff, 1]);
        assert_eq!(result(Operation::Xor, &sources), [0, 0xf0, 1]);
        assert_eq!(result(Operation::Not, &sources[..1]), [0xf3, 0]);
        assert_eq!(result(Operation::Diff, &sources), [0, 0xf0, 0]);
        assert_eq!(result(Operation::Diff1, &sources), [0b0010, 0, 1]);
        assert_eq!(result(Operation::AndOr, &sources), [0b1100, 0x0f, 0]);
        assert_eq!(result(Operation::One, &sources), [0, 0xf0, 1]);
    }

    #[test]
    fn exactly_one_crosses_its_blocks() {
        let (a, b) = (vec![0xaau8; 1500], vec![0xffu8; 700]);
        let mut out = vec![0; 1500];
        combine(Operation::One, &[&a, &b], &mut out);
        assert!(out[..700].iter().all(|&byte| byte == 0x55) && out[700..].iter().all(|&byte| byte == 0xaa));
    }
}
