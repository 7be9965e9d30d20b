//! Deadlines: EXPIRE and its kin set one, TTL and its kin tell it, PERSIST takes it away.
//!
//! A deadline is always absolute, in milliseconds of Unix time. A key that has one gets a later one in place; otherwise the
//! entry is replaced by a copy. A deadline that has passed removes the key at once.

use super::command::{Class, Command, Cx, Flow, Handler, KeySpec, acl, cmd, flag};
use crate::base::clock::WallMs;
use crate::base::num::parse_i64;
use crate::keyspace::types::{copy_as, with_deadline};
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::table::{Change, Entry};

const SETTER_KEYS: &[KeySpec] = &[KeySpec::one(1, &["RW", "update"])];
const TELLER_KEYS: &[KeySpec] = &[KeySpec::one(1, &["RO", "access"])];

const fn setter(name: &'static str, run: Handler, since: &'static str) -> Command {
    cmd(name, run)
        .arity(-3)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(SETTER_KEYS)
        .group("generic", since)
}

const fn teller(name: &'static str, run: Handler, since: &'static str) -> Command {
    cmd(name, run)
        .arity(2)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(TELLER_KEYS)
        .group("generic", since)
}

pub static ROWS: &[Command] = &[
    setter("expire", expire, "1.0.0"),
    setter("expireat", expireat, "1.2.0"),
    teller("expiretime", expiretime, "7.0.0"),
    setter("persist", persist, "2.2.0").arity(2),
    setter("pexpire", pexpire, "2.6.0"),
    setter("pexpireat", pexpireat, "2.6.0"),
    teller("pexpiretime", pexpiretime, "7.0.0"),
    teller("pttl", pttl, "2.6.0").tips(&["nondeterministic_output"]),
    teller("ttl", ttl, "1.0.0").tips(&["nondeterministic_output"]),
];

/// On what condition a deadline is set.
#[derive(Default)]
struct Rule {
    if_none: bool,
    if_any: bool,
    if_later: bool,
    if_earlier: bool,
}

impl Rule {
    /// Errors: an unknown option, options that contradict each other.
    fn parse(args: &Args<'_>) -> Result<Self, ReplyError> {
        let mut rule = Rule::default();
        for at in 3..args.count() {
            match args.get(at).to_ascii_lowercase().as_slice() {
                b"nx" => rule.if_none = true,
                b"xx" => rule.if_any = true,
                b"gt" => rule.if_later = true,
                b"lt" => rule.if_earlier = true,
                _ => {
                    let option = escaped(args.get(at));
                    return Err(ReplyError::owned(format!("ERR Unsupported option {option}")));
                }
            }
        }
        if rule.if_none && (rule.if_any || rule.if_later || rule.if_earlier) {
            return Err(ReplyError::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if rule.if_later && rule.if_earlier {
            return Err(ReplyError::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(rule)
    }
    /// May `when` follow the present deadline? No deadline counts as an infinitely late one.
    fn allows(&self, present: Option<WallMs>, when: i64) -> bool {
        match present {
            None => !self.if_any && !self.if_later,
            Some(WallMs(present)) => {
                let present = present as i64; // Deadlines have 63 bits.
                !self.if_none && (!self.if_later || when > present) && (!self.if_earlier || when < present)
            }
        }
    }
}

/// From where a time counts, and in which unit it is given.
#[derive(Clone, Copy)]
struct Scale {
    name: &'static str,
    is_relative: bool,
    unit_ms: i64,
}

/// Shape: `key seconds [NX | XX | GT | LT]`
fn expire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    set(cx, &args, Scale { name: "expire", is_relative: true, unit_ms: 1000 })
}

/// Shape: `key milliseconds [NX | XX | GT | LT]`
fn pexpire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    set(cx, &args, Scale { name: "pexpire", is_relative: true, unit_ms: 1 })
}

/// Shape: `key unix-time-seconds [NX | XX | GT | LT]`
fn expireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    set(cx, &args, Scale { name: "expireat", is_relative: false, unit_ms: 1000 })
}

/// Shape: `key unix-time-milliseconds [NX | XX | GT | LT]`
fn pexpireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    set(cx, &args, Scale { name: "pexpireat", is_relative: false, unit_ms: 1 })
}

/// Sets a deadline: 1, or 0 if there is no such key or the rule forbids it.
/// Errors: options, no integer, a time beyond 64 bits of milliseconds.
fn set(cx: &mut Cx<'_>, args: &Args<'_>, scale: Scale) -> Result<Flow, ReplyError> {
    let rule = Rule::parse(args)?;
    let time = parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)?;
    let base = if scale.is_relative { cx.keys.now.0 as i64 } else { 0 };
    let when = time
        .checked_mul(scale.unit_ms)
        .and_then(|ms| ms.checked_add(base))
        .ok_or_else(|| ReplyError::owned(format!("ERR invalid expire time in '{}' command", scale.name)))?;
    let is_set = match set_in_place(cx, args, &rule, when) {
        Some(is_set) => is_set,
        None => set_by_replacing(cx, args, &rule, when),
    };
    if is_set && deadline(cx, when).is_none() {
        cx.effects.filled(cx.keys.db(), args.get(1)); // It is gone: those who read a stream of that name hear of it.
    }
    if is_set {
        let event = if deadline(cx, when).is_some() { "expire" } else { "del" };
        cx.changed(args.get(1), Class::GENERIC, event);
        match deadline(cx, when) {
            Some(at) => cx.propagate(&[b"PEXPIREAT", args.get(1), itoa::Buffer::new().format(at.0).as_bytes()]),
            None => cx.propagate(&[b"DEL", args.get(1)]),
        }
    }
    cx.effects.dirty += is_set as u64;
    cx.reply.int(is_set as i64);
    Ok(Flow::Done)
}

/// The frequent case: the key has a deadline that is put off. None: it is another case.
fn set_in_place(cx: &Cx<'_>, args: &Args<'_>, rule: &Rule, when: i64) -> Option<bool> {
    let key = cx.key(args, 1);
    let Some(entry) = cx.keys.peek(key) else { return Some(false) };
    cx.keys.touch(entry);
    let present = entry.expires_at();
    if !rule.allows(present, when) {
        return Some(false);
    }
    let to = deadline(cx, when)?;
    entry.move_deadline(present?, to).then_some(true)
}

/// The deadline that is still to come, if `when` is one.
fn deadline(cx: &Cx<'_>, when: i64) -> Option<WallMs> {
    u64::try_from(when).ok().map(WallMs).filter(|&when| when > cx.keys.now)
}

fn set_by_replacing(cx: &Cx<'_>, args: &Args<'_>, rule: &Rule, when: i64) -> bool {
    let deadline = deadline(cx, when);
    cx.keys.update(cx.key(args, 1), |entry| match entry {
        Some(entry) if rule.allows(entry.expires_at(), when) => match deadline {
            Some(_) => (Change::Put(copy_as(entry, entry.key(), deadline, cx.keys.recency())), true),
            None => (Change::Remove, true),
        },
        _ => (Change::Keep, false),
    })
}

/// Takes a deadline away: 1, or 0 if there is no such key or it has none.
fn persist(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let is_done = cx.keys.update(cx.key(&args, 1), |entry| match entry {
        Some(entry) if entry.has_deadline() => (Change::Put(with_deadline(entry, None)), true),
        _ => (Change::Keep, false),
    });
    if is_done {
        cx.changed(args.get(1), Class::GENERIC, "persist");
    }
    cx.effects.dirty += is_done as u64;
    cx.reply.int(is_done as i64);
    Ok(Flow::Done)
}

/// Seconds to live, rounded; -1 without a deadline, -2 without the key.
fn ttl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now.0;
    tell(cx, &args, |deadline| to_seconds(deadline.saturating_sub(now)))
}

/// Milliseconds to live; -1 without a deadline, -2 without the key.
fn pttl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now.0;
    tell(cx, &args, |deadline| deadline.saturating_sub(now))
}

/// The deadline in Unix seconds, rounded; -1 without a deadline, -2 without the key.
fn expiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    tell(cx, &args, to_seconds)
}

/// The deadline in Unix milliseconds; -1 without a deadline, -2 without the key.
fn pexpiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    tell(cx, &args, |deadline| deadline)
}

fn to_seconds(ms: u64) -> u64 {
    (ms + 500) / 1000
}

fn tell(cx: &mut Cx<'_>, args: &Args<'_>, form: impl Fn(u64) -> u64) -> Result<Flow, ReplyError> {
    let found = cx.keys.inspect(cx.key(args, 1));
    cx.reply.int(match found.map(Entry::expires_at) {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline)) => form(deadline.0) as i64,
    });
    Ok(Flow::Done)
}
