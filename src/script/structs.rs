//! `struct`: values to bytes and back by a format, as Roberto Ierusalimschy's library lays them out.
//!
//! ```text
//! > < !n blank   big, little endian (at first the machine's, little), alignment (at first 1; `!` alone: 8)
//! x              a byte of padding
//! b B h H l L T  signed, unsigned integers of 1, 2, 8 bytes; T: unsigned 8      i I [n]  of n bytes (4)
//! f d            float, double
//! s              a string up to its zero byte      c[n]  n bytes (1); c0: packs the whole string, unpacks as
//!                                                         many bytes as the value before says
//! ```

#![forbid(unsafe_code)]

use super::native::{self, Failure, Native, Outcome, Stack, Stateless, Work, integer_of, plain, working};
use mlua::{Lua, Table};

static ROWS: &[Native] = &[working("pack", pack), plain("unpack", unpack), plain("size", size)];

/// Widest integer in bytes.
const INTEGER_LEN_MAX: usize = 32;
/// The alignment that `!` alone asks for: a double's.
const ALIGNMENT_MAX: usize = 8;

/// The library's table.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    native::library::<Stateless>(lua, ROWS, None)
}

/// Where reading of a format stands.
struct Format<'a> {
    rest: &'a [u8],
    is_big_endian: bool,
    alignment: usize,
}

/// One letter of a format with its size and the padding in front of it.
struct Item {
    letter: u8,
    size: usize,
    padding: usize,
}

impl<'a> Format<'a> {
    /// A format ends at a zero byte.
    fn new(text: &'a [u8]) -> Self {
        let rest = text.split(|&byte| byte == 0).next().unwrap_or_default();
        Format { rest, is_big_endian: false, alignment: 1 }
    }

    /// The next letter, for a position in the bytes.
    fn next(&mut self, at: usize) -> Result<Option<Item>, Failure> {
        let Some((&letter, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.count(1)?,
            b'i' | b'I' => {
                let size = self.count(4)?;
                if size > INTEGER_LEN_MAX {
                    return Err(Failure::error(format_args!(
                        "integral size {size} is larger than limit of {INTEGER_LEN_MAX}"
                    )));
                }
                size
            }
            _ => 0,
        };
        // Of a size that is no power of two the original's mask makes what it makes.
        let unit = size.min(self.alignment);
        let padding = if size == 0 || letter == b'c' { 0 } else { (unit - (at & (unit - 1))) & (unit - 1) };
        Ok(Some(Item { letter, size, padding }))
    }

    /// A decimal number, or `otherwise` if none follows.
    fn count(&mut self, otherwise: usize) -> Result<usize, Failure> {
        let len = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(len);
        if len == 0 {
            return Ok(otherwise);
        }
        let overflow = || Failure::error(format_args!("integral size overflow"));
        let mut all = 0usize;
        for digit in digits {
            all = all * 10 + (digit - b'0') as usize;
            if all > i32::MAX as usize {
                return Err(overflow());
            }
        }
        self.rest = rest;
        Ok(all)
    }

    /// A letter that is about order or alignment, or none at all.
    fn control(&mut self, letter: u8) -> Result<(), Failure> {
        match letter {
            b' ' => {}
            b'>' => self.is_big_endian = true,
            b'<' => self.is_big_endian = false,
            b'!' => {
                let alignment = self.count(ALIGNMENT_MAX)?;
                if !alignment.is_power_of_two() {
                    return Err(Failure::error(format_args!("alignment {alignment} is not a power of 2")));
                }
                self.alignment = alignment;
            }
            letter => {
                return Err(Failure::argument(1, format_args!("invalid format option '{}'", letter as char)));
            }
        }
        Ok(())
    }
}

/// Shape: format value…; returns the bytes.
fn pack(stack: &mut Stack<'_>, work: &mut Work) -> Outcome {
    let mut format = Format::new(stack.text_argument(1)?);
    stack.push_nil(); // One argument too few is nil, and not "no value".
    let mut arg = 2;
    let out = &mut work.text;
    while let Some(Item { letter, size, padding }) = format.next(out.len())? {
        out.resize(out.len() + padding, 0);
        match letter {
            b'x' => out.push(0),
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let value = to_unsigned(stack.number_argument(arg)?);
                let mut bytes = [0; INTEGER_LEN_MAX];
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                put(out, &mut bytes[..size], format.is_big_endian);
            }
            b'f' => put(out, &mut (stack.number_argument(arg)? as f32).to_le_bytes(), format.is_big_endian),
            b'd' => put(out, &mut stack.number_argument(arg)?.to_le_bytes(), format.is_big_endian),
            b'c' | b's' => {
                if arg > stack.args() {
                    return Err(stack.wrong_type(arg, "string"));
                }
                let bytes = stack.text_argument(arg)?;
                let size = if size == 0 { bytes.len() } else { size };
                let Some(bytes) = bytes.get(..size) else {
                    return Err(Failure::argument(arg + 1, format_args!("string too short")));
                };
                out.extend_from_slice(bytes);
                if letter == b's' {
                    out.push(0);
                }
            }
            letter => {
                format.control(letter)?;
                continue;
            }
        }
        arg += (letter != b'x') as i32;
    }
    stack.push_bytes(out);
    Ok(1)
}

/// Appends little-endian bytes in the order that the format asks for.
fn put(out: &mut Vec<u8>, bytes: &mut [u8], is_big_endian: bool) {
    if is_big_endian {
        bytes.reverse();
    }
    out.extend_from_slice(bytes);
}

/// A double as C converts it to 64 unsigned bits on x86-64, by way of the signed ones if it is negative.
fn to_unsigned(number: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0; // 2^63.
    if number < HALF || number.is_nan() {
        integer_of(number) as u64
    } else {
        integer_of(number - HALF) as u64 ^ 1 << 63
    }
}

/// Shape: format bytes [position]; returns the values and the position behind them.
fn unpack(stack: &mut Stack<'_>) -> Outcome {
    let mut format = Format::new(stack.text_argument(1)?);
    let data = stack.text_argument(2)?;
    let position = stack.optional_integer(3, 1)? as usize;
    let mut at =
        position.checked_sub(1).ok_or_else(|| Failure::argument(3, format_args!("offset must be 1 or greater")))?;
    let too_short = || Failure::argument(2, format_args!("data string too short"));
    let mut count = 0;
    while let Some(Item { letter, size, padding }) = format.next(at)? {
        at = at.wrapping_add(padding);
        let rest = data.get(at..).ok_or_else(too_short)?;
        let mut bytes = rest.get(..size).ok_or_else(too_short)?;
        if !stack.has_room(2) {
            return Err(Failure::error(format_args!("stack overflow (too many results)")));
        }
        match letter {
            b'x' => {}
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                stack.push_number(integer(bytes, format.is_big_endian, letter.is_ascii_lowercase()));
            }
            b'f' => stack.push_number(f32::from_le_bytes(in_order(bytes, format.is_big_endian)) as f64),
            b'd' => stack.push_number(f64::from_le_bytes(in_order(bytes, format.is_big_endian))),
            b'c' => {
                if size == 0 {
                    if count == 0 || !stack.is_number(-1) {
                        return Err(Failure::error(format_args!("format 'c0' needs a previous size")));
                    }
                    let size = to_unsigned(stack.number(-1)) as usize;
                    stack.pop(1);
                    count -= 1;
                    bytes = rest.get(..size).ok_or_else(too_short)?;
                }
                stack.push_bytes(bytes);
            }
            b's' => {
                let len =
                    memchr::memchr(0, rest).ok_or_else(|| Failure::error(format_args!("unfinished string in data")))?;
                stack.push_bytes(&rest[..len]);
                bytes = &rest[..=len];
            }
            letter => format.control(letter)?,
        }
        let is_value = !matches!(letter, b'x' | b' ' | b'<' | b'>' | b'!');
        count += is_value as usize;
        at += bytes.len();
    }
    stack.push_number(at.wrapping_add(1) as i64 as f64); // A position before the first is left as it is.
    Ok(count + 1)
}

/// Little-endian bytes from those of the format's order.
fn in_order<const N: usize>(bytes: &[u8], is_big_endian: bool) -> [u8; N] {
    let mut ordered = [0; N];
    ordered.copy_from_slice(bytes);
    if is_big_endian {
        ordered.reverse();
    }
    ordered
}

/// An integer's low 64 bits as a number. Shorter signed ones are extended; a longer one has lost its upper bytes.
fn integer(bytes: &[u8], is_big_endian: bool, is_signed: bool) -> f64 {
    let join = |all: u64, &byte: &u8| all << 8 | byte as u64;
    let value = if is_big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) };
    if !is_signed {
        return value as f64;
    }
    // The distance wraps at 64 bits, as the machine's shift does.
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32 * 8).wrapping_sub(1));
    (if value & mask != 0 { value | mask } else { value }) as i64 as f64
}

/// The length of what a format packs, if that is fixed.
fn size(stack: &mut Stack<'_>) -> Outcome {
    let mut format = Format::new(stack.text_argument(1)?);
    let mut at = 0usize;
    while let Some(Item { letter, size, padding }) = format.next(at)? {
        at += padding;
        match letter {
            b's' => return Err(Failure::argument(1, format_args!("option 's' has no fixed size"))),
            b'c' if size == 0 => return Err(Failure::argument(1, format_args!("option 'c0' has no fixed size"))),
            letter if !letter.is_ascii_alphanumeric() => format.control(letter)?,
            _ => {}
        }
        at += size;
    }
    stack.push_number(at as f64);
    Ok(1)
}
