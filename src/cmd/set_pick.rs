//! Some members of a set: SPOP, SRANDMEMBER and SSCAN.

use super::command::{Class, Cx, Flow};
use super::hash::reply_piece;
use super::scan::ElementScan;
use super::set::{look, reply_members};
use crate::base::num::parse_i64;
use crate::base::prng::Prng;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::object::Collection;
use crate::value::pack::Piece;
use crate::value::set::Set;
use std::collections::HashSet;

/// Remove a random member and reply it, or several.
/// Shape:  key [count]
pub(super) fn spop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() > 2 {
        return if args.count() == 3 { pop_several(cx, args) } else { Err(ReplyError::Syntax) };
    }
    match cx.keys.open::<Set>(cx.key(&args, 1))? {
        None => cx.reply.null(),
        Some(mut set) => {
            set.pop_random(cx.prng, |member| reply_piece(cx.reply, member));
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
    if popped == set.count() {
        reply_members(cx.reply, &set);
        set.clear();
    } else {
        cx.reply.set(popped);
        for _ in 0..popped {
            set.pop_random(cx.prng, |member| reply_piece(cx.reply, member));
        }
    }
    if popped > 0 {
        cx.reduced(args.get(1), Class::SET, "spop", set.is_empty());
    }
    cx.effects.dirty += popped as u64;
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
    if count < 0 {
        reply_draws(cx, &set, count.unsigned_abs() as usize);
        return Ok(Flow::Done);
    }
    let picked = pick(&set, count as usize, cx.prng);
    cx.reply.array(picked.len());
    picked.into_iter().for_each(|member| reply_piece(cx.reply, member));
    Ok(Flow::Done)
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
