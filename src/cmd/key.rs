//! Keys of any type: are they there, of what type, away with them.
//!
//! Commands on several keys act at one instant: DEL and UNLINK lock their keys together, EXISTS and TOUCH read them together.

use super::command::{Class, Command, Cx, Flow, KeySpec, acl, cmd, flag};
use crate::base::hash::Key;
use crate::keyspace::types::Type;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::{Change, Entry};

const SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

pub static ROWS: &[Command] = &[
    cmd("del", del)
        .arity(-2)
        .light()
        .flags(flag::WRITE)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::rest(1, 1, &["RM", "delete"])])
        .group("generic", "1.0.0")
        .tips(SUM),
    cmd("exists", exists)
        .arity(-2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::rest(1, 1, &["RO"])])
        .group("generic", "1.0.0")
        .tips(SUM),
    cmd("touch", touch)
        .arity(-2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::rest(1, 1, &["RO"])])
        .group("generic", "3.2.1")
        .tips(SUM),
    cmd("type", type_)
        .arity(2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::one(1, &["RO"])])
        .group("generic", "1.0.0"),
    cmd("unlink", del)
        .arity(-2)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::rest(1, 1, &["RM", "delete"])])
        .group("generic", "4.0.0")
        .tips(SUM),
];

/// Removes keys; replies how many there were. UNLINK is the same: values are always freed later.
/// Shape: `key [key …]`
fn del(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let removed = if args.count() == 2 {
        let key = cx.key(&args, 1);
        let (removed, is_minded) = cx.keys.update(key, |entry| match entry {
            Some(_) => (Change::Remove, (1, cx.effects.minds_end_of(entry))),
            None => (Change::Keep, (0, false)),
        });
        if is_minded {
            cx.effects.filled(cx.keys.db(), key.bytes);
        }
        if removed > 0 {
            cx.changed(key.bytes, Class::GENERIC, "del");
        }
        removed
    } else {
        let removed = del_together(cx, &args);
        for key in removed.iter().map(|&index| args.get(index + 1)) {
            cx.changed(key, Class::GENERIC, "del");
            cx.effects.filled(cx.keys.db(), key);
        }
        removed.len() as u64
    };
    cx.effects.dirty += removed;
    cx.reply.int(removed as i64);
    Ok(Flow::Done)
}

/// Returns which ones there were.
fn del_together(cx: &Cx<'_>, args: &Args<'_>) -> Vec<usize> {
    let keys: Vec<_> = (1..args.count()).map(|index| (cx.keys.db(), cx.key(args, index))).collect();
    cx.keys.transact(&keys, |txn| {
        let mut removed = Vec::new();
        for index in 0..keys.len() {
            // What is to be removed already has expired, or is a key that was named before.
            if txn.old(index).is_some() && matches!(txn.decision(index), Change::Keep) {
                txn.decide(index, Change::Remove);
                removed.push(index);
            }
        }
        removed
    })
}

/// Counts keys that exist; a key that is named twice counts twice.
/// Shape: `key [key …]`
fn exists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let count = if args.count() == 2 {
        cx.keys.inspect(cx.key(&args, 1)).is_some() as usize
    } else {
        find_together(cx, &args).len()
    };
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

/// Notes a use of keys; replies how many there are.
/// Shape: `key [key …]`
fn touch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let found = find_together(cx, &args);
    // Not `keys.touch`: this command touches for clients with NO-TOUCH, too.
    found.iter().for_each(|&entry| cx.keys.local.recency.touch(entry));
    cx.reply.int(found.len() as i64);
    Ok(Flow::Done)
}

/// The entries of the keys that exist, as they are at one instant. Counts hits and misses.
fn find_together<'a>(cx: &Cx<'a>, args: &Args<'_>) -> Vec<Entry<'a>> {
    let keys: Vec<Key<'_>> = (1..args.count()).map(|index| cx.key(args, index)).collect();
    let found: Vec<Option<Entry<'a>>> =
        cx.keys.snapshot(&keys, |entries| entries.iter().map(|&entry| cx.keys.live(entry)).collect());
    let missing: Vec<&[u8]> =
        found.iter().zip(&keys).filter(|(entry, _)| entry.is_none()).map(|(_, key)| key.bytes).collect();
    cx.keys.looked_up_all(keys.len(), missing.into_iter());
    found.into_iter().flatten().collect()
}

/// The type of a key's value, `none` if there is no such key.
fn type_(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let found = cx.keys.inspect(cx.key(&args, 1));
    cx.reply.simple(found.map_or("none", |entry| Type::of(entry).name()));
    Ok(Flow::Done)
}
