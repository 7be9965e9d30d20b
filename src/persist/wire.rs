//! Lengths, strings and numbers: what a snapshot is made of.
//!
//! ```text
//! length   00xxxxxx | 01xxxxxx x | 128 xxxx | 129 xxxxxxxx      6, 14, 32, 64 bits, big-endian
//! string   length bytes
//!          192 x | 193 xx | 194 xxxx                             an integer, little-endian, for its digits
//!          195 length length bytes                               LZF: length of the bytes, of what they stand for
//! ```

use super::Fault;
use crate::base::clock::WallMs;
use crate::value::lzf;
use std::borrow::Cow;

/// Strings of up to so many bytes are tried as integers. Source: Redis.
const INT_LEN_MAX: usize = 11;
/// Strings from so many bytes on are compressed, if that saves four bytes. Source: Redis.
const COMPRESSED_LEN_MIN: usize = 21;

const INT_8: u8 = 0xc0;
const INT_16: u8 = 0xc1;
const INT_32: u8 = 0xc2;
const LZF: u8 = 0xc3;

/// Bytes that are read from the front.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// A length, or what stands in its place where a string is not plain.
enum Prefix {
    Len(u64),
    Special(u8),
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }
    /// Bytes that were not read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
    /// Errors: not so many bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Short)?;
        self.rest = rest;
        Ok(taken)
    }
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (&array, rest) = self.rest.split_first_chunk().ok_or(Fault::Short)?;
        self.rest = rest;
        Ok(array)
    }
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }
    /// A double, binary.
    pub fn double(&mut self) -> Result<f64, Fault> {
        self.array().map(f64::from_le_bytes)
    }
    /// A double as Redis wrote it before version 8: a length and digits, or a word.
    pub fn double_text(&mut self) -> Result<f64, Fault> {
        match self.byte()? {
            253 => Ok(f64::NAN),
            254 => Ok(f64::INFINITY),
            255 => Ok(f64::NEG_INFINITY),
            len => {
                let text = std::str::from_utf8(self.take(len as usize)?).ok();
                text.and_then(|text| text.trim().parse().ok()).ok_or(Fault::Damaged("a score is no number"))
            }
        }
    }
    /// A time in milliseconds; one before the epoch is the epoch.
    pub fn time(&mut self) -> Result<WallMs, Fault> {
        self.array().map(|bytes| WallMs(i64::from_le_bytes(bytes).max(0) as u64))
    }

    fn prefix(&mut self) -> Result<Prefix, Fault> {
        let first = self.byte()?;
        Ok(match first {
            ..0x40 => Prefix::Len(first as u64),
            0x40..0x80 => Prefix::Len(((first & 0x3f) as u64) << 8 | self.byte()? as u64),
            0x80 => Prefix::Len(u32::from_be_bytes(self.array()?) as u64),
            0x81 => Prefix::Len(u64::from_be_bytes(self.array()?)),
            0x82..0xc0 => return Err(Fault::Damaged("a length has an unknown form")),
            special => Prefix::Special(special),
        })
    }
    /// Errors: what stands there is no length.
    #[inline]
    pub fn len(&mut self) -> Result<u64, Fault> {
        match self.prefix()? {
            Prefix::Len(len) => Ok(len),
            Prefix::Special(_) => Err(Fault::Damaged("a length was expected")),
        }
    }
    /// A number of elements that take `len_min` bytes at least.
    /// Errors: they cannot be there.
    pub fn count(&mut self, len_min: usize) -> Result<usize, Fault> {
        let count = self.len()?;
        if count > (self.rest.len() / len_min) as u64 { Err(Fault::Short) } else { Ok(count as usize) }
    }
    /// A string; only what is not plain is copied.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        let integer = match self.prefix()? {
            Prefix::Len(len) => return self.take(index(len)?).map(Cow::Borrowed),
            Prefix::Special(INT_8) => i8::from_le_bytes(self.array()?) as i32,
            Prefix::Special(INT_16) => i16::from_le_bytes(self.array()?) as i32,
            Prefix::Special(INT_32) => i32::from_le_bytes(self.array()?),
            Prefix::Special(LZF) => {
                let (packed_len, len) = (index(self.len()?)?, index(self.len()?)?);
                let packed = self.take(packed_len)?;
                let bytes = lzf::decompress(packed, len).ok_or(Fault::Damaged("a compressed string is damaged"))?;
                return Ok(Cow::Owned(bytes));
            }
            Prefix::Special(_) => return Err(Fault::Damaged("a string has an unknown form")),
        };
        Ok(Cow::Owned(itoa::Buffer::new().format(integer).as_bytes().to_vec()))
    }
    /// Passes over a string without looking into it.
    pub fn skip_string(&mut self) -> Result<(), Fault> {
        let len = match self.prefix()? {
            Prefix::Len(len) => index(len)?,
            Prefix::Special(INT_8) => 1,
            Prefix::Special(INT_16) => 2,
            Prefix::Special(INT_32) => 4,
            Prefix::Special(LZF) => {
                let packed_len = index(self.len()?)?;
                self.len()?;
                packed_len
            }
            Prefix::Special(_) => return Err(Fault::Damaged("a string has an unknown form")),
        };
        self.take(len).map(|_| ())
    }
}

/// A length that memory could hold.
fn index(len: u64) -> Result<usize, Fault> {
    usize::try_from(len).ok().filter(|&len| len <= isize::MAX as usize).ok_or(Fault::Short)
}

/// Where bytes are written to.
pub trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[inline]
pub fn put_len(out: &mut impl Sink, len: u64) {
    match len {
        ..0x40 => out.put(&[len as u8]),
        0x40..0x4000 => out.put(&[0x40 | (len >> 8) as u8, len as u8]),
        len => match u32::try_from(len) {
            Ok(len) => {
                out.put(&[0x80]);
                out.put(&len.to_be_bytes());
            }
            Err(_) => {
                out.put(&[0x81]);
                out.put(&len.to_be_bytes());
            }
        },
    }
}

/// Writes a string in its shortest form.
#[inline]
pub fn put_string(out: &mut impl Sink, bytes: &[u8], compresses: bool) {
    if bytes.len() <= INT_LEN_MAX {
        if let Some(value) = crate::base::num::parse_i64(bytes)
            && let Ok(value) = i32::try_from(value)
        {
            return put_small_int(out, value);
        }
    } else if compresses
        && bytes.len() >= COMPRESSED_LEN_MIN
        && let Some(packed) = lzf::compress(bytes, bytes.len() - 4)
    {
        out.put(&[LZF]);
        put_len(out, packed.len() as u64);
        put_len(out, bytes.len() as u64);
        return out.put(&packed);
    }
    put_len(out, bytes.len() as u64);
    out.put(bytes);
}

/// Writes the string of an integer's digits.
pub fn put_int(out: &mut impl Sink, value: i64) {
    match i32::try_from(value) {
        Ok(value) => put_small_int(out, value),
        Err(_) => {
            let mut digits = itoa::Buffer::new();
            let text = digits.format(value).as_bytes();
            put_len(out, text.len() as u64);
            out.put(text);
        }
    }
}

fn put_small_int(out: &mut impl Sink, value: i32) {
    let [a, b, c, d] = value.to_le_bytes();
    match value {
        -0x80..0x80 => out.put(&[INT_8, a]),
        -0x8000..0x8000 => out.put(&[INT_16, a, b]),
        _ => out.put(&[INT_32, a, b, c, d]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let texts: Vec<Vec<u8>> =
            ["", "0", "-1", "127", "-129", "32768", "-2147483648", "2147483648", "007", "12345678901", "a"]
                .iter()
                .map(|text| text.as_bytes().to_vec())
                .chain([vec![b'x'; 63], vec![b'x'; 64], b"0123456789abcdefghij".repeat(900), (0..=255).collect()])
                .collect();
        for compresses in [false, true] {
            for text in &texts {
                let mut out = Vec::new();
                put_string(&mut out, text, compresses);
                let (mut reader, mut skipper) = (Reader::new(&out), Reader::new(&out));
                assert_eq!(reader.string().as_deref(), Ok(&text[..]));
                assert_eq!((reader.is_empty(), skipper.skip_string(), skipper.is_empty()), (true, Ok(()), true));
                for cut in 0..out.len() {
                    assert!(Reader::new(&out[..cut]).string().is_err());
                }
            }
        }
        for len in [0, 63, 64, 16_383, 16_384, u32::MAX as u64, u32::MAX as u64 + 1, u64::MAX] {
            let mut out = Vec::new();
            put_len(&mut out, len);
            assert_eq!(Reader::new(&out).len(), Ok(len));
        }
        for value in [0, i64::MIN, i64::MAX, 1 << 31] {
            let mut out = Vec::new();
            put_int(&mut out, value);
            assert_eq!(Reader::new(&out).string().unwrap(), value.to_string().as_bytes());
        }
    }

    #[test]
    fn nothing_is_reserved_for_what_cannot_be_there() {
        assert_eq!(Reader::new(&[0x81, 255, 255, 255, 255, 255, 255, 255, 255, 0]).string(), Err(Fault::Short));
        assert_eq!(Reader::new(&[0x80, 255, 255, 255, 255, 0]).count(1), Err(Fault::Short));
        assert!(Reader::new(&[0xc3, 1, 0x80, 255, 255, 255, 255, 0]).string().is_err());
        assert!(Reader::new(&[0xc4, 0]).string().is_err());
        assert!(Reader::new(&[0xc0, 0]).len().is_err());
        assert!(Reader::new(&[0x82, 0]).len().is_err());
    }
}
