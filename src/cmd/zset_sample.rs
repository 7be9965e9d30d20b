//! Members of a sorted set in no order: random ones, and all of them bit by bit.

use super::command::{Cx, Flow};
use super::gradual::{self, CHOSEN_AT_ONCE, CHOSEN_TOGETHER, Sample};
use super::scan::ElementScan;
use super::zset_range::{begin_members, reply_member};
use crate::base::num::{f64_text, f64_text_17, parse_i64};
use crate::base::prng::Prng;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::object::Collection;
use crate::value::zset::SortedSet;
use std::collections::{BTreeSet, HashSet};

/// Reply a random member, or several.
/// Shape:  key [count [WITHSCORES]]       a negative count: with repetitions
/// Errors: count, Syntax.
pub(super) fn zrandmember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() > 2 {
        return several(cx, args);
    }
    match cx.keys.look::<SortedSet>(cx.key(&args, 1))? {
        None => cx.reply.null(),
        Some(zset) => {
            let rank = cx.prng.below(zset.len() as u64) as usize;
            zset.each(rank..rank + 1, false, |member, _| cx.reply.bulk(member));
        }
    }
    Ok(Flow::Done)
}

fn several(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let count = parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)?;
    if count == i64::MIN {
        let (min, max) = (-i64::MAX, i64::MAX);
        return Err(ReplyError::owned(format!("ERR value is out of range, value must between {min} and {max}")));
    }
    let with_scores = match args.count() {
        3 => false,
        4 if args.is(3, "withscores") => true,
        _ => return Err(ReplyError::Syntax),
    };
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(ReplyError::text("ERR value is out of range"));
    }
    let Some(zset) = cx.keys.look::<SortedSet>(cx.key(&args, 1))? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    if count.unsigned_abs() as usize > CHOSEN_AT_ONCE {
        drop(zset);
        return several_gradually(cx, &args, count, with_scores);
    }
    let (wanted, len) = (usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX), zset.len());
    let reply = &mut *cx.reply;
    if count < 0 {
        begin_members(reply, wanted, with_scores);
        let mut draw = Draw::new(&zset);
        (0..wanted).for_each(|_| draw.next(cx.prng, |member, score| reply_member(reply, member, score, with_scores)));
        return Ok(Flow::Done);
    }
    begin_members(reply, wanted.min(len), with_scores);
    let visit = |member: &[u8], score: f64| reply_member(reply, member, score, with_scores);
    distinct(&zset, wanted.min(len), cx.prng, visit);
    Ok(Flow::Done)
}

/// ZRANDMEMBER of many: `count` as it was given.
/// Cost: different members are drawn if they are few of all; otherwise a walk over all.
#[cold]
fn several_gradually(cx: &mut Cx<'_>, args: &Args<'_>, count: i64, with_scores: bool) -> Result<Flow, ReplyError> {
    let opened = cx.keys.open::<SortedSet>(cx.key(args, 1))?;
    let Some(mut zset) = opened else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let all = 0..zset.len();
    let snapshot = zset.snapshot(all);
    drop(zset);
    let (is_distinct, len) = (count > 0, snapshot.len());
    let wanted = count.unsigned_abs() as usize;
    let mut left = if is_distinct { wanted.min(len) } else { wanted };
    begin_members(cx.reply, left, with_scores);
    if is_distinct && left >= len / 64 {
        let mut sample = Sample { wanted: left, left: len };
        return gradual::begin_parts(cx, snapshot, move |rest, cx| {
            rest.visit_some(false, |member, score| {
                if sample.takes(cx.prng) {
                    reply_member(cx.reply, member, score, with_scores);
                }
            })
        });
    }
    let mut seen = HashSet::new();
    gradual::begin_parts(cx, snapshot, move |snapshot, cx| {
        for _ in 0..CHOSEN_TOGETHER.min(left) {
            let index = cx.prng.below(len as u64) as usize;
            if !is_distinct || seen.insert(index) {
                snapshot.visit_one(index, |member, score| reply_member(cx.reply, member, score, with_scores));
                left -= 1;
            }
        }
        left > 0
    })
}

/// Draws members with repetitions.
struct Draw<'a> {
    zset: &'a SortedSet,
    /// The members of a pack, which has to be read from its start to find one.
    unpacked: Vec<(Vec<u8>, f64)>,
}

impl<'a> Draw<'a> {
    fn new(zset: &'a SortedSet) -> Self {
        let mut unpacked = Vec::new();
        if let SortedSet::Pack(_) = zset {
            zset.each(0..zset.len(), false, |member, score| unpacked.push((member.to_vec(), score)));
        }
        Draw { zset, unpacked }
    }
    fn next(&mut self, prng: &mut Prng, mut visit: impl FnMut(&[u8], f64)) {
        let rank = prng.below(self.zset.len() as u64) as usize;
        match self.unpacked.get(rank) {
            Some((member, score)) => visit(member, *score),
            None => self.zset.each(rank..rank + 1, false, visit),
        }
    }
}

/// Visits `count` different members, each choice as likely as the others. `count` is not more than there are.
fn distinct(zset: &SortedSet, count: usize, prng: &mut Prng, mut visit: impl FnMut(&[u8], f64)) {
    let len = zset.len();
    if count < len / 3 && matches!(zset, SortedSet::Tree(_)) {
        let mut ranks = BTreeSet::new();
        while ranks.len() < count {
            ranks.insert(prng.below(len as u64) as usize);
        }
        return ranks.into_iter().for_each(|rank| zset.each(rank..rank + 1, false, &mut visit));
    }
    // One walk: who is looked at is taken with the chance that those still wanted have among those still to come.
    // Source: Knuth, TAOCP 2, algorithm 3.4.2 S.
    let (mut wanted, mut left) = (count as u64, len as u64);
    zset.each(0..len, false, |member, score| {
        if prng.chance(wanted, left) {
            visit(member, score);
            wanted -= 1;
        }
        left -= 1;
    });
}

/// One step through all members. Who is there from the first to the last step is returned at least once.
/// Shape:  key cursor [MATCH pattern] [COUNT count] [NOSCORES]
/// Errors: cursor; the options only if the key is there, as in Redis.
pub(super) fn zscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let cursor = ElementScan::cursor(&args)?;
    let Some(zset) = cx.keys.look::<SortedSet>(cx.key(&args, 1))? else {
        ElementScan::reply_nothing(cx.reply);
        return Ok(Flow::Done);
    };
    let scan = ElementScan::parse(&args, cursor)?;
    let with_scores = scan.with_values;
    // Redis prints what lies in a table in another way than what lies in a listpack.
    let text = if zset.encoding() == "skiplist" { f64_text_17 } else { f64_text };
    scan.run(cx.reply, |cursor, found| {
        zset.scan(cursor, |member, score| {
            if found.offer(member) && with_scores {
                found.push(text(score).as_bytes());
            }
        })
    });
    Ok(Flow::Done)
}
