//! LZF: the light compression of long lists' middle chunks and of snapshots.
//!
//! ```text
//! 000lllll            the next l+1 bytes as they are
//! lllooooo oooooooo   l+2 bytes (l = 1 to 6) from o+1 bytes before
//! 111ooooo llllllll oooooooo   l+9 bytes from o+1 bytes before
//! ```
//! The compressor remembers where each hashed group of three bytes was seen last and takes the longest copy from there.
//! Source: the format of Marc Lehmann's LibLZF, which Redis's snapshots use. The code is written here.

#![forbid(unsafe_code)]

/// How far back a copy may reach.
const OFFSET_MAX: usize = 1 << 13;
/// Longest copy.
const COPY_LEN_MAX: usize = 264;
/// Most bytes as they are behind one tag.
const LITERAL_LEN_MAX: usize = 32;
/// Bytes that are looked for together, and the part of four bytes that they are.
const GROUP_LEN: usize = 3;
const GROUP: u32 = 0xff_ffff;
/// Looks that find nothing before they are a byte further apart.
const LOOKS: usize = 32;
/// A copy begins up to so many bytes before it was found.
const BACK_MAX: usize = 32;

/// Compresses `input` to at most `max` bytes; None if that does not suffice.
/// Cost: 2 to 3 ns per byte of what repeats; what does not is passed faster the longer it is (100 bytes 0.13 µs, 4 KB 1 µs),
/// and allocates nothing. Clearing a table of 1 KiB (up to 256 bytes), 4 KiB (up to 2 KiB), 16 KiB, or 32 KiB (beyond 64 KiB).
pub fn compress(input: &[u8], max: usize) -> Option<Vec<u8>> {
    // As many slots as keep most groups apart, of as many bytes as hold a position.
    match input.len() {
        0..=0x100 => compress_with(&mut [0_u8; 1 << 10], input, max),
        0x101..=0x800 => compress_with(&mut [0_u16; 1 << 11], input, max),
        0x801..=0x1_0000 => compress_with(&mut [0_u16; 1 << 13], input, max),
        _ => compress_with(&mut [0_u32; 1 << 13], input, max),
    }
}

/// A slot of the table: a position in the input.
trait Slot: Copy {
    fn of(at: usize) -> Self;
    fn at(self) -> usize;
}

macro_rules! slots {
    ($($kind:ty)*) => {$(
        impl Slot for $kind {
            #[inline]
            fn of(at: usize) -> Self {
                at as $kind // Positions fit: `compress` chooses by the length.
            }
            #[inline]
            fn at(self) -> usize {
                self as usize
            }
        }
    )*};
}
slots!(u8 u16 u32);

/// `seen`: where the last group of three bytes with each hash was met. A slot that nobody has written says position 0, where
/// the group that it stands for may be as well: what counts are the bytes.
fn compress_with<T: Slot, const SLOTS: usize>(seen: &mut [T; SLOTS], input: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut from, mut literals_from) = (1, 0);
    while let Some((at, before)) = find(seen, input, from) {
        if out.is_empty() {
            out.reserve_exact(max);
        }
        let back = common_back(&input[..before], &input[literals_from..at]);
        let (at, before) = (at - back, before - back);
        let known = back + GROUP_LEN;
        let len = known + common_len(&input[before + known..], &input[at + known..], COPY_LEN_MAX - known);
        write_literals(&mut out, &input[literals_from..at]);
        write_copy(&mut out, at - before - 1, len);
        if out.len() > max {
            return None;
        }
        // The last two positions of the copy are remembered, too: what repeats often repeats from there.
        (from, literals_from) = (at + len, at + len);
        for near in from - 2..from {
            if let Some(group) = group_at(input, near) {
                seen[hash::<SLOTS>(group)] = T::of(near);
            }
        }
    }
    let rest = &input[literals_from..];
    if out.len() + rest.len() + rest.len().div_ceil(LITERAL_LEN_MAX) > max {
        return None;
    }
    write_literals(&mut out, rest);
    Some(out)
}

/// The next position from `from` on whose three bytes are found some way before as well, and where; remembers those that it
/// looks at. It looks more and more seldom the longer it finds nothing: what repeats nothing is soon passed.
#[inline]
fn find<T: Slot, const SLOTS: usize>(seen: &mut [T; SLOTS], input: &[u8], from: usize) -> Option<(usize, usize)> {
    let (mut at, mut looks) = (from, 0);
    while let Some(group) = group_at(input, at) {
        let before = std::mem::replace(&mut seen[hash::<SLOTS>(group)], T::of(at)).at();
        if group_at(input, before) == Some(group) && at - before <= OFFSET_MAX {
            return Some((at, before));
        }
        at += 1 + looks / LOOKS;
        looks += 1;
    }
    None
}

/// The three bytes at `at`, if there is one more behind them: they are read in fours.
#[inline]
fn group_at(input: &[u8], at: usize) -> Option<u32> {
    let bytes = input.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes) & GROUP)
}

#[inline]
fn hash<const SLOTS: usize>(group: u32) -> usize {
    (group.wrapping_mul(0x9e37_79b1) >> (32 - SLOTS.ilog2())) as usize
}

/// How many bytes at the end are equal, up to `BACK_MAX`.
#[inline]
fn common_back(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take(BACK_MAX).take_while(|(x, y)| x == y).count()
}

/// How many bytes at the beginning are equal, up to `max`.
#[inline]
fn common_len(a: &[u8], b: &[u8], max: usize) -> usize {
    let mut len = 0;
    while let (Some(x), Some(y)) = (a[len..].first_chunk::<8>(), b[len..].first_chunk::<8>()) {
        let differing = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differing != 0 || len >= max {
            return (len + differing.trailing_zeros() as usize / 8).min(max);
        }
        len += 8;
    }
    len += a[len..].iter().zip(&b[len..]).take_while(|(x, y)| x == y).count();
    len.min(max)
}

fn write_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(LITERAL_LEN_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

/// `offset` is the distance less one.
fn write_copy(out: &mut Vec<u8>, offset: usize, len: usize) {
    let (high, low) = ((offset >> 8) as u8, offset as u8);
    if len < 9 {
        out.extend_from_slice(&[(len as u8 - 2) << 5 | high, low]);
    } else {
        out.extend_from_slice(&[7 << 5 | high, (len - 9) as u8, low]);
    }
}

/// The `len` bytes that `input` stands for; None if it does not stand for exactly so many.
pub fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    // Three bytes stand for at most 264: a length from outside that is out of proportion reserves nothing.
    if len > input.len().saturating_mul(COPY_LEN_MAX / 3) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = input;
    while let Some((&tag, behind)) = rest.split_first() {
        rest = behind;
        if (tag as usize) < LITERAL_LEN_MAX {
            let (run, behind) = rest.split_at_checked(tag as usize + 1)?;
            out.extend_from_slice(run);
            rest = behind;
        } else {
            rest = copy(&mut out, tag, rest)?;
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

/// Does the copy that begins with `tag`; returns what is behind it.
fn copy<'a>(out: &mut Vec<u8>, tag: u8, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    let mut next = || {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        Some(byte as usize)
    };
    let copy_len = 2 + match tag >> 5 {
        7 => 7 + next()?,
        short => short as usize,
    };
    let offset = ((tag & 0x1f) as usize) << 8 | next()?;
    let from = out.len().checked_sub(offset + 1)?;
    if offset + 1 >= copy_len {
        out.extend_from_within(from..from + copy_len);
    } else {
        // It overlaps what it writes: a short pattern, repeated.
        (from..from + copy_len).for_each(|at| out.push(out[at]));
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn there_and_back(input: &[u8]) {
        let Some(packed) = compress(input, input.len() + input.len() / 16 + 16) else {
            panic!("{} bytes have room enough", input.len())
        };
        assert_eq!(decompress(&packed, input.len()).as_deref(), Some(input));
        assert_eq!(decompress(&packed, input.len() + 1), None);
        if let Some(shorter) = input.len().checked_sub(1) {
            assert_eq!(decompress(&packed, shorter), None);
        }
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let mut prng = Prng::seeded(1);
        for round in 0..3000 {
            let len = prng.below(if round % 100 == 0 { 40_000 } else { 600 }) as usize;
            let bits = prng.below(9);
            let letters = 1 + prng.below(1 << bits);
            let mut input: Vec<u8> = (0..len).map(|_| prng.below(letters) as u8).collect();
            if prng.chance(1, 2) && len > 10 {
                let from = prng.below(len as u64 / 2) as usize;
                input.copy_within(from..len / 2, len / 2);
            }
            there_and_back(&input);
        }
        there_and_back(&[7; 100_000]);
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_without_harm() {
        let mut prng = Prng::seeded(2);
        let input: Vec<u8> = (0..2000).map(|at| (at / 7 % 50) as u8).collect();
        let packed = compress(&input, 2000).expect("it repeats a lot");
        for _ in 0..20_000 {
            let mut damaged = packed.clone();
            for _ in 0..1 + prng.below(4) {
                let at = prng.below(damaged.len() as u64) as usize;
                damaged[at] = prng.next_u64() as u8;
            }
            damaged.truncate(prng.below(damaged.len() as u64 + 1) as usize);
            let read = decompress(&damaged, 2000);
            assert!(read.is_none_or(|bytes| bytes.len() == 2000));
        }
        assert_eq!(decompress(&[1, b'a'], usize::MAX), None);
        assert_eq!(decompress(&[0x20, 0], 3), None, "nothing lies before the beginning");
    }

    #[test]
    fn the_format_is_that_of_liblzf() {
        // A run of 'a': one byte as it is, then a copy of the rest from one byte before.
        assert_eq!(compress(&[b'a'; 20], 19), Some(vec![0, b'a', 0xe0, 10, 0]));
        assert_eq!(decompress(&[2, b'a', b'b', b'c', 0x20, 2], 6).as_deref(), Some(&b"abcabc"[..]));
        assert_eq!(compress(b"nothing here", 11), None, "it does not pay");
    }
}
