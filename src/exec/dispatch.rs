//! Running one command: gate, handler, and what comes after it.

use super::gate;
use crate::admin::stats::LoopStats;
use crate::base::clock::{MonoNs, WallMs};
use crate::base::prng::Prng;
use crate::cmd::command::{Command, Cx, Effects, Flow};
use crate::cmd::session::Session;
use crate::cmd::world::World;
use crate::keyspace::{Keys, Local};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::{Mark, Reply};
use crate::table::Guard;

/// In a long window one command of so many is timed, and counts for all of them: reading the clock twice costs half as
/// much as a GET. A prime, so that no regular pattern of commands stays in step with it.
const TIMED_EVERY: u64 = 61;

/// What all commands of one turn share.
pub struct Turn<'t> {
    /// Few commands at hand: there is time to time each of them.
    pub is_sparse: bool,
    pub world: &'t World,
    pub guard: &'t Guard<'t>,
    pub stats: &'t LoopStats,
    /// What this loop has of its own for the keyspace.
    pub local: &'t Local,
    pub now: WallMs,
    pub prng: &'t mut Prng,
    pub effects: &'t mut Effects,
}

impl Turn<'_> {
    /// Runs one command of a client and appends its reply. `row` is what `look` found.
    /// Cost: about 10 ns beside the handler.
    #[inline]
    pub fn run(
        &mut self,
        row: Option<&'static Command>,
        session: &mut Session,
        reply: &mut Reply,
        args: Args<'_>,
    ) -> Flow {
        let mark = reply.mark();
        session.before_reply();
        let flow = match gate::admit(row, &args, session, self.world, self.stats) {
            Ok(row) => self.call(row, session, reply, args, mark),
            Err(error) => {
                self.refuse(reply, &error);
                Flow::Done
            }
        };
        if !session.wants_reply() {
            reply.truncate(mark);
        }
        flow
    }

    #[inline]
    fn call(
        &mut self,
        row: &'static Command,
        session: &mut Session,
        reply: &mut Reply,
        args: Args<'_>,
        mark: Mark,
    ) -> Flow {
        session.info.set_row(row.index as u32);
        let is_timed = self.is_sparse || self.stats.commands.get().is_multiple_of(TIMED_EVERY);
        let mut cx = Cx {
            keys: Keys::new(&self.world.keyspace, session.db, self.guard, self.stats, self.local, self.now)
                .no_touch(session.no_touch),
            reply,
            session,
            world: self.world,
            prng: self.prng,
            effects: self.effects,
        };
        let started = is_timed.then(MonoNs::now);
        let result = (row.run)(&mut cx, args);
        self.stats.commands.add(1);
        let counters = self.stats.command(row.index);
        if let Some(counters) = counters {
            counters.calls.add(1);
            if let Some(started) = started {
                let weight = if self.is_sparse { 1 } else { TIMED_EVERY };
                counters.ns.add(MonoNs::now().since(started).as_nanos() as u64 * weight);
            }
        }
        result.unwrap_or_else(|error| {
            if let Some(counters) = counters {
                counters.failed.add(1);
            }
            reply.truncate(mark); // A failed handler leaves no half reply.
            self.refuse(reply, &error);
            Flow::Done
        })
    }

    /// Replies with an error and counts it.
    #[cold]
    pub fn refuse(&self, reply: &mut Reply, error: &ReplyError) {
        reply.error(error);
        self.stats.count_error(error.code());
    }
}
