//! Unions, intersections and differences of sorted sets, whose members' scores are weighed and put together. Plain sets
//! may take part.

use super::command::{Cx, Flow};
use super::edit::int;
use super::gradual;
use super::zset::{limits, parse_score};
use super::zset_range::{begin_members, reply_member, store, tell_stored};
use crate::base::hash::Key;
use crate::base::num::parse_i64;
use crate::keyspace::FEW_KEYS;
use crate::keyspace::objects::{Access, HeldKeys};
use crate::keyspace::types::WrongType;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::value::set::Set;
use crate::value::zset::{Limits, SortedSet};
use smallvec::SmallVec;
use std::ops::ControlFlow;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

impl Operation {
    /// What listeners hear when the result is stored.
    fn store_event(self) -> &'static str {
        match self {
            Operation::Union => "zunionstore",
            Operation::Inter => "zinterstore",
            Operation::Diff => "zdiffstore",
        }
    }
}

/// What becomes of two scores of one member.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    /// Infinities that cancel each other are 0, as in Redis; a NaN from a weight changes nothing in MIN and MAX.
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => number(one + other),
            Aggregate::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Aggregate::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

/// The number, or 0 for none.
fn number(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

/// What a command does with the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Reply,
    Count,
    Store,
}

/// The arguments.
/// Shape: numkeys key+ [WEIGHTS weight+] [AGGREGATE SUM|MIN|MAX] [WITHSCORES] | numkeys key+ [LIMIT limit]
struct Request {
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members after which counting may stop; 0: never.
    limit: usize,
}

impl Request {
    fn parse(args: &Args<'_>, from: usize, keys: usize, operation: Operation, used: Use) -> Result<Self, ReplyError> {
        let mut request = Request { weights: vec![1.0; keys], aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let is_weighed = operation != Operation::Diff && used != Use::Count;
        let mut at = from;
        while at < args.count() {
            let left = args.count() - at;
            if is_weighed && left > keys && args.is(at, "weights") {
                for (weight, index) in request.weights.iter_mut().zip(at + 1..) {
                    let error = ReplyError::text("ERR weight value is not a float");
                    *weight = parse_score(args.get(index)).map_err(|_| error)?;
                }
                at += 1 + keys;
            } else if is_weighed && left >= 2 && args.is(at, "aggregate") {
                request.aggregate = match () {
                    _ if args.is(at + 1, "sum") => Aggregate::Sum,
                    _ if args.is(at + 1, "min") => Aggregate::Min,
                    _ if args.is(at + 1, "max") => Aggregate::Max,
                    _ => return Err(ReplyError::Syntax),
                };
                at += 2;
            } else if used == Use::Reply && args.is(at, "withscores") {
                request.with_scores = true;
                at += 1;
            } else if used == Use::Count && left >= 2 && args.is(at, "limit") {
                let limit = parse_i64(args.get(at + 1)).and_then(|limit| usize::try_from(limit).ok());
                request.limit = limit.ok_or(ReplyError::text("ERR LIMIT can't be negative"))?;
                at += 2;
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        Ok(request)
    }
}

/// One of the keys, and the weight of its scores.
#[derive(Clone, Copy)]
struct Input<'a> {
    source: Source<'a>,
    weight: f64,
}

/// What a key holds. The members of a set have the score 1.
#[derive(Clone, Copy)]
enum Source<'a> {
    Absent,
    Sorted(&'a SortedSet),
    Plain(&'a Set),
}

impl<'a> Source<'a> {
    /// The source behind key `index`.
    fn of(held: &'a HeldKeys<'_, '_, '_>, index: usize) -> Result<Self, WrongType> {
        if let Ok(found) = held.get::<Set>(index) {
            return Ok(found.map_or(Source::Absent, Source::Plain));
        }
        Ok(held.get::<SortedSet>(index)?.map_or(Source::Absent, Source::Sorted))
    }
}

/// Members that are visited before it is asked whether to go on.
const PORTION: usize = 64;

impl Input<'_> {
    fn is_there(self) -> bool {
        !matches!(self.source, Source::Absent)
    }
    fn len(self) -> usize {
        match self.source {
            Source::Absent => 0,
            Source::Sorted(zset) => zset.len(),
            Source::Plain(set) => set.count(),
        }
    }
    fn score(self, member: &[u8]) -> Option<f64> {
        match self.source {
            Source::Absent => None,
            Source::Sorted(zset) => zset.score(member),
            Source::Plain(set) => set.contains(member).then_some(1.0),
        }
    }
    fn each(self, mut visit: impl FnMut(&[u8], f64)) {
        match self.source {
            Source::Absent => {}
            Source::Sorted(zset) => zset.each(0..zset.len(), false, visit),
            Source::Plain(set) => set.for_each(|piece| visit(piece.text(&mut itoa::Buffer::new()), 1.0)),
        }
    }
    /// Number of members for which `is_counted` holds, up to `limit`; the walk ends soon after that.
    fn count(self, limit: usize, mut is_counted: impl FnMut(&[u8]) -> bool) -> usize {
        let mut count = 0;
        match self.source {
            Source::Absent => {}
            Source::Sorted(zset) => {
                let starts = (0..zset.len()).step_by(PORTION);
                for start in starts {
                    let ranks = start..zset.len().min(start + PORTION);
                    zset.each(ranks, false, |member, _| count += is_counted(member) as usize);
                    if count >= limit {
                        break;
                    }
                }
            }
            Source::Plain(set) => {
                let _ = set.visit(|piece| {
                    count += is_counted(piece.text(&mut itoa::Buffer::new())) as usize;
                    if count >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
            }
        }
        count.min(limit)
    }
}

/// The inputs' union: members of any.
fn union(inputs: &[Input<'_>], aggregate: Aggregate, limits: Limits) -> SortedSet {
    let mut result = SortedSet::default();
    for input in inputs {
        input.each(|member, score| {
            let score = number(input.weight * score);
            result.set(member, limits, Some(score), |old| Some(aggregate.of(old, score)));
        });
    }
    result
}

/// Visits the members of all inputs. `inputs` begin with the one that has the fewest.
fn inter(inputs: &[Input<'_>], aggregate: Aggregate, mut visit: impl FnMut(&[u8], f64)) {
    let Some((first, others)) = inputs.split_first() else { return };
    first.each(|member, score| {
        let own = number(first.weight * score);
        let total =
            others.iter().try_fold(own, |total, other| Some(aggregate.of(total, other.weight * other.score(member)?)));
        if let Some(total) = total {
            visit(member, total);
        }
    });
}

/// The members of the first input that are in none of the others.
fn diff(inputs: &[Input<'_>], limits: Limits) -> SortedSet {
    let mut result = SortedSet::default();
    let Some((first, others)) = inputs.split_first() else { return result };
    let other_members: usize = others.iter().map(|other| other.len()).sum();
    // Asking the others for each member costs a look-up in each; taking theirs out costs one for each of theirs.
    if first.len() * others.len() / 2 <= other_members + first.len() {
        first.each(|member, score| {
            if others.iter().all(|other| other.score(member).is_none()) {
                result.put(member, limits, score);
            }
        });
        return result;
    }
    first.each(|member, score| {
        result.put(member, limits, score);
    });
    others.iter().for_each(|other| {
        other.each(|member, _| {
            result.remove(member);
        })
    });
    result
}

fn compute(operation: Operation, inputs: &mut [Input<'_>], aggregate: Aggregate, limits: Limits) -> SortedSet {
    if operation != Operation::Diff {
        inputs.sort_by_key(|input| input.len());
    }
    match operation {
        Operation::Union => union(inputs, aggregate, limits),
        Operation::Diff => diff(inputs, limits),
        Operation::Inter => {
            let mut result = SortedSet::default();
            inter(inputs, aggregate, |member, score| {
                result.put(member, limits, score);
            });
            result
        }
    }
}

/// The number of keys at argument `at`. Errors: not a number, none, more than there are arguments.
fn key_count(args: &Args<'_>, at: usize) -> Result<usize, ReplyError> {
    let count = int(args, at)?;
    if count < 1 {
        let name = escaped(&args.get(0).to_ascii_lowercase());
        return Err(ReplyError::owned(format!("ERR at least 1 input key is needed for '{name}' command")));
    }
    usize::try_from(count).ok().filter(|&count| count < args.count() - at).ok_or(ReplyError::Syntax)
}

/// The inputs behind the keys `from` and following.
fn inputs<'h>(held: &'h HeldKeys<'_, '_, '_>, from: usize, keys: usize) -> Result<Vec<Input<'h>>, WrongType> {
    (from..from + keys).map(|index| Ok(Input { source: Source::of(held, index)?, weight: 1.0 })).collect()
}

/// Runs a command whose number of keys is argument `at`. A key of a wrong type is complained of before the options.
fn run(cx: &mut Cx<'_>, args: Args<'_>, operation: Operation, used: Use) -> Result<Flow, ReplyError> {
    let stored = (used == Use::Store) as usize;
    let at = 1 + stored;
    let keys = key_count(&args, at)?;
    let request = Request::parse(&args, at + 1 + keys, keys, operation, used);
    let mut wanted: Vec<(Key<'_>, Access)> = Vec::with_capacity(keys + 1);
    wanted.extend((stored == 1).then(|| (cx.key(&args, 1), Access::Write)));
    wanted.extend((at + 1..=at + keys).map(|index| (cx.key(&args, index), Access::Read)));
    // A pack has no negative zero: what is only replied is computed in a table, as in Redis.
    let limits = if used == Use::Reply { Limits { entries: 0, value: 0 } } else { limits(cx) };
    let (outcome, missing) = cx.keys.with_held(&wanted, |held| {
        let mut sources = match inputs(held, stored, keys) {
            Ok(sources) => sources,
            Err(wrong) => return Ok((Err(wrong.into()), None)),
        };
        let request = match &request {
            Ok(request) => request,
            Err(error) => return Ok((Err(error.clone()), None)),
        };
        let missing = (0..keys).filter(|&index| !sources[index].is_there()).collect::<SmallVec<[usize; FEW_KEYS]>>();
        sources.iter_mut().zip(&request.weights).for_each(|(source, &weight)| source.weight = weight);
        if used == Use::Count {
            sources.sort_by_key(|input| input.len());
            return Ok((Ok(Outcome::Count(count_inter(&sources, request.limit), false)), Some(missing)));
        }
        let result = compute(operation, &mut sources, request.aggregate, limits);
        let outcome = match used {
            Use::Store => {
                let (count, has_changed) = store(held, 0, result)?;
                Outcome::Count(count, has_changed)
            }
            _ => Outcome::Members(result, request.with_scores),
        };
        Ok((Ok(outcome), Some(missing)))
    });
    if let Some(missing) = missing {
        cx.keys.looked_up_all(keys, missing.iter().map(|&index| wanted[stored + index].0.bytes));
    }
    match outcome? {
        Outcome::Count(count, has_changed) => {
            if has_changed && count > 0 {
                cx.effects.filled(cx.keys.db(), args.get(1));
            }
            tell_stored(cx, args.get(1), (count, has_changed), operation.store_event());
            cx.effects.dirty += has_changed as u64;
            cx.reply.int(count as i64);
        }
        Outcome::Members(mut result, with_scores) => {
            begin_members(cx.reply, result.len(), with_scores);
            if result.len() > REPLIED_AT_ONCE {
                let snapshot = result.snapshot(0..result.len());
                return gradual::begin_parts(cx, snapshot, move |rest, cx| {
                    rest.visit_some(false, |member, score| reply_member(cx.reply, member, score, with_scores))
                });
            }
            result.each(0..result.len(), false, |member, score| reply_member(cx.reply, member, score, with_scores));
        }
    }
    Ok(Flow::Done)
}

/// Results of so many members are replied at once, larger ones as fast as the client reads.
const REPLIED_AT_ONCE: usize = 10_000;

/// What is replied.
enum Outcome {
    /// How many, and whether something was stored or removed.
    Count(usize, bool),
    Members(SortedSet, bool),
}

/// Number of members in all inputs, up to `limit` if that is not 0. The first input has the fewest.
fn count_inter(inputs: &[Input<'_>], limit: usize) -> usize {
    let Some((first, others)) = inputs.split_first() else { return 0 };
    let limit = if limit == 0 { usize::MAX } else { limit };
    first.count(limit, |member| others.iter().all(|other| other.score(member).is_some()))
}

/// Reply the union of sorted sets.
/// Shape:  numkeys key+ [WEIGHTS weight+] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]
/// Errors: numkeys, WrongType, weights, Syntax.
pub(super) fn zunion(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Operation::Union, Use::Reply)
}

/// Reply the intersection of sorted sets.
/// Shape: as `zunion`
pub(super) fn zinter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Operation::Inter, Use::Reply)
}

/// Reply the members of the first sorted set that are in none of the others.
/// Shape: numkeys key+ [WITHSCORES]
pub(super) fn zdiff(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Operation::Diff, Use::Reply)
}

/// Store the union of sorted sets.
/// Shape: destination numkeys key+ [WEIGHTS weight+] [AGGREGATE SUM|MIN|MAX]
pub(super) fn zunionstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Operation::Union, Use::Store)
}

/// Store the intersection of sorted sets.
/// Shape: as `zunionstore`
pub(super) fn zinterstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Operation::Inter, Use::Store)
}

/// Store the members of the first sorted set that are in none of the others.
/// Shape: destination numkeys key+
pub(super) fn zdiffstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Operation::Diff, Use::Store)
}

/// Reply the number of members that are in all sorted sets.
/// Shape: numkeys key+ [LIMIT limit]
pub(super) fn zintercard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    run(cx, args, Operation::Inter, Use::Count)
}
