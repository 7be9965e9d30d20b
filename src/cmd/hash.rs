//! The hash family: fields of one key, read and written one by one or together.
//!
//! Random fields and scanning are in `hash_pick`, the deadlines of fields in `hash_expire`.

use super::command::{Class, Command, Cx, Flow, KeySpec, acl, cmd, flag};
use super::edit::int;
use super::gradual::{self, unless_long};
use super::hash_pick;
use crate::admin::params::Id;
use crate::base::clock::WallMs;
use crate::base::num::parse_i64;
use crate::keyspace::objects::{Reading, Writing};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::value::hash::{Deadline, EVEN_THE_DEAD, Hash, Limits};
use crate::value::long_double::{LongDouble, Parsed};
use crate::value::object::Collection;
use crate::value::pack::Piece;

pub static ROWS: &[Command] = &[
    cmd("hset", hset)
        .element(2)
        .arity(-4)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RW", "update"])])
        .group("hash", "2.0.0"),
    cmd("hsetnx", hsetnx)
        .element(2)
        .arity(4)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RW", "insert"])])
        .group("hash", "2.0.0"),
    cmd("hget", hget)
        .element(2)
        .arity(3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("hash", "2.0.0"),
    cmd("hmset", hmset)
        .element(2)
        .arity(-4)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RW", "update"])])
        .group("hash", "2.0.0")
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs"),
    cmd("hmget", hmget)
        .element(2)
        .arity(-3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("hash", "2.0.0"),
    cmd("hincrby", hincrby)
        .element(2)
        .arity(4)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("hash", "2.0.0"),
    cmd("hincrbyfloat", hincrbyfloat)
        .element(2)
        .arity(4)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("hash", "2.6.0"),
    cmd("hdel", hdel)
        .element(2)
        .arity(-3)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RW", "delete"])])
        .group("hash", "2.0.0"),
    cmd("hlen", hlen)
        .arity(2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO"])])
        .group("hash", "2.0.0"),
    cmd("hstrlen", hstrlen)
        .element(2)
        .arity(3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO"])])
        .group("hash", "3.2.0"),
    cmd("hkeys", hkeys)
        .arity(2)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("hash", "2.0.0")
        .tips(&["nondeterministic_output_order"]),
    cmd("hvals", hvals)
        .arity(2)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("hash", "2.0.0")
        .tips(&["nondeterministic_output_order"]),
    cmd("hgetall", hgetall)
        .arity(2)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("hash", "2.0.0")
        .tips(&["nondeterministic_output_order"]),
    cmd("hexists", hexists)
        .element(2)
        .arity(3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO"])])
        .group("hash", "2.0.0"),
    cmd("hrandfield", hash_pick::hrandfield)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("hash", "6.2.0")
        .tips(&["nondeterministic_output"]),
    cmd("hscan", hash_pick::hscan)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("hash", "2.8.0")
        .tips(&["nondeterministic_output"]),
];

/// Up to where hashes stay packs, as configured.
#[inline]
pub(super) fn limits(cx: &Cx<'_>) -> Limits {
    let config = &cx.world.config;
    Limits {
        entries: config.number(Id::HASH_MAX_LISTPACK_ENTRIES) as usize,
        value_len: config.number(Id::HASH_MAX_LISTPACK_VALUE) as usize,
    }
}

/// The hash of argument 1, to be read.
#[inline]
pub(super) fn look<'a>(cx: &Cx<'a>, args: &Args<'_>) -> Result<Option<Reading<'a, Hash>>, ReplyError> {
    Ok(cx.keys.look::<Hash>(cx.key(args, 1))?)
}

/// Some of the fields that are named from argument 2 on were not found: those that are past their deadline go now.
#[inline]
fn note_missed(cx: &Cx<'_>, args: &Args<'_>, hash: Option<Reading<'_, Hash>>) {
    if hash.is_some_and(|hash| hash.has_overdue(cx.keys.now)) {
        cx.keys.expire_met(cx.key(args, 1), || args.iter_from(2));
    }
}

/// The hash of argument 1, to be changed; an empty one if it is absent.
#[inline]
pub(super) fn create<'a>(cx: &Cx<'a>, args: &Args<'_>) -> Result<Writing<'a, Hash>, ReplyError> {
    Ok(cx.keys.open_or_create::<Hash>(cx.key(args, 1))?)
}

#[inline]
pub(super) fn reply_piece(reply: &mut Reply, piece: Piece<'_>) {
    match piece {
        Piece::Bytes(bytes) => reply.bulk(bytes),
        Piece::Int(value) => reply.bulk_int(value),
    }
}

#[inline]
pub(super) fn reply_optional(reply: &mut Reply, piece: Option<Piece<'_>>) {
    match piece {
        Some(piece) => reply_piece(reply, piece),
        None => reply.null(),
    }
}

/// Give fields values; reply how many are new.
/// Shape:  key (field value)+
/// Errors: a name without a value, before any write.
fn hset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let new_count = set_pairs(cx, &args, "ERR wrong number of arguments for 'hset' command")?;
    cx.reply.int(new_count);
    Ok(Flow::Done)
}

/// Give fields values.
/// Shape: key (field value)+
fn hmset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    set_pairs(cx, &args, "ERR wrong number of arguments for 'hmset' command")?;
    cx.reply.ok();
    Ok(Flow::Done)
}

#[inline]
fn set_pairs(cx: &mut Cx<'_>, args: &Args<'_>, bad_arity: &'static str) -> Result<i64, ReplyError> {
    if !args.count().is_multiple_of(2) {
        return Err(ReplyError::text(bad_arity));
    }
    let (limits, now) = (limits(cx), cx.keys.now);
    let mut hash = create(cx, args)?;
    let mut new_count = 0;
    for at in (2..args.count()).step_by(2) {
        new_count += hash.set(args.get(at), args.get(at + 1), Deadline::Clear, limits, now) as i64;
    }
    cx.changed(args.get(1), Class::HASH, "hset");
    cx.effects.dirty += (args.count() - 2) as u64 / 2;
    Ok(new_count)
}

/// Give a field a value if it is not there.
/// Shape: key field value
fn hsetnx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (limits, now) = (limits(cx), cx.keys.now);
    let mut hash = create(cx, &args)?;
    let is_absent = !hash.contains(args.get(2), now);
    if is_absent {
        hash.set(args.get(2), args.get(3), Deadline::Clear, limits, now);
        cx.changed(args.get(1), Class::HASH, "hset");
        cx.effects.dirty += 1;
    }
    cx.reply.int(is_absent as i64);
    Ok(Flow::Done)
}

/// The value of a field.
fn hget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let hash = look(cx, &args)?;
    let value = hash.as_ref().and_then(|hash| hash.get(args.get(2), cx.keys.now));
    let is_missed = value.is_none();
    reply_optional(cx.reply, value);
    if is_missed {
        note_missed(cx, &args, hash);
    }
    Ok(Flow::Done)
}

/// The values of fields, null for what is not there.
/// Shape: key field+
fn hmget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let hash = look(cx, &args)?;
    cx.reply.array(args.count() - 2);
    let mut is_any_missed = false;
    for name in args.iter_from(2) {
        let value = hash.as_ref().and_then(|hash| hash.get(name, cx.keys.now));
        is_any_missed |= value.is_none();
        reply_optional(cx.reply, value);
    }
    if is_any_missed {
        note_missed(cx, &args, hash);
    }
    Ok(Flow::Done)
}

/// Add an integer to a field; one that is not there counts as 0. Its deadline stays.
/// Shape:  key field increment
/// Errors: NotInteger for the increment, a value that is none, IncrOverflow; nothing has changed then.
fn hincrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let delta = int(&args, 3)?;
    let sum = edit_value(cx, &args, "hincrby", |old| {
        let old = match old {
            None => 0,
            Some(Piece::Int(value)) => value,
            Some(Piece::Bytes(text)) => parse_i64(text).ok_or(ReplyError::text("ERR hash value is not an integer"))?,
        };
        let sum = old.checked_add(delta).ok_or(ReplyError::IncrOverflow)?;
        Ok((sum, sum.to_string()))
    })?;
    cx.reply.int(sum);
    Ok(Flow::Done)
}

/// Add a floating point number with the precision of C's `long double`; reply the sum.
/// Shape:  key field increment
/// Errors: NotFloat for the increment, one that is not finite, a value that is none, a sum that is not finite.
fn hincrbyfloat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let Parsed::Finite(increment) = LongDouble::parse(args.get(3)).ok_or(ReplyError::NotFloat)? else {
        return Err(ReplyError::text("ERR value is NaN or Infinity"));
    };
    let text = edit_value(cx, &args, "hincrbyfloat", |old| {
        let old = match old {
            None => Some(Parsed::Finite(LongDouble::ZERO)),
            Some(Piece::Int(value)) => Some(Parsed::Finite(LongDouble::from_i64(value))),
            Some(Piece::Bytes(text)) => LongDouble::parse(text),
        };
        let sum = match old.ok_or(ReplyError::text("ERR hash value is not a float"))? {
            Parsed::Finite(old) => old.checked_add(increment),
            _ => None,
        };
        let text = sum.ok_or(ReplyError::text("ERR increment would produce NaN or Infinity"))?.text();
        Ok((text.clone(), text))
    })?;
    cx.reply.bulk(text.as_bytes());
    Ok(Flow::Done)
}

/// Replaces the value of the field in argument 2 by the text that `edit` makes of it; keeps its deadline. If `edit` fails
/// nothing changes: a hash that was made for this is empty and goes.
fn edit_value<R>(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    event: &'static str,
    edit: impl FnOnce(Option<Piece<'_>>) -> Result<(R, String), ReplyError>,
) -> Result<R, ReplyError> {
    let (limits, now) = (limits(cx), cx.keys.now);
    let mut hash = create(cx, args)?;
    if hash.is_overdue(args.get(2), now) {
        drop(hash);
        cx.keys.expire_met(cx.key(args, 1), || std::iter::once(args.get(2)));
        hash = create(cx, args)?;
    }
    let (result, text) = edit(hash.get(args.get(2), now))?;
    hash.set(args.get(2), text.as_bytes(), Deadline::Keep, limits, now);
    cx.changed(args.get(1), Class::HASH, event);
    if event == "hincrbyfloat" {
        propagate_sum(cx, args, &text, hash.deadline(args.get(2), now).flatten());
    }
    cx.effects.dirty += 1;
    Ok(result)
}

/// A sum of floating point numbers is recorded, not the sum's making; a field's deadline is set again, which HSET takes away.
fn propagate_sum(cx: &Cx<'_>, args: &Args<'_>, text: &str, deadline: Option<WallMs>) {
    let (key, field) = (args.get(1), args.get(2));
    cx.propagate(&[b"HSET", key, field, text.as_bytes()]);
    if let Some(at) = deadline {
        let mut digits = itoa::Buffer::new();
        cx.propagate(&[b"HPEXPIREAT", key, digits.format(at.0).as_bytes(), b"FIELDS", b"1", field]);
    }
}

/// Remove fields; reply how many there were, those past their deadline included, as in Redis.
/// Shape: key field+
fn hdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut removed = 0;
    if let Some(mut hash) = cx.keys.open::<Hash>(cx.key(&args, 1))? {
        removed = args.iter_from(2).filter(|name| hash.remove(name, EVEN_THE_DEAD)).count();
        if removed > 0 {
            cx.reduced(args.get(1), Class::HASH, "hdel", hash.is_empty());
        }
    }
    cx.effects.dirty += removed as u64;
    cx.reply.int(removed as i64);
    Ok(Flow::Done)
}

/// Number of fields, those past their deadline included until they are removed, as in Redis.
fn hlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let hash = look(cx, &args)?;
    cx.reply.int(hash.map_or(0, |hash| hash.len(EVEN_THE_DEAD)) as i64);
    Ok(Flow::Done)
}

/// Length of a field's value.
fn hstrlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let hash = look(cx, &args)?;
    let value = hash.as_ref().and_then(|hash| hash.get(args.get(2), cx.keys.now));
    let is_missed = value.is_none();
    cx.reply.int(value.map_or(0, Piece::len) as i64);
    if is_missed {
        note_missed(cx, &args, hash);
    }
    Ok(Flow::Done)
}

/// Is there such a field?
fn hexists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let hash = look(cx, &args)?;
    let is_there = hash.as_ref().is_some_and(|hash| hash.contains(args.get(2), cx.keys.now));
    cx.reply.int(is_there as i64);
    if !is_there {
        note_missed(cx, &args, hash);
    }
    Ok(Flow::Done)
}

/// All names.
fn hkeys(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_all(cx, &args, Reply::array, |reply, name, _| reply_piece(reply, name))
}

/// All values.
fn hvals(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_all(cx, &args, Reply::array, |reply, _, value| reply_piece(reply, value))
}

/// All fields and their values.
fn hgetall(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_all(cx, &args, Reply::map, |reply, name, value| {
        reply_piece(reply, name);
        reply_piece(reply, value);
    })
}

/// Replies a head for the number of fields, and what `write` says of each.
#[inline]
fn reply_all(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    head: impl Fn(&mut Reply, usize) + Copy,
    write: impl Fn(&mut Reply, Piece<'_>, Piece<'_>) + Copy + 'static,
) -> Result<Flow, ReplyError> {
    let (mark, now) = (cx.reply.mark(), cx.keys.now);
    let Some(hash) = look(cx, args)? else {
        head(cx.reply, 0);
        return Ok(Flow::Done);
    };
    head(cx.reply, hash.len(now));
    let flow = hash.visit(now, |name, value| {
        write(cx.reply, name, value);
        unless_long(cx.reply, mark)
    });
    if flow.is_continue() {
        return Ok(Flow::Done);
    }
    drop(hash);
    cx.reply.truncate(mark);
    reply_all_gradually(cx, args, head, write)
}

#[cold]
fn reply_all_gradually(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    head: impl Fn(&mut Reply, usize),
    write: impl Fn(&mut Reply, Piece<'_>, Piece<'_>) + 'static,
) -> Result<Flow, ReplyError> {
    let now = cx.keys.now;
    let opened = cx.keys.open::<Hash>(cx.key(args, 1))?;
    let Some((snapshot, count)) = opened.map(|mut hash| (hash.snapshot(), hash.len(now))) else {
        head(cx.reply, 0);
        return Ok(Flow::Done);
    };
    head(cx.reply, count);
    gradual::begin(cx, snapshot, move |rest, cx| rest.visit_some(now, |name, value| write(cx.reply, name, value)))
}
