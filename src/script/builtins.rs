//! Functions of Lua's own libraries that we replace: those that go past metamethods, and so past proxies (`sandbox`); those
//! that compile; `unpack`, which counts right here; `pcall` and `math.random`, which Redis has its own way.
//!
//! Source: the Lua 5.1 reference manual, §5.

#![forbid(unsafe_code)]

use super::run::Shared;
use super::sandbox::{is_proxy, push_real, refuse_proxy};
use super::state::{ALL_RESULTS, Ended, Kind, Native, State};

pub const GLOBAL: &[(&str, Native)] = &[
    ("pcall", pcall),
    ("rawget", rawget),
    ("rawset", rawset),
    ("next", next),
    ("pairs", pairs),
    ("setmetatable", setmetatable),
    ("unpack", unpack),
    ("loadstring", loadstring),
    ("load", load_function),
];

pub const IN_LIBRARIES: &[(&str, &[(&str, Native)])] =
    &[("math", &[("random", random), ("randomseed", random_seed)]), ("table", &[("insert", insert)])];

/// Bytes of a source. From 2³⁰ on, Lua's lexer computes lengths that overflow (CVE-2025-46819).
const SOURCE_MAX: usize = 512 << 20;
/// Values that Lua lets a function return.
const RESULTS_MAX: i64 = 8000;

/// Compiles a source: pushes the function, or the text of an error. *Raises* for lack of memory.
///
/// `name` is a chunk's name as Lua has it: `@file`, or `=text`, or the source itself. Lua makes a string of it that nothing
/// holds while it compiles (CVE-2025-49844): the same string, equal ones are one, stands on our stack meanwhile.
pub fn load(state: State, source: &[u8], name: &[u8]) -> Ended {
    state.reserve(4);
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    state.push_bytes(name);
    let refusal: Option<&[u8]> = match source {
        [0x1b, ..] => Some(b"bytecode is not allowed"),
        _ if source.len() > SOURCE_MAX => Some(b"chunk is too long"),
        _ => None,
    };
    let ended = match (refusal, state.text(-1)) {
        (Some(text), _) => {
            state.push_bytes(text);
            Ended::Badly
        }
        (None, text) => state.load(source, text.unwrap_or(c"?")),
    };
    state.remove(-2);
    ended
}

/// What `loadstring` and `load` return: the function, or nil and an error.
fn loaded(state: State, ended: Ended) -> i32 {
    if ended == Ended::Well {
        return 1;
    }
    state.push_nil();
    state.insert(-2);
    2
}

/// `loadstring(source [, name])`
fn loadstring(state: State) -> i32 {
    let source = text_argument(state, 1);
    let name = if state.is_there(2) && state.kind(2) != Kind::Nil { text_argument(state, 2) } else { source };
    let ended = load(state, source, name);
    loaded(state, ended)
}

/// `load(function [, name])`: the function's results, up to an empty one, are the pieces of a source.
fn load_function(state: State) -> i32 {
    state.expect_function(1);
    if !state.is_there(2) || state.kind(2) == Kind::Nil {
        state.set_top(1);
        state.push_bytes(b"=(load)");
    }
    text_argument(state, 2);
    state.set_top(2);
    state.push_bytes(b"");
    loop {
        state.reserve(4);
        state.push_copy(1);
        if state.call(0, 1, 0) == Ended::Badly {
            return loaded(state, Ended::Badly);
        }
        let is_end = match state.kind(-1) {
            Kind::Nil => true,
            Kind::String => state.bytes(-1).is_some_and(<[u8]>::is_empty),
            _ => {
                state.push_bytes(b"reader function must return a string");
                return loaded(state, Ended::Badly);
            }
        };
        // Pieces are joined by the hundred: one by one, a source of many would be copied again and again.
        if is_end || state.top() > 100 {
            let pieces = state.top() - 2 - is_end as i32;
            state.set_top(2 + pieces);
            state.concat(pieces);
        }
        if is_end {
            break;
        }
    }
    let (source, name) = (state.bytes(3).unwrap_or_default(), state.bytes(2).unwrap_or_default());
    let ended = load(state, source, name);
    loaded(state, ended)
}

/// Argument `index` as a string, or a number made one. *Raises* if it is neither.
fn text_argument<'a>(state: State, index: i32) -> &'a [u8] {
    match state.kind(index) {
        Kind::String | Kind::Number => state.bytes_of(index).unwrap_or_default(),
        _ => state.raise_argument(index, c"string expected"),
    }
}

/// `pcall`, as Lua's; but of an error table with a text in `err` the script sees the text, as scripts written for Redis
/// before 7 expect.
fn pcall(state: State) -> i32 {
    state.expect_any(1);
    let args = state.top() - 1;
    state.push_boolean(true); // The first result, unless it goes badly.
    state.insert(1);
    if state.call(args, ALL_RESULTS, 0) == Ended::Badly {
        state.remove(1);
        if state.kind(-1) == Kind::Table {
            state.push_field(-1, "err");
            if state.kind(-1) == Kind::String {
                state.remove(-2);
            } else {
                state.pop(1);
            }
        }
        state.push_boolean(false);
        state.insert(1);
    }
    state.top()
}

/// `rawget(table, key)`
fn rawget(state: State) -> i32 {
    state.expect_table(1);
    state.expect_any(2);
    state.set_top(2);
    if push_real(state, 1) {
        state.replace(1);
    }
    state.get_raw(1);
    1
}

/// `rawset(table, key, value)`
fn rawset(state: State) -> i32 {
    state.expect_table(1);
    state.expect_any(2);
    state.expect_any(3);
    state.set_top(3);
    refuse_proxy(state, 1);
    state.set_raw(1);
    1
}

/// `next(table [, key])`
fn next(state: State) -> i32 {
    state.expect_table(1);
    state.set_top(2);
    if push_real(state, 1) {
        state.replace(1);
    }
    if state.next(1) {
        return 2;
    }
    state.push_nil();
    1
}

/// `pairs(table)`. The real table of a proxy is not given away: our `next` finds it each time. Others get Lua's.
fn pairs(state: State) -> i32 {
    state.expect_table(1);
    let kept = Shared::of(state).next.get();
    state.push_kept(if is_proxy(state, 1) { kept.ours } else { kept.of_lua });
    state.push_copy(1);
    state.push_nil();
    3
}

/// `setmetatable(table, metatable)`
fn setmetatable(state: State) -> i32 {
    state.expect_table(1);
    if !state.is_there(2) || !matches!(state.kind(2), Kind::Nil | Kind::Table) {
        state.raise_argument(2, c"nil or table expected");
    }
    state.set_top(2);
    if state.push_metatable(1) {
        refuse_proxy(state, 1);
        state.push_field(-1, "__metatable");
        if state.kind(-1) != Kind::Nil {
            state.raise_text(c"cannot change a protected metatable");
        }
        state.set_top(2);
    }
    state.set_metatable(1);
    1
}

/// `unpack(list [, first [, last]])` (CVE-2025-46817: Lua's own counts in an int).
fn unpack(state: State) -> i32 {
    state.expect_table(1);
    let is_given = |index| state.is_there(index) && state.kind(index) != Kind::Nil;
    let first = if is_given(2) { state.integer_argument(2) } else { 1 };
    let last = if is_given(3) { state.integer_argument(3) } else { state.len(1) as i32 };
    let count = last as i64 - first as i64 + 1;
    if count <= 0 {
        return 0;
    }
    if count >= RESULTS_MAX || !state.has_room(count as i32) {
        state.raise_text(c"too many results to unpack");
    }
    for index in first..=last {
        state.push_item(1, index);
    }
    count as i32
}

/// `table.insert(table, [place,] value)`
fn insert(state: State) -> i32 {
    state.expect_table(1);
    let end = state.len(1) as i32 + 1;
    refuse_proxy(state, 1);
    let place = match state.top() {
        2 => end,
        3 => {
            let place = state.integer_argument(2);
            for index in (place.saturating_add(1)..=end.max(place)).rev() {
                state.push_item(1, index - 1);
                state.set_item(1, index);
            }
            place
        }
        _ => state.raise_text(c"wrong number of arguments to 'insert'"),
    };
    state.set_item(1, place);
    0
}

/// Two functions `next` that the registry keeps.
#[derive(Clone, Copy, Default)]
pub struct Next {
    of_lua: i32,
    ours: i32,
}

/// Keeps both, before ours takes the place of Lua's in the table of globals on top. *Raises.*
pub fn keep_next(state: State, shared: &Shared) {
    state.push_field(-1, "next");
    let of_lua = state.keep();
    state.push_native(next, std::ptr::null_mut());
    shared.next.set(Next { of_lua, ours: state.keep() });
}

const RANDOM_MAX: u64 = i32::MAX as u64;

/// `math.random`: Lua's, over the numbers of `lrand48`, so that a seed gives the same numbers everywhere.
fn random(state: State) -> i32 {
    let shared = Shared::of(state);
    let number = shared.random.get().wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & ((1 << 48) - 1);
    shared.random.set(number);
    let part = ((number >> 17) % RANDOM_MAX) as f64 / RANDOM_MAX as f64;
    match state.top() {
        0 => state.push_number(part),
        1 => {
            let upper = state.integer_argument(1);
            if upper < 1 {
                state.raise_argument(1, c"interval is empty");
            }
            state.push_number((part * upper as f64).floor() + 1.0);
        }
        2 => {
            let (lower, upper) = (state.integer_argument(1), state.integer_argument(2));
            if lower > upper {
                state.raise_argument(2, c"interval is empty");
            }
            let width = upper.wrapping_sub(lower).wrapping_add(1); // In an int, as in C.
            state.push_number((part * width as f64).floor() + lower as f64);
        }
        _ => state.raise_text(c"wrong number of arguments"),
    }
    1
}

/// `math.randomseed(seed)`
fn random_seed(state: State) -> i32 {
    let seed = state.integer_argument(1) as u32 as u64;
    Shared::of(state).random.set(seed << 16 | 0x330e);
    0
}
