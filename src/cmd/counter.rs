//! Counters: INCR and its kin.
//!
//! An integer lives in a cell of its entry, and INCR adds to the cell in place: no allocation, no replaced entry, and on one
//! hot key nothing but a CAS. Everything else goes the long way and stores a new entry: a missing key, a number kept as
//! text, a cell that somebody has frozen, a sum beyond the cell's 63 bits.

use super::command::{Class, Cx, Flow};
use super::edit::{int, string_of, update};
use crate::base::hash::Key;
use crate::base::num::parse_i64;
use crate::keyspace::types::{EMBSTR, EMBSTR_LEN_MAX, RAW, Str, new_bytes, new_int};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::entry::CellError;
use crate::table::{Change, Entry};
use crate::value::long_double::{LongDouble, Parsed};

/// Add 1 to an integer; a missing key counts as 0.
pub(super) fn incr(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    add(cx, &args, 1)
}

/// Subtract 1 from an integer.
pub(super) fn decr(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    add(cx, &args, -1)
}

/// Add an integer.
/// Shape: key increment
pub(super) fn incrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let delta = int(&args, 2)?;
    add(cx, &args, delta)
}

/// Subtract an integer.
/// Shape: key decrement
pub(super) fn decrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let delta = int(&args, 2)?.checked_neg().ok_or(ReplyError::text("ERR decrement would overflow"))?;
    add(cx, &args, delta)
}

/// Errors: WrongType, NotInteger if the value is none, IncrOverflow; nothing has changed then.
#[inline]
fn add(cx: &mut Cx<'_>, args: &Args<'_>, delta: i64) -> Result<Flow, ReplyError> {
    let key = cx.key(args, 1);
    let in_place = cx.keys.peek(key).map_or(Err(CellError::NotInPlace), |entry| {
        cx.keys.touch(entry);
        entry.cell_add(delta)
    });
    let sum = match in_place {
        Ok(sum) => sum,
        Err(CellError::Overflow) => return Err(ReplyError::IncrOverflow),
        Err(CellError::NotInPlace) => add_by_replacing(cx, key, delta)?,
    };
    cx.changed(key.bytes, Class::STRING, "incrby");
    cx.effects.dirty += 1;
    cx.reply.int(sum);
    Ok(Flow::Done)
}

#[cold]
fn add_by_replacing(cx: &Cx<'_>, key: Key<'_>, delta: i64) -> Result<i64, ReplyError> {
    update(cx, key, |entry| {
        let old = match string_of(entry)? {
            None => 0,
            Some(Str::Int(number)) => number,
            Some(Str::Bytes(text)) => parse_i64(text).ok_or(ReplyError::NotInteger)?,
            Some(Str::Blob(_)) => return Err(ReplyError::NotInteger),
        };
        let sum = old.checked_add(delta).ok_or(ReplyError::IncrOverflow)?;
        Ok((Change::Put(new_int(key.bytes, sum, entry.and_then(Entry::expires_at), cx.keys.recency())), sum))
    })
}

/// Add a floating point number, with the precision of C's `long double`; reply the sum.
/// Shape:  key increment
/// Errors: WrongType, NotFloat for value or increment, a sum that is not finite.
pub(super) fn incrbyfloat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let key = cx.key(&args, 1);
    let text = update(cx, key, |entry| {
        let old = match string_of(entry)? {
            None => Parsed::Finite(LongDouble::ZERO),
            Some(Str::Int(number)) => Parsed::Finite(LongDouble::from_i64(number)),
            Some(value) => float(value.bytes(&mut itoa::Buffer::new()))?,
        };
        let sum = match (old, float(args.get(2))?) {
            (Parsed::Finite(old), Parsed::Finite(increment)) => old.checked_add(increment),
            _ => None,
        };
        let text = sum.ok_or(ReplyError::text("ERR increment would produce NaN or Infinity"))?.text();
        // Redis keeps the sum as text, even a whole one.
        let kind = if text.len() <= EMBSTR_LEN_MAX { EMBSTR } else { RAW };
        let at = entry.and_then(Entry::expires_at);
        Ok((Change::Put(new_bytes(kind, key.bytes, text.as_bytes(), at, cx.keys.recency())), text))
    })?;
    cx.changed(key.bytes, Class::STRING, "incrbyfloat");
    cx.propagate(&[b"SET", key.bytes, text.as_bytes(), b"KEEPTTL"]);
    cx.effects.dirty += 1;
    cx.reply.bulk(text.as_bytes());
    Ok(Flow::Done)
}

fn float(text: &[u8]) -> Result<Parsed, ReplyError> {
    LongDouble::parse(text).ok_or(ReplyError::NotFloat)
}
