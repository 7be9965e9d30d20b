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

/// Bits of the hash of three bytes: a table of 32 KiB, on the stack.
const HASH_BITS: u32 = 13;
/// The same for inputs of up to 256 bytes: clearing a large table would cost more than compressing them.
const SHORT: usize = 256;
const SHORT_HASH_BITS: u32 = 8;
/// How far back a copy may reach.
const OFFSET_MAX: usize = 1 << 13;
/// Longest copy.
const COPY_LEN_MAX: usize = 264;
/// Most bytes as they are behind one tag.
const LITERAL_LEN_MAX: usize = 32;

/// Compresses `input` to at most `max` bytes; None if that does not suffice.
/// Cost: some 2 ns per byte, and clearing the table.
pub fn compress(input: &[u8], max: usize) -> Option<Vec<u8>> {
    if input.len() <= SHORT {
        return compress_with::<SHORT_HASH_BITS>(&mut [0; 1 << SHORT_HASH_BITS], input, max);
    }
    compress_with::<HASH_BITS>(&mut [0; 1 << HASH_BITS], input, max)
}

/// `seen`: the position, plus one, of the last group of three bytes with each hash of so many bits.
fn compress_with<const BITS: u32>(seen: &mut [u32], input: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(max);
    let (mut at, mut literals_from) = (0, 0);
    while at + 2 < input.len() {
        let slot = &mut seen[hash::<BITS>(&input[at..])];
        let before = std::mem::replace(slot, at as u32 + 1) as usize;
        let len = if before > 0 && at + 1 - before <= OFFSET_MAX { common_len(input, before - 1, at) } else { 0 };
        if len < 3 {
            at += 1;
            continue;
        }
        write_literals(&mut out, &input[literals_from..at]);
        write_copy(&mut out, at - before, len);
        if out.len() > max {
            return None;
        }
        // The last two positions of the copy are remembered, too: what repeats often repeats from there.
        let end = at + len;
        for near in end - 2..end.min(input.len().saturating_sub(2)) {
            seen[hash::<BITS>(&input[near..])] = near as u32 + 1;
        }
        at = end;
        literals_from = end;
    }
    write_literals(&mut out, &input[literals_from..]);
    (out.len() <= max).then_some(out)
}

#[inline]
fn hash<const BITS: u32>(bytes: &[u8]) -> usize {
    let group = (bytes[0] as u32) << 16 | (bytes[1] as u32) << 8 | bytes[2] as u32;
    (group.wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

/// How many bytes from `a` and from `b > a` on are equal.
fn common_len(input: &[u8], a: usize, b: usize) -> usize {
    let (from_a, from_b) = (&input[a..], &input[b..]);
    from_a.iter().zip(from_b).take(COPY_LEN_MAX).take_while(|(a, b)| a == b).count()
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
