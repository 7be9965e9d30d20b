//! BITFIELD: several reads and writes of integers of any width, in one atomic command.

use super::bitmap::{bit_offset, is_raw};
use super::command::{Class, Cx, Flow};
use super::edit::{self, int, string_of, update};
use crate::base::hash::Key;
use crate::base::num::parse_i64;
use crate::keyspace::types::new_edited;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::{Change, Entry};
use crate::value::bitfield::{Field, Overflow};

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Incr(i64),
}

#[derive(Clone, Copy)]
struct Step {
    field: Field,
    action: Action,
    overflow: Overflow,
}

/// What the steps replied, None for an overflow that FAIL refused, and how many changed something.
type Outcome = (Vec<Option<i64>>, u64);

/// Read, write and increment integers within a string.
/// Shape:  key (GET type offset | SET type offset n | INCRBY type offset n | OVERFLOW WRAP|SAT|FAIL)*
/// Errors: Syntax, a bad type, offset or number; WrongType. Nothing has been written then.
/// Cost:   a changed value is copied whole.
pub(super) fn bitfield(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let steps = parse(cx, &args)?;
    run(cx, &args, &steps)
}

/// BITFIELD that only reads.
/// Shape: key (GET type offset)*
pub(super) fn bitfield_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let steps = parse(cx, &args)?;
    if last_written_bit(&steps).is_some() {
        return Err(ReplyError::text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    run(cx, &args, &steps)
}

fn parse(cx: &Cx<'_>, args: &Args<'_>) -> Result<Vec<Step>, ReplyError> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::default();
    let mut index = 2;
    while index < args.count() {
        let operands = args.count() - index - 1;
        let is = |word: &str| args.is(index, word);
        match () {
            _ if is("overflow") && operands >= 1 => {
                overflow = parse_overflow(args, index + 1)?;
                index += 2;
            }
            _ if is("get") && operands >= 2 => {
                steps.push(Step { field: parse_field(cx, args, index + 1)?, action: Action::Get, overflow });
                index += 3;
            }
            _ if (is("set") || is("incrby")) && operands >= 3 => {
                let field = parse_field(cx, args, index + 1)?;
                let number = int(args, index + 3)?;
                let action = if is("set") { Action::Set(number) } else { Action::Incr(number) };
                steps.push(Step { field, action, overflow });
                index += 4;
            }
            _ => return Err(ReplyError::Syntax),
        }
    }
    Ok(steps)
}

fn parse_overflow(args: &Args<'_>, index: usize) -> Result<Overflow, ReplyError> {
    match () {
        _ if args.is(index, "wrap") => Ok(Overflow::Wrap),
        _ if args.is(index, "sat") => Ok(Overflow::Saturate),
        _ if args.is(index, "fail") => Ok(Overflow::Fail),
        _ => Err(ReplyError::text("ERR Invalid OVERFLOW type specified")),
    }
}

/// `i5 100` or `u8 #3`: type and offset.
fn parse_field(cx: &Cx<'_>, args: &Args<'_>, index: usize) -> Result<Field, ReplyError> {
    let (signed, width) = match args.get(index) {
        [b'i', width @ ..] => (true, parse_i64(width).filter(|width| (1..=64).contains(width))),
        [b'u', width @ ..] => (false, parse_i64(width).filter(|width| (1..=63).contains(width))),
        _ => (false, None),
    };
    let bits = width.ok_or(ReplyError::text(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    ))? as u32;
    Ok(Field { offset: bit_offset(cx, args.get(index + 1), Some(bits))?, bits, signed })
}

/// The highest bit that a SET or INCRBY touches; None if all steps only read.
fn last_written_bit(steps: &[Step]) -> Option<u64> {
    steps.iter().filter(|step| !matches!(step.action, Action::Get)).map(|step| step.field.last_bit()).max()
}

fn run(cx: &mut Cx<'_>, args: &Args<'_>, steps: &[Step]) -> Result<Flow, ReplyError> {
    let key = cx.key(args, 1);
    let (replies, changes) = match last_written_bit(steps) {
        None => (read_all(cx, key, steps)?, 0),
        Some(last_bit) => write_all(cx, key, steps, last_bit)?,
    };
    if changes > 0 {
        cx.changed(key.bytes, Class::STRING, "setbit");
    }
    cx.effects.dirty += changes;
    cx.reply.array(replies.len());
    for reply in replies {
        match reply {
            Some(number) => cx.reply.int(number),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

fn read_all(cx: &Cx<'_>, key: Key<'_>, steps: &[Step]) -> Result<Vec<Option<i64>>, ReplyError> {
    let mut digits = itoa::Buffer::new();
    let bytes = edit::read(cx, key)?.map_or(&b""[..], |value| value.bytes(&mut digits));
    Ok(steps.iter().map(|step| Some(step.field.read(bytes))).collect())
}

/// All steps on a copy that reaches at least to `last_bit`; the copy is stored even if every write failed, as in Redis.
fn write_all(cx: &Cx<'_>, key: Key<'_>, steps: &[Step], last_bit: u64) -> Result<Outcome, ReplyError> {
    update(cx, key, |entry| {
        let mut digits = itoa::Buffer::new();
        let old = string_of(entry)?.map_or(&b""[..], |value| value.bytes(&mut digits));
        let len = old.len().max((last_bit >> 3) as usize + 1);
        let grown = len != old.len();
        let mut outcome = (Vec::new(), 0);
        let new = new_edited(key.bytes, entry.and_then(Entry::expires_at), cx.keys.recency(), old, len, |bytes| {
            outcome = apply(steps, bytes, grown);
        });
        let change = if outcome.1 == 0 && !grown && is_raw(entry) { Change::Keep } else { Change::Put(new) };
        Ok((change, outcome))
    })
}

/// Runs the steps in order. In a value that has just grown every write counts as a change.
fn apply(steps: &[Step], bytes: &mut [u8], grown: bool) -> Outcome {
    let mut changes = 0;
    let replies = steps.iter().map(|&Step { field, action, overflow }| {
        let old = field.read(bytes);
        let (new, reply_new) = match action {
            Action::Get => return Some(old),
            Action::Set(number) => (field.fit(number, 0, overflow)?, false),
            Action::Incr(number) => (field.fit(old, number, overflow)?, true),
        };
        field.write(bytes, new);
        changes += (grown || new != old) as u64;
        Some(if reply_new { new } else { old })
    });
    (replies.collect(), changes)
}
