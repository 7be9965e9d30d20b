//! Looking through all keys: KEYS, SCAN, RANDOMKEY.

use super::command::{Command, Cx, Flow, acl, cmd, flag};
use crate::base::glob;
use crate::base::num::parse_i64;
use crate::keyspace::types::Type;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::table::{Entry, Table};
use std::collections::HashSet;

pub static ROWS: &[Command] = &[
    cmd("keys", keys)
        .arity(2)
        .flags(flag::READONLY)
        .acl(acl::DANGEROUS | acl::KEYSPACE)
        .group("generic", "1.0.0")
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    cmd("randomkey", randomkey)
        .arity(1)
        .flags(flag::READONLY | flag::TOUCHES_ARBITRARY_KEYS)
        .acl(acl::KEYSPACE)
        .group("generic", "1.0.0")
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"]),
    cmd("scan", scan)
        .arity(-2)
        .flags(flag::READONLY | flag::TOUCHES_ARBITRARY_KEYS)
        .acl(acl::KEYSPACE)
        .group("generic", "2.8.0")
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"]),
];

/// A pattern; None matches everything.
#[derive(Clone, Copy)]
struct Pattern<'a>(Option<&'a [u8]>);

impl<'a> Pattern<'a> {
    fn new(text: &'a [u8]) -> Self {
        Pattern((text != b"*").then_some(text))
    }
    #[inline]
    fn matches(self, key: &[u8]) -> bool {
        self.0.is_none_or(|pattern| glob::matches(pattern, key))
    }
}

/// Elements of an array whose length is known only at the end.
#[derive(Default)]
struct Items {
    written: Reply,
    count: usize,
}

impl Items {
    fn push(&mut self, key: &[u8]) {
        self.written.bulk(key);
        self.count += 1;
    }
    fn write_to(self, reply: &mut Reply) {
        reply.array(self.count);
        reply.raw(&self.written.out.buf);
    }
}

/// All keys that match.
/// Shape: `pattern`
/// Cost:  a walk over the whole table. Other loops go on; what they remove meanwhile is freed afterwards.
fn keys(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    /// Keys seen per step.
    const STEP: usize = 1024;
    let pattern = Pattern::new(args.get(1));
    let mut items = Items::default();
    let mut recent = Recent::default();
    let mut cursor = 0;
    loop {
        cursor = cx.keys.scan(cursor, STEP, |entry| {
            let key = entry.key();
            if pattern.matches(key) && recent.is_new(key) {
                items.push(key);
            }
        });
        if cursor == 0 {
            break;
        }
        recent.went_on_to(cursor);
    }
    items.write_to(cx.reply);
    Ok(Flow::Done)
}

/// Keys seen lately. A scan goes shard by shard and may show a key of a shard twice if the shard shrinks meanwhile; so it is
/// enough to remember what came since the beginning of the shard.
#[derive(Default)]
struct Recent<'g> {
    present: HashSet<&'g [u8], ahash::RandomState>,
    previous: HashSet<&'g [u8], ahash::RandomState>,
    shard: u64,
}

impl<'g> Recent<'g> {
    fn is_new(&mut self, key: &'g [u8]) -> bool {
        !self.previous.contains(key) && self.present.insert(key)
    }
    /// A step has ended at `cursor`.
    fn went_on_to(&mut self, cursor: u64) {
        let shard = Table::scan_shard(cursor);
        if shard != self.shard {
            self.shard = shard;
            // The step began in an earlier shard and may have seen the first keys of this one.
            self.previous = std::mem::take(&mut self.present);
        }
    }
}

/// What SCAN is asked for.
struct Wanted<'a> {
    pattern: Pattern<'a>,
    type_name: Option<&'static str>,
    count: usize,
}

impl<'a> Wanted<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, ReplyError> {
        let mut wanted = Wanted { pattern: Pattern(None), type_name: None, count: 10 };
        for at in (2..args.count()).step_by(2) {
            if at + 1 == args.count() {
                return Err(ReplyError::Syntax);
            }
            let value = args.get(at + 1);
            if args.is(at, "count") {
                let count = parse_i64(value).ok_or(ReplyError::NotInteger)?;
                wanted.count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(ReplyError::Syntax)?;
            } else if args.is(at, "match") {
                wanted.pattern = Pattern::new(value);
            } else if args.is(at, "type") {
                wanted.type_name = Some(type_name(value)?);
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        Ok(wanted)
    }
    fn admits(&self, entry: Entry<'_>) -> bool {
        self.type_name.is_none_or(|wanted| wanted == Type::of(entry).name()) && self.pattern.matches(entry.key())
    }
}

/// The types that SCAN can be asked for.
const TYPE_NAMES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

/// Redis 7 finds nothing for a type that it does not know; Valkey and Redis 8 say so, which helps more.
fn type_name(text: &[u8]) -> Result<&'static str, ReplyError> {
    let found = TYPE_NAMES.into_iter().find(|name| text.eq_ignore_ascii_case(name.as_bytes()));
    found.ok_or_else(|| ReplyError::owned(format!("ERR unknown type name '{}'", String::from_utf8_lossy(text))))
}

/// A cursor as C's `strtoul` reads it, but without blanks in front: a sign is fine, `-` wraps around, nothing is 0.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let (is_negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| (byte - b'0') as u64)?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if is_negative { value.wrapping_neg() } else { value })
}

/// One step through all keys. A key that exists from the first to the last step is returned at least once.
/// Shape:  `cursor [MATCH pattern] [COUNT count] [TYPE type]`
/// Errors: cursor, options, count, type.
fn scan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let cursor = parse_cursor(args.get(1)).ok_or(ReplyError::text("ERR invalid cursor"))?;
    let wanted = Wanted::parse(&args)?;
    let mut items = Items::default();
    let next = cx.keys.scan(cursor, wanted.count, |entry| {
        if wanted.admits(entry) {
            items.push(entry.key());
        }
    });
    cx.reply.array(2);
    let mut digits = itoa::Buffer::new();
    cx.reply.bulk(digits.format(next).as_bytes());
    items.write_to(cx.reply);
    Ok(Flow::Done)
}

/// A random key, or null.
fn randomkey(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    match cx.keys.random(cx.prng) {
        Some(entry) => cx.reply.bulk(entry.key()),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}
