//! Several sets: SMOVE, and intersections, unions and differences, replied, counted or stored.
//!
//! All keys of a command are locked together, so that the sets are seen, and the result appears, at one instant.

use super::command::{Class, Cx, Flow};
use super::gradual;
use super::hash::reply_piece;
use super::set::{limits, prepare};
use crate::base::hash::Key;
use crate::base::num::parse_i64;
use crate::keyspace::FEW_KEYS;
use crate::keyspace::objects::{Access, HeldKeys};
use crate::keyspace::types::WrongType;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::object::Collection;
use crate::value::set::{Found, Limits, Set};
use smallvec::SmallVec;
use std::ops::Range;

/// Move a member from one set to another; reply whether it was there.
/// Shape:  source destination member
/// Errors: WrongType of either, once the source is there.
pub(super) fn smove(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (source, destination, member) = (cx.key(&args, 1), cx.key(&args, 2), args.get(3));
    let limits = limits(cx);
    let (was_there, moved) = cx.keys.with_held(&[(source, Access::Write), (destination, Access::Write)], |held| {
        let was_there = match (held.get::<Set>(0), held.get::<Set>(1)) {
            (Ok(None), _) => false,
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
            (Ok(Some(set)), _) => set.contains(member),
        };
        if !was_there || source.bytes == destination.bytes {
            return Ok(Ok((was_there, None)));
        }
        let Ok(set) = held.get_or_create::<Set>(1)? else { unreachable!("the destination's type was asked for") };
        prepare(set, member, 1, &limits);
        let is_added = set.add(member, &limits);
        let Ok(Some(set)) = held.get_mut::<Set>(0) else { unreachable!("the source is there and locked") };
        set.remove(member);
        Ok(Ok((true, Some((is_added, set.is_empty())))))
    })?;
    if let Some((is_added, is_gone)) = moved {
        cx.reduced(source.bytes, Class::SET, "srem", is_gone);
        if is_added {
            cx.changed(destination.bytes, Class::SET, "sadd");
        }
        cx.effects.dirty += 1 + is_added as u64;
    }
    cx.reply.int(was_there as i64);
    Ok(Flow::Done)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

impl Operation {
    /// The members of the result. None stands for a key that is absent: an empty set.
    fn members<'a>(self, sets: &[Option<&'a Set>]) -> Found<'a> {
        let there: SmallVec<[&Set; FEW_KEYS]> = sets.iter().copied().flatten().collect();
        match self {
            Operation::Intersection if there.len() < sets.len() => Found::new(),
            Operation::Intersection => Set::intersection(&there, usize::MAX),
            Operation::Union => Set::union(&there),
            Operation::Difference if sets[0].is_none() => Found::new(),
            Operation::Difference => there[0].difference(&there[1..]),
        }
    }
    /// What listeners hear when the result is stored.
    fn store_event(self) -> &'static str {
        match self {
            Operation::Intersection => "sinterstore",
            Operation::Union => "sunionstore",
            Operation::Difference => "sdiffstore",
        }
    }
    /// The result as a set, in the form that Redis gives it.
    fn result(self, sets: &[Option<&Set>], limits: &Limits) -> Set {
        let members = self.members(sets);
        let smallest = sets.iter().copied().flatten().min_by_key(|set| set.count());
        match smallest {
            Some(smallest) if self == Operation::Intersection => Set::of_intersection(&members, smallest, limits),
            _ => Set::of(&members, limits),
        }
    }
}

/// The held sets of these keys, None where a key is absent.
fn sets_of<'h>(
    held: &'h HeldKeys<'_, '_, '_>,
    indexes: Range<usize>,
) -> Result<SmallVec<[Option<&'h Set>; FEW_KEYS]>, WrongType> {
    indexes.map(|index| held.get::<Set>(index)).collect()
}

/// Arguments as keys that are read.
fn sources<'k>(cx: &Cx<'_>, args: &Args<'k>, indexes: Range<usize>) -> SmallVec<[(Key<'k>, Access); FEW_KEYS]> {
    indexes.map(|index| (cx.key(args, index), Access::Read)).collect()
}

/// Which of some sets are absent.
fn missing(sets: &[Option<&Set>]) -> SmallVec<[usize; FEW_KEYS]> {
    (0..sets.len()).filter(|&index| sets[index].is_none()).collect()
}

/// Counts keys that were looked for, and tells of those that are missing.
fn looked_up(cx: &Cx<'_>, sources: &[(Key<'_>, Access)], missing: &[usize]) {
    cx.keys.looked_up_all(sources.len(), missing.iter().map(|&index| sources[index].0.bytes));
}

/// Results of sets with so many members together are replied as they come; larger ones are made first, and replied as fast as
/// the client reads.
const REPLIED_AT_ONCE: usize = 10_000;

/// Replies what an operation on the sets of all arguments gives.
fn reply_result(cx: &mut Cx<'_>, args: &Args<'_>, operation: Operation) -> Result<Flow, ReplyError> {
    let wanted = sources(cx, args, 1..args.count());
    let (mark, limits) = (cx.reply.mark(), limits(cx));
    let (large, missing) = cx.keys.with_held(&wanted, |held| {
        cx.reply.truncate(mark); // The closure may run again.
        let sets = match sets_of(held, 0..wanted.len()) {
            Ok(sets) => sets,
            Err(error) => return Ok(Err(error)),
        };
        if sets.iter().flatten().map(|set| set.count()).sum::<usize>() > REPLIED_AT_ONCE {
            return Ok(Ok((Some(operation.result(&sets, &limits)), missing(&sets))));
        }
        let members = operation.members(&sets);
        cx.reply.set(members.len());
        members.into_iter().for_each(|member| reply_piece(cx.reply, member));
        Ok(Ok((None, missing(&sets))))
    })?;
    looked_up(cx, &wanted, &missing);
    let Some(result) = large.map(|mut result| result.snapshot()) else { return Ok(Flow::Done) };
    cx.reply.set(result.count());
    gradual::begin(cx, result, |rest, cx| rest.visit_some(|member| reply_piece(cx.reply, member)))
}

/// Stores what an operation on the sets of arguments 2 and on gives under argument 1; replies how many members it has. An
/// empty result removes the key.
fn store_result(cx: &mut Cx<'_>, args: &Args<'_>, operation: Operation) -> Result<Flow, ReplyError> {
    let mut wanted = sources(cx, args, 1..args.count());
    wanted[0].1 = Access::Write;
    let limits = limits(cx);
    let (count, has_changed, missing) = cx.keys.with_held(&wanted, |held| {
        let (result, missing) = match sets_of(held, 1..wanted.len()) {
            Ok(sets) => (operation.result(&sets, &limits), missing(&sets)),
            Err(error) => return Ok(Err(error)),
        };
        if result.is_empty() {
            let removed = held.remove(0)?;
            return Ok(Ok((0, removed, missing)));
        }
        let count = result.count();
        held.put(0, result)?;
        Ok(Ok((count, true, missing)))
    })?;
    looked_up(cx, &wanted[1..], &missing);
    match (count, has_changed) {
        (_, false) => {}
        (0, true) => cx.changed(args.get(1), Class::GENERIC, "del"),
        (_, true) => cx.changed(args.get(1), Class::SET, operation.store_event()),
    }
    cx.effects.dirty += has_changed as u64;
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

/// Reply the members that all of the sets have.
/// Shape: key...
pub(super) fn sinter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_result(cx, &args, Operation::Intersection)
}

/// Store the members that all of the sets have.
/// Shape: destination key...
pub(super) fn sinterstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    store_result(cx, &args, Operation::Intersection)
}

/// Reply the members of any of the sets.
/// Shape: key...
pub(super) fn sunion(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_result(cx, &args, Operation::Union)
}

/// Store the members of any of the sets.
/// Shape: destination key...
pub(super) fn sunionstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    store_result(cx, &args, Operation::Union)
}

/// Reply the members that only the first of the sets has.
/// Shape: key...
pub(super) fn sdiff(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_result(cx, &args, Operation::Difference)
}

/// Store the members that only the first of the sets has.
/// Shape: destination key...
pub(super) fn sdiffstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    store_result(cx, &args, Operation::Difference)
}

/// Reply how many members all of the sets have together, and do not count beyond a limit.
/// Shape:  numkeys key... [LIMIT limit]                 limit 0: none
/// Errors: the number of keys, Syntax, the limit.
pub(super) fn sintercard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let key_count = parse_i64(args.get(1)).filter(|&count| count > 0);
    let key_count = key_count.ok_or(ReplyError::text("ERR numkeys should be greater than 0"))?;
    if key_count as usize > args.count() - 2 {
        return Err(ReplyError::text("ERR Number of keys can't be greater than number of args"));
    }
    let keys_end = 2 + key_count as usize;
    let max = limit(&args, keys_end)?;
    let wanted = sources(cx, &args, 2..keys_end);
    let (count, missing) = cx.keys.with_held(&wanted, |held| {
        let sets = match sets_of(held, 0..wanted.len()) {
            Ok(sets) => sets,
            Err(error) => return Ok(Err(error)),
        };
        let there: SmallVec<[&Set; FEW_KEYS]> = sets.iter().copied().flatten().collect();
        let is_complete = there.len() == wanted.len();
        let count = if is_complete { Set::intersection(&there, max).len() } else { 0 };
        Ok(Ok((count, missing(&sets))))
    })?;
    looked_up(cx, &wanted, &missing);
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

/// Shape: [LIMIT limit]...                              the last one counts
fn limit(args: &Args<'_>, from: usize) -> Result<usize, ReplyError> {
    let mut limit = 0;
    for at in (from..args.count()).step_by(2) {
        if !args.is(at, "limit") || at + 1 == args.count() {
            return Err(ReplyError::Syntax);
        }
        let given = parse_i64(args.get(at + 1)).and_then(|limit| usize::try_from(limit).ok());
        limit = given.ok_or(ReplyError::text("ERR LIMIT can't be negative"))?;
    }
    Ok(if limit == 0 { usize::MAX } else { limit })
}
