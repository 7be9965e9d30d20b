//! OBJECT: how a value is kept.

use super::command::{Command, Cx, Flow, Handler, KeySpec, acl, cmd, flag};
use super::help::help;
use super::table;
use crate::admin::params::Id;
use crate::keyspace::types::encoding_name;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::{Entry, Payload};

const KEYS: &[KeySpec] = &[KeySpec::one(2, &["RO"])];

const fn row(name: &'static str, run: Handler, since: &'static str) -> Command {
    cmd(name, run)
        .arity(3)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(KEYS)
        .group("generic", since)
        .tips(&["nondeterministic_output"])
}

pub static ROWS: &[Command] = &[cmd("object", table::container).arity(-2).group("generic", "2.2.3").subs(&[
    row("encoding", encoding, "2.2.3"),
    row("freq", freq, "4.0.0"),
    cmd("help", object_help).arity(2).flags(flag::LOADING | flag::STALE).acl(acl::KEYSPACE).group("generic", "6.2.0"),
    row("idletime", idletime, "2.2.3"),
    row("refcount", refcount, "2.2.3"),
])];

/// Redis keeps these integers once and shares them. Source: OBJ_SHARED_INTEGERS.
const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;
/// What Redis says of the references to a shared object. Source: OBJ_SHARED_REFCOUNT.
const SHARED_REFCOUNT: i64 = i32::MAX as i64;

/// Replies with what `tell` says of a key's entry, or null if there is no such key.
fn about(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    tell: impl FnOnce(&mut Cx<'_>, Entry<'_>) -> Result<(), ReplyError>,
) -> Result<Flow, ReplyError> {
    match cx.keys.inspect_quietly(cx.key(args, 2)) {
        Some(entry) => tell(cx, entry)?,
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

/// The name of the encoding.
fn encoding(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let key = cx.key(&args, 2);
    about(cx, &args, |cx, _| {
        match cx.keys.ask(key, encoding_name) {
            Some(name) => cx.reply.bulk(name.as_bytes()),
            None => cx.reply.null(),
        }
        Ok(())
    })
}

/// The logarithmic count of uses.
/// Errors: it is the idle time that is kept.
fn freq(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    about(cx, &args, |cx, entry| {
        if !cx.keys.local.recency.is_lfu() {
            return Err(ReplyError::text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        cx.reply.int(cx.keys.local.recency.frequency(entry) as i64);
        Ok(())
    })
}

/// Seconds since the last use.
/// Errors: it is the count of uses that is kept.
fn idletime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    about(cx, &args, |cx, entry| {
        if cx.keys.local.recency.is_lfu() {
            return Err(ReplyError::text(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
                 between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        cx.reply.int(cx.keys.local.recency.idle_seconds(entry) as i64);
        Ok(())
    })
}

/// References to the value, as Redis would count them: nothing is shared here, but programs look at small integers. Where each
/// value's use is looked at, Redis shares none.
fn refcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let policy = cx.world.config.word(Id::MAXMEMORY_POLICY);
    let is_use_noted = policy.ends_with("-lru") || policy.ends_with("-lfu");
    let shares = !is_use_noted || cx.world.config.number(Id::MAXMEMORY) == 0;
    about(cx, &args, |cx, entry| {
        let is_shared = matches!(entry.payload(), Payload::Cell(value) if SHARED_INTEGERS.contains(&value));
        cx.reply.int(if is_shared && shares { SHARED_REFCOUNT } else { 1 });
        Ok(())
    })
}

/// The subcommands.
fn object_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "OBJECT",
        &[
            ("ENCODING <key>", "The name of the representation in which the value is kept."),
            (
                "FREQ <key>",
                "The logarithm of how often the key was used lately, less the decay.\nNeeds an LFU maxmemory-policy.",
            ),
            ("IDLETIME <key>", "Seconds since the key was last used.\nNeeds any other maxmemory-policy."),
            ("REFCOUNT <key>", "References to the value."),
        ],
    );
    Ok(Flow::Done)
}
