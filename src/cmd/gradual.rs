//! Long replies: what a large collection replies, written as fast as its client reads.
//!
//! ```text
//! reply      under the shared lock, as always, until so much is written that it would take longer than a slice …
//! start over  … then it is taken back, the collection is looked at once more, exclusively and for a moment,
//! snapshot   and its parts are shared with a snapshot: what is replied is the collection at this moment
//! slices     one part after the other; when the client's output is full the job waits until the client has read
//! ```
//! Nothing is locked between the slices: who changes the collection meanwhile copies the part that is hit. What is left of a
//! snapshot when its client goes, or when the key is gone and it owns everything, is freed by the drain.

use super::command::{Cx, Flow};
use super::resume::{Resumable, Slice, Step};
use crate::base::prng::Prng;
use crate::resp::error::ReplyError;
use crate::resp::reply::{Mark, Reply};
use crate::value::drain;
use crate::value::object::{Collection, Value};
use std::ops::ControlFlow;

/// Replies of so many bytes are long: written at once, they would take longer than a slice, and be half of what may wait
/// in a client's output.
pub(super) const LONG_LEN: usize = 512 << 10;

/// Shall a reply that began at `mark` go on?
#[inline]
pub(super) fn unless_long(reply: &Reply, mark: Mark) -> ControlFlow<()> {
    if reply.len_since(mark) < LONG_LEN { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// So many random elements are chosen at once; more of them in slices.
pub(super) const CHOSEN_AT_ONCE: usize = 1000;
/// Random choices between two looks at the clock.
pub(super) const CHOSEN_TOGETHER: usize = 64;

/// Some of the elements that come by, any choice of so many as likely as any other.
/// Source: Knuth, TAOCP 2, algorithm 3.4.2 S.
pub(super) struct Sample {
    /// To be taken, of so many that are still to come.
    pub wanted: usize,
    pub left: usize,
}

impl Sample {
    /// Is the next one taken?
    pub fn takes(&mut self, prng: &mut Prng) -> bool {
        let takes = self.wanted > 0 && prng.chance(self.wanted as u64, self.left as u64);
        self.wanted -= takes as usize;
        self.left -= 1;
        takes
    }
}

/// Goes through `snapshot` in slices: `write` appends what a part of it replies and forgets that part. False: it was done.
/// Errors: none; the head of the reply has been written.
pub(super) fn begin<C: Collection>(
    cx: &mut Cx<'_>,
    snapshot: C,
    mut write: impl FnMut(&mut C, &mut Cx<'_>) -> bool + 'static,
) -> Result<Flow, ReplyError> {
    let write = move |rest: &mut Rest<C>, cx: &mut Cx<'_>| rest.0.as_mut().is_some_and(|rest| write(rest, cx));
    begin_parts(cx, Rest(Some(snapshot)), write)
}

/// As `begin`, of something that knows where it is to be freed.
pub(super) fn begin_parts<P: 'static>(
    cx: &mut Cx<'_>,
    parts: P,
    write: impl FnMut(&mut P, &mut Cx<'_>) -> bool + 'static,
) -> Result<Flow, ReplyError> {
    cx.begin(Gradual { parts, write })
}

/// A long reply at work.
struct Gradual<P, W> {
    parts: P,
    write: W,
}

impl<P, W: FnMut(&mut P, &mut Cx<'_>) -> bool> Resumable for Gradual<P, W> {
    fn step(&mut self, cx: &mut Cx<'_>, slice: Slice) -> Result<Step, ReplyError> {
        while (self.write)(&mut self.parts, cx) {
            if slice.is_enough(cx.reply) {
                return Ok(Step::More);
            }
        }
        Ok(Step::Done)
    }
}

/// What is left of a snapshot.
struct Rest<C: Collection>(Option<C>);

impl<C: Collection> Drop for Rest<C> {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take() {
            drain::discard_rest(Value::new(rest));
        }
    }
}
