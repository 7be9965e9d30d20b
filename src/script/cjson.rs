//! `cjson`: JSON to Lua's values and back, with the settings, limits and messages of Lua CJSON 2.1.
//!
//! Each library table has its own settings (`Settings`, in the table's cell); `cjson.new()` makes another one. Writing is in
//! `cjson_encode`, reading in `cjson_decode`; neither recurses, so that nesting costs heap, and at most as much as the
//! settings and Lua's stack of 8000 values a call allow.

#![forbid(unsafe_code)]

use super::cjson_decode::decode;
use super::cjson_encode::encode;
use super::native::{self, Cell, Failure, Native, Outcome, Stack, Type, Work, plain, working};
use mlua::{Lua, Table, Value};

static ROWS: &[Native] = &[
    working("encode", encode_argument),
    working("decode", decode_argument),
    plain("encode_sparse_array", encode_sparse_array),
    plain("encode_max_depth", encode_max_depth),
    plain("decode_max_depth", decode_max_depth),
    plain("encode_number_precision", encode_number_precision),
    plain("encode_keep_buffer", encode_keep_buffer),
    plain("encode_invalid_numbers", encode_invalid_numbers),
    plain("decode_invalid_numbers", decode_invalid_numbers),
    plain("new", new),
];

/// What a script may set.
#[derive(Clone, Copy)]
pub struct Settings {
    /// An excessively sparse array becomes an object instead of an error.
    pub sparse_convert: bool,
    /// An array is too sparse if it has more than `ratio` places an element; 0: never.
    pub sparse_ratio: i32,
    /// Unless it has at most so many places.
    pub sparse_safe: i32,
    pub encode_depth_max: i32,
    pub decode_depth_max: i32,
    /// Significant digits.
    pub precision: i32,
    /// Has no effect; the buffer lives as long as a call.
    pub keep_buffer: bool,
    pub encode_invalid: Invalid,
    /// Are `nan`, `inf`, hexadecimal numbers and leading zeros read?
    pub decode_invalid: bool,
}

/// How NaN and infinities are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    Refused,
    AsThey,
    AsNull,
}

impl Cell for Settings {}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

const NAME: &str = "cjson";
const VERSION: &str = "2.1.0";

/// The library's table.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = native::library(lua, ROWS, Some(Settings::default()))?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", NAME)?;
    table.raw_set("_VERSION", VERSION)?;
    Ok(table)
}

/// Another table with settings of its own.
fn new(stack: &mut Stack<'_>) -> Outcome {
    stack.push_library(ROWS, Settings::default());
    let library = stack.top();
    stack.push_bytes(b"null");
    stack.push_null();
    stack.set(library);
    for (name, value) in [("_NAME", NAME), ("_VERSION", VERSION)] {
        stack.push_bytes(name.as_bytes());
        stack.push_bytes(value.as_bytes());
        stack.set(library);
    }
    Ok(1)
}

fn one_argument(stack: &Stack<'_>) -> Result<(), Failure> {
    if stack.args() == 1 { Ok(()) } else { Err(Failure::argument(1, format_args!("expected 1 argument"))) }
}

fn encode_argument(stack: &mut Stack<'_>, work: &mut Work) -> Outcome {
    one_argument(stack)?;
    let settings = *stack.cell::<Settings>();
    encode(stack, work, &settings)
}

fn decode_argument(stack: &mut Stack<'_>, work: &mut Work) -> Outcome {
    one_argument(stack)?;
    let json = stack.text_argument(1)?;
    let settings = *stack.cell::<Settings>();
    decode(stack, work, &settings, json)
}

/// Not more than `count` arguments.
fn at_most(stack: &Stack<'_>, count: i32) -> Result<(), Failure> {
    if stack.args() <= count {
        return Ok(());
    }
    Err(Failure::argument(count + 1, format_args!("found too many arguments")))
}

/// Is there an argument, and is it more than nil? Behind the arguments stand the results so far.
fn is_given(stack: &Stack<'_>, at: i32) -> bool {
    at <= stack.args() && stack.kind(at) != Type::Nil
}

/// The integer setting that argument `at` gives, or the old one if it gives none. Either is pushed.
fn integer_setting(stack: &mut Stack<'_>, at: i32, old: i32, min: i32, max: i32) -> Result<i32, Failure> {
    let mut value = old;
    if is_given(stack, at) {
        value = stack.integer_argument(at)? as i32; // C's narrowing: the low half.
        if !(min..=max).contains(&value) {
            return Err(Failure::argument(1, format_args!("expected integer between {min} and {max}")));
        }
    }
    stack.push_number(value as f64);
    Ok(value)
}

/// The same for an on/off setting: a boolean, or its name.
fn switch_setting(stack: &mut Stack<'_>, at: i32, old: bool) -> Result<bool, Failure> {
    let value = match stack.kind(at) {
        _ if !is_given(stack, at) => old,
        Type::Boolean => stack.boolean(at),
        _ => option(stack, at, &["off", "on"])? == 1,
    };
    stack.push_boolean(value);
    Ok(value)
}

/// The position of a word among `options`.
fn option(stack: &mut Stack<'_>, at: i32, options: &[&str]) -> Result<usize, Failure> {
    let word = stack.text_argument(at)?;
    let word = word.split(|&byte| byte == 0).next().unwrap_or_default();
    options.iter().position(|option| option.as_bytes() == word).ok_or_else(|| {
        // A script's bytes may be none of Unicode's; messages of ours are text.
        let shown = std::str::from_utf8(word).unwrap_or("?");
        Failure::argument(at, format_args!("invalid option '{shown}'"))
    })
}

/// Shape: [convert [ratio [safe]]]; replies all three.
fn encode_sparse_array(stack: &mut Stack<'_>) -> Outcome {
    at_most(stack, 3)?;
    let mut settings = *stack.cell::<Settings>();
    settings.sparse_convert = switch_setting(stack, 1, settings.sparse_convert)?;
    stack.cell::<Settings>().sparse_convert = settings.sparse_convert; // Holds even if a later argument is refused.
    settings.sparse_ratio = integer_setting(stack, 2, settings.sparse_ratio, 0, i32::MAX)?;
    stack.cell::<Settings>().sparse_ratio = settings.sparse_ratio;
    settings.sparse_safe = integer_setting(stack, 3, settings.sparse_safe, 0, i32::MAX)?;
    stack.cell::<Settings>().sparse_safe = settings.sparse_safe;
    Ok(3)
}

fn encode_max_depth(stack: &mut Stack<'_>) -> Outcome {
    at_most(stack, 1)?;
    let old = stack.cell::<Settings>().encode_depth_max;
    stack.cell::<Settings>().encode_depth_max = integer_setting(stack, 1, old, 1, i32::MAX)?;
    Ok(1)
}

fn decode_max_depth(stack: &mut Stack<'_>) -> Outcome {
    at_most(stack, 1)?;
    let old = stack.cell::<Settings>().decode_depth_max;
    stack.cell::<Settings>().decode_depth_max = integer_setting(stack, 1, old, 1, i32::MAX)?;
    Ok(1)
}

fn encode_number_precision(stack: &mut Stack<'_>) -> Outcome {
    at_most(stack, 1)?;
    let old = stack.cell::<Settings>().precision;
    stack.cell::<Settings>().precision = integer_setting(stack, 1, old, 1, 14)?;
    Ok(1)
}

fn encode_keep_buffer(stack: &mut Stack<'_>) -> Outcome {
    at_most(stack, 1)?;
    let old = stack.cell::<Settings>().keep_buffer;
    stack.cell::<Settings>().keep_buffer = switch_setting(stack, 1, old)?;
    Ok(1)
}

/// Shape: [off|on|null|boolean]
fn encode_invalid_numbers(stack: &mut Stack<'_>) -> Outcome {
    at_most(stack, 1)?;
    const WAYS: [Invalid; 3] = [Invalid::Refused, Invalid::AsThey, Invalid::AsNull];
    let way = match stack.kind(1) {
        Type::None | Type::Nil => stack.cell::<Settings>().encode_invalid,
        Type::Boolean => WAYS[stack.boolean(1) as usize],
        _ => WAYS[option(stack, 1, &["off", "on", "null"])?],
    };
    stack.cell::<Settings>().encode_invalid = way;
    match way {
        Invalid::AsNull => stack.push_bytes(b"null"),
        way => stack.push_boolean(way == Invalid::AsThey),
    }
    Ok(1)
}

fn decode_invalid_numbers(stack: &mut Stack<'_>) -> Outcome {
    at_most(stack, 1)?;
    let old = stack.cell::<Settings>().decode_invalid;
    stack.cell::<Settings>().decode_invalid = switch_setting(stack, 1, old)?;
    Ok(1)
}
