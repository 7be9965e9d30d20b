//! Equal elements of a list: LPOS finds them, LREM removes them, LINSERT puts something beside one.

use super::command::{Class, Cx, Flow};
use super::edit::int;
use super::list::limits;
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::list::element::Element;
use crate::value::list::{End, List};
use crate::value::object::Collection;
use std::ops::ControlFlow;

/// Calls `found` with how many elements lie before each one that equals `value`, walking away from `from` over at most
/// `len_max` elements, until it breaks off.
fn each_equal(list: &List, value: &[u8], from: End, len_max: usize, mut found: impl FnMut(usize) -> ControlFlow<()>) {
    let value = Element::of(value);
    let first = if from == End::Front { 0 } else { list.count().saturating_sub(1) };
    let mut passed = 0;
    list.visit(from, first, len_max, |element| {
        passed += 1;
        if element == value { found(passed - 1) } else { ControlFlow::Continue(()) }
    });
}

/// Insert an element beside the first one that equals the pivot; reply the count, or -1 if there is none.
/// Shape: key BEFORE|AFTER pivot element
pub(super) fn linsert(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let behind = match () {
        _ if args.is(2, "before") => 0,
        _ if args.is(2, "after") => 1,
        _ => return Err(ReplyError::Syntax),
    };
    let Some(mut list) = cx.keys.open::<List>(cx.key(&args, 1))? else {
        cx.reply.int(0);
        return Ok(Flow::Done);
    };
    let (value, limits) = (args.get(4), limits(cx));
    // Even if there is no pivot, as in Redis, whose encoding shows it.
    list.expect(value.len(), 1, &limits);
    let mut pivot = None;
    each_equal(&list, args.get(3), End::Front, usize::MAX, |index| {
        pivot = Some(index);
        ControlFlow::Break(())
    });
    let Some(pivot) = pivot else {
        cx.reply.int(-1);
        return Ok(Flow::Done);
    };
    list.insert(pivot + behind, value, &limits);
    cx.changed(args.get(1), Class::LIST, "linsert");
    cx.effects.dirty += 1;
    cx.reply.int(list.count() as i64);
    Ok(Flow::Done)
}

/// Remove elements that equal a value: the first ones, the last ones if the count is negative, or all if it is 0.
/// Shape: key count element
pub(super) fn lrem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let count = long(int(&args, 2)?)?;
    let from = if count < 0 { End::Back } else { End::Front };
    let max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let limits = limits(cx);
    let removed = match cx.keys.open::<List>(cx.key(&args, 1))? {
        Some(mut list) => {
            let removed = list.remove_equal(args.get(3), from, max, &limits);
            if removed > 0 {
                cx.reduced(args.get(1), Class::LIST, "lrem", list.is_empty());
            }
            removed
        }
        None => 0,
    };
    cx.effects.dirty += removed as u64;
    cx.reply.int(removed as i64);
    Ok(Flow::Done)
}

/// A number whose negative is one, too.
fn long(value: i64) -> Result<i64, ReplyError> {
    let error = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
    if value == i64::MIN { Err(ReplyError::text(error)) } else { Ok(value) }
}

/// What LPOS looks for.
struct Search {
    from: End,
    /// How many equal elements come before the first wanted one.
    skip: u64,
    /// COUNT: a list is replied, of at most so many; 0: of all.
    count: Option<usize>,
    /// MAXLEN: look at so many elements at most.
    len_max: usize,
}

impl Search {
    fn parse(args: &Args<'_>) -> Result<Self, ReplyError> {
        let mut search = Search { from: End::Front, skip: 0, count: None, len_max: usize::MAX };
        for at in (3..args.count()).step_by(2) {
            if at + 1 == args.count() {
                return Err(ReplyError::Syntax);
            }
            if args.is(at, "rank") {
                let rank = rank(long(int(args, at + 1)?)?)?;
                search.from = if rank < 0 { End::Back } else { End::Front };
                search.skip = rank.unsigned_abs() - 1;
            } else if args.is(at, "count") {
                search.count = Some(natural(args, at + 1, "ERR COUNT can't be negative")?);
            } else if args.is(at, "maxlen") {
                let len_max = natural(args, at + 1, "ERR MAXLEN can't be negative")?;
                search.len_max = if len_max == 0 { usize::MAX } else { len_max };
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        Ok(search)
    }
    /// The indexes, in the order of the walk, as far as they are wanted.
    fn run(&self, list: &List, value: &[u8]) -> Vec<usize> {
        let wanted = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count,
        };
        let (mut skip, mut indexes) = (self.skip, Vec::new());
        each_equal(list, value, self.from, self.len_max, |passed| {
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            indexes.push(if self.from == End::Front { passed } else { list.count() - 1 - passed });
            if indexes.len() == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        indexes
    }
}

fn rank(value: i64) -> Result<i64, ReplyError> {
    const ZERO: &str = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative \
                        to start from the end of the list";
    if value == 0 { Err(ReplyError::text(ZERO)) } else { Ok(value) }
}

/// Argument `at` as a number that is not negative; whatever is wrong with it, the error is this one.
fn natural(args: &Args<'_>, at: usize, error: &'static str) -> Result<usize, ReplyError> {
    parse_i64(args.get(at)).and_then(|value| usize::try_from(value).ok()).ok_or(ReplyError::text(error))
}

/// Reply the index of an element that equals a value, or with COUNT the indexes of several.
/// Shape:  key element [RANK rank] [COUNT count] [MAXLEN count]
/// Errors: those of the options, before the key is looked at.
pub(super) fn lpos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let search = Search::parse(&args)?;
    let list = cx.keys.look::<List>(cx.key(&args, 1))?;
    let indexes = list.map_or(Vec::new(), |list| search.run(&list, args.get(2)));
    if search.count.is_some() {
        cx.reply.array(indexes.len());
        indexes.iter().for_each(|&index| cx.reply.int(index as i64));
    } else {
        match indexes.first() {
            Some(&index) => cx.reply.int(index as i64),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}
