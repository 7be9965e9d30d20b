//! EVAL and its kin, and SCRIPT: what is checked before a script runs, and the cache.
//!
//! A script runs while everything else stands still, or while its keys are held (`alone`); what it may call is decided there,
//! command by command (`exec::script`).

use super::alone::{Alone, ScriptJob};
use super::command::{Begin, Command, Cx, Find, Flow, Handler, KeySpec, acl, cmd, flag};
use super::help::help;
use super::scripts::{Compiled, NO_SCRIPT};
use super::table;
use super::world::World;
use crate::admin::params::Id;
use crate::base::num::parse_i64;
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::error::ReplyError;
use crate::script::shebang::{self, Flags};
use std::rc::Rc;

const COUNTED: Find = Find::Count { num: 0, first: 1, step: 1 };
const CHANGES: &[KeySpec] = &[KeySpec::new(Begin::Index(2), COUNTED, &["RW", "access", "update"])];
const READS: &[KeySpec] = &[KeySpec::new(Begin::Index(2), COUNTED, &["RO", "access"])];

const RUNS: u32 =
    flag::NOSCRIPT | flag::STALE | flag::SKIP_MONITOR | flag::NO_MANDATORY_KEYS | flag::MOVABLE_KEYS | flag::ALONE;

const fn run(name: &'static str, run: Handler, since: &'static str) -> Command {
    cmd(name, run).arity(-3).acl(acl::SCRIPTING).group("scripting", since)
}

const fn sub(name: &'static str, run: Handler, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(flags).acl(acl::SCRIPTING).group("scripting", since)
}

const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

pub static ROWS: &[Command] = &[
    run("eval", eval, "2.6.0").flags(RUNS | flag::MAY_REPLICATE).keys(CHANGES),
    run("eval_ro", eval_ro, "7.0.0").flags(RUNS | flag::READONLY).keys(READS),
    run("evalsha", evalsha, "2.6.0").flags(RUNS | flag::MAY_REPLICATE).keys(CHANGES),
    run("evalsha_ro", evalsha_ro, "7.0.0").flags(RUNS | flag::READONLY).keys(READS),
    cmd("script", table::container).arity(-2).group("scripting", "2.6.0").subs(&[
        sub("debug", script_debug, 3, flag::NOSCRIPT, "3.2.0"),
        sub("exists", script_exists, -3, flag::NOSCRIPT, "2.6.0")
            .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"]),
        sub("flush", script_flush, -2, flag::NOSCRIPT, "2.6.0").tips(EVERYWHERE),
        sub("help", script_help, 2, flag::LOADING | flag::STALE, "5.0.0"),
        sub("kill", script_kill, 2, flag::NOSCRIPT | flag::ALLOW_BUSY, "2.6.0")
            .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
        sub("load", script_load, 3, flag::NOSCRIPT | flag::STALE, "2.6.0").tips(EVERYWHERE),
        sub("show", script_show, 3, flag::NOSCRIPT, "8.0.0"),
    ]),
];

/// Runs a script.
/// Shape:  `script numkeys key… arg…`
/// Errors: numkeys; the script's first line or text; what it declares is forbidden here.
fn eval(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    eval_as(cx, args, false)
}

/// Runs a script that must not write.
fn eval_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    eval_as(cx, args, true)
}

fn eval_as(cx: &mut Cx<'_>, args: Args<'_>, is_read_only: bool) -> Result<Flow, ReplyError> {
    let key_count = key_count(&args)?;
    let found = cx.effects.scripts.define(&cx.world.scripts, args.get(1), false)?;
    start(cx, found, args, key_count, is_read_only)
}

/// Runs a script of the cache.
/// Errors: as EVAL; there is no such script.
fn evalsha(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    evalsha_as(cx, args, false)
}

fn evalsha_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    evalsha_as(cx, args, true)
}

fn evalsha_as(cx: &mut Cx<'_>, args: Args<'_>, is_read_only: bool) -> Result<Flow, ReplyError> {
    let sha = args.get(1).to_ascii_lowercase().try_into().map_err(|_| NO_SCRIPT)?;
    let key_count = key_count(&args)?;
    let found = cx.effects.scripts.find(&cx.world.scripts, &sha).ok_or(NO_SCRIPT)?;
    start(cx, found, args, key_count, is_read_only)
}

/// The number of keys, of those arguments that follow it.
fn key_count(args: &Args<'_>) -> Result<usize, ReplyError> {
    let count = parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)?;
    if count > args.count() as i64 - 3 {
        return Err(ReplyError::text("ERR Number of keys can't be greater than number of args"));
    }
    usize::try_from(count).map_err(|_| ReplyError::text("ERR Number of keys can't be negative"))
}

/// Leaves the script to be run where nobody is in its way.
fn start(
    cx: &mut Cx<'_>,
    script: Rc<Compiled>,
    args: Args<'_>,
    key_count: usize,
    is_read_only: bool,
) -> Result<Flow, ReplyError> {
    let says_no_writes = script.flags.is_some_and(|flags| flags.has(Flags::NO_WRITES));
    if is_read_only && script.flags.is_some() && !says_no_writes {
        return Err(ReplyError::text("ERR Can not execute a script with write flag using *_ro command."));
    }
    let is_read_only = is_read_only || says_no_writes;
    let allows_oom = script.flags.map(|flags| flags.has(Flags::NO_WRITES) || flags.has(Flags::ALLOW_OOM));
    let args = OwnedArgs::of(args);
    let job = ScriptJob { script, args, key_count, is_read_only, allows_oom };
    cx.effects.alone = Some(Alone::Script(Box::new(job)));
    Ok(Flow::Alone)
}

/// Which of these are in the cache.
fn script_exists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.array(args.count() - 2);
    for sha in args.iter_from(2) {
        let sha = sha.to_ascii_lowercase().try_into().ok();
        cx.reply.int(sha.is_some_and(|sha| cx.world.scripts.get(&sha).is_some()) as i64);
    }
    Ok(Flow::Done)
}

/// Brings a script into the cache, to stay there.
/// Errors: its first line or text.
fn script_load(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let script = cx.effects.scripts.define(&cx.world.scripts, args.get(2), true)?;
    cx.reply.bulk(&script.sha);
    Ok(Flow::Done)
}

/// The source of a script of the cache.
fn script_show(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let sha = args.get(2).to_ascii_lowercase().try_into().map_err(|_| NO_SCRIPT)?;
    let script = cx.world.scripts.get(&sha).ok_or(NO_SCRIPT)?;
    cx.reply.bulk(&script.source);
    Ok(Flow::Done)
}

/// Empties the cache.
/// Shape: `[ASYNC | SYNC]`: either way sources are freed at once, and each loop's interpreter when it next runs a script.
fn script_flush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() > 3 || args.count() == 3 && !args.is(2, "async") && !args.is(2, "sync") {
        return Err(ReplyError::text("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    cx.world.scripts.flush();
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Ends a script that runs too long.
fn script_kill(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.world.scripts.busy.kill(false)?;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// There is no debugger here to be switched on.
fn script_debug(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    match args.get(2).to_ascii_lowercase().as_slice() {
        b"no" => cx.reply.ok(),
        b"yes" | b"sync" => return Err(ReplyError::text("ERR this server has no debugger for scripts")),
        _ => return Err(ReplyError::text("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
    }
    Ok(Flow::Done)
}

fn script_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let entries = [
        ("DEBUG (YES|SYNC|NO)", "There is no debugger: NO is all that it takes."),
        ("EXISTS <sha1> [<sha1> ...]", "Which of these scripts are in the cache."),
        ("FLUSH [ASYNC|SYNC]", "Empty the script cache."),
        ("KILL", "End a script that runs too long and has not written."),
        ("LOAD <script>", "Bring a script into the cache without running it."),
        ("SHOW <sha1>", "The source of a script of the cache."),
    ];
    help(cx.reply, "SCRIPT", &entries);
    Ok(Flow::Done)
}

/// The flags of EVAL, FCALL and their kin with this script or function: what that declares takes the place of what the row
/// says. Without a first line that declares something, or without such a script, the row's.
/// Source: `scriptFlagsToCmdFlags` of Redis: whoever may write needs memory, too, unless `allow-oom`.
pub fn declared_flags(row: &Command, args: &Args<'_>, world: &World) -> u32 {
    let declared = match row.name {
        "eval" | "eval_ro" => shebang::parse(args.get(1)).ok().and_then(|header| header.flags),
        "evalsha" | "evalsha_ro" => {
            let sha = args.get(1).to_ascii_lowercase().try_into().ok();
            sha.and_then(|sha| world.scripts.get(&sha)).and_then(|script| script.flags)
        }
        "fcall" | "fcall_ro" => {
            let catalogue = world.functions.catalogue();
            catalogue.function(args.get(1)).map(|(library, place)| library.functions[*place].flags)
        }
        _ => None,
    };
    let Some(declared) = declared else { return row.flags };
    let kept = row.flags & !(flag::STALE | flag::DENYOOM | flag::WRITE | flag::MAY_REPLICATE);
    let writes = !declared.has(Flags::NO_WRITES);
    let may_fill = writes && !declared.has(Flags::ALLOW_OOM);
    let when = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
    kept | when(declared.has(Flags::ALLOW_STALE), flag::STALE)
        | when(writes, flag::WRITE)
        | when(may_fill, flag::DENYOOM)
}

/// How long a script may run before the others are let go on, in milliseconds; None: for ever.
pub fn patience_ms(world: &World) -> Option<u64> {
    u64::try_from(world.config.number(Id::BUSY_REPLY_THRESHOLD)).ok().filter(|&ms| ms > 0)
}
