//! Deadlines of hash fields: HEXPIRE and its kin set them, HTTL and its kin tell them, HPERSIST takes them away; HGETEX,
//! HGETDEL and HSETEX do so along with values.
//!
//! A field whose deadline has passed is removed at once. Whatever brings an earlier deadline than the hash had before tells
//! the keyspace, which removes fields on time (keyspace/fields.rs).

use super::command::{Class, Command, Cx, Flow, Handler, KeySpec, acl, cmd, flag};
use super::hash::{create, limits, look, reply_optional};
use super::options::Unit;
use crate::base::clock::WallMs;
use crate::base::num::parse_i64;
use crate::keyspace::objects::Writing;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::value::hash::{Deadline, Hash};
use crate::value::object::Collection;
use std::ops::Range;

const UPDATE: &[KeySpec] = &[KeySpec::one(1, &["RW", "update"])];
const ACCESS: &[KeySpec] = &[KeySpec::one(1, &["RO", "access"])];

const fn setter(name: &'static str, run: Handler) -> Command {
    cmd(name, run)
        .arity(-6)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(UPDATE)
        .group("hash", "7.4.0")
}

const fn teller(name: &'static str, run: Handler) -> Command {
    cmd(name, run).arity(-5).flags(flag::READONLY | flag::FAST).acl(acl::HASH).keys(ACCESS).group("hash", "7.4.0")
}

pub static ROWS: &[Command] = &[
    setter("hexpire", hexpire),
    setter("hpexpire", hpexpire),
    setter("hexpireat", hexpireat),
    setter("hpexpireat", hpexpireat),
    teller("httl", httl).tips(&["nondeterministic_output"]),
    teller("hpttl", hpttl).tips(&["nondeterministic_output"]),
    teller("hexpiretime", hexpiretime),
    teller("hpexpiretime", hpexpiretime),
    cmd("hpersist", hpersist)
        .arity(-5)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::HASH)
        .keys(UPDATE)
        .group("hash", "7.4.0"),
    cmd("hgetdel", hgetdel)
        .arity(-5)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"])])
        .group("hash", "8.0.0"),
    cmd("hgetex", hgetex)
        .arity(-5)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::HASH)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("hash", "8.0.0"),
    cmd("hsetex", hsetex)
        .arity(-6)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HASH)
        .keys(UPDATE)
        .group("hash", "8.0.0"),
];

/// The latest deadline of a field: 46 bits. Source: Redis 7.4.
const DEADLINE_MAX: i64 = (1 << 46) - 1;

const NO_FIELD: i64 = -2;
const NO_DEADLINE: i64 = -1;
const REFUSED: i64 = 0;
const DONE: i64 = 1;
const REMOVED: i64 = 2;

/// A time as a deadline, perhaps a past one.
/// Errors: NotInteger, a negative one, one beyond `DEADLINE_MAX`.
fn deadline(text: &[u8], unit: Unit, now: WallMs, command: &str) -> Result<WallMs, ReplyError> {
    let number = parse_i64(text).ok_or(ReplyError::NotInteger)?;
    if number < 0 {
        return Err(ReplyError::text("ERR invalid expire time, must be >= 0"));
    }
    let unit_ms = if matches!(unit, Unit::Seconds | Unit::UnixSeconds) { 1000 } else { 1 };
    let base = if matches!(unit, Unit::Seconds | Unit::Millis) { now.0 as i64 } else { 0 };
    let at = number.checked_mul(unit_ms).and_then(|ms| ms.checked_add(base)).filter(|&at| at <= DEADLINE_MAX);
    at.map(|at| WallMs(at as u64))
        .ok_or_else(|| ReplyError::owned(format!("ERR invalid expire time in '{command}' command")))
}

/// The names behind `FIELDS count` at argument `at`.
/// Errors: another word, a count that is not positive (`bad_count`) or not the number of the names.
fn names(args: &Args<'_>, at: usize, bad_count: &'static str) -> Result<Range<usize>, ReplyError> {
    if at + 1 >= args.count() || !args.is(at, "fields") {
        return Err(ReplyError::text("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let count = parse_i64(args.get(at + 1)).filter(|&count| count > 0).ok_or(ReplyError::text(bad_count))?;
    let names = at + 2..args.count();
    if count as usize != names.len() {
        return Err(ReplyError::text("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(names)
}

const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// Runs `edit` on the hash of argument 1 and lets the keyspace know of an earlier deadline.
fn edit<R>(cx: &Cx<'_>, args: &Args<'_>, hash: &mut Writing<'_, Hash>, edit: impl FnOnce(&mut Hash) -> R) -> R {
    let before = hash.earliest();
    let result = edit(hash);
    cx.keys.watch_fields(cx.key(args, 1), before, hash.earliest());
    result
}

/// On what condition a deadline is set.
#[derive(Clone, Copy)]
enum Rule {
    Always,
    IfNone,
    IfAny,
    IfLater,
    IfEarlier,
}

impl Rule {
    fn parse(word: &[u8]) -> Self {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => Rule::IfNone,
            b"xx" => Rule::IfAny,
            b"gt" => Rule::IfLater,
            b"lt" => Rule::IfEarlier,
            _ => Rule::Always,
        }
    }
    /// May `to` follow the present deadline? None counts as infinitely late.
    fn allows(self, present: Option<WallMs>, to: WallMs) -> bool {
        match self {
            Rule::Always => true,
            Rule::IfNone => present.is_none(),
            Rule::IfAny => present.is_some(),
            Rule::IfLater => present.is_some_and(|present| to > present),
            Rule::IfEarlier => present.is_none_or(|present| to < present),
        }
    }
}

/// Shape: `key seconds [NX | XX | GT | LT] FIELDS count field+`
fn hexpire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    set_deadlines(cx, args, Unit::Seconds, "hexpire")
}

/// Shape: `key milliseconds [NX | XX | GT | LT] FIELDS count field+`
fn hpexpire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    set_deadlines(cx, args, Unit::Millis, "hpexpire")
}

/// Shape: `key unix-time-seconds [NX | XX | GT | LT] FIELDS count field+`
fn hexpireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    set_deadlines(cx, args, Unit::UnixSeconds, "hexpireat")
}

/// Shape: `key unix-time-milliseconds [NX | XX | GT | LT] FIELDS count field+`
fn hpexpireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    set_deadlines(cx, args, Unit::UnixMillis, "hpexpireat")
}

/// Sets deadlines: for each field `NO_FIELD`, `REFUSED` by the rule, `DONE`, or `REMOVED` because the time has passed.
fn set_deadlines(cx: &mut Cx<'_>, args: Args<'_>, unit: Unit, command: &str) -> Result<Flow, ReplyError> {
    let now = cx.keys.now;
    let hash = cx.keys.open::<Hash>(cx.key(&args, 1))?;
    let to = deadline(args.get(2), unit, now, command)?;
    let rule = Rule::parse(args.get(3));
    let at = if matches!(rule, Rule::Always) { 3 } else { 4 };
    let names = names(&args, at, "ERR Parameter `numFields` should be greater than 0")?;
    cx.reply.array(names.len());
    let Some(mut hash) = hash else {
        names.for_each(|_| cx.reply.int(NO_FIELD));
        return Ok(Flow::Done);
    };
    let results: Vec<i64> = edit(cx, &args, &mut hash, |hash| {
        names.clone().map(|index| set_deadline(hash, args.get(index), rule, to, now)).collect()
    });
    let set = names.zip(&results).filter(|(_, result)| **result > REFUSED).map(|(index, _)| args.get(index)).collect();
    // Whatever the rule refuses is not among them, and refuses nothing when this is run again: the word is Redis's.
    let word = (at == 4).then(|| args.get(3));
    propagate_deadline(cx, args.get(1), Some(to), word, set);
    let (has_set, has_removed) = (results.contains(&DONE), results.contains(&REMOVED));
    tell_deadlines(cx, args.get(1), has_set.then_some("hexpire"), has_removed.then(|| hash.is_empty()));
    for result in results {
        cx.effects.dirty += (result > REFUSED) as u64;
        cx.reply.int(result);
    }
    Ok(Flow::Done)
}

/// Tells listeners what has become of fields' deadlines, and whether fields went because theirs had passed (`is_gone`: with
/// the last one, and the key).
fn tell_deadlines(cx: &Cx<'_>, key: &[u8], event: Option<&'static str>, is_gone: Option<bool>) {
    if let Some(event) = event {
        cx.changed(key, Class::HASH, event);
    }
    if let Some(is_gone) = is_gone {
        cx.reduced(key, Class::HASH, "hdel", is_gone);
    }
}

/// What is recorded of fields that have got this deadline (`rule`: on a condition), or have lost theirs.
fn propagate_deadline(cx: &Cx<'_>, key: &[u8], to: Option<WallMs>, rule: Option<&[u8]>, fields: Vec<&[u8]>) {
    if fields.is_empty() || !cx.is_journaled() {
        return;
    }
    if to.is_some_and(|at| at <= cx.keys.now) {
        return propagate_removals(cx, key, &fields);
    }
    let (mut digits, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let count = count.format(fields.len()).as_bytes();
    let head: Vec<&[u8]> = match to {
        Some(at) => [b"HPEXPIREAT", key, digits.format(at.0).as_bytes()].into_iter().chain(rule).collect(),
        None => vec![b"HPERSIST", key],
    };
    cx.propagate(&[head, vec![b"FIELDS", count], fields].concat());
}

/// Fields that have gone because of their deadline are recorded one by one, as in Redis.
fn propagate_removals(cx: &Cx<'_>, key: &[u8], fields: &[&[u8]]) {
    fields.iter().for_each(|field| cx.propagate(&[b"HDEL", key, field]));
}

fn set_deadline(hash: &mut Hash, name: &[u8], rule: Rule, to: WallMs, now: WallMs) -> i64 {
    match hash.deadline(name, now) {
        None => NO_FIELD,
        Some(present) if !rule.allows(present, to) => REFUSED,
        _ if to <= now => {
            hash.remove(name, now);
            REMOVED
        }
        _ => {
            hash.set_deadline(name, Some(to));
            DONE
        }
    }
}

/// Seconds to live, rounded up; -1 without a deadline, -2 without the field.
fn httl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now.0;
    tell(cx, args, |at| at.saturating_sub(now).div_ceil(1000))
}

/// Milliseconds to live; -1 without a deadline, -2 without the field.
fn hpttl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now.0;
    tell(cx, args, |at| at.saturating_sub(now))
}

/// The deadline in Unix seconds, rounded up; -1 without a deadline, -2 without the field.
fn hexpiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    tell(cx, args, |at| at.div_ceil(1000))
}

/// The deadline in Unix milliseconds; -1 without a deadline, -2 without the field.
fn hpexpiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    tell(cx, args, |at| at)
}

/// Shape: key FIELDS count field+
fn tell(cx: &mut Cx<'_>, args: Args<'_>, show: impl Fn(u64) -> u64) -> Result<Flow, ReplyError> {
    let hash = look(cx, &args)?;
    let names = names(&args, 2, NOT_POSITIVE)?;
    cx.reply.array(names.len());
    for index in names {
        let found = hash.as_ref().and_then(|hash| hash.deadline(args.get(index), cx.keys.now));
        cx.reply.int(match found {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(at)) => show(at.0) as i64,
        });
    }
    Ok(Flow::Done)
}

/// Takes deadlines away: for each field 1, -1 if it has none, -2 if it is not there.
/// Shape: key FIELDS count field+
fn hpersist(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut hash = cx.keys.open::<Hash>(cx.key(&args, 1))?;
    let names = names(&args, 2, NOT_POSITIVE)?;
    cx.reply.array(names.len());
    let mut changes = 0;
    for name in names.map(|index| args.get(index)) {
        let found = hash.as_ref().and_then(|hash| hash.deadline(name, cx.keys.now));
        let result = match (found, &mut hash) {
            (Some(Some(_)), Some(hash)) => {
                hash.set_deadline(name, None);
                DONE
            }
            (Some(_), _) => NO_DEADLINE,
            (None, _) => NO_FIELD,
        };
        changes += (result == DONE) as u64;
        cx.reply.int(result);
    }
    if changes > 0 {
        cx.changed(args.get(1), Class::HASH, "hpersist");
    }
    cx.effects.dirty += changes;
    Ok(Flow::Done)
}

/// Reply values and remove their fields.
/// Shape: key FIELDS count field+
fn hgetdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut hash = cx.keys.open::<Hash>(cx.key(&args, 1))?;
    let names = names(&args, 2, NOT_POSITIVE)?;
    cx.keys.looked_up(args.get(1), hash.is_some());
    cx.reply.array(names.len());
    let mut removed = 0;
    let mut gone: Vec<&[u8]> = vec![b"HDEL", args.get(1)];
    for name in names.map(|index| args.get(index)) {
        reply_optional(cx.reply, hash.as_ref().and_then(|hash| hash.get(name, cx.keys.now)));
        if hash.as_mut().is_some_and(|hash| hash.remove(name, cx.keys.now)) {
            removed += 1;
            gone.push(name);
        }
    }
    if removed > 0 {
        cx.propagate(&gone);
    }
    if let Some(hash) = hash.filter(|_| removed > 0) {
        cx.reduced(args.get(1), Class::HASH, "hdel", hash.is_empty());
    }
    cx.effects.dirty += removed;
    Ok(Flow::Done)
}

/// A word that says how a time is given.
fn unit_of(word: &[u8]) -> Option<Unit> {
    Some(match word.to_ascii_lowercase().as_slice() {
        b"ex" => Unit::Seconds,
        b"px" => Unit::Millis,
        b"exat" => Unit::UnixSeconds,
        b"pxat" => Unit::UnixMillis,
        _ => return None,
    })
}

/// Reply values and set or take away the deadlines of their fields.
/// Shape:  key [EX s|PX ms|EXAT s|PXAT ms|PERSIST] FIELDS count field+
fn hgetex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now;
    let hash = cx.keys.open::<Hash>(cx.key(&args, 1))?; // What it holds is looked at before the options are.
    cx.keys.looked_up(args.get(1), hash.is_some());
    // The outer Option: is there anything to be changed?
    let (to, at) = match unit_of(args.get(2)) {
        Some(unit) => (Some(Some(deadline(args.get(3), unit, now, "hgetex")?)), 4),
        None if args.is(2, "persist") => (Some(None), 3),
        None => (None, 2),
    };
    let names = names(&args, at, NOT_POSITIVE)?;
    cx.reply.array(names.len());
    let Some(mut hash) = hash else {
        names.for_each(|_| cx.reply.null());
        return Ok(Flow::Done);
    };
    for index in names.clone() {
        reply_optional(cx.reply, hash.get(args.get(index), now));
    }
    if let Some(to) = to {
        let fields: Vec<&[u8]> = edit(cx, &args, &mut hash, |hash| {
            names.map(|index| args.get(index)).filter(|name| change_deadline(hash, name, to, now)).collect()
        });
        let changed = fields.len();
        propagate_deadline(cx, args.get(1), to, None, fields);
        if changed > 0 {
            let is_past = to.is_some_and(|to| to <= now);
            let event = if to.is_none() { "hpersist" } else { "hexpire" };
            tell_deadlines(cx, args.get(1), (!is_past).then_some(event), is_past.then(|| hash.is_empty()));
        }
        cx.effects.dirty += changed as u64;
    }
    Ok(Flow::Done)
}

/// Gives a field that is there this deadline, or none. True: that was a change.
fn change_deadline(hash: &mut Hash, name: &[u8], to: Option<WallMs>, now: WallMs) -> bool {
    match (hash.deadline(name, now), to) {
        (None, _) | (Some(None), None) => false,
        (Some(_), Some(at)) if at <= now => hash.remove(name, now),
        _ => {
            hash.set_deadline(name, to);
            true
        }
    }
}

/// What HSETEX is asked for.
struct Store {
    /// FNX: Some(false), only if none of the fields is there; FXX: Some(true), only if all are.
    wants_present: Option<bool>,
    to: Option<WallMs>,
    keep: bool,
    pairs: Range<usize>,
}

impl Store {
    /// Shape: [FNX|FXX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL] FIELDS count (field value)+
    fn parse(args: &Args<'_>, now: WallMs) -> Result<Self, ReplyError> {
        let mut store = Store { wants_present: None, to: None, keep: false, pairs: 0..0 };
        let mut at = 2;
        while at + 1 < args.count() {
            let is_timed = store.to.is_some() || store.keep;
            if args.is(at, "fields") {
                store.pairs = Self::pairs(args, at)?;
                return Ok(store);
            } else if args.is(at, "fnx") || args.is(at, "fxx") {
                if store.wants_present.is_some() {
                    return Err(ReplyError::text("ERR Only one of FXX or FNX arguments can be specified"));
                }
                store.wants_present = Some(args.is(at, "fxx"));
                at += 1;
            } else if let Some(unit) = unit_of(args.get(at)).filter(|_| !is_timed) {
                store.to = Some(deadline(args.get(at + 1), unit, now, "hsetex")?);
                at += 2;
            } else if args.is(at, "keepttl") && !is_timed {
                store.keep = true;
                at += 1;
            } else if args.is(at, "keepttl") || unit_of(args.get(at)).is_some() {
                let line = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
                return Err(ReplyError::text(line));
            } else {
                return Err(ReplyError::owned(format!("ERR unknown argument: {}", escaped(args.get(at)))));
            }
        }
        Err(ReplyError::text("ERR Mandatory argument FIELDS is missing or not at the right position"))
    }
    fn pairs(args: &Args<'_>, at: usize) -> Result<Range<usize>, ReplyError> {
        let count = parse_i64(args.get(at + 1)).filter(|&count| (1..=i32::MAX as i64).contains(&count));
        let count = count.ok_or(ReplyError::text("ERR invalid number of fields"))? as usize;
        let pairs = at + 2..args.count();
        if pairs.len() != count * 2 {
            return Err(ReplyError::text("ERR wrong number of arguments for 'hsetex' command"));
        }
        Ok(pairs)
    }
}

/// What is recorded of fields that were stored with a deadline, or keep theirs.
fn propagate_store(cx: &Cx<'_>, args: &Args<'_>, pairs: Range<usize>, to: Option<WallMs>, keeps: bool) {
    if !cx.is_journaled() {
        return;
    }
    let (key, now) = (args.get(1), cx.keys.now);
    let names: Vec<&[u8]> = pairs.clone().step_by(2).map(|at| args.get(at)).collect();
    if to.is_some_and(|to| to <= now) {
        return propagate_removals(cx, key, &names);
    }
    let words: Vec<&[u8]> = pairs.clone().map(|at| args.get(at)).collect();
    if keeps {
        let mut count = itoa::Buffer::new();
        let head: Vec<&[u8]> = vec![b"HSETEX", key, b"KEEPTTL", b"FIELDS", count.format(names.len()).as_bytes()];
        return cx.propagate(&[head, words].concat());
    }
    cx.propagate(&[vec![b"HSET", key], words].concat());
    if to.is_some() {
        propagate_deadline(cx, key, to, None, names);
    }
}

/// Give fields values, and all of them a deadline, if the condition holds: 1, else 0.
fn hsetex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now;
    let Store { wants_present, to, keep, pairs } = Store::parse(&args, now)?;
    let limits = limits(cx);
    let mut hash = create(cx, &args)?;
    let is_met = wants_present
        .is_none_or(|present| pairs.clone().step_by(2).all(|at| hash.contains(args.get(at), now) == present));
    if is_met {
        let old_deadlines = if keep { Deadline::Keep } else { Deadline::Clear };
        edit(cx, &args, &mut hash, |hash| {
            for at in pairs.clone().step_by(2) {
                let name = args.get(at);
                if to.is_some_and(|to| to <= now) {
                    hash.remove(name, now);
                    continue;
                }
                hash.set(name, args.get(at + 1), old_deadlines, limits, now);
                if to.is_some() {
                    hash.set_deadline(name, to);
                }
            }
        });
        propagate_store(cx, &args, pairs.clone(), to, keep);
        cx.changed(args.get(1), Class::HASH, "hset");
        let is_past = to.is_some_and(|to| to <= now);
        let event = to.filter(|_| !is_past).map(|_| "hexpire");
        tell_deadlines(cx, args.get(1), event, is_past.then(|| hash.is_empty()));
        cx.effects.dirty += pairs.len() as u64 / 2;
    }
    cx.reply.int(is_met as i64);
    Ok(Flow::Done)
}
