//! A value of Lua becomes the reply to a client.
//!
//! A table is looked at for the fields that `to_lua` makes (`err`, `ok`, `double`, `big_number`, `verbatim_string`, `map`,
//! `set`, in this order, metamethods aside); else it is an array of its items from 1 up to the first nil. Numbers lose their
//! fraction. What protocol the *script* chose (`setresp`) decides about booleans: in RESP2 true is 1 and false is null.
//! The form on the wire is the client's business.

#![forbid(unsafe_code)]

use super::run::Run;
use super::state::{Kind, State};
use super::to_lua::trim_line_ends;
use crate::resp::reply::{Proto, Reply};

/// Fields whose names mark a table; kept in the registry, so that looking for them hashes nothing.
pub const FIELDS: [&str; 7] = ["err", "ok", "double", "big_number", "verbatim_string", "map", "set"];

/// Where `FIELDS` are kept.
#[derive(Clone, Copy, Default)]
pub struct Fields([i32; FIELDS.len()]);

impl Fields {
    /// Keeps the names. *Raises.*
    pub fn keep(state: State) -> Fields {
        Fields(FIELDS.map(|name| {
            state.push_bytes(name.as_bytes());
            state.keep()
        }))
    }
}

/// Writes one value.
pub struct Writer<'w, 'r> {
    pub state: State,
    pub fields: Fields,
    pub run: &'w mut Run<'r>,
}

impl Writer<'_, '_> {
    /// Replies with the value on top and pops it. *Raises.*
    pub fn write(&mut self) {
        let state = self.state;
        if !state.has_room(4) {
            self.out().raw(b"-ERR reached lua stack limit\r\n");
            return state.pop(1);
        }
        match state.kind(-1) {
            Kind::String => {
                let text = state.bytes(-1).unwrap_or_default();
                self.out().bulk(text);
            }
            Kind::Number => {
                let number = as_integer(state.number(-1));
                self.out().int(number);
            }
            Kind::Boolean => match (self.run.proto(), state.boolean(-1)) {
                (Proto::Resp3, value) => self.out().boolean(value),
                (Proto::Resp2, true) => self.out().int(1),
                (Proto::Resp2, false) => self.out().null(),
            },
            Kind::Table => self.write_table(),
            Kind::Nil | Kind::Other => self.out().null(),
        }
        state.pop(1);
    }

    fn out(&mut self) -> &mut Reply {
        self.run.out
    }

    /// Replies with the table on top, and leaves it there.
    fn write_table(&mut self) {
        let state = self.state;
        for (index, kept) in self.fields.0.into_iter().enumerate() {
            state.push_kept(kept);
            state.get_raw(-2);
            let is_it = match (FIELDS[index], state.kind(-1)) {
                (_, Kind::Nil) => false,
                ("err", Kind::String) => self.write_error(),
                ("ok", Kind::String) => self.write_status(),
                ("double", Kind::Number) => {
                    let number = state.number(-1);
                    self.out().double(number);
                    true
                }
                ("big_number", Kind::String) => self.write_big_number(),
                ("verbatim_string", Kind::Table) => self.write_verbatim(),
                ("map", Kind::Table) => self.write_map(),
                ("set", Kind::Table) => self.write_set(),
                _ => false,
            };
            state.pop(1);
            if is_it {
                return;
            }
        }
        self.write_array();
    }

    /// The table below is an error: replies with its text, and tells statistics unless a command has.
    fn write_error(&mut self) -> bool {
        let state = self.state;
        state.push_field(-2, "ignore_error_stats_update");
        let is_counted = state.kind(-1) == Kind::Boolean && state.boolean(-1);
        state.pop(1);
        let text = until_nul(state.bytes(-1).unwrap_or_default());
        self.run.reply_error(text, is_counted);
        true
    }

    fn write_status(&mut self) -> bool {
        let text = until_nul(self.state.bytes(-1).unwrap_or_default());
        self.out().raw(b"+");
        self.push_line(text);
        true
    }

    fn write_big_number(&mut self) -> bool {
        let text = self.state.bytes(-1).unwrap_or_default();
        if self.run.out.proto == Proto::Resp3 {
            self.out().raw(b"(");
            self.push_line(text);
            return true;
        }
        self.out().bulk(text);
        let digits = self.run.out.out.buf.len() - 2 - text.len();
        blank_line_ends(&mut self.run.out.out.buf[digits..][..text.len()]);
        true
    }

    /// A string with a format; a table that lacks one of them is something else.
    fn write_verbatim(&mut self) -> bool {
        let state = self.state;
        state.push_field(-1, "format");
        state.push_field(-2, "string");
        let both = state.bytes(-2).zip(state.bytes(-1));
        if let Some((format, text)) = both {
            let mut padded = [b' '; 3]; // Three letters on the wire, whatever the script says.
            let format = until_nul(format);
            let len = format.len().min(3);
            padded[..len].copy_from_slice(&format[..len]);
            let format = std::str::from_utf8(&padded).unwrap_or("txt");
            self.run.out.verbatim(format, text);
        }
        state.pop(2);
        both.is_some()
    }

    fn write_map(&mut self) -> bool {
        let pairs = self.count_pairs();
        self.out().map(pairs);
        let state = self.state;
        state.push_nil();
        while state.next(-2) {
            state.push_copy(-2);
            self.write();
            self.write();
        }
        true
    }

    fn write_set(&mut self) -> bool {
        let items = self.count_pairs();
        self.out().set(items);
        let state = self.state;
        state.push_nil();
        while state.next(-2) {
            state.pop(1);
            state.push_copy(-1);
            self.write();
        }
        true
    }

    /// Pairs of the table on top.
    fn count_pairs(&self) -> usize {
        let (state, mut count) = (self.state, 0);
        state.push_nil();
        while state.next(-2) {
            state.pop(1);
            count += 1;
        }
        count
    }

    fn write_array(&mut self) {
        let (state, mut count) = (self.state, 0);
        loop {
            state.push_item(-1, count + 1);
            let is_end = state.kind(-1) == Kind::Nil;
            state.pop(1);
            if is_end {
                break;
            }
            count += 1;
        }
        self.out().array(count as usize);
        for at in 1..=count {
            state.push_item(-1, at);
            self.write();
        }
    }

    /// A line of the reply: CR and LF in it become spaces.
    fn push_line(&mut self, text: &[u8]) {
        push_line(self.run.out, text);
    }
}

/// Appends `text` as the rest of a line: CR and LF in it become spaces.
fn push_line(reply: &mut Reply, text: &[u8]) {
    let from = reply.out.buf.len();
    reply.raw(text);
    blank_line_ends(&mut reply.out.buf[from..]);
    reply.raw(b"\r\n");
}

fn blank_line_ends(text: &mut [u8]) {
    text.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
}

impl Run<'_> {
    /// Replies with an error line, given without its dash.
    pub fn reply_error(&mut self, line: &[u8], is_counted: bool) {
        let line = trim_line_ends(line);
        self.out.raw(b"-");
        push_line(self.out, line);
        if !is_counted {
            self.count_error(line);
        }
    }
    /// As `reply_error`, for an error that ended the script at `place`: the chunk's name and the line.
    pub fn reply_script_error(&mut self, text: &[u8], place: Option<(&[u8], &[u8])>, is_counted: bool) {
        let from = self.out.out.buf.len();
        let text = if text.is_empty() { b"ERR unknown error" } else { text };
        self.out.raw(b"-");
        self.out.raw(text);
        if let Some((source, line)) = place {
            let parts: [&[u8]; 7] = [b" script: ", self.name.as_bytes(), b", on ", source, b":", line, b"."];
            parts.iter().for_each(|part| self.out.raw(part));
        }
        blank_line_ends(&mut self.out.out.buf[from..]);
        self.out.raw(b"\r\n");
        if !is_counted {
            self.count_error(text);
        }
    }
    fn count_error(&mut self, line: &[u8]) {
        let code = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        self.host.count_error(std::str::from_utf8(code).unwrap_or("ERR"));
    }
}

/// What C would take for the string.
pub fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// As the processor's own conversion does it: what does not fit is the smallest integer.
fn as_integer(number: f64) -> i64 {
    let limit = 9_223_372_036_854_775_808.0; // 2^63
    if (-limit..limit).contains(&number) { number as i64 } else { i64::MIN }
}
