//! `cjson.encode`: a value of Lua's as JSON.
//!
//! A table whose keys are all positive integers is an array up to the largest of them, with `null` in the gaps; any other,
//! and an empty one, is an object. A level of nesting is a number in `Work::levels` and, on Lua's stack, the table with what
//! is being written of it:
//!
//! ```text
//! array of n:  table, element          levels: i·2^32 + n, element i being written
//! object:      table, key, value       levels: 0 (no array: those have n > 0)
//! ```

#![forbid(unsafe_code)]

use super::cjson::{Invalid, Settings};
use super::native::{Failure, Outcome, Stack, Type, Work};
use super::number::write_general;

/// Bytes of a text that we are ready to build: a sparse array may ask for billions of `null`.
const TEXT_LEN_MAX: usize = 1 << 30;

/// Writes the only argument.
pub fn encode(stack: &mut Stack<'_>, work: &mut Work, settings: &Settings) -> Outcome {
    stack.push_copy(1);
    if begin(stack, work, settings)? {
        while step(stack, work, settings)? {}
    }
    stack.push_bytes(&work.text);
    Ok(1)
}

/// Writes the value on top, or the beginning of it. True: it is a table, a level was opened for it.
fn begin(stack: &mut Stack<'_>, work: &mut Work, settings: &Settings) -> Result<bool, Failure> {
    match stack.kind(-1) {
        Type::String => write_string(stack, work, -1),
        Type::Number => write_number(stack, work, settings, -1)?,
        Type::Boolean => work.text.extend_from_slice(if stack.boolean(-1) { b"true" } else { b"false" }),
        Type::Nil => work.text.extend_from_slice(b"null"),
        Type::Light if stack.is_null(-1) => work.text.extend_from_slice(b"null"),
        Type::Table => {
            open(stack, work, settings)?;
            return Ok(true);
        }
        _ => return Err(unserialisable(stack, -1, "type not supported")),
    }
    Ok(false)
}

fn unserialisable(stack: &Stack<'_>, at: i32, reason: &str) -> Failure {
    Failure::error(format_args!("Cannot serialise {}: {reason}", stack.kind(at).name()))
}

/// Opens the table on top: its first bracket, and what `step` needs to go on.
fn open(stack: &mut Stack<'_>, work: &mut Work, settings: &Settings) -> Result<(), Failure> {
    let depth = work.levels.len() + 1;
    // Two, for a key and a value. The original asks for three, and has no copy of the argument below: the same limit.
    if depth > settings.encode_depth_max as usize || !stack.has_room(2) {
        return Err(Failure::error(format_args!("Cannot serialise, excessive nesting ({depth})")));
    }
    match array_len(stack, settings)? {
        Some(len) => {
            work.text.push(b'[');
            work.levels.push(len as u64);
            stack.push_nil(); // In place of the element before the first.
        }
        None => {
            work.text.push(b'{');
            work.levels.push(0);
            stack.push_nil(); // The key before the first.
            stack.push_nil();
        }
    }
    Ok(())
}

/// The length of the table on top if it is an array.
/// Errors: it has too many gaps.
fn array_len(stack: &mut Stack<'_>, settings: &Settings) -> Result<Option<u32>, Failure> {
    let table = stack.top();
    let (mut max, mut count) = (0i32, 0i32);
    stack.push_nil();
    while stack.next(table) {
        let key = if stack.kind(-2) == Type::Number { stack.number(-2) } else { 0.0 };
        if key.floor() != key || key < 1.0 || key.is_nan() {
            stack.pop(2);
            return Ok(None);
        }
        if key > max as f64 {
            // As C converts on x86-64. A length below zero makes an object of the table.
            max = if key <= i32::MAX as f64 { key as i32 } else { i32::MIN };
        }
        count = count.wrapping_add(1);
        stack.pop(1);
    }
    let ratio = settings.sparse_ratio;
    if ratio > 0 && max > count.wrapping_mul(ratio) && max > settings.sparse_safe {
        let refusal = unserialisable(stack, -1, "excessively sparse array");
        return if settings.sparse_convert { Ok(None) } else { Err(refusal) };
    }
    Ok(u32::try_from(max).ok().filter(|&len| len > 0))
}

/// Writes the next element or field of the innermost open table, or closes it. False: the outermost is closed.
fn step(stack: &mut Stack<'_>, work: &mut Work, settings: &Settings) -> Result<bool, Failure> {
    if work.text.len() > TEXT_LEN_MAX {
        return Err(Failure::error(format_args!("Cannot serialise, more than {TEXT_LEN_MAX} bytes")));
    }
    let Some(level) = work.levels.last_mut() else { return Ok(false) };
    let has_more = match *level {
        0 => next_field(stack, work, settings)?,
        array => {
            stack.pop(1); // The element before.
            let (index, len) = (array >> 32, array & u32::MAX as u64);
            if index < len {
                *level += 1 << 32;
                if index > 0 {
                    work.text.push(b',');
                }
                stack.get_index(-1, index as i32 + 1);
            } else {
                work.text.push(b']');
            }
            index < len
        }
    };
    if has_more {
        begin(stack, work, settings)?;
    } else {
        work.levels.pop();
    }
    Ok(true)
}

/// Writes the next key of the object, and leaves its value on top; or closes the object.
fn next_field(stack: &mut Stack<'_>, work: &mut Work, settings: &Settings) -> Result<bool, Failure> {
    stack.pop(1); // The value before.
    let is_first = work.text.last() == Some(&b'{');
    let table = stack.top() - 1;
    if !stack.next(table) {
        work.text.push(b'}');
        return Ok(false);
    }
    if !is_first {
        work.text.push(b',');
    }
    match stack.kind(-2) {
        Type::Number => {
            work.text.push(b'"');
            write_number(stack, work, settings, -2)?;
            work.text.extend_from_slice(b"\":");
        }
        Type::String => {
            write_string(stack, work, -2);
            work.text.push(b':');
        }
        _ => return Err(unserialisable(stack, -2, "table key must be a number or string")),
    }
    Ok(true)
}

fn write_number(stack: &Stack<'_>, work: &mut Work, settings: &Settings, at: i32) -> Result<(), Failure> {
    let number = stack.number(at);
    match settings.encode_invalid {
        _ if number.is_finite() => write_general(&mut work.text, number, settings.precision as usize),
        Invalid::Refused => return Err(unserialisable(stack, at, "must not be NaN or Inf")),
        Invalid::AsNull => work.text.extend_from_slice(b"null"),
        Invalid::AsThey if number.is_nan() => work.text.extend_from_slice(b"nan"),
        Invalid::AsThey => work.text.extend_from_slice(if number > 0.0 { b"inf" } else { b"-inf" }),
    }
    Ok(())
}

/// A string in quotes. Control characters, `"`, `\`, `/` and DEL are escaped, bytes from 0x80 stay as they are.
fn write_string(stack: &Stack<'_>, work: &mut Work, at: i32) {
    let bytes = stack.bytes(at).unwrap_or_default();
    let text = &mut work.text;
    text.push(b'"');
    let mut from = 0;
    for (end, &byte) in bytes.iter().enumerate() {
        if !is_escaped(byte) {
            continue;
        }
        text.extend_from_slice(&bytes[from..end]);
        from = end + 1;
        match byte {
            8 => text.extend_from_slice(b"\\b"),
            b'\t' => text.extend_from_slice(b"\\t"),
            b'\n' => text.extend_from_slice(b"\\n"),
            12 => text.extend_from_slice(b"\\f"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'"' | b'/' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
            control => {
                let digit = |nibble: u8| b"0123456789abcdef"[nibble as usize];
                text.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(control & 15)]);
            }
        }
    }
    text.extend_from_slice(&bytes[from..]);
    text.push(b'"');
}

fn is_escaped(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'/' | b'\\' | 0x7f)
}
