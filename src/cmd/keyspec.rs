//! Key positions: which arguments of a command are keys.
//!
//! A row states its keys as specifications: where they begin (an index or after a keyword) and how they go on (a range, or
//! a count that stands among the arguments). From them follow, in this one place, the legacy triple (first, last, step)
//! that old clients and the prefetcher use, and the exact list that COMMAND GETKEYS replies.

use super::command::{Begin, Command, Find, KeySpec, OneKey, flag};
use crate::admin::acl::pattern::{Access, READ, WRITE};
use crate::base::num::parse_i64;
use crate::resp::args::Args;

/// One key argument of a command and what the command does with it, in Redis's words.
pub type KeyAt = (usize, &'static [&'static str]);

/// The arguments do not follow the specification (the command itself would answer with an error).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// First, last and step of the keys that form one run from a fixed index; zeros if there is none. A negative last counts
/// from the end of the arguments. Source: Redis, `populateCommandLegacyRangeSpec`.
pub fn legacy_triple(specs: &[KeySpec]) -> (i32, i32, i32) {
    if let [KeySpec { begin: Begin::Index(pos), find: Find::Range { last, step, .. }, .. }] = specs {
        return (*pos, absolute(*pos, *last), *step);
    }
    let run = plain_run(specs);
    // As unsigned numbers, lasts that count from the end are larger than every index: they win, as in the original.
    match (run.first(), run.iter().map(|&(_, last)| last as u32).max()) {
        (Some(&(first, _)), Some(last)) => (first, last as i32, 1),
        _ => (0, 0, 0),
    }
}

/// True if the legacy triple does not tell all keys: clients must ask COMMAND GETKEYS (`movablekeys`).
pub fn are_movable(specs: &[KeySpec]) -> bool {
    match specs {
        [] => false,
        [KeySpec { begin: Begin::Index(_), find: Find::Range { .. }, flags }] => is_incomplete(flags),
        _ => plain_run(specs).len() < specs.len() || specs.iter().any(|spec| is_incomplete(spec.flags)),
    }
}

/// The (first, last) of the specifications that continue each other: plain ranges of step 1, each beginning right after
/// the one before.
fn plain_run(specs: &[KeySpec]) -> Vec<(i32, i32)> {
    let mut run: Vec<(i32, i32)> = Vec::new();
    for spec in specs {
        let (Begin::Index(pos), Find::Range { last, step: 1, .. }) = (spec.begin, spec.find) else { continue };
        if run.last().is_none_or(|&(_, previous)| previous == pos - 1) {
            run.push((pos, absolute(pos, last)));
        }
    }
    run
}

/// A last key that is given relative to `pos`, as an index; negative ones stay.
fn absolute(pos: i32, last: i32) -> i32 {
    if last >= 0 { pos + last } else { last }
}

fn is_incomplete(flags: &[&str]) -> bool {
    flags.contains(&"incomplete")
}

/// Indexes of the arguments that the legacy triple names, for a command of `count` arguments: what the prefetcher hashes.
/// Cost: a few instructions; nothing for commands without keys.
#[inline]
pub fn legacy_range(row: &Command, count: usize) -> std::iter::StepBy<std::ops::Range<usize>> {
    let (first, last, step) = row.legacy_keys;
    let end = match first {
        0 => 0,
        _ if last < 0 => (count as i64 + last as i64 + 1).max(0) as usize,
        _ => (last as usize + 1).min(count),
    };
    (first as usize..end).step_by(step.max(1) as usize)
}

/// Every key argument of `args`, in the order of the specifications.
/// Errors: `Invalid` if the arguments contradict a specification, or if its keys cannot be known.
pub fn positions(row: &Command, args: &Args<'_>) -> Result<Vec<KeyAt>, Invalid> {
    match row.find_keys {
        Some(find) => Ok(find(args)),
        None => by_specs(row, args).or_else(|invalid| by_loose_count(row, args).ok_or(invalid)),
    }
}

/// The keys behind a count that is not quite a number, or that is too large: as many as its first digits say if they are
/// there, or none; nothing is said of what happens to them. None: no count stands among the arguments.
/// Source: Redis, `genericGetKeys`, which is asked when the specifications do not fit.
fn by_loose_count(row: &Command, args: &Args<'_>) -> Option<Vec<KeyAt>> {
    let counted = |spec: &KeySpec| match (spec.begin, spec.find) {
        (Begin::Index(pos), Find::Count { num, first, step }) => Some((pos + num, pos + first, step)),
        _ => None,
    };
    let (num, first, step) = row.keys.iter().find_map(counted)?;
    let (num, first, step) = (num as usize, first as usize, step.max(1) as usize);
    let count = if num < args.count() { leading_number(args.get(num)) } else { 0 };
    if count == 0 || count > args.count().saturating_sub(first) / step {
        return Some(Vec::new());
    }
    let destination = row.keys.iter().filter_map(|spec| match (spec.begin, spec.find) {
        (Begin::Index(pos), Find::Range { .. }) => Some(pos as usize),
        _ => None,
    });
    Some((0..count).map(|index| first + index * step).chain(destination).map(|at| (at, &[][..])).collect())
}

/// As C's `atoi` reads a number; 0 for what is not positive.
fn leading_number(text: &[u8]) -> usize {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&digits[..len]).ok().and_then(|digits| digits.parse::<i32>().ok()).unwrap_or(0) as usize
}

fn by_specs(row: &Command, args: &Args<'_>) -> Result<Vec<KeyAt>, Invalid> {
    let mut found = Vec::new();
    for spec in row.keys.iter().filter(|spec| !spec.flags.contains(&"not_key")) {
        let flags = match row.key_flags {
            Some(decide) if spec.flags.contains(&"variable_flags") => decide(args),
            _ => spec.flags,
        };
        let Some(first) = begin(spec.begin, args)? else { continue };
        let (first, last, step) = extent(spec.find, first, args)?;
        if last < first || last >= args.count() {
            return Err(Invalid);
        }
        found.extend((first..=last).step_by(step).map(|index| (index, flags)));
        if is_incomplete(spec.flags) {
            return Err(Invalid);
        }
    }
    Ok(found)
}

/// The only key of commands that have one, always at the same place and accessed in the same way: what GET and HSET with a
/// few others are. Their permissions are checked without a list of keys.
pub fn one_key(specs: &[KeySpec]) -> Option<OneKey> {
    let at = only_place(specs)?;
    let [KeySpec { flags, .. }] = specs else { return None };
    (!flags.contains(&"variable_flags")).then(|| OneKey { at, access: access_of(flags) })
}

/// The place of the only key of commands that have one, always there, whatever is done to it.
pub fn only_place(specs: &[KeySpec]) -> Option<u8> {
    match specs {
        [KeySpec { begin: Begin::Index(at), find: Find::Range { last: 0, .. }, flags }]
            if !["not_key", "incomplete"].iter().any(|flag| flags.contains(flag)) =>
        {
            u8::try_from(*at).ok()
        }
        _ => None,
    }
}

/// Commands of the group `generic` that touch nothing but the keys that they name, in the selected database.
const PLAIN_GENERIC: [&str; 16] = [
    "del",
    "exists",
    "expire",
    "expireat",
    "expiretime",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "pttl",
    "rename",
    "renamenx",
    "touch",
    "ttl",
    "type",
    "unlink",
];

/// See `Command::keeps_to_its_keys`. Commands on values do, as far as it is certain which arguments are keys.
pub fn keeps_to_its_keys(row: &Command) -> bool {
    let is_on_values = match row.group {
        "bitmap" | "geo" | "hash" | "hyperloglog" | "list" | "set" | "sorted-set" | "stream" | "string" => true,
        "generic" => PLAIN_GENERIC.contains(&row.name),
        _ => false,
    };
    let is_certain = |spec: &KeySpec| {
        let is_vague = ["not_key", "incomplete"].iter().any(|flag| spec.flags.contains(flag));
        matches!(spec.begin, Begin::Index(_)) && spec.find != Find::Unknown && !is_vague
    };
    let are_certain = !row.keys.is_empty() && row.keys.iter().all(is_certain) && row.find_keys.is_none();
    is_on_values && are_certain && !row.has(flag::BLOCKING | flag::ALONE | flag::ADMIN)
}

/// What key permissions an access needs: reading what is there, or any change.
pub fn access_of(flags: &[&str]) -> Access {
    flags.iter().fold(0, |access, flag| match *flag {
        "access" => access | READ,
        "insert" | "delete" | "update" => access | WRITE,
        _ => access,
    })
}

/// Where the keys begin; None if the keyword is absent.
fn begin(begin: Begin, args: &Args<'_>) -> Result<Option<usize>, Invalid> {
    match begin {
        Begin::Index(pos) => Ok(Some(pos as usize)),
        Begin::Keyword(word, from) if from > 0 => {
            // The last argument cannot be the keyword: a key must follow it.
            let candidates = from as usize..args.count().saturating_sub(1);
            Ok(candidates.into_iter().find(|&index| args.is(index, word)).map(|index| index + 1))
        }
        Begin::Keyword(word, from) => {
            let start = args.count() as i64 + from as i64;
            let mut candidates = (2..=start.max(0) as usize).rev().filter(|&index| index < args.count());
            Ok(candidates.find(|&index| args.is(index, word)).map(|index| index + 1))
        }
        Begin::Unknown => Err(Invalid),
    }
}

/// First and last key and the step between keys, for keys that begin at `first`.
fn extent(find: Find, first: usize, args: &Args<'_>) -> Result<(usize, usize, usize), Invalid> {
    let count = args.count() as i64;
    let begin = first as i64;
    match find {
        Find::Range { last, step, limit } => {
            let last = match last {
                0.. => begin + last as i64,
                _ if limit == 0 => count + last as i64,
                _ => begin + (count - begin) / limit as i64 + last as i64,
            };
            Ok((first, usize::try_from(last).map_err(|_| Invalid)?, step.max(1) as usize))
        }
        Find::Count { num, first: offset, step } => {
            let at = first + num as usize;
            let keys = (at < args.count()).then(|| parse_i64(args.get(at))).flatten().filter(|&n| n > 0);
            let keys = keys.ok_or(Invalid)?;
            let first = begin + offset as i64;
            let step = step.max(1) as i64; // 2: keys and values take turns, as in MSETEX.
            let last = (keys - 1).checked_mul(step).and_then(|run| first.checked_add(run));
            let last = last.filter(|&last| last < count).ok_or(Invalid)?;
            Ok((first as usize, last as usize, step as usize))
        }
        Find::Unknown => Err(Invalid),
    }
}

const READS: &[&str] = &["RO", "access"];
const REPLACES: &[&str] = &["OW", "update"];
const READS_AND_WRITES: &[&str] = &["RW", "access", "update"];

/// The keys of SORT: argument 1, and what follows the last STORE.
pub fn sort_keys(args: &Args<'_>) -> Vec<KeyAt> {
    let (mut at, mut destination) = (2, None);
    while at < args.count() {
        at += match () {
            _ if args.is(at, "limit") => 3,
            _ if args.is(at, "get") || args.is(at, "by") => 2,
            _ => {
                if args.is(at, "store") && at + 1 < args.count() {
                    destination = Some((at + 1, REPLACES));
                }
                1
            }
        };
    }
    [(1, READS)].into_iter().chain(destination).collect()
}

/// The keys of SORT_RO: argument 1.
pub fn first_key(_: &Args<'_>) -> Vec<KeyAt> {
    vec![(1, READS)]
}

/// What SET does with its key: with GET it reads it, too.
pub fn set_access(args: &Args<'_>) -> &'static [&'static str] {
    if (3..args.count()).any(|index| args.is(index, "get")) { READS_AND_WRITES } else { REPLACES }
}

/// What BITFIELD does with its key: it reads, unless some part writes or is not understood.
pub fn bitfield_access(args: &Args<'_>) -> &'static [&'static str] {
    let mut at = 2;
    while at < args.count() {
        at += match args.count() - at - 1 {
            2.. if args.is(at, "get") => 3,
            1.. if args.is(at, "overflow") => 2,
            _ => return READS_AND_WRITES,
        };
    }
    READS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::testkit::Line;

    const ANY: &[&str] = &["RO"];
    const DESTINATION: KeySpec = KeySpec::one(1, ANY);

    #[test]
    fn some_commands_keep_to_the_keys_that_they_name() {
        let keeps = |name: &&str| crate::cmd::table::lookup_full(name.as_bytes()).expect("a command").keeps_to_its_keys;
        let ones = "get set mget mset incr append del rename expire hset hgetall lpush lmove sadd sunionstore zadd zrangestore \
            zinterstore lmpop pfmerge bitop geoadd xadd xack xgroup|create";
        let others = "ping keys scan randomkey dbsize sort sort_ro copy move blpop bzpopmin xread xreadgroup wait eval fcall \
            migrate flushall select object|encoding publish georadius restore pfselftest watch config|get";
        assert_eq!(ones.split_whitespace().find(|name| !keeps(name)), None);
        assert_eq!(others.split_whitespace().find(|name| keeps(name)), None);
    }

    fn keys_of(specs: &[KeySpec], line: &str) -> Result<Vec<usize>, Invalid> {
        let row =
            crate::cmd::command::cmd("test", |_, _| Ok(crate::cmd::command::Flow::Done)).keys(specs.to_vec().leak());
        let line = Line::new(line);
        positions(&row, &Args::of(&line.parts())).map(|found| found.into_iter().map(|(index, _)| index).collect())
    }

    #[test]
    fn ranges_count_from_their_begin_or_from_the_end() {
        assert_eq!(keys_of(&[KeySpec::one(1, ANY)], "get a"), Ok(vec![1]));
        assert_eq!(keys_of(&[KeySpec::rest(1, 2, ANY)], "mset a 1 b 2"), Ok(vec![1, 3]));
        assert_eq!(keys_of(&[DESTINATION, KeySpec::rest(2, 1, ANY)], "sinterstore d a b"), Ok(vec![1, 2, 3]));
        assert_eq!(keys_of(&[KeySpec::rest(2, 1, ANY)], "x a"), Err(Invalid));
    }

    #[test]
    fn counts_and_keywords_find_their_keys() {
        const COUNTED: KeySpec = KeySpec::new(Begin::Index(2), Find::Count { num: 0, first: 1, step: 1 }, ANY);
        assert_eq!(keys_of(&[DESTINATION, COUNTED], "zunionstore d 2 a b weights"), Ok(vec![1, 3, 4]));
        assert_eq!(keys_of(&[DESTINATION, COUNTED], "zunionstore d 9 a b"), Ok(vec![]));
        assert_eq!(keys_of(&[DESTINATION, COUNTED], "zunionstore d x a b"), Ok(vec![]));
        assert_eq!(keys_of(&[DESTINATION, COUNTED], "zunionstore d 9223372036854775807 a b"), Ok(vec![]));
        assert_eq!(keys_of(&[DESTINATION, COUNTED], "zunionstore d 02x a b"), Ok(vec![3, 4, 1]));
        const PAIRS: KeySpec = KeySpec::new(Begin::Index(1), Find::Count { num: 0, first: 1, step: 2 }, ANY);
        assert_eq!(keys_of(&[PAIRS], "msetex 2 a 1 b 2 nx"), Ok(vec![2, 4]));
        const STREAMS: KeySpec =
            KeySpec::new(Begin::Keyword("STREAMS", 1), Find::Range { last: -1, step: 1, limit: 2 }, ANY);
        assert_eq!(keys_of(&[STREAMS], "xread count 2 streams a b 0 0"), Ok(vec![4, 5]));
        assert_eq!(keys_of(&[STREAMS], "xread count 2"), Ok(vec![]));
        const BACKWARDS: KeySpec =
            KeySpec::new(Begin::Keyword("KEYS", -2), Find::Range { last: -1, step: 1, limit: 0 }, ANY);
        assert_eq!(keys_of(&[BACKWARDS], "migrate h 1 keys a keys b"), Ok(vec![6]));
    }

    #[test]
    fn some_options_change_what_happens_to_the_key() {
        let access = |line: &str| match Line::new(line) {
            line if Args::of(&line.parts()).is(0, "set") => set_access(&Args::of(&line.parts()))[0],
            line => bitfield_access(&Args::of(&line.parts()))[0],
        };
        assert_eq!((access("set a b"), access("set a b NX Get"), access("set a get")), ("OW", "RW", "OW"));
        assert_eq!(access("bitfield a get u8 0 overflow sat get u8 1"), "RO");
        assert_eq!(access("bitfield a get u8 0 set u8 0 1"), "RW");
        assert_eq!(access("bitfield a nonsense"), "RW");
    }

    #[test]
    fn the_legacy_triple_follows_the_first_plain_run() {
        assert_eq!(legacy_triple(&[]), (0, 0, 0));
        assert_eq!(legacy_triple(&[KeySpec::one(2, ANY)]), (2, 2, 1));
        assert_eq!(legacy_triple(&[KeySpec::rest(1, 2, ANY)]), (1, -1, 2));
        assert_eq!(legacy_triple(&[DESTINATION, KeySpec::one(2, ANY)]), (1, 2, 1));
        assert_eq!(legacy_triple(&[DESTINATION, KeySpec::rest(2, 1, ANY)]), (1, -1, 1));
        assert!(!are_movable(&[DESTINATION, KeySpec::one(2, ANY)]));
        const COUNTED: KeySpec = KeySpec::new(Begin::Index(2), Find::Count { num: 0, first: 1, step: 1 }, ANY);
        assert_eq!(legacy_triple(&[COUNTED]), (0, 0, 0));
        assert_eq!(legacy_triple(&[DESTINATION, COUNTED]), (1, 1, 1));
        assert!(are_movable(&[COUNTED]) && are_movable(&[DESTINATION, COUNTED]));
    }
}
