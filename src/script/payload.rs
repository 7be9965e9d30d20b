//! The bytes of FUNCTION DUMP: libraries as a snapshot holds them, a version and a checksum.
//!
//! ```text
//! payload   library* version crc64         version: 2 bytes, crc64 of all before it: 8 bytes, both little-endian
//! library   245 string                     the source, first line and all
//! string    00xxxxxx | 01xxxxxx x | 128 xxxx | 129 xxxxxxxx   a length, 6 to 64 bits, big-endian, and that many bytes
//!           192 x | 193 xx | 194 xxxx      an integer, little-endian, for its digits
//!           195 length length bytes        LZF: length of the bytes, of what they stand for
//! ```
//! Source: the format of Redis's snapshots, as redis-server 7.0 writes and reads it.

#![forbid(unsafe_code)]

use crate::base::crc64::crc64;
use crate::value::lzf;

/// A library of functions.
const FUNCTION: u8 = 245;
/// What Redis before 7.0 wrote.
const FUNCTION_OLD: u8 = 246;
/// The version that is written, and the highest that is read. 10: Redis 7.0.
const VERSION: u16 = 10;
const VERSION_MAX: u16 = 12;
/// Version and checksum.
const TAIL_LEN: usize = 10;
/// Longer strings are compressed, if that saves four bytes. Source: Redis.
const COMPRESSED_LEN_MIN: usize = 21;
/// What a library's source may grow to: a compressed one says so itself.
const SOURCE_LEN_MAX: usize = 512 << 20;

/// Writes libraries, given by their sources.
pub fn write<'a>(sources: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for source in sources {
        out.push(FUNCTION);
        write_string(&mut out, source);
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    let sum = crc64(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

fn write_string(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() >= COMPRESSED_LEN_MIN
        && let Some(packed) = lzf::compress(bytes, bytes.len() - 4)
    {
        out.push(0xc3);
        write_len(out, packed.len());
        write_len(out, bytes.len());
        return out.extend_from_slice(&packed);
    }
    write_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn write_len(out: &mut Vec<u8>, len: usize) {
    match len {
        ..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8]),
        len => match u32::try_from(len) {
            Ok(len) => {
                out.push(0x80);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                out.push(0x81);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        },
    }
}

/// The sources of a payload's libraries.
/// Errors: the message, without a code.
pub fn read(payload: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    const DAMAGED: &str = "DUMP payload version or checksum are wrong";
    let body_len = payload.len().checked_sub(TAIL_LEN).ok_or(DAMAGED)?;
    let (body, tail) = payload.split_at(body_len);
    let (version, sum) = tail.split_at(2);
    let is_whole = crc64(0, &payload[..body_len + 2]).to_le_bytes() == sum || sum == [0; 8]; // 0: written without one.
    if u16::from_le_bytes([version[0], version[1]]) > VERSION_MAX || !is_whole {
        return Err(DAMAGED);
    }
    let mut rest = body;
    let mut sources = Vec::new();
    while let Some((&tag, behind)) = rest.split_first() {
        rest = behind;
        match tag {
            FUNCTION => sources.push(read_string(&mut rest).ok_or("Failed loading library")?),
            FUNCTION_OLD => return Err("Pre-GA function format not supported"),
            _ => return Err("given type is not a function"),
        }
    }
    Ok(sources)
}

/// A length, or how a string that is not plain is written.
enum Prefix {
    Len(usize),
    Special(u8),
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    take(rest, N)?.try_into().ok()
}

fn read_prefix(rest: &mut &[u8]) -> Option<Prefix> {
    let [first] = take_array(rest)?;
    Some(match first {
        ..0x40 => Prefix::Len(first as usize),
        0x40..0x80 => Prefix::Len(((first & 0x3f) as usize) << 8 | take_array::<1>(rest)?[0] as usize),
        0x80 => Prefix::Len(u32::from_be_bytes(take_array(rest)?) as usize),
        0x81 => Prefix::Len(usize::try_from(u64::from_be_bytes(take_array(rest)?)).ok()?),
        0x82..0xc0 => return None,
        special => Prefix::Special(special & 0x3f),
    })
}

fn read_len(rest: &mut &[u8]) -> Option<usize> {
    match read_prefix(rest)? {
        Prefix::Len(len) => Some(len),
        Prefix::Special(_) => None,
    }
}

fn read_string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let integer = match read_prefix(rest)? {
        Prefix::Len(len) => return take(rest, len).map(<[u8]>::to_vec),
        Prefix::Special(0) => i8::from_le_bytes(take_array(rest)?) as i32,
        Prefix::Special(1) => i16::from_le_bytes(take_array(rest)?) as i32,
        Prefix::Special(2) => i32::from_le_bytes(take_array(rest)?),
        Prefix::Special(3) => {
            let (packed_len, len) = (read_len(rest)?, read_len(rest)?);
            let packed = take(rest, packed_len)?;
            return if len <= SOURCE_LEN_MAX { lzf::decompress(packed, len) } else { None };
        }
        Prefix::Special(_) => return None,
    };
    Some(integer.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &[u8] = b"#!lua name=a\nredis.register_function('f', function() return 1 end)";

    #[test]
    fn what_was_written_is_read() {
        let long = [SOURCE, &b" -- abcdefgh".repeat(5000)].concat();
        let all: [&[u8]; 5] = [SOURCE, b"", b"short", &long, &b"0123456789".repeat(3)];
        let payload = write(all.into_iter());
        assert_eq!(read(&payload).unwrap(), all);
        assert_eq!(read(&write(std::iter::empty())).unwrap().len(), 0);
    }

    #[test]
    fn damage_is_found() {
        let payload = write([SOURCE].into_iter());
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
        assert!(read(b"short").is_err());
    }

    #[test]
    fn what_cannot_be_is_refused_even_with_a_sum() {
        let sealed = |body: &[u8]| {
            let mut payload = [body, &VERSION.to_le_bytes()].concat();
            let sum = crc64(0, &payload);
            payload.extend_from_slice(&sum.to_le_bytes());
            payload
        };
        let reads = |body: &[u8]| read(&sealed(body));
        assert_eq!(reads(&[FUNCTION_OLD]), Err("Pre-GA function format not supported"));
        assert_eq!(reads(&[7]), Err("given type is not a function"));
        assert_eq!(reads(&[FUNCTION]), Err("Failed loading library"));
        assert_eq!(
            reads(&[FUNCTION, 0xc3, 1, 0x81, 255, 255, 255, 255, 255, 255, 255, 255, 0]),
            Err("Failed loading library")
        );
        assert_eq!(reads(&[FUNCTION, 0x81, 255, 255, 255, 255, 255, 255, 255, 255, 0]), Err("Failed loading library"));
        assert_eq!(reads(&[FUNCTION, 0xc1, 0x39, 0x30]), Ok(vec![b"12345".to_vec()]));
    }
}
