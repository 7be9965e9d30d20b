//! One element as bytes: what it is, the body, and its length once more at the end, so that lists can be read backwards.
//!
//! ```text
//! 0vvvvvvv                  back   0 to 127                 11110001 + 2 bytes   back   i16, little endian
//! 10llllll + l bytes        back   up to 63 bytes           11110010 + 3 bytes   back   i24
//! 110vvvvv vvvvvvvv         back   13 bits, signed          11110011 + 4 bytes   back   i32
//! 1110llll llllllll + bytes back   up to 4095 bytes         11110100 + 8 bytes   back   i64
//! 11110000 + u32 + bytes    back   anything longer
//! ```
//! `back` is the length of what stands before it, in groups of seven bits, the highest first; all but the first byte have
//! the top bit set. Integers in canonical form are always stored as integers, so equal values have equal bytes.
//! Source: the entries of Redis's listpack, the same bit for bit: what is written to a snapshot is a copy of the memory.

use crate::base::num::parse_i64;

/// The value of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

impl<'a> Element<'a> {
    /// The element that `value` is stored as.
    #[inline]
    pub fn of(value: &'a [u8]) -> Self {
        parse_i64(value).map_or(Element::Bytes(value), Element::Int)
    }
    /// Its text.
    pub fn text<'b>(self, digits: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Element::Bytes(bytes) => bytes,
            Element::Int(value) => digits.format(value).as_bytes(),
        }
    }
}

/// Longest head: the tag and eight bytes of an integer.
const HEAD_LEN_MAX: usize = 9;

/// An element that is about to be written.
pub(super) struct Encoded<'a> {
    head: [u8; HEAD_LEN_MAX],
    head_len: u8,
    body: &'a [u8],
}

impl<'a> Encoded<'a> {
    #[inline]
    pub fn new(value: &'a [u8]) -> Self {
        match Element::of(value) {
            Element::Int(value) => Self::int(value),
            Element::Bytes(bytes) => Self::bytes(bytes),
        }
    }
    #[inline]
    fn bytes(body: &'a [u8]) -> Self {
        let len = body.len() as u32; // Requests are far below 4 GiB.
        match len {
            0..64 => Self::with(&[0x80 | len as u8], body),
            64..4096 => Self::with(&[0xe0 | (len >> 8) as u8, len as u8], body),
            _ => {
                let [a, b, c, d] = len.to_le_bytes();
                Self::with(&[0xf0, a, b, c, d], body)
            }
        }
    }
    fn int(value: i64) -> Self {
        let [a, b, c, d, rest @ ..] = value.to_le_bytes();
        match value {
            0..128 => Self::with(&[a], &[]),
            -4096..4096 => Self::with(&[0xc0 | b & 0x1f, a], &[]),
            -0x8000..0x8000 => Self::with(&[0xf1, a, b], &[]),
            -0x80_0000..0x80_0000 => Self::with(&[0xf2, a, b, c], &[]),
            -0x8000_0000..0x8000_0000 => Self::with(&[0xf3, a, b, c, d], &[]),
            _ => Self::with(&[0xf4, a, b, c, d, rest[0], rest[1], rest[2], rest[3]], &[]),
        }
    }
    #[inline]
    fn with(head_bytes: &[u8], body: &'a [u8]) -> Self {
        let mut head = [0; HEAD_LEN_MAX];
        head[..head_bytes.len()].copy_from_slice(head_bytes);
        Encoded { head, head_len: head_bytes.len() as u8, body }
    }
    /// Bytes before the back-length.
    #[inline]
    fn front_len(&self) -> usize {
        self.head_len as usize + self.body.len()
    }
    /// Bytes in all.
    #[inline]
    pub fn len(&self) -> usize {
        self.front_len() + back_len(self.front_len())
    }
    /// Writes it to `out`, which has exactly its length.
    #[inline]
    pub fn write(&self, out: &mut [u8]) {
        let front_len = self.front_len();
        let (front, back) = out.split_at_mut(front_len);
        let (head, body) = front.split_at_mut(self.head_len as usize);
        match head {
            [only] => *only = self.head[0],
            _ => head.copy_from_slice(&self.head[..head.len()]),
        }
        body.copy_from_slice(self.body);
        match back {
            [only] => *only = front_len as u8,
            _ => write_back(back, front_len),
        }
    }
}

/// Bytes of the back-length of `len`.
#[inline]
fn back_len(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn write_back(back: &mut [u8], len: usize) {
    let mut rest = len;
    for byte in back.iter_mut().rev() {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    back[0] &= 0x7f;
}

/// The element at the beginning of `bytes`, and its length in all. Panics on bytes that `Encoded` did not write.
#[inline]
pub fn first(bytes: &[u8]) -> (Element<'_>, usize) {
    let tag = bytes[0];
    match tag {
        0x80..0xc0 => {
            let len = (tag & 0x3f) as usize;
            (Element::Bytes(&bytes[1..1 + len]), len + 2)
        }
        0..0x80 => (Element::Int(tag as i64), 2),
        _ => first_of_the_rest(bytes, tag),
    }
}

fn first_of_the_rest(bytes: &[u8], tag: u8) -> (Element<'_>, usize) {
    let at = |index: usize| bytes[index] as usize;
    let text = |head_len: usize, len: usize| {
        let front_len = head_len + len;
        (Element::Bytes(&bytes[head_len..front_len]), front_len + back_len(front_len))
    };
    match tag {
        0xc0..0xe0 => (Element::Int(signed(at(1) as u64 | ((tag & 0x1f) as u64) << 8, 13)), 3),
        0xe0..0xf0 => text(2, ((tag & 0xf) as usize) << 8 | at(1)),
        0xf0 => text(5, at(1) | at(2) << 8 | at(3) << 16 | at(4) << 24),
        0xf1 => (Element::Int(wide(bytes, 2)), 4),
        0xf2 => (Element::Int(wide(bytes, 3)), 5),
        0xf3 => (Element::Int(wide(bytes, 4)), 6),
        0xf4 => (Element::Int(wide(bytes, 8)), 10),
        _ => panic!("{tag:#x} begins no element"),
    }
}

/// The signed integer of `len` bytes behind the tag.
fn wide(bytes: &[u8], len: usize) -> i64 {
    let value = bytes[1..1 + len].iter().rev().fold(0u64, |value, &byte| value << 8 | byte as u64);
    signed(value, 8 * len as u32)
}

/// The lowest `bits` of `value` as a signed number.
fn signed(value: u64, bits: u32) -> i64 {
    ((value << (64 - bits)) as i64) >> (64 - bits)
}

/// The length in all of the element at the end of `bytes`.
#[inline]
pub fn last_len(bytes: &[u8]) -> usize {
    let last = bytes[bytes.len() - 1];
    if last < 0x80 { last as usize + 1 } else { long_last_len(bytes) }
}

fn long_last_len(bytes: &[u8]) -> usize {
    let (mut len, mut groups) = (0, 0);
    for &byte in bytes.iter().rev() {
        len |= ((byte & 0x7f) as usize) << (7 * groups);
        groups += 1;
        if byte < 0x80 {
            break;
        }
    }
    len + groups
}

/// The elements of `bytes` from the first on.
#[derive(Clone)]
pub struct Forward<'a>(pub &'a [u8]);

impl<'a> Iterator for Forward<'a> {
    type Item = Element<'a>;
    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (element, len) = first(self.0);
        self.0 = &self.0[len..];
        Some(element)
    }
}

/// The elements of `bytes` from the last on.
#[derive(Clone)]
pub struct Backward<'a>(pub &'a [u8]);

impl<'a> Iterator for Backward<'a> {
    type Item = Element<'a>;
    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (rest, last) = self.0.split_at(self.0.len() - last_len(self.0));
        self.0 = rest;
        Some(first(last).0)
    }
}

/// Where element `index` of `count` begins; `index == count` is the end.
/// Cost: a step per element from the nearer end.
#[inline]
pub fn offset_of(bytes: &[u8], count: usize, index: usize) -> usize {
    if index <= count / 2 {
        let mut at = 0;
        for _ in 0..index {
            at += first(&bytes[at..]).1;
        }
        at
    } else {
        let mut end = bytes.len();
        for _ in index..count {
            end -= last_len(&bytes[..end]);
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(value: &[u8]) -> Vec<u8> {
        let encoded = Encoded::new(value);
        let mut out = vec![0; encoded.len()];
        encoded.write(&mut out);
        out
    }

    #[test]
    fn elements_have_the_bytes_of_redis() {
        assert_eq!(encode(b"0"), [0, 1]);
        assert_eq!(encode(b"127"), [127, 1]);
        assert_eq!(encode(b"-1"), [0xdf, 0xff, 2]);
        assert_eq!(encode(b"128"), [0xc0, 128, 2]);
        assert_eq!(encode(b"4096"), [0xf1, 0, 16, 3]);
        assert_eq!(encode(b"32768"), [0xf2, 0, 128, 0, 4]);
        assert_eq!(encode(b"-8388609"), [0xf3, 0xff, 0xff, 0x7f, 0xff, 5]);
        assert_eq!(encode(b"2147483648"), [0xf4, 0, 0, 0, 128, 0, 0, 0, 0, 9]);
        assert_eq!(encode(b""), [0x80, 1]);
        assert_eq!(encode(b"abc"), [0x83, b'a', b'b', b'c', 4]);
        assert_eq!(encode(&[b'x'; 64])[..2], [0xe0, 64]);
        assert_eq!(encode(&[b'x'; 5000])[..5], [0xf0, 0x88, 0x13, 0, 0]);
        assert_eq!(encode(&[b'x'; 5000])[5005..], [39, 0x80 | 13]);
    }

    #[test]
    fn what_is_written_is_read_from_both_ends() {
        let mut values: Vec<Vec<u8>> = Vec::new();
        for bits in 0..64 {
            for near in -2..=2 {
                let value = (1i64 << bits).wrapping_add(near);
                values.extend([value, value.wrapping_neg()].map(|value| value.to_string().into_bytes()));
            }
        }
        for len in
            [0, 1, 62, 63, 64, 65, 125, 126, 127, 128, 4095, 4096, 16_378, 16_379, 16_380, 16_384, 70_000, 2_097_160]
        {
            values.push(vec![b'v'; len]);
        }
        values.extend(["01", "-0", "+1", " 1", "9223372036854775808", "-"].map(|text| text.as_bytes().to_vec()));
        for value in values {
            let bytes = encode(&value);
            let (element, len) = first(&bytes);
            assert_eq!((len, last_len(&bytes)), (bytes.len(), bytes.len()), "{}", value.escape_ascii());
            assert_eq!(element.text(&mut itoa::Buffer::new()), value);
            assert_eq!(element, Element::of(&value));
        }
    }
}
