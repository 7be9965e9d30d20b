//! `cmsgpack`: MessagePack, as lua-cmsgpack 0.4 writes and reads it.
//!
//! Numbers that are 64-bit integers are written as the shortest integer, others as `float 32` where that is exact, else as
//! `float 64`. A table whose keys are exactly 1 to n is an array, an empty one too; any other is a map. Tables below the
//! 16th level are written as nil, which also ends circles. Neither direction recurses: a level is a number in `Work::levels`
//! and its table on Lua's stack.

#![forbid(unsafe_code)]

use super::cmsgpack_decode::unpack_full;
use super::native::{self, Failure, Native, Outcome, Stack, Stateless, Type, Work, integer_of, working};
use mlua::{Lua, Table};

static ROWS: &[Native] = &[
    working("pack", pack),
    working("unpack", unpack),
    working("unpack_one", unpack_one),
    working("unpack_limit", unpack_limit),
];

/// Levels of tables that are written.
const NESTING_MAX: usize = 16;

/// The library's table.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = native::library::<Stateless>(lua, ROWS, None)?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd.")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

fn unpack(stack: &mut Stack<'_>, work: &mut Work) -> Outcome {
    unpack_full(stack, work, 0, 0)
}

/// Shape: text [offset]; returns the offset behind the value, -1 at the end, and the value.
fn unpack_one(stack: &mut Stack<'_>, work: &mut Work) -> Outcome {
    let offset = stack.optional_integer(2, 0)?;
    unpack_full(stack, work, 1, offset)
}

/// Shape: text count [offset]; returns the offset behind the values, -1 at the end, and the values.
fn unpack_limit(stack: &mut Stack<'_>, work: &mut Work) -> Outcome {
    let limit = stack.integer_argument(2)?;
    let offset = stack.optional_integer(3, 0)?;
    unpack_full(stack, work, limit, offset)
}

/// Writes all arguments one behind the other.
fn pack(stack: &mut Stack<'_>, work: &mut Work) -> Outcome {
    let args = stack.args();
    if args == 0 {
        return Err(Failure::argument(0, format_args!("MessagePack pack needs input.")));
    }
    if !stack.has_room(args) {
        return Err(Failure::argument(0, format_args!("Too many arguments for MessagePack pack.")));
    }
    for at in 1..=args {
        stack.push_copy(at);
        write_value(stack, work);
        while !work.levels.is_empty() {
            step(stack, work);
        }
        stack.pop(1);
    }
    stack.push_bytes(&work.text);
    Ok(1)
}

/// A level of an array: the elements begun · 2^32 + all of them; of a map: this bit, and what of the pair is on the stack.
const MAP: u64 = 1 << 63;
/// The key was written, its value is next.
const VALUE_NEXT: u64 = MAP | 1;

/// Writes the value on top, or opens a level for it.
fn write_value(stack: &mut Stack<'_>, work: &mut Work) {
    match stack.kind(-1) {
        Type::String => write_bytes(&mut work.text, stack.bytes(-1).unwrap_or_default()),
        Type::Boolean => work.text.push(if stack.boolean(-1) { 0xc3 } else { 0xc2 }),
        Type::Number => write_number(&mut work.text, stack.number(-1)),
        Type::Table if work.levels.len() < NESTING_MAX => open(stack, work),
        _ => work.text.push(0xc0),
    }
}

/// Opens the table on top. A filler stands for the element, or the key and the value, before the first.
fn open(stack: &mut Stack<'_>, work: &mut Work) {
    match array_len(stack) {
        Some(len) => {
            write_len(&mut work.text, len, 0x90, 0xdc);
            work.levels.push(len as u64);
        }
        None => {
            write_len(&mut work.text, pair_count(stack), 0x80, 0xde);
            work.levels.push(MAP);
            stack.push_nil();
        }
    }
    stack.push_nil();
}

/// The length of the table on top if its keys are 1 to n.
fn array_len(stack: &mut Stack<'_>) -> Option<usize> {
    let table = stack.top();
    let (mut count, mut max) = (0, 0);
    stack.push_nil();
    while stack.next(table) {
        stack.pop(1);
        let key = stack.number(-1);
        if stack.kind(-1) != Type::Number || key < 1.0 || key > i32::MAX as f64 || key.fract() != 0.0 {
            stack.pop(1);
            return None;
        }
        max = max.max(key as usize);
        count += 1;
    }
    (count == max).then_some(count)
}

fn pair_count(stack: &mut Stack<'_>) -> usize {
    let table = stack.top();
    let mut count = 0;
    stack.push_nil();
    while stack.next(table) {
        stack.pop(1);
        count += 1;
    }
    count
}

/// Writes the next element, key or value of the innermost table, or closes its level and leaves the table on top.
fn step(stack: &mut Stack<'_>, work: &mut Work) {
    let Some(level) = work.levels.last_mut() else { return };
    match *level {
        VALUE_NEXT => {
            stack.pop(1); // The key's copy; the value is below.
            *level = MAP;
        }
        MAP => {
            stack.pop(1); // The value before.
            if !stack.next(-2) {
                work.levels.pop();
                return;
            }
            stack.push_copy(-2);
            *level = VALUE_NEXT;
        }
        array => {
            stack.pop(1); // The element before.
            let (begun, len) = (array >> 32, array & u32::MAX as u64);
            if begun == len {
                work.levels.pop();
                return;
            }
            *level += 1 << 32;
            stack.get_index(-1, begun as i32 + 1);
        }
    }
    write_value(stack, work);
}

fn write_number(text: &mut Vec<u8>, number: f64) {
    let integer = integer_of(number);
    if integer as f64 == number && number < -(i64::MIN as f64) {
        return write_integer(text, integer);
    }
    if number as f32 as f64 == number {
        text.push(0xca);
        text.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        text.push(0xcb);
        text.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_integer(text: &mut Vec<u8>, integer: i64) {
    let (tag, len) = match integer {
        -32..=127 => return text.push(integer as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128.. => (0xd0, 1),
        -32_768.. => (0xd1, 2),
        -2_147_483_648.. => (0xd2, 4),
        _ => (0xd3, 8),
    };
    text.push(tag);
    text.extend_from_slice(&integer.to_be_bytes()[8 - len..]);
}

fn write_bytes(text: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        len @ ..32 => text.push(0xa0 | len as u8),
        len @ ..=0xff => text.extend_from_slice(&[0xd9, len as u8]),
        len => write_long_len(text, len, 0xda),
    }
    text.extend_from_slice(bytes);
}

/// The length of an array or a map: in the first tag's low bits if it is below 16.
fn write_len(text: &mut Vec<u8>, len: usize, short_tag: u8, long_tag: u8) {
    if len < 16 { text.push(short_tag | len as u8) } else { write_long_len(text, len, long_tag) }
}

/// A length in 2 bytes behind `tag`, or in 4 behind the next one.
fn write_long_len(text: &mut Vec<u8>, len: usize, tag: u8) {
    match u16::try_from(len) {
        Ok(len) => {
            text.push(tag);
            text.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            text.push(tag + 1);
            text.extend_from_slice(&(len as u32).to_be_bytes()); // Modulo 2^32, as the original.
        }
    }
}
