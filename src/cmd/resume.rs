//! Long commands: work that is done in slices, one per turn, while the other clients of the loop are served.
//!
//! ```text
//! handler   checks everything, makes a job, `cx.begin(job)`:  the first slice runs at once, and nearly always it is all
//! Resume    the job is kept with its client; its later commands wait
//! turn      one `step` per turn, in fair order with everybody else's visits, until it says Done
//! ```
//! A job owns whatever it needs: the arguments lie in buffers that go back at the end of the turn, and entries must not be
//! remembered from slice to slice, because each turn has a guard of its own. What others change between two slices is
//! seen, so this is for commands that promise no single instant (KEYS, SCAN), or that hold what they work on (a sorted copy).

use super::command::{Cx, Flow};
use crate::admin::config::Config;
use crate::admin::params::Id;
use crate::base::clock::MonoNs;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use std::time::Duration;

/// Time of one slice. 200 µs: some forty replies to clients at pipeline 1 cost the same, and a turn costs 1 % of it.
pub const SLICE_TIME: Duration = Duration::from_micros(200);

/// Where memory is limited, a client has no more than so much of a long reply waiting, and a piece. 48 KiB: with a piece of
/// ordinary length it fits into a buffer that the loop's pool takes back.
pub const REPLY_LEN_MAX: usize = 48 << 10;

/// How long a step may go on.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    until: MonoNs,
    /// Bytes that may wait for the client.
    reply_max: usize,
}

impl Slice {
    /// A slice of `SLICE_TIME` that begins now.
    pub fn begin(config: &Config) -> Self {
        let reply_max = if config.number(Id::MAXMEMORY) == 0 { usize::MAX } else { REPLY_LEN_MAX };
        Slice { until: MonoNs(MonoNs::now().0 + SLICE_TIME.as_nanos() as u64), reply_max }
    }
    /// A slice that never ends: for whoever cannot wait.
    pub const ENDLESS: Slice = Slice { until: MonoNs(u64::MAX), reply_max: usize::MAX };
    /// A slice that is over from the start: a step then does the least that it can.
    #[cfg(any(test, fuzzing))]
    pub const NONE: Slice = Slice { until: MonoNs(0), reply_max: 0 };

    /// Is it time to stop?
    /// Cost: a reading of the clock; ask once per some ten microseconds of work.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.until != Self::ENDLESS.until && MonoNs::now() >= self.until
    }
    /// A job begins: gives back what the reply took before it was found to be long.
    fn trim(&self, reply: &mut Reply) {
        if reply.out.buf.capacity() / 2 > self.reply_max {
            reply.out.buf.shrink_to(self.reply_max);
        }
    }
    /// Is it time to stop, or is there enough to be sent? For a step that writes.
    #[inline]
    pub fn is_enough(&self, reply: &Reply) -> bool {
        reply.pending_len() >= self.reply_max || self.is_over()
    }
}

/// How far a job is after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// The reply is complete.
    Done,
}

/// A command's work that takes more than one slice.
pub trait Resumable {
    /// Does some work, at least a little, and stops when `slice` is over.
    /// Reply: a job whose reply has a known head may append what it has to `cx.reply` in each step; then it must not fail
    /// later. Any other job keeps its reply until it is done.
    fn step(&mut self, cx: &mut Cx<'_>, slice: Slice) -> Result<Step, ReplyError>;
    /// Bytes kept for the reply. They count as the client's output.
    fn held_len(&self) -> usize {
        0
    }
}

impl Cx<'_> {
    /// Does the first slice of `job`. If that was not all, the rest is left to later turns.
    /// Errors: those of the first step.
    pub fn begin(&mut self, mut job: impl Resumable + 'static) -> Result<Flow, ReplyError> {
        let slice = Slice::begin(&self.world.config);
        slice.trim(self.reply);
        match job.step(self, slice)? {
            Step::Done => Ok(Flow::Done),
            Step::More => {
                self.effects.job = Some(Box::new(job));
                Ok(Flow::Resume)
            }
        }
    }
}
