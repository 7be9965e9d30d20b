//! The stream family: logs of entries with growing ids, and groups of consumers that share the reading.
//!
//! What a stream is stands in `value::stream`. Here are the rows, and what the commands share: ids as clients write them,
//! and entries as replies.

mod add;
mod claim;
mod delete;
mod group;
mod info;
mod pending;
mod range;
mod read;
#[cfg(test)]
mod stream_test;

pub use claim::{Place, recorded_claim};

use super::command::{Begin, Command, Cx, Find, Handler, KeySpec, acl, cmd, flag};
use super::table;
use crate::admin::params::Id;
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Reply;
use crate::value::stream::{BlockLimits, Entry, IdBuffer, StreamId, c_string};
use smallvec::SmallVec;

const FAST_WRITE: u32 = flag::WRITE | flag::FAST;
const VARIES: &[&str] = &["nondeterministic_output"];

const fn row(name: &'static str, run: Handler, arity: i32, flags: u32, keys: &'static [KeySpec]) -> Command {
    cmd(name, run).arity(arity).flags(flags).acl(acl::STREAM).keys(keys).group("stream", "5.0.0")
}

/// A command whose keys stand behind the word STREAMS, the first half of what follows.
const fn reader(name: &'static str, run: Handler, arity: i32, flags: u32, keys: &'static [KeySpec]) -> Command {
    row(name, run, arity, flags | flag::BLOCKING, keys)
}

const fn help_row(run: Handler) -> Command {
    row("help", run, 2, flag::LOADING | flag::STALE, &[])
}

pub static ROWS: &[Command] = &[
    row("xack", delete::xack, -4, FAST_WRITE, &[KeySpec::one(1, &["RW", "update"])]),
    row("xackdel", delete::xackdel, -6, FAST_WRITE, &[KeySpec::one(1, &["RW", "update", "delete"])])
        .group("stream", "8.2.0"),
    row("xadd", add::xadd, -5, FAST_WRITE | flag::DENYOOM, &[KeySpec::one(1, &["RW", "update"])]).tips(VARIES),
    row("xautoclaim", claim::xautoclaim, -6, FAST_WRITE, &[KeySpec::one(1, &["RW", "delete"])])
        .group("stream", "6.2.0")
        .tips(VARIES),
    row("xclaim", claim::xclaim, -6, FAST_WRITE, &[KeySpec::one(1, &["RW", "update"])]).tips(VARIES),
    row("xdel", delete::xdel, -3, FAST_WRITE, &[KeySpec::one(1, &["RW", "delete"])]),
    row("xdelex", delete::xdelex, -5, FAST_WRITE, &[KeySpec::one(1, &["RW", "delete"])]).group("stream", "8.2.0"),
    cmd("xgroup", table::container).arity(-2).group("stream", "5.0.0").subs(&[
        row("create", group::create, -5, flag::WRITE | flag::DENYOOM, &[KeySpec::one(2, &["RW", "insert"])]),
        row(
            "createconsumer",
            group::createconsumer,
            5,
            flag::WRITE | flag::DENYOOM,
            &[KeySpec::one(2, &["RW", "insert"])],
        )
        .group("stream", "6.2.0"),
        row("delconsumer", group::delconsumer, 5, flag::WRITE, &[KeySpec::one(2, &["RW", "delete"])]),
        row("destroy", group::destroy, 4, flag::WRITE, &[KeySpec::one(2, &["RW", "delete"])]),
        help_row(group::xgroup_help),
        row("setid", group::setid, -5, flag::WRITE, &[KeySpec::one(2, &["RW", "update"])]),
    ]),
    cmd("xinfo", table::container).arity(-2).group("stream", "5.0.0").subs(&[
        row("consumers", info::consumers, 4, flag::READONLY, &[KeySpec::one(2, &["RO", "access"])]).tips(VARIES),
        row("groups", info::groups, 3, flag::READONLY, &[KeySpec::one(2, &["RO", "access"])]),
        help_row(info::xinfo_help),
        row("stream", info::stream, -3, flag::READONLY, &[KeySpec::one(2, &["RO", "access"])]),
    ]),
    row("xlen", range::xlen, 2, flag::READONLY | flag::FAST, &[KeySpec::one(1, &["RO"])]),
    row("xpending", pending::xpending, -3, flag::READONLY, &[KeySpec::one(1, &["RO", "access"])]).tips(VARIES),
    row("xrange", range::xrange, -4, flag::READONLY, &[KeySpec::one(1, &["RO", "access"])]),
    reader(
        "xread",
        read::xread,
        -4,
        flag::READONLY,
        &[KeySpec::new(Begin::Keyword("STREAMS", 1), Find::Range { last: -1, step: 1, limit: 2 }, &["RO", "access"])],
    ),
    reader(
        "xreadgroup",
        read::xreadgroup,
        -7,
        flag::WRITE,
        &[KeySpec::new(Begin::Keyword("STREAMS", 4), Find::Range { last: -1, step: 1, limit: 2 }, &["RO", "access"])],
    ),
    row("xrevrange", range::xrevrange, -4, flag::READONLY, &[KeySpec::one(1, &["RO", "access"])]),
    row("xsetid", add::xsetid, -3, FAST_WRITE | flag::DENYOOM, &[KeySpec::one(1, &["RW", "update"])]),
    row("xtrim", add::xtrim, -4, flag::WRITE, &[KeySpec::one(1, &["RW", "delete"])]).tips(VARIES),
];

const INVALID_ID: ReplyError = ReplyError::text("ERR Invalid stream ID specified as stream command argument");

/// An id that is written out; a number that is left out is `missing_seq`.
fn parse_id(text: &[u8], missing_seq: u64) -> Result<StreamId, ReplyError> {
    StreamId::parse(text, missing_seq).ok_or(INVALID_ID)
}

/// The same, or `-` and `+` for the smallest and the largest.
fn parse_open_id(text: &[u8], missing_seq: u64) -> Result<StreamId, ReplyError> {
    match c_string(text) {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse_id(text, missing_seq),
    }
}

/// The lower end of an interval: `id`, `-`, or `(id` for what lies above it.
fn parse_start(text: &[u8]) -> Result<StreamId, ReplyError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => {
            parse_id(id, 0)?.next().ok_or(ReplyError::text("ERR invalid start ID for the interval"))
        }
        _ => parse_open_id(text, 0),
    }
}

/// The upper end.
fn parse_end(text: &[u8]) -> Result<StreamId, ReplyError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => {
            parse_id(id, u64::MAX)?.prev().ok_or(ReplyError::text("ERR invalid end ID for the interval"))
        }
        _ => parse_open_id(text, u64::MAX),
    }
}

/// Ids of a command that does all or nothing.
type Ids = SmallVec<[StreamId; 8]>;

/// All arguments from `from` on, as ids.
fn parse_ids(args: Args<'_>, from: usize) -> Result<Ids, ReplyError> {
    args.iter_from(from).map(|text| parse_id(text, 0)).collect()
}

fn int(args: &Args<'_>, index: usize) -> Result<i64, ReplyError> {
    parse_i64(args.get(index)).ok_or(ReplyError::NotInteger)
}

/// How large blocks may become.
fn block_limits(cx: &Cx<'_>) -> BlockLimits {
    let limit = |id| cx.world.config.number(id) as u64;
    BlockLimits { bytes: limit(Id::STREAM_NODE_MAX_BYTES), entries: limit(Id::STREAM_NODE_MAX_ENTRIES) }
}

fn no_group(key: &[u8], group: &[u8]) -> ReplyError {
    ReplyError::owned(format!("NOGROUP No such key '{}' or consumer group '{}'", escaped(key), escaped(group)))
}

fn no_group_for_key(key: &[u8], group: &[u8]) -> ReplyError {
    ReplyError::owned(format!("NOGROUP No such consumer group '{}' for key name '{}'", escaped(group), escaped(key)))
}

/// A subcommand's arguments make no sense.
fn subcommand_syntax(args: &Args<'_>, container: &str) -> ReplyError {
    let word = escaped(args.get(1));
    ReplyError::owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP."
    ))
}

/// `[id, [field, value, …]]`
#[inline]
fn reply_entry(reply: &mut Reply, entry: &Entry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(2 * entry.field_count());
    for (name, value) in entry.fields() {
        reply.bulk(name);
        reply.bulk(value);
    }
}

#[inline]
fn reply_id(reply: &mut Reply, id: StreamId) {
    reply.bulk(IdBuffer::new().format(id));
}

/// An array of as many items as `write` says that it wrote; `expected` is a guess, which costs nothing if it is right.
fn reply_array(reply: &mut Reply, expected: usize, write: impl FnOnce(&mut Reply) -> usize) {
    let start = reply.out.buf.len();
    reply.array(expected);
    let end = reply.out.buf.len();
    let count = write(reply);
    if count != expected {
        let mut head = Reply::default();
        head.array(count);
        reply.out.buf.splice(start..end, head.out.buf);
    }
}

/// Tells those who wait for the key of argument `index` to look again.
fn filled(cx: &mut Cx<'_>, args: &Args<'_>, index: usize) {
    cx.effects.filled(cx.keys.db(), args.get(index));
}
