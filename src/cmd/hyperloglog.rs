//! The HyperLogLog family: strings whose bytes count different elements.
//!
//! What a HyperLogLog is stands in `value::hll`; here its bytes are taken from keys and put back. A change makes a new
//! entry, as every change of a string does; an addition that changes nothing, and a count that was kept, only read.

use super::command::{Class, Command, Cx, Flow, KeySpec, acl, cmd, flag};
use super::edit::{self, list_of, string_of, update};
use super::resume::{Resumable, Slice, Step};
use crate::admin::params::Id;
use crate::base::hash::Key;
use crate::base::prng::Prng;
use crate::keyspace::types::{RAW, Str, new_bytes};
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::table::{Change, Entry, NewEntry};
use crate::value::hll::{Corrupt, Hll, REGISTERS, count_of, sparse};
use std::fmt::Write;

pub static ROWS: &[Command] = &[
    cmd("pfadd", pfadd)
        .arity(-2)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HYPERLOGLOG)
        .keys(&[KeySpec::one(1, &["RW", "insert"])])
        .group("hyperloglog", "2.8.9"),
    cmd("pfcount", pfcount)
        .arity(-2)
        .flags(flag::READONLY | flag::MAY_REPLICATE)
        .acl(acl::HYPERLOGLOG)
        .keys(&[KeySpec::rest(1, 1, &["RW", "access"])])
        .group("hyperloglog", "2.8.9"),
    cmd("pfdebug", pfdebug)
        .arity(3)
        .flags(flag::WRITE | flag::DENYOOM | flag::ADMIN)
        .acl(acl::HYPERLOGLOG)
        .keys(&[KeySpec::one(2, &["RW", "access"])])
        .group("hyperloglog", "2.8.9"),
    cmd("pfmerge", pfmerge)
        .arity(-2)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::HYPERLOGLOG)
        .keys(&[KeySpec::one(1, &["RW", "access", "insert"]), KeySpec::rest(2, 1, &["RO", "access"])])
        .group("hyperloglog", "2.8.9"),
    cmd("pfselftest", pfselftest).arity(1).flags(flag::ADMIN).acl(acl::HYPERLOGLOG).group("hyperloglog", "2.8.9"),
];

impl From<Corrupt> for ReplyError {
    fn from(_: Corrupt) -> Self {
        ReplyError::text("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// `hll-sparse-max-bytes`.
fn sparse_len_max(cx: &Cx<'_>) -> usize {
    cx.world.config.number(Id::HLL_SPARSE_MAX_BYTES) as usize
}

/// The HyperLogLog in a string.
fn hll_of(value: Str<'_>) -> Result<Hll<'_>, ReplyError> {
    let bytes = match value {
        Str::Bytes(bytes) => bytes,
        Str::Blob(blob) => blob,
        Str::Int(_) => b"",
    };
    Hll::of(bytes).ok_or(ReplyError::text("WRONGTYPE Key is not a valid HyperLogLog string value."))
}

/// The HyperLogLog of an entry. None: the key is absent.
fn hll_in(entry: Option<Entry<'_>>) -> Result<Option<Hll<'_>>, ReplyError> {
    string_of(entry)?.map(hll_of).transpose()
}

/// The entry of a HyperLogLog in the place of `old`, whose deadline goes on.
fn new_entry(cx: &Cx<'_>, key: Key<'_>, old: Option<Entry<'_>>, hll: &Hll<'_>) -> NewEntry {
    new_bytes(RAW, key.bytes, hll.bytes(), old.and_then(Entry::expires_at), cx.keys.recency())
}

/// Add elements; reply whether a count would change.
/// Shape:  key element...
/// Errors: WrongType, or what is in the key is corrupt; nothing was added then.
/// Cost:   the value, at most 12 KiB, is copied if it changes.
fn pfadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (key, len_max) = (cx.key(&args, 1), sparse_len_max(cx));
    let changes = update(cx, key, |entry| {
        let old = hll_in(entry)?;
        let mut changes = old.is_none() as u64;
        let mut hll = old.unwrap_or_default();
        for element in args.iter_from(2) {
            changes += hll.add(element, len_max)? as u64;
        }
        if changes == 0 {
            return Ok((Change::Keep, 0));
        }
        hll.forget_count();
        Ok((Change::Put(new_entry(cx, key, entry, &hll)), changes))
    })?;
    if changes > 0 {
        cx.changed(key.bytes, Class::STRING, "pfadd");
    }
    cx.effects.dirty += changes;
    cx.reply.int((changes > 0) as i64);
    Ok(Flow::Done)
}

/// Reply how many different elements were added to a key, or to any of several.
/// Shape: key...
fn pfcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let count = if args.count() == 2 { count_one(cx, cx.key(&args, 1))? } else { count_union(cx, &args)? };
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

/// The count of one key, which is kept with it until it changes.
fn count_one(cx: &mut Cx<'_>, key: Key<'_>) -> Result<u64, ReplyError> {
    let Some(value) = edit::read(cx, key)? else { return Ok(0) };
    if let Some(count) = hll_of(value)?.kept_count() {
        return Ok(count);
    }
    let (count, changes) = update(cx, key, |entry| {
        let Some(mut hll) = hll_in(entry)? else { return Ok((Change::Keep, (0, 0))) };
        if let Some(count) = hll.kept_count() {
            return Ok((Change::Keep, (count, 0)));
        }
        let count = hll.count()?;
        hll.keep_count(count);
        Ok((Change::Put(new_entry(cx, key, entry, &hll)), (count, 1)))
    })?;
    if changes > 0 {
        cx.touched(key.bytes);
    }
    cx.effects.dirty += changes;
    Ok(count)
}

/// The count of what several keys have together, at one instant.
fn count_union(cx: &mut Cx<'_>, args: &Args<'_>) -> Result<u64, ReplyError> {
    let keys = cx.keys;
    let count = args.count() - 1;
    let list = list_of(count, |index| cx.key(args, index + 1));
    let (union, missing) = keys.snapshot(&list, |entries| {
        let mut registers = [0; REGISTERS];
        let mut missing = Vec::new();
        for (index, &entry) in entries.iter().enumerate() {
            let Some(entry) = keys.live(entry) else {
                missing.push(index);
                continue;
            };
            keys.touch(entry);
            hll_of(Str::of(entry)?)?.raise(&mut registers)?;
        }
        Ok::<_, ReplyError>((count_of(&registers), missing))
    })?;
    keys.looked_up_all(count, missing.iter().map(|&index| list[index].bytes));
    Ok(union)
}

/// Add what several keys have to the first of them.
/// Shape:  destination source*
/// Errors: WrongType or corruption of any of the keys; nothing is stored then.
fn pfmerge(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (keys, len_max) = (cx.keys, sparse_len_max(cx));
    let list = list_of(args.count() - 1, |index| (keys.db(), cx.key(&args, index + 1)));
    let missing = keys.transact(&list, |txn| {
        let mut registers = [0; REGISTERS];
        let (mut missing, mut any_dense) = (Vec::new(), false);
        for index in 0..list.len() {
            let Some(entry) = keys.live(txn.old(index)) else {
                missing.push(index);
                continue;
            };
            let hll = hll_of(Str::of(entry)?)?;
            hll.raise(&mut registers)?;
            any_dense |= !hll.is_sparse();
        }
        let old = keys.live(txn.old(0));
        let mut merged = hll_in(old)?.unwrap_or_default();
        if any_dense {
            merged.make_dense()?;
        }
        for (index, &value) in registers.iter().enumerate().filter(|&(_, &value)| value > 0) {
            merged.set(index, value, len_max)?;
        }
        merged.forget_count();
        txn.decide(0, Change::Put(new_entry(cx, list[0].1, old, &merged)));
        Ok::<_, ReplyError>(missing)
    })?;
    keys.looked_up_all(list.len(), missing.iter().map(|&index| list[index].1.bytes));
    cx.changed(args.get(1), Class::STRING, "pfadd");
    cx.effects.dirty += 1;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Look into a HyperLogLog, or make it dense.
/// Shape:  GETREG|DECODE|ENCODING|TODENSE key
/// Errors: an absent key and WrongType before an unknown word.
fn pfdebug(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let key = cx.key(&args, 2);
    let absent = ReplyError::text("ERR The specified key does not exist");
    let entry = cx.keys.peek(key).ok_or(absent.clone())?;
    let hll = hll_of(Str::of(entry)?)?;
    match () {
        _ if args.is(1, "encoding") => cx.reply.simple(if hll.is_sparse() { "sparse" } else { "dense" }),
        _ if args.is(1, "decode") => {
            let text = decoded(&hll)?;
            cx.reply.bulk(text.as_bytes());
        }
        _ if args.is(1, "getreg") => {
            let mut registers = [0; REGISTERS];
            hll.raise(&mut registers)?;
            make_dense(cx, key)?;
            cx.reply.array(REGISTERS);
            registers.iter().for_each(|&value| cx.reply.int(value as i64));
        }
        _ if args.is(1, "todense") => {
            let was_sparse = make_dense(cx, key)?;
            cx.reply.int(was_sparse as i64);
        }
        _ => {
            let word = escaped(args.get(1));
            return Err(ReplyError::owned(format!("ERR Unknown PFDEBUG subcommand '{word}'")));
        }
    }
    Ok(Flow::Done)
}

/// Makes a key's HyperLogLog dense. True: it was sparse.
fn make_dense(cx: &mut Cx<'_>, key: Key<'_>) -> Result<bool, ReplyError> {
    let was_sparse = update(cx, key, |entry| {
        let Some(mut hll) = hll_in(entry)?.filter(Hll::is_sparse) else { return Ok((Change::Keep, false)) };
        hll.make_dense()?;
        Ok((Change::Put(new_entry(cx, key, entry, &hll)), true))
    })?;
    cx.effects.dirty += was_sparse as u64;
    Ok(was_sparse)
}

/// The runs of a sparse one as text: `z:4 Z:100 v:2,1`, for ZERO, XZERO and VAL.
fn decoded(hll: &Hll<'_>) -> Result<String, ReplyError> {
    if !hll.is_sparse() {
        return Err(ReplyError::text("ERR HLL encoding is not sparse"));
    }
    let mut text = String::new();
    for run in sparse::runs(hll.registers()) {
        let run = run?;
        let separator = if text.is_empty() { "" } else { " " };
        let written = match (run.value, run.size) {
            (0, 1) => write!(text, "{separator}z:{}", run.len),
            (0, _) => write!(text, "{separator}Z:{}", run.len),
            (value, _) => write!(text, "{separator}v:{value},{}", run.len),
        };
        written.unwrap_or_else(|_| unreachable!("a string takes any text"));
    }
    Ok(text)
}

/// Test whether counts are right: elements are added to a sparse and to a dense one, and both are counted at powers of ten.
fn pfselftest(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let mut dense = Hll::new();
    dense.make_dense()?;
    let (seed, len_max) = (cx.prng.next_u64(), sparse_len_max(cx));
    cx.begin(SelfTest { sparse: Hll::new(), dense, len_max, elements: Prng::seeded(seed), added: 0, goal: 1 })
}

/// PFSELFTEST at work.
struct SelfTest {
    sparse: Hll<'static>,
    dense: Hll<'static>,
    len_max: usize,
    elements: Prng,
    added: u64,
    /// The next power of ten.
    goal: u64,
}

/// Elements of PFSELFTEST. Redis adds ten times as many; the error is the same from 10^5 on.
const TESTED_MAX: u64 = 1_000_000;

impl SelfTest {
    fn check(&self) -> Result<(), ReplyError> {
        let failed = |what: String| Err(ReplyError::owned(format!("ERR TESTFAILED {what}")));
        let count = self.dense.count()?;
        if self.added < self.len_max as u64 / 2 && !self.sparse.is_sparse() {
            return failed("sparse encoding not used".into());
        }
        if count != self.sparse.count()? {
            return failed("dense/sparse disagree".into());
        }
        let error = count.abs_diff(self.added);
        // Six times the standard error: less than one run in 10^8 fails by chance.
        let error_max = (self.added as f64 * 6.0 * 1.04 / (REGISTERS as f64).sqrt()).ceil() as u64;
        if error > error_max {
            return failed(format!("Too big error. card:{} abserr:{error}", self.added));
        }
        Ok(())
    }
}

impl Resumable for SelfTest {
    fn step(&mut self, cx: &mut Cx<'_>, slice: Slice) -> Result<Step, ReplyError> {
        while self.added < TESTED_MAX {
            let element = self.elements.next_u64().to_le_bytes();
            self.dense.add(&element, self.len_max)?;
            self.sparse.add(&element, self.len_max)?;
            self.added += 1;
            if self.added == self.goal {
                self.check()?;
                self.goal *= 10;
            }
            if self.added.is_multiple_of(256) && slice.is_over() {
                return Ok(Step::More);
            }
        }
        cx.reply.ok();
        Ok(Step::Done)
    }
}
