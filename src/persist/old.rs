//! Forms that Redis wrote before version 7: ziplists and zipmaps. They are only read.
//!
//! ```text
//! ziplist  [length: 4][offset of the last: 4][count: 2] (prev element)* [0xff]
//! prev     length of the element in front, its own prev included: 1 byte below 254, else 254 and 4 bytes
//! element  00llllll bytes | 01llllll l bytes | 128 llll bytes    lengths big-endian
//!          0xc0 2 | 0xd0 4 | 0xe0 8 | 0xf0 3 | 0xfe 1 bytes       integers, little-endian
//!          0xf1 … 0xfd                                            0 to 12
//! zipmap   [count: 1] (len name len unused value unused-bytes)* [0xff]     len: below 254, else 254 and 4 bytes
//! ```

use super::Fault;
use super::wire::Reader;
use crate::value::pack::Piece;

const END: u8 = 0xff;
/// A length of four more bytes follows.
const LONG: u8 = 254;

const BAD_ZIPLIST: Fault = Fault::Damaged("a ziplist is damaged");
const BAD_ZIPMAP: Fault = Fault::Damaged("a zipmap is damaged");

/// Hands the elements of a ziplist to `visit`.
/// Errors: it is damaged; those of `visit`.
pub fn ziplist<'a>(bytes: &'a [u8], mut visit: impl FnMut(Piece<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut reader = Reader::new(bytes);
    let head = |reader: &mut Reader<'a>| reader.array().map(u32::from_le_bytes);
    let (len, last_at) = (head(&mut reader)?, head(&mut reader)?);
    let announced = u16::from_le_bytes(reader.array()?);
    if len as usize != bytes.len() {
        return Err(BAD_ZIPLIST);
    }
    let (mut prev_len, mut at, mut count) = (0, bytes.len() - reader.rest().len(), 0u64);
    let mut last = at;
    while reader.rest().first() != Some(&END) {
        last = at;
        let short = reader.byte()?;
        let prev = if short == LONG { u32::from_le_bytes(reader.array()?) as usize } else { short as usize };
        if prev != prev_len {
            return Err(BAD_ZIPLIST);
        }
        visit(ziplist_element(&mut reader)?)?;
        let now = bytes.len() - reader.rest().len();
        (prev_len, at, count) = (now - at, now, count + 1);
    }
    let is_whole = reader.rest().len() == 1 && last as u64 == last_at as u64;
    let is_counted = announced == u16::MAX || announced as u64 == count;
    if is_whole && is_counted { Ok(()) } else { Err(BAD_ZIPLIST) }
}

fn ziplist_element<'a>(reader: &mut Reader<'a>) -> Result<Piece<'a>, Fault> {
    let first = reader.byte()?;
    let len = match first {
        ..0x40 => first as usize,
        0x40..0x80 => ((first & 0x3f) as usize) << 8 | reader.byte()? as usize,
        0x80 => u32::from_be_bytes(reader.array()?) as usize,
        0xc0 => return reader.array().map(|raw| Piece::Int(i16::from_le_bytes(raw) as i64)),
        0xd0 => return reader.array().map(|raw| Piece::Int(i32::from_le_bytes(raw) as i64)),
        0xe0 => return reader.array().map(|raw| Piece::Int(i64::from_le_bytes(raw))),
        0xf0 => {
            return reader.array().map(|[a, b, c]| Piece::Int((i32::from_le_bytes([0, a, b, c]) >> 8) as i64));
        }
        0xfe => return reader.array().map(|raw| Piece::Int(i8::from_le_bytes(raw) as i64)),
        0xf1..=0xfd => return Ok(Piece::Int((first & 0x0f) as i64 - 1)),
        _ => return Err(BAD_ZIPLIST),
    };
    reader.take(len).map(Piece::Bytes)
}

/// Hands names and values of a zipmap to `visit`.
/// Errors: it is damaged; those of `visit`.
pub fn zipmap<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut reader = Reader::new(bytes);
    let announced = reader.byte()?;
    let mut count = 0u64;
    while reader.rest().first() != Some(&END) {
        let name_len = zipmap_len(&mut reader)?;
        let name = reader.take(name_len)?;
        let value_len = zipmap_len(&mut reader)?;
        let unused = reader.byte()? as usize;
        let value = reader.take(value_len)?;
        reader.take(unused)?;
        visit(name, value)?;
        count += 1;
    }
    let is_counted = announced >= LONG || announced as u64 == count;
    if reader.rest().len() == 1 && is_counted { Ok(()) } else { Err(BAD_ZIPMAP) }
}

fn zipmap_len(reader: &mut Reader<'_>) -> Result<usize, Fault> {
    match reader.byte()? {
        LONG => reader.array().map(|raw| u32::from_le_bytes(raw) as usize),
        END => Err(BAD_ZIPMAP),
        short => Ok(short as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ziplist_of_every_kind_of_element_is_read() {
        let mut body = Vec::new();
        let (mut prev, mut last) = (0usize, 0);
        let long = [b'y'; 300];
        let elements: [&[u8]; 9] = [
            &[2, b'h', b'i'],
            &[&[0x41, 0x2c][..], &long].concat(),
            &[0x80, 0, 0, 0, 1, b'z'],
            &[0xc0, 0xff, 0x7f],
            &[0xd0, 0, 0, 0, 0x80],
            &[0xe0, 1, 0, 0, 0, 0, 0, 0, 0],
            &[0xf0, 0xff, 0xff, 0xff],
            &[0xfe, 0x80],
            &[0xfd],
        ];
        for element in elements {
            last = 10 + body.len();
            let from = body.len();
            match prev {
                0..254 => body.push(prev as u8),
                _ => body.extend_from_slice(&[&[LONG][..], &(prev as u32).to_le_bytes()].concat()),
            }
            body.extend_from_slice(element);
            prev = body.len() - from;
        }
        let len = 11 + body.len() as u32;
        let whole = [&len.to_le_bytes()[..], &(last as u32).to_le_bytes(), &9u16.to_le_bytes(), &body, &[END]].concat();
        let mut seen = Vec::new();
        ziplist(&whole, |piece| {
            seen.push(piece);
            Ok(())
        })
        .unwrap();
        let ints = [i16::MAX as i64, i32::MIN as i64, 1, -1, -128, 12].map(Piece::Int);
        assert_eq!(seen, [&[Piece::Bytes(b"hi"), Piece::Bytes(&long), Piece::Bytes(b"z")][..], &ints].concat());
        for cut in 0..whole.len() {
            assert!(ziplist(&whole[..cut], |_| Ok(())).is_err());
        }
    }

    #[test]
    fn a_zipmap_is_read() {
        let bytes = [&[2, 1, b'a', 1, 2, b'1', 0, 0, 254, 1, 0, 0, 0, b'b', 0, 0][..], &[END]].concat();
        let mut seen = Vec::new();
        zipmap(&bytes, |name, value| {
            seen.push((name, value));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(&b"a"[..], &b"1"[..]), (b"b", b"")]);
        assert!(zipmap(&bytes[..bytes.len() - 1], |_, _| Ok(())).is_err());
        assert!(zipmap(&[3, END], |_, _| Ok(())).is_err());
    }
}
