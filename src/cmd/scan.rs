//! Looking through all keys: KEYS, SCAN, RANDOMKEY.
//!
//! KEYS, and SCAN with a large COUNT, are long commands: slices of a walk, between which others are served. Their reply
//! begins with a number that is known only at the end, so it is kept in pieces, and the pieces are sent by reference.

use super::command::{Command, Cx, Flow, acl, cmd, flag};
use super::resume::{Resumable, Slice, Step};
use crate::base::glob;
use crate::base::num::parse_i64;
use crate::keyspace::types::Type;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Reply;
use crate::table::{Entry, Walk, Walked};
use bytes::Bytes;

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

/// Entries that are looked at between two looks at the clock.
const ENTRIES_PER_LOOK: usize = 256;
/// Bytes after which a piece of a reply is finished.
const PIECE_LEN: usize = 256 << 10;

/// A pattern; None matches everything.
struct Pattern(Option<Box<[u8]>>);

impl Pattern {
    fn new(text: &[u8]) -> Self {
        Pattern((text != b"*").then(|| text.into()))
    }
    #[inline]
    fn matches(&self, key: &[u8]) -> bool {
        self.0.as_deref().is_none_or(|pattern| glob::matches(pattern, key))
    }
}

/// Elements of an array whose length is known only at the end. They lie in pieces, so that no long copy is ever made: a
/// growing vector of 100 MB would stop its loop for tens of milliseconds.
#[derive(Default)]
struct Items {
    finished: Vec<Bytes>,
    finished_len: usize,
    last: Reply,
    count: usize,
}

/// A place in the items to which they may be cut back.
#[derive(Clone, Copy, Default)]
struct ItemsMark {
    finished_count: usize,
    last_len: usize,
    count: usize,
}

impl Items {
    fn push(&mut self, key: &[u8]) {
        let room = &self.last.out.buf;
        if room.capacity() - room.len() < key.len() + 32 && room.len() > PIECE_LEN / 2 {
            self.finish_piece();
        }
        self.last.bulk(key);
        self.count += 1;
    }
    fn finish_piece(&mut self) {
        let piece = Bytes::from(self.last.take().buf);
        self.finished_len += piece.len();
        self.finished.push(piece);
        self.last.out.buf = Vec::with_capacity(PIECE_LEN);
    }
    fn len(&self) -> usize {
        self.finished_len + self.last.out.buf.len()
    }
    fn mark(&self) -> ItemsMark {
        ItemsMark { finished_count: self.finished.len(), last_len: self.last.out.buf.len(), count: self.count }
    }
    /// Forgets what was pushed since `mark`.
    fn cut_back(&mut self, mark: ItemsMark) {
        if self.finished.len() > mark.finished_count {
            // The mark lies in a piece that is finished by now: its beginning becomes the last piece again.
            self.last.out.buf = self.finished[mark.finished_count].to_vec();
            self.finished.truncate(mark.finished_count);
            self.finished_len = self.finished.iter().map(Bytes::len).sum();
        }
        self.last.out.buf.truncate(mark.last_len);
        self.count = mark.count;
    }
    fn write_to(&mut self, reply: &mut Reply) {
        reply.array(self.count);
        self.finished.drain(..).for_each(|piece| reply.raw_shared(piece));
        reply.raw(&self.last.out.buf);
    }
}

/// All keys that match.
/// Shape: `pattern`
/// Cost:  a walk over the whole table, in slices. What is there throughout is listed, once; so may be what comes or goes
///        meanwhile.
fn keys(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let Some(table) = cx.keys.table() else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let (table_id, pattern) = (table.id(), Pattern::new(args.get(1)));
    cx.begin(Listing {
        table_id,
        pattern,
        walk: Walk::default(),
        items: Items::default(),
        shard_began: ItemsMark::default(),
    })
}

/// KEYS at work.
struct Listing {
    table_id: u64,
    pattern: Pattern,
    walk: Walk,
    items: Items,
    /// Where the keys of the present shard begin.
    shard_began: ItemsMark,
}

impl Resumable for Listing {
    fn step(&mut self, cx: &mut Cx<'_>, slice: Slice) -> Result<Step, ReplyError> {
        let mut seen = 0;
        loop {
            let Listing { table_id, pattern, walk, items, .. } = self;
            let walked = cx.keys.walk(*table_id, walk, ENTRIES_PER_LOOK - seen, |entry| {
                seen += 1;
                let key = entry.key();
                if pattern.matches(key) {
                    items.push(key);
                }
            });
            match walked {
                Walked::More => seen = ENTRIES_PER_LOOK,
                Walked::NextShard => self.shard_began = items.mark(),
                Walked::ShardAgain => items.cut_back(self.shard_began),
                Walked::Done => {
                    items.write_to(cx.reply);
                    return Ok(Step::Done);
                }
            }
            seen += 1; // A shard is work, too.
            if seen >= ENTRIES_PER_LOOK {
                if slice.is_over() {
                    return Ok(Step::More);
                }
                seen = 0;
            }
        }
    }
    fn held_len(&self) -> usize {
        self.items.len()
    }
}

/// What SCAN is asked for.
struct Wanted {
    pattern: Pattern,
    type_name: Option<&'static str>,
    count: usize,
}

impl Wanted {
    fn parse(args: &Args<'_>) -> Result<Self, ReplyError> {
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
    found.ok_or_else(|| ReplyError::owned(format!("ERR unknown type name '{}'", escaped(text))))
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
    let left = wanted.count;
    cx.begin(Scan { wanted, cursor, left, items: Items::default() })
}

/// SCAN at work.
struct Scan {
    wanted: Wanted,
    cursor: u64,
    /// Entries that are still to be looked at.
    left: usize,
    items: Items,
}

impl Resumable for Scan {
    fn step(&mut self, cx: &mut Cx<'_>, slice: Slice) -> Result<Step, ReplyError> {
        loop {
            let Scan { wanted, items, .. } = self;
            let mut seen = 0;
            self.cursor = cx.keys.scan(
                self.cursor,
                self.left.min(ENTRIES_PER_LOOK),
                |entry| wanted.admits(entry),
                |entry| {
                    seen += 1;
                    if wanted.admits(entry) {
                        items.push(entry.key());
                    }
                },
            );
            // A piece of the table may be empty: groups count as well, as many as a short scan passes over.
            self.left = self.left.saturating_sub(seen.max(ENTRIES_PER_LOOK));
            if self.cursor == 0 || self.left == 0 {
                break;
            }
            if slice.is_over() {
                return Ok(Step::More);
            }
        }
        cx.reply.array(2);
        let mut digits = itoa::Buffer::new();
        cx.reply.bulk(digits.format(self.cursor).as_bytes());
        self.items.write_to(cx.reply);
        Ok(Step::Done)
    }
    fn held_len(&self) -> usize {
        self.items.len()
    }
}

/// A step of HSCAN, SSCAN or ZSCAN.
pub(super) struct ElementScan {
    cursor: u64,
    count: usize,
    pattern: Pattern,
    /// HSCAN without NOVALUES, ZSCAN without NOSCORES.
    pub with_values: bool,
}

/// What a step through a collection finds.
pub(super) struct Found<'s> {
    pattern: &'s Pattern,
    items: Items,
    seen: usize,
}

impl Found<'_> {
    /// An element that the step came across. True: it matches and is in the reply; what belongs to it comes next.
    #[inline]
    pub(super) fn offer(&mut self, element: &[u8]) -> bool {
        self.seen += 1;
        let matches = self.pattern.matches(element);
        if matches {
            self.items.push(element);
        }
        matches
    }
    /// The step came across something that is not there any more.
    pub(super) fn pass_over(&mut self) {
        self.seen += 1;
    }
    /// Something that belongs to the last element: a value, a score.
    #[inline]
    pub(super) fn push(&mut self, text: &[u8]) {
        self.items.push(text);
    }
}

impl ElementScan {
    /// The cursor, argument 2. It is looked at before the key.
    pub(super) fn cursor(args: &Args<'_>) -> Result<u64, ReplyError> {
        parse_cursor(args.get(2)).ok_or(ReplyError::text("ERR invalid cursor"))
    }
    /// The options, argument 3 and on. They are looked at only if the key is there.
    /// Shape: [MATCH pattern] [COUNT count] [NOVALUES|NOSCORES]         NOVALUES for HSCAN, NOSCORES for ZSCAN only
    pub(super) fn parse(args: &Args<'_>, cursor: u64) -> Result<Self, ReplyError> {
        let mut scan = ElementScan { cursor, count: 10, pattern: Pattern(None), with_values: true };
        let mut at = 3;
        while at < args.count() {
            let has_value = at + 1 < args.count();
            if has_value && args.is(at, "count") {
                let count = parse_i64(args.get(at + 1)).ok_or(ReplyError::NotInteger)?;
                scan.count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(ReplyError::Syntax)?;
                at += 2;
            } else if has_value && args.is(at, "match") {
                scan.pattern = Pattern::new(args.get(at + 1));
                at += 2;
            } else if args.is(at, "novalues") {
                if !args.is(0, "hscan") {
                    return Err(ReplyError::text("ERR NOVALUES option can only be used in HSCAN"));
                }
                scan.with_values = false;
                at += 1;
            } else if args.is(at, "noscores") {
                if !args.is(0, "zscan") {
                    return Err(ReplyError::text("ERR NOSCORES option can only be used in ZSCAN"));
                }
                scan.with_values = false;
                at += 1;
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        Ok(scan)
    }
    /// The reply for a key that is not there.
    pub(super) fn reply_nothing(reply: &mut Reply) {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
    }
    /// Goes on until `count` elements were seen, or ten times as many places. `step` offers what is at a cursor and returns
    /// the next one.
    pub(super) fn run(self, reply: &mut Reply, mut step: impl FnMut(u64, &mut Found<'_>) -> u64) {
        let mut found = Found { pattern: &self.pattern, items: Items::default(), seen: 0 };
        let (mut cursor, mut places) = (self.cursor, 0);
        loop {
            cursor = step(cursor, &mut found);
            places += 1;
            if cursor == 0 || found.seen >= self.count || places >= self.count.saturating_mul(10) {
                break;
            }
        }
        reply.array(2);
        reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
        found.items.write_to(reply);
    }
}

/// A random key, or null.
fn randomkey(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    match cx.keys.random(cx.prng) {
        Some(entry) => cx.reply.bulk(entry.key()),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}
