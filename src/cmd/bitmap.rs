//! The bitmap family: strings as arrays of bits. Bit 0 is the most significant one of byte 0.

use super::bitfield;
use super::command::{Class, Command, Cx, Flow, KeySpec, acl, cmd, flag};
use super::edit::{self, bulk_len_max, int, string_of, update};
use super::keyspec::bitfield_access;
use crate::base::hash::Key;
use crate::base::ids::DbIndex;
use crate::base::num::parse_i64;
use crate::keyspace::FEW_KEYS;
use crate::keyspace::types::{RAW, Str, new_edited};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::{Change, Entry};
use crate::value::bits::{self, Operation};
use crate::value::range;
use smallvec::SmallVec;

pub static ROWS: &[Command] = &[
    cmd("setbit", setbit)
        .arity(4)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::BITMAP)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("bitmap", "2.2.0"),
    cmd("getbit", getbit)
        .arity(3)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::BITMAP)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("bitmap", "2.2.0"),
    cmd("bitcount", bitcount)
        .arity(-2)
        .flags(flag::READONLY)
        .acl(acl::BITMAP)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("bitmap", "2.6.0"),
    cmd("bitpos", bitpos)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::BITMAP)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("bitmap", "2.8.7"),
    cmd("bitop", bitop)
        .arity(-4)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::BITMAP)
        .keys(&[KeySpec::one(2, &["OW", "update"]), KeySpec::rest(3, 1, &["RO", "access"])])
        .group("bitmap", "2.6.0"),
    cmd("bitfield", bitfield::bitfield)
        .arity(-2)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::BITMAP)
        .keys(&[KeySpec::one(1, &["RW", "update", "access", "variable_flags"])])
        .key_flags(bitfield_access)
        .group("bitmap", "3.2.0"),
    cmd("bitfield_ro", bitfield::bitfield_ro)
        .arity(-2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::BITMAP)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("bitmap", "6.0.0"),
];

/// A bit's index. With `width` a leading `#` multiplies it by that many bits (BITFIELD).
/// Errors: no number, negative, or beyond proto-max-bulk-len.
pub(super) fn bit_offset(cx: &Cx<'_>, text: &[u8], width: Option<u32>) -> Result<u64, ReplyError> {
    let (text, factor) = match (text, width) {
        ([b'#', rest @ ..], Some(width)) => (rest, width as i64),
        _ => (text, 1),
    };
    parse_i64(text)
        .and_then(|number| number.checked_mul(factor))
        .and_then(|offset| u64::try_from(offset).ok())
        .filter(|offset| offset >> 3 < bulk_len_max(cx))
        .ok_or(ReplyError::text("ERR bit offset is not an integer or out of range"))
}

/// Set or clear a bit, zero-padding the value up to it; reply what it was.
/// Shape: key offset 0|1
/// Cost:  a changed value is copied whole.
fn setbit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let key = cx.key(&args, 1);
    let offset = bit_offset(cx, args.get(2), None)?;
    let on = match parse_i64(args.get(3)) {
        Some(bit @ (0 | 1)) => bit == 1,
        _ => return Err(ReplyError::text("ERR bit is not an integer or out of range")),
    };
    let (was, changes) = update(cx, key, |entry| {
        let mut digits = itoa::Buffer::new();
        let old = string_of(entry)?.map_or(&b""[..], |value| value.bytes(&mut digits));
        let len = old.len().max((offset >> 3) as usize + 1);
        let was = bits::get(old, offset);
        let changed = was != on || len != old.len();
        if !changed && is_raw(entry) {
            return Ok((Change::Keep, (was, 0)));
        }
        let new = new_edited(key.bytes, entry.and_then(Entry::expires_at), cx.keys.recency(), old, len, |bytes| {
            bits::set(bytes, offset, on);
        });
        Ok((Change::Put(new), (was, changed as u64)))
    })?;
    if changes > 0 {
        cx.changed(key.bytes, Class::STRING, "setbit");
    }
    cx.effects.dirty += changes;
    cx.reply.int(was as i64);
    Ok(Flow::Done)
}

/// A value that SETBIT and BITFIELD may leave alone if no bit changes. Any other becomes `raw` by being written to, even
/// with the same bits; clients see that in OBJECT ENCODING.
pub(super) fn is_raw(entry: Option<Entry<'_>>) -> bool {
    entry.is_some_and(|entry| entry.kind() == RAW)
}

/// Reply a bit; behind the end all are 0.
fn getbit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let offset = bit_offset(cx, args.get(2), None)?;
    let value = edit::read(cx, cx.key(&args, 1))?;
    let bit = value.is_some_and(|value| bits::get(value.bytes(&mut itoa::Buffer::new()), offset));
    cx.reply.int(bit as i64);
    Ok(Flow::Done)
}

/// A range of bytes or bits as BITCOUNT and BITPOS take it, from argument `first` on.
struct BitRange {
    start: i64,
    /// None: to the end of the value.
    end: Option<i64>,
    in_bits: bool,
}

impl BitRange {
    /// Shape:  [start [end [BYTE|BIT]]]
    /// Errors: Syntax, NotInteger: in the order in which Redis looks at the arguments.
    fn parse(args: &Args<'_>, first: usize) -> Result<Self, ReplyError> {
        let given = args.count() - first;
        if given > 3 {
            return Err(ReplyError::Syntax); // Before any argument is looked at.
        }
        let start = if given > 0 { int(args, first)? } else { 0 };
        let in_bits = match given {
            ..3 => false,
            3 if args.is(first + 2, "bit") => true,
            3 if args.is(first + 2, "byte") => false,
            _ => return Err(ReplyError::Syntax),
        };
        let end = if given > 1 { Some(int(args, first + 1)?) } else { None };
        Ok(BitRange { start, end, in_bits })
    }
    /// First and last bit of the range in a value of `len` bytes.
    fn bits(&self, len: usize) -> Option<(u64, u64)> {
        let unit = if self.in_bits { 1 } else { 8 };
        let part = range::clamp(self.start, self.end.unwrap_or(-1), len as u64 * 8 / unit)?;
        Some((part.start * unit, part.end * unit - 1))
    }
}

/// Count the ones in a value or in a part of it.
/// Shape: key [start [end [BYTE|BIT]]]
fn bitcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let range = BitRange::parse(&args, 2)?;
    let reversed = range::is_reversed(range.start, range.end.unwrap_or(-1));
    let value = edit::read(cx, cx.key(&args, 1))?.filter(|_| !reversed);
    let count = value.map_or(0, |value| {
        let mut digits = itoa::Buffer::new();
        let bytes = value.bytes(&mut digits);
        range.bits(bytes.len()).map_or(0, |(first, last)| bits::count_between(bytes, first, last))
    });
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

/// Find the first bit that is 0, or 1.
/// Shape: key 0|1 [start [end [BYTE|BIT]]]
///
/// A value goes on with zeros behind its end, unless the range has an end of its own; a missing key is all zeros.
fn bitpos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = match int(&args, 2)? {
        bit @ (0 | 1) => bit == 1,
        _ => return Err(ReplyError::text("ERR The bit argument must be 1 or 0.")),
    };
    let range = BitRange::parse(&args, 3)?;
    let position = match edit::read(cx, cx.key(&args, 1))? {
        None => {
            if wanted {
                None
            } else {
                Some(0)
            }
        }
        Some(value) => {
            let mut digits = itoa::Buffer::new();
            let bytes = value.bytes(&mut digits);
            let behind = (!wanted && range.end.is_none()).then_some(bytes.len() as u64 * 8);
            range.bits(bytes.len()).and_then(|(first, last)| bits::find(bytes, wanted, first, last).or(behind))
        }
    };
    cx.reply.int(position.map_or(-1, |at| at as i64));
    Ok(Flow::Done)
}

/// Combine several values bit by bit and store the result; reply its length.
/// Shape:  AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE destination source+
/// Errors: Syntax, a wrong number of sources, WrongType of a source; nothing is stored then.
fn bitop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let operation = operation(&args)?;
    let keys = cx.keys;
    let list = edit::list_of(args.count() - 2, |index| (keys.db(), cx.key(&args, index + 2)));
    let (len, changes, missing) = combine(cx, operation, &list)?;
    keys.looked_up_all(list.len() - 1, missing.iter().map(|&index| list[index].1.bytes));
    match (len, changes) {
        (0, 0) => {}
        (0, _) => cx.changed(args.get(2), Class::GENERIC, "del"),
        _ => cx.changed(args.get(2), Class::STRING, "set"),
    }
    cx.effects.dirty += changes;
    cx.reply.int(len as i64);
    Ok(Flow::Done)
}

/// The operation that argument 1 names, with the right number of sources.
fn operation(args: &Args<'_>) -> Result<Operation, ReplyError> {
    use Operation::*;
    const NAMES: [(&str, Operation); 8] = [
        ("AND", And),
        ("OR", Or),
        ("XOR", Xor),
        ("NOT", Not),
        ("DIFF", Diff),
        ("DIFF1", Diff1),
        ("ANDOR", AndOr),
        ("ONE", One),
    ];
    let (name, operation) = NAMES.into_iter().find(|(name, _)| args.is(1, name)).ok_or(ReplyError::Syntax)?;
    match (operation, args.count() - 3) {
        (Not, 2..) => Err(ReplyError::text("ERR BITOP NOT must be called with a single source key.")),
        (Diff | Diff1 | AndOr, 1) => {
            Err(ReplyError::owned(format!("ERR BITOP {name} must be called with at least two source keys.")))
        }
        _ => Ok(operation),
    }
}

type Combined = (usize, u64, SmallVec<[usize; FEW_KEYS]>);

/// Length of the result, number of changes, and which sources were not there. `list` begins with the destination.
fn combine(cx: &Cx<'_>, operation: Operation, list: &[(DbIndex, Key<'_>)]) -> Result<Combined, ReplyError> {
    let keys = cx.keys;
    keys.transact(list, |txn| {
        let mut values = Vec::with_capacity(list.len() - 1);
        for index in 1..list.len() {
            let source = keys.live(txn.old(index));
            source.into_iter().for_each(|entry| keys.touch(entry));
            values.push(string_of(source)?);
        }
        let missing = (1..list.len()).filter(|index| values[index - 1].is_none()).collect();
        let mut digits = vec![itoa::Buffer::new(); values.len()];
        let sources: Vec<&[u8]> = values
            .iter()
            .zip(&mut digits)
            .map(|(value, digits)| value.map_or(&b""[..], |v: Str<'_>| v.bytes(digits)))
            .collect();
        let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
        if len == 0 {
            txn.decide(0, Change::Remove);
            return Ok((0, keys.live(txn.old(0)).is_some() as u64, missing));
        }
        let new = new_edited(list[0].1.bytes, None, keys.recency(), &[], len, |out| {
            bits::combine(operation, &sources, out);
        });
        txn.decide(0, Change::Put(new));
        Ok((len, 1, missing))
    })
}
