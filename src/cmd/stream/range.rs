//! XLEN, XRANGE and XREVRANGE: a stream as a list of entries.

use super::{int, parse_end, parse_start, reply_array, reply_entry};
use crate::base::hash::Key;
use crate::cmd::command::{Cx, Flow};
use crate::cmd::gradual::{self, unless_long};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::value::stream::{Entry, Stream, StreamId};

/// Reply the number of entries.
pub(super) fn xlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let stream = cx.keys.look::<Stream>(cx.key(&args, 1))?;
    cx.reply.int(stream.map_or(0, |stream| stream.log().len()) as i64);
    Ok(Flow::Done)
}

/// Reply the entries of an interval of ids.
/// Shape:  key start end [COUNT count]; ends are ids, `-`, `+`, or `(id` for an end that does not belong to it.
/// Errors: ids and options before the lookup.
pub(super) fn xrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_range(cx, args, false)
}

/// The same from the last to the first.
/// Shape:  key end start [COUNT count]
pub(super) fn xrevrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    reply_range(cx, args, true)
}

fn reply_range(cx: &mut Cx<'_>, args: Args<'_>, is_backwards: bool) -> Result<Flow, ReplyError> {
    let (start, end) = if is_backwards { (3, 2) } else { (2, 3) };
    let (start, end) = (parse_start(args.get(start))?, parse_end(args.get(end))?);
    let count = parse_count(&args)?;
    let Some(stream) = cx.keys.look::<Stream>(cx.key(&args, 1))? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    if count == Some(0) {
        cx.reply.null_array();
        return Ok(Flow::Done);
    }
    let (log, mark) = (stream.log(), cx.reply.mark());
    let count = count.unwrap_or(u64::MAX).min(log.len());
    // Whether it is long is known behind the entry that makes it so.
    let is_whole = if is_backwards {
        reply_unless_long(cx.reply, count as usize, log.range_back(start, end))
    } else {
        reply_unless_long(cx.reply, count as usize, log.range(start, end))
    };
    if is_whole {
        return Ok(Flow::Done);
    }
    drop(stream);
    cx.reply.truncate(mark);
    let flow = reply_range_gradually(cx, cx.key(&args, 1), (start, end), count, is_backwards, |_| {})?;
    Ok(flow.unwrap_or_else(|| {
        cx.reply.array(0);
        Flow::Done
    }))
}

/// Replies at most `max` entries of an interval behind what `head` writes, as fast as the client reads. None: there are none.
#[cold]
pub(super) fn reply_range_gradually(
    cx: &mut Cx<'_>,
    key: Key<'_>,
    ids: (StreamId, StreamId),
    max: u64,
    is_backwards: bool,
    head: impl FnOnce(&mut Reply),
) -> Result<Option<Flow>, ReplyError> {
    let Some(mut stream) = cx.keys.open::<Stream>(key)? else { return Ok(None) };
    let (mut left, snapshot) = (stream.log().count(ids.0, ids.1, max), stream.snapshot(ids.0, ids.1));
    drop(stream);
    if left == 0 {
        return Ok(None);
    }
    head(cx.reply);
    cx.reply.array(left as usize);
    let flow = gradual::begin(cx, snapshot, move |rest, cx| {
        let more = rest.visit_some(ids, is_backwards, |entry| {
            if left > 0 {
                reply_entry(cx.reply, &entry);
                left -= 1;
            }
            left > 0
        });
        more && left > 0
    })?;
    Ok(Some(flow))
}

/// Replies the first `count` entries. False: that is too much for one reply.
pub(super) fn reply_unless_long<'l>(reply: &mut Reply, count: usize, entries: impl Iterator<Item = Entry<'l>>) -> bool {
    let (mark, mut is_long) = (reply.mark(), false);
    let entries = entries.take(count);
    reply_array(reply, count, |reply| {
        let written = entries.take_while(|entry| {
            is_long = unless_long(reply, mark).is_break();
            if !is_long {
                reply_entry(reply, entry);
            }
            !is_long
        });
        written.count()
    });
    !is_long
}

/// COUNT, which may stand there several times: the last one counts.
fn parse_count(args: &Args<'_>) -> Result<Option<u64>, ReplyError> {
    let mut count = None;
    for at in (4..args.count()).step_by(2) {
        if at + 1 == args.count() || !args.is(at, "count") {
            return Err(ReplyError::Syntax);
        }
        count = Some(int(args, at + 1)?.max(0) as u64);
    }
    Ok(count)
}

/// The first `count` entries as an array.
pub(super) fn reply_entries<'l>(reply: &mut Reply, count: usize, entries: impl Iterator<Item = Entry<'l>>) {
    reply_array(reply, count, |reply| entries.take(count).map(|entry| reply_entry(reply, &entry)).count());
}
