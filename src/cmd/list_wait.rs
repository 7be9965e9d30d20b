//! Lists that are waited for: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH.
//!
//! Each is its plain form, run when it arrives and again when one of its keys was filled. Only if there is nothing to take
//! does it park; who waited first is run first, and the waiting itself is none of its business.

use super::blocking::Awaited;
use super::command::{Cx, Flow};
use super::list_move::{Several, end_of, move_element, pop_first};
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::keyspace::FEW_KEYS;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::list::End;
use smallvec::SmallVec;
use std::ops::Range;

/// Parks until one of these arguments' keys is filled; replies that nothing came if the time is up.
fn wait(cx: &mut Cx<'_>, args: &Args<'_>, keys: Range<usize>, until: Option<WallMs>) -> Flow {
    if !cx.may_wait() {
        cx.reply.null_array();
        return Flow::Done;
    }
    let keys: SmallVec<[Key<'_>; FEW_KEYS]> = keys.map(|index| cx.key(args, index)).collect();
    cx.wait_for(Awaited::List, &keys, until)
}

/// Take the first element of the first of some lists that has any, or wait for one.
/// Shape: key... timeout
pub(super) fn blpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let keys = 1..args.count() - 1;
    pop_or_wait(cx, args, args.count() - 1, keys, End::Front, None)
}

/// Take the last element of the first of some lists that has any, or wait for one.
/// Shape: key... timeout
pub(super) fn brpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let keys = 1..args.count() - 1;
    pop_or_wait(cx, args, args.count() - 1, keys, End::Back, None)
}

/// Take elements of the first of some lists that has any, or wait for one.
/// Shape: timeout numkeys key... LEFT|RIGHT [COUNT count]
pub(super) fn blmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let Several { keys, end, count } = Several::parse(&args, 2)?;
    pop_or_wait(cx, args, 1, keys, end, Some(count))
}

fn pop_or_wait(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    timeout_at: usize,
    keys: Range<usize>,
    end: End,
    count: Option<usize>,
) -> Result<Flow, ReplyError> {
    let until = cx.patience(args.get(timeout_at))?;
    if pop_first(cx, &args, keys.clone(), end, count)? { Ok(Flow::Done) } else { Ok(wait(cx, &args, keys, until)) }
}

/// Take an element from one end of a list and add it to one end of another, or wait for one.
/// Shape: source destination LEFT|RIGHT LEFT|RIGHT timeout
pub(super) fn blmove(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (from, to) = (end_of(&args, 3)?, end_of(&args, 4)?);
    move_or_wait(cx, args, 5, from, to)
}

/// Take the last element of a list and add it to the front of another, or wait for one.
/// Shape: source destination timeout
pub(super) fn brpoplpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    move_or_wait(cx, args, 3, End::Back, End::Front)
}

fn move_or_wait(cx: &mut Cx<'_>, args: Args<'_>, timeout_at: usize, from: End, to: End) -> Result<Flow, ReplyError> {
    let until = cx.patience(args.get(timeout_at))?;
    if move_element(cx, &args, from, to)? {
        return Ok(Flow::Done);
    }
    if cx.session.denies_blocking {
        cx.reply.null(); // In a transaction there is no element; after a timeout there is no array.
        return Ok(Flow::Done);
    }
    Ok(wait(cx, &args, 1..2, until))
}
