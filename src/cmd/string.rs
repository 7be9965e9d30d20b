//! The string family: one value per key, read and written whole or in part.
//!
//! A value that reads as an integer is stored as a counter cell, a large one as a shared buffer; handlers see all of them
//! as `Str`. A change builds a new entry and lets `Keys::update` put it in place. Counters are in `counter`, commands of
//! several keys in `multi_string`.

use super::command::{Begin, Class, Command, Cx, Find, Flow, KeySpec, acl, cmd, flag};
use super::edit::{self, Value, check_len, int, reply_optional, reply_part, string_of, update};
use super::keyspec::set_access;
use super::options::{self, Condition, Expiry, Options, Unit};
use super::{counter, lcs, multi_string};
use crate::base::clock::WallMs;
use crate::keyspace::types::{RAW, Str, new_blob, new_edited, with_deadline};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::entry::BLOB_LEN_MIN;
use crate::table::{Change, Entry, NewEntry, Source};
use crate::value::{digest, range};

pub static ROWS: &[Command] = &[
    cmd("get", get)
        .arity(2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("string", "1.0.0"),
    cmd("set", set)
        .arity(-3)
        .light()
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "access", "update", "variable_flags"])])
        .key_flags(set_access)
        .group("string", "1.0.0"),
    cmd("setnx", setnx)
        .arity(3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["OW", "insert"])])
        .group("string", "1.0.0")
        .deprecated("2.6.12", "`SET` with the `NX` argument"),
    cmd("setex", setex)
        .arity(4)
        .light()
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["OW", "update"])])
        .group("string", "2.0.0")
        .deprecated("2.6.12", "`SET` with the `EX` argument"),
    cmd("psetex", psetex)
        .arity(4)
        .light()
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["OW", "update"])])
        .group("string", "2.6.0")
        .deprecated("2.6.12", "`SET` with the `PX` argument"),
    cmd("getset", getset)
        .arity(3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("string", "1.0.0")
        .deprecated("6.2.0", "`SET` with the `!GET` argument"),
    cmd("getdel", getdel)
        .arity(2)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"])])
        .group("string", "6.2.0"),
    cmd("getex", getex)
        .arity(-2)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("string", "6.2.0"),
    cmd("append", append)
        .arity(3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "insert"])])
        .group("string", "2.0.0"),
    cmd("strlen", strlen)
        .arity(2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RO"])])
        .group("string", "2.2.0"),
    cmd("getrange", getrange)
        .arity(4)
        .flags(flag::READONLY)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("string", "2.4.0"),
    cmd("substr", getrange)
        .arity(4)
        .flags(flag::READONLY)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("string", "1.0.0")
        .deprecated("2.0.0", "`GETRANGE`"),
    cmd("setrange", setrange)
        .arity(4)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "update"])])
        .group("string", "2.2.0"),
    cmd("incr", counter::incr)
        .arity(2)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("string", "1.0.0"),
    cmd("incrby", counter::incrby)
        .arity(3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("string", "1.0.0"),
    cmd("decr", counter::decr)
        .arity(2)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("string", "1.0.0"),
    cmd("decrby", counter::decrby)
        .arity(3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("string", "1.0.0"),
    cmd("incrbyfloat", counter::incrbyfloat)
        .arity(3)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("string", "2.6.0"),
    cmd("mget", multi_string::mget)
        .arity(-2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::rest(1, 1, &["RO", "access"])])
        .group("string", "1.0.0")
        .tips(&["request_policy:multi_shard"]),
    cmd("mset", multi_string::mset)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[KeySpec::rest(1, 2, &["OW", "update"])])
        .group("string", "1.0.1")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    cmd("msetnx", multi_string::msetnx)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[KeySpec::rest(1, 2, &["OW", "insert"])])
        .group("string", "1.0.1"),
    cmd("msetex", multi_string::msetex)
        .arity(-4)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::STRING)
        .keys(&[KeySpec::new(Begin::Index(1), Find::Count { num: 0, first: 1, step: 2 }, &["OW", "update"])])
        .group("string", "8.4.0")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    cmd("lcs", lcs::lcs)
        .arity(-3)
        .flags(flag::READONLY)
        .acl(acl::STRING)
        .keys(&[KeySpec::new(Begin::Index(1), Find::Range { last: 1, step: 1, limit: 0 }, &["RO", "access"])])
        .group("string", "7.0.0"),
    cmd("digest", digest_of)
        .arity(2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("string", "8.4.0"),
    cmd("delex", delex)
        .arity(-2)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RW", "delete", "variable_flags"])])
        .group("string", "8.4.0"),
    cmd("delifeq", delifeq)
        .arity(3)
        .flags(flag::WRITE)
        .acl(acl::STRING)
        .keys(&[KeySpec::one(1, &["RM", "access", "delete"])])
        .group("string", "9.0.0"),
];

/// Reply the value of a key.
fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let value = edit::read(cx, cx.key(&args, 1))?;
    reply_optional(cx.reply, value);
    Ok(Flow::Done)
}

/// Store a value, whatever the key held before.
/// Shape:  key value [NX|XX|IFEQ v|IFNE v|IFDEQ d|IFDNE d] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]
/// Errors: Syntax, NotInteger and a bad expiry before any write; WrongType only for GET and the comparisons.
fn set(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() == 3 {
        store_plainly(cx, &args);
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    let options = Options::parse(&args, 3, options::SET_WORDS)?;
    let deadline = options.expiry.deadline(cx.keys.now, "set")?;
    let outcome = store(cx, &args, 2, options, deadline)?;
    if options.get {
        reply_optional(cx.reply, outcome.old);
    } else if outcome.stored {
        cx.reply.ok();
    } else {
        cx.reply.null();
    }
    Ok(Flow::Done)
}

/// `SET key value` without options: nothing to ask the old entry.
#[inline]
fn store_plainly(cx: &mut Cx<'_>, args: &Args<'_>) {
    let key = cx.key(args, 1);
    let value = Value::of(args, 2);
    let is_minded = cx.keys.update(key, |old| (Change::Put(value.entry(cx, key, None)), cx.effects.minds_end_of(old)));
    if is_minded {
        cx.effects.filled(cx.keys.db(), key.bytes);
    }
    cx.changed(key.bytes, Class::STRING, "set");
    cx.effects.dirty += 1;
}

/// What a conditional SET did, and what it found.
struct Stored<'a> {
    stored: bool,
    /// Only if the options ask for it.
    old: Option<Str<'a>>,
}

/// Stores argument `index` under the key. A deadline that has passed already removes the key instead.
fn store<'a>(
    cx: &mut Cx<'a>,
    args: &Args<'_>,
    index: usize,
    options: Options<'_>,
    deadline: Option<WallMs>,
) -> Result<Stored<'a>, ReplyError> {
    let key = cx.key(args, 1);
    let value = Value::of(args, index);
    let wants_old = options.get || options.condition.compares();
    let is_past = deadline.is_some_and(|at| at <= cx.keys.now);
    let (stored, changes, is_minded) = update(cx, key, |entry| {
        let old = if wants_old { string_of(entry)? } else { None };
        if !options.condition.holds(entry.is_some(), old)? {
            return Ok((Change::Keep, (Stored { stored: false, old }, 0, false)));
        }
        let (done, is_minded) = (Stored { stored: true, old }, cx.effects.minds_end_of(entry));
        if is_past {
            return Ok((Change::Remove, (done, entry.is_some() as u64, is_minded)));
        }
        let at = if options.expiry == Expiry::Keep { entry.and_then(Entry::expires_at) } else { deadline };
        Ok((Change::Put(value.entry(cx, key, at)), (done, 1, is_minded)))
    })?;
    if is_minded {
        cx.effects.filled(cx.keys.db(), key.bytes);
    }
    if options.get {
        cx.keys.looked_up(key.bytes, stored.old.is_some());
    }
    if stored.stored {
        tell_stored(cx, key.bytes, deadline.is_some(), is_past);
        propagate_stored(cx, key.bytes, args.get(index), deadline, options.expiry == Expiry::Keep);
    }
    cx.effects.dirty += changes;
    Ok(stored)
}

/// What is recorded of a string that was stored, whatever the conditions were: its deadline is absolute.
fn propagate_stored(cx: &Cx<'_>, key: &[u8], value: &[u8], deadline: Option<WallMs>, keeps: bool) {
    match deadline {
        Some(at) if at <= cx.keys.now => cx.propagate(&[b"DEL", key]),
        Some(at) => {
            let mut digits = itoa::Buffer::new();
            cx.propagate(&[b"SET", key, value, b"PXAT", digits.format(at.0).as_bytes()]);
        }
        None if keeps => cx.propagate(&[b"SET", key, value, b"KEEPTTL"]),
        None => cx.propagate(&[b"SET", key, value]),
    }
}

/// A string was stored, perhaps with a deadline. Where that has passed already the key was removed without ever being there;
/// listeners hear what they would if it had been.
pub(super) fn tell_stored(cx: &Cx<'_>, key: &[u8], has_deadline: bool, is_past: bool) {
    cx.changed(key, Class::STRING, "set");
    if has_deadline {
        cx.event(key, Class::GENERIC, "expire");
    }
    if is_past {
        cx.event(key, Class::EXPIRED, "expired");
    }
}

/// Store a value if the key is absent.
fn setnx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let options = Options { condition: Condition::IfAbsent, ..Options::NONE };
    let outcome = store(cx, &args, 2, options, None)?;
    cx.reply.int(outcome.stored as i64);
    Ok(Flow::Done)
}

/// Store a value with a time to live in seconds.
/// Shape: key seconds value
fn setex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    store_for(cx, args, Unit::Seconds, "setex")
}

/// Store a value with a time to live in milliseconds.
/// Shape: key milliseconds value
fn psetex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    store_for(cx, args, Unit::Millis, "psetex")
}

fn store_for(cx: &mut Cx<'_>, args: Args<'_>, unit: Unit, command: &str) -> Result<Flow, ReplyError> {
    let deadline = unit.deadline(args.get(2), cx.keys.now, command)?;
    store(cx, &args, 3, Options::NONE, Some(deadline))?;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Store a value and reply the old one.
fn getset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let outcome = store(cx, &args, 2, Options { get: true, ..Options::NONE }, None)?;
    reply_optional(cx.reply, outcome.old);
    Ok(Flow::Done)
}

/// Remove a key and reply its value.
fn getdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let old = update(cx, cx.key(&args, 1), |entry| Ok((Change::Remove, string_of(entry)?)))?;
    cx.keys.looked_up(args.get(1), old.is_some());
    if old.is_some() {
        cx.changed(args.get(1), Class::GENERIC, "del");
        cx.propagate(&[b"DEL", args.get(1)]);
    }
    cx.effects.dirty += old.is_some() as u64;
    reply_optional(cx.reply, old);
    Ok(Flow::Done)
}

/// Reply the value and set or remove its deadline.
/// Shape:  key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]
/// Errors: Syntax; a bad time only if the key is there, as in Redis.
fn getex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let key = cx.key(&args, 1);
    let expiry = Options::parse(&args, 2, options::GETEX_WORDS)?.expiry;
    if expiry == Expiry::Default {
        return get(cx, args);
    }
    let now = cx.keys.now;
    let deadline = expiry.deadline(now, "getex");
    let (old, event) = update(cx, key, |entry| {
        let (Some(entry), Some(value)) = (entry, string_of(entry)?) else { return Ok((Change::Keep, (None, None))) };
        let deadline = deadline.clone()?;
        let (change, event) = match deadline {
            None if !entry.has_deadline() => return Ok((Change::Keep, (Some(value), None))),
            None => (Change::Put(with_deadline(entry, None)), "persist"),
            Some(at) if at <= now => (Change::Remove, "del"),
            at => (Change::Put(with_deadline(entry, at)), "expire"),
        };
        Ok((change, (Some(value), Some(event))))
    })?;
    cx.keys.looked_up(key.bytes, old.is_some());
    if let Some(event) = event {
        cx.changed(key.bytes, Class::GENERIC, event);
        let mut digits = itoa::Buffer::new();
        match deadline.ok().flatten() {
            None => cx.propagate(&[b"PERSIST", key.bytes]),
            Some(at) if at <= now => cx.propagate(&[b"DEL", key.bytes]),
            Some(at) => cx.propagate(&[b"PEXPIREAT", key.bytes, digits.format(at.0).as_bytes()]),
        }
        cx.effects.dirty += 1;
    }
    reply_optional(cx.reply, old);
    Ok(Flow::Done)
}

/// Add bytes to the end of a value; reply its new length.
/// Cost: the whole value is copied. A value that grows by many small pieces is better kept as a list or stream.
fn append(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let key = cx.key(&args, 1);
    let tail = args.get(2);
    let len = update(cx, key, |entry| {
        let (Some(entry), Some(old)) = (entry, string_of(entry)?) else {
            return Ok((Change::Put(Value::of(&args, 2).entry(cx, key, None)), tail.len()));
        };
        let mut digits = itoa::Buffer::new();
        let head = old.bytes(&mut digits);
        let len = head.len() + tail.len();
        check_len(cx, len as u64)?;
        Ok((Change::Put(joined(key.bytes, head, tail, entry.expires_at(), cx.keys.recency())), len))
    })?;
    cx.changed(key.bytes, Class::STRING, "append");
    cx.effects.dirty += 1;
    cx.reply.int(len as i64);
    Ok(Flow::Done)
}

/// The entry of two pieces, one behind the other.
fn joined(key: &[u8], head: &[u8], tail: &[u8], at: Option<WallMs>, recency: u32) -> NewEntry {
    if head.len() + tail.len() < BLOB_LEN_MIN {
        NewEntry::new(RAW, key, at, recency, Source::Joined(head, tail))
    } else {
        new_blob(key, [head, tail].concat().into(), at, recency)
    }
}

/// Reply the length of a value in bytes.
fn strlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let value = edit::read(cx, cx.key(&args, 1))?;
    cx.reply.int(value.map_or(0, Str::len) as i64);
    Ok(Flow::Done)
}

/// Reply a part of a value; ends are included and negative ones count from the end. SUBSTR is its old name.
/// Shape: key start end
fn getrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (start, end) = (int(&args, 2)?, int(&args, 3)?);
    let value = edit::read(cx, cx.key(&args, 1))?.filter(|_| !range::is_reversed(start, end));
    let part = value.and_then(|value| Some((value, range::clamp(start, end, value.len() as u64)?)));
    match part {
        Some((value, part)) => reply_part(cx.reply, value, part.start as usize, part.end as usize),
        None => cx.reply.bulk(b""),
    }
    Ok(Flow::Done)
}

/// Overwrite a part of a value, zero-padded up to it; reply the length.
/// Shape:  key offset bytes
/// Errors: NotInteger, a negative offset, a result beyond proto-max-bulk-len.
/// Cost:   the whole value is copied.
fn setrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let key = cx.key(&args, 1);
    let offset = u64::try_from(int(&args, 2)?).map_err(|_| ReplyError::text("ERR offset is out of range"))?;
    let patch = args.get(3);
    let (len, changes) = update(cx, key, |entry| {
        let mut digits = itoa::Buffer::new();
        let old = string_of(entry)?.map_or(&b""[..], |value| value.bytes(&mut digits));
        if patch.is_empty() {
            return Ok((Change::Keep, (old.len(), 0)));
        }
        check_len(cx, offset.saturating_add(patch.len() as u64))?;
        let offset = offset as usize; // Below proto-max-bulk-len.
        let len = old.len().max(offset + patch.len());
        let at = entry.and_then(Entry::expires_at);
        let new = new_edited(key.bytes, at, cx.keys.recency(), old, len, |bytes| {
            bytes[offset..][..patch.len()].copy_from_slice(patch);
        });
        Ok((Change::Put(new), (len, 1)))
    })?;
    if changes > 0 {
        cx.changed(key.bytes, Class::STRING, "setrange");
    }
    cx.effects.dirty += changes;
    cx.reply.int(len as i64);
    Ok(Flow::Done)
}

/// Reply the XXH3 digest of a value in hexadecimal digits.
fn digest_of(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    match edit::read(cx, cx.key(&args, 1))? {
        Some(value) => cx.reply.bulk(&digest::hex(value.bytes(&mut itoa::Buffer::new()))),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

/// Remove a key, if its value or the value's digest is, or is not, the given one.
/// Shape:  key [IFEQ v|IFNE v|IFDEQ d|IFDNE d]
/// Errors: a condition needs a string, is one of the four, and a digest has 16 digits; checked in this order, and only
///         once the key is there.
fn delex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let condition = match args.count() {
        2 => Some(Condition::Always),
        4 => comparison(args.get(2), args.get(3)),
        _ => return Err(ReplyError::text("ERR wrong number of arguments for 'delex' command")),
    };
    let removed = update(cx, cx.key(&args, 1), |entry| {
        if entry.is_none() || condition == Some(Condition::Always) {
            return Ok((Change::Remove, entry.is_some()));
        }
        let value = string_of(entry)
            .map_err(|_| ReplyError::text("ERR Key should be of string type if conditions are specified"))?;
        let condition = condition.ok_or(ReplyError::text("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"))?;
        let holds = condition.holds(true, value)?;
        Ok((if holds { Change::Remove } else { Change::Keep }, holds))
    })?;
    if removed {
        cx.changed(args.get(1), Class::GENERIC, "del");
        cx.propagate(&[b"DEL", args.get(1)]);
    }
    cx.effects.dirty += removed as u64;
    cx.reply.int(removed as i64);
    Ok(Flow::Done)
}

/// The comparison that `word` names.
fn comparison<'a>(word: &[u8], operand: &'a [u8]) -> Option<Condition<'a>> {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match () {
        _ if is("ifeq") => Some(Condition::IfEqual(operand)),
        _ if is("ifne") => Some(Condition::IfNotEqual(operand)),
        _ if is("ifdeq") => Some(Condition::IfDigest(operand)),
        _ if is("ifdne") => Some(Condition::IfNotDigest(operand)),
        _ => None,
    }
}

/// Remove a key if its value equals the argument.
fn delifeq(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let removed = update(cx, cx.key(&args, 1), |entry| {
        let equal = string_of(entry)?.is_some_and(|value| options::equals(value, args.get(2)));
        Ok((if equal { Change::Remove } else { Change::Keep }, equal))
    })?;
    if removed {
        cx.changed(args.get(1), Class::GENERIC, "del");
        cx.propagate(&[b"DEL", args.get(1)]);
    }
    cx.effects.dirty += removed as u64;
    cx.reply.int(removed as i64);
    Ok(Flow::Done)
}
