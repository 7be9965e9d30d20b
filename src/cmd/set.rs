//! The set family: members in no order, each once.
//!
//! Commands on one set take its lock once and work on `value::set::Set`; an emptied set is gone when the lock is. Random
//! members and SSCAN are in `set_pick`, what concerns several sets is in `set_combine`.

use super::command::{Begin, Class, Command, Cx, Find, Flow, KeySpec, acl, cmd, flag};
use super::gradual::{self, unless_long};
use super::hash::reply_piece;
use super::{set_combine, set_pick};
use crate::admin::params::Id;
use crate::keyspace::objects::Reading;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::object::Collection;
use crate::value::set::{Limits, Set};

pub static ROWS: &[Command] = &[
    cmd("sadd", sadd)
        .element(2)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RW", "insert"])])
        .group("set", "1.0.0"),
    cmd("srem", srem)
        .element(2)
        .arity(-3)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RW", "delete"])])
        .group("set", "1.0.0"),
    cmd("sismember", sismember)
        .element(2)
        .arity(3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RO"])])
        .group("set", "1.0.0"),
    cmd("smismember", smismember)
        .element(2)
        .arity(-3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("set", "6.2.0"),
    cmd("scard", scard)
        .arity(2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RO"])])
        .group("set", "1.0.0"),
    cmd("smembers", smembers)
        .arity(2)
        .flags(flag::READONLY)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("set", "1.0.0")
        .tips(&["nondeterministic_output_order"]),
    cmd("spop", set_pick::spop)
        .arity(-2)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"])])
        .group("set", "1.0.0")
        .tips(&["nondeterministic_output"]),
    cmd("srandmember", set_pick::srandmember)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("set", "1.0.0")
        .tips(&["nondeterministic_output"]),
    cmd("sscan", set_pick::sscan)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("set", "2.8.0")
        .tips(&["nondeterministic_output"]),
    cmd("smove", set_combine::smove)
        .arity(4)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"]), KeySpec::one(2, &["RW", "insert"])])
        .group("set", "1.0.0"),
    cmd("sinter", set_combine::sinter)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::SET)
        .keys(&[KeySpec::rest(1, 1, &["RO", "access"])])
        .group("set", "1.0.0")
        .tips(&["nondeterministic_output_order"]),
    cmd("sintercard", set_combine::sintercard)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::SET)
        .keys(&[KeySpec::new(Begin::Index(1), Find::Count { num: 0, first: 1, step: 1 }, &["RO", "access"])])
        .group("set", "7.0.0"),
    cmd("sinterstore", set_combine::sinterstore)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["OW", "update"]), KeySpec::rest(2, 1, &["RO", "access"])])
        .group("set", "1.0.0"),
    cmd("sunion", set_combine::sunion)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::SET)
        .keys(&[KeySpec::rest(1, 1, &["RO", "access"])])
        .group("set", "1.0.0")
        .tips(&["nondeterministic_output_order"]),
    cmd("sunionstore", set_combine::sunionstore)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["OW", "update"]), KeySpec::rest(2, 1, &["RO", "access"])])
        .group("set", "1.0.0"),
    cmd("sdiff", set_combine::sdiff)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::SET)
        .keys(&[KeySpec::rest(1, 1, &["RO", "access"])])
        .group("set", "1.0.0")
        .tips(&["nondeterministic_output_order"]),
    cmd("sdiffstore", set_combine::sdiffstore)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SET)
        .keys(&[KeySpec::one(1, &["OW", "update"]), KeySpec::rest(2, 1, &["RO", "access"])])
        .group("set", "1.0.0"),
];

/// The limits of the moment.
#[inline]
pub(super) fn limits(cx: &Cx<'_>) -> Limits {
    let number = |id| cx.world.config.number(id).max(0) as usize;
    Limits {
        ints: number(Id::SET_MAX_INTSET_ENTRIES),
        pack: number(Id::SET_MAX_LISTPACK_ENTRIES),
        member_len: number(Id::SET_MAX_LISTPACK_VALUE),
    }
}

/// The set of argument 1, to be read.
#[inline]
pub(super) fn look<'a>(cx: &Cx<'a>, args: &Args<'_>) -> Result<Option<Reading<'a, Set>>, ReplyError> {
    Ok(cx.keys.look::<Set>(cx.key(args, 1))?)
}

/// Prepares a set, which may have been made for this, for `count` members of which `first` is one.
#[inline]
pub(super) fn prepare(set: &mut Set, first: &[u8], count: usize, limits: &Limits) {
    if set.is_empty() {
        *set = Set::expecting(first, count, limits);
    } else {
        set.expect(count, limits);
    }
}

/// Add members; reply how many were not there.
/// Shape: key member...
fn sadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let limits = limits(cx);
    let mut set = cx.keys.open_or_create::<Set>(cx.key(&args, 1))?;
    prepare(&mut set, args.get(2), args.count() - 2, &limits);
    let mut added = 0;
    for member in args.iter_from(2) {
        added += set.add(member, &limits) as u64;
    }
    drop(set);
    if added > 0 {
        cx.changed(args.get(1), Class::SET, "sadd");
    }
    cx.effects.dirty += added;
    cx.reply.int(added as i64);
    Ok(Flow::Done)
}

/// Remove members; reply how many were there.
/// Shape: key member...
fn srem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut removed = 0;
    if let Some(mut set) = cx.keys.open::<Set>(cx.key(&args, 1))? {
        for member in args.iter_from(2) {
            removed += set.remove(member) as u64;
        }
        if removed > 0 {
            cx.reduced(args.get(1), Class::SET, "srem", set.is_empty());
        }
    }
    cx.effects.dirty += removed;
    cx.reply.int(removed as i64);
    Ok(Flow::Done)
}

/// Reply whether something is a member.
/// Shape: key member
fn sismember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let set = look(cx, &args)?;
    cx.reply.int(set.is_some_and(|set| set.contains(args.get(2))) as i64);
    Ok(Flow::Done)
}

/// Reply of each of several whether it is a member.
/// Shape: key member...
fn smismember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let set = look(cx, &args)?;
    cx.reply.array(args.count() - 2);
    for member in args.iter_from(2) {
        cx.reply.int(set.as_ref().is_some_and(|set| set.contains(member)) as i64);
    }
    Ok(Flow::Done)
}

/// Reply the number of members.
fn scard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let set = look(cx, &args)?;
    cx.reply.int(set.map_or(0, |set| set.count()) as i64);
    Ok(Flow::Done)
}

/// Reply all members.
fn smembers(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mark = cx.reply.mark();
    let Some(set) = look(cx, &args)? else {
        cx.reply.set(0);
        return Ok(Flow::Done);
    };
    cx.reply.set(set.count());
    let flow = set.visit(|member| {
        reply_piece(cx.reply, member);
        unless_long(cx.reply, mark)
    });
    if flow.is_continue() {
        return Ok(Flow::Done);
    }
    drop(set);
    cx.reply.truncate(mark);
    smembers_gradually(cx, &args)
}

#[cold]
fn smembers_gradually(cx: &mut Cx<'_>, args: &Args<'_>) -> Result<Flow, ReplyError> {
    let Some(snapshot) = cx.keys.open::<Set>(cx.key(args, 1))?.map(|mut set| set.snapshot()) else {
        cx.reply.set(0);
        return Ok(Flow::Done);
    };
    cx.reply.set(snapshot.count());
    gradual::begin(cx, snapshot, |rest, cx| rest.visit_some(|member| reply_piece(cx.reply, member)))
}
