//! LCS: the longest common subsequence of two strings. The table is computed in `value::lcs`.

use super::command::{Cx, Flow};
use super::edit::{bulk_len_max, string_of};
use crate::base::num::parse_i64;
use crate::keyspace::types::Str;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::lcs::{Match, Table, length, table_bytes};

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_len: bool,
    min_len: i64,
}

/// Reply the longest common subsequence of two keys' values, its length, or where its runs lie.
/// Shape:  key key [LEN|IDX] [MINMATCHLEN n] [WITHMATCHLEN]
/// Errors: a key that holds no string, Syntax, NotInteger, LEN together with IDX, a table beyond proto-max-bulk-len.
/// Cost:   the product of both lengths, in time and (unless LEN) in 4-byte cells.
pub(super) fn lcs(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let [a, b] = values(cx, &args)?;
    let (mut a_digits, mut b_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let a = a.map_or(&b""[..], |value| value.bytes(&mut a_digits));
    let b = b.map_or(&b""[..], |value| value.bytes(&mut b_digits));
    let options = Options::parse(&args)?;
    if table_bytes(a.len(), b.len()) > bulk_len_max(cx) as u128 {
        return Err(ReplyError::text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    if options.len {
        cx.reply.int(length(a, b) as i64);
    } else if options.idx {
        options.reply_matches(cx, &Table::new(a, b));
    } else {
        cx.reply.bulk(&Table::new(a, b).text());
    }
    Ok(Flow::Done)
}

/// Both values at one instant.
fn values<'a>(cx: &Cx<'a>, args: &Args<'_>) -> Result<[Option<Str<'a>>; 2], ReplyError> {
    let keys = cx.keys;
    let found = keys.snapshot(&[cx.key(args, 1), cx.key(args, 2)], |entries| {
        [0, 1].map(|index| keys.live(entries[index])).map(|entry| {
            entry.into_iter().for_each(|entry| keys.touch(entry));
            (entry.is_some(), string_of(entry))
        })
    });
    let missing = found.iter().enumerate().filter(|(_, (present, _))| !present);
    let missing: Vec<&[u8]> = missing.map(|(index, _)| args.get(index + 1)).collect();
    keys.looked_up_all(2, missing.into_iter());
    let no_string = ReplyError::text("ERR The specified keys must contain string values");
    match found {
        [(_, Ok(a)), (_, Ok(b))] => Ok([a, b]),
        _ => Err(no_string),
    }
}

impl Options {
    fn parse(args: &Args<'_>) -> Result<Self, ReplyError> {
        let mut options = Options::default();
        let mut index = 3;
        while index < args.count() {
            match () {
                _ if args.is(index, "idx") => options.idx = true,
                _ if args.is(index, "len") => options.len = true,
                _ if args.is(index, "withmatchlen") => options.with_len = true,
                _ if args.is(index, "minmatchlen") && index + 1 < args.count() => {
                    index += 1;
                    options.min_len = parse_i64(args.get(index)).ok_or(ReplyError::NotInteger)?;
                }
                _ => return Err(ReplyError::Syntax),
            }
            index += 1;
        }
        if options.len && options.idx {
            return Err(ReplyError::text("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
    /// `matches`: the runs that are long enough, last one first, each with its ends in both strings; `len`.
    fn reply_matches(&self, cx: &mut Cx<'_>, table: &Table<'_>) {
        let mut runs = table.matches();
        runs.retain(|run| run.len as i64 >= self.min_len);
        cx.reply.map(2);
        cx.reply.bulk(b"matches");
        cx.reply.array(runs.len());
        runs.iter().for_each(|run| self.reply_run(cx, *run));
        cx.reply.bulk(b"len");
        cx.reply.int(table.length() as i64);
    }
    fn reply_run(&self, cx: &mut Cx<'_>, run: Match) {
        cx.reply.array(2 + self.with_len as usize);
        for start in [run.a, run.b] {
            cx.reply.array(2);
            cx.reply.int(start as i64);
            cx.reply.int((start + run.len - 1) as i64);
        }
        if self.with_len {
            cx.reply.int(run.len as i64);
        }
    }
}
