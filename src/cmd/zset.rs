//! The sorted set family: one member at a time, and the rows of all.
//!
//! Ranges are in `zset_range`, taking from the ends in `zset_pop` and, for those who wait, `zset_wait`, random and scanned members in `zset_sample`, unions,
//! intersections and differences in `zset_algebra`.

use super::command::{Begin, Class, Command, Cx, Find, Flow, KeySpec, acl, cmd, flag};
use super::{zset_algebra, zset_pop, zset_range, zset_sample, zset_wait};
use crate::admin::params::Id;
use crate::base::num::{parse_f64, parse_i64};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::zset::{Limits, SortedSet};
use smallvec::SmallVec;

pub static ROWS: &[Command] = &[
    cmd("zadd", zadd)
        .element(3)
        .arity(-4)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RW", "update"])])
        .group("sorted-set", "1.2.0"),
    cmd("zincrby", zincrby)
        .element(3)
        .arity(4)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("sorted-set", "1.2.0"),
    cmd("zrem", zrem)
        .element(2)
        .arity(-3)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RW", "delete"])])
        .group("sorted-set", "1.2.0"),
    cmd("zcard", zcard)
        .arity(2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO"])])
        .group("sorted-set", "1.2.0"),
    cmd("zscore", zscore)
        .element(2)
        .arity(3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "1.2.0"),
    cmd("zmscore", zmscore)
        .element(2)
        .arity(-3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "6.2.0"),
    cmd("zrank", zrank)
        .element(2)
        .arity(-3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "2.0.0"),
    cmd("zrevrank", zrevrank)
        .element(2)
        .arity(-3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "2.0.0"),
    cmd("zrange", zset_range::zrange)
        .arity(-4)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "1.2.0"),
    cmd("zrangestore", zset_range::zrangestore)
        .arity(-5)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["OW", "update"]), KeySpec::one(2, &["RO", "access"])])
        .group("sorted-set", "6.2.0"),
    cmd("zrangebyscore", zset_range::zrangebyscore)
        .arity(-4)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "1.0.5")
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    cmd("zrevrangebyscore", zset_range::zrevrangebyscore)
        .arity(-4)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "2.2.0")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
    cmd("zrangebylex", zset_range::zrangebylex)
        .arity(-4)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "2.8.9")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    cmd("zrevrangebylex", zset_range::zrevrangebylex)
        .arity(-4)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "2.8.9")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    cmd("zrevrange", zset_range::zrevrange)
        .arity(-4)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "1.2.0")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument"),
    cmd("zcount", zset_range::zcount)
        .arity(4)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "2.0.0"),
    cmd("zlexcount", zset_range::zlexcount)
        .arity(4)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "2.8.9"),
    cmd("zremrangebyrank", zset_range::zremrangebyrank)
        .arity(4)
        .flags(flag::WRITE)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RW", "delete"])])
        .group("sorted-set", "2.0.0"),
    cmd("zremrangebyscore", zset_range::zremrangebyscore)
        .arity(4)
        .flags(flag::WRITE)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RW", "delete"])])
        .group("sorted-set", "1.2.0"),
    cmd("zremrangebylex", zset_range::zremrangebylex)
        .arity(4)
        .flags(flag::WRITE)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RW", "delete"])])
        .group("sorted-set", "2.8.9"),
    cmd("zpopmin", zset_pop::zpopmin)
        .arity(-2)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"])])
        .group("sorted-set", "5.0.0"),
    cmd("zpopmax", zset_pop::zpopmax)
        .arity(-2)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"])])
        .group("sorted-set", "5.0.0"),
    cmd("zmpop", zset_pop::zmpop)
        .arity(-4)
        .flags(flag::WRITE)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::new(Begin::Index(1), Find::Count { num: 0, first: 1, step: 1 }, &["RW", "access", "delete"])])
        .group("sorted-set", "7.0.0"),
    cmd("zrandmember", zset_sample::zrandmember)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "6.2.0")
        .tips(&["nondeterministic_output"]),
    cmd("zscan", zset_sample::zscan)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("sorted-set", "2.8.0")
        .tips(&["nondeterministic_output"]),
    cmd("zunion", zset_algebra::zunion)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::new(Begin::Index(1), Find::Count { num: 0, first: 1, step: 1 }, &["RO", "access"])])
        .group("sorted-set", "6.2.0"),
    cmd("zinter", zset_algebra::zinter)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::new(Begin::Index(1), Find::Count { num: 0, first: 1, step: 1 }, &["RO", "access"])])
        .group("sorted-set", "6.2.0"),
    cmd("zdiff", zset_algebra::zdiff)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::new(Begin::Index(1), Find::Count { num: 0, first: 1, step: 1 }, &["RO", "access"])])
        .group("sorted-set", "6.2.0"),
    cmd("zunionstore", zset_algebra::zunionstore)
        .arity(-4)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SORTEDSET)
        .keys(&[
            KeySpec::one(1, &["OW", "update"]),
            KeySpec::new(Begin::Index(2), Find::Count { num: 0, first: 1, step: 1 }, &["RO", "access"]),
        ])
        .group("sorted-set", "2.0.0"),
    cmd("zinterstore", zset_algebra::zinterstore)
        .arity(-4)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SORTEDSET)
        .keys(&[
            KeySpec::one(1, &["OW", "update"]),
            KeySpec::new(Begin::Index(2), Find::Count { num: 0, first: 1, step: 1 }, &["RO", "access"]),
        ])
        .group("sorted-set", "2.0.0"),
    cmd("zdiffstore", zset_algebra::zdiffstore)
        .arity(-4)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SORTEDSET)
        .keys(&[
            KeySpec::one(1, &["OW", "update"]),
            KeySpec::new(Begin::Index(2), Find::Count { num: 0, first: 1, step: 1 }, &["RO", "access"]),
        ])
        .group("sorted-set", "6.2.0"),
    cmd("zintercard", zset_algebra::zintercard)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::new(Begin::Index(1), Find::Count { num: 0, first: 1, step: 1 }, &["RO", "access"])])
        .group("sorted-set", "7.0.0"),
    cmd("bzpopmin", zset_wait::bzpopmin)
        .arity(-3)
        .flags(flag::WRITE | flag::FAST | flag::BLOCKING)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::new(
            Begin::Index(1),
            Find::Range { last: -2, step: 1, limit: 0 },
            &["RW", "access", "delete"],
        )])
        .group("sorted-set", "5.0.0"),
    cmd("bzpopmax", zset_wait::bzpopmax)
        .arity(-3)
        .flags(flag::WRITE | flag::FAST | flag::BLOCKING)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::new(
            Begin::Index(1),
            Find::Range { last: -2, step: 1, limit: 0 },
            &["RW", "access", "delete"],
        )])
        .group("sorted-set", "5.0.0"),
    cmd("bzmpop", zset_wait::bzmpop)
        .arity(-5)
        .flags(flag::WRITE | flag::BLOCKING)
        .acl(acl::SORTEDSET)
        .keys(&[KeySpec::new(Begin::Index(2), Find::Count { num: 0, first: 1, step: 1 }, &["RW", "access", "delete"])])
        .group("sorted-set", "7.0.0"),
];

/// Up to where sorted sets stay packs.
#[inline]
pub(super) fn limits(cx: &Cx<'_>) -> Limits {
    let limit = |id| usize::try_from(cx.world.config.number(id)).unwrap_or(0);
    Limits { entries: limit(Id::ZSET_MAX_LISTPACK_ENTRIES), value: limit(Id::ZSET_MAX_LISTPACK_VALUE) }
}

/// A score as a client writes it: any double but NaN.
#[inline]
pub(super) fn parse_score(text: &[u8]) -> Result<f64, ReplyError> {
    match parse_i64(text) {
        Some(value) => Ok(value as f64),
        None => parse_f64(text).ok_or(ReplyError::NotFloat),
    }
}

/// The options of ZADD.
#[derive(Clone, Copy, Default)]
pub(super) struct Rule {
    pub(super) nx: bool,
    pub(super) xx: bool,
    gt: bool,
    lt: bool,
    /// Reply how many have changed, not how many are new.
    pub(super) ch: bool,
    incr: bool,
}

impl Rule {
    /// The options from argument 2 on, and where the pairs begin.
    fn parse(args: &Args<'_>) -> (Self, usize) {
        let mut rule = Rule::default();
        let mut at = 2;
        while at < args.count() {
            let option = match () {
                _ if args.is(at, "nx") => &mut rule.nx,
                _ if args.is(at, "xx") => &mut rule.xx,
                _ if args.is(at, "gt") => &mut rule.gt,
                _ if args.is(at, "lt") => &mut rule.lt,
                _ if args.is(at, "ch") => &mut rule.ch,
                _ if args.is(at, "incr") => &mut rule.incr,
                _ => break,
            };
            *option = true;
            at += 1;
        }
        (rule, at)
    }
    /// Errors: options that contradict each other.
    fn check(self, pairs: usize) -> Result<(), ReplyError> {
        if self.nx && self.xx {
            return Err(ReplyError::text("ERR XX and NX options at the same time are not compatible"));
        }
        if (self.gt || self.lt) && self.nx || self.gt && self.lt {
            return Err(ReplyError::text("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if self.incr && pairs > 1 {
            return Err(ReplyError::text("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }
    /// The score that a member gets which has one. None: it stays. May be NaN.
    #[inline]
    fn score(self, old: f64, given: f64) -> Option<f64> {
        let new = if self.incr { old + given } else { given };
        let is_refused = self.nx || self.lt && new >= old || self.gt && new <= old;
        (!is_refused).then_some(new)
    }
}

/// What the pairs of a ZADD have done.
#[derive(Default)]
struct Tally {
    added: u64,
    updated: u64,
    /// The last score that was stored, or would have been had it not been there already.
    last: Option<f64>,
}

/// Add members to a sorted set, or give them other scores.
/// Shape:  key [NX|XX] [GT|LT] [CH] [INCR] (score member)+
/// Errors: Syntax, options that exclude each other, NotFloat before any write; a sum that is no number.
fn zadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (rule, first) = Rule::parse(&args);
    let words = args.count() - first;
    if words == 0 || words % 2 == 1 {
        return Err(ReplyError::Syntax);
    }
    rule.check(words / 2)?;
    add(cx, args, rule, first)
}

/// Add to the score of a member; a new one begins with 0.
/// Shape:  key increment member
/// Errors: as `zadd`.
fn zincrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    add(cx, args, Rule { incr: true, ..Rule::default() }, 2)
}

/// As `store_scores`, with the pairs of score and member from argument `first` on.
#[inline]
fn add(cx: &mut Cx<'_>, args: Args<'_>, rule: Rule, first: usize) -> Result<Flow, ReplyError> {
    let pair = |at| Ok((parse_score(args.get(at))?, args.get(at + 1)));
    let pairs: SmallVec<[_; 8]> = (first..args.count()).step_by(2).map(pair).collect::<Result<_, ReplyError>>()?;
    store_scores(cx, args, rule, &pairs)
}

/// Stores scores of members in the sorted set of argument 1, and replies.
#[inline]
pub(super) fn store_scores(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    rule: Rule,
    pairs: &[(f64, &[u8])],
) -> Result<Flow, ReplyError> {
    let (key, limits) = (cx.key(&args, 1), limits(cx));
    let opened =
        if rule.xx { cx.keys.open::<SortedSet>(key)? } else { Some(cx.keys.open_or_create::<SortedSet>(key)?) };
    let mut tally = Tally::default();
    if let Some(mut zset) = opened {
        let longest = pairs.iter().map(|(_, member)| member.len()).max().unwrap_or(0);
        zset.expect(pairs.len(), longest, limits);
        for &(score, member) in pairs {
            put(&mut zset, rule, member, score, limits, &mut tally)?;
        }
    }
    if tally.added > 0 {
        cx.effects.filled(cx.keys.db(), key.bytes);
    }
    if tally.added + tally.updated > 0 {
        cx.changed(key.bytes, Class::ZSET, if rule.incr { "zincr" } else { "zadd" });
    }
    cx.effects.dirty += tally.added + tally.updated;
    match tally.last {
        _ if !rule.incr => cx.reply.int(if rule.ch { tally.added + tally.updated } else { tally.added } as i64),
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

/// Stores one pair. Errors: the sum is no number; then nothing has changed.
#[inline]
fn put(
    zset: &mut SortedSet,
    rule: Rule,
    member: &[u8],
    score: f64,
    limits: Limits,
    tally: &mut Tally,
) -> Result<(), ReplyError> {
    let mut is_nan = false;
    let done = zset.set(member, limits, (!rule.xx).then_some(score), |old| {
        let new = rule.score(old, score);
        is_nan = new.is_some_and(f64::is_nan);
        new.filter(|_| !is_nan)
    });
    if is_nan {
        return Err(ReplyError::text("ERR resulting score is not a number (NaN)"));
    }
    if let Some(new) = done.new {
        tally.added += done.old.is_none() as u64;
        tally.updated += done.old.is_some_and(|old| old != new) as u64;
        tally.last = Some(new);
    }
    Ok(())
}

/// Remove members; reply how many there were.
/// Shape: key member+
fn zrem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let removed = match cx.keys.open::<SortedSet>(cx.key(&args, 1))? {
        Some(mut zset) => {
            let removed = args.iter_from(2).filter(|member| zset.remove(member).is_some()).count();
            if removed > 0 {
                cx.reduced(args.get(1), Class::ZSET, "zrem", zset.is_empty());
            }
            removed
        }
        None => 0,
    };
    cx.effects.dirty += removed as u64;
    cx.reply.int(removed as i64);
    Ok(Flow::Done)
}

/// Reply the number of members.
fn zcard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let zset = cx.keys.look::<SortedSet>(cx.key(&args, 1))?;
    cx.reply.int(zset.map_or(0, |zset| zset.len()) as i64);
    Ok(Flow::Done)
}

/// Reply the score of a member.
fn zscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let zset = cx.keys.look::<SortedSet>(cx.key(&args, 1))?;
    match zset.and_then(|zset| zset.score(args.get(2))) {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

/// Reply the scores of several members.
/// Shape: key member+
fn zmscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let zset = cx.keys.look::<SortedSet>(cx.key(&args, 1))?;
    cx.reply.array(args.count() - 2);
    for member in args.iter_from(2) {
        match zset.as_ref().and_then(|zset| zset.score(member)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

/// Reply the number of members in front of one.
/// Shape: key member [WITHSCORE]
fn zrank(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_rank(cx, args, |_, rank| rank)
}

/// Reply the number of members behind one.
/// Shape: key member [WITHSCORE]
fn zrevrank(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_rank(cx, args, |len, rank| len - 1 - rank)
}

fn reply_rank(cx: &mut Cx<'_>, args: Args<'_>, count: fn(usize, usize) -> usize) -> Result<Flow, ReplyError> {
    let with_score = match args.count() {
        3 => false,
        4 if args.is(3, "withscore") => true,
        4 => return Err(ReplyError::Syntax),
        _ => return Err(super::zset_range::wrong_arity(&args)),
    };
    let zset = cx.keys.look::<SortedSet>(cx.key(&args, 1))?;
    let found = zset.and_then(|zset| zset.rank(args.get(2)).map(|(rank, score)| (count(zset.len(), rank), score)));
    match found {
        Some((rank, _)) if !with_score => cx.reply.int(rank as i64),
        Some((rank, score)) => {
            cx.reply.array(2);
            cx.reply.int(rank as i64);
            cx.reply.double(score);
        }
        None if with_score => cx.reply.null_array(),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}
