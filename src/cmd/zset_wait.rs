//! Sorted sets that are waited for: BZPOPMIN, BZPOPMAX, BZMPOP.
//!
//! Each is its plain form, run when it arrives and again when one of its keys was filled. Only if there is nothing to take
//! does it park.

use super::blocking::Awaited;
use super::command::{Cx, Flow};
use super::zset_pop::{End, Form, Several, pop_first};
use crate::base::hash::Key;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

/// Take the member with the lowest score of the first of some sorted sets that has any, or wait for one.
/// Shape: key+ timeout
pub(super) fn bzpopmin(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    pop_one(cx, args, End::Min)
}

/// Take the member with the highest score of the first of some sorted sets that has any, or wait for one.
/// Shape: key+ timeout
pub(super) fn bzpopmax(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    pop_one(cx, args, End::Max)
}

fn pop_one(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<Flow, ReplyError> {
    let timeout_at = args.count() - 1;
    let keys: Vec<Key<'_>> = (1..timeout_at).map(|index| cx.key(&args, index)).collect();
    pop_or_wait(cx, args.get(timeout_at), &keys, end, 1, Form::Flat)
}

/// Take members of the first of some sorted sets that has any, or wait for one.
/// Shape: timeout numkeys key+ MIN|MAX [COUNT count]
pub(super) fn bzmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let several = Several::parse(&args, 2)?;
    let keys = several.keys(cx, &args);
    pop_or_wait(cx, args.get(1), &keys, several.end, several.count, Form::Pairs)
}

fn pop_or_wait(
    cx: &mut Cx<'_>,
    timeout: &[u8],
    keys: &[Key<'_>],
    end: End,
    count: usize,
    form: Form,
) -> Result<Flow, ReplyError> {
    let until = cx.patience(timeout)?;
    if pop_first(cx, keys, end, count, form)? {
        return Ok(Flow::Done);
    }
    if !cx.may_wait() {
        cx.reply.null_array();
        return Ok(Flow::Done);
    }
    Ok(cx.wait_for(Awaited::SortedSet, keys, until))
}
