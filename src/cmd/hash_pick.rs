//! Some fields of a hash: HRANDFIELD and HSCAN.

use super::command::{Cx, Flow};
use super::gradual::{self, CHOSEN_AT_ONCE, CHOSEN_TOGETHER, Sample};
use super::hash::{look, reply_piece};
use super::scan::ElementScan;
use crate::base::clock::WallMs;
use crate::base::num::parse_i64;
use crate::base::prng::Prng;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::{Proto, Reply};
use crate::value::hash::Hash;
use crate::value::pack::Piece;
use std::collections::HashSet;

type Pair<'a> = (Piece<'a>, Piece<'a>);

/// One random field, or several.
/// Shape:  key [count [WITHVALUES]]        a negative count allows for repetitions
/// Errors: NotInteger, Syntax, a count out of range.
pub(super) fn hrandfield(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now;
    cx.keys.expire_fields(cx.key(&args, 1));
    if args.count() == 2 {
        let hash = look(cx, &args)?;
        match hash.as_ref().and_then(|hash| hash.random(now, cx.prng)) {
            Some((name, _)) => reply_piece(cx.reply, name),
            None => cx.reply.null(),
        }
        return Ok(Flow::Done);
    }
    let wanted = Wanted::parse(&args)?;
    let Some(hash) = look(cx, &args)? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    if wanted.count > CHOSEN_AT_ONCE {
        drop(hash);
        return hrandfield_gradually(cx, &args, wanted);
    }
    if wanted.with_repetitions {
        return Ok(reply_draws(cx, &hash, &wanted));
    }
    let picked = pick(&hash, wanted.count, now, cx.prng);
    wanted.reply_head(cx.reply, picked.len());
    picked.into_iter().for_each(|pair| wanted.reply(cx.reply, pair));
    Ok(Flow::Done)
}

/// What HRANDFIELD with a count is asked for.
struct Wanted {
    count: usize,
    with_repetitions: bool,
    with_values: bool,
}

impl Wanted {
    fn parse(args: &Args<'_>) -> Result<Self, ReplyError> {
        let count = parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)?;
        if count == i64::MIN {
            let range = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
            return Err(ReplyError::text(range));
        }
        let with_values = args.count() == 4 && args.is(3, "withvalues");
        if args.count() > 3 && !with_values {
            return Err(ReplyError::Syntax);
        }
        if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(ReplyError::text("ERR value is out of range"));
        }
        Ok(Wanted { count: count.unsigned_abs() as usize, with_repetitions: count < 0, with_values })
    }
    fn reply_head(&self, reply: &mut Reply, count: usize) {
        let is_flat = self.with_values && reply.proto == Proto::Resp2;
        reply.array(if is_flat { count * 2 } else { count });
    }
    fn reply(&self, reply: &mut Reply, (name, value): Pair<'_>) {
        if self.with_values && reply.proto == Proto::Resp3 {
            reply.array(2);
        }
        reply_piece(reply, name);
        if self.with_values {
            reply_piece(reply, value);
        }
    }
}

/// HRANDFIELD of many.
/// Cost: different fields are drawn if they are few of all; otherwise a walk over all.
#[cold]
fn hrandfield_gradually(cx: &mut Cx<'_>, args: &Args<'_>, wanted: Wanted) -> Result<Flow, ReplyError> {
    let now = cx.keys.now;
    let opened = cx.keys.open::<Hash>(cx.key(args, 1))?;
    let living = opened.map(|mut hash| (hash.snapshot(), hash.len(now))).filter(|&(_, len)| len > 0);
    let Some((snapshot, len)) = living else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let mut left = if wanted.with_repetitions { wanted.count } else { wanted.count.min(len) };
    wanted.reply_head(cx.reply, left);
    let is_drawn = wanted.with_repetitions || snapshot.is_table() && left < len / 64;
    if !is_drawn {
        let mut sample = Sample { wanted: left, left: len };
        return gradual::begin(cx, snapshot, move |rest, cx| {
            rest.visit_some(now, |name, value| {
                if sample.takes(cx.prng) {
                    wanted.reply(cx.reply, (name, value));
                }
            })
        });
    }
    let mut seen = HashSet::new();
    gradual::begin(cx, snapshot, move |hash, cx| {
        for _ in 0..CHOSEN_TOGETHER.min(left) {
            let Some(pair) = hash.random(now, cx.prng) else { return false };
            if let Piece::Bytes(name) = pair.0
                && !wanted.with_repetitions
                && !seen.insert(name.as_ptr().addr())
            {
                continue; // A table's names are bytes, each at its own address as long as the snapshot lives.
            }
            wanted.reply(cx.reply, pair);
            left -= 1;
        }
        left > 0
    })
}

/// Independent draws.
fn reply_draws(cx: &mut Cx<'_>, hash: &Hash, wanted: &Wanted) -> Flow {
    let now = cx.keys.now;
    if hash.len(now) == 0 {
        cx.reply.array(0);
        return Flow::Done;
    }
    // A draw from a pack walks over it: several draws walk once.
    let all = if hash.is_table() { Vec::new() } else { collect(hash, now) };
    wanted.reply_head(cx.reply, wanted.count);
    for _ in 0..wanted.count {
        let pair = match all.len() {
            0 => hash.random(now, cx.prng),
            len => Some(all[cx.prng.below(len as u64) as usize]),
        };
        if let Some(pair) = pair {
            wanted.reply(cx.reply, pair);
        }
    }
    Flow::Done
}

fn collect(hash: &Hash, now: WallMs) -> Vec<Pair<'_>> {
    let mut all = Vec::with_capacity(hash.len(now));
    hash.for_each(now, |name, value| all.push((name, value)));
    all
}

/// `count` different fields in random order, or all in theirs.
/// Cost: as many draws; for more than a third of the fields, a walk over all.
fn pick<'a>(hash: &'a Hash, count: usize, now: WallMs, prng: &mut Prng) -> Vec<Pair<'a>> {
    let len = hash.len(now);
    if count >= len {
        return collect(hash, now);
    }
    if !hash.is_table() || count > len / 3 {
        let mut all = collect(hash, now);
        for at in 0..count {
            let from = at + prng.below((len - at) as u64) as usize;
            all.swap(at, from);
        }
        all.truncate(count);
        return all;
    }
    let (mut seen, mut picked) = (HashSet::with_capacity(count), Vec::with_capacity(count));
    while picked.len() < count {
        let Some(pair) = hash.random(now, prng) else { break };
        // A table's names are bytes, each at its own address as long as the hash is held.
        if let (Piece::Bytes(name), _) = pair
            && seen.insert(name.as_ptr())
        {
            picked.push(pair);
        }
    }
    picked
}

/// One step through the fields. What is there from the first step to the last is returned at least once.
/// Shape:  key cursor [MATCH pattern] [COUNT count] [NOVALUES]
/// Errors: cursor; options only if the key is there, as in Redis.
pub(super) fn hscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let cursor = ElementScan::cursor(&args)?;
    let Some(hash) = look(cx, &args)? else {
        ElementScan::reply_nothing(cx.reply);
        return Ok(Flow::Done);
    };
    let scan = ElementScan::parse(&args, cursor)?;
    let (now, with_values) = (cx.keys.now, scan.with_values);
    scan.run(cx.reply, |cursor, found| {
        hash.scan(cursor, now, |field| match field {
            Some((name, value)) => {
                if found.offer(name.text(&mut itoa::Buffer::new())) && with_values {
                    found.push(value.text(&mut itoa::Buffer::new()));
                }
            }
            None => found.pass_over(),
        })
    });
    Ok(Flow::Done)
}
