//! Listpacks, as Redis has them in memory and writes them into snapshots as strings.
//!
//! ```text
//! [length of all: 4][count: 2] (element back)* [0xff]        numbers little-endian; count 65535: more than can be said
//! element  0vvvvvvv | 10llllll bytes | 110vvvvv v | 1110llll l bytes | 0xf0 llll bytes | 0xf1 … 0xf4: 2, 3, 4, 8 bytes
//! back     the element's length in groups of seven bits, the highest first; all but the first byte have the top bit set
//! ```

use super::Fault;
use crate::value::pack::Piece;

const HEAD_LEN: usize = 6;
const END: u8 = 0xff;
const MANY: usize = u16::MAX as usize;

/// The elements of a listpack, checked one by one as they are read.
pub struct Elements<'a> {
    rest: &'a [u8],
    /// How many are to come, if that is known.
    left: Option<usize>,
}

const DAMAGED: Fault = Fault::Damaged("a listpack is damaged");

impl<'a> Elements<'a> {
    /// Errors: the frame is wrong.
    pub fn of(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_LEN>().ok_or(DAMAGED)?;
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let count = u16::from_le_bytes([head[4], head[5]]) as usize;
        let (&end, rest) = rest.split_last().ok_or(DAMAGED)?;
        if len as usize != bytes.len() || end != END {
            return Err(DAMAGED);
        }
        Ok(Elements { rest, left: (count < MANY).then_some(count) })
    }
    /// How many elements there can be at most.
    pub fn count_max(&self) -> usize {
        self.left.unwrap_or(usize::MAX).min(self.rest.len() / 2)
    }
    /// The next element. None: that was the last.
    /// Errors: it is damaged, or there are more or fewer than announced.
    pub fn next(&mut self) -> Result<Option<Piece<'a>>, Fault> {
        if self.rest.is_empty() {
            return if self.left.is_none_or(|left| left == 0) { Ok(None) } else { Err(DAMAGED) };
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(DAMAGED)?;
        }
        let (piece, len) = element(self.rest).ok_or(DAMAGED)?;
        let behind = &self.rest[len..];
        let back = back_of(len);
        self.rest = behind.strip_prefix(back.bytes()).ok_or(DAMAGED)?;
        Ok(Some(piece))
    }
    /// The next element, which must be there.
    pub fn expect(&mut self) -> Result<Piece<'a>, Fault> {
        self.next()?.ok_or(DAMAGED)
    }
    /// The next element, an integer.
    pub fn expect_int(&mut self) -> Result<i64, Fault> {
        match self.expect()? {
            Piece::Int(value) => Ok(value),
            Piece::Bytes(_) => Err(DAMAGED),
        }
    }
}

/// The first of `bytes`' elements, and the length of what it takes without its back.
fn element(bytes: &[u8]) -> Option<(Piece<'_>, usize)> {
    let int = |len: usize| {
        let mut wide = [0; 8];
        wide[..len].copy_from_slice(bytes.get(1..1 + len)?);
        let unused = 64 - 8 * len as u32;
        Some((Piece::Int(i64::from_le_bytes(wide) << unused >> unused), 1 + len))
    };
    let text = |head_len: usize, len: usize| {
        let end = head_len.checked_add(len)?;
        Some((Piece::Bytes(bytes.get(head_len..end)?), end))
    };
    let first = *bytes.first()?;
    match first {
        ..0x80 => Some((Piece::Int(first as i64), 1)),
        0x80..0xc0 => text(1, (first & 0x3f) as usize),
        0xc0..0xe0 => {
            let raw = (first as i64 & 0x1f) << 8 | *bytes.get(1)? as i64;
            Some((Piece::Int(raw << 51 >> 51), 2))
        }
        0xe0..0xf0 => text(2, ((first & 0x0f) as usize) << 8 | *bytes.get(1)? as usize),
        0xf0 => text(5, u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?) as usize),
        0xf1 => int(2),
        0xf2 => int(3),
        0xf3 => int(4),
        0xf4 => int(8),
        _ => None,
    }
}

/// A length as it stands behind an element.
struct Back([u8; 5], usize);

impl Back {
    fn bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

/// Source: Redis, `lpEncodeBacklen`: its limits are one below what the groups could hold.
fn back_of(len: usize) -> Back {
    let count = match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let mut back = [0; 5];
    for (at, byte) in back[..count].iter_mut().enumerate() {
        let group = (len >> (7 * (count - 1 - at))) as u8 & 0x7f;
        *byte = if at == 0 { group } else { group | 0x80 };
    }
    Back(back, count)
}

/// A listpack that is being written.
pub struct Writer {
    bytes: Vec<u8>,
    count: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Writer::new()
    }
}

impl Writer {
    pub fn new() -> Self {
        Writer { bytes: vec![0; HEAD_LEN], count: 0 }
    }
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
    /// Adds an element. Bytes that read as an integer become one, as in Redis.
    pub fn push(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Bytes(bytes) => match Piece::of(bytes) {
                Piece::Int(value) => self.push_int(value),
                Piece::Bytes(bytes) => self.push_bytes(bytes),
            },
            Piece::Int(value) => self.push_int(value),
        }
    }
    /// Adds an integer.
    pub fn push_int(&mut self, value: i64) {
        let from = self.bytes.len();
        let raw = value.to_le_bytes();
        match value {
            0..128 => self.bytes.push(value as u8),
            -0x1000..0x1000 => self.bytes.extend_from_slice(&[0xc0 | raw[1] & 0x1f, raw[0]]),
            -0x8000..0x8000 => self.wide(0xf1, &raw[..2]),
            -0x80_0000..0x80_0000 => self.wide(0xf2, &raw[..3]),
            -0x8000_0000..0x8000_0000 => self.wide(0xf3, &raw[..4]),
            _ => self.wide(0xf4, &raw),
        }
        self.close(from);
    }
    fn wide(&mut self, mark: u8, raw: &[u8]) {
        self.bytes.push(mark);
        self.bytes.extend_from_slice(raw);
    }
    fn push_bytes(&mut self, bytes: &[u8]) {
        let from = self.bytes.len();
        let len = bytes.len();
        match len {
            0..64 => self.bytes.push(0x80 | len as u8),
            64..4096 => self.bytes.extend_from_slice(&[0xe0 | (len >> 8) as u8, len as u8]),
            _ => self.wide(0xf0, &(len as u32).to_le_bytes()), // A value is far below 4 GiB.
        }
        self.bytes.extend_from_slice(bytes);
        self.close(from);
    }
    fn close(&mut self, from: usize) {
        let back = back_of(self.bytes.len() - from);
        self.bytes.extend_from_slice(back.bytes());
        self.count += 1;
    }
    /// The whole listpack; the writer begins again.
    pub fn finish(&mut self) -> Vec<u8> {
        self.bytes.push(END);
        let (len, count) = (self.bytes.len() as u32, self.count.min(MANY) as u16);
        self.bytes[..4].copy_from_slice(&len.to_le_bytes());
        self.bytes[4..HEAD_LEN].copy_from_slice(&count.to_le_bytes());
        std::mem::take(self).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn read(bytes: &[u8]) -> Result<Vec<Piece<'_>>, Fault> {
        let mut elements = Elements::of(bytes)?;
        let mut all = Vec::new();
        while let Some(piece) = elements.next()? {
            all.push(piece);
        }
        Ok(all)
    }

    #[test]
    fn what_was_written_is_read_and_every_damage_is_noticed_or_harmless() {
        let long = vec![b'x'; 20_000];
        let texts: [&[u8]; 6] = [b"", b"a", &long[..63], &long[..64], &long[..4096], &long];
        let edges = (0..63).flat_map(|bits| [1i64 << bits, (1 << bits) - 1, -(1 << bits), -(1 << bits) - 1]);
        let pieces: Vec<Piece<'_>> = texts.into_iter().map(Piece::Bytes).chain(edges.map(Piece::Int)).collect();
        let mut writer = Writer::new();
        pieces.iter().for_each(|&piece| writer.push(piece));
        let bytes = writer.finish();
        assert_eq!(read(&bytes).unwrap(), pieces);
        assert!(writer.is_empty());
        let mut prng = Prng::seeded(3);
        for _ in 0..3000 {
            let mut damaged = bytes.clone();
            let at = prng.below(damaged.len() as u64) as usize;
            damaged[at] ^= 1 << prng.below(8);
            let _ = read(&damaged);
            assert!(read(&bytes[..at]).is_err());
        }
    }

    /// As redis-server 7.0 has them (DUMP of a hash with the field `a` = `1`).
    #[test]
    fn bytes_are_those_of_redis() {
        let mut writer = Writer::new();
        writer.push(Piece::Bytes(b"a"));
        writer.push(Piece::Bytes(b"1"));
        assert_eq!(writer.finish(), [12, 0, 0, 0, 2, 0, 0x81, b'a', 2, 1, 1, 0xff]);
    }
}
