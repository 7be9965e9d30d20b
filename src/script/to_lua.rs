//! A command's reply becomes a value of Lua.
//!
//! | reply | value |
//! |---|---|
//! | integer | number |
//! | bulk string | string |
//! | array | table, items from 1 |
//! | status | `{ok = text}` |
//! | error | `{err = text, ignore_error_stats_update = true}` |
//! | null of RESP2 | false |
//! | null of RESP3 | nil |
//! | boolean | boolean |
//! | double, big number | `{double = number}`, `{big_number = text}` |
//! | map, set | `{map = {key = value}}`, `{set = {item = true}}` |
//! | verbatim string | `{verbatim_string = {string = text, format = "txt"}}` |
//! | attributes | left out |
//!
//! The bytes come from our own reply writer: that they are well formed is asserted, not answered.

#![forbid(unsafe_code)]

use super::state::State;
use crate::base::num::{parse_f64, parse_i64};

/// Pushes the value of the first reply in `bytes`. Returns what is behind it. *Raises.*
pub fn push_reply(state: State, bytes: &[u8]) -> &[u8] {
    let (sigil, line, rest) = split_line(bytes);
    state.reserve(6);
    match sigil {
        b':' => {
            state.push_number(parse_i64(line).unwrap_or(0) as f64);
            rest
        }
        b'$' if line == b"-1" => {
            state.push_boolean(false);
            rest
        }
        b'$' => {
            let (text, rest) = split_bulk(line, rest);
            state.push_bytes(text);
            rest
        }
        b'*' if line == b"-1" => {
            state.push_boolean(false);
            rest
        }
        b'*' | b'>' => push_array(state, count(line), rest),
        b'+' => {
            push_single(state, "ok", line);
            rest
        }
        b'-' => {
            push_command_error(state, line);
            rest
        }
        _ => push_resp3(state, sigil, line, rest),
    }
}

/// What only RESP3 has.
fn push_resp3<'a>(state: State, sigil: u8, line: &[u8], rest: &'a [u8]) -> &'a [u8] {
    match sigil {
        b'_' => state.push_nil(),
        b'#' => state.push_boolean(line == b"t"),
        b',' => {
            state.push_table(0, 1);
            state.push_number(parse_f64(line).unwrap_or(f64::NAN));
            state.set_field("double");
        }
        b'(' => push_single(state, "big_number", line),
        b'=' => {
            let (text, rest) = split_bulk(line, rest);
            state.push_table(0, 1);
            state.push_table(0, 2);
            state.push_bytes(&text[4..]);
            state.set_field("string");
            state.push_bytes(&text[..3]);
            state.set_field("format");
            state.set_field("verbatim_string");
            return rest;
        }
        b'%' => return push_map(state, count(line), rest),
        b'~' => return push_set(state, count(line), rest),
        b'|' => {
            let rest = (0..2 * count(line)).fold(rest, |rest, _| skip(rest));
            return push_reply(state, rest);
        }
        _ => unreachable!("no reply begins with byte {sigil}"),
    }
    rest
}

fn push_array(state: State, count: usize, mut rest: &[u8]) -> &[u8] {
    state.push_table(count, 0);
    for at in 1..=count {
        rest = push_reply(state, rest);
        state.set_item(-2, at as i32);
    }
    rest
}

fn push_map(state: State, count: usize, mut rest: &[u8]) -> &[u8] {
    state.push_table(0, 1);
    state.push_table(0, count);
    for _ in 0..count {
        rest = push_reply(state, rest);
        rest = push_reply(state, rest);
        state.set_raw(-3);
    }
    state.set_field("map");
    rest
}

fn push_set(state: State, count: usize, mut rest: &[u8]) -> &[u8] {
    state.push_table(0, 1);
    state.push_table(0, count);
    for _ in 0..count {
        rest = push_reply(state, rest);
        state.reserve(1);
        state.push_boolean(true);
        state.set_raw(-3);
    }
    state.set_field("set");
    rest
}

/// A table of one field.
fn push_single(state: State, field: &str, text: &[u8]) {
    state.push_table(0, 1);
    state.push_bytes(text);
    state.set_field(field);
}

/// The error that a command replied with; statistics have counted it. *Raises.*
fn push_command_error(state: State, line: &[u8]) {
    push_error_line(state, line);
    state.push_boolean(true);
    state.set_field("ignore_error_stats_update");
}

/// `{err = …}` of an error line without its dash. A line of one word gets the code `ERR`. *Raises.*
pub fn push_error_line(state: State, line: &[u8]) {
    state.reserve(4);
    state.push_table(0, 2);
    match line.iter().position(|&byte| byte == b' ') {
        Some(at) => {
            state.push_bytes(&line[..=at]);
            state.push_bytes(trim_line_ends(&line[at + 1..]));
        }
        None => {
            state.push_bytes(b"ERR ");
            state.push_bytes(trim_line_ends(line));
        }
    }
    state.concat(2);
    state.set_field("err");
}

/// `{err = "ERR …"}` of a message of our own. *Raises.*
pub fn push_error(state: State, message: &str) {
    state.reserve(4);
    state.push_table(0, 1);
    state.push_bytes(b"ERR ");
    state.push_bytes(message.as_bytes());
    state.concat(2);
    state.set_field("err");
}

/// Without the CR and LF at both ends.
pub fn trim_line_ends(mut text: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

/// The first byte, the rest of its line, and what is behind the line.
fn split_line(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let end = memchr::memchr(b'\r', bytes).expect("a reply's line ends");
    (bytes[0], &bytes[1..end], &bytes[end + 2..])
}

/// The bytes that a length line announces, and what is behind them.
fn split_bulk<'a>(line: &[u8], rest: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let len = count(line);
    (&rest[..len], &rest[len + 2..])
}

fn count(line: &[u8]) -> usize {
    parse_i64(line).and_then(|count| usize::try_from(count).ok()).expect("a reply's count is a number")
}

/// What is behind the first reply in `bytes`.
fn skip(bytes: &[u8]) -> &[u8] {
    let (sigil, line, rest) = split_line(bytes);
    match sigil {
        b'$' | b'=' if line != b"-1" => split_bulk(line, rest).1,
        b'*' | b'~' | b'>' if line != b"-1" => (0..count(line)).fold(rest, |rest, _| skip(rest)),
        b'%' => (0..2 * count(line)).fold(rest, |rest, _| skip(rest)),
        b'|' => skip((0..2 * count(line)).fold(rest, |rest, _| skip(rest))),
        _ => rest,
    }
}
