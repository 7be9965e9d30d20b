//! Lists and several keys: LMOVE, RPOPLPUSH, LMPOP, and what their waiting forms share with them.
//!
//! All keys of a command are locked together, so that the first list with elements is the first at one instant, and an
//! element that moves is never in both lists or in none.

use super::command::{Class, Cx, Flow};
use super::list::{limits, pop_event, push_event, reply_element, take_elements};
use crate::base::hash::Key;
use crate::base::num::parse_i64;
use crate::keyspace::FEW_KEYS;
use crate::keyspace::objects::Access;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::list::{End, List};
use crate::value::object::Collection;
use smallvec::SmallVec;

/// `LEFT` or `RIGHT`.
pub(super) fn end_of(args: &Args<'_>, at: usize) -> Result<End, ReplyError> {
    match () {
        _ if at >= args.count() => Err(ReplyError::Syntax),
        _ if args.is(at, "left") => Ok(End::Front),
        _ if args.is(at, "right") => Ok(End::Back),
        _ => Err(ReplyError::Syntax),
    }
}

/// Take an element from one end of a list and add it to one end of another, or of the same.
/// Shape: source destination LEFT|RIGHT LEFT|RIGHT
pub(super) fn lmove(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (from, to) = (end_of(&args, 3)?, end_of(&args, 4)?);
    if !move_element(cx, &args, from, to)? {
        cx.reply.null();
    }
    Ok(Flow::Done)
}

/// Take the last element of a list and add it to the front of another.
/// Shape: source destination
pub(super) fn rpoplpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if !move_element(cx, &args, End::Back, End::Front)? {
        cx.reply.null();
    }
    Ok(Flow::Done)
}

/// Moves an element from argument 1's list to argument 2's and replies it; false if there is none.
/// Errors: WrongType of the source, then, if there is an element, of the destination.
pub(super) fn move_element(cx: &mut Cx<'_>, args: &Args<'_>, from: End, to: End) -> Result<bool, ReplyError> {
    let (source, destination) = (cx.key(args, 1), cx.key(args, 2));
    let (keys, limits, mark) = (cx.keys, limits(cx), cx.reply.mark());
    let moved = keys.with_held(&[(source, Access::Write), (destination, Access::Write)], |held| {
        cx.reply.truncate(mark);
        match held.get::<List>(0) {
            Err(error) => return Ok(Err(error)),
            Ok(None) => return Ok(Ok(None)),
            Ok(Some(_)) => {}
        }
        if let Err(error) = held.get_or_create::<List>(1)? {
            return Ok(Err(error));
        }
        let Ok(Some(list)) = held.get_mut::<List>(0) else { unreachable!("the source is there and locked") };
        let value = list.pop(from, &limits, |element| {
            reply_element(cx.reply, element);
            SmallVec::<[u8; 64]>::from_slice(element.text(&mut itoa::Buffer::new()))
        });
        let Ok(Some(list)) = held.get_mut::<List>(1) else { unreachable!("the destination is there and locked") };
        if let Some(value) = &value {
            list.expect(value.len(), 1, &limits);
            list.push(to, value, &limits);
        }
        let Ok(Some(list)) = held.get::<List>(0) else { unreachable!("the source is there and locked") };
        Ok(Ok(value.map(|_| list.is_empty())))
    })?;
    if let Some(is_gone) = moved {
        cx.changed(destination.bytes, Class::LIST, push_event(to));
        cx.reduced(source.bytes, Class::LIST, pop_event(from), is_gone);
        cx.effects.filled(keys.db(), destination.bytes);
        if args.is(0, "rpoplpush") || args.is(0, "brpoplpush") {
            cx.propagate(&[b"RPOPLPUSH", source.bytes, destination.bytes]);
        } else {
            cx.propagate(&[b"LMOVE", source.bytes, destination.bytes, word_of(from), word_of(to)]);
        }
        cx.effects.dirty += 1;
    }
    Ok(moved.is_some())
}

fn word_of(end: End) -> &'static [u8] {
    if matches!(end, End::Front) { b"LEFT" } else { b"RIGHT" }
}

/// What LMPOP is asked for.
pub(super) struct Several {
    /// The arguments that are keys.
    pub(super) keys: std::ops::Range<usize>,
    pub(super) end: End,
    pub(super) count: usize,
}

impl Several {
    /// Shape:  numkeys key... LEFT|RIGHT [COUNT count], from argument `at` on
    pub(super) fn parse(args: &Args<'_>, at: usize) -> Result<Self, ReplyError> {
        let first = at + 1;
        let key_count = positive(args.get(at), "ERR numkeys should be greater than 0")?;
        let end_at = first.saturating_add(key_count);
        let mut several = Several { keys: first..end_at, end: end_of(args, end_at)?, count: 1 };
        match args.count() - end_at - 1 {
            0 => {}
            2 if args.is(end_at + 1, "count") => {
                several.count = positive(args.get(end_at + 2), "ERR count should be greater than 0")?;
            }
            more => return Err(wrong_tail(args, end_at + 1, more)),
        }
        Ok(several)
    }
}

/// What is wrong behind LEFT or RIGHT: a COUNT is read, and may be wrong itself, before what follows it is looked at.
fn wrong_tail(args: &Args<'_>, at: usize, more: usize) -> ReplyError {
    if more > 2 && args.is(at, "count") {
        positive(args.get(at + 1), "ERR count should be greater than 0").err().unwrap_or(ReplyError::Syntax)
    } else {
        ReplyError::Syntax
    }
}

fn positive(text: &[u8], error: &'static str) -> Result<usize, ReplyError> {
    let value = parse_i64(text).filter(|&value| value > 0);
    value.map(|value| value as usize).ok_or(ReplyError::text(error))
}

/// Remove and reply elements of the first of some lists that has any.
/// Shape: numkeys key... LEFT|RIGHT [COUNT count]
pub(super) fn lmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let Several { keys, end, count } = Several::parse(&args, 1)?;
    if !pop_first(cx, &args, keys, end, Some(count))? {
        cx.reply.null_array();
    }
    Ok(Flow::Done)
}

/// Removes an element, or up to `count` of them, from the first of the lists that is there, and replies its key and what was
/// removed; false if there is none.
/// Errors: WrongType of a key before the first list.
pub(super) fn pop_first(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    indexes: std::ops::Range<usize>,
    end: End,
    count: Option<usize>,
) -> Result<bool, ReplyError> {
    let wanted: SmallVec<[(Key<'_>, Access); FEW_KEYS]> =
        indexes.map(|index| (cx.key(args, index), Access::Write)).collect();
    let (keys, limits) = (cx.keys, limits(cx));
    let mut reply_from = |list: &mut List, key: Key<'_>| {
        cx.reply.array(2);
        cx.reply.bulk(key.bytes);
        let taken = match count {
            Some(count) => take_elements(cx.reply, list, end, count, &limits),
            None => list.pop(end, &limits, |element| reply_element(cx.reply, element)).map_or(0, |()| 1),
        };
        (taken, list.is_empty())
    };
    let taken = match wanted[..] {
        [(key, _)] => keys.open::<List>(key)?.map(|mut list| (key, reply_from(&mut list, key))),
        _ => keys.with_held(&wanted, |held| {
            for (index, &(key, _)) in wanted.iter().enumerate() {
                match held.get_mut::<List>(index) {
                    Err(error) => return Ok(Err(error)),
                    Ok(Some(list)) => return Ok(Ok(Some((key, reply_from(list, key))))),
                    Ok(None) => {}
                }
            }
            Ok(Ok(None))
        })?,
    };
    let Some((key, (taken, is_gone))) = taken else { return Ok(false) };
    cx.reduced(key.bytes, Class::LIST, pop_event(end), is_gone);
    let command: &[u8] = if matches!(end, End::Front) { b"LPOP" } else { b"RPOP" };
    match count {
        None => cx.propagate(&[command, key.bytes]),
        Some(_) => cx.propagate(&[command, key.bytes, itoa::Buffer::new().format(taken).as_bytes()]),
    }
    cx.effects.dirty += taken as u64;
    Ok(true)
}
