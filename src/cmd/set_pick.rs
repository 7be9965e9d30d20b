//! Some members of a set: SPOP, SRANDMEMBER and SSCAN.

use super::command::{Class, Cx, Flow};
use super::gradual::{self, CHOSEN_AT_ONCE, CHOSEN_TOGETHER, Sample};
use super::hash::reply_piece;
use super::scan::ElementScan;
use super::set::look;
use crate::base::num::parse_i64;
use crate::base::prng::Prng;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::object::Collection;
use crate::value::pack::Piece;
use crate::value::set::Set;
use std::collections::HashSet;

/// What chance has taken, for the record.
#[derive(Default)]
struct Popped(Vec<Box<[u8]>>);

impl Popped {
    #[inline]
    fn note(&mut self, is_wanted: bool, member: &Piece<'_>) {
        if is_wanted {
            self.0.push(member.text(&mut itoa::Buffer::new()).into());
        }
    }
    /// So many members at most in one record. Source: Redis.
    const TOGETHER: usize = 1024;

    fn propagate(&self, cx: &Cx<'_>, key: &[u8]) {
        for some in self.0.chunks(Self::TOGETHER) {
            let words: Vec<&[u8]> =
                [&b"SREM"[..], key].into_iter().chain(some.iter().map(|member| &**member)).collect();
            cx.propagate(&words);
        }
    }
}

/// Remove a random member and reply it, or several.
/// Shape:  key [count]
pub(super) fn spop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() > 2 {
        return if args.count() == 3 { pop_several(cx, args) } else { Err(ReplyError::Syntax) };
    }
    match cx.keys.open::<Set>(cx.key(&args, 1))? {
        None => cx.reply.null(),
        Some(mut set) => {
            let mut popped = Popped::default();
            set.pop_random(cx.prng, |member| {
                popped.note(cx.keys.local.events.is_journaled(), &member);
                reply_piece(cx.reply, member);
            });
            popped.propagate(cx, args.get(1));
            cx.reduced(args.get(1), Class::SET, "spop", set.is_empty());
            cx.effects.dirty += 1;
        }
    }
    Ok(Flow::Done)
}

fn pop_several(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let count = parse_i64(args.get(2)).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(ReplyError::text("ERR value is out of range, must be positive"))?;
    let Some(mut set) = cx.keys.open::<Set>(cx.key(&args, 1))? else {
        cx.reply.set(0);
        return Ok(Flow::Done);
    };
    let popped = count.min(set.count());
    cx.effects.dirty += popped as u64;
    cx.reply.set(popped);
    if popped == set.count() {
        let all = std::mem::take(&mut *set);
        cx.reduced(args.get(1), Class::SET, "spop", true);
        if popped > 0 {
            cx.propagate(&[b"DEL", args.get(1)]);
        }
        drop(set);
        return gradual::begin(cx, all, |rest, cx| rest.visit_some(|member| reply_piece(cx.reply, member)));
    }
    let mut noted = Popped::default();
    for _ in 0..popped {
        set.pop_random(cx.prng, |member| {
            noted.note(cx.keys.local.events.is_journaled(), &member);
            reply_piece(cx.reply, member);
        });
    }
    if popped > 0 {
        noted.propagate(cx, args.get(1));
        cx.reduced(args.get(1), Class::SET, "spop", false);
    }
    Ok(Flow::Done)
}

/// Reply a random member, or several.
/// Shape:  key [count]                     a negative count allows for repetitions
/// Errors: NotInteger, a count out of range; before the key is looked at.
pub(super) fn srandmember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    match args.count() {
        2 => {
            let set = look(cx, &args)?;
            match set.as_ref().and_then(|set| set.random(cx.prng)) {
                Some(member) => reply_piece(cx.reply, member),
                None => cx.reply.null(),
            }
            return Ok(Flow::Done);
        }
        3 => {}
        _ => return Err(ReplyError::Syntax),
    }
    let count = parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)?;
    if count == i64::MIN {
        let range = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
        return Err(ReplyError::text(range));
    }
    let Some(set) = look(cx, &args)? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    if count.unsigned_abs() as usize > CHOSEN_AT_ONCE {
        drop(set);
        return srandmember_gradually(cx, &args, count);
    }
    if count < 0 {
        reply_draws(cx, &set, count.unsigned_abs() as usize);
        return Ok(Flow::Done);
    }
    let picked = pick(&set, count as usize, cx.prng);
    cx.reply.array(picked.len());
    picked.into_iter().for_each(|member| reply_piece(cx.reply, member));
    Ok(Flow::Done)
}

/// SRANDMEMBER of many: `count` as it was given.
/// Cost: different members are drawn if they are few of all; otherwise a walk over all.
#[cold]
fn srandmember_gradually(cx: &mut Cx<'_>, args: &Args<'_>, count: i64) -> Result<Flow, ReplyError> {
    let Some(snapshot) = cx.keys.open::<Set>(cx.key(args, 1))?.map(|mut set| set.snapshot()) else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let (mut wanted, all) = (count.unsigned_abs() as usize, snapshot.count());
    let is_distinct = count > 0;
    if is_distinct {
        wanted = wanted.min(all);
    }
    cx.reply.array(wanted);
    if is_distinct && !(matches!(snapshot, Set::Table(_)) && wanted < all / 64) {
        let mut sample = Sample { wanted, left: all };
        return gradual::begin(cx, snapshot, move |rest, cx| {
            rest.visit_some(|member| {
                if sample.takes(cx.prng) {
                    reply_piece(cx.reply, member);
                }
            })
        });
    }
    let mut seen = HashSet::new();
    gradual::begin(cx, snapshot, move |set, cx| {
        for _ in 0..CHOSEN_TOGETHER.min(wanted) {
            let Some(member) = set.random(cx.prng) else { return false };
            if let Piece::Bytes(bytes) = member
                && is_distinct
                && !seen.insert(bytes.as_ptr().addr())
            {
                continue; // A table's members are bytes, each at its own address as long as the snapshot lives.
            }
            reply_piece(cx.reply, member);
            wanted -= 1;
        }
        wanted > 0
    })
}

/// Independent draws.
fn reply_draws(cx: &mut Cx<'_>, set: &Set, count: usize) {
    cx.reply.array(count);
    // A draw from a pack walks over it: several draws walk once.
    let all = if matches!(set, Set::Pack(_)) { collect(set) } else { Vec::new() };
    for _ in 0..count {
        let member = match all.len() {
            0 => set.random(cx.prng),
            len => Some(all[cx.prng.below(len as u64) as usize]),
        };
        member.into_iter().for_each(|member| reply_piece(cx.reply, member));
    }
}

fn collect(set: &Set) -> Vec<Piece<'_>> {
    let mut all = Vec::with_capacity(set.count());
    set.for_each(|member| all.push(member));
    all
}

/// `count` different members, or all.
/// Cost: as many draws; of a small set, or for more than a third of the members, a walk over all.
fn pick<'a>(set: &'a Set, count: usize, prng: &mut Prng) -> Vec<Piece<'a>> {
    let all = set.count();
    if count >= all {
        return collect(set);
    }
    let mut picked = Vec::with_capacity(count);
    if !matches!(set, Set::Table(_)) || count > all / 3 {
        set.sample(count, prng, |member| picked.push(member));
        return picked;
    }
    let mut seen = HashSet::with_capacity(count);
    while picked.len() < count {
        // A table's members are bytes, each at its own address as long as the set is held.
        let Some(Piece::Bytes(member)) = set.random(prng) else { break };
        if seen.insert(member.as_ptr()) {
            picked.push(Piece::Bytes(member));
        }
    }
    picked
}

/// One step through the members. What is there from the first step to the last is returned at least once.
/// Shape:  key cursor [MATCH pattern] [COUNT count]
/// Errors: cursor; options only if the key is there, as in Redis.
pub(super) fn sscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let cursor = ElementScan::cursor(&args)?;
    let Some(set) = look(cx, &args)? else {
        ElementScan::reply_nothing(cx.reply);
        return Ok(Flow::Done);
    };
    let scan = ElementScan::parse(&args, cursor)?;
    scan.run(cx.reply, |cursor, found| {
        set.scan(cursor, |member| {
            found.offer(member.text(&mut itoa::Buffer::new()));
        })
    });
    Ok(Flow::Done)
}
