//! `redis.*`, which is `server.*` too.
//!
//! Each function finds the run under way through the pointer it was made with. Between two scripts there is none: then what
//! needs one is refused (a library's code runs when it is loaded).

#![forbid(unsafe_code)]

use super::host::LogLevel;
use super::interp::Options;
use super::run::Shared;
use super::state::{Kind, Native, State};
use super::to_lua::{push_error, push_error_line, push_reply};
use crate::base::num::f64_text;
use crate::base::sha1::sha1_hex;
use crate::resp::reply::Proto;

/// The functions that need a run or nothing at all, by name.
const FUNCTIONS: &[(&str, Native)] = &[
    ("call", call),
    ("pcall", pcall),
    ("log", log),
    ("setresp", set_resp),
    ("sha1hex", sha1hex),
    ("error_reply", error_reply),
    ("status_reply", status_reply),
    ("set_repl", set_repl),
    ("acl_check_cmd", acl_check_cmd),
    ("breakpoint", breakpoint),
    ("debug", debug),
    ("replicate_commands", replicate_commands),
];

const NUMBERS: &[(&str, u32)] = &[
    ("LOG_DEBUG", 0),
    ("LOG_VERBOSE", 1),
    ("LOG_NOTICE", 2),
    ("LOG_WARNING", 3),
    ("REPL_NONE", 0),
    ("REPL_AOF", TO_AOF),
    ("REPL_SLAVE", TO_REPLICAS),
    ("REPL_REPLICA", TO_REPLICAS),
    ("REPL_ALL", TO_AOF | TO_REPLICAS),
];

const TO_AOF: u32 = 1;
const TO_REPLICAS: u32 = 2;

/// Pushes the table `redis`. *Raises.*
pub fn push_api(state: State, shared: &Shared, options: &Options) {
    state.push_table(0, 32);
    for &(name, function) in FUNCTIONS {
        state.push_native(function, shared.address());
        state.set_field(name);
    }
    for &(name, number) in NUMBERS {
        state.push_number(number as f64);
        state.set_field(name);
    }
    state.push_bytes(options.version.as_bytes());
    state.set_field("REDIS_VERSION");
    state.push_number(version_number(options.version) as f64);
    state.set_field("REDIS_VERSION_NUM");
}

/// `7.2.4` is 0x070204.
fn version_number(version: &str) -> u32 {
    version.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).fold(0, |sum, part| sum << 8 | part)
}

/// Raises `{err = "ERR …"}`.
pub(super) fn fail(state: State, message: &str) -> ! {
    push_error(state, message);
    state.raise()
}

/// Copies all arguments beside each other. None: that cannot be, and the error value was pushed.
fn collect(state: State, shared: &Shared) -> Option<()> {
    let count = state.top();
    if count == 0 {
        push_error(state, "Please specify at least one argument for this redis lib call");
        return None;
    }
    let Some(run) = shared.run() else {
        push_error(state, "redis.call/pcall can only be called inside a script invocation");
        return None;
    };
    run.buffers.clear_args();
    for index in 1..=count {
        match state.kind(index) {
            Kind::String => run.buffers.push_arg(state.bytes(index).unwrap_or_default()),
            Kind::Number => push_number(run.buffers, state.number(index)),
            _ => {
                push_error(state, "Lua redis lib command arguments must be strings or integers");
                return None;
            }
        }
    }
    state.set_top(0);
    Some(())
}

/// A number as a command's argument: the shortest text that reads as the same.
fn push_number(buffers: &mut super::run::Buffers, number: f64) {
    let whole = number as i64;
    if whole as f64 == number && whole.unsigned_abs() <= 1 << 53 && !(whole == 0 && number.is_sign_negative()) {
        return buffers.push_arg(itoa::Buffer::new().format(whole).as_bytes());
    }
    buffers.push_arg(f64_text(number).as_bytes());
}

/// Runs a command and pushes its reply as a value. True: it is an error.
fn run_command(state: State) -> bool {
    let shared = Shared::of(state);
    if collect(state, shared).is_none() {
        return true;
    }
    let Some(run) = shared.run() else { return false };
    run.call();
    let bytes = run.buffers.reply.out.buf.as_slice();
    push_reply(state, bytes);
    bytes.first() == Some(&b'-')
}

/// `redis.call(command, …)`: an error ends the script, unless it is caught.
fn call(state: State) -> i32 {
    if run_command(state) {
        state.raise()
    }
    1
}

/// `redis.pcall(command, …)`: an error is a result.
fn pcall(state: State) -> i32 {
    run_command(state);
    1
}

/// `redis.sha1hex(text)`
fn sha1hex(state: State) -> i32 {
    if state.top() != 1 {
        fail(state, "wrong number of arguments");
    }
    let digest = sha1_hex(state.bytes_of(1).unwrap_or_default());
    state.push_bytes(&digest);
    1
}

/// The only argument, which must be a string. None: the error value was pushed.
fn only_text<'a>(state: State) -> Option<&'a [u8]> {
    let text = if state.top() == 1 { state.bytes(1) } else { None };
    if text.is_none() {
        push_error(state, "wrong number or type of arguments");
    }
    text
}

/// `redis.error_reply(line)`, with or without the dash.
fn error_reply(state: State) -> i32 {
    if let Some(text) = only_text(state) {
        push_error_line(state, text.strip_prefix(b"-").unwrap_or(text));
    }
    1
}

/// `redis.status_reply(line)`
fn status_reply(state: State) -> i32 {
    if only_text(state).is_some() {
        state.push_table(0, 1);
        state.push_copy(1);
        state.set_field("ok");
    }
    1
}

/// `redis.setresp(2 or 3)`: the protocol in which this script sees replies.
fn set_resp(state: State) -> i32 {
    if state.top() != 1 {
        fail(state, "redis.setresp() requires one argument.");
    }
    let proto = match state.number(1) as i32 {
        2 => Proto::Resp2,
        3 => Proto::Resp3,
        _ => fail(state, "RESP version must be 2 or 3."),
    };
    if let Some(run) = Shared::of(state).run() {
        run.buffers.reply.proto = proto;
    }
    0
}

/// `redis.set_repl(flags)`
fn set_repl(state: State) -> i32 {
    if state.top() != 1 {
        fail(state, "redis.set_repl() requires one argument.");
    }
    let flags = state.number(1) as i32;
    if flags & !((TO_AOF | TO_REPLICAS) as i32) != 0 {
        fail(state, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    }
    if let Some(run) = Shared::of(state).run() {
        run.host.propagate(flags as u32 & TO_AOF != 0, flags as u32 & TO_REPLICAS != 0);
    }
    0
}

/// `redis.acl_check_cmd(command, …)`: may the user run it?
fn acl_check_cmd(state: State) -> i32 {
    let shared = Shared::of(state);
    if collect(state, shared).is_none() {
        state.raise()
    }
    match shared.run().and_then(|run| run.may_run()) {
        Some(may_run) => state.push_boolean(may_run),
        None => fail(state, "Invalid command passed to redis.acl_check_cmd()"),
    }
    1
}

/// `redis.log(level, text, …)`: what is no text is left out.
pub fn log(state: State) -> i32 {
    let count = state.top();
    if count < 2 {
        fail(state, "redis.log() requires two arguments or more.");
    }
    if !state.is_numeric(1) {
        fail(state, "First argument must be a number (log level).");
    }
    let level = match state.number(1) as i32 {
        0 => LogLevel::Debug,
        1 => LogLevel::Verbose,
        2 => LogLevel::Notice,
        3 => LogLevel::Warning,
        _ => fail(state, "Invalid debug level."),
    };
    let Some(run) = Shared::of(state).run() else { return 0 };
    run.buffers.clear_args();
    for index in 2..=count {
        match state.kind(index) {
            Kind::String | Kind::Number => run.buffers.push_word(state.bytes_of(index).unwrap_or_default(), index > 2),
            _ => {}
        }
    }
    run.log(level);
    0
}

/// `redis.breakpoint()`: nobody debugs this script.
fn breakpoint(state: State) -> i32 {
    state.push_boolean(false);
    1
}

/// `redis.debug(…)`: nobody listens.
fn debug(_: State) -> i32 {
    0
}

/// `redis.replicate_commands()`: effects are always told as commands.
fn replicate_commands(state: State) -> i32 {
    state.push_boolean(true);
    1
}
