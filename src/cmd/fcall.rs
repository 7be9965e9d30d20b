//! FCALL: calling a function of a library.
//!
//! It runs as EVAL's scripts do (`exec::script`), with the keys and the other arguments as its two parameters.

use super::alone::{Alone, FunctionJob};
use super::command::{Begin, Command, Cx, Find, Flow, KeySpec, acl, cmd, flag};
use crate::base::num::parse_i64;
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::error::ReplyError;
use crate::script::shebang::Flags;

const COUNTED: Find = Find::Count { num: 0, first: 1, step: 1 };
const CHANGES: &[KeySpec] = &[KeySpec::new(Begin::Index(2), COUNTED, &["RW", "access", "update"])];
const READS: &[KeySpec] = &[KeySpec::new(Begin::Index(2), COUNTED, &["RO", "access"])];

const RUNS: u32 =
    flag::NOSCRIPT | flag::STALE | flag::SKIP_MONITOR | flag::NO_MANDATORY_KEYS | flag::MOVABLE_KEYS | flag::ALONE;

pub static ROWS: &[Command] = &[
    cmd("fcall", fcall)
        .arity(-3)
        .flags(RUNS | flag::MAY_REPLICATE)
        .acl(acl::SCRIPTING)
        .keys(CHANGES)
        .group("scripting", "7.0.0"),
    cmd("fcall_ro", fcall_ro)
        .arity(-3)
        .flags(RUNS | flag::READONLY)
        .acl(acl::SCRIPTING)
        .keys(READS)
        .group("scripting", "7.0.0"),
];

/// Calls a function.
/// Shape:  `function numkeys key… arg…`
/// Errors: there is none of this name; numkeys; what it declares is forbidden here.
fn fcall(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    call(cx, args, false)
}

/// Calls a function that must not write.
fn fcall_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    call(cx, args, true)
}

fn call(cx: &mut Cx<'_>, args: Args<'_>, is_read_only: bool) -> Result<Flow, ReplyError> {
    let found = cx.effects.functions.find(&cx.world.functions, args.get(1))?;
    let (chunk, library, place) = found.ok_or(ReplyError::text("ERR Function not found"))?;
    let key_count = key_count(&args)?;
    let function = &library.functions[place];
    let says_no_writes = function.flags.has(Flags::NO_WRITES);
    if is_read_only && !says_no_writes {
        return Err(ReplyError::text("ERR Can not execute a script with write flag using *_ro command."));
    }
    let name = String::from_utf8_lossy(&function.name).into();
    let (args, is_read_only) = (OwnedArgs::of(args), is_read_only || says_no_writes);
    let allows_oom = says_no_writes || function.flags.has(Flags::ALLOW_OOM);
    cx.effects.alone =
        Some(Alone::Function(Box::new(FunctionJob { chunk, name, args, key_count, is_read_only, allows_oom })));
    Ok(Flow::Alone)
}

/// The number of keys, of those arguments that follow it.
fn key_count(args: &Args<'_>) -> Result<usize, ReplyError> {
    let count = parse_i64(args.get(2)).ok_or(ReplyError::text("ERR Bad number of keys provided"))?;
    if count > args.count() as i64 - 3 {
        return Err(ReplyError::text("ERR Number of keys can't be greater than number of args"));
    }
    usize::try_from(count).map_err(|_| ReplyError::text("ERR Number of keys can't be negative"))
}
