//! Parts of a sorted set: by rank, by score, by member. Whatever is asked for becomes a range of ranks.

use super::command::{Class, Cx, Flow};
use super::edit::int;
use super::gradual::{self, unless_long};
use super::zset::limits;
use crate::base::num::parse_f64;
use crate::keyspace::objects::Access;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::{Proto, Reply};
use crate::value::zset::{Cut, SortedSet};
use std::ops::Range;

/// Members that are replied between two looks at the length of the reply.
const RANKS_TOGETHER: usize = 256;

/// The error of a command that has too many arguments for what it is asked.
pub(super) fn wrong_arity(args: &Args<'_>) -> ReplyError {
    let name = escaped(&args.get(0).to_ascii_lowercase());
    ReplyError::owned(format!("ERR wrong number of arguments for '{name}' command"))
}

/// What a range is counted in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

impl By {
    /// What listeners hear when members were removed by it.
    fn removal_event(self) -> &'static str {
        match self {
            By::Rank => "zremrangebyrank",
            By::Score => "zremrangebyscore",
            By::Lex => "zremrangebylex",
        }
    }
}

/// The two ends of a range.
enum Ends<'a> {
    /// Included; negative ones count from the end.
    Ranks(i64, i64),
    Cuts(Cut<'a>, Cut<'a>),
}

impl<'a> Ends<'a> {
    /// The ends in two arguments, the lower one first.
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, ReplyError> {
        let rank = |text| crate::base::num::parse_i64(text).ok_or(ReplyError::NotInteger);
        let bad_score = ReplyError::text("ERR min or max is not a float");
        let bad_member = ReplyError::text("ERR min or max not valid string range item");
        Ok(match by {
            By::Rank => Ends::Ranks(rank(min)?, rank(max)?),
            By::Score => {
                let ends = score_cut(min, true).zip(score_cut(max, false));
                ends.map(|(from, to)| Ends::Cuts(from, to)).ok_or(bad_score)?
            }
            By::Lex => {
                let ends = member_cut(min, true).zip(member_cut(max, false));
                ends.map(|(from, to)| Ends::Cuts(from, to)).ok_or(bad_member)?
            }
        })
    }
    /// The ranks between the ends; in a reverse view ranks count from the last member.
    fn ranks(&self, zset: &SortedSet, reverse: bool) -> Range<usize> {
        match *self {
            Ends::Cuts(from, to) => zset.between(from, to),
            Ends::Ranks(first, last) => {
                let len = zset.len();
                let ranks = ranks_of(first, last, len);
                if reverse { len - ranks.end..len - ranks.start } else { ranks }
            }
        }
    }
}

/// The ranks from `first` to `last`, negative ones counted from the end. Two ends in front of the first name nobody.
fn ranks_of(first: i64, last: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let absolute = |rank: i64| if rank < 0 { rank + len } else { rank };
    let (first, last) = (absolute(first).max(0), absolute(last).min(len - 1));
    if first > last { 0..0 } else { first as usize..last as usize + 1 }
}

/// One end of a range of scores: a number, or `(` and a number that is left out.
fn score_cut(text: &[u8], is_min: bool) -> Option<Cut<'static>> {
    let (is_open, number) = match text {
        [b'(', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let score = limit_of(number)?;
    Some(if is_open == is_min { Cut::AboveScore(score) } else { Cut::BelowScore(score) })
}

/// A number as C's `strtod` reads it: nothing is 0, blanks in front are fine, and what overflows is infinite.
fn limit_of(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let number = &text[blanks..];
    let is_plain = number.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let beyond = || std::str::from_utf8(number).ok().filter(|_| is_plain)?.parse().ok();
    parse_f64(number).or_else(beyond)
}

/// One end of a range of members: `-`, `+`, `[` or `(` and a member.
fn member_cut(text: &[u8], is_min: bool) -> Option<Cut<'_>> {
    match text {
        b"-" => Some(Cut::Start),
        b"+" => Some(Cut::End),
        [b'[', member @ ..] => Some(if is_min { Cut::BelowMember(member) } else { Cut::AboveMember(member) }),
        [b'(', member @ ..] => Some(if is_min { Cut::AboveMember(member) } else { Cut::BelowMember(member) }),
        _ => None,
    }
}

/// A range as ZRANGE and its relatives ask for it.
struct Query<'a> {
    ends: Ends<'a>,
    reverse: bool,
    offset: i64,
    /// Negative: all.
    count: i64,
    with_scores: bool,
}

/// What the command's name leaves to options.
#[derive(Clone, Copy)]
struct Fixed {
    by: Option<By>,
    reverse: Option<bool>,
    /// The result is stored, so scores are not asked for.
    stores: bool,
}

impl<'a> Query<'a> {
    /// Shape: min max [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES], from argument `at` on
    fn parse(args: &Args<'a>, at: usize, fixed: Fixed) -> Result<Self, ReplyError> {
        let (mut by, mut reverse) = (fixed.by, fixed.reverse);
        let (mut offset, mut count, mut with_scores) = (0, -1, false);
        let mut next = at + 2;
        while next < args.count() {
            if !fixed.stores && args.is(next, "withscores") {
                with_scores = true;
            } else if args.is(next, "limit") && next + 2 < args.count() {
                (offset, count) = (int(args, next + 1)?, int(args, next + 2)?);
                next += 2;
            } else if reverse.is_none() && args.is(next, "rev") {
                reverse = Some(true);
            } else if by.is_none() && args.is(next, "bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && args.is(next, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(ReplyError::Syntax);
            }
            next += 1;
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if count != -1 && by == By::Rank {
            let text = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
            return Err(ReplyError::text(text));
        }
        if with_scores && by == By::Lex {
            return Err(ReplyError::text("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let (first, second) = (args.get(at), args.get(at + 1));
        let is_swapped = reverse && by != By::Rank;
        let (min, max) = if is_swapped { (second, first) } else { (first, second) };
        if by == By::Rank {
            offset = 0;
        }
        Ok(Query { ends: Ends::parse(by, min, max)?, reverse, offset, count, with_scores })
    }
    /// The ranks that are asked for.
    fn ranks(&self, zset: &SortedSet) -> Range<usize> {
        let Range { start, end } = self.ends.ranks(zset, self.reverse);
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let skipped = offset.min(end - start);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(end - start - skipped);
        if self.reverse { end - skipped - count..end - skipped } else { start + skipped..start + skipped + count }
    }
}

/// Replies a list of `count` members: flat in RESP2, in pairs in RESP3 if it has scores.
pub(super) fn begin_members(reply: &mut Reply, count: usize, with_scores: bool) {
    reply.array(if with_scores && reply.proto == Proto::Resp2 { 2 * count } else { count });
}

/// Replies one member of such a list.
#[inline]
pub(super) fn reply_member(reply: &mut Reply, member: &[u8], score: f64, with_scores: bool) {
    if !with_scores {
        return reply.bulk(member);
    }
    if reply.proto == Proto::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    reply.double(score);
}

fn reply_range(cx: &mut Cx<'_>, args: Args<'_>, by: Option<By>, reverse: Option<bool>) -> Result<Flow, ReplyError> {
    let query = Query::parse(&args, 2, Fixed { by, reverse, stores: false })?;
    let mark = cx.reply.mark();
    let Some(zset) = cx.keys.look::<SortedSet>(cx.key(&args, 1))? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let mut ranks = query.ranks(&zset);
    begin_members(cx.reply, ranks.len(), query.with_scores);
    while !ranks.is_empty() && unless_long(cx.reply, mark).is_continue() {
        let part = first_of(&mut ranks, query.reverse);
        zset.each(part, query.reverse, |member, score| reply_member(cx.reply, member, score, query.with_scores));
    }
    if ranks.is_empty() {
        return Ok(Flow::Done);
    }
    drop(zset);
    cx.reply.truncate(mark);
    reply_range_gradually(cx, &args, &query)
}

/// Takes the ranks off `ranks` that are replied before the reply is looked at again.
#[inline]
fn first_of(ranks: &mut Range<usize>, reverse: bool) -> Range<usize> {
    let len = ranks.len().min(RANKS_TOGETHER);
    if reverse {
        ranks.end -= len;
        ranks.end..ranks.end + len
    } else {
        ranks.start += len;
        ranks.start - len..ranks.start
    }
}

#[cold]
fn reply_range_gradually(cx: &mut Cx<'_>, args: &Args<'_>, query: &Query<'_>) -> Result<Flow, ReplyError> {
    let opened = cx.keys.open::<SortedSet>(cx.key(args, 1))?;
    let Some(mut zset) = opened else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let ranks = query.ranks(&zset);
    let snapshot = zset.snapshot(ranks);
    drop(zset);
    begin_members(cx.reply, snapshot.len(), query.with_scores);
    let (reverse, with_scores) = (query.reverse, query.with_scores);
    gradual::begin_parts(cx, snapshot, move |rest, cx| {
        rest.visit_some(reverse, |member, score| reply_member(cx.reply, member, score, with_scores))
    })
}

/// Reply a part of a sorted set.
/// Shape:  key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
/// Errors: Syntax, options that do not go together, ends that are not of the kind asked for.
pub(super) fn zrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_range(cx, args, None, None)
}

/// Reply a part by rank, the last member first.
pub(super) fn zrevrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_range(cx, args, Some(By::Rank), Some(true))
}

/// Reply a part by score.
pub(super) fn zrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_range(cx, args, Some(By::Score), Some(false))
}

/// Reply a part by score, the last member first.
/// Shape: key max min …
pub(super) fn zrevrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_range(cx, args, Some(By::Score), Some(true))
}

/// Reply a part by member.
pub(super) fn zrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_range(cx, args, Some(By::Lex), Some(false))
}

/// Reply a part by member, the last one first.
/// Shape: key max min …
pub(super) fn zrevrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_range(cx, args, Some(By::Lex), Some(true))
}

/// Store a part of a sorted set under another key, in the place of what is there; an empty part removes it.
/// Shape: destination source …, as ZRANGE but for WITHSCORES
pub(super) fn zrangestore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let query = Query::parse(&args, 3, Fixed { by: None, reverse: None, stores: true })?;
    let limits = limits(cx);
    let wanted = [(cx.key(&args, 1), Access::Write), (cx.key(&args, 2), Access::Read)];
    let (found, stored) = cx.keys.with_held(&wanted, |held| {
        let mut part = SortedSet::default();
        let found = match held.get::<SortedSet>(1) {
            Err(wrong) => return Ok((Err(wrong), (0, false))),
            Ok(None) => false,
            Ok(Some(zset)) => {
                zset.each(query.ranks(zset), false, |member, score| {
                    part.put(member, limits, score);
                });
                true
            }
        };
        Ok((Ok(found), store(held, 0, part)?))
    });
    let found = found?;
    cx.keys.looked_up(args.get(2), found);
    let (count, has_changed) = stored;
    tell_stored(cx, args.get(1), stored, "zrangestore");
    if count > 0 {
        cx.effects.filled(cx.keys.db(), args.get(1));
    }
    cx.effects.dirty += has_changed as u64;
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

/// Tells listeners what `store` has done.
pub(super) fn tell_stored(cx: &Cx<'_>, key: &[u8], stored: (usize, bool), event: &'static str) {
    match stored {
        (_, false) => {}
        (0, true) => cx.changed(key, Class::GENERIC, "del"),
        (_, true) => cx.changed(key, Class::ZSET, event),
    }
}

/// Puts a result under key `index`, or removes the key if the result is empty. Returns the number of members, and whether
/// anything has changed.
pub(super) fn store(
    held: &mut crate::keyspace::objects::HeldKeys<'_, '_, '_>,
    index: usize,
    result: SortedSet,
) -> Result<(usize, bool), crate::table::Lost> {
    let count = result.len();
    if count == 0 {
        return Ok((0, held.remove(index)?));
    }
    held.put(index, result)?;
    Ok((count, true))
}

fn count_range(cx: &mut Cx<'_>, args: Args<'_>, by: By) -> Result<Flow, ReplyError> {
    let ends = Ends::parse(by, args.get(2), args.get(3))?;
    let zset = cx.keys.look::<SortedSet>(cx.key(&args, 1))?;
    cx.reply.int(zset.map_or(0, |zset| ends.ranks(&zset, false).len()) as i64);
    Ok(Flow::Done)
}

/// Reply the number of members with scores between two.
/// Shape: key min max
pub(super) fn zcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    count_range(cx, args, By::Score)
}

/// Reply the number of members between two.
/// Shape: key min max
pub(super) fn zlexcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    count_range(cx, args, By::Lex)
}

fn remove_range(cx: &mut Cx<'_>, args: Args<'_>, by: By) -> Result<Flow, ReplyError> {
    let ends = Ends::parse(by, args.get(2), args.get(3))?;
    let removed = match cx.keys.open::<SortedSet>(cx.key(&args, 1))? {
        None => 0,
        Some(mut zset) => {
            let ranks = ends.ranks(&zset, false);
            zset.take(ranks.clone(), false, |_, _| {});
            if !ranks.is_empty() {
                cx.reduced(args.get(1), Class::ZSET, by.removal_event(), zset.is_empty());
            }
            ranks.len()
        }
    };
    cx.effects.dirty += removed as u64;
    cx.reply.int(removed as i64);
    Ok(Flow::Done)
}

/// Remove members by rank; reply how many.
/// Shape: key start stop
pub(super) fn zremrangebyrank(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    remove_range(cx, args, By::Rank)
}

/// Remove members by score; reply how many.
/// Shape: key min max
pub(super) fn zremrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    remove_range(cx, args, By::Score)
}

/// Remove members by their bytes; reply how many.
/// Shape: key min max
pub(super) fn zremrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    remove_range(cx, args, By::Lex)
}
