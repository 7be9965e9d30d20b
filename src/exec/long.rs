//! Going on with a long command: one slice of its job, in a later turn than the command itself, or all of it at once.

use super::dispatch::Turn;
use super::watch::{Place, Tale};
use crate::base::clock::MonoNs;
use crate::cmd::command::{Command, Cx, Flow, flag};
use crate::cmd::resume::{Resumable, Slice, Step};
use crate::cmd::session::Session;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;

/// A command that is under way, kept with its client from turn to turn.
pub struct Long {
    row: &'static Command,
    job: Box<dyn Resumable>,
    /// CLIENT REPLY: nobody wants to hear of it.
    is_silent: bool,
    /// How long it waited and worked so far.
    tale: Tale,
    /// What the head of the reply promises.
    announced_len: usize,
    said_len: usize,
    /// Bytes that it has allocated to work with, if memory is limited.
    kept_len: usize,
}

impl Long {
    /// What `row`'s handler has left to later turns. Its reply will have `announced_len` bytes at least; `said_len` of them
    /// the handler has written itself.
    pub fn new(
        row: &'static Command,
        job: Box<dyn Resumable>,
        tale: Tale,
        announced_len: usize,
        said_len: usize,
    ) -> Self {
        Long { row, job, is_silent: false, tale, announced_len, said_len, kept_len: 0 }
    }
    /// Its reply is dropped, also what has been written of it.
    pub fn silence(&mut self) {
        self.is_silent = true;
        self.said_len = 0;
    }
    /// It has allocated so much.
    pub fn keep(&mut self, len: usize) {
        self.kept_len = len;
    }
    /// Bytes that it takes, if memory is limited.
    pub fn memory(&self) -> usize {
        self.kept_len.max(self.held_len())
    }
    /// Bytes kept for the reply.
    pub fn held_len(&self) -> usize {
        self.job.held_len()
    }
    /// Bytes of the reply that have been written, whether the client has taken them or not, or that are to come for
    /// certain: a client that would be cut off in the midst of it is not told its beginning.
    pub fn said_len(&self) -> usize {
        self.said_len.max(self.announced_len)
    }
    /// May it be forgotten when nobody is there to read the reply?
    pub fn is_idle_talk(&self) -> bool {
        self.row.has(flag::READONLY)
    }
}

/// Runs a command and what it leaves to later turns, where there are none: inside a transaction, or while a journal is loaded.
pub(super) fn run_whole(row: &Command, cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let result = (row.run)(cx, args);
    if result != Ok(Flow::Resume) {
        return result;
    }
    let Some(mut job) = cx.effects.job.take() else { return result };
    while job.step(cx, Slice::ENDLESS)? == Step::More {}
    Ok(Flow::Done)
}

impl Turn<'_> {
    /// Does a slice of `long` for its client. `Flow::Resume`: there is more to do.
    pub fn go_on(&mut self, long: &mut Long, session: &mut Session, reply: &mut Reply) -> Flow {
        debug_assert!(!self.guard.is_in_section(), "a slice may touch any keys");
        let (mark, started, waiting_len) = (reply.mark(), MonoNs::now(), reply.pending_len());
        let mut cx = self.cx(session, reply);
        let slice = Slice::begin(&cx.world.config);
        let result = long.job.step(&mut cx, slice);
        self.tell(session);
        long.tale.times.worked += self.watch.explain(started);
        if let Some(counters) = self.stats.command(long.row.index).filter(|_| result != Ok(Step::More)) {
            counters.calls.add(1);
            counters.failed.add(result.is_err() as u64);
            let place = Place { world: self.world, stats: self.stats, session };
            self.watch.note_long(long.row, &mut long.tale, place);
        }
        self.serve_filled();
        if let Err(error) = &result {
            reply.truncate(mark);
            self.refuse(reply, error);
        }
        if long.is_silent {
            reply.truncate(mark);
        }
        long.said_len += reply.pending_len().saturating_sub(waiting_len);
        if result == Ok(Step::More) { Flow::Resume } else { Flow::Done }
    }
}
