//! Strings under several keys at once: MGET, MSET, MSETNX, MSETEX. Each is atomic for every observer.

use super::command::{Cx, Flow};
use super::edit::{Value, list_of, reply_string};
use super::options::{self, Condition, Expiry, Options};
use super::string::tell_stored;
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::base::ids::DbIndex;
use crate::base::num::parse_i64;
use crate::keyspace::FEW_KEYS;
use crate::keyspace::types::{Str, WrongType};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::{Change, Entry};
use smallvec::SmallVec;

/// Reply the values of several keys as they were at one instant; what is absent or no string is null.
pub(super) fn mget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let keys = cx.keys;
    let count = args.count() - 1;
    let mark = cx.reply.mark();
    let list = list_of(count, |index| keys.key(args.get(index + 1), args.hash(index + 1)));
    let missing = keys.snapshot(&list, |entries| {
        cx.reply.truncate(mark); // The closure may run again, with newer entries.
        cx.reply.array(count);
        let is_missing = |index: &usize| !reply_entry(cx, keys.live(entries[*index]));
        (0..count).filter(is_missing).collect::<SmallVec<[usize; FEW_KEYS]>>()
    });
    keys.looked_up_all(count, missing.iter().map(|&index| list[index].bytes));
    Ok(Flow::Done)
}

/// Replies one entry's value; was there an entry?
#[inline]
fn reply_entry(cx: &mut Cx<'_>, entry: Option<Entry<'_>>) -> bool {
    let Some(entry) = entry else {
        cx.reply.null();
        return false;
    };
    cx.keys.touch(entry);
    match Str::of(entry) {
        Ok(value) => reply_string(cx.reply, value),
        Err(WrongType) => cx.reply.null(),
    }
    true
}

/// Store several values.
/// Shape: (key value)+
pub(super) fn mset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let pairs = Pairs::rest(&args, 1, "ERR wrong number of arguments for 'mset' command")?;
    pairs.store(cx, &args, Options::NONE, None);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Store several values if none of the keys is there.
/// Shape: (key value)+
pub(super) fn msetnx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let pairs = Pairs::rest(&args, 1, "ERR wrong number of arguments for 'msetnx' command")?;
    let stored = pairs.store(cx, &args, Options { condition: Condition::IfAbsent, ..Options::NONE }, None);
    cx.reply.int(stored as i64);
    Ok(Flow::Done)
}

/// Store several values with one deadline, on condition that none or all of the keys are there.
/// Shape:  numkeys (key value)+ [NX|XX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]
/// Errors: a number of keys that is none, Syntax, a bad time; all before any write.
pub(super) fn msetex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let count = parse_i64(args.get(1))
        .filter(|count| (1..=i32::MAX as i64).contains(count))
        .ok_or(ReplyError::text("ERR invalid numkeys value or out of range"))? as usize;
    let pairs = Pairs { first: 2, count };
    if pairs.end() > args.count() {
        return Err(ReplyError::Syntax);
    }
    let options = Options::parse(&args, pairs.end(), options::MSETEX_WORDS)?;
    let deadline = options.expiry.deadline(cx.keys.now, "msetex")?;
    let stored = pairs.store(cx, &args, options, deadline);
    cx.reply.int(stored as i64);
    Ok(Flow::Done)
}

/// What is recorded of values that were stored together, whatever the conditions were.
fn propagate_stored(cx: &Cx<'_>, pairs: Pairs, args: &Args<'_>, keeps: bool, deadline: Option<WallMs>) {
    if !cx.is_journaled() {
        return;
    }
    let mut digits = itoa::Buffer::new();
    for at in (pairs.first..pairs.end()).step_by(2) {
        let (key, value) = (args.get(at), args.get(at + 1));
        match deadline {
            Some(at) if at <= cx.keys.now => cx.propagate(&[b"DEL", key]),
            Some(at) => cx.propagate(&[b"SET", key, value, b"PXAT", digits.format(at.0).as_bytes()]),
            None if keeps => cx.propagate(&[b"SET", key, value, b"KEEPTTL"]),
            None => cx.propagate(&[b"SET", key, value]),
        }
    }
}

/// Keys and values by turns, from argument `first` on.
#[derive(Clone, Copy)]
struct Pairs {
    first: usize,
    count: usize,
}

impl Pairs {
    /// All arguments from `first` on; an error if one is left over.
    fn rest(args: &Args<'_>, first: usize, uneven: &'static str) -> Result<Self, ReplyError> {
        let rest = args.count() - first;
        if rest.is_multiple_of(2) { Ok(Pairs { first, count: rest / 2 }) } else { Err(ReplyError::text(uneven)) }
    }
    /// The argument behind the last pair.
    fn end(self) -> usize {
        self.first + self.count * 2
    }
    /// Stores all values or none; were they stored? A deadline that has passed already removes the keys.
    fn store(self, cx: &mut Cx<'_>, args: &Args<'_>, options: Options<'_>, deadline: Option<WallMs>) -> bool {
        let keys = cx.keys;
        let list = list_of(self.count, |index| {
            let at = self.first + index * 2;
            (keys.db(), keys.key(args.get(at), args.hash(at)))
        });
        let changes = self.transact(cx, args, &list, options, deadline);
        cx.effects.dirty += changes.unwrap_or(0);
        if changes.is_some() {
            let is_past = deadline.is_some_and(|at| at <= keys.now);
            propagate_stored(cx, self, args, options.expiry == Expiry::Keep, deadline);
            for (db, key) in &list {
                tell_stored(cx, key.bytes, deadline.is_some(), is_past);
                cx.effects.filled(*db, key.bytes); // Streams may have ended.
            }
        }
        changes.is_some()
    }
    /// The number of changes, or None if the condition does not hold.
    fn transact(
        self,
        cx: &Cx<'_>,
        args: &Args<'_>,
        list: &[(DbIndex, Key<'_>)],
        options: Options<'_>,
        deadline: Option<WallMs>,
    ) -> Option<u64> {
        let keys = cx.keys;
        let is_past = deadline.is_some_and(|at| at <= keys.now);
        keys.transact(list, |txn| {
            let blocked = match options.condition {
                Condition::IfAbsent => (0..list.len()).any(|index| keys.live(txn.old(index)).is_some()),
                Condition::IfPresent => (0..list.len()).any(|index| keys.live(txn.old(index)).is_none()),
                _ => false,
            };
            if blocked {
                return None;
            }
            let mut changes = 0;
            for (index, (_, key)) in list.iter().enumerate() {
                let old = keys.live(txn.old(index));
                let change = if is_past {
                    // A key that is named twice is removed once.
                    changes += (old.is_some() && !matches!(txn.decision(index), Change::Remove)) as u64;
                    Change::Remove
                } else {
                    changes += 1;
                    let kept = old.filter(|_| options.expiry == Expiry::Keep);
                    let at = kept.map_or(deadline, Entry::expires_at);
                    Change::Put(Value::of(args, self.first + index * 2 + 1).entry(cx, *key, at))
                };
                txn.decide(index, change); // Of equal keys the last value counts.
            }
            Some(changes)
        })
    }
}
