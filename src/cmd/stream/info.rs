//! XINFO: what is known of a stream, its groups and their consumers.

use super::range::reply_entries;
use super::{int, no_group_for_key, reply_array, reply_entry, reply_id, subcommand_syntax};
use crate::cmd::command::{Cx, Flow};
use crate::cmd::help::help;
use crate::keyspace::objects::Reading;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::value::stream::{ConsumerId, Entry, Group, Log, Stream, StreamId};

/// Entries and pending entries that FULL shows if COUNT does not say.
const COUNT_DEFAULT: i64 = 10;

/// The stream of argument 2, which must be there.
fn look<'t>(cx: &Cx<'t>, args: &Args<'_>) -> Result<Reading<'t, Stream>, ReplyError> {
    cx.keys.look(cx.key(args, 2))?.ok_or(ReplyError::NoSuchKey)
}

fn reply_or_null(reply: &mut Reply, value: Option<i64>) {
    match value {
        Some(value) => reply.int(value),
        None => reply.null(),
    }
}

/// A line of a map: `name` and a number.
fn number(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.int(value);
}

/// The same with an id.
fn id(reply: &mut Reply, name: &str, id: StreamId) {
    reply.bulk(name.as_bytes());
    reply_id(reply, id);
}

/// Reply about a stream.
/// Shape:  key [FULL [COUNT count]]; a count of 0 shows everything.
/// Errors: no such key, type; then the options.
pub(super) fn stream(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let stream = look(cx, &args)?;
    let full = parse_full(&args)?;
    let (reply, log) = (&mut *cx.reply, stream.log());
    reply.map(if full.is_some() { 9 } else { 10 });
    number(reply, "length", log.len() as i64);
    number(reply, "radix-tree-keys", stream.block_count() as i64);
    number(reply, "radix-tree-nodes", stream.node_count() as i64);
    id(reply, "last-generated-id", log.last_id());
    id(reply, "max-deleted-entry-id", log.max_deleted_id());
    number(reply, "entries-added", log.entries_added() as i64);
    id(reply, "recorded-first-entry-id", log.first_id());
    match full {
        Some(count) => reply_contents(reply, &stream, count),
        None => {
            number(reply, "groups", stream.group_count() as i64);
            reply.bulk(b"first-entry");
            reply_end(reply, log.range(StreamId::MIN, StreamId::MAX).next());
            reply.bulk(b"last-entry");
            reply_end(reply, log.range_back(StreamId::MIN, StreamId::MAX).next());
        }
    }
    Ok(Flow::Done)
}

fn reply_end(reply: &mut Reply, entry: Option<Entry<'_>>) {
    match entry {
        Some(entry) => reply_entry(reply, &entry),
        None => reply.null(),
    }
}

/// The count of `FULL [COUNT count]`; None without FULL.
fn parse_full(args: &Args<'_>) -> Result<Option<usize>, ReplyError> {
    let count = match args.count() {
        3 => return Ok(None),
        4 if args.is(3, "full") => COUNT_DEFAULT,
        6 if args.is(3, "full") && args.is(4, "count") => int(args, 5)?,
        _ => return Err(subcommand_syntax(args, "XINFO")),
    };
    Ok(Some(match count {
        0 => usize::MAX,
        ..0 => COUNT_DEFAULT as usize,
        _ => count as usize,
    }))
}

/// FULL: entries, and groups with what is pending.
fn reply_contents(reply: &mut Reply, stream: &Stream, count: usize) {
    let log = stream.log();
    reply.bulk(b"entries");
    reply_entries(reply, count.min(log.len() as usize), log.range(StreamId::MIN, StreamId::MAX));
    reply.bulk(b"groups");
    reply.array(stream.group_count());
    for (name, group) in stream.groups() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        reply_progress(reply, log, group);
        number(reply, "pel-count", group.pending_count() as i64);
        reply.bulk(b"pending");
        let shown = count.min(group.pending_count());
        reply.array(shown);
        for (id, pending) in group.pending_from(StreamId::MIN).take(shown) {
            reply.array(4);
            reply_id(reply, id);
            reply.bulk(group.consumer(pending.owner).name());
            reply.int(pending.delivered_at.0 as i64);
            reply.int(pending.count);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumer_count());
        group.consumers().for_each(|(id, _)| reply_consumer(reply, group, id, count));
    }
}

/// Three lines: how far a group has read.
fn reply_progress(reply: &mut Reply, log: &Log, group: &Group) {
    id(reply, "last-delivered-id", group.last_id);
    reply.bulk(b"entries-read");
    reply_or_null(reply, group.entries_read);
    reply.bulk(b"lag");
    reply_or_null(reply, group.lag(log));
}

/// FULL: a consumer with what it has pending.
fn reply_consumer(reply: &mut Reply, group: &Group, id: ConsumerId, count: usize) {
    let consumer = group.consumer(id);
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    number(reply, "seen-time", consumer.seen_at.0 as i64);
    number(reply, "active-time", consumer.active_at.map_or(-1, |at| at.0 as i64));
    number(reply, "pel-count", consumer.pending_count() as i64);
    reply.bulk(b"pending");
    let shown = count.min(consumer.pending_count());
    reply_array(reply, shown, |reply| {
        let pending = group.pending_of(id, StreamId::MIN).take(shown);
        pending
            .map(|(id, pending)| {
                reply.array(3);
                reply_id(reply, id);
                reply.int(pending.delivered_at.0 as i64);
                reply.int(pending.count);
            })
            .count()
    });
}

/// Reply about the groups of a stream.
/// Shape:  key
pub(super) fn groups(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let stream = look(cx, &args)?;
    let reply = &mut *cx.reply;
    reply.array(stream.group_count());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        number(reply, "consumers", group.consumer_count() as i64);
        number(reply, "pending", group.pending_count() as i64);
        reply_progress(reply, stream.log(), group);
    }
    Ok(Flow::Done)
}

/// Reply about the consumers of a group.
/// Shape:  key group
pub(super) fn consumers(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now;
    let stream = look(cx, &args)?;
    let group = stream.group(args.get(3)).ok_or_else(|| no_group_for_key(args.get(2), args.get(3)))?;
    let reply = &mut *cx.reply;
    reply.array(group.consumer_count());
    for (_, consumer) in group.consumers() {
        let since = |at: crate::base::clock::WallMs| now.0.saturating_sub(at.0) as i64;
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        number(reply, "pending", consumer.pending_count() as i64);
        number(reply, "idle", since(consumer.seen_at));
        number(reply, "inactive", consumer.active_at.map_or(-1, since));
    }
    Ok(Flow::Done)
}

/// The subcommands.
pub(super) fn xinfo_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "XINFO",
        &[
            ("CONSUMERS <key> <groupname>", "The consumers of a group."),
            ("GROUPS <key>", "The groups of a stream."),
            ("STREAM <key> [FULL [COUNT <count>]", "The stream itself; with FULL, its entries and groups, too."),
        ],
    );
    Ok(Flow::Done)
}
