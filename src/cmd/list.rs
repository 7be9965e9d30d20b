//! The list family: elements in order, added and taken at both ends.
//!
//! Every handler takes the list's lock once, does its work on `value::list::List`, and writes its reply meanwhile; an emptied
//! list is gone when the lock is. What moves elements between keys is in `list_move`, what waits for them in `list_wait`,
//! what looks for equal elements in `list_find`, LRANGE in `list_range`.

use super::command::{Begin, Class, Command, Cx, Find, Flow, KeySpec, acl, cmd, flag};
use super::edit::int;
use super::{list_find, list_move, list_range, list_wait};
use crate::admin::params::Id;
use crate::base::num::parse_i64;
use crate::base::sync::Ordering;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::value::list::element::Element;
use crate::value::list::{End, Limits, List};
use crate::value::object::Collection;
use crate::value::range;
use std::ops::ControlFlow;

pub static ROWS: &[Command] = &[
    cmd("lpush", lpush)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "insert"])])
        .group("list", "1.0.0"),
    cmd("rpush", rpush)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "insert"])])
        .group("list", "1.0.0"),
    cmd("lpushx", lpushx)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "insert"])])
        .group("list", "2.2.0"),
    cmd("rpushx", rpushx)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "insert"])])
        .group("list", "2.2.0"),
    cmd("lpop", lpop)
        .arity(-2)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"])])
        .group("list", "1.0.0"),
    cmd("rpop", rpop)
        .arity(-2)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"])])
        .group("list", "1.0.0"),
    cmd("llen", llen)
        .arity(2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RO"])])
        .group("list", "1.0.0"),
    cmd("lindex", lindex)
        .arity(3)
        .flags(flag::READONLY)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("list", "1.0.0"),
    cmd("lset", lset)
        .arity(4)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "update"])])
        .group("list", "1.0.0"),
    cmd("linsert", list_find::linsert)
        .arity(5)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "insert"])])
        .group("list", "2.2.0"),
    cmd("lrange", list_range::lrange)
        .arity(4)
        .flags(flag::READONLY)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("list", "1.0.0"),
    cmd("ltrim", ltrim)
        .arity(4)
        .flags(flag::WRITE)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "delete"])])
        .group("list", "1.0.0"),
    cmd("lrem", list_find::lrem)
        .arity(4)
        .flags(flag::WRITE)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "delete"])])
        .group("list", "1.0.0"),
    cmd("lpos", list_find::lpos)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("list", "6.0.6"),
    cmd("lmove", list_move::lmove)
        .arity(5)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"]), KeySpec::one(2, &["RW", "insert"])])
        .group("list", "6.2.0"),
    cmd("rpoplpush", list_move::rpoplpush)
        .arity(3)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"]), KeySpec::one(2, &["RW", "insert"])])
        .group("list", "1.2.0")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    cmd("lmpop", list_move::lmpop)
        .arity(-4)
        .flags(flag::WRITE)
        .acl(acl::LIST)
        .keys(&[KeySpec::new(Begin::Index(1), Find::Count { num: 0, first: 1, step: 1 }, &["RW", "access", "delete"])])
        .group("list", "7.0.0"),
    cmd("blpop", list_wait::blpop)
        .arity(-3)
        .flags(flag::WRITE | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[KeySpec::new(
            Begin::Index(1),
            Find::Range { last: -2, step: 1, limit: 0 },
            &["RW", "access", "delete"],
        )])
        .group("list", "2.0.0"),
    cmd("brpop", list_wait::brpop)
        .arity(-3)
        .flags(flag::WRITE | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[KeySpec::new(
            Begin::Index(1),
            Find::Range { last: -2, step: 1, limit: 0 },
            &["RW", "access", "delete"],
        )])
        .group("list", "2.0.0"),
    cmd("blmove", list_wait::blmove)
        .arity(6)
        .flags(flag::WRITE | flag::DENYOOM | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"]), KeySpec::one(2, &["RW", "insert"])])
        .group("list", "6.2.0"),
    cmd("blmpop", list_wait::blmpop)
        .arity(-5)
        .flags(flag::WRITE | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[KeySpec::new(Begin::Index(2), Find::Count { num: 0, first: 1, step: 1 }, &["RW", "access", "delete"])])
        .group("list", "7.0.0"),
    cmd("brpoplpush", list_wait::brpoplpush)
        .arity(4)
        .flags(flag::WRITE | flag::DENYOOM | flag::BLOCKING)
        .acl(acl::LIST)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"]), KeySpec::one(2, &["RW", "insert"])])
        .group("list", "2.2.0")
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
];

/// The limits of the moment.
#[inline]
pub(super) fn limits(cx: &Cx<'_>) -> Limits {
    let config = &cx.world.config;
    Limits::new(config.number(Id::LIST_MAX_LISTPACK_SIZE), config.number(Id::LIST_COMPRESS_DEPTH))
        .alone_from(cx.world.list_alone_len.load(Ordering::Relaxed) as usize)
}

#[inline]
pub(super) fn reply_element(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Int(value) => reply.bulk_int(value),
    }
}

/// Replies `count` elements from `index` on in the direction away from `from`, as an array.
pub(super) fn reply_elements(reply: &mut Reply, list: &List, from: End, index: usize, count: usize) {
    reply.array(count);
    list.visit(from, index, count, |element| {
        reply_element(reply, element);
        ControlFlow::Continue(())
    });
}

/// Removes up to `count` elements from one end and replies them as an array, the outermost first. Returns how many.
pub(super) fn take_elements(reply: &mut Reply, list: &mut List, end: End, count: usize, limits: &Limits) -> usize {
    let all = list.count();
    let count = count.min(all);
    let first = if end == End::Front { 0 } else { all.saturating_sub(1) };
    reply_elements(reply, list, end, first, count);
    list.drop_from(end, count, limits);
    count
}

/// An index as clients write it: a negative one counts from the end.
pub(super) fn index_of(index: i64, count: usize) -> Option<usize> {
    let index = if index < 0 { index + count as i64 } else { index };
    usize::try_from(index).ok().filter(|&index| index < count)
}

/// Add elements at the front, one after the other; reply the count.
/// Shape: key element...
fn lpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut list = cx.keys.open_or_create::<List>(cx.key(&args, 1))?;
    let count = push_all(cx, &mut list, End::Front, args);
    drop(list);
    pushed(cx, &args, End::Front, count)
}

/// Add elements at the back; reply the count.
/// Shape: key element...
fn rpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut list = cx.keys.open_or_create::<List>(cx.key(&args, 1))?;
    let count = push_all(cx, &mut list, End::Back, args);
    drop(list);
    pushed(cx, &args, End::Back, count)
}

/// Add elements at the front of a list that is there.
/// Shape: key element...
fn lpushx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    push_if_there(cx, args, End::Front)
}

/// Add elements at the back of a list that is there.
/// Shape: key element...
fn rpushx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    push_if_there(cx, args, End::Back)
}

fn push_if_there(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<Flow, ReplyError> {
    let Some(mut list) = cx.keys.open::<List>(cx.key(&args, 1))? else {
        cx.reply.int(0);
        return Ok(Flow::Done);
    };
    let count = push_all(cx, &mut list, end, args);
    drop(list);
    pushed(cx, &args, end, count)
}

/// Adds all elements of a push command and returns the list's count.
#[inline]
fn push_all(cx: &Cx<'_>, list: &mut List, end: End, args: Args<'_>) -> usize {
    let limits = limits(cx);
    let mut len = 0;
    for value in args.iter_from(2) {
        len += value.len(); // A plain loop: most often there is one.
    }
    list.expect(len, args.count() - 2, &limits);
    for value in args.iter_from(2) {
        list.push(end, value, &limits);
    }
    list.count()
}

/// What listeners hear when something was added at an end.
pub(super) fn push_event(end: End) -> &'static str {
    if end == End::Front { "lpush" } else { "rpush" }
}

/// What they hear when something was taken from there.
pub(super) fn pop_event(end: End) -> &'static str {
    if end == End::Front { "lpop" } else { "rpop" }
}

/// The end of a push command.
#[inline]
fn pushed(cx: &mut Cx<'_>, args: &Args<'_>, end: End, count: usize) -> Result<Flow, ReplyError> {
    cx.changed(args.get(1), Class::LIST, push_event(end));
    cx.effects.filled(cx.keys.db(), args.get(1));
    cx.effects.dirty += args.count() as u64 - 2;
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

/// Remove and reply the first element, or several.
/// Shape:  key [count]
fn lpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    pop(cx, args, End::Front, "ERR wrong number of arguments for 'lpop' command")
}

/// Remove and reply the last element, or several, the last one first.
/// Shape:  key [count]
fn rpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    pop(cx, args, End::Back, "ERR wrong number of arguments for 'rpop' command")
}

#[inline]
fn pop(cx: &mut Cx<'_>, args: Args<'_>, end: End, arity_error: &'static str) -> Result<Flow, ReplyError> {
    if args.count() > 2 {
        return if args.count() == 3 { pop_several(cx, args, end) } else { Err(ReplyError::text(arity_error)) };
    }
    let limits = limits(cx);
    match cx.keys.open::<List>(cx.key(&args, 1))? {
        None => cx.reply.null(),
        Some(mut list) => {
            list.pop(end, &limits, |element| reply_element(cx.reply, element));
            cx.reduced(args.get(1), Class::LIST, pop_event(end), list.is_empty());
            cx.effects.dirty += 1;
        }
    }
    Ok(Flow::Done)
}

fn pop_several(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<Flow, ReplyError> {
    let count = parse_i64(args.get(2)).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(ReplyError::text("ERR value is out of range, must be positive"))?;
    let limits = limits(cx);
    match cx.keys.open::<List>(cx.key(&args, 1))? {
        None => cx.reply.null_array(),
        Some(_) if count == 0 => cx.reply.array(0),
        Some(mut list) => {
            cx.effects.dirty += take_elements(cx.reply, &mut list, end, count, &limits) as u64;
            cx.reduced(args.get(1), Class::LIST, pop_event(end), list.is_empty());
        }
    }
    Ok(Flow::Done)
}

/// Reply the number of elements.
fn llen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let list = cx.keys.look::<List>(cx.key(&args, 1))?;
    cx.reply.int(list.map_or(0, |list| list.count()) as i64);
    Ok(Flow::Done)
}

/// Reply one element; null if the index is beyond the list.
/// Shape:  key index
/// Errors: NotInteger, once the list is there.
fn lindex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let Some(list) = cx.keys.look::<List>(cx.key(&args, 1))? else {
        cx.reply.null();
        return Ok(Flow::Done);
    };
    match index_of(int(&args, 2)?, list.count()) {
        Some(index) => drop(list.get(index, |element| reply_element(cx.reply, element))),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

/// Put another value in the place of an element.
/// Shape:  key index element
/// Errors: NoSuchKey, then NotInteger, then IndexOutOfRange.
fn lset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut list = cx.keys.open::<List>(cx.key(&args, 1))?.ok_or(ReplyError::NoSuchKey)?;
    let (index, value, limits) = (int(&args, 2)?, args.get(3), limits(cx));
    list.expect(value.len(), 1, &limits);
    let index = index_of(index, list.count()).ok_or(ReplyError::IndexOutOfRange)?;
    list.replace(index, value, &limits);
    cx.changed(args.get(1), Class::LIST, "lset");
    cx.effects.dirty += 1;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Keep only the elements between two indexes, both included.
/// Shape: key start stop
fn ltrim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (start, stop) = (int(&args, 2)?, int(&args, 3)?);
    if let Some(mut list) = cx.keys.open::<List>(cx.key(&args, 1))? {
        let (all, limits) = (list.count(), limits(cx));
        let kept = range::between(start, stop, all);
        list.drop_from(End::Back, all - kept.end, &limits);
        list.drop_from(End::Front, kept.start, &limits);
        cx.reduced(args.get(1), Class::LIST, "ltrim", list.is_empty());
        cx.effects.dirty += (all - kept.len()) as u64;
    }
    cx.reply.ok();
    Ok(Flow::Done)
}
