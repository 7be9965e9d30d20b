//! LRANGE: a part of a list. A long one is streamed.
//!
//! A part of ordinary length is written under the shared lock. A long one would fill the client's output and keep the loop
//! busy, so its chunks are shared with a snapshot, under the exclusive lock and for a moment, and the reply is made of them in
//! slices, as fast as the client reads. It shows the list as it was at that moment; whoever changes the list meanwhile copies
//! the chunk that is hit.

use super::command::{Cx, Flow};
use super::edit::int;
use super::list::{reply_element, reply_elements};
use super::resume::{Resumable, Slice, Step};
use crate::base::hash::Key;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::drain;
use crate::value::list::{End, List, Snapshot};
use crate::value::object::Value;
use crate::value::range;

/// Parts of so many bytes are streamed: written at once, they would take longer than a slice, and be half of what may wait
/// in a client's output.
const STREAM_LEN_MIN: usize = 512 << 10;

/// Reply the elements between two indexes, both included.
/// Shape: key start stop
pub(super) fn lrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (start, stop, key) = (int(&args, 2)?, int(&args, 3)?, cx.key(&args, 1));
    let Some(list) = cx.keys.look::<List>(key)? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let part = range::between(start, stop, list.count());
    if list.has_len(part.start, part.len(), STREAM_LEN_MIN) {
        drop(list);
        return stream(cx, key, start, stop);
    }
    reply_elements(cx.reply, &list, End::Front, part.start, part.len());
    Ok(Flow::Done)
}

/// Looks again, because the list may have changed since it was seen to be long.
fn stream(cx: &mut Cx<'_>, key: Key<'_>, start: i64, stop: i64) -> Result<Flow, ReplyError> {
    let Some(mut list) = cx.keys.open::<List>(key)? else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    let part = range::between(start, stop, list.count());
    let Some(snapshot) = list.snapshot(part.start, part.len()) else {
        reply_elements(cx.reply, &list, End::Front, part.start, part.len());
        return Ok(Flow::Done);
    };
    drop(list);
    cx.reply.array(part.len());
    cx.begin(Stream(Some(snapshot)))
}

/// LRANGE at work.
struct Stream(Option<Snapshot>);

impl Resumable for Stream {
    fn step(&mut self, cx: &mut Cx<'_>, slice: Slice) -> Result<Step, ReplyError> {
        let Some(snapshot) = &mut self.0 else { return Ok(Step::Done) };
        while snapshot.visit_some(|element| reply_element(cx.reply, element)) {
            if slice.is_enough(cx.reply) {
                return Ok(Step::More);
            }
        }
        Ok(Step::Done)
    }
}

impl Drop for Stream {
    /// The list may be gone by now, and what is left of it ours alone.
    fn drop(&mut self) {
        if let Some(snapshot) = self.0.take() {
            drain::discard_rest(Value::new(snapshot.into_rest()));
        }
    }
}
