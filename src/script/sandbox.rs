//! What scripts may not do, and how their errors look.
//!
//! Lua 5.1 is no longer mended upstream, and knows no read-only tables. What follows stands outside of it, so that its
//! sources are those of the crate.
//!
//! *Nothing stays behind.* What outlives a script (globals, libraries, metatables of basic types) is shown through proxies:
//!
//! ```text
//! environment   {} ─ __index ─▶ globals { string = proxy, redis = proxy, KEYS, … } ─ __index ─▶ "nonexistent global variable"
//! proxy         {} ─ __index ─▶ the library's table        __newindex ─▶ "Attempt to modify a readonly table"
//!                  └ __metatable: a proxy, too; `MARK` leads from the proxy's metatable to the real table
//! ```
//! Functions that read or write without metamethods (`rawset`, `next`, `table.insert`, …) are ours and know proxies: see
//! `builtins`. No script ever holds a real table. Environments that a script has set are set back before the next.
//!
//! *Known holes.*
//!
//! | CVE | hole | closed by |
//! |---|---|---|
//! | 2022-24834, 2024-31449 | overflows in C's cjson, cmsgpack, bit | these libraries are written in Rust |
//! | 2024-46981 | finalisers at the end of an interpreter | no `newproxy`; a full collection before the end |
//! | 2025-46817 | `unpack` counts in `int` | our own `unpack` |
//! | 2025-46818 | metatables of basic types | proxies |
//! | 2025-46819 | long brackets of 2³⁰ characters | sources are shorter (`builtins::load`) |
//! | 2025-49844 | the chunk's name is freed while it is compiled | it stands on the stack meanwhile (`builtins::load`) |
//!
//! *No way out.* No files, no modules, no `debug`, no bytecode; `os` has the clock only.

#![forbid(unsafe_code)]

use super::builtins;
use super::run::Shared;
use super::state::{GLOBALS, Kind, State};
use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

/// What Lua's libraries bring and scripts do not get.
const REMOVED: &[&str] = &["dofile", "loadfile", "print", "newproxy", "debug", "io", "package", "require", "module"];

/// In the metatable of a proxy, its address leads to the real table.
static MARK: u8 = 0;

/// Puts our own functions in the place of Lua's, and takes away what is forbidden. *Raises.*
pub fn replace_builtins(state: State, shared: &Shared) {
    state.push_copy(GLOBALS);
    for name in REMOVED {
        state.push_nil();
        state.set_field(name);
    }
    builtins::keep_next(state, shared);
    for &(name, native) in builtins::GLOBAL {
        state.push_native(native, shared.address());
        state.set_field(name);
    }
    for &(library, natives) in builtins::IN_LIBRARIES {
        state.push_field(-1, library);
        for &(name, native) in natives {
            state.push_native(native, shared.address());
            state.set_field(name);
        }
        state.pop(1);
    }
    state.push_field(-1, "os");
    state.push_table(0, 1);
    state.push_field(-2, "clock");
    state.set_field("clock");
    state.remove(-2);
    state.set_field("os");
    state.pop(1);
}

/// Shows scripts everything through proxies from here on. *Raises.*
pub fn protect(state: State) {
    state.reserve(16);
    state.push_copy(GLOBALS);
    let globals = state.top();
    state.push_table(0, 1);
    state.push_native(missing_global, null_mut());
    state.set_field("__index");
    state.set_metatable(globals);
    state.push_nil();
    while state.next(globals) {
        // Values of keys that are there may change during the walk. `_G` comes last.
        if state.kind(-1) == Kind::Table && !is_proxy(state, -1) && !state.is_same(-1, globals) {
            state.push_copy(-2);
            state.push_copy(-2);
            protect_table(state);
            state.set_raw(globals);
        }
        state.pop(1);
    }
    protect_strings(state, globals);
    state.push_bytes(b"server");
    state.push_field(globals, "redis");
    state.set_raw(globals);
    state.push_copy(globals);
    push_proxy(state);
    state.push_bytes(b"_G");
    state.push_copy(-2);
    state.set_raw(globals);
    state.set_globals();
    state.pop(1);
}

/// The metatable that all strings share: scripts see one that they cannot change. *Raises.*
fn protect_strings(state: State, globals: i32) {
    state.push_bytes(b"");
    if state.push_metatable(-1) {
        state.push_table(0, 1);
        state.push_field(globals, "string");
        state.set_field("__index");
        push_proxy(state);
        state.set_field("__metatable");
        state.pop(1);
    }
    state.pop(1);
}

/// Replaces the library on top by a proxy, and the tables in it likewise. *Raises.*
pub fn protect_table(state: State) {
    state.reserve(8);
    state.push_nil();
    while state.next(-2) {
        if state.kind(-1) == Kind::Table && !is_proxy(state, -1) && !state.is_same(-1, -3) {
            state.push_copy(-2);
            state.push_copy(-2);
            protect_table(state);
            state.set_raw(-5);
        }
        state.pop(1);
    }
    push_proxy(state);
}

/// Replaces the table on top by a proxy that cannot be written. *Raises.*
pub fn push_proxy(state: State) {
    state.reserve(8);
    state.push_table(0, 0);
    state.push_table(0, 4);
    state.push_copy(-3);
    state.set_field("__index");
    state.push_native(refuse_write, null_mut());
    state.set_field("__newindex");
    state.push_copy(-2); // It stands for its own metatable: whatever is asked of that, it cannot be written.
    state.set_field("__metatable");
    state.push_pointer(mark());
    state.push_copy(-4);
    state.set_raw(-3);
    state.set_metatable(-2);
    state.remove(-2);
}

fn mark() -> *mut c_void {
    (&raw const MARK).cast_mut().cast()
}

/// If there is a proxy at `index`, pushes its real table.
#[inline]
pub fn push_real(state: State, index: i32) -> bool {
    if !state.push_metatable(index) {
        return false;
    }
    state.push_pointer(mark());
    state.get_raw(-2);
    state.remove(-2);
    let is_proxy = state.kind(-1) == Kind::Table;
    if !is_proxy {
        state.pop(1);
    }
    is_proxy
}

pub fn is_proxy(state: State, index: i32) -> bool {
    let is_proxy = push_real(state, index);
    if is_proxy {
        state.pop(1);
    }
    is_proxy
}

/// Raises that a table cannot be written, if the one at `index` is a proxy.
#[inline]
pub fn refuse_proxy(state: State, index: i32) {
    if is_proxy(state, index) {
        state.push_bytes(READ_ONLY.to_bytes()); // Without a position, as when Lua itself refuses a function.
        state.raise()
    }
}

const READ_ONLY: &CStr = c"Attempt to modify a readonly table";

/// `__newindex` of proxies. *Raises*, always.
fn refuse_write(state: State) -> i32 {
    state.raise_text(READ_ONLY)
}

/// `__index` of the globals. *Raises*, always.
pub(super) fn missing_global(state: State) -> i32 {
    if !matches!(state.kind(2), Kind::String | Kind::Number) {
        state.raise_text(c"Second argument to luaProtectedTableError must be a string or number");
    }
    state.push_where(1);
    state.push_bytes(b"Script attempted to access nonexistent global variable '");
    state.push_copy(2);
    state.push_bytes(b"'");
    state.concat(4);
    state.raise()
}

/// The error handler of a run: makes a table `{err, source, line}` of whatever was raised.
pub fn on_error(state: State) -> i32 {
    state.reserve(8);
    if state.kind(1) != Kind::Table {
        state.push_table(0, 3);
        state.push_bytes(b"ERR ");
        push_text(state, 1);
        state.concat(2);
        state.set_field("err");
        state.remove(1);
    } else if is_proxy(state, 1) {
        return 1;
    }
    // An error of a native function is told as one of its caller.
    let mut position = state.push_position(1);
    if position.as_ref().is_some_and(|position| position.is_native) {
        state.pop(1);
        position = state.push_position(2);
    }
    if let Some(position) = position {
        let source = state.top();
        state.push_copy(1);
        state.push_copy(source);
        state.set_field("source");
        state.push_number(position.line as f64);
        state.set_field("line");
    }
    state.set_top(1);
    1
}

/// Pushes what `tostring` would make of the value at `index`, as far as errors need it. *Raises.*
fn push_text(state: State, index: i32) {
    if state.call_meta(index, c"__tostring") {
        if state.bytes_of(-1).is_none() {
            state.pop(1);
            state.push_bytes(b"(error object)");
        }
        return;
    }
    match state.kind(index) {
        Kind::String | Kind::Number => state.push_copy(index),
        Kind::Nil => state.push_bytes(b"nil"),
        Kind::Boolean if state.boolean(index) => state.push_bytes(b"true"),
        Kind::Boolean => state.push_bytes(b"false"),
        Kind::Table | Kind::Other => state.push_bytes(b"(error object)"),
    }
}
