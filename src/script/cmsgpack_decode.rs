//! Reading MessagePack into Lua's values.
//!
//! A declared length reserves nothing: the values must be there.
//!
//! ```text
//! array:  table, index     levels: index · 2^32 + elements that are still to come, index of the next one
//! map:    table [key]      levels: MAP + keys and values that are still to come
//! ```

#![forbid(unsafe_code)]

use super::native::{Failure, Outcome, Stack, Work};

/// The level is a map's.
const MAP: u64 = 1 << 63;

const TOO_MANY: &str = "too many return values at once; use unpack_one or unpack_limit instead.";

/// Bytes that are still to be read.
struct Cursor<'a> {
    rest: &'a [u8],
}

/// What a tag announces.
enum Item<'a> {
    Nil,
    Boolean(bool),
    Number(f64),
    Bytes(&'a [u8]),
    Array(u64),
    Map(u64),
}

/// Reads `limit` values from `offset` on; all values if both are 0.
pub fn unpack_full(stack: &mut Stack<'_>, work: &mut Work, limit: i64, offset: i64) -> Outcome {
    let text = stack.text_argument(1)?;
    let reads_all = limit == 0 && offset == 0;
    let len = text.len();
    if offset < 0 || limit < 0 {
        return Err(Failure::error(format_args!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32, len as i32
        )));
    }
    let Some(rest) = text.get(offset as usize..) else {
        return Err(Failure::error(format_args!(
            "Start offset {} greater than input length {}.",
            offset as i32, len as i32
        )));
    };
    let limit = if reads_all { i32::MAX as i64 } else { limit };
    let mut cursor = Cursor { rest };
    if !reads_all {
        stack.push_nil(); // The place of the offset.
    }
    let (place, mut count) = (stack.top(), 0);
    while !cursor.rest.is_empty() && count < limit {
        cursor.value(stack, work)?;
        count += 1;
    }
    if reads_all {
        return Ok(count as usize);
    }
    let end = len - cursor.rest.len();
    stack.push_number(if end == len { -1.0 } else { end as f64 });
    if count == 0 {
        return Ok(1); // The number is on top as it is.
    }
    stack.replace(place);
    Ok(count as usize + 1)
}

fn overflow(what: &str) -> Failure {
    Failure::error(format_args!("stack overflow ({what})"))
}

impl<'a> Cursor<'a> {
    /// Reads one value with all that is in it, and pushes it.
    fn value(&mut self, stack: &mut Stack<'_>, work: &mut Work) -> Result<(), Failure> {
        loop {
            if self.open(stack, work)? {
                continue;
            }
            loop {
                // A value is on top.
                let Some(level) = work.levels.last_mut() else { return Ok(()) };
                *level -= 1;
                let is_map = *level & MAP != 0;
                if is_map && *level % 2 == 1 {
                    break; // A key; its value is next.
                }
                stack.set(-3);
                if is_map && *level > MAP {
                    break;
                }
                if !is_map && *level & u32::MAX as u64 > 0 {
                    *level += 1 << 32;
                    stack.push_number((*level >> 32) as f64);
                    break;
                }
                work.levels.pop();
            }
        }
    }

    /// Pushes the next value. True: it is a table that waits for its first element.
    fn open(&mut self, stack: &mut Stack<'_>, work: &mut Work) -> Result<bool, Failure> {
        if self.rest.is_empty() {
            return Err(missing());
        }
        if !stack.has_room(1) {
            return Err(overflow(TOO_MANY));
        }
        match self.item()? {
            Item::Nil => stack.push_nil(),
            Item::Boolean(value) => stack.push_boolean(value),
            Item::Number(number) => stack.push_number(number),
            Item::Bytes(bytes) => stack.push_bytes(bytes),
            Item::Map(count) => {
                stack.push_table();
                if count > 0 {
                    work.levels.push(MAP | (count * 2));
                }
                return Ok(count > 0);
            }
            Item::Array(count) => {
                stack.push_table();
                if !stack.has_room(1) {
                    return Err(overflow("in function mp_decode_to_lua_array"));
                }
                if count > 0 {
                    stack.push_number(1.0);
                    work.levels.push(1 << 32 | count);
                }
                return Ok(count > 0);
            }
        }
        Ok(false)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(missing)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        self.take(N).map(|bytes| bytes.try_into().expect("taken with this length"))
    }

    /// An unsigned integer of N bytes.
    fn unsigned<const N: usize>(&mut self) -> Result<u64, Failure> {
        Ok(self.array::<N>()?.iter().fold(0, |all, &byte| all << 8 | byte as u64))
    }

    fn signed<const N: usize>(&mut self) -> Result<Item<'a>, Failure> {
        let unused = 64 - 8 * N as u32;
        Ok(Item::Number(((self.unsigned::<N>()? << unused) as i64 >> unused) as f64))
    }

    fn item(&mut self) -> Result<Item<'a>, Failure> {
        let tag = self.take(1)?[0];
        Ok(match tag {
            ..0x80 => Item::Number(tag as f64),
            0x80..0x90 => Item::Map((tag & 0xf) as u64),
            0x90..0xa0 => Item::Array((tag & 0xf) as u64),
            0xa0..0xc0 => Item::Bytes(self.take((tag & 0x1f) as usize)?),
            0xc0 => Item::Nil,
            0xc2 | 0xc3 => Item::Boolean(tag == 0xc3),
            0xca => Item::Number(f32::from_be_bytes(self.array()?) as f64),
            0xcb => Item::Number(f64::from_be_bytes(self.array()?)),
            0xcc => Item::Number(self.unsigned::<1>()? as f64),
            0xcd => Item::Number(self.unsigned::<2>()? as f64),
            0xce => Item::Number(self.unsigned::<4>()? as f64),
            // Through Lua's integer, which is signed: the upper half comes out negative.
            0xcf | 0xd3 => self.signed::<8>()?,
            0xd0 => self.signed::<1>()?,
            0xd1 => self.signed::<2>()?,
            0xd2 => self.signed::<4>()?,
            0xd9 => self.bytes::<1>()?,
            0xda => self.bytes::<2>()?,
            0xdb => self.bytes::<4>()?,
            0xdc => Item::Array(self.unsigned::<2>()?),
            0xdd => Item::Array(self.unsigned::<4>()?),
            0xde => Item::Map(self.unsigned::<2>()?),
            0xdf => Item::Map(self.unsigned::<4>()?),
            0xe0.. => Item::Number(tag as i8 as f64),
            _ => return Err(Failure::error(format_args!("Bad data format in input."))),
        })
    }

    fn bytes<const N: usize>(&mut self) -> Result<Item<'a>, Failure> {
        let len = self.unsigned::<N>()?;
        self.take(len as usize).map(Item::Bytes)
    }
}

fn missing() -> Failure {
    Failure::error(format_args!("Missing bytes in input."))
}
