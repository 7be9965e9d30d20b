//! Taking members from an end of a sorted set.

use super::command::{Class, Cx, Flow};
use crate::base::hash::Key;
use crate::base::num::parse_i64;
use crate::keyspace::objects::Access;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::{Proto, Reply};
use crate::value::zset::SortedSet;

/// From which end members are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Min,
    Max,
}

/// How members are replied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// member score member score …
    Flat,
    /// [member score] [member score] …
    Pairs,
}

impl End {
    /// What listeners hear when members were taken from here.
    fn event(self) -> &'static str {
        if self == End::Min { "zpopmin" } else { "zpopmax" }
    }
    /// Takes up to `count` members and replies them. Returns how many.
    fn take(self, zset: &mut SortedSet, count: usize, form: Form, reply: &mut Reply) -> usize {
        let len = zset.len();
        let count = count.min(len);
        let ranks = if self == End::Min { 0..count } else { len - count..len };
        reply.array(if form == Form::Flat { 2 * count } else { count });
        zset.take(ranks, self == End::Max, |member, score| {
            if form == Form::Pairs {
                reply.array(2);
            }
            reply.bulk(member);
            reply.double(score);
        });
        count
    }
}

/// Take the members with the lowest scores.
/// Shape: key [count]
pub(super) fn zpopmin(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    pop(cx, args, End::Min)
}

/// Take the members with the highest scores, the highest first.
/// Shape: key [count]
pub(super) fn zpopmax(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    pop(cx, args, End::Max)
}

fn pop(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<Flow, ReplyError> {
    let count = match args.count() {
        2 => 1,
        3 => {
            let count = parse_i64(args.get(2)).and_then(|count| usize::try_from(count).ok());
            count.ok_or(ReplyError::text("ERR value is out of range, must be positive"))?
        }
        _ => return Err(ReplyError::Syntax),
    };
    let form = if args.count() == 3 && cx.reply.proto == Proto::Resp3 { Form::Pairs } else { Form::Flat };
    match cx.keys.open::<SortedSet>(cx.key(&args, 1))? {
        Some(mut zset) => {
            let taken = end.take(&mut zset, count, form, cx.reply);
            if taken > 0 {
                cx.reduced(args.get(1), Class::ZSET, end.event(), zset.is_empty());
            }
            cx.effects.dirty += taken as u64;
        }
        None => cx.reply.array(0),
    }
    Ok(Flow::Done)
}

/// Keys, an end and a number, as ZMPOP has them from argument `at` on.
/// Shape: numkeys key+ MIN|MAX [COUNT count]
pub(super) struct Several {
    first: usize,
    numkeys: usize,
    pub(super) end: End,
    pub(super) count: usize,
}

impl Several {
    pub(super) fn parse(args: &Args<'_>, at: usize) -> Result<Self, ReplyError> {
        let positive = |index: usize, error| {
            let number = parse_i64(args.get(index)).and_then(|number| usize::try_from(number).ok());
            number.filter(|&number| number > 0).ok_or(ReplyError::text(error))
        };
        let numkeys = positive(at, "ERR numkeys should be greater than 0")?;
        let end_at = numkeys.saturating_add(at + 1);
        let end = match () {
            _ if end_at >= args.count() => return Err(ReplyError::Syntax),
            _ if args.is(end_at, "min") => End::Min,
            _ if args.is(end_at, "max") => End::Max,
            _ => return Err(ReplyError::Syntax),
        };
        // A COUNT is read, and may be wrong itself, before what follows it is looked at.
        let count = match args.count() - end_at {
            1 => 1,
            3.. if args.is(end_at + 1, "count") => positive(end_at + 2, "ERR count should be greater than 0")?,
            _ => return Err(ReplyError::Syntax),
        };
        if args.count() > end_at + 3 {
            return Err(ReplyError::Syntax);
        }
        Ok(Several { first: at + 1, numkeys, end, count })
    }
    pub(super) fn keys<'a>(&self, cx: &Cx<'_>, args: &Args<'a>) -> Vec<Key<'a>> {
        (self.first..self.first + self.numkeys).map(|index| cx.key(args, index)).collect()
    }
}

/// Take members from the first of several sorted sets that has any.
/// Shape:  numkeys key+ MIN|MAX [COUNT count]
/// Errors: numkeys, count, Syntax; WrongType of a key in front of the first sorted set.
pub(super) fn zmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let several = Several::parse(&args, 1)?;
    let keys = several.keys(cx, &args);
    if !pop_first(cx, &keys, several.end, several.count, Form::Pairs)? {
        cx.reply.null_array();
    }
    Ok(Flow::Done)
}

/// Takes members from the first of `keys` that is there, and replies its name with them. False: none is there.
pub(super) fn pop_first(
    cx: &mut Cx<'_>,
    keys: &[Key<'_>],
    end: End,
    count: usize,
    form: Form,
) -> Result<bool, ReplyError> {
    let wanted: Vec<_> = keys.iter().map(|&key| (key, Access::Write)).collect();
    let mark = cx.reply.mark();
    let reply = &mut *cx.reply;
    let taken = cx.keys.with_held(&wanted, |held| {
        reply.truncate(mark);
        for (index, key) in keys.iter().enumerate() {
            match held.get_mut::<SortedSet>(index) {
                Ok(None) => {}
                Ok(Some(zset)) => {
                    let taken = reply_taken(reply, key.bytes, zset, end, count, form);
                    return Ok(Ok(Some((key, taken, zset.is_empty()))));
                }
                Err(wrong) => return Ok(Err(wrong)),
            }
        }
        Ok(Ok(None))
    })?;
    let Some((key, taken, is_gone)) = taken else { return Ok(false) };
    let command: &[u8] = if matches!(end, End::Min) { b"ZPOPMIN" } else { b"ZPOPMAX" };
    match form {
        Form::Flat => cx.propagate(&[command, key.bytes]),
        Form::Pairs => cx.propagate(&[command, key.bytes, itoa::Buffer::new().format(taken).as_bytes()]),
    }
    cx.reduced(key.bytes, Class::ZSET, end.event(), is_gone);
    cx.effects.dirty += taken as u64;
    Ok(true)
}

/// Replies the key and what is taken: `key member score`, or `key [[member score] …]`.
fn reply_taken(reply: &mut Reply, key: &[u8], zset: &mut SortedSet, end: End, count: usize, form: Form) -> usize {
    match form {
        Form::Pairs => {
            reply.array(2);
            reply.bulk(key);
            end.take(zset, count, form, reply)
        }
        Form::Flat => {
            reply.array(3);
            reply.bulk(key);
            let rank = if end == End::Min { 0 } else { zset.len() - 1 };
            zset.take(rank..rank + 1, false, |member, score| {
                reply.bulk(member);
                reply.double(score);
            });
            1
        }
    }
}
