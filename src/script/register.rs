//! `redis.register_function`: how a library tells its functions while it is loaded.
//!
//! While it is loaded a library sees `redis.register_function`, `redis.log` and the version, and nothing else: it can
//! compute nothing and call nothing. What it registers is collected in `Loading`, outside Lua.

#![forbid(unsafe_code)]

use super::api::{fail, log};
use super::interp::Chunk;
use super::run::Shared;
use super::sandbox::{missing_global, push_proxy};
use super::shebang::{Flags, NAMES};
use super::state::{GLOBALS, Kind, State};
use std::cell::RefCell;

/// A function of a library.
#[derive(Clone, Debug)]
pub struct Registered {
    pub name: Box<[u8]>,
    pub description: Option<Box<[u8]>>,
    pub flags: Flags,
    /// It belongs to the interpreter that loaded the library.
    pub chunk: Chunk,
}

/// What the library that is being loaded has registered; None: none is.
#[derive(Default)]
pub struct Loading(RefCell<Option<Vec<Registered>>>);

impl Loading {
    pub fn begin(&self) {
        *self.0.borrow_mut() = Some(Vec::new());
    }
    pub fn end(&self) -> Vec<Registered> {
        self.0.borrow_mut().take().unwrap_or_default()
    }
    fn is_on(&self) -> bool {
        self.0.borrow().is_some()
    }
    fn has(&self, name: &[u8]) -> bool {
        self.0.borrow().iter().flatten().any(|known| *known.name == *name)
    }
    fn push(&self, registered: Registered) {
        self.0.borrow_mut().iter_mut().for_each(|all| all.push(registered.clone()));
    }
}

/// Names of libraries and functions: letters, digits and underscores, at least one.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

pub const BAD_NAME: &str =
    "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// Pushes what stands for the globals while a library is loaded. Before `sandbox::protect`. *Raises.*
pub fn push_loader(state: State, shared: &Shared) {
    state.reserve(16);
    state.push_table(0, 8);
    let api = state.top();
    state.push_native(register_function, shared.address());
    state.set_field("register_function");
    state.push_native(log, shared.address());
    state.set_field("log");
    state.push_bytes(b"redis");
    state.get_raw(GLOBALS);
    for name in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM"] {
        state.push_bytes(name.as_bytes());
        state.push_field(-2, name);
        state.set_raw(api);
    }
    state.pop(1);
    refuse_missing(state);
    push_proxy(state);
    state.push_table(0, 2);
    for name in ["redis", "server"] {
        state.push_copy(api);
        state.set_field(name);
    }
    refuse_missing(state);
    state.remove(api);
}

/// A name that is not in the table on top is an error. *Raises.*
fn refuse_missing(state: State) {
    state.push_table(0, 1);
    state.push_native(missing_global, std::ptr::null_mut());
    state.set_field("__index");
    state.set_metatable(-2);
}

/// Places of a function's parts on the stack, once its arguments are read.
const NAME: i32 = 2;
const DESCRIPTION: i32 = 3;
const CALLBACK: i32 = 4;

/// Shape: `(name, callback)`, or a table with `function_name`, `callback`, `description`, `flags`.
fn register_function(state: State) -> i32 {
    let shared = Shared::of(state);
    if !shared.loading.is_on() {
        fail(state, "redis.register_function can only be called on FUNCTION LOAD command");
    }
    state.reserve(12);
    let flags = match state.top() {
        1 => read_table(state),
        2 => read_pair(state),
        _ => fail(state, "wrong number of arguments to redis.register_function"),
    };
    let name = state.bytes_of(NAME).unwrap_or_default();
    if !is_name(name) {
        fail(state, BAD_NAME);
    }
    if shared.loading.has(name) {
        fail(state, "Function already exists in the library");
    }
    state.push_copy(CALLBACK);
    let chunk = Chunk::of(state.keep());
    // From here on nothing raises.
    let description = state.bytes_of(DESCRIPTION).map(Box::from);
    shared.loading.push(Registered { name: name.into(), description, flags, chunk });
    0
}

fn is_text(state: State, index: i32) -> bool {
    matches!(state.kind(index), Kind::String | Kind::Number)
}

fn read_pair(state: State) -> Flags {
    if !is_text(state, 1) {
        fail(state, "first argument to redis.register_function must be a string");
    }
    if !state.is_function(2) {
        fail(state, "second argument to redis.register_function must be a function");
    }
    state.push_nil();
    state.push_copy(2);
    state.push_copy(1);
    state.replace(NAME);
    Flags::default()
}

fn read_table(state: State) -> Flags {
    if state.kind(1) != Kind::Table {
        fail(
            state,
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named \
             arguments).",
        );
    }
    (NAME..=CALLBACK).for_each(|_| state.push_nil());
    let mut flags = Flags::default();
    state.push_nil();
    while state.next(1) {
        if !is_text(state, -2) {
            fail(state, "named argument key given to redis.register_function is not a string");
        }
        // A number as a key is no name of ours, and must not become a text here: `next` needs it.
        let key = if state.kind(-2) == Kind::String { state.bytes(-2).unwrap_or_default() } else { b"" };
        match () {
            _ if key.eq_ignore_ascii_case(b"function_name") => {
                keep_text(state, NAME, "function_name argument given to redis.register_function must be a string");
            }
            _ if key.eq_ignore_ascii_case(b"description") => {
                keep_text(state, DESCRIPTION, "description argument given to redis.register_function must be a string");
            }
            _ if key.eq_ignore_ascii_case(b"callback") => {
                if !state.is_function(-1) {
                    fail(state, "callback argument given to redis.register_function must be a function");
                }
                state.push_copy(-1);
                state.replace(CALLBACK);
            }
            _ if key.eq_ignore_ascii_case(b"flags") => flags = read_flags(state),
            _ => fail(state, "unknown argument given to redis.register_function"),
        }
        state.pop(1);
    }
    if state.kind(NAME) == Kind::Nil {
        fail(state, "redis.register_function must get a function name argument");
    }
    if state.kind(CALLBACK) == Kind::Nil {
        fail(state, "redis.register_function must get a callback argument");
    }
    flags
}

/// Keeps the text on top at its place.
fn keep_text(state: State, place: i32, otherwise: &str) {
    if !is_text(state, -1) {
        fail(state, otherwise);
    }
    state.push_copy(-1);
    state.replace(place);
}

/// The flags that the table on top names.
fn read_flags(state: State) -> Flags {
    if state.kind(-1) != Kind::Table {
        fail(state, "flags argument to redis.register_function must be a table representing function flags");
    }
    let mut flags = Flags::default();
    for at in 1.. {
        state.push_item(-1, at);
        if state.kind(-1) == Kind::Nil {
            break;
        }
        let name = if is_text(state, -1) { state.bytes_of(-1).unwrap_or_default() } else { b"" };
        let known = NAMES.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name));
        match known.and_then(|known| Flags::named(known.as_bytes())) {
            Some(flag) => flags = flags.with(flag),
            None => fail(state, "unknown flag given"),
        }
        state.pop(1);
    }
    state.pop(1);
    flags
}
